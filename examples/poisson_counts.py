"""Counts: the Poisson loss with an exponential output, on data whose true rate is known."""

import numpy as np

import deltarule as dr

rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 3))
rate = np.exp(0.5 + 0.8 * X[:, 0] - 0.5 * X[:, 1] * X[:, 2].clip(-1, 1))
y = rng.poisson(rate)

net = dr.Network([dr.Dense(32, "tanh"), dr.Dense(1, "exp")], inputs=3, seed=0)
history = dr.train(
    net,
    X[:1500],
    y[:1500],
    loss="poisson",
    optimizer=dr.Adam(5e-3),
    epochs=60,
    validation=0.2,
    callbacks=[dr.EarlyStopping(patience=8)],
)


def loss(predicted: np.ndarray) -> float:
    """Return the Poisson loss on the test rows."""
    return float((predicted - y[1500:] * np.log(predicted)).mean())


print(f"{history.epochs} epochs; {history.stopped}")
print(
    f"test loss: network {loss(net.predict(X[1500:])[:, 0]):.3f}, "
    f"true rate {loss(rate[1500:]):.3f}, always the mean {loss(np.full(500, y[:1500].mean())):.3f}"
)
