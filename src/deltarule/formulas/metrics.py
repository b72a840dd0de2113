"""Metrics: figures about predictions that are reported beside the loss.

A metric is called as ``metric(y, a, w)`` with targets ``y``, predictions ``a`` (n, outputs) and
weights ``w`` (n,) or None, and returns one number. Any function with these arguments is accepted
too; its ``__name__`` is its name.

Examples may come in parts: :meth:`Metric.tally` keeps of each what is needed, :meth:`Metric.merge`
puts two tallies together, and :meth:`Metric.finish` gives the number.

For one class out of several, ``y`` holds labels (n,), and the predicted class is the argmax.
Otherwise ``y`` has one column per output, each of them a number or a yes-or-no question; the
predicted answer is yes if ``a > 1/2``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
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

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        """Return the metric of predictions ``a`` (n, outputs) for targets ``y``."""
        raise NotImplementedError

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        """Return what is kept of some examples; here the examples, since all may be needed."""
        return [(y, a, w)]

    def merge(self, one: Any, other: Any) -> Any:
        """Return the tally of the examples of both."""
        return one + other

    def finish(self, tally: Any) -> float:
        """Return the metric of a tally."""
        if len(tally) == 1:
            return self(*tally[0])
        y, a, w = zip(*tally, strict=True)
        weights = None if w[0] is None else np.concatenate(w)
        return self(np.concatenate(y), np.concatenate(a), weights)


class Summed(Metric):
    """Base of the metrics of which a few sums are kept, however many examples there are."""

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        return self.finish(self.tally(y, a, w))


class Average(Summed):
    """Base of the weighted averages of one number for each example."""

    def each(self, y: Array, a: Array) -> Array:
        """Return the number of each example, (n,)."""
        raise NotImplementedError

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        each = self.each(y, a).astype(np.float64)
        if w is None:
            return np.array([each.sum(), len(each)])
        return np.array([(each * w).sum(), w.sum()])

    def finish(self, tally: Any) -> float:
        total, weight = tally
        if not weight:
            raise InvalidValueError(
                f"all weights are 0, so there is no {self.name!r} of these rows"
            )
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
        value = self.function(y, a, w)
        if np.ndim(value) != 0 or not isinstance(value, (Real, np.generic, np.ndarray)):
            name = getattr(self.function, "__name__", "metric")
            raise InvalidTypeError(
                f"the metric {name!r} must return one number, got {describe_value(value)}"
            )
        return float(value)


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
        return confusion_matrix(y, a, w)

    def finish(self, table: Any) -> float:
        present = table.sum(axis=1) > 0
        return float((np.diag(table)[present] / table.sum(axis=1)[present]).mean())


class OfCounts(Summed):
    """Base of the metrics of counts (hits, predicted, positive), averaged over classes."""

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        return _counts(y, a, w)

    def finish(self, tally: Any) -> float:
        hits, predicted, positive = tally
        occurs = (predicted + positive > 0) | (len(hits) == 1)
        if not occurs.any():
            occurs = ~occurs
        return float(self.by_class(hits[occurs], predicted[occurs], positive[occurs]).mean())

    def by_class(self, hits: Array, predicted: Array, positive: Array) -> Array:
        """Return the metric of each class that occurs or is predicted."""
        raise NotImplementedError


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

    With several classes, the mean over classes, each against the rest.
    """

    name: ClassVar[str] = "roc_auc"
    aliases: ClassVar[tuple[str, ...]] = (
        "auc",
        "auroc",
        "roc",
        "roc_auc_score",
    )
    needs: ClassVar[str] = "classes"

    def __call__(self, y: Array, a: Array, w: Array | None = None) -> float:
        weight = np.ones(len(a)) if w is None else w
        positive = _memberships(y, a)
        return float(np.mean([_area(positive[:, k], a[:, k], weight) for k in range(a.shape[1])]))


@setting
class LogLoss(Average):
    """Mean negative log-probability of the true class, without smoothing or penalty."""

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
        p = np.clip(a.astype(np.float64), np.finfo(np.float64).tiny, 1.0)
        t = _memberships(y, a, hard=False)
        each = t * np.log(p)
        if not _are_labels(y, a):
            q = np.clip(1 - a.astype(np.float64), np.finfo(np.float64).tiny, 1.0)
            each = each + (1 - t) * np.log(q)
        loss: Array = -each.sum(axis=1)
        return loss


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
    """Mean of ``|error| / |target|`` over targets other than 0."""

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
        return float(total / weight) if weight else float("nan")


@setting
class R2(Summed):
    """Share of the variance explained, ``1 - sum r^2 / sum (t - mean t)^2``; mean over outputs."""

    name: ClassVar[str] = "r2"
    aliases: ClassVar[tuple[str, ...]] = (
        "r2_score",
        "r_squared",
        "coefficient_of_determination",
    )
    needs: ClassVar[str] = "numbers"

    def tally(self, y: Array, a: Array, w: Array | None) -> Any:
        """Return (sum of weights, means, spread, sum of squared residuals)."""
        weight = np.ones(len(a)) if w is None else w
        t = y.reshape(a.shape).astype(np.float64)
        total, mean = weight.sum(), np.zeros(a.shape[1])
        if total:
            mean = np.average(t, axis=0, weights=weight)
        spread = (weight[:, None] * (t - mean) ** 2).sum(axis=0)
        return total, mean, spread, (weight[:, None] * _residual(y, a) ** 2).sum(axis=0)

    def merge(self, one: Any, other: Any) -> Any:
        """Put two parts together (Chan, Golub and LeVeque, 1979)."""
        (w1, mean1, spread1, rest1), (w2, mean2, spread2, rest2) = one, other
        total, apart = w1 + w2, mean2 - mean1
        if not total:
            return one
        between = apart**2 * (w1 * w2 / total)
        return total, mean1 + apart * (w2 / total), spread1 + spread2 + between, rest1 + rest2

    def finish(self, tally: Any) -> float:
        _, _, spread, rest = tally
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


def _are_labels(y: Array, a: Array) -> bool:
    return a.shape[1] > 1 and y.ndim == 1


def _memberships(y: Array, a: Array, hard: bool = True) -> Array:
    """Return targets (n, outputs): of 0 and 1, or soft ones as they are."""
    if _are_labels(y, a):
        return np.eye(a.shape[1])[y.astype(np.int64)]
    t = y.reshape(a.shape).astype(np.float64)
    return (t > 0.5).astype(np.float64) if hard else t


def _counts(y: Array, a: Array, w: Array | None) -> Array:
    """Return weighted (hits, predicted, positive), (3, classes); of class 1 for one output."""
    truth, predicted = classes(y, a)
    weight = (np.ones(len(a)) if w is None else w)[:, None]
    if truth.ndim == 1:
        k = np.arange(a.shape[1]) if a.shape[1] > 1 else np.array([1])
        truth, predicted = truth[:, None] == k, predicted[:, None] == k
    hits = (weight * (truth * predicted)).sum(axis=0)
    return np.stack([hits, (weight * predicted).sum(axis=0), (weight * truth).sum(axis=0)])


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
