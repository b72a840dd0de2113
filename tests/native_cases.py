"""Everything that a plan can say to the native engine, by name."""

from __future__ import annotations

import deltarule as dr
from members import members, own

D, R = dr.Dense, dr.Residual

ACTIVATIONS = own("activation")
LOSSES = [
    ("squared_error", "identity"),
    (dr.SquaredError(reduction="sum"), "tanh"),
    ("squared_error", "softmax"),
    ("mean_squared_error", "sigmoid"),
    ("mean_absolute_error", "identity"),
    (dr.Huber(0.5), "identity"),
    (dr.Quantile(0.3), "identity"),
    ("poisson", "exp"),
    ("poisson", "softplus"),
    ("binary_cross_entropy", "sigmoid"),
    ("cross_entropy", "softmax"),
    (dr.CrossEntropy(label_smoothing=0.1), "softmax"),
]
OPTIMIZERS = members("optimizer")
STACKS = {
    "batch norm": [D(20), dr.BatchNorm(), dr.Activation("relu"), D(3)],
    "batch norm first and last": [dr.BatchNorm(), D(5, "tanh"), D(3), dr.BatchNorm()],
    "two batch norms": [D(5), dr.BatchNorm(), D(6, bias=False), dr.BatchNorm(), D(3)],
    "frozen batch norm": [D(5), dr.BatchNorm(learning_rate_factor=0), D(3)],
    "layer norm": [D(20), dr.LayerNorm(), dr.Activation("gelu"), D(3)],
    "scale": [D(20, "tanh"), dr.Scale(0.5), D(3)],
    "scale of the input and the output": [dr.Scale(learning_rate_factor=6), D(3), dr.Scale()],
    "dropout": [D(20, "tanh"), dr.Dropout(0.3), D(3)],
    "dropout of the input": [dr.Dropout(0.3), D(20, "tanh"), D(3)],
    "dropout at rate 0": [D(20, "tanh"), dr.Dropout(0.0), D(3)],
    "residual": [D(20, "tanh"), R([D(20, "tanh"), D(20)]), D(3)],
    "residual of the input": [R([D(7, "tanh")]), D(3)],
    "residual with projection": [D(20, "tanh"), R([D(30, "tanh"), dr.Dropout(0.2)]), D(3)],
    "residual in residual": [
        R([D(9), R([dr.LayerNorm(), D(9)])]),
        R([dr.Activation("tanh")]),
        D(3),
    ],
    "residual of dropout": [R([dr.Dropout(0.5)]), D(3)],
    "residual at the end": [D(3), R([dr.BatchNorm(), D(3)])],
    "frozen layer": [D(4, "tanh", learning_rate_factor=0), D(3)],
    "rate factor": [D(4, "tanh", learning_rate_factor=3), D(3, learning_rate_factor=0.5)],
    "no bias": [D(4, "tanh", bias=False), D(3, bias=False)],
}
