"""How far two engines may lie apart that do the same arithmetic in another order.

Each product and sum of k terms, computed in any order, is the exact one of operands that are off
by relative errors of at most k eps / 2 (Higham, "Accuracy and Stability of Numerical Algorithms",
section 3.1). Two engines so differ, operation by operation, by at most k eps in the operands. How
far that carries, through the layers and from step to step, depends on the network: so it is
measured. The reference engine runs again with every operand of every operation off by k eps, up or
down at random (Monte Carlo arithmetic: Parker, 1997), k being the longest sum of the plan, and what
is stored in each step by a few eps. The tolerance of a tensor is

    2 * (the largest change of it in three such runs) + 4 eps * (its largest element)

Rounding errors hardly ever reach their bound: they are about sqrt(k) eps, so a sound engine stays
well below, at less than a quarter. A wrong one does not, since the tolerance must be small beside
what training has moved (``sharpness``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from unittest import mock

import numpy as np

import deltarule as dr
from deltarule.engines.reference import executor as reference
from deltarule.engines.reference import formulas
from deltarule.engines.reference import passes as backpropagation
from deltarule.plan import compile_network
from problems import FEW, TARGETS

# Under sanitizers, which look for other errors, one draw, which may happen to be small.
DRAWS, FACTOR = (1, 16) if FEW else (3, 2)
FEWEST_TERMS = 16  # a softmax, an optimizer or a loss takes some operations even at width 1
STORED = 4  # roundings of what an update stores: w - rate * g, and before it each moment


@dataclass
class Problem:
    """A network, data and settings, trained by any engine from one fixed start."""

    layers: list[dr.layers.Layer]
    X: np.ndarray
    y: np.ndarray
    loss: object = "squared_error"
    optimizer: object = field(default_factory=lambda: dr.SGD(0.01, momentum=0.9))
    batch_size: int = 10
    drop_last: bool = False
    shuffle: object = True
    dtype: str = "float64"
    sample_weight: np.ndarray | None = None
    settings: dict[str, object] = field(default_factory=dict)

    def course(self, engine: str, steps: int, threads: int | None = None) -> list[dict]:
        """Return what there is after one step, and, if more are wanted, after at least so many."""
        network = dr.Network(self.layers, inputs=self.X.shape[1], seed=1, dtype=self.dtype)
        trainer = dr.Trainer(
            network, loss=self.loss, optimizer=self.optimizer, engine=engine, threads=threads,
            seed=3, **self.settings,
        )  # fmt: skip
        b, w = min(self.batch_size, len(self.X)), self.sample_weight
        start = network.vector.copy()
        history = trainer.run(
            self.X[:b], self.y[:b], batch_size=b, shuffle=False, progress=False,
            sample_weight=None if w is None else w[:b],
        )  # fmt: skip
        found = [_outcome(trainer, history, self.X, engine, start)]
        if steps > 1:
            n = len(self.X)
            per_epoch = n // b if self.drop_last else -(-n // b)
            history = trainer.run(
                self.X, self.y, batch_size=b, drop_last=self.drop_last, shuffle=self.shuffle,
                epochs=-(-(steps - 1) // per_epoch), sample_weight=w, progress=False,
            )  # fmt: skip
            found.append(_outcome(trainer, history, self.X, engine, start))
        return found

    @property
    def terms(self) -> int:
        """The longest sum: over a layer's inputs or outputs, or over the rows of a batch."""
        network = dr.Network(self.layers, inputs=self.X.shape[1], dtype=self.dtype)
        widths = compile_network(network).widths
        return max(*widths, min(self.batch_size, len(self.X)), FEWEST_TERMS)


def _outcome(trainer, history, X, engine, start):
    network, plan = trainer.network, trainer.plan
    found = {f"parameter {name}": p.copy() for name, p in network.parameters.items()}
    found |= {f"moved {s.name}": network.vector[s.slice] - start[s.slice] for s in plan.parameters}
    found |= {f"statistic {name}": s.copy() for name, s in network.state.items()}
    states = trainer._executor.optimizer_state
    for name, array in zip(plan.optimizer.state_names, states, strict=True):
        for parameter in plan.parameters:
            found[f"{name} of {parameter.name}"] = array[parameter.slice].copy()
    found |= {f"history {name}": np.array(history[name]) for name in history}
    found["outputs"] = network.predict(X, engine=engine)
    return found


@contextlib.contextmanager
def perturbed(terms: int, dtype: str, seed: int) -> Iterator[None]:
    """The reference engine with every operand off by ``terms`` eps."""
    rng, eps = np.random.default_rng(seed), float(np.finfo(dtype).eps)

    def off(x, size=terms * eps):
        signs = rng.integers(0, 2, x.shape, dtype=np.int8).astype(x.dtype)
        return x + x * ((2 * signs - 1) * x.dtype.type(size))

    plain_forward, plain_backward = backpropagation._forward, backpropagation._backward
    plain_batch_norm = formulas.batch_norm_forward
    plain_layer_norm = formulas.layer_norm_forward
    plain_update = reference.ReferenceExecutor._update

    # Within a normalisation the mean has rounding errors of its own: they do not leave x - mean.
    def batch_norm(x, scale, shift, mean, variance, epsilon):
        return plain_batch_norm(x, scale, shift, off(mean), off(variance), epsilon)

    def layer_norm(x, scale, shift, epsilon):
        _, x_hat, r = plain_layer_norm(x, scale, shift, epsilon)
        mean = x.mean(axis=1, keepdims=True)
        x_hat = x_hat + r * (off(mean) - mean)
        return scale * x_hat + shift, x_hat, r

    def with_parameters(op, c):
        parameters = list(c.parameters)
        for index in op.parameters.values():
            parameters[index] = off(parameters[index])
        return replace(c, parameters=parameters)

    def forward(op, values, c):
        values = list(values)
        for slot in set(op.sources) - ({0} if op.layer.reads_inputs else set()):  # codes
            values[slot] = off(values[slot])
        y, cache = plain_forward(op, values, with_parameters(op, c))
        return off(y), cache

    def backward(op, done, c, whole):
        values = list(done.values)
        for slot in {op.source, op.target} - ({0} if op.layer.reads_inputs else set()):
            values[slot] = off(values[slot])
        cache = done.caches[op.target]
        if isinstance(cache, tuple):  # a normalisation's x_hat and r, themselves sums and quotients
            cache = tuple(off(c) if isinstance(c, np.ndarray) else c for c in cache)
        deltas = {op.target: off(done.deltas[op.target])}
        own = replace(done, values=values, caches={op.target: cache}, deltas=deltas)
        for slot, gradient in plain_backward(op, own, with_parameters(op, c), whole):
            yield slot, off(gradient)

    def update(executor, i, gradient, scalars):
        plain_update(executor, i, off(gradient), scalars)
        place = executor.plan.parameters[i].slice
        for stored in (executor.parameters[i], executor.optimizer_state[:, place]):
            stored[...] = off(stored, STORED * eps)

    with (
        mock.patch.object(backpropagation, "_forward", forward),
        mock.patch.object(backpropagation, "_backward", backward),
        mock.patch.object(formulas, "batch_norm_forward", batch_norm),
        mock.patch.object(formulas, "layer_norm_forward", layer_norm),
        mock.patch.object(reference.ReferenceExecutor, "_update", update),
    ):
        yield


def tolerances(problem: Problem, steps: int) -> tuple[list[dict], list[dict]]:
    """Return what the reference engine finds, and the tolerance of each tensor in it."""

    def course():
        found = problem.course("reference", steps)
        if not all(np.isfinite(x).all() for one in found for x in one.values()):
            raise BluntError("values beyond the dtype have no distance")
        return found

    expected, eps = course(), float(np.finfo(problem.dtype).eps)
    spread = [dict.fromkeys(found, 0.0) for found in expected]
    for seed in range(DRAWS):
        with perturbed(problem.terms, problem.dtype, seed):
            drawn = course()
        for changes, one, other in zip(spread, expected, drawn, strict=True):
            for name in one:
                change = float(np.abs(other[name] - one[name]).max(initial=0))
                changes[name] = max(changes[name], change)
    allowed = [
        {n: FACTOR * c[n] + 4 * eps * float(np.abs(x).max(initial=0)) for n, x in one.items()}
        for c, one in zip(spread, expected, strict=True)
    ]
    return expected, allowed


def sharpness(expected: dict, allowed: dict) -> float:
    """Return how many of the parameters have a tolerance that is small beside what training moved.

    Small is 1e-6 of what the parameter that moved most has moved, in float32 1e-2. A bias before
    BatchNorm has no gradient but rounding errors: nothing of its own can be the measure.
    """
    moved = [name for name in expected if name.startswith("moved")]
    most = max((float(np.abs(expected[name]).max(initial=0)) for name in moved), default=0.0)
    limit = (1e-6 if expected["outputs"].dtype == np.float64 else 1e-2) * most
    # All frozen: nothing may move at all, which is as sharp as can be.
    return sum(allowed[name] <= limit for name in moved) / len(moved) if moved else 1.0


def assert_agree(problem: Problem, steps: int = 200, *, sharp: float = 1.0) -> None:
    """Train with the reference engine and, on each vector target, natively; compare everything.

    ``sharp``: the least share of parameters whose tolerance must be small beside what has moved.
    """
    steps = min(steps, 6) if FEW else steps
    expected, allowed = tolerances(problem, steps)
    for pair in zip(expected, allowed, strict=True):
        if not FEW and sharpness(*pair) < sharp:
            raise BluntError("the tolerance would hide errors: choose a problem better conditioned")
    for target in TARGETS:
        with mock.patch.dict("os.environ", DELTARULE_TARGET=target):
            found = problem.course("native", steps)
        for after, one, other, tolerance in zip(
            ("1 step", f"{steps} steps"), expected, found, allowed, strict=False
        ):
            for name in one:
                np.testing.assert_allclose(
                    other[name], one[name], rtol=0, atol=tolerance[name],
                    err_msg=f"{name} after {after}, target {target}",
                )  # fmt: skip


class BluntError(AssertionError):
    """Rounding errors grow to the size of what is learnt: nothing can be compared."""
