"""Feed-forward neural networks trained by backpropagation, with every delta in plain sight.

>>> import numpy as np, deltarule as dr
>>> net = dr.Network([dr.Dense(8, "tanh"), dr.Dense(1, "sigmoid")], inputs=2, seed=1)
>>> X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
>>> history = dr.train(net, X, y, loss="binary_cross_entropy", optimizer=dr.Adam(0.1), epochs=200)
>>> net.predict(X).round().ravel().tolist()
[0.0, 1.0, 1.0, 0.0]
"""

from deltarule import activations as activations
from deltarule import constraints as constraints
from deltarule import initializers as initializers
from deltarule import losses as losses
from deltarule import metrics as metrics
from deltarule import optimizers as optimizers
from deltarule import penalties as penalties
from deltarule import schedules as schedules
from deltarule.callbacks import Callback as Callback
from deltarule.callbacks import EarlyStopping as EarlyStopping
from deltarule.callbacks import ReduceOnPlateau as ReduceOnPlateau
from deltarule.callbacks import State as State
from deltarule.clipping import ClipNorm as ClipNorm
from deltarule.clipping import ClipValue as ClipValue
from deltarule.constraints import MaxNorm as MaxNorm
from deltarule.engines import engines as engines
from deltarule.errors import DeltaruleError as DeltaruleError
from deltarule.errors import DivergenceError as DivergenceError
from deltarule.errors import FileFormatError as FileFormatError
from deltarule.errors import InvalidTypeError as InvalidTypeError
from deltarule.errors import InvalidValueError as InvalidValueError
from deltarule.errors import MissingExtraError as MissingExtraError
from deltarule.errors import MissingFileError as MissingFileError
from deltarule.errors import UnknownNameError as UnknownNameError
from deltarule.errors import WriteError as WriteError
from deltarule.evaluation import evaluate as evaluate
from deltarule.history import History as History
from deltarule.inspect import GradientCheck as GradientCheck
from deltarule.inspect import Trace as Trace
from deltarule.inspect import backpropagate as backpropagate
from deltarule.inspect import check_gradients as check_gradients
from deltarule.layers import Activation as Activation
from deltarule.layers import BatchNorm as BatchNorm
from deltarule.layers import CustomLayer as CustomLayer
from deltarule.layers import Dense as Dense
from deltarule.layers import Dropout as Dropout
from deltarule.layers import Layer as Layer
from deltarule.layers import LayerNorm as LayerNorm
from deltarule.layers import Residual as Residual
from deltarule.losses import BinaryCrossEntropy as BinaryCrossEntropy
from deltarule.losses import CrossEntropy as CrossEntropy
from deltarule.losses import Huber as Huber
from deltarule.losses import MeanAbsoluteError as MeanAbsoluteError
from deltarule.losses import MeanSquaredError as MeanSquaredError
from deltarule.losses import Poisson as Poisson
from deltarule.losses import Quantile as Quantile
from deltarule.losses import SquaredError as SquaredError
from deltarule.network import Network as Network
from deltarule.optimizers import SGD as SGD
from deltarule.optimizers import Adagrad as Adagrad
from deltarule.optimizers import Adam as Adam
from deltarule.optimizers import AdamW as AdamW
from deltarule.optimizers import Lion as Lion
from deltarule.optimizers import NAdam as NAdam
from deltarule.optimizers import RMSprop as RMSprop
from deltarule.optimizers import Rprop as Rprop
from deltarule.penalties import L1 as L1
from deltarule.penalties import L2 as L2
from deltarule.penalties import ElasticNet as ElasticNet
from deltarule.persistence import load as load
from deltarule.persistence import save as save
from deltarule.schedules import Cosine as Cosine
from deltarule.schedules import CosineRestarts as CosineRestarts
from deltarule.schedules import Exponential as Exponential
from deltarule.schedules import InverseScaling as InverseScaling
from deltarule.schedules import Linear as Linear
from deltarule.schedules import OneCycle as OneCycle
from deltarule.schedules import Piecewise as Piecewise
from deltarule.schedules import Polynomial as Polynomial
from deltarule.schedules import Step as Step
from deltarule.schedules import WarmUp as WarmUp
from deltarule.trainer import Trainer as Trainer
from deltarule.training import train as train

__version__ = "0.1.0"
