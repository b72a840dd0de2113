"""A whole process of a scikit-learn user: import, load, train; prints loss and peak memory."""

# A program for a library that may not be installed here.
# mypy: ignore-errors

import sys
import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier

sys.path.append(sys.argv[1])
from process_memory import Memory, arguments

job = arguments()
memory = Memory()
X, y = np.load(job["X"]), np.load(job["y"])
warnings.simplefilter("ignore")  # that it has not converged is no news
model = MLPClassifier(
    tuple(job["widths"][1:-1]),
    alpha=0.0,
    batch_size=job["batch_size"],
    max_iter=job["epochs"],
    n_iter_no_change=job["epochs"] + 1,
)
model.fit(X, y)
memory.report(float(model.loss_))
