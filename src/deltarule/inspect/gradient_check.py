"""Backpropagation's gradient against finite differences of the reported loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.data import as_matrix, as_targets, as_weights
from deltarule.engines.reference import Context, forward
from deltarule.errors import DeltaruleError, InvalidValueError
from deltarule.inspect.trace import _as_rows, _as_target_rows, trace_pass
from deltarule.network import Network
from deltarule.plan import ActivationOperation, LossLike, PenaltyLike, Plan, compile_network
from deltarule.random import Purpose, check_seed, words
from deltarule.settings import check_integer, check_number
from deltarule.types import Array

_STEPS = (1e-3, 1e-4, 1e-5)
"""Step lengths, tried in turn while a kink lies within the stencil."""


class GradientCheckError(DeltaruleError, AssertionError):
    """A gradient does not agree with finite differences."""


@dataclass(frozen=True)
class ParameterCheck:
    """The check of one parameter array.

    Attributes
    ----------
    name : str
    relative_error : float
        The largest over all directions; NaN where kinks left none.
    derivative, difference : float
        Backpropagation's and the finite difference's derivative where the error is largest.
    coordinate : tuple of int or None
        Where that is, in a check by coordinates.
    checked, skipped : int
        Directions compared, and left out since a kink lies too near.
    """

    name: str
    relative_error: float
    derivative: float
    difference: float
    coordinate: tuple[int, ...] | None
    checked: int
    skipped: int


@dataclass(frozen=True)
class GradientCheck:
    """The outcome of :func:`check_gradients`; true where every gradient agrees.

    Attributes
    ----------
    parameters : tuple of ParameterCheck
    tolerance : float
    """

    parameters: tuple[ParameterCheck, ...]
    tolerance: float

    @property
    def worst(self) -> ParameterCheck:
        """The parameter with the largest relative error."""
        return max(self.parameters, key=lambda p: -1.0 if np.isnan(p.relative_error) else p.relative_error)

    @property
    def ok(self) -> bool:
        """Whether every parameter was compared in some direction and agrees within tolerance."""
        return all(p.relative_error <= self.tolerance for p in self.parameters)

    def __bool__(self) -> bool:
        return self.ok

    def raise_if_wrong(self) -> None:
        """Raise GradientCheckError, naming the worst parameter, unless every gradient agrees."""
        if not self.ok:
            raise GradientCheckError(str(self))

    def __str__(self) -> str:
        width = max(len("parameter"), *(len(p.name) for p in self.parameters))
        lines = [f"{'parameter':{width}}  relative error  backpropagation   finite difference  directions"]
        for p in self.parameters:
            mark = "" if p.relative_error <= self.tolerance else "  <-- wrong"
            if p.checked == 0:
                mark = "  <-- not checked: kinks on every side"
            place = "" if p.coordinate is None else f"  worst at {list(p.coordinate)}"
            lines.append(
                f"{p.name:{width}}  {p.relative_error:14.2e}  {p.derivative:15.8e}  "
                f"{p.difference:18.8e}  {p.checked:10d}{place}{mark}"
            )
        verdict = (
            f"all gradients agree (tolerance {self.tolerance:g})"
            if self.ok
            else f"the gradient of {self.worst.name!r} is wrong: relative error "
            f"{self.worst.relative_error:.2e} (tolerance {self.tolerance:g})"
        )
        return "\n".join([*lines, verdict])


def check_gradients(
    network: Network,
    x: Any,
    t: Any,
    loss: LossLike,
    *,
    penalty: PenaltyLike = None,
    sample_weight: Any = None,
    training: bool = True,
    every_coordinate: bool = False,
    directions: int = 3,
    tolerance: float = 1e-6,
    seed: int = 0,
    step: int = 0,
) -> GradientCheck:
    """Compare the gradient of every parameter with finite differences, in float64.

    Along a direction d of one parameter array the derivative is ``sum(g * d)``; it is compared with
    the fourth-order difference

    ``[L(-2h) - 8 L(-h) + 8 L(h) - L(2h)] / (12 h)``, error ``O(h^4)``.

    The relative error is ``|derivative - difference| / max(|derivative|, |difference|, floor)``, the
    floor being what rounding of L alone makes of a difference of 0. Where an activation, loss or
    penalty has a kink between the four points, shorter h are tried; where that does not help the
    direction is left out and counted.

    Parameters
    ----------
    network : Network
        A float64 copy is checked; the network itself is not touched.
    x, t, loss, penalty, sample_weight, training, seed, step
        As for :func:`backpropagate`.
    every_coordinate : bool
        Each single number of every parameter instead of random directions.
    directions : int
        Random directions of +-1 for each parameter array.
    tolerance : float
        Relative error up to which a gradient counts as right.

    Returns
    -------
    GradientCheck
        True where all agree; printing it gives a table; `worst` names the worst parameter.

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> net = dr.Network([dr.Dense(4, "tanh"), dr.Dense(2)], inputs=3, seed=0)
    >>> x, t = np.ones((5, 3)), np.zeros((5, 2))
    >>> bool(dr.check_gradients(net, x, t, "squared_error"))
    True
    """
    check_number("tolerance", tolerance, above=0)
    check_integer("directions", directions)
    twin = network.copy(dtype="float64")
    plan = compile_network(twin, loss=loss, penalty=penalty)
    if not plan.parameters:
        raise InvalidValueError("the network has no parameters to check")
    assert plan.loss is not None
    x = as_matrix(_as_rows(x, plan.inputs), inputs=plan.inputs, dtype=plan.dtype, what="x")
    t = as_targets(_as_target_rows(t, len(x), plan.loss), len(x), dtype=plan.dtype, what="t")
    t = plan.loss.check_targets(t, plan.outputs)
    weights = as_weights(sample_weight, len(x))
    trace = trace_pass(
        twin, plan, x, t, weights, training=training, seed=check_seed(seed), step=step
    )
    probe = _Probe(twin, plan, trace.inputs, trace.targets, weights, training, seed, step)
    checks = []
    for index, (name, gradient) in enumerate(trace.gradients.items()):
        lines = (
            _coordinates(gradient.shape)
            if every_coordinate
            else _random_directions(gradient.shape, directions, seed, index)
        )
        checks.append(_check(probe, name, gradient, lines))
    return GradientCheck(tuple(checks), tolerance)


def _check(
    probe: _Probe, name: str, gradient: Array, lines: Iterator[tuple[tuple[int, ...] | None, Array]]
) -> ParameterCheck:
    worst = ParameterCheck(name, float("nan"), float("nan"), float("nan"), None, 0, 0)
    checked = skipped = 0
    for coordinate, direction in lines:
        found = probe.difference(name, direction)
        if found is None:
            skipped += 1
            continue
        difference, floor = found
        derivative = float((gradient * direction).sum())
        size = max(abs(derivative), abs(difference), floor)
        error = abs(derivative - difference) / size
        checked += 1
        if not error <= worst.relative_error:  # also true while it is NaN
            worst = ParameterCheck(name, error, derivative, difference, coordinate, 0, 0)
    return ParameterCheck(
        worst.name,
        worst.relative_error,
        worst.derivative,
        worst.difference,
        worst.coordinate,
        checked,
        skipped,
    )


class _Probe:
    """The loss as a function of the parameters, and the side of each kink it is on."""

    def __init__(
        self,
        network: Network,
        plan: Plan,
        x: Array,
        t: Array,
        weights: Array | None,
        training: bool,
        seed: int,
        step: int,
    ) -> None:
        self._network, self._plan = network, plan
        self._x, self._t, self._weights = x, t, weights
        self._context = Context(
            list(network.parameters.values()), list(network.state.values()), training, seed, step
        )

    def difference(self, name: str, direction: Array) -> tuple[float, float] | None:
        """Return the difference quotient and its rounding floor; None if a kink is too near."""
        W = self._network.parameters[name]
        kept = W.copy()
        try:
            for h in _STEPS:
                losses, sides = [], []
                for multiple in (-2, -1, 1, 2):
                    W[...] = kept + multiple * h * direction
                    loss, side = self._loss()
                    losses.append(loss)
                    sides.append(side)
                if all(np.array_equal(sides[0], side) for side in sides[1:]):
                    f = losses
                    quotient = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)
                    # Each of the four losses is rounded; so are the sums that make it up.
                    rounding = 18 * np.finfo(np.float64).eps * max(map(abs, f)) / (12 * h)
                    return quotient, max(1e6 * rounding * 1e-3, np.finfo(np.float64).tiny)
            return None
        finally:
            W[...] = kept

    def _loss(self) -> tuple[float, Array]:
        from deltarule.engines.reference import example_losses, loss_scale, output

        plan = self._plan
        assert plan.loss is not None
        with np.errstate(all="ignore"):
            done = forward(plan, self._x, self._context)
            losses = example_losses(plan, done, self._t)
        total = float(len(losses)) if self._weights is None else float(self._weights.sum())
        data = losses.sum() if self._weights is None else self._weights @ losses
        loss = loss_scale(plan, total) * float(data) + plan.penalty(self._network.vector)
        sides = [
            np.sign(done.values[op.source] - kink).ravel()
            for op in plan.operations
            if isinstance(op, ActivationOperation)
            for kink in op.function.kinks
        ]
        of_loss = plan.loss.kink_sides(output(plan, done)[1], self._t)
        if of_loss is not None:
            sides.append(of_loss.ravel())
        sides += [
            np.sign(self._network.vector[segment.slice])
            for segment in plan.parameters
            if segment.penalty is not None and segment.penalty.has_kink
        ]
        return loss, np.concatenate([np.zeros(1), *sides])


def _coordinates(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...] | None, Array]]:
    for coordinate in np.ndindex(shape):
        direction = np.zeros(shape)
        direction[coordinate] = 1.0
        yield coordinate, direction


def _random_directions(
    shape: tuple[int, ...], count: int, seed: int, index: int
) -> Iterator[tuple[tuple[int, ...] | None, Array]]:
    size = int(np.prod(shape))
    for k in range(count):
        drawn = words(seed, Purpose.DIRECTION, rows=1, columns=size, step=k, layer=index)
        yield None, np.where(drawn & 1, 1.0, -1.0).reshape(shape)
