"""Regression on real measurements: standardise, penalise, stop early, report in real units."""

import numpy as np
from sklearn.datasets import load_diabetes

import deltarule as dr

X, y = load_diabetes(return_X_y=True, scaled=False)
rows = np.random.default_rng(0).permutation(len(X))
train, test = rows[:342], rows[342:]

# Mean and standard deviation come from the training rows only.
X = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
mean, deviation = y[train].mean(), y[train].std()
t = (y - mean) / deviation

net = dr.Network([dr.Dense(32, "relu"), dr.Dense(1)], inputs=10, seed=0)
stopping = dr.EarlyStopping("val_loss", patience=20)
history = dr.train(
    net,
    X[train],
    t[train],
    loss="squared_error",
    epochs=300,
    validation=0.2,
    penalty=dr.L2(1e-2),
    callbacks=[stopping],
)
print(f"best epoch {stopping.best_epoch} of {history.epochs}; {history.stopped}")

predicted = mean + deviation * net.predict(X[test])[:, 0]
error = np.abs(predicted - y[test]).mean()
baseline = np.abs(mean - y[test]).mean()
r2 = dr.evaluate(net, X[test], t[test], "squared_error", metrics=["r2"])["r2"]
print(f"test: r2 {r2:.2f}, mean absolute error {error:.1f} (always the mean: {baseline:.1f})")
