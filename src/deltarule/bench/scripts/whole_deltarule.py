"""A whole process of a deltarule user: import, load, train; prints loss and peak memory."""

# A program for a library that may not be installed here.
# mypy: ignore-errors

import sys

import numpy as np

import deltarule as dr

sys.path.append(sys.argv[1])
from process_memory import Memory, arguments

job = arguments()
memory = Memory()
X, y = np.load(job["X"]), np.load(job["y"])
*hidden, last = job["widths"][1:]
net = dr.Network(
    [*(dr.Dense(units, "relu") for units in hidden), dr.Dense(last, "softmax")],
    inputs=job["widths"][0],
)
history = dr.train(
    net,
    X,
    y,
    loss="cross_entropy",
    optimizer=dr.Adam(1e-3),
    epochs=job["epochs"],
    batch_size=job["batch_size"],
    threads=job["threads"],
    progress=False,
)
memory.report(history["loss"][-1])
