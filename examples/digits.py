"""Handwritten digits: validation, early stopping, a schedule, dropout; then saved and loaded."""

import numpy as np
from sklearn.datasets import load_digits

import deltarule as dr

X, y = load_digits(return_X_y=True)
X = X / 16
rows = np.random.default_rng(0).permutation(len(X))
train, test = rows[:1437], rows[1437:]

net = dr.Network(
    [dr.Dense(128, "relu"), dr.Dropout(0.2), dr.Dense(10, "softmax")], inputs=64, seed=0
)
print(net.summary())
history = dr.train(
    net,
    X[train],
    y[train],
    loss="cross_entropy",
    optimizer=dr.Adam(dr.Cosine(5e-3)),
    epochs=30,
    validation=0.15,
    metrics=["accuracy"],
    callbacks=[dr.EarlyStopping("val_loss", patience=10)],
)
print(history)

net.save("digits.safetensors")
net = dr.load("digits.safetensors")
found = dr.evaluate(net, X[test], y[test], "cross_entropy", metrics=["accuracy"])
print(f"test accuracy {found['accuracy']:.3f}, loss {found['loss']:.3f}")
