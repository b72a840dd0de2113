"""Optimizers that take all rows in each step: settings, and the formulas of their steps.

They have no learning rate: how far a step goes follows from the loss itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from deltarule.base.guards import fixed
from deltarule.base.settings import check_integer, check_number, setting
from deltarule.base.types import Array
from deltarule.formulas.optimizers import Optimizer
from deltarule.formulas.schedules import Schedule, resolve_schedule


@fixed
@dataclass(frozen=True, repr=False, eq=False)  # @setting would keep the field learning_rate
class FullBatchOptimizer(Optimizer):
    """Base of the optimizers that take all rows in each step."""

    learning_rate: ClassVar[Schedule] = resolve_schedule(1.0)  # type: ignore[misc]

    def __post_init__(self) -> None:  # the base's is about the learning rate
        pass


@setting
class LevenbergMarquardt(FullBatchOptimizer):
    """Damped Gauss-Newton steps, for squared errors of small, smooth networks.

    With the residuals ``r`` of all rows and outputs, weighted so that the data loss is
    ``1/2 sum r^2``, and their Jacobian ``J = dr/dw``, by backpropagation::

        (J'J + mu D) h = -J'r
        w = w + h                     if that lowers the loss; otherwise mu grows, and h is
                                      computed again, until a step does

    ``D`` is the diagonal of ``J'J``, of each element the largest so far. An L2 penalty adds its
    curvature to ``J'J`` and its gradient to ``J'r``. With the gain ``rho``, the fall of the loss
    over the fall of ``1/2 |r + J h|^2``, the damping becomes::

        mu = mu * max(1/3, 1 - (2 rho - 1)^3),  nu = 2       after a step
        mu = mu * nu,  nu = 2 nu                             where h did not lower the loss

    A matrix that is not positive definite within rounding counts as an ``h`` that did not lower
    the loss: growing damping turns the step towards steepest descent and shortens it.

    It needs ``loss="squared_error"`` or ``"mean_squared_error"`` and ``batch_size=None``; an epoch
    is one step. It takes memory for ``p^2`` numbers and time for ``n k p^2 + p^3`` multiplications
    in each, for p parameters, n rows and k outputs: up to some 10,000 parameters. It computes in
    float64, whatever the network's dtype. Results may differ in the last digits with the number of
    threads of NumPy's linear algebra.

    Parameters
    ----------
    damping : float
        The first ``mu``.
    largest_damping : float
        The run ends where a larger ``mu`` would be needed: no step lowers the loss.
    loss_tolerance : float
        The run ends when a step, and the one that the linear model predicts, lower the loss by less
        than this part of it.
    step_tolerance : float
        The run ends when a step is shorter than this part of the parameters, both measured in
        ``sqrt(D)``.
    gradient_tolerance : float
        The run ends when the cosine of the angle between the residuals and each column of the
        Jacobian is at most this.

    Notes
    -----
    ``history.stopped`` says which rule ended the run. The last epoch of a run that has converged
    moves nothing, so its loss is that of the network. ``history["damping"]`` is the ``mu`` with
    which each step was made.

    Sources: Levenberg, "A method for the solution of certain non-linear problems in least squares"
    (1944); Marquardt, "An algorithm for least-squares estimation of nonlinear parameters" (1963);
    Hagan and Menhaj, "Training feedforward networks with the Marquardt algorithm" (1994). The
    damping: Nielsen, "Damping parameter in Marquardt's method" (1999). ``D`` and the rules by which
    it ends: Moré, "The Levenberg-Marquardt algorithm: implementation and theory" (1978).

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> X = np.linspace(-3, 3, 50)[:, None]
    >>> net = dr.Network([dr.Dense(6, "tanh"), dr.Dense(1)], inputs=1, seed=0)
    >>> history = dr.train(net, X, np.sin(X), loss="mse", optimizer=dr.LevenbergMarquardt(),
    ...                    epochs=100, batch_size=None)
    >>> history["loss"][-1] < 1e-6
    True
    """

    name: ClassVar[str] = "levenberg_marquardt"
    aliases: ClassVar[tuple[str, ...]] = ("lm", "trainlm", "marquardt")
    reported: ClassVar[tuple[str, ...]] = ("damping",)
    damping: float = 1e-3
    largest_damping: float = 1e10
    loss_tolerance: float = 1e-10
    step_tolerance: float = 1e-8
    gradient_tolerance: float = 1e-8

    def __post_init__(self) -> None:
        first = check_number("damping", self.damping, above=0)
        check_number("largest_damping", self.largest_damping, at_least=first)
        check_number("loss_tolerance", self.loss_tolerance, at_least=0)
        check_number("step_tolerance", self.step_tolerance, at_least=0)
        check_number("gradient_tolerance", self.gradient_tolerance, at_least=0)


@setting
class BayesianRegularization(LevenbergMarquardt):
    """Levenberg-Marquardt with a penalty on all parameters, whose strength follows from the data.

    It minimises ``1/2 r'r + s/2 w'w``, with the data loss ``1/2 r'r`` and the trained parameters w,
    weights and biases alike. Before each step the strength ``s`` is estimated anew from the
    evidence, for ``n`` residuals that have weight and the eigenvalues ``e_i`` of ``J'J``::

        gamma = sum_i e_i / (e_i + s)             the effective number of parameters
        s = gamma r'r / ((n - gamma) w'w)

    In the paper's terms ``s`` is alpha / beta, in units of the loss, and gamma is
    ``p - 2 alpha tr(H^-1)``. It begins with a millionth of the mean diagonal element of ``J'J``,
    and at most doubles in a step: residuals of a network that does not fit yet would let a strong
    penalty shrink all parameters to 0.

    So it fits noisy data without validation data, and tells how many parameters these can
    determine. It is MATLAB's ``trainbr``. It takes no other penalty. Its settings are those of
    :class:`LevenbergMarquardt`; a run has converged where ``s`` has settled, too.

    Notes
    -----
    The history's "loss" is the data loss; "penalty_strength" is ``s``, "effective_parameters" is
    gamma.

    Sources: MacKay, "Bayesian interpolation" (1992); Foresee and Hagan, "Gauss-Newton approximation
    to Bayesian learning" (1997).

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> y = np.sin(3 * X) + 0.2 * np.random.default_rng(0).normal(size=(40, 1))
    >>> net = dr.Network([dr.Dense(20, "tanh"), dr.Dense(1)], inputs=1, seed=0)
    >>> history = dr.train(net, X, y, loss="mse", optimizer=dr.BayesianRegularization(),
    ...                    epochs=300, batch_size=None)
    >>> 3 < history["effective_parameters"][-1] < 12              # of 61
    True
    """

    name: ClassVar[str] = "bayesian_regularization"
    aliases: ClassVar[tuple[str, ...]] = ("trainbr", "bayesian_regularisation")
    reported: ClassVar[tuple[str, ...]] = ("damping", "penalty_strength", "effective_parameters")


def effective_parameters(eigenvalues: Array, strength: float) -> float:
    """Return ``gamma = sum_i e_i / (e_i + s)`` for the eigenvalues of ``J'J``."""
    positive = eigenvalues[eigenvalues > 0]  # rounding may push zeros below 0
    return float((positive / (positive + strength)).sum())


def evident_strength(gamma: float, squares: float, residuals: int, size: float) -> float:
    """Return ``s = gamma r'r / ((n - gamma) w'w)`` for ``squares`` r'r and ``size`` w'w."""
    free = max(residuals - gamma, 1e-9 * residuals)  # gamma < n, but for rounding
    return gamma * squares / (free * size)


@setting
class LBFGS(FullBatchOptimizer):
    """Quasi-Newton steps for smooth losses of any kind, by SciPy (the extra ``scipy``).

    From the last ``memory`` steps and the changes of the gradient over them it guesses how the loss
    curves, and searches along the direction that follows until the loss has fallen enough. It needs
    ``batch_size=None``; an epoch is one such step, and takes one or a few evaluations of the loss
    and its gradient. It computes in float64, whatever the network's dtype. What it remembers ends
    with the run of a trainer.

    Parameters
    ----------
    memory : int
        SciPy's ``maxcor``.
    loss_tolerance : float
        The run ends when a step lowers the loss by less than this part of it, or of 1 where the
        loss is less than 1; SciPy's ``ftol``.
    gradient_tolerance : float
        The run ends when no element of the gradient is larger; SciPy's ``gtol``.
    line_search_steps : int
        Most evaluations of one step; SciPy's ``maxls``.

    Notes
    -----
    ``history.stopped`` says which rule ended the run. The last epoch of a run that has converged
    moves nothing, so its loss is that of the network. ``history["evaluations"]`` counts how often
    each step evaluated the loss.

    Sources: Liu and Nocedal, "On the limited memory BFGS method for large scale optimization"
    (1989); Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained
    optimization" (1995), which is the code in SciPy; Moré and Thuente, "Line search algorithms with
    guaranteed sufficient decrease" (1994).
    """

    name: ClassVar[str] = "lbfgs"
    aliases: ClassVar[tuple[str, ...]] = ("l_bfgs", "l_bfgs_b", "limited_memory_bfgs")
    reported: ClassVar[tuple[str, ...]] = ("evaluations",)
    memory: int = 10
    loss_tolerance: float = 1e-12
    gradient_tolerance: float = 1e-8
    line_search_steps: int = 20

    def __post_init__(self) -> None:
        check_integer("memory", self.memory, at_most=1 << 20)
        check_number("loss_tolerance", self.loss_tolerance, at_least=0)
        check_number("gradient_tolerance", self.gradient_tolerance, at_least=0)
        check_integer("line_search_steps", self.line_search_steps, at_most=1 << 20)


def next_damping(mu: float, nu: float, gain: float) -> tuple[float, float]:
    """Return Nielsen's ``mu`` and ``nu`` after a step with a gain, or one that was not made."""
    if gain > 0:
        return mu * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
    return mu * nu, 2 * nu
