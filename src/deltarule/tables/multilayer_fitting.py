"""A fit of one network: by steps, or by L-BFGS."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from deltarule.base.errors import DivergenceError, InvalidValueError
from deltarule.base.types import Array
from deltarule.formulas.losses import Poisson
from deltarule.formulas.schedules import Schedule
from deltarule.network.layers import BatchNorm, Dropout
from deltarule.network.network import Network
from deltarule.tables.multilayer_choices import Output, optimizer_of, penalty_of
from deltarule.tables.multilayer_course import Course, DrawnOrders
from deltarule.tables.multilayer_scores import Held, scorer_of
from deltarule.training.callbacks import check_callbacks
from deltarule.training.full_batch import FullBatch
from deltarule.training.trainer import Trainer

NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


class Examples(NamedTuple):
    """Training data as the network takes them."""

    X: Array
    targets: Array
    weights: Array | None


@dataclass
class Member:
    """A network that is fitted, and what it takes to go on with it."""

    network: Network
    course: Course
    trainer: Trainer | None = None

    @property
    def rank(self) -> float:
        """How good it is; lower is better."""
        if self.course.best_score is not None:
            return -self.course.best_score
        return self.course.loss_curve[-1]


def fit_by_steps(
    estimator: Any,
    member: Member,
    output: Output,
    data: Examples,
    held: Held | None,
    random: np.random.RandomState,
    *,
    incremental: bool,
) -> None:
    """Train a member by stochastic descent, with scikit-learn's orders and rules."""
    rows = len(data.X)
    size = batch_rows(estimator.batch_size, rows)
    if member.trainer is None or not (incremental or estimator.keep_optimizer_state):
        member.trainer = Trainer(
            member.network,
            output.loss,
            optimizer_of(estimator, output.reported.gradient),
            penalty=penalty_of(estimator.alpha, output.reported.gradient),
            clip=estimator.clip,
            seed=member.network.seed,
            threads=estimator.threads,
            engine=estimator.engine,
        )
    trainer, course = member.trainer, member.course
    orders = DrawnOrders(rows, random, trainer.epochs) if estimator.shuffle else None
    course.begin(
        estimator,
        rows=rows,
        batch_size=size,
        reported=output.reported,
        constants=_constants(output, data.targets),
        weights=data.weights,
        orders=orders,
        first_epoch=trainer.epochs,
        score=None if held is None else scorer_of(estimator, held, output.loss),
        incremental=incremental,
    )
    epochs = 1 if incremental else int(estimator.max_iter)
    callbacks = check_callbacks(estimator.callbacks)
    if estimator.restarts > 1:  # each member has its own
        callbacks = copy.deepcopy(callbacks)
    watched = held is not None and callbacks
    # A rate that falls until max_iter means to get there.
    schedule = trainer.optimizer.learning_rate
    planned = isinstance(schedule, Schedule) and schedule.spans_run
    try:
        history = trainer.run(
            data.X,
            data.targets,
            epochs=epochs,
            batch_size=size,
            shuffle=False if orders is None else orders,
            sample_weight=data.weights,
            validation=(held.X, held.targets, held.weights) if held and watched else None,
            callbacks=[course, *callbacks],
            progress=False,
            on_interrupt="return",
        )
    except DivergenceError as error:
        course.diverged()
        if held is None:
            raise InvalidValueError(f"{NOT_FINITE} ({error})") from error
        warnings.warn(f"{error}", ConvergenceWarning, stacklevel=5)
    else:
        if history.stopped == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=5)
        elif course.n_iter == epochs and not (incremental or course.stopped or planned):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=5,
            )
    # In partial_fit the best parameters come back when the rule has ended it.
    if course.best is not None and held is not None and (course.stopped or not incremental):
        member.network.vector, member.network.state_vector = course.best


def batch_rows(batch_size: Any, rows: int) -> int:
    """Return the rows of a batch; "auto" is 200 or all."""
    if isinstance(batch_size, str):
        return min(200, rows)
    if batch_size > rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=6,
        )
    return min(int(batch_size), rows)


def _constants(output: Output, targets: Array) -> Array | None:
    """Return what scikit-learn's Poisson loss of each row has more than ours: t log t - t."""
    if type(output.loss) is not Poisson or output.reported.data != output.units:
        return None
    t = targets.reshape(len(targets), -1).astype(np.float64)
    constants: Array = (t * np.log(np.where(t > 0, t, 1)) - t).sum(axis=1)
    return constants


def fit_by_lbfgs(estimator: Any, member: Member, output: Output, data: Examples) -> float:
    """Train a member by L-BFGS on all rows at once, in float64; return the loss."""
    from scipy.optimize import minimize

    for place in member.network.placed:
        if isinstance(place.layer, (Dropout, BatchNorm)):
            raise InvalidValueError(
                f"solver='lbfgs' needs a loss that is a function of the weights alone, and "
                f"{type(place.layer).__name__} makes it one of chance or of the batch; use "
                "solver='adam'"
            )
    factor = output.reported.gradient
    function = FullBatch(
        member.network.copy(dtype="float64"),
        data.X,
        data.targets,
        loss=output.loss,
        penalty=penalty_of(estimator.alpha, factor),
        sample_weight=data.weights,
        seed=member.network.seed,
        threads=estimator.threads,
        engine=estimator.engine,
    )

    constants = _constants(output, data.targets)
    constant = 0.0 if constants is None else float(np.average(constants, weights=data.weights))

    def loss_and_gradient(vector: Array) -> tuple[float, Array]:
        # As there: of a squared error of several outputs the mean, and the gradient of the sum.
        data_loss, penalty, gradient = function(vector)
        loss = output.reported.data * data_loss + output.reported.penalty * penalty + constant
        return loss, factor * gradient

    found = minimize(
        loss_and_gradient,
        member.network.vector.astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
    )
    if not np.isfinite(found.x).all() or not np.isfinite(found.fun):
        raise InvalidValueError(NOT_FINITE)
    member.network.vector = found.x
    member.course.n_iter = min(int(found.nit), int(estimator.max_iter))
    if found.status != 0:
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): "
            f"{found.message}. Increase max_iter or scale the data.",
            ConvergenceWarning,
            stacklevel=5,
        )
    return float(found.fun)
