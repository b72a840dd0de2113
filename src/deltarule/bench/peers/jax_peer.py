"""JAX with optax: a whole epoch, or all epochs, in one compiled call."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from deltarule.base.types import Array
from deltarule.bench.peers.base import Session, import_peer
from deltarule.bench.workloads import Data, Workload, initial_parameters


class Jax:
    """JAX, with one call per epoch or one call for all epochs of a turn."""

    def __init__(self, key: str, title: str, *, all_epochs: bool) -> None:
        self.key = key
        self.title = title
        self.note = (
            "all epochs of a turn in one jitted fori_loop, orders by jax.random.permutation"
            if all_epochs
            else "one epoch in one jitted lax.scan, orders by NumPy"
        ) + "; optax; parameters donated; the scan returns each step's loss, one mean per epoch"
        self._all_epochs = all_epochs

    def suits(self, workload: Workload) -> bool:
        """Return whether it suits: all do, but all epochs in one call only if that can matter."""
        return not self._all_epochs or workload.small

    def prepare(self, workload: Workload, data: Data, threads: int) -> Session:
        """Return a session."""
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        os.environ.setdefault("NPROC", str(threads))  # XLA reads it when its thread pool starts
        jax, optax = import_peer("jax"), import_peer("optax")
        return _Session(jax, optax, workload, data, self._all_epochs)


class _Session:
    def __init__(
        self, jax: Any, optax: Any, workload: Workload, data: Data, all_epochs: bool
    ) -> None:
        self._jax, self._workload, self._all_epochs = jax, workload, all_epochs
        self._X, self._y = jax.device_put(data.X), jax.device_put(data.y.astype(_kind(workload)))
        self._random = np.random.default_rng(0)
        adam = workload.optimizer == "adam"
        self._optimizer = (optax.adam if adam else optax.sgd)(workload.learning_rate)
        self._forward = _forward(jax, workload)
        epoch = _epoch(jax, optax, workload, self._optimizer, self._forward)
        self._epoch = jax.jit(epoch, donate_argnums=(0,))
        self._epochs = jax.jit(_epochs(jax, workload, epoch), donate_argnums=(0,))
        self._predict = jax.jit(
            lambda p, x: (
                jax.nn.softmax(self._forward(p, x)) if workload.classifies else self._forward(p, x)
            )
        )
        self.reset()

    def reset(self) -> None:
        parameters = self._jax.device_put(initial_parameters(self._workload))
        self._carry = parameters, self._optimizer.init(parameters)
        self._key = self._jax.random.key(0)

    def run_epochs(self, epochs: int) -> float:
        if self._all_epochs:
            self._key, key = self._jax.random.split(self._key)
            self._carry, loss = self._epochs(self._carry, self._X, self._y, key, epochs)
            return float(loss)
        n, loss = self._workload.rows, 0.0
        order = np.arange(n, dtype=np.int32)
        for _ in range(epochs):
            if self._workload.shuffles and not self._workload.full_batch:
                order = self._random.permutation(n).astype(np.int32)
            self._carry, loss = self._epoch(self._carry, self._X, self._y, order)
        return float(loss)

    def predictor(self, X: Array) -> Callable[[], Any]:
        predict, parameters, x = self._predict, self._carry[0], self._jax.device_put(X)
        return lambda: predict(parameters, x).block_until_ready()


def _kind(workload: Workload) -> type[np.generic]:
    return np.int32 if workload.classifies else np.float32


def _forward(jax: Any, workload: Workload) -> Callable[[Any, Any], Any]:
    activation = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jax.numpy.tanh}[
        workload.hidden
    ]

    def forward(parameters: Any, x: Any) -> Any:
        for W, b in parameters[:-1]:
            x = activation(x @ W + b)
        W, b = parameters[-1]
        return x @ W + b

    return forward


def _epoch(
    jax: Any, optax: Any, workload: Workload, optimizer: Any, forward: Callable[[Any, Any], Any]
) -> Callable[..., Any]:
    """Return a function ``(carry, X, y, order) -> carry, mean loss`` that does one epoch."""
    jnp = jax.numpy
    batch = workload.batch_size
    whole = workload.rows // batch

    def loss(parameters: Any, x: Any, t: Any) -> Any:
        z = forward(parameters, x)
        if workload.classifies:
            return optax.softmax_cross_entropy_with_integer_labels(z, t).mean()
        return 0.5 * jnp.square(z - t.reshape(z.shape)).sum(1).mean()

    def step(carry: Any, x: Any, t: Any) -> Any:
        parameters, state = carry
        value, gradient = jax.value_and_grad(loss)(parameters, x, t)
        updates, state = optimizer.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, updates), state), value

    def epoch(carry: Any, X: Any, y: Any, order: Any) -> Any:
        if workload.full_batch:
            return step(carry, X, y)
        given = order if workload.shuffles else (X, y)

        def on_batch(carry: Any, part: Any) -> Any:
            return step(carry, *((X[part], y[part]) if workload.shuffles else part))

        batches = jax.tree.map(
            lambda a: a[: whole * batch].reshape(whole, batch, *a.shape[1:]), given
        )
        carry, losses = jax.lax.scan(on_batch, carry, batches)
        if workload.rows % batch:
            carry, last = on_batch(carry, jax.tree.map(lambda a: a[whole * batch :], given))
            losses = jnp.append(losses, last)
        return carry, losses.mean()

    return epoch


def _epochs(jax: Any, workload: Workload, epoch: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function ``(carry, X, y, key, epochs) -> carry, last mean loss``."""

    def epochs(carry: Any, X: Any, y: Any, key: Any, count: Any) -> Any:
        def body(i: Any, state: Any) -> Any:
            carry, _ = state
            if workload.full_batch or not workload.shuffles:
                return epoch(carry, X, y, None)
            order = jax.random.permutation(jax.random.fold_in(key, i), workload.rows)
            return epoch(carry, X, y, order)

        return jax.lax.fori_loop(0, count, body, (carry, jax.numpy.float32(0)))

    return epochs
