"""Levenberg-Marquardt: damped Gauss-Newton steps on all rows at once.

The rules, and their sources, stand in the docstring of
:class:`deltarule.formulas.full_batch.LevenbergMarquardt`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.interrupt import Interrupt
from deltarule.base.types import Array
from deltarule.data.arrays import Dataset
from deltarule.engines import Engine, Record, Run
from deltarule.engines.reference.jacobian import jacobian
from deltarule.engines.reference.passes import Context, first_not_finite, forward, gather
from deltarule.formulas.full_batch import LevenbergMarquardt, next_damping
from deltarule.formulas.losses import MeanSquaredError, SquaredError
from deltarule.formulas.penalties import L2
from deltarule.network.network import Network
from deltarule.plan import Plan
from deltarule.training.full_batch import Losses
from deltarule.training.full_batch_executor import FullBatchExecutor, report

CELLS_PER_BLOCK = 1 << 22
"""Numbers of the Jacobian that are held at once: 32 MiB."""
SMALLEST_SCALE = 1e-12
"""Of an element of D, by the largest; a parameter on which no output depends would have 0."""


NO_GRADIENT = "converged: the gradient is 0 within gradient_tolerance"
NO_FALL = "converged: the loss falls no further than by loss_tolerance of itself"
NO_DISTANCE = "converged: a step is shorter than step_tolerance of the parameters"
REASONS = ["", NO_GRADIENT, NO_FALL, NO_DISTANCE]
"""Why a run ends where it has converged."""


class Normal(NamedTuple):
    """The normal equations at some parameters, penalties included: ``J'J`` and ``J'r``."""

    matrix: Array
    gradient: Array


class LevenbergMarquardtExecutor(FullBatchExecutor):
    """Does the steps of :class:`LevenbergMarquardt`."""

    def __init__(self, plan: Plan, network: Network, engine: Engine, threads: int | None) -> None:
        assert isinstance(plan.optimizer, LevenbergMarquardt)
        check_least_squares(plan)
        super().__init__(plan, network, engine, threads)
        self._rule = plan.optimizer
        self._mu, self._nu = float(plan.optimizer.damping), 2.0
        self._scale = np.zeros(int(self.trained.sum()))  # D
        self._made_with = self._mu
        self._reached: tuple[float, str] | None = None  # a loss, and why nothing more is gained
        self._known: Losses | None = None  # the loss where the last step ended ...
        self._known_of: Dataset | None = None  # ... of these data

    @property
    def optimizer_state(self) -> Array:
        """What it goes on with, a column for every parameter."""
        return self._state()

    @optimizer_state.setter
    def optimizer_state(self, state: Array) -> None:
        self._go_on_from(state)

    def _state(self) -> Array:
        """Return ``mu``, ``nu``, where it has converged and by which rule, ``D``: (5, parameters).

        The first three are the same for every parameter; the others are 0 for frozen ones.
        """
        loss, reason = self._reached or (0.0, "")
        state = np.zeros((5, len(self.trained)))
        state[:3] = np.array([[self._mu], [self._nu], [loss]])
        state[3:, self.trained] = np.full_like(self._scale, REASONS.index(reason)), self._scale
        return state

    def _go_on_from(self, state: Array) -> None:
        self._mu, self._nu, loss = state[:3, 0].tolist()
        self._scale = state[4, self.trained]
        reasons = state[3]
        same = [r for r in range(1, len(REASONS)) if np.array_equal(reasons, r * self.trained)]
        # Of other parameters it says nothing.
        self._reached = (loss, REASONS[same[0]]) if same else None

    def run(self, run: Run, record: Record) -> None:
        """Do some steps; each is an epoch."""
        self._known_of = None  # somebody may have changed anything since
        super().run(run, record)

    def _steps(self, data: Dataset, run: Run, record: Record, most: int) -> bool:
        losses = self._known if self._known_of is data else self.losses(data)
        assert losses is not None
        normal = normal_equations(self.plan, self.twin, data, losses.weight, run.interrupt)
        if normal is None:
            record.interrupted = True
            return False
        record.diverged_at = self._not_finite(losses, normal, data)
        if record.diverged_at is not None:
            return False
        gradient = normal.gradient
        normal = self._with_prior(data, losses, normal)
        self._scale = np.maximum(self._scale, normal.matrix.diagonal())
        reason = self._why_done(losses, normal)
        if not reason:
            moved, reason = self._move(data, losses, normal, run.interrupt)
            if not moved and not reason:
                record.interrupted = True
                return False
        record.stopped = reason
        for name, value in self._figures().items():
            record.columns[name][record.steps_done] = value
        report(self.plan, record, losses, gradient)
        return True

    def _with_prior(self, data: Dataset, losses: Losses, normal: Normal) -> Normal:
        """Return the normal equations of what is minimised; here that is the loss."""
        return normal

    def _minimised(self, losses: Losses) -> float:
        """Return what is minimised, at the twin's parameters."""
        return losses.sum

    def _figures(self) -> dict[str, float]:
        """Return what the history has of a step, beside its loss."""
        return {"damping": self._made_with}

    def _why_done(self, losses: Losses, normal: Normal) -> str:
        """Return why a step would gain nothing more, or "" where it may."""
        if self._reached is not None and self._reached[0] == losses.sum:  # nobody changed anything
            return self._reached[1]
        self._reached = None
        # |cos(r, J_j)| = |J_j' r| / (|J_j| |r|), with r'r = 2 loss
        lengths = np.sqrt(normal.matrix.diagonal() * 2 * self._minimised(losses))
        if (np.abs(normal.gradient) <= self._rule.gradient_tolerance * lengths).all():
            return NO_GRADIENT
        return ""

    def _move(
        self, data: Dataset, losses: Losses, normal: Normal, interrupt: Interrupt
    ) -> tuple[bool, str]:
        """Make the first step that lowers the loss, with ever larger damping.

        Returns whether one was made, and why there is none; neither after an interrupt.
        """
        rule, start, w = self._rule, self.twin.vector.copy(), self.twin.vector[self.trained]
        scale = np.maximum(self._scale, SMALLEST_SCALE * self._scale.max())
        here = self._minimised(losses)
        while self._mu <= rule.largest_damping:
            if interrupt.requested:
                return False, ""
            self._made_with = self._mu
            h = solve(normal.matrix, self._mu * scale, -normal.gradient)
            gain = 0.0
            if h is not None:
                # The linear model falls from 1/2 r'r by 1/2 h'(mu D h - J'r).
                predicted = 0.5 * float(h @ (self._mu * scale * h - normal.gradient))
                self.twin.vector = start
                self.twin.vector[self.trained] += h
                there = self.losses(data)
                fall = here - self._minimised(there)
                if not (math.isfinite(fall) and self.fits_dtype()):
                    fall = -math.inf
                gain = fall / predicted if predicted > 0 else 0.0
                reason = self._converges(h, w, scale, fall / here, predicted / here)
                if reason and gain <= 0:
                    self.twin.vector = start
                    return False, reason
            self._mu, self._nu = next_damping(self._mu, self._nu, gain)
            if gain > 0:
                self._write()
                self._known, self._known_of = there, data
                self._reached = (there.sum, reason) if reason else None
                return True, ""
        self._mu, self._nu = rule.damping, 2.0
        self.twin.vector = start
        return False, f"no step lowers the loss, up to a damping of {rule.largest_damping:g}"

    def _converges(self, h: Array, w: Array, scale: Array, fall: float, predicted: float) -> str:
        """Return why a step, made or not, is so small that it is the last; "" where it is not."""
        rule = self._rule
        if abs(fall) <= rule.loss_tolerance and predicted <= rule.loss_tolerance:
            return NO_FALL
        if np.sqrt(h @ (scale * h)) <= rule.step_tolerance * np.sqrt(w @ (scale * w)):
            return NO_DISTANCE
        return ""

    def _not_finite(self, losses: Losses, normal: Normal, data: Dataset) -> str | None:
        """Return where a value is not finite, or None."""
        if not math.isfinite(losses.sum):
            x, _, _ = gather(self.plan, data, slice(None))
            return first_not_finite(self.plan, forward(self.plan, x, context_of(self.twin)))
        if np.isfinite(normal.matrix.diagonal()).all() and np.isfinite(normal.gradient).all():
            return None
        finite = np.isfinite(normal.matrix.diagonal()) & np.isfinite(normal.gradient)
        bad = np.flatnonzero(self.trained)[np.argmin(finite)]
        return next(p.name for p in self.plan.parameters if p.offset <= bad < p.offset + p.size)


def normal_equations(
    plan: Plan, network: Network, data: Dataset, total: float, interrupt: Interrupt
) -> Normal | None:
    """Return ``J'J`` and ``J'r`` of all rows and of the penalties; None after an interrupt.

    The Jacobian is computed in blocks of rows, so memory is that of ``J'J`` and of one block.
    ``total``: the sum of weights.
    """
    places, p = plan.trained_places
    context = context_of(network)
    A, g = np.zeros((p, p)), np.zeros(p)
    k, n = plan.outputs, len(data)
    size = max(1, CELLS_PER_BLOCK // max(k * p, sum(plan.widths)))
    for first in range(0, n, size):
        if interrupt.requested:
            return None
        x, t, w = gather(plan, data, slice(first, first + size))
        a, J = jacobian(plan, x, context)
        r = a - t
        if w is not None:
            root = np.sqrt(w if w.ndim == 2 else w[:, None])
            J *= root[:, :, None]
            r *= root
        J = J.reshape(len(x) * k, p)
        A += J.T @ J
        g += J.T @ r.reshape(-1)
    factor = _factor(plan, total)
    A *= factor
    g *= factor
    for place, parameter in zip(places, plan.parameters, strict=True):
        if place is not None and isinstance(parameter.penalty, L2):
            W = network.vector[parameter.slice]
            g[place] += parameter.penalty_gradient(W, total)
            strength = parameter.penalty.strength
            curvature = strength / total if parameter.penalty.over_batch else strength
            A[place, place].flat[:: parameter.size + 1] += curvature
    return Normal(A, g)


def _factor(plan: Plan, total: float) -> float:
    """Return the data loss over half the weighted sum of squares of ``a - t``."""
    assert plan.loss is not None
    factor = 2 / plan.outputs if isinstance(plan.loss, MeanSquaredError) else 1.0
    return factor / total if plan.loss.reduction == "mean" else factor


def context_of(network: Network) -> Context:
    """Return what a pass of a network reads."""
    return Context(list(network.parameters.values()), list(network.state.values()), training=True)


def solve(matrix: Array, diagonal: Array, b: Array) -> Array | None:
    """Solve ``(matrix + diag(diagonal)) x = b`` by Cholesky; None where it is not positive."""
    damped = matrix.copy()
    damped.flat[:: len(b) + 1] += diagonal
    try:
        L = np.linalg.cholesky(damped)
    except np.linalg.LinAlgError:
        return None
    x = _back(L.T, _forward(L, b))
    return x if np.isfinite(x).all() else None


_BLOCK = 64  # NumPy has no triangular solver: small blocks are solved by its general one


def _forward(L: Array, b: Array) -> Array:
    """Solve ``L x = b`` for a lower triangle, block after block."""
    x = b.copy()
    for i in range(0, len(b), _BLOCK):
        rows = slice(i, i + _BLOCK)
        x[rows] = np.linalg.solve(L[rows, rows], x[rows] - L[rows, :i] @ x[:i])
    return x


def _back(U: Array, b: Array) -> Array:
    """Solve ``U x = b`` for an upper triangle: the lower one, seen from its other end."""
    return _forward(U[::-1, ::-1], b[::-1])[::-1]


def check_least_squares(plan: Plan) -> None:
    """Raise where the loss is no sum of squares."""
    name = type(plan.optimizer).__name__
    if type(plan.loss) not in (SquaredError, MeanSquaredError):
        raise InvalidValueError(
            f"{name} minimises sums of squares: the loss must be 'squared_error' or "
            f"'mean_squared_error', got {plan.loss!r}; use another optimizer, such as 'adam'"
        )
    for parameter in plan.parameters:
        if parameter.penalty is not None and type(parameter.penalty) is not L2:
            raise InvalidValueError(
                f"{name} minimises sums of squares, and the penalty {parameter.penalty!r} is none: "
                "use L2, or another optimizer"
            )
