"""Metrics: figures about predictions that are reported beside the loss.

A metric is called as ``metric(y, a, w)`` with targets ``y``, predictions ``a`` (n, outputs) and
weights ``w`` (n,) or None, and returns one number. Any function with these arguments is accepted
too; its ``__name__`` is its name.

Examples may come in parts: :meth:`Metric.tally` keeps of each what is needed, :meth:`Metric.merge`
puts two tallies together, and :meth:`Metric.finish` gives the number.

For one class out of several, ``y`` holds labels (n,), and the predicted class is the argmax.
Otherwise ``y`` has one column per output, each of them a number or a yes-or-no question; the
predicted answer is yes if ``a > 1/2``.

A call takes arrays, lists, series and data frames; with one output both ``y`` and ``a`` may be
(n,) or (n, 1). A metric that is not defined for the rows at hand (none has weight, say) raises an
error; none of them returns NaN.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    missing_formula,
)
from deltarule.base.returned import read_only
from deltarule.base.settings import Setting, is_own, setting
from deltarule.base.types import Array
from deltarule.formulas.metric_arguments import are_labels, checked, one_number


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
    meanings: ClassVar[Mapping[str, str]] = {
        "error": "it is 1 - 'accuracy'",
        "errorrate": "it is 1 - 'accuracy'",
        "loss": "the history has the loss in any case",
        "confusion": "metrics.confusion_matrix(y, predictions) is a function",
        "confusionmatrix": "metrics.confusion_matrix(y, predictions) is a function",
        "specificity": "the nearest is 'recall'",
        "mcc": "the nearest is 'balanced_accuracy'",
        "kappa": "the nearest is 'balanced_accuracy'",
        "prauc": "the nearest is 'roc_auc'",
        "averageprecision": "the nearest is 'roc_auc'",
        "topk": "give a function (y, a, w) -> number",
        "perplexity": "it is exp of 'log_loss'",
        "explainedvariance": "the nearest is 'r2'",
        "bce": "write 'log_loss'",
        "binarycrossentropy": "write 'log_loss'",
    }
    best: ClassVar[str] = "max"
    needs: ClassVar[str] = ""

    def __call__(self, y: Any, a: Any, w: Any = None) -> float:
        """Return the metric of predictions ``a`` (n, outputs) for targets ``y``."""
        raise missing_formula(self, "__call__")

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        """Return what is kept of some examples; here the examples, since all may be needed."""
        return [(y, a, w)]

    def merge(self, one: Any, other: Any) -> Any:
        """Return the tally of the examples of both."""
        return one + other

    def finish(self, tally: Any) -> float:
        """Return the metric of a tally."""
        return one_number(self.name, self(*map(read_only, _together(tally))))


class Summed(Metric):
    """Base of the metrics of which a few sums are kept, however many examples there are."""

    def __call__(self, y: Any, a: Any, w: Any = None) -> float:
        return self.finish(self.tally(*checked(self.name, self.needs, y, a, w)))


class Average(Summed):
    """Base of the weighted averages of one number for each example."""

    def each(self, y: Array, a: Array) -> Array:
        """Return the number of each example, (n,)."""
        raise missing_formula(self, "each")

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        each = self.each(y, a).astype(np.float64)
        if w is None:
            return np.array([each.sum(), len(each)])
        return np.array([(each * w).sum(), w.sum()])

    def finish(self, tally: Any) -> float:
        total, weight = tally
        if not weight:
            raise _undefined(self, "all weights are 0")
        return float(total / weight)


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
        name = getattr(self.function, "__name__", "metric")
        return one_number(name, self.function(*map(read_only, (y, a, w))))


@setting
class OfAll(Metric):
    """A metric with a ``__call__`` of its own: its base's tallies know nothing of that."""

    metric: Metric

    @property
    def best(self) -> str:  # type: ignore[override]
        return self.metric.best

    @property
    def needs(self) -> str:  # type: ignore[override]
        return self.metric.needs

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        return self.metric(y, a, w)


@setting
class Accuracy(Average):
    """Weighted share of correct predictions; with several labels per row, of correct labels."""

    name: ClassVar[str] = "accuracy"
    aliases: ClassVar[tuple[str, ...]] = (
        "acc",
        "categorical_accuracy",
        "sparse_categorical_accuracy",
        "binary_accuracy",
        "accuracy_score",
    )
    needs: ClassVar[str] = "classes"

    def each(self, y: Array, a: Array) -> Array:
        truth, predicted = classes(y, a)
        right: Array = (truth == predicted).reshape(len(a), -1).mean(axis=1)
        return right


@setting
class BalancedAccuracy(Summed):
    """Mean of the recall over classes: every class counts the same, however rare it is."""

    name: ClassVar[str] = "balanced_accuracy"
    aliases: ClassVar[tuple[str, ...]] = (
        "balanced_acc",
        "bal_acc",
        "balanced_accuracy_score",
    )
    needs: ClassVar[str] = "one class"

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        """Return (hits, positive), (2, classes)."""
        truth, predicted = _one_class(self.name, y, a)
        k = max(a.shape[1], 2)
        hits = truth == predicted
        return np.stack(
            [_totals(truth[hits], k, w if w is None else w[hits]), _totals(truth, k, w)]
        )

    def finish(self, tally: Any) -> float:
        hits, positive = tally[:, tally[1] > 0]
        if not len(positive):
            raise _undefined(self, "all weights are 0")
        return float((hits / positive).mean())


class OfCounts(Summed):
    """Base of the metrics of counts (hits, predicted, positive), averaged over classes."""

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        return _counts(y, a, w)

    def finish(self, tally: Any) -> float:
        hits, predicted, positive, weight = tally
        if not weight.any():
            raise _undefined(self, "all weights are 0")
        occurs = (predicted + positive > 0) | (len(hits) == 1)
        if not occurs.any():  # several labels, none of which is given or predicted
            occurs = ~occurs
        return float(self.by_class(hits[occurs], predicted[occurs], positive[occurs]).mean())

    def by_class(self, hits: Array, predicted: Array, positive: Array) -> Array:
        """Return the metric of each class that occurs or is predicted."""
        raise missing_formula(self, "by_class")


@setting
class Precision(OfCounts):
    """True positives / predicted positives, mean over classes (one output: that of class 1).

    A class that occurs but is never predicted counts as 0. A class that neither occurs nor is
    predicted is left out.
    """

    name: ClassVar[str] = "precision"
    aliases: ClassVar[tuple[str, ...]] = ("precision_score",)
    needs: ClassVar[str] = "classes"

    def by_class(self, hits: Array, predicted: Array, positive: Array) -> Array:
        return _ratio(hits, predicted)


@setting
class Recall(OfCounts):
    """True positives / actual positives, mean over classes (one output: that of class 1)."""

    name: ClassVar[str] = "recall"
    aliases: ClassVar[tuple[str, ...]] = (
        "recall_score",
        "sensitivity",
    )
    needs: ClassVar[str] = "classes"

    def by_class(self, hits: Array, predicted: Array, positive: Array) -> Array:
        return _ratio(hits, positive)


@setting
class F1(OfCounts):
    """Harmonic mean of precision and recall, mean over classes (one output: that of class 1)."""

    name: ClassVar[str] = "f1"
    aliases: ClassVar[tuple[str, ...]] = (
        "f1_score",
        "f_score",
        "f1_macro",
    )
    needs: ClassVar[str] = "classes"

    def by_class(self, hits: Array, predicted: Array, positive: Array) -> Array:
        return _ratio(2 * hits, predicted + positive)


@setting
class RocAuc(Metric):
    """Probability that a positive example scores higher than a negative one; ties count half.

    With several classes, the mean over the classes that occur, each against the rest. A class has
    an area only if some examples are of it and some are not; where none has, there is an error.
    """

    name: ClassVar[str] = "roc_auc"
    aliases: ClassVar[tuple[str, ...]] = (
        "auc",
        "auroc",
        "roc",
        "roc_auc_score",
    )
    needs: ClassVar[str] = "classes"

    def __call__(self, y: Any, a: Any, w: Any = None) -> float:
        return self.finish(self.tally(*checked(self.name, self.needs, y, a, w)))

    def finish(self, tally: Any) -> float:
        y, a, w = _together(tally)
        weight = np.ones(len(a)) if w is None else w
        if not weight.any():
            raise _undefined(self, "all weights are 0")
        if are_labels(y, a):
            labels = y.astype(np.int64)
            occurring = np.unique(labels[weight > 0])
            areas = [_area(labels == k, a[:, k], weight) for k in occurring]
            only = f"all examples are of class {occurring[0]}"
        else:
            positive = y.reshape(a.shape) > 0.5
            areas = [_area(positive[:, k], a[:, k], weight) for k in range(a.shape[1])]
            only = "all examples have the same answer"
            if a.shape[1] == 1:
                only = f"all examples are of class {int(positive[weight > 0][0, 0])}"
        defined = [area for area in areas if area is not None]
        if not defined:
            raise _undefined(
                self,
                f"{only}, and it compares those of a class with others; "
                "give it data with both, or use 'log_loss' or 'accuracy'",
            )
        return float(np.mean(defined))


@setting
class LogLoss(Average):
    """Mean negative log-probability of the true class, without smoothing or penalty.

    It is computed from the probabilities that the network gives, where one that rounds to 1 counts
    as 1. The cross-entropies, which are computed from the last preactivation, are finer.
    """

    name: ClassVar[str] = "log_loss"
    aliases: ClassVar[tuple[str, ...]] = (
        "cross_entropy",
        "ce",
        "nll",
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
    )
    needs: ClassVar[str] = "classes"
    best: ClassVar[str] = "min"

    def each(self, y: Array, a: Array) -> Array:
        outside = (a < 0) | (a > 1)
        if outside.any():
            raise InvalidValueError(
                f"{self.name!r} needs probabilities, got {a[outside][0].item():.6g}; end the "
                'network with Dense(1, "sigmoid"), or with "softmax" and one output per class'
            )
        tiny = np.finfo(np.float64).tiny
        if are_labels(y, a):
            p = a[np.arange(len(a)), y.astype(np.int64)].astype(np.float64)
            return -np.log(np.maximum(p, tiny))
        p, t = a.astype(np.float64), y.reshape(a.shape).astype(np.float64)
        q = 1 - p
        loss: Array = -(t * np.log(np.maximum(p, tiny)) + (1 - t) * np.log(np.maximum(q, tiny)))
        return loss.sum(axis=1)


@setting
class MSE(Average):
    """Mean squared error over examples and outputs."""

    name: ClassVar[str] = "mse"
    aliases: ClassVar[tuple[str, ...]] = ("mean_squared_error",)
    needs: ClassVar[str] = "numbers"
    best: ClassVar[str] = "min"

    def each(self, y: Array, a: Array) -> Array:
        squares: Array = (_residual(y, a) ** 2).mean(axis=1)
        return squares


@setting
class RMSE(MSE):
    """Root of the mean squared error over examples and outputs."""

    name: ClassVar[str] = "rmse"
    aliases: ClassVar[tuple[str, ...]] = ("root_mean_squared_error",)

    def finish(self, tally: Any) -> float:
        return float(np.sqrt(super().finish(tally)))


@setting
class MAE(Average):
    """Mean absolute error over examples and outputs."""

    name: ClassVar[str] = "mae"
    aliases: ClassVar[tuple[str, ...]] = ("mean_absolute_error",)
    needs: ClassVar[str] = "numbers"
    best: ClassVar[str] = "min"

    def each(self, y: Array, a: Array) -> Array:
        sizes: Array = np.abs(_residual(y, a)).mean(axis=1)
        return sizes


@setting
class MAPE(Summed):
    """Mean of ``|error| / |target|`` over targets other than 0; an error if there are none."""

    name: ClassVar[str] = "mape"
    aliases: ClassVar[tuple[str, ...]] = ("mean_absolute_percentage_error",)
    needs: ClassVar[str] = "numbers"
    best: ClassVar[str] = "min"

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        t = y.reshape(a.shape).astype(np.float64)
        weight = np.broadcast_to((np.ones(len(a)) if w is None else w)[:, None], t.shape)
        used = t != 0
        error = np.abs(_residual(y, a)[used] / t[used])
        return np.array([(error * weight[used]).sum(), weight[used].sum()])

    def finish(self, tally: Any) -> float:
        total, weight = tally
        if not weight:
            raise _undefined(self, "every target with weight is 0; use 'mae'")
        return float(total / weight)


@setting
class R2(Summed):
    """Share of the variance explained, ``1 - sum r^2 / sum (t - mean t)^2``; mean over outputs.

    A constant target has no variance: its share is 1 if it is met in every row, else 0.
    """

    name: ClassVar[str] = "r2"
    aliases: ClassVar[tuple[str, ...]] = (
        "r2_score",
        "r_squared",
        "coefficient_of_determination",
    )
    needs: ClassVar[str] = "numbers"

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        """Return the :class:`Spread` of the rows that have weight."""
        t = y.reshape(a.shape)
        if w is None:
            w = np.ones(len(a))
        elif not w.all():
            t, a, w = t[w > 0], a[w > 0], w[w > 0]
        if not len(w):
            return None
        met = (t.astype(a.dtype, copy=False) == a).all(axis=0)
        t, weight = t.astype(np.float64), w[:, None]
        low = t.min(axis=0)
        above = t - low  # exact where all are close: their mean loses nothing
        mean = np.average(above, axis=0, weights=w)
        return Spread(
            weight=float(w.sum()),
            mean=low + mean,
            spread=(weight * (above - mean) ** 2).sum(axis=0),
            rest=(weight * (t - a) ** 2).sum(axis=0),
            low=low,
            high=t.max(axis=0),
            met=met,
        )

    def merge(self, one: Any, other: Any) -> Any:
        """Put two parts together (Chan, Golub and LeVeque, 1979)."""
        if one is None or other is None:
            return one or other
        total, apart = one.weight + other.weight, other.mean - one.mean
        return Spread(
            weight=total,
            mean=one.mean + apart * (other.weight / total),
            spread=one.spread + other.spread + apart**2 * (one.weight * other.weight / total),
            rest=one.rest + other.rest,
            low=np.minimum(one.low, other.low),
            high=np.maximum(one.high, other.high),
            met=one.met & other.met,
        )

    def finish(self, tally: Any) -> float:
        if tally is None:
            raise _undefined(self, "all weights are 0")
        constant = (tally.low == tally.high) | (tally.spread == 0)  # 0 where squares are too small
        score = 1 - tally.rest / np.where(constant, 1, tally.spread)
        return float(np.where(constant, tally.met.astype(np.float64), score).mean())


class Spread(NamedTuple):
    """What R2 keeps of some rows; all but the weight are per output."""

    weight: float
    mean: Array
    spread: Array
    rest: Array
    low: Array
    high: Array
    met: Array


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
    if is_own(type(metric), "__call__", than="finish"):
        return metric.name, OfAll(metric)
    return metric.name, metric


def classes(y: Array, a: Array) -> tuple[Array, Array]:
    """Return true and predicted classes: (n,), or (n, outputs) of 0 and 1 for several labels."""
    if are_labels(y, a):
        return y.astype(np.int64), a.argmax(axis=1)
    truth, predicted = y.reshape(a.shape) > 0.5, a > 0.5
    if a.shape[1] == 1:
        truth, predicted = truth[:, 0], predicted[:, 0]
    return truth.astype(np.int64), predicted.astype(np.int64)


def confusion_matrix(y: Any, a: Any, w: Any = None) -> Array:
    """Return weighted counts (true class, predicted class), float64 (classes, classes)."""
    y, a, w = checked("confusion_matrix", "one class", y, a, w)
    truth, predicted = _one_class("a confusion matrix", y, a)
    k = max(a.shape[1], 2)
    return _totals(truth * k + predicted, k * k, w).reshape(k, k)


def check_metrics(
    metrics: Mapping[str, Metric], y: Array, outputs: int, *, classifies: bool
) -> None:
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


def _one_class(what: str, y: Array, a: Array) -> tuple[Array, Array]:
    """Return true and predicted classes (n,)."""
    truth, predicted = classes(y, a)
    if truth.ndim == 2:
        raise InvalidValueError(f"{what} needs one class per row, got several labels")
    return truth, predicted


def _totals(labels: Array, k: int, w: Array | None) -> Array:
    """Return the weight of each label from 0 to k - 1, float64 (k,)."""
    return np.bincount(labels, weights=w, minlength=k).astype(np.float64)


def _counts(y: Array, a: Array, w: Array | None) -> Array:
    """Return weighted (hits, predicted, positive, all), (4, classes); of class 1 for one output."""
    truth, predicted = classes(y, a)
    total = np.full(a.shape[1], float(len(a)) if w is None else w.sum())
    if truth.ndim == 1:
        k, hits = max(a.shape[1], 2), truth == predicted
        table = np.stack(
            [
                _totals(truth[hits], k, w if w is None else w[hits]),
                _totals(predicted, k, w),
                _totals(truth, k, w),
            ]
        )
        return np.vstack([table[:, 1:] if a.shape[1] == 1 else table, total])
    weight = np.ones((len(a), 1)) if w is None else w[:, None]
    parts = (truth * predicted, predicted, truth)
    return np.stack([*((weight * part).sum(axis=0) for part in parts), total])


def _ratio(part: Array, whole: Array) -> Array:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)


def _area(positive: Array, score: Array, weight: Array) -> float | None:
    """Return the area under the ROC curve by trapezia over distinct scores.

    None without weight on either side.
    """
    order = np.argsort(-score, kind="stable")
    last_of_ties = np.append(np.diff(score[order]) != 0, True)
    hits = np.cumsum((weight * positive)[order])[last_of_ties]
    false_alarms = np.cumsum((weight * ~positive)[order])[last_of_ties]
    if hits[-1] == 0 or false_alarms[-1] == 0:
        return None
    hits, false_alarms = np.append(0, hits), np.append(0, false_alarms)
    area = (np.diff(false_alarms) * (hits[1:] + hits[:-1]) / 2).sum()
    return float(area / (hits[-1] * false_alarms[-1]))


def _residual(y: Array, a: Array) -> Array:
    return y.reshape(a.shape).astype(np.float64) - a


def _together(tally: list[tuple[Array, Array, Array | None]]) -> tuple[Array, Array, Array | None]:
    """Return (y, a, w) of all parts."""
    if len(tally) == 1:
        return tally[0]
    y, a, w = zip(*tally, strict=True)
    return np.concatenate(y), np.concatenate(a), None if w[0] is None else np.concatenate(w)


def _undefined(metric: Metric, why: str) -> InvalidValueError:
    return InvalidValueError(f"there is no {metric.name!r} of these rows: {why}")
