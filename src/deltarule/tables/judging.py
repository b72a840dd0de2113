"""How good a model is on rows that it has not seen: who holds out what, scores and their intervals.

Small tables are judged by cross-validation: each row is held out once. Of large ones a part is held
out. Every contender predicts the same rows, so that differences are paired.

Intervals have a level of 95 %. That of the accuracy is Wilson's; all others are percentiles of the
bootstrap over the judged rows. They say how much the score would move with other rows of this kind,
not how much with another training.

Sources: Wilson, "Probable inference, the law of succession, and statistical inference" (1927);
Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.random import Purpose, permutation
from deltarule.base.types import Array
from deltarule.data.split import split_rows
from deltarule.tables.tallies import MEASURES, Outputs

LEVEL = 0.95
_Z = 1.959963984540054
"""The normal quantile of (1 + LEVEL) / 2."""
SMALL = 5_000
"""Below so many rows the default is cross-validation."""
FOLDS = 5
SHARE = 0.2
_REPLICATES = 1_000
_DRAWS = 20_000_000
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Plan:
    """Which rows are held out: a list of (training rows, judged rows).

    Attributes
    ----------
    folds : int
        Number of parts of a cross-validation; 0 for a hold-out.
    splits : tuple of (array, array)
        Row numbers, ascending.
    """

    folds: int
    splits: tuple[tuple[Array, Array], ...]

    @property
    def words(self) -> str:
        """How the scores come about, for people."""
        if self.folds:
            return (
                f"{self.folds}-fold cross-validation: each row is predicted by a model that has "
                "not seen it"
            )
        training, judged = self.splits[0]
        return f"{len(judged):,} rows held out, {len(training):,} rows for training"


def plan_judgement(
    n: int,
    labels: Array | None = None,
    *,
    folds: int | None = None,
    holdout: float | None = None,
    seed: int = 0,
) -> Plan:
    """Return which rows are held out.

    Parameters
    ----------
    n : int
        Rows.
    labels : integer array (n,), optional
        Classes; each of them is spread over the parts evenly, to within one row.
    folds : int, optional
        Parts of a cross-validation. By default 5 below 5,000 rows.
    holdout : float, optional
        Share of rows held out once. By default 0.2 from 5,000 rows on.

    Raises
    ------
    ValueError
        Both are given, one is impossible, or there are too few rows.

    Examples
    --------
    >>> plan = plan_judgement(10, folds=5)
    >>> sorted(np.concatenate([judged for _, judged in plan.splits]).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    if folds is not None and holdout is not None:
        raise InvalidValueError("give folds or a hold-out, not both")
    if n < 4:
        raise InvalidValueError(f"{n} rows with a target are too few to judge a model; it takes 4")
    if folds is None and holdout is None:
        folds, holdout = (min(FOLDS, n), None) if n < SMALL else (None, SHARE)
    if folds is None:
        assert holdout is not None
        return Plan(0, (split_rows(n, holdout, labels, seed=seed),))
    if folds < 2:
        raise InvalidValueError(f"folds must be at least 2, got {folds}")
    if folds > n:
        raise InvalidValueError(f"folds must be at most the number of rows, {n}; got {folds}")
    part = fold_numbers(n, folds, labels, seed=seed)
    rows = np.arange(n)
    return Plan(folds, tuple((rows[part != i], rows[part == i]) for i in range(folds)))


def fold_numbers(n: int, folds: int, labels: Array | None = None, *, seed: int = 0) -> Array:
    """Return the part (n,) of each row, drawn at random; classes are spread evenly."""
    order = permutation(seed, Purpose.SPLIT, n)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    part = np.empty(n, dtype=np.int64)
    part[order] = np.arange(n) % folds
    return part


@dataclass(frozen=True)
class Score:
    """A score with its interval; ``best`` is "max" or "min"."""

    name: str
    value: float
    low: float
    high: float
    best: str = "max"


@dataclass(frozen=True, eq=False)
class Judgement:
    """What contenders predicted for the same held-out rows, and how good that is.

    Attributes
    ----------
    task : "classification" or "regression"
    rows : array (n,)
        The judged rows, ascending.
    y : array (n,)
        Their classes (integers) or values.
    outputs : mapping of str to array
        Of each contender: probabilities (n, classes) or values (n,). The first is the model.
    scores : mapping of str to tuple of Score
        Of each contender; the first score is the main one.
    gains : mapping of str to tuple of Score
        Of each other contender: the model's scores minus its, with paired intervals.
    """

    task: str
    rows: Array
    y: Array
    outputs: Mapping[str, Outputs]
    scores: Mapping[str, tuple[Score, ...]]
    gains: Mapping[str, tuple[Score, ...]]

    def score(self, contender: str, name: str) -> Score | None:
        """Return one score of a contender, or None where it is not defined."""
        return next((s for s in self.scores[contender] if s.name == name), None)


def judge(
    task: str, rows: Array, y: Array, outputs: Mapping[str, Outputs], *, seed: int = 0
) -> Judgement:
    """Score what contenders predicted for the rows that they had not seen.

    Parameters
    ----------
    task : "classification" or "regression"
    rows : array (n,)
    y : array (n,)
        Classes from 0 to k - 1, or values.
    outputs : mapping of str to array
        Probabilities (n, k) or values (n,). The first contender is the model.

    Returns
    -------
    Judgement
        Scores of a classification: accuracy, balanced_accuracy, roc_auc, log_loss; of a
        regression: r2, mae, rmse. A score that is not defined is left out (the AUC of one class).

    Examples
    --------
    >>> y = np.array([0, 0, 1, 1])
    >>> sure = np.array([[.9, .1], [.8, .2], [.3, .7], [.6, .4]])
    >>> found = judge("classification", np.arange(4), y, {"model": sure, "half": sure * 0 + .5})
    >>> [(s.name, round(s.value, 3)) for s in found.scores["model"]][:3]
    [('accuracy', 0.75), ('balanced_accuracy', 0.75), ('roc_auc', 1.0)]
    """
    measures = MEASURES[task]
    n = len(y)
    tallies = {
        who: {name: tally for name, (_, make) in measures.items() if (tally := make(y, given))}
        for who, given in outputs.items()
    }
    once = np.ones((1, n))
    values = {
        who: {name: float(tally(once)[0]) for name, tally in those.items()}
        for who, those in tallies.items()
    }
    parts: dict[str, dict[str, list[Array]]] = {
        who: {name: [] for name in those} for who, those in tallies.items()
    }
    for counts in resamplings(n, seed=seed):
        for who, those in tallies.items():
            for name, tally in those.items():
                parts[who][name].append(tally(counts))
    drawn = {
        who: {name: np.concatenate(found) for name, found in those.items()}
        for who, those in parts.items()
    }
    scores = {
        who: tuple(
            _score(name, values[who][name], drawn[who][name], n, measures[name][0])
            for name in measures
            if name in values[who]
        )
        for who in outputs
    }
    model = next(iter(outputs))
    gains = {
        who: tuple(
            Score(
                name,
                values[model][name] - values[who][name],
                *_percentiles(drawn[model][name] - drawn[who][name]),
                best=best,
            )
            for name, (best, _) in measures.items()
            if name in values[model] and name in values[who]
        )
        for who in outputs
        if who != model
    }
    return Judgement(task, rows, y, dict(outputs), scores, gains)


def resamplings(n: int, *, seed: int = 0) -> Iterator[Array]:
    """Yield how often each of n rows is drawn in bootstrap samples: float64 (replicates, n)."""
    generator = np.random.default_rng([seed, n])
    left = int(np.clip(_DRAWS // n, 100, _REPLICATES))
    while left:
        b = min(left, max(1, _AT_ONCE // n))
        drawn = generator.integers(0, n, size=(b, n))
        drawn += n * np.arange(b)[:, None]
        yield np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n).astype(np.float64)
        left -= b


def wilson(right: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of ``right`` out of ``n``.

    ``(p + z^2/2n ± z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)``

    Examples
    --------
    >>> tuple(round(end, 3) for end in wilson(10, 10))
    (0.722, 1.0)
    """
    p, extra = right / n, _Z**2 / n
    middle = (p + extra / 2) / (1 + extra)
    reach = _Z * np.sqrt(p * (1 - p) / n + extra / (4 * n)) / (1 + extra)
    return max(float(middle - reach), 0.0), min(float(middle + reach), 1.0)


def _score(name: str, value: float, drawn: Array, n: int, best: str) -> Score:
    low, high = wilson(value * n, n) if name == "accuracy" else _percentiles(drawn)
    return Score(name, value, low, high, best)


def _percentiles(drawn: Array) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


# A measure takes (y, outputs) and returns how it follows from counts of rows, or None.
