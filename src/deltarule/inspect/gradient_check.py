"""Backpropagation's gradient against finite differences of the reported loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.display import html_table
from deltarule.base.errors import (
    DeltaruleError,
    InvalidTypeError,
    InvalidValueError,
    describe_value,
)
from deltarule.base.guards import fixed
from deltarule.base.random import Purpose, check_seed, words
from deltarule.base.settings import check_flag, check_integer, check_number
from deltarule.base.types import Array
from deltarule.base.words import Leading, helpful
from deltarule.engines.reference.passes import (
    Context,
    backward,
    example_losses,
    forward,
    loss_scale,
    output,
    weight_sum,
)
from deltarule.formulas.losses import Loss
from deltarule.inspect.trace import Trace, check_examples, trace_pass
from deltarule.network.network import Network
from deltarule.plan import LossLike, PenaltyLike, compile_network

_STEPS = (1e-3, 1e-4, 1e-5)
"""Step lengths h, tried in turn."""
_ROUNDINGS = 10
"""About how many roundings of its own size a computed loss has suffered."""
_EPSILON = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)


class GradientCheckError(DeltaruleError, AssertionError):
    """A gradient does not agree with finite differences."""


@fixed
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
        Directions compared, and skipped because every example lies at a kink.
    left_out : int
        Examples left out of a direction because they lie at a kink; the most of all directions.
    """

    name: str
    relative_error: float
    derivative: float
    difference: float
    coordinate: tuple[int, ...] | None
    checked: int
    skipped: int
    left_out: int = 0


@helpful
@fixed
@dataclass(frozen=True)
class GradientCheck(Leading):
    """The outcome of :func:`check_gradients`; true if every gradient agrees.

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
        return max(
            self.parameters, key=lambda p: -1.0 if np.isnan(p.relative_error) else p.relative_error
        )

    @property
    def ok(self) -> bool:
        """Whether something was compared, and all that was agrees within tolerance."""
        compared = [p for p in self.parameters if p.checked]
        return bool(compared) and all(p.relative_error <= self.tolerance for p in compared)

    def __bool__(self) -> bool:
        return self.ok

    def raise_if_wrong(self) -> None:
        """Raise GradientCheckError, naming the worst parameter, unless every gradient agrees."""
        if not self.ok:
            raise GradientCheckError(str(self))

    @property
    def verdict(self) -> str:
        """What came out, in one line."""
        skipped = sum(p.skipped for p in self.parameters)
        if not any(p.checked for p in self.parameters):
            return (
                f"nothing was checked: all {skipped} directions were skipped, since every example "
                "lies at a kink; use other data"
            )
        if self.ok:
            all_but = f", {skipped} directions skipped at kinks" if skipped else ""
            return f"all gradients agree (tolerance {self.tolerance:g}){all_but}"
        return (
            f"the gradient of {self.worst.name!r} is wrong: relative error "
            f"{self.worst.relative_error:.2e} (tolerance {self.tolerance:g})"
        )

    def __repr__(self) -> str:
        return f"GradientCheck({len(self.parameters)} parameters: {self.verdict})"

    def _repr_html_(self) -> str:
        heads = ("parameter", "relative error", "backpropagation", "finite difference", "verdict")
        rows = (
            (
                p.name,
                f"{p.relative_error:.2e}",
                f"{p.derivative:.8e}",
                f"{p.difference:.8e}",
                "right"
                if p.relative_error <= self.tolerance
                else "not checked"
                if not p.checked
                else "wrong",
            )
            for p in self.parameters
        )
        return html_table(f"GradientCheck: {self.verdict}", heads, rows, (1, 2, 3))

    def __str__(self) -> str:
        width = max(len("parameter"), *(len(p.name) for p in self.parameters))
        heads = "relative error  backpropagation   finite difference  directions"
        lines = [f"{'parameter':{width}}  {heads}"]
        for p in self.parameters:
            mark = "" if p.relative_error <= self.tolerance else "  <-- wrong"
            if p.checked == 0:
                mark = f"  <-- not checked: {p.skipped} directions skipped at kinks"
            elif p.skipped or p.left_out:
                mark += f"  (at kinks: {p.skipped} skipped, {p.left_out} examples left out)"
            place = "" if p.coordinate is None else f"  worst at {list(p.coordinate)}"
            lines.append(
                f"{p.name:{width}}  {p.relative_error:14.2e}  {p.derivative:15.8e}  "
                f"{p.difference:18.8e}  {p.checked:10d}{place}{mark}"
            )
        return "\n".join([*lines, self.verdict])


@helpful
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

    The relative error is ``|derivative - difference| / max(|derivative|, |difference|, floor)``;
    the floor allows errors that rounding of L explains. The best of several h counts: large ones
    suffer from curvature, small ones from rounding, and a wrong gradient is wrong with all. If an
    activation, loss or penalty has a kink between the four points, that h is left out. If no h
    remains, the examples that lie at a kink are left out and the gradient of the others is checked;
    without others, or where batch statistics couple them, the direction is skipped and counted.

    Parameters
    ----------
    network : Network
        A float64 copy is checked; the network itself is not changed.
    x, t, loss, penalty, sample_weight, training, seed, step
        As for :func:`backpropagate`.
    every_coordinate : bool
        Check every single number of every parameter instead of random directions.
    directions : int
        Random directions (signs, of length 1) for each parameter array.
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
    every_coordinate = check_flag("every_coordinate", every_coordinate)
    if not isinstance(network, Network):
        raise InvalidTypeError(f"expected a deltarule.Network, got {describe_value(network)}")
    twin = network.copy(dtype="float64")
    plan = compile_network(twin, loss=Loss.resolve(loss), penalty=penalty)
    if not plan.parameters:
        raise InvalidValueError("the network has no parameters to check")
    data = check_examples(network, plan, x, t, sample_weight, finite=True)
    trace = trace_pass(twin, plan, data, training=training, seed=check_seed(seed), step=step)
    parameters, state = list(twin.parameters.values()), list(twin.state.values())
    probe = _Probe(trace, Context(parameters, state, training, seed, step), tolerance)
    checks = []
    for index, (name, gradient) in enumerate(trace.gradients.items()):
        lines = (
            _coordinates(gradient.shape)
            if every_coordinate
            else _random_directions(gradient.shape, directions, seed, index)
        )
        checks.append(_check(probe, name, lines))
    return GradientCheck(tuple(checks), tolerance)


def _check(
    probe: _Probe, name: str, lines: Iterator[tuple[tuple[int, ...] | None, Array]]
) -> ParameterCheck:
    """Return the worst comparison of a parameter over some directions."""
    nothing = float("nan")
    worst, place = _Comparison(nothing, nothing, nothing), None
    checked = skipped = left_out = 0
    for coordinate, direction in lines:
        found = probe.compare(name, direction)
        if found is None:
            skipped += 1
            continue
        checked += 1
        left_out = max(left_out, found.left_out)
        if checked == 1 or not found.error <= worst.error:  # a NaN is the worst there is
            worst, place = found, coordinate
    return ParameterCheck(
        name, worst.error, worst.derivative, worst.difference, place, checked, skipped, left_out
    )


class _Comparison(NamedTuple):
    error: float
    derivative: float
    difference: float
    left_out: int = 0


class _Points(NamedTuple):
    """The loss at -2h, -h, h and 2h along a direction."""

    losses: Array  # (4, n), of each example
    penalties: Array  # (4,)
    smooth: Array  # (n,), whether an example has no kink between the points
    penalty_smooth: bool


class _Probe:
    """The reported loss as a function of the parameters of a traced network."""

    def __init__(self, trace: Trace, context: Context, tolerance: float) -> None:
        self._trace = trace
        self._context = context
        self._tolerance = tolerance

    def compare(self, name: str, direction: Array) -> _Comparison | None:
        """Return the best comparison over the step lengths; None if kinks lie within all."""
        best: _Comparison | None = None
        for h in _STEPS:
            points = self._points(name, direction, h)
            if not (points.penalty_smooth and points.smooth.all()):
                continue
            found = self._compared(points, self._trace.gradients[name], direction, h)
            if best is None or not found.error >= best.error:
                best = found
            if found.error <= self._tolerance:
                break
        if best is not None or not points.penalty_smooth or not points.smooth.any():
            return best
        if self._trace.plan.couples_rows and self._context.training:
            return None
        # Every h has a kink: the examples at it are left out.
        return self._compared(points, self._gradient(name, points.smooth), direction, h)

    def _compared(
        self, points: _Points, gradient: Array, direction: Array, h: float
    ) -> _Comparison:
        """Compare the derivative along a direction with the difference of the smooth examples."""
        weights = self._trace.weights
        # Weights of single outputs are in the losses already.
        w = np.ones(len(points.smooth)) if weights is None or weights.ndim == 2 else weights
        at = self._scale * (points.losses @ (w * points.smooth)) + points.penalties
        derivative = float((gradient * direction).sum())
        difference = float((at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h))
        rounding = _ROUNDINGS * _EPSILON * float(np.abs(at).max()) * 18 / (12 * h)
        size = max(abs(derivative), abs(difference), rounding / self._tolerance, _TINY)
        error = abs(derivative - difference) / size
        return _Comparison(error, derivative, difference, int((~points.smooth).sum()))

    @property
    def _weight(self) -> float:
        return weight_sum(self._trace.weights, len(self._trace.losses))

    @property
    def _scale(self) -> float:
        return loss_scale(self._trace.plan, self._weight)

    def _gradient(self, name: str, examples: Array) -> Array:
        """Return a parameter's gradient of the loss of some examples."""
        trace, plan = self._trace, self._trace.plan
        with np.errstate(all="ignore"):
            done = forward(plan, trace.inputs, self._context)
            weights = examples.astype(np.float64)
            if trace.weights is not None:
                weights = (trace.weights.T * weights).T
            backward(plan, done, trace.targets, weights, self._context, whole=False)
        index = next(i for i, parameter in enumerate(plan.parameters) if parameter.name == name)
        gradient = self._scale * done.gradients[index]
        parameter = plan.parameters[index]
        if parameter.penalty is not None:
            W = self._context.parameters[index]
            gradient = gradient + parameter.penalty_gradient(W, self._weight)
        return gradient

    def _points(self, name: str, direction: Array, h: float) -> _Points:
        """Return the losses at -2h, -h, h, 2h, and where a kink lies between two of them."""
        W = self._trace.network.parameters[name]
        kept = W.copy()
        found = []
        for multiple in (-2, -1, 1, 2):
            W[...] = kept + multiple * h * direction
            found.append(self._loss())
        W[...] = kept
        losses, penalties, sides, of_penalty = (np.array(part) for part in zip(*found, strict=True))
        return _Points(
            losses,
            penalties,
            smooth=(sides == sides[0]).all(axis=(0, 2)),
            penalty_smooth=bool((of_penalty == of_penalty[0]).all()),
        )

    def _loss(self) -> tuple[Array, float, Array, Array]:
        """Return losses (n,), penalty, sides of kinks (n, kinks), and sides of the penalty."""
        trace, plan = self._trace, self._trace.plan
        assert plan.loss is not None
        with np.errstate(all="ignore"):
            done = forward(plan, trace.inputs, self._context)
            losses = example_losses(plan, done, trace.targets, trace.weights)
        vector = trace.network.vector
        sides = [np.zeros((len(losses), 0))]
        sides += [
            np.sign(done.values[op.source] - kink)
            for op in plan.operations
            for kink in op.layer.kinks
        ]
        of_loss = plan.loss.kink_sides(output(plan, done)[1], trace.targets)
        if of_loss is not None:
            sides.append(of_loss)
        of_penalty = [np.zeros(0)] + [
            np.sign(vector[segment.slice])
            for segment in plan.parameters
            if segment.penalty is not None and segment.penalty.has_kink
        ]
        return (
            losses,
            plan.penalty(vector, self._weight),
            np.concatenate(sides, axis=1),
            np.concatenate(of_penalty),
        )


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
        yield None, np.where(drawn & 1, 1.0, -1.0).reshape(shape) / np.sqrt(size)
