"""Metrics: what is reported about predictions beside the loss.

A metric is called as ``metric(y, a, w)`` with targets ``y`` as given, predictions ``a``
(n, outputs) and weights ``w`` (n,) or None, and returns one number. Any function with these
arguments is taken too; its ``__name__`` is its name.

Predicted classes are the argmax of several outputs, or ``a > 1/2`` of a single one. With several
independent outputs (multi-label) every output counts as a question of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deltarule.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.settings import Setting
from deltarule.types import Array


@dataclass(frozen=True)
class Metric(Setting):
    """Base of the metrics.

    Attributes
    ----------
    best : "max" or "min"
        Which way is better.
    """

    family: ClassVar[str] = "metric"
    best: ClassVar[str] = "max"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        """Return the metric of predictions ``a`` (n, outputs) for targets ``y``."""
        raise NotImplementedError


@dataclass(frozen=True)
class FunctionMetric(Metric):
    """A plain function ``(y, a, w) -> number``."""

    name: ClassVar[str] = "function"
    function: Callable[[Array, Array, Array | None], float]

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        return float(self.function(y, a, w))


@dataclass(frozen=True)
class Accuracy(Metric):
    """Weighted share of right answers; with several labels per row, of right single labels."""

    name: ClassVar[str] = "accuracy"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        truth, predicted = classes(y, a)
        return _average((truth == predicted).reshape(len(a), -1).mean(axis=1), w)


@dataclass(frozen=True)
class BalancedAccuracy(Metric):
    """Mean over classes of the recall: each class counts alike, however rare."""

    name: ClassVar[str] = "balanced_accuracy"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        table = confusion_matrix(y, a, w)
        present = table.sum(axis=1) > 0
        return float((np.diag(table)[present] / table.sum(axis=1)[present]).mean())


@dataclass(frozen=True)
class Precision(Metric):
    """Right among those predicted positive, averaged over classes (one class: of class 1).

    A class that is never predicted counts as 0.
    """

    name: ClassVar[str] = "precision"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        hits, predicted, _ = _counts(y, a, w)
        return float(_ratio(hits, predicted).mean())


@dataclass(frozen=True)
class Recall(Metric):
    """Found among those that are positive, averaged over classes (one class: of class 1)."""

    name: ClassVar[str] = "recall"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        hits, _, positive = _counts(y, a, w)
        return float(_ratio(hits, positive).mean())


@dataclass(frozen=True)
class F1(Metric):
    """Harmonic mean of precision and recall, averaged over classes (one class: of class 1)."""

    name: ClassVar[str] = "f1"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        hits, predicted, positive = _counts(y, a, w)
        return float(_ratio(2 * hits, predicted + positive).mean())


@dataclass(frozen=True)
class RocAuc(Metric):
    """Chance that a positive example scores above a negative one; ties count half.

    Several classes: the mean over classes of one against the rest.
    """

    name: ClassVar[str] = "roc_auc"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        weight = np.ones(len(a)) if w is None else w
        positive = _memberships(y, a)
        return float(np.mean([_area(positive[:, k], a[:, k], weight) for k in range(a.shape[1])]))


@dataclass(frozen=True)
class LogLoss(Metric):
    """Mean negative log-probability of the true class, without smoothing or penalty."""

    name: ClassVar[str] = "log_loss"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        p = np.clip(a.astype(np.float64), np.finfo(np.float64).tiny, 1.0)
        t = _memberships(y, a, hard=False)
        each = t * np.log(p)
        if a.shape[1] == 1 or _is_multilabel(y):
            q = np.clip(1 - a.astype(np.float64), np.finfo(np.float64).tiny, 1.0)
            each = each + (1 - t) * np.log(q)
        return _average(-each.sum(axis=1), w)


@dataclass(frozen=True)
class MSE(Metric):
    """Mean squared error over examples and outputs."""

    name: ClassVar[str] = "mse"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        return _average((_residual(y, a) ** 2).mean(axis=1), w)


@dataclass(frozen=True)
class RMSE(Metric):
    """Root of the mean squared error over examples and outputs."""

    name: ClassVar[str] = "rmse"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        return float(np.sqrt(MSE()(y, a, w)))


@dataclass(frozen=True)
class MAE(Metric):
    """Mean absolute error over examples and outputs."""

    name: ClassVar[str] = "mae"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        return _average(np.abs(_residual(y, a)).mean(axis=1), w)


@dataclass(frozen=True)
class MAPE(Metric):
    """Mean of ``|error| / |target|``, over targets that are not 0."""

    name: ClassVar[str] = "mape"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        t = y.reshape(a.shape).astype(np.float64)
        weight = np.broadcast_to((np.ones(len(a)) if w is None else w)[:, None], t.shape)
        used = t != 0
        if not used.any():
            return float("nan")
        return float(np.average(np.abs(_residual(y, a)[used] / t[used]), weights=weight[used]))


@dataclass(frozen=True)
class R2(Metric):
    """Share of the variance explained, ``1 - sum r^2 / sum (t - mean t)^2``; mean over outputs."""

    name: ClassVar[str] = "r2"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        weight = np.ones(len(a)) if w is None else w
        t = y.reshape(a.shape).astype(np.float64)
        spread = (weight[:, None] * (t - np.average(t, axis=0, weights=weight)) ** 2).sum(axis=0)
        rest = (weight[:, None] * _residual(y, a) ** 2).sum(axis=0)
        constant = spread == 0
        score = 1 - rest / np.where(constant, 1, spread)
        return float(np.where(constant, np.where(rest == 0, 1.0, 0.0), score).mean())


def resolve_metric(value: Any) -> tuple[str, Metric]:
    """Return (name, metric) for a name, a metric or a function ``(y, a, w) -> number``."""
    if callable(value) and not isinstance(value, (Metric, type)):
        return getattr(value, "__name__", "metric"), FunctionMetric(value)
    if not isinstance(value, (str, Metric, type)):
        raise InvalidTypeError(
            "a metric is a name such as 'accuracy' or a function (y, a, w) -> number, "
            f"got {describe_value(value)}"
        )
    metric = Metric.resolve(value)
    return metric.name, metric


def classes(y: Array, a: Array) -> tuple[Array, Array]:
    """Return true and predicted classes: (n,), or (n, outputs) of 0 and 1 for multi-label."""
    if a.shape[1] == 1:
        return (y.reshape(-1) > 0.5).astype(np.int64), (a[:, 0] > 0.5).astype(np.int64)
    if _is_multilabel(y):
        return (y > 0.5).astype(np.int64), (a > 0.5).astype(np.int64)
    truth = y.reshape(-1) if y.ndim == 1 or y.shape[1] == 1 else y.argmax(axis=1)
    return truth.astype(np.int64), a.argmax(axis=1)


def confusion_matrix(y: Array, a: Array, w: Array | None = None) -> Array:
    """Return weighted counts (true class, predicted class)."""
    truth, predicted = classes(y, a)
    if truth.ndim == 2:
        raise InvalidValueError("a confusion matrix needs one class per row, got several labels")
    k = max(a.shape[1], 2)
    cells = np.bincount(truth * k + predicted, weights=w, minlength=k * k)
    return cells.astype(np.float64).reshape(k, k)


def _is_multilabel(y: Array) -> bool:
    """Whether rows of ``y`` are independent labels: some row does not sum to 1."""
    return y.ndim == 2 and y.shape[1] > 1 and bool((np.abs(y.sum(axis=1) - 1) > 1e-3).any())


def _memberships(y: Array, a: Array, hard: bool = True) -> Array:
    """Return targets (n, outputs): of 0 and 1, or soft ones as they are."""
    k = a.shape[1]
    if k > 1 and (y.ndim == 1 or y.shape[1] == 1):
        return np.eye(k)[y.reshape(-1).astype(np.int64)]
    t = y.reshape(a.shape).astype(np.float64)
    return (t > 0.5).astype(np.float64) if hard else t


def _counts(y: Array, a: Array, w: Array | None) -> tuple[Array, Array, Array]:
    """Return weighted (hits, predicted, positive) by class, or of class 1 for one output."""
    truth, predicted = classes(y, a)
    weight = (np.ones(len(a)) if w is None else w)[:, None]
    if truth.ndim == 1:
        k = np.arange(a.shape[1]) if a.shape[1] > 1 else np.array([1])
        truth, predicted = truth[:, None] == k, predicted[:, None] == k
    return (
        (weight * (truth * predicted)).sum(axis=0),
        (weight * predicted).sum(axis=0),
        (weight * truth).sum(axis=0),
    )


def _ratio(part: Array, whole: Array) -> Array:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)


def _area(positive: Array, score: Array, weight: Array) -> float:
    """Return the area under the ROC curve by trapezia over distinct scores."""
    order = np.argsort(-score, kind="stable")
    last_of_ties = np.append(np.diff(score[order]) != 0, True)
    hits = np.cumsum((weight * positive)[order])[last_of_ties]
    false_alarms = np.cumsum((weight * (1 - positive))[order])[last_of_ties]
    if hits[-1] == 0 or false_alarms[-1] == 0:
        return float("nan")
    hits, false_alarms = np.append(0, hits), np.append(0, false_alarms)
    area = (np.diff(false_alarms) * (hits[1:] + hits[:-1]) / 2).sum()
    return float(area / (hits[-1] * false_alarms[-1]))


def _residual(y: Array, a: Array) -> Array:
    return y.reshape(a.shape).astype(np.float64) - a


def _average(each: Array, w: Array | None) -> float:
    return float(np.average(each.astype(np.float64), weights=w))
