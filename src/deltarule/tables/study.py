"""A model of a table, and what is known of it: trained, judged beside baselines, looked into."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule.base.errors import InvalidValueError, TrainingInterrupted
from deltarule.base.settings import check_integer, check_number
from deltarule.base.types import Array
from deltarule.tables import baselines
from deltarule.tables.columns import Columns
from deltarule.tables.effects import Effect, Importance, partial_dependence
from deltarule.tables.fitting import seconds_before
from deltarule.tables.importances import permutation_importances
from deltarule.tables.judging import Judgement, Plan, judge, plan_judgement
from deltarule.tables.tabular_classifier import TabularClassifier
from deltarule.tables.tabular_regressor import TabularRegressor
from deltarule.tables.target import Target
from deltarule.training.callbacks import Callback

if TYPE_CHECKING:
    from pathlib import Path

MODEL, LINEAR = "network", "linear model"
MAJORITY, MEAN = "most frequent class", "mean"
_REPEATS = 3
_IMPORTANCE_ROWS = 5_000
_EFFECTS = 12
_SHUFFLED = 200
"""Of more columns, those that correlate most with the target are shuffled."""


@dataclass(frozen=True, eq=False)
class Study:
    """A trained model and what is known of it.

    Attributes
    ----------
    estimator : TabularClassifier or TabularRegressor
    plan : Plan
        Which rows were held out.
    judgement : Judgement
        Of the network, a linear model, and the majority or the mean.
    importances : tuple of Importance
        The most important column first.
    effects : tuple of Effect
        Of the numeric columns that matter most.
    trained_on : int
        Rows that the final model was trained on.
    stopped : str
        Why the training of the final model ended early, or "".
    """

    estimator: Any
    plan: Plan
    judgement: Judgement
    importances: tuple[Importance, ...]
    effects: tuple[Effect, ...]
    trained_on: int
    stopped: str


@dataclass(frozen=True)
class Wishes:
    """What the user asked for.

    Raises
    ------
    ValueError
        It cannot be met, whatever the table.
    """

    kinds: Mapping[str, str]
    seed: int = 0
    folds: int | None = None
    holdout: float | None = None
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if self.folds is not None and self.holdout is not None:
            raise InvalidValueError(
                f"give folds or a hold-out, not both; got folds={self.folds} and "
                f"holdout={self.holdout}"
            )
        if self.folds is not None:
            check_integer("folds", self.folds, at_least=2)
        if self.holdout is not None:
            check_number("holdout", self.holdout, above=0, below=1)
        if self.time_limit is not None:
            check_number("time_limit", self.time_limit, above=0)


def study(
    frame: Any,
    target: Target,
    encoded: Array,
    wishes: Wishes,
    *,
    callbacks: tuple[Callback, ...] = (),
    stage: Callable[[str, int, int], None] = lambda words, done, total: None,
    checkpoints: Path | None = None,
) -> Study:
    """Train a model of a table, judge it on rows that it has not seen, and look into it.

    Parameters
    ----------
    frame : pyarrow.Table
        The columns without the target; every row has one.
    target : Target
    encoded : array (n,)
        Class numbers, or values in the target's own units.
    stage : function (words, done, total)
        Called before each of the steps.
    checkpoints : Path, optional
        A folder for those of all networks. Trainings that have some there go on from them, and end
        in the same bits; all else is found anew.

    Raises
    ------
    TrainingInterrupted, KeyboardInterrupt
        Ctrl-C came before there was a model, or there are checkpoints to go on from. If it comes
        later, the study says so in ``stopped`` and lacks what had not been found yet: the linear
        model, importances, effects.
    """
    classes = None if target.classes is None else len(target.classes)
    plan = plan_judgement(
        len(encoded),
        None if classes is None else encoded,
        folds=wishes.folds,
        holdout=wishes.holdout,
        seed=wishes.seed,
    )
    steps = len(plan.splits) + bool(plan.folds)
    clock = _Budget(wishes.time_limit, steps)
    shape = (len(encoded),) if classes is None else (len(encoded), classes)
    simple = MEAN if classes is None else MAJORITY
    outputs = {who: np.zeros(shape) for who in (MODEL, LINEAR, simple)}
    found = []
    stopped = ""
    only: frozenset[str] | None = None
    estimator: Any = None
    # Ctrl-C: with folds there is no model of all rows yet, with checkpoints one can go on.
    keeps_nothing = bool(plan.folds) or checkpoints is not None
    for i, (training, held) in enumerate(plan.splits):
        what = f"fold {i + 1} of {plan.folds}" if plan.folds else "training"
        stage(what, i, steps)
        part = _taken(frame, training)
        labels = _labels(target, encoded[training])
        estimator = _estimator(target, wishes, clock.share(), callbacks)
        if checkpoints is not None:
            estimator._checkpoints = checkpoints / f"part-{i + 1}"
        try:
            lonely = classes is not None and len(np.unique(encoded[training])) < 2
            if not lonely:
                clock.fit(estimator, part, labels)
        except TrainingInterrupted:
            if keeps_nothing or not hasattr(estimator, "model_"):
                raise
            stopped = "interrupted"
        unseen = _taken(frame, held)
        outputs[simple][held] = (
            baselines.mean(encoded[training], len(held))
            if classes is None
            else baselines.majority(encoded[training], classes, len(held))
        )
        if lonely:
            outputs[MODEL][held] = outputs[LINEAR][held] = outputs[simple][held]
            continue
        outputs[MODEL][held] = _outputs(estimator, unseen, target)
        try:
            X, Z = (_numbers(estimator.columns_, rows) for rows in (part, unseen))
            if classes is None:
                outputs[LINEAR][held] = baselines.ridge(X, encoded[training], Z, seed=wishes.seed)
            else:
                outputs[LINEAR][held] = baselines.logistic(
                    X, encoded[training], Z, classes, seed=wishes.seed
                )
            if only is None and len(estimator.columns_.columns) > _SHUFFLED:
                only = _correlated(estimator.columns_, X, encoded[training], classes)
            found.append(
                (len(held), _importances(estimator, unseen, target, encoded[held], wishes, only))
            )
        except KeyboardInterrupt:
            if keeps_nothing:
                raise
            stopped = "interrupted"
            outputs.pop(LINEAR)
    rows = np.sort(np.concatenate([held for _, held in plan.splits]))
    trained_on = len(plan.splits[0][0])
    if plan.folds:
        stage("the model on all rows", steps - 1, steps)
        estimator = _estimator(target, wishes, clock.share(), callbacks)
        if checkpoints is not None:
            estimator._checkpoints = checkpoints / "all-rows"
        trained_on = len(encoded)
        try:
            clock.fit(estimator, frame, _labels(target, encoded))
        except TrainingInterrupted:
            if checkpoints is not None or not hasattr(estimator, "model_"):
                raise
            stopped = "interrupted"
    stage("looking into the model", steps, steps)
    judgement = judge(
        target.task,
        rows,
        encoded[rows],
        {who: given[rows] for who, given in outputs.items()},
        seed=wishes.seed,
    )
    importances = _merged(found)
    sample = _taken(frame, rows[: 20 * _IMPORTANCE_ROWS])
    columns = {column.name: column for column in estimator.columns_.columns}
    numeric = [i.name for i in importances if columns[i.name].use == "number"][:_EFFECTS]
    effects: Sequence[Effect] = ()
    try:
        effects = partial_dependence(estimator.model_, sample, numeric, seed=wishes.seed)
    except KeyboardInterrupt:
        if checkpoints is not None:
            raise
        stopped = "interrupted"
    if not stopped and any(h.stopped == "time limit" for h in estimator.histories_):
        stopped = "time limit"
    return Study(estimator, plan, judgement, importances, tuple(effects), trained_on, stopped)


class _Budget:
    """Seconds for several trainings: each gets an equal share of what is left."""

    def __init__(self, seconds: float | None, trainings: int) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._left = trainings

    def share(self) -> float | None:
        if self._end is None:
            return None
        share = max(self._end - time.monotonic(), 0.01) / max(self._left, 1)
        self._left -= 1
        return share

    def fit(self, estimator: Any, frame: Any, labels: Array) -> None:
        """Fit an estimator; count the seconds too that its trainings took before they went on."""
        began = time.monotonic()
        estimator.fit(frame, labels)
        if self._end is not None:
            self._end -= seconds_before(estimator.histories_, began)


def _estimator(
    target: Target, wishes: Wishes, time_limit: float | None, callbacks: tuple[Callback, ...]
) -> Any:
    made = TabularClassifier if target.classes is not None else TabularRegressor
    return made(
        kinds=dict(wishes.kinds) or None,
        time_limit=time_limit,
        callbacks=list(callbacks) or None,
        progress=False,
        on_interrupt="raise",
        random_state=wishes.seed,
    )


def _labels(target: Target, encoded: Array) -> Array:
    return encoded if target.classes is None else target.classes[encoded]


def _outputs(estimator: Any, frame: Any, target: Target) -> Array:
    """Return values (n,), or probabilities (n, classes) of all classes: some may be unknown."""
    if target.classes is None:
        return np.asarray(estimator.model_.predict(frame))
    known = estimator.model_.target.classes.tolist()
    place = {label: i for i, label in enumerate(target.classes.tolist())}
    found = np.zeros((frame.num_rows, len(place)))
    found[:, [place[label] for label in known]] = estimator.model_.probabilities(frame)
    return found


def _numbers(columns: Columns, frame: Any) -> Array:
    """Return the numbers of a frame, with an indicator for each category instead of its code."""
    X = columns.transform(frame)
    parts, last = [], 0
    for position, categories in columns.code_columns:
        parts += [X[:, last:position], X[:, [position]] == np.arange(categories)]
        last = position + 1
    return np.concatenate([*parts, X[:, last:]], axis=1).astype(np.float32) if parts else X


def _correlated(columns: Columns, X: Array, y: Array, classes: int | None) -> frozenset[str] | None:
    """Return the columns whose numbers correlate most with the target or with a class."""
    if columns.code_columns:
        return None
    Z, _ = baselines.standardised(X, X[:0])
    wanted = y[:, None] if classes is None else y[:, None] == np.arange(classes)
    T, _ = baselines.standardised(wanted.astype(np.float32), wanted[:0].astype(np.float32))
    strength = np.abs(Z.T @ T).max(axis=1)
    found: dict[str, float] = {}
    for name, value in zip(columns.sources, strength.tolist(), strict=True):
        found[name] = max(value, found.get(name, 0.0))
    return frozenset(sorted(found, key=lambda name: -found[name])[:_SHUFFLED])


def _importances(
    estimator: Any,
    frame: Any,
    target: Target,
    encoded: Array,
    wishes: Wishes,
    only: frozenset[str] | None,
) -> tuple[tuple[str, ...], Array]:
    model = estimator.model_
    if target.classes is None:
        y = model.target.encode(encoded)
    else:
        known = np.isin(target.classes[encoded], model.target.classes)
        frame = _taken(frame, np.flatnonzero(known))
        y = model.target.encode(target.classes[encoded[known]])
    if not len(y):
        names = tuple(column.name for column in model.columns.columns)
        return names, np.zeros((len(names), 0))
    found = permutation_importances(
        model,
        frame,
        y,
        repeats=_REPEATS,
        rows=_IMPORTANCE_ROWS,
        only=only,
        seed=wishes.seed,
    )
    return found.names, found.values


def _merged(found: list[tuple[int, tuple[tuple[str, ...], Array]]]) -> tuple[Importance, ...]:
    """Return the mean over folds and shuffles of each column, the most important first."""
    if not found:
        return ()
    names = found[0][1][0]
    each = np.concatenate([values for _, (_, values) in found], axis=1)
    weight = np.concatenate([np.full(values.shape[1], n) for n, (_, values) in found])
    if not weight.sum():
        raise InvalidValueError("no row was held out")
    mean = np.average(each, axis=1, weights=weight)
    spread = np.sqrt(np.average((each - mean[:, None]) ** 2, axis=1, weights=weight))
    order = np.argsort(-mean, kind="stable")
    return tuple(Importance(names[i], float(mean[i]), float(spread[i])) for i in order)


def _taken(frame: Any, rows: Array) -> Any:
    return frame.take(rows)
