"""Feed-forward neural networks trained by backpropagation, with every delta in plain sight.

>>> import numpy as np, deltarule as dr
>>> net = dr.Network([dr.Dense(8, "tanh"), dr.Dense(1, "sigmoid")], inputs=2, seed=1)
>>> X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
>>> history = dr.train(net, X, y, loss="binary_cross_entropy", optimizer=dr.Adam(0.1), epochs=200)
>>> net.predict(X).round().ravel().tolist()
[0.0, 1.0, 1.0, 0.0]
"""

from deltarule import (
    activations,
    constraints,
    initializers,
    losses,
    metrics,
    optimizers,
    penalties,
    schedules,
)
from deltarule.callbacks import Callback, EarlyStopping, ReduceOnPlateau, State
from deltarule.clipping import ClipNorm, ClipValue
from deltarule.constraints import MaxNorm
from deltarule.engines import engines
from deltarule.errors import (
    DeltaruleError,
    DivergenceError,
    FileFormatError,
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    MissingFileError,
    UnknownNameError,
    WriteError,
)
from deltarule.evaluation import evaluate
from deltarule.history import History, Restarts
from deltarule.inspect import GradientCheck, Trace, backpropagate, check_gradients
from deltarule.layers import (
    Activation,
    BatchNorm,
    CustomLayer,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    Residual,
)
from deltarule.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
    SquaredError,
)
from deltarule.network import Network
from deltarule.optimizers import SGD, Adagrad, Adam, AdamW, Adan, Lion, NAdam, RMSprop, Rprop
from deltarule.penalties import L1, L2, ElasticNet
from deltarule.persistence import load, save
from deltarule.restarts import restart
from deltarule.schedules import (
    Cosine,
    CosineRestarts,
    Exponential,
    InverseScaling,
    Linear,
    OneCycle,
    Piecewise,
    Polynomial,
    Step,
    WarmUp,
)
from deltarule.trainer import Trainer
from deltarule.training import train

__all__ = [
    "L1",
    "L2",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adan",
    "BatchNorm",
    "BinaryCrossEntropy",
    "Callback",
    "ClipNorm",
    "ClipValue",
    "Cosine",
    "CosineRestarts",
    "CrossEntropy",
    "CustomLayer",
    "DeltaruleError",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "ElasticNet",
    "Exponential",
    "FileFormatError",
    "GradientCheck",
    "History",
    "Huber",
    "InvalidTypeError",
    "InvalidValueError",
    "InverseScaling",
    "Layer",
    "LayerNorm",
    "Linear",
    "Lion",
    "MaxNorm",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MissingExtraError",
    "MissingFileError",
    "NAdam",
    "Network",
    "OneCycle",
    "Piecewise",
    "Poisson",
    "Polynomial",
    "Quantile",
    "RMSprop",
    "ReduceOnPlateau",
    "Residual",
    "Restarts",
    "Rprop",
    "SquaredError",
    "State",
    "Step",
    "Trace",
    "Trainer",
    "UnknownNameError",
    "WarmUp",
    "WriteError",
    "activations",
    "backpropagate",
    "check_gradients",
    "constraints",
    "engines",
    "evaluate",
    "initializers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "penalties",
    "restart",
    "save",
    "schedules",
    "train",
]

__version__ = "0.1.0"
