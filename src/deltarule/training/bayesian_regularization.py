"""Levenberg-Marquardt with a penalty whose strength follows from the data.

The rules, and their sources, stand in the docstring of
:class:`deltarule.formulas.full_batch.BayesianRegularization`.
"""

from __future__ import annotations

import math

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.data.arrays import Dataset
from deltarule.engines import Engine
from deltarule.formulas.full_batch import effective_parameters, evident_strength
from deltarule.network.network import Network
from deltarule.plan import Plan
from deltarule.training.full_batch import Losses
from deltarule.training.levenberg_marquardt import LevenbergMarquardtExecutor, Normal

FIRST = 1e-6
"""The strength before the first step, by the mean of the diagonal of ``J'J``."""
GROWTH = 2.0
"""The strength grows at most so many times in a step. Before a network fits, the residuals say that
nothing can be learnt; a penalty that believed them would shrink all parameters to 0, for good."""
SETTLED = 1e-3
"""The strength has settled where it changes by no more than this part of it."""


class BayesianRegularizationExecutor(LevenbergMarquardtExecutor):
    """Does the steps of :class:`BayesianRegularization`."""

    def __init__(self, plan: Plan, network: Network, engine: Engine, threads: int | None) -> None:
        if plan.has_penalty:
            raise InvalidValueError(
                "BayesianRegularization finds the strength of its penalty itself: leave out "
                "penalty= (in estimators, alpha=0), or use LevenbergMarquardt"
            )
        super().__init__(plan, network, engine, threads)
        self._strength = math.nan  # not known yet
        self._gamma = 0.0
        self._settled = False

    def _state(self) -> Array:
        state = super()._state()
        return np.vstack([state, np.full(state.shape[1], self._strength)])

    def _go_on_from(self, state: Array) -> None:
        super()._go_on_from(state[:-1])
        self._strength = float(state[-1, 0])

    def _with_prior(self, data: Dataset, losses: Losses, normal: Normal) -> Normal:
        """Estimate the strength anew; return the normal equations with the penalty."""
        w, n = self.twin.vector[self.trained], _residuals(data, self.plan.outputs)
        before, size = self._strength, float(w @ w)
        if math.isnan(before):
            before = FIRST * float(normal.matrix.diagonal().mean()) if len(w) else 0.0
        eigenvalues = np.linalg.eigvalsh(normal.matrix)[-n:]  # beside n all are 0
        self._gamma = effective_parameters(eigenvalues, before)
        found = evident_strength(self._gamma, 2 * losses.data, n, size) if size else before
        self._strength = min(found, GROWTH * before)
        self._settled = abs(self._strength - before) <= SETTLED * before
        matrix = normal.matrix.copy()
        matrix.flat[:: len(w) + 1] += self._strength
        return Normal(matrix, normal.gradient + self._strength * w)

    def _minimised(self, losses: Losses) -> float:
        w = self.twin.vector[self.trained]
        return losses.data + 0.5 * self._strength * float(w @ w)

    def _why_done(self, losses: Losses, normal: Normal) -> str:
        reason = super()._why_done(losses, normal)
        return reason if self._settled else ""

    def _figures(self) -> dict[str, float]:
        return super()._figures() | {
            "penalty_strength": self._strength,
            "effective_parameters": self._gamma,
        }


def _residuals(data: Dataset, outputs: int) -> int:
    """Return how many residuals have weight."""
    if data.weights is None:
        return len(data) * outputs
    count = int(np.count_nonzero(data.weights))
    return count if data.weights.ndim == 2 else count * outputs
