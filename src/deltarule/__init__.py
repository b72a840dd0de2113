"""Feed-forward neural networks trained by backpropagation, with every delta in plain sight.

>>> import numpy as np, deltarule as dr
>>> net = dr.Network([dr.Dense(8, "tanh"), dr.Dense(1, "sigmoid")], inputs=2, seed=1)
>>> X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
>>> history = dr.train(net, X, y, loss="binary_cross_entropy", optimizer=dr.Adam(0.1), epochs=200)
>>> net.predict(X).round().ravel().tolist()
[0.0, 1.0, 1.0, 0.0]
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from deltarule.base.errors import (
    DeltaruleError,
    DivergenceError,
    FileFormatError,
    FixedError,
    InUseError,
    InvalidAttributeError,
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    MissingFileError,
    MissingFormulaError,
    TrainingInterrupted,
    UnknownNameError,
    WriteError,
)
from deltarule.engines import engines
from deltarule.formulas import (
    activations,
    clipping,
    constraints,
    initializers,
    losses,
    metrics,
    optimizers,
    penalties,
    schedules,
)
from deltarule.formulas.activations import ActivationFunction
from deltarule.formulas.clipping import Clip, ClipNorm, ClipValue
from deltarule.formulas.constraints import Constraint, MaxNorm
from deltarule.formulas.full_batch import LBFGS, BayesianRegularization, LevenbergMarquardt
from deltarule.formulas.initializers import Initializer
from deltarule.formulas.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
    SquaredError,
)
from deltarule.formulas.metrics import Metric
from deltarule.formulas.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Adan,
    Lion,
    NAdam,
    Optimizer,
    RMSprop,
    Rprop,
)
from deltarule.formulas.penalties import L1, L2, ElasticNet, Penalty
from deltarule.formulas.schedules import (
    Cosine,
    CosineRestarts,
    Exponential,
    InverseScaling,
    Linear,
    OneCycle,
    Piecewise,
    Polynomial,
    Schedule,
    Step,
    WarmUp,
)
from deltarule.inspect import GradientCheck, Trace, backpropagate, check_gradients
from deltarule.network import layers
from deltarule.network.ensemble import Ensemble
from deltarule.network.layer import CustomLayer, Layer, ParameterSpec, StateSpec
from deltarule.network.layers import (
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    LayerNorm,
    Residual,
    Scale,
)
from deltarule.network.model_file import load, save
from deltarule.network.network import Network
from deltarule.training.averaging import EMA, SWA
from deltarule.training.callbacks import Callback
from deltarule.training.checkpoints import Checkpoint
from deltarule.training.contest import Restarts
from deltarule.training.evaluation import evaluate
from deltarule.training.history import History
from deltarule.training.range_test import RangeTest, find_learning_rate
from deltarule.training.restarts import restart
from deltarule.training.resume import resume
from deltarule.training.run_log import Log
from deltarule.training.state import State
from deltarule.training.time_budget import TimeBudget
from deltarule.training.train import train
from deltarule.training.trainer import Trainer
from deltarule.training.watching import EarlyStopping, ReduceOnPlateau

__all__ = [
    "EMA",
    "L1",
    "L2",
    "LBFGS",
    "SGD",
    "SWA",
    "Activation",
    "ActivationFunction",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adan",
    "BatchNorm",
    "BayesianRegularization",
    "BinaryCrossEntropy",
    "Callback",
    "Checkpoint",
    "Clip",
    "ClipNorm",
    "ClipValue",
    "Constraint",
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
    "Embedding",
    "Ensemble",
    "Exponential",
    "FileFormatError",
    "FixedError",
    "GradientCheck",
    "History",
    "Huber",
    "InUseError",
    "Initializer",
    "InvalidAttributeError",
    "InvalidTypeError",
    "InvalidValueError",
    "InverseScaling",
    "Layer",
    "LayerNorm",
    "LevenbergMarquardt",
    "Linear",
    "Lion",
    "Log",
    "Loss",
    "MaxNorm",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "MissingExtraError",
    "MissingFileError",
    "MissingFormulaError",
    "NAdam",
    "Network",
    "OneCycle",
    "Optimizer",
    "ParameterSpec",
    "Penalty",
    "Piecewise",
    "Poisson",
    "Polynomial",
    "Quantile",
    "RMSprop",
    "RangeTest",
    "ReduceOnPlateau",
    "Residual",
    "Restarts",
    "Rprop",
    "Scale",
    "Schedule",
    "SquaredError",
    "State",
    "StateSpec",
    "Step",
    "TimeBudget",
    "Trace",
    "Trainer",
    "TrainingInterrupted",
    "UnknownNameError",
    "WarmUp",
    "WriteError",
    "activations",
    "backpropagate",
    "check_gradients",
    "clipping",
    "constraints",
    "engines",
    "evaluate",
    "find_learning_rate",
    "initializers",
    "layers",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "penalties",
    "restart",
    "resume",
    "save",
    "schedules",
    "train",
]

__version__ = "0.1.0"

if not _TYPE_CHECKING:  # type checkers should go on to find names that do not exist

    def __getattr__(name: str) -> object:
        from deltarule.base.words import missing_attribute

        raise missing_attribute("deltarule", name, __all__)
