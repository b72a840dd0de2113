"""A whole process of a JAX user: import, load, compile, train; prints loss and peak memory."""

# A program for a library that may not be installed here.
# mypy: ignore-errors

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.append(sys.argv[1])
from process_memory import Memory, arguments

job = arguments()
memory = Memory()
X, y = jnp.asarray(np.load(job["X"])), jnp.asarray(np.load(job["y"]).astype(np.int32))
random = np.random.default_rng(0)
parameters = [
    (jnp.asarray(random.normal(0, (2 / m) ** 0.5, (m, n)).astype(np.float32)), jnp.zeros(n))
    for m, n in zip(job["widths"], job["widths"][1:], strict=False)
]
optimizer = optax.adam(1e-3)
batch = job["batch_size"]
whole = len(X) // batch * batch


def loss(parameters: Any, x: Any, t: Any) -> Any:
    """Mean cross-entropy of a batch."""
    for W, b in parameters[:-1]:
        x = jax.nn.relu(x @ W + b)
    W, b = parameters[-1]
    return optax.softmax_cross_entropy_with_integer_labels(x @ W + b, t).mean()


def step(carry: Any, rows: Any, X: Any, y: Any) -> Any:
    """One step of Adam."""
    parameters, state = carry
    value, gradient = jax.value_and_grad(loss)(parameters, X[rows], y[rows])
    updates, state = optimizer.update(gradient, state, parameters)
    return (optax.apply_updates(parameters, updates), state), value


@jax.jit
def epoch(carry: Any, X: Any, y: Any, order: Any) -> Any:
    """One epoch in one call; returns its mean loss."""
    rows = order[:whole].reshape(-1, batch)
    carry, losses = jax.lax.scan(lambda c, r: step(c, r, X, y), carry, rows)
    if whole < len(X):
        carry, _ = step(carry, order[whole:], X, y)
    return carry, losses.mean()


carry = parameters, optimizer.init(parameters)
for _ in range(job["epochs"]):
    carry, mean = epoch(carry, X, y, random.permutation(len(X)).astype(np.int32))
memory.report(float(mean))
