"""XOR: four points that no straight line separates. Several seeds, because some get stuck."""

import numpy as np

import deltarule as dr

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
y = np.array([0, 1, 1, 0])

runs = []
for seed in range(6):
    net = dr.Network([dr.Dense(2, "tanh"), dr.Dense(1, "sigmoid")], inputs=2, seed=seed)
    history = dr.train(
        net, X, y, loss="binary_cross_entropy", optimizer=dr.Adam(0.1), epochs=300, batch_size=None
    )
    runs.append((history["loss"][-1], seed, net))
    print(f"seed {seed}: loss {history['loss'][-1]:.4f}")

loss, seed, net = min(runs)
right = int(((net.predict(X)[:, 0] > 0.5) == y).sum())
print(f"best seed {seed}: {right} of 4 right, outputs {net.predict(X)[:, 0].round(2).tolist()}")
