"""Metrics: figures about predictions that are reported beside the loss.

A metric is called as ``metric(y, a, w)`` with targets ``y``, predictions ``a`` (n, outputs) and
weights ``w`` (n,) or None, and returns one number. Any function with these arguments is accepted
too; its ``__name__`` is its name.

For one class out of several, ``y`` holds labels (n,), and the predicted class is the argmax.
Otherwise ``y`` has one column per output, each of them a number or a yes-or-no question; the
predicted answer is yes if ``a > 1/2``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.settings import Setting, setting
from deltarule.base.types import Array


@setting
class Metric(Setting):
    """Base of the metrics.

    Attributes
    ----------
    best : "max" or "min"
        Which way is better.
    needs : str
        What the targets must be: "classes", "one class" per row, "numbers", or "" for anything.
    """

    family: ClassVar[str] = "metric"
    best: ClassVar[str] = "max"
    needs: ClassVar[str] = ""

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        """Return the metric of predictions ``a`` (n, outputs) for targets ``y``."""
        raise NotImplementedError


@setting
class FunctionMetric(Metric):
    """A plain function ``(y, a, w) -> number``."""

    function: Callable[[Array, Array, Array | None], float]

    def __post_init__(self) -> None:
        try:
            inspect.signature(self.function).bind(None, None, None)
        except TypeError:
            raise InvalidTypeError(
                "a metric function takes (y, a, w), where w is None if there are no weights; "
                f"{describe_value(self.function)} does not"
            ) from None
        except ValueError:  # a builtin without a signature
            pass

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        value = self.function(y, a, w)
        if np.ndim(value) != 0 or not isinstance(value, (Real, np.generic, np.ndarray)):
            name = getattr(self.function, "__name__", "metric")
            raise InvalidTypeError(
                f"the metric {name!r} must return one number, got {describe_value(value)}"
            )
        return float(value)


@setting
class Accuracy(Metric):
    """Weighted share of correct predictions; with several labels per row, of correct labels."""

    name: ClassVar[str] = "accuracy"
    needs: ClassVar[str] = "classes"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        truth, predicted = classes(y, a)
        return _average((truth == predicted).reshape(len(a), -1).mean(axis=1), w)


@setting
class BalancedAccuracy(Metric):
    """Mean of the recall over classes: every class counts the same, however rare it is."""

    name: ClassVar[str] = "balanced_accuracy"
    needs: ClassVar[str] = "one class"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        table = confusion_matrix(y, a, w)
        present = table.sum(axis=1) > 0
        return float((np.diag(table)[present] / table.sum(axis=1)[present]).mean())


@setting
class Precision(Metric):
    """True positives / predicted positives, mean over classes (one output: that of class 1).

    A class that occurs but is never predicted counts as 0. A class that neither occurs nor is
    predicted is left out.
    """

    name: ClassVar[str] = "precision"
    needs: ClassVar[str] = "classes"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        hits, predicted, _ = _counts(y, a, w)
        return float(_ratio(hits, predicted).mean())


@setting
class Recall(Metric):
    """True positives / actual positives, mean over classes (one output: that of class 1)."""

    name: ClassVar[str] = "recall"
    needs: ClassVar[str] = "classes"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        hits, _, positive = _counts(y, a, w)
        return float(_ratio(hits, positive).mean())


@setting
class F1(Metric):
    """Harmonic mean of precision and recall, mean over classes (one output: that of class 1)."""

    name: ClassVar[str] = "f1"
    needs: ClassVar[str] = "classes"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        hits, predicted, positive = _counts(y, a, w)
        return float(_ratio(2 * hits, predicted + positive).mean())


@setting
class RocAuc(Metric):
    """Probability that a positive example scores higher than a negative one; ties count half.

    With several classes, the mean over classes, each against the rest.
    """

    name: ClassVar[str] = "roc_auc"
    needs: ClassVar[str] = "classes"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        weight = np.ones(len(a)) if w is None else w
        positive = _memberships(y, a)
        return float(np.mean([_area(positive[:, k], a[:, k], weight) for k in range(a.shape[1])]))


@setting
class LogLoss(Metric):
    """Mean negative log-probability of the true class, without smoothing or penalty."""

    name: ClassVar[str] = "log_loss"
    needs: ClassVar[str] = "classes"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        p = np.clip(a.astype(np.float64), np.finfo(np.float64).tiny, 1.0)
        t = _memberships(y, a, hard=False)
        each = t * np.log(p)
        if not _are_labels(y, a):
            q = np.clip(1 - a.astype(np.float64), np.finfo(np.float64).tiny, 1.0)
            each = each + (1 - t) * np.log(q)
        return _average(-each.sum(axis=1), w)


@setting
class MSE(Metric):
    """Mean squared error over examples and outputs."""

    name: ClassVar[str] = "mse"
    needs: ClassVar[str] = "numbers"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        return _average((_residual(y, a) ** 2).mean(axis=1), w)


@setting
class RMSE(Metric):
    """Root of the mean squared error over examples and outputs."""

    name: ClassVar[str] = "rmse"
    needs: ClassVar[str] = "numbers"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        return float(np.sqrt(MSE()(y, a, w)))


@setting
class MAE(Metric):
    """Mean absolute error over examples and outputs."""

    name: ClassVar[str] = "mae"
    needs: ClassVar[str] = "numbers"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        return _average(np.abs(_residual(y, a)).mean(axis=1), w)


@setting
class MAPE(Metric):
    """Mean of ``|error| / |target|`` over targets other than 0."""

    name: ClassVar[str] = "mape"
    needs: ClassVar[str] = "numbers"
    best: ClassVar[str] = "min"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        t = y.reshape(a.shape).astype(np.float64)
        weight = np.broadcast_to((np.ones(len(a)) if w is None else w)[:, None], t.shape)
        used = t != 0
        if not used.any():
            return float("nan")
        return float(np.average(np.abs(_residual(y, a)[used] / t[used]), weights=weight[used]))


@setting
class R2(Metric):
    """Share of the variance explained, ``1 - sum r^2 / sum (t - mean t)^2``; mean over outputs."""

    name: ClassVar[str] = "r2"
    needs: ClassVar[str] = "numbers"

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
    """Return true and predicted classes: (n,), or (n, outputs) of 0 and 1 for several labels."""
    if _are_labels(y, a):
        return y.astype(np.int64), a.argmax(axis=1)
    truth, predicted = y.reshape(a.shape) > 0.5, a > 0.5
    if a.shape[1] == 1:
        truth, predicted = truth[:, 0], predicted[:, 0]
    return truth.astype(np.int64), predicted.astype(np.int64)


def confusion_matrix(y: Array, a: Array, w: Array | None = None) -> Array:
    """Return weighted counts (true class, predicted class)."""
    truth, predicted = classes(y, a)
    if truth.ndim == 2:
        raise InvalidValueError("a confusion matrix needs one class per row, got several labels")
    k = max(a.shape[1], 2)
    cells = np.bincount(truth * k + predicted, weights=w, minlength=k * k)
    return cells.astype(np.float64).reshape(k, k)


def check_metrics(metrics: dict[str, Metric], y: Array, outputs: int, *, classifies: bool) -> None:
    """Raise an error if a metric does not fit the targets (in the form that metrics take)."""
    questions = y.size == len(y) * outputs
    for name, metric in metrics.items():
        if metric.needs == "numbers" and not questions:
            raise InvalidValueError(
                f"the metric {name!r} compares numbers, the targets are class labels; "
                "use 'accuracy', 'log_loss' or 'f1'"
            )
        if metric.needs in ("classes", "one class") and not (classifies or _zeros_and_ones(y)):
            raise InvalidValueError(
                f"the metric {name!r} compares classes, the targets are numbers; "
                "use 'r2', 'mae' or 'rmse'"
            )
        if metric.needs == "one class" and questions and outputs > 1:
            raise InvalidValueError(
                f"the metric {name!r} needs one class per row, the targets have several labels; "
                "use 'accuracy' or 'f1'"
            )


def _zeros_and_ones(y: Array) -> bool:
    return bool(((y == 0) | (y == 1)).all())


def _are_labels(y: Array, a: Array) -> bool:
    return a.shape[1] > 1 and y.ndim == 1


def _memberships(y: Array, a: Array, hard: bool = True) -> Array:
    """Return targets (n, outputs): of 0 and 1, or soft ones as they are."""
    if _are_labels(y, a):
        return np.eye(a.shape[1])[y.astype(np.int64)]
    t = y.reshape(a.shape).astype(np.float64)
    return (t > 0.5).astype(np.float64) if hard else t


def _counts(y: Array, a: Array, w: Array | None) -> tuple[Array, Array, Array]:
    """Return weighted (hits, predicted, positive) by class, or of class 1 for one output.

    A class that neither occurs nor is predicted is left out.
    """
    truth, predicted = classes(y, a)
    weight = (np.ones(len(a)) if w is None else w)[:, None]
    if truth.ndim == 1:
        k = np.arange(a.shape[1]) if a.shape[1] > 1 else np.array([1])
        truth, predicted = truth[:, None] == k, predicted[:, None] == k
    hits = (weight * (truth * predicted)).sum(axis=0)
    predicted, positive = (weight * predicted).sum(axis=0), (weight * truth).sum(axis=0)
    occurs = (predicted + positive > 0) | (a.shape[1] == 1)
    if not occurs.any():
        occurs = ~occurs
    return hits[occurs], predicted[occurs], positive[occurs]


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
