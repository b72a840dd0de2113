"""Losses: a value per example, its derivative, and the output activation that belongs to it.

``z``, ``a``, ``t`` are the last layer's preactivation, its activation and the target, all
(n, outputs). A loss of the batch is ``sum(w_i l_i) / sum(w_i)`` over its examples with
``reduction="mean"`` and ``sum(w_i l_i)`` with ``"sum"``; ``w_i`` are sample times class weights.

Each loss names a canonical output activation. With it, the value and ``delta = dl/dz`` are computed
directly from ``z``, which is exact even where ``log a`` would overflow. With any other activation
that makes sense, ``delta = dl/da * f'(z)``.

A loss of your own is a subclass with ``name``, :meth:`Loss.value` and :meth:`Loss.gradient`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, missing_formula
from deltarule.base.settings import Setting, check_choice, check_number, definer, is_own, setting
from deltarule.base.types import Array
from deltarule.formulas.activations import (
    ActivationFunction,
    Exp,
    Identity,
    Sigmoid,
    Softmax,
    Softplus,
    shift_by_maximum,
)


@setting
class Loss(Setting):
    """Base of the losses.

    Attributes
    ----------
    output_activation : type of ActivationFunction
        The canonical output activation.
    accepts : tuple of types, or None
        The output activations with which this loss makes sense; None means all.
    over_outputs : "sum", "mean" or None
        How an example's loss is made of a number for each output; then every output can have a
        weight of its own. None: it is not made of such numbers.
    target_range : (lowest, highest, what is expected), or None
        Of the targets, ends included; None: all finite numbers.
    """

    family: ClassVar[str] = "loss"
    pairs: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("value", "gradient"),
        ("canonical_value", "canonical_delta"),
    )
    meanings: ClassVar[Mapping[str, str]] = {
        "sse": "half of it is 'squared_error'",
        "sumsquarederror": "half of it is 'squared_error'",
        "rmse": "it has the minimum of 'mse': train with that",
        "rootmeansquarederror": "it has the minimum of 'mse': train with that",
        "l2": "write 'mse', or 'squared_error' for half the sum",
        "l2loss": "write 'mse', or 'squared_error' for half the sum",
        "msle": "train with 'mse' on log1p(y)",
        "meansquaredlogarithmicerror": "train with 'mse' on log1p(y)",
        "mape": "the nearest is 'mae'; weigh rows by sample_weight",
        "hinge": "the nearest is 'binary_cross_entropy'",
        "squaredhinge": "the nearest is 'binary_cross_entropy'",
        "categoricalhinge": "the nearest is 'cross_entropy'",
        "kldivergence": "'cross_entropy' with rows of probabilities has its gradient",
        "kld": "'cross_entropy' with rows of probabilities has its gradient",
        "kl": "'cross_entropy' with rows of probabilities has its gradient",
        "kldiv": "'cross_entropy' with rows of probabilities has its gradient",
        "focal": "the nearest is 'cross_entropy' with class_weight",
        "focalloss": "the nearest is 'cross_entropy' with class_weight",
        "logcosh": "the nearest is 'huber'",
        "crps": "the nearest is 'quantile'",
        "gaussiannll": "the nearest is 'squared_error'",
        "accuracy": "it has no gradient: write loss='cross_entropy', metrics=['accuracy']",
        "acc": "it has no gradient: write loss='cross_entropy', metrics=['accuracy']",
        "softmax": "write 'cross_entropy'",
        "sigmoid": "write 'binary_cross_entropy'",
        "cosinesimilarity": "derive a class from Loss",
        "triplet": "derive a class from Loss",
    }
    output_activation: ClassVar[type[ActivationFunction]] = Identity
    accepts: ClassVar[tuple[type[ActivationFunction], ...] | None] = None
    classifies: ClassVar[bool] = False
    over_outputs: ClassVar[str | None] = None
    fewest_outputs: ClassVar[int] = 1
    target_range: ClassVar[tuple[float, float, str] | None] = None

    reduction: str = field(default="mean", kw_only=True)

    def __post_init__(self) -> None:
        check_choice("reduction", self.reduction, "mean", "sum")

    def value(self, a: Array, t: Array) -> Array:
        """Return the loss of each example, (n,)."""
        raise missing_formula(self, "value")

    def gradient(self, a: Array, t: Array) -> Array:
        """Return ``dl/da`` of each example, (n, outputs)."""
        raise missing_formula(self, "gradient")

    def canonical_value(self, z: Array, a: Array, t: Array) -> Array:
        """Return the loss of each example, (n,), under the canonical output activation."""
        return self.value(a, t)

    def canonical_delta(self, z: Array, a: Array, t: Array) -> Array:
        """Return ``dl/dz`` of each example, (n, outputs), under the canonical activation."""
        return self.gradient(a, t)

    def kink_sides(self, a: Array, t: Array) -> Array | None:
        """Return on which side of the loss's kinks each output lies; None if it has no kinks."""
        return None

    def check_targets(self, y: Array, outputs: int) -> Array:
        """Return the targets in the form that :meth:`encode` takes, or raise a clear error."""
        y = _as_columns(y, outputs, self.name)
        if self.target_range is not None:
            _check_range(y, *self.target_range, self.name)
        return y

    def metric_targets(self, y: Array) -> Array:
        """Return checked targets as metrics take them: labels (n,), or a column per output."""
        return y

    def encode(self, y: Array, outputs: int, dtype: np.dtype) -> Array:
        """Return targets ``t`` (n, outputs) for rows of checked targets."""
        return y.astype(dtype, copy=False)


@setting
class SquaredError(Loss):
    """``l = 1/2 sum_j (a_j - t_j)^2``, ``dl/da = a - t``; summed over outputs.

    Half the squared distance, as in Rumelhart, Hinton and Williams (1986); ``k / 2`` times
    PyTorch's ``MSELoss`` for k outputs.

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> dr.SquaredError().value(np.array([[0.5, 2.0]]), np.array([[1.0, 1.0]]))
    array([0.625])
    """

    name: ClassVar[str] = "squared_error"
    over_outputs: ClassVar[str | None] = "sum"
    aliases: ClassVar[tuple[str, ...]] = (
        "half_squared_error",
        "quadratic",
    )

    def value(self, a: Array, t: Array) -> Array:
        return _sum(0.5 * (a - t) ** 2)

    def gradient(self, a: Array, t: Array) -> Array:
        return a - t


@setting
class MeanSquaredError(Loss):
    """``l = 1/k sum_j (a_j - t_j)^2``, ``dl/da = 2/k (a - t)``; averaged over the k outputs.

    With ``reduction="sum"`` the examples are summed but the outputs are still averaged, as in all
    losses that average over outputs; PyTorch sums both.
    """

    name: ClassVar[str] = "mean_squared_error"
    over_outputs: ClassVar[str | None] = "mean"
    aliases: ClassVar[tuple[str, ...]] = (
        "mse",
        "mse_loss",
    )

    def value(self, a: Array, t: Array) -> Array:
        return _mean((a - t) ** 2)

    def gradient(self, a: Array, t: Array) -> Array:
        return 2 / a.shape[1] * (a - t)


@setting
class MeanAbsoluteError(Loss):
    """``l = 1/k sum_j |a_j - t_j|``, ``dl/da = 1/k sign(a - t)``; it predicts medians."""

    name: ClassVar[str] = "mean_absolute_error"
    over_outputs: ClassVar[str | None] = "mean"
    aliases: ClassVar[tuple[str, ...]] = (
        "mae",
        "l1",
        "l1_loss",
        "absolute_error",
    )

    def value(self, a: Array, t: Array) -> Array:
        return _mean(np.abs(a - t))

    def gradient(self, a: Array, t: Array) -> Array:
        return 1 / a.shape[1] * np.sign(a - t)

    def kink_sides(self, a: Array, t: Array) -> Array | None:
        return np.sign(a - t)


@setting
class Huber(Loss):
    """Squared near 0, linear beyond ``threshold`` (d), averaged over outputs.

    ``r = a - t``; ``r^2 / 2`` for ``|r| <= d``, else ``d (|r| - d / 2)``;
    ``dl/da = 1/k clip(r, -d, d)``. It is ``d`` times PyTorch's ``SmoothL1Loss`` with ``beta = d``.

    Source: Huber, "Robust estimation of a location parameter" (1964).
    """

    name: ClassVar[str] = "huber"
    over_outputs: ClassVar[str | None] = "mean"
    aliases: ClassVar[tuple[str, ...]] = (
        "huber_loss",
        "smooth_l1",
        "smooth_l1_loss",
    )
    threshold: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("threshold", self.threshold, above=0)

    def value(self, a: Array, t: Array) -> Array:
        r = np.abs(a - t)
        m = np.minimum(r, self.threshold)
        return _mean(m * (r - 0.5 * m))  # both cases in one: m is r, or d

    def gradient(self, a: Array, t: Array) -> Array:
        return 1 / a.shape[1] * np.clip(a - t, -self.threshold, self.threshold)

    def kink_sides(self, a: Array, t: Array) -> Array | None:
        return np.sign(np.trunc((a - t) / self.threshold))


@setting
class Quantile(Loss):
    """The pinball loss, whose minimum is the ``q`` quantile; averaged over outputs.

    ``r = t - a``; ``l = 1/k sum_j max(q r_j, (q - 1) r_j)``; ``dl/da = -q/k`` where ``r > 0``,
    ``(1 - q)/k`` where ``r < 0``.

    Source: Koenker and Bassett, "Regression quantiles" (1978).
    """

    name: ClassVar[str] = "quantile"
    over_outputs: ClassVar[str | None] = "mean"
    aliases: ClassVar[tuple[str, ...]] = (
        "pinball",
        "pinball_loss",
        "quantile_loss",
    )
    q: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("q", self.q, above=0, below=1)

    def value(self, a: Array, t: Array) -> Array:
        r = t - a
        return _mean(np.maximum(self.q * r, (self.q - 1) * r))

    def gradient(self, a: Array, t: Array) -> Array:
        side = np.where(a < t, -self.q, np.where(a > t, 1 - self.q, a - t))
        return (1 / a.shape[1] * side).astype(a.dtype, copy=False)

    def kink_sides(self, a: Array, t: Array) -> Array | None:
        return np.sign(a - t)


@setting
class Poisson(Loss):
    """Negative log-likelihood of counts, without the constant ``log t!``; averaged over outputs.

    ``l = 1/k sum_j (a_j - t_j log a_j)``, ``dl/da = 1/k (1 - t / a)``. With the canonical output
    ``a = e^z``: ``l = 1/k sum_j (e^{z_j} - t_j z_j)``, ``delta = 1/k (a - t)``. The other output is
    softplus, where PyTorch adds 1e-8 to the rate under the logarithm.
    """

    name: ClassVar[str] = "poisson"
    over_outputs: ClassVar[str | None] = "mean"
    aliases: ClassVar[tuple[str, ...]] = (
        "poisson_nll",
        "poisson_nll_loss",
        "poisson_loss",
    )
    output_activation: ClassVar[type[ActivationFunction]] = Exp
    accepts: ClassVar[tuple[type[ActivationFunction], ...] | None] = (Exp, Softplus)
    target_range: ClassVar[tuple[float, float, str] | None] = (0, np.inf, "counts >= 0")

    def value(self, a: Array, t: Array) -> Array:
        return _mean(a - t * np.log(a))

    def gradient(self, a: Array, t: Array) -> Array:
        return 1 / a.shape[1] * (1 - t / a)

    def canonical_value(self, z: Array, a: Array, t: Array) -> Array:
        return _mean(a - t * z)

    def canonical_delta(self, z: Array, a: Array, t: Array) -> Array:
        return 1 / a.shape[1] * (a - t)


@setting
class BinaryCrossEntropy(Loss):
    """One yes-or-no question per output; several outputs make it multi-label. Summed over outputs.

    ``l = -sum_j [t_j log a_j + (1 - t_j) log(1 - a_j)]`` with ``a = sigma(z)``; ``delta = a - t``.
    Both are computed from ``z`` so that they keep their relative precision however small they are.
    Targets in [0, 1]. PyTorch's ``BCEWithLogitsLoss`` averages over outputs.
    """

    name: ClassVar[str] = "binary_cross_entropy"
    over_outputs: ClassVar[str | None] = "sum"
    aliases: ClassVar[tuple[str, ...]] = (
        "bce",
        "bce_loss",
        "bce_with_logits",
        "bce_with_logits_loss",
        "binary_log_loss",
        "logistic",
        "logistic_loss",
        "sigmoid_cross_entropy",
    )
    output_activation: ClassVar[type[ActivationFunction]] = Sigmoid
    accepts: ClassVar[tuple[type[ActivationFunction], ...] | None] = (Sigmoid,)
    target_range: ClassVar[tuple[float, float, str] | None] = (0, 1, "targets between 0 and 1")
    classifies: ClassVar[bool] = True

    def canonical_value(self, z: Array, a: Array, t: Array) -> Array:
        # max(z, 0) - t z + log(1 + e^-|z|), with the first two terms as one product
        size = np.abs(z)
        return _sum(size * np.where(z > 0, 1 - t, t) + np.log1p(np.exp(-size)))

    def canonical_delta(self, z: Array, a: Array, t: Array) -> Array:
        # (1 - t) - sigma(-z) where both are near 1, with sigma(-z) = a e^-z
        near_one = (a > 0.5) & (t > 0.5)
        return np.where(near_one, (1 - t) - a * np.exp(-np.abs(z)), a - t)


@setting
class CrossEntropy(Loss):
    """One class out of k. Targets: integers 0 to k-1, one-hot rows, or rows of probabilities.

    ``l = -sum_j t_j log a_j`` with ``a = softmax(z)``; ``delta = a - t``. Both are computed from
    ``z``, as ``log sum_j e^{z_j} - sum_j t_j z_j``, so that they keep their relative precision
    however small they are. With ``label_smoothing`` s the target becomes ``(1 - s) t + s / k``.

    A class weight weighs the whole row by its true class, and a mean divides by the sum of weights.
    PyTorch weighs each class's share of a smoothed target by its own weight, and divides by the
    number of rows where targets are rows.

    Source of label smoothing: Szegedy et al., "Rethinking the inception architecture" (2016).

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> loss = dr.CrossEntropy(label_smoothing=0.1)
    >>> loss.encode(np.array([1]), 2, np.dtype("float64"))
    array([[0.05, 0.95]])
    """

    name: ClassVar[str] = "cross_entropy"
    aliases: ClassVar[tuple[str, ...]] = (
        "ce",
        "ce_loss",
        "xent",
        "cross_entropy_loss",
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
        "softmax_cross_entropy",
        "nll",
        "nll_loss",
        "negative_log_likelihood",
        "log_loss",
        "multinomial",
    )
    output_activation: ClassVar[type[ActivationFunction]] = Softmax
    accepts: ClassVar[tuple[type[ActivationFunction], ...] | None] = (Softmax,)
    classifies: ClassVar[bool] = True
    fewest_outputs: ClassVar[int] = 2
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("label_smoothing", self.label_smoothing, at_least=0, below=1)

    def canonical_value(self, z: Array, a: Array, t: Array) -> Array:
        shifted = shift_by_maximum(z)
        return np.log1p(_sum_of_others(np.exp(shifted))) - _sum(t * shifted)

    def canonical_delta(self, z: Array, a: Array, t: Array) -> Array:
        # (1 - t_c) - sum_{k != c} a_k where both are near 1
        near_one = (a > 0.5) & (t > 0.5)
        return np.where(near_one, (1 - t) - _sum_of_others(a)[:, None], a - t)

    def check_targets(self, y: Array, outputs: int) -> Array:
        if outputs < 2:
            raise _too_few_outputs(self, outputs)
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim == 1:
            return _check_labels(y, outputs)
        y = _as_columns(y, outputs, self.name)
        _check_range(y, 0, 1, "probabilities between 0 and 1", self.name)
        wrong = np.flatnonzero(np.abs(y.sum(axis=1, dtype=np.float64) - 1) > 1e-3)
        if len(wrong):
            raise InvalidValueError(
                f"cross_entropy takes target rows that sum to 1; row {wrong[0]} sums to "
                f"{y[wrong[0]].sum():.6g} (several labels per row: use BinaryCrossEntropy)"
            )
        return y

    def metric_targets(self, y: Array) -> Array:
        return y if y.ndim == 1 else y.argmax(axis=1)

    def encode(self, y: Array, outputs: int, dtype: np.dtype) -> Array:
        s = self.label_smoothing
        if y.ndim == 1:
            t = np.zeros((len(y), outputs), dtype=dtype)
            t[np.arange(len(y)), y] = 1
        else:
            t = y.astype(dtype, copy=False)
        return (1 - s) * t + s / outputs if s else t


def check_output(loss: Loss, activation: ActivationFunction, outputs: int) -> bool:
    """Return whether the pair is canonical; raise an error if it makes no sense."""
    if loss.accepts is not None and not isinstance(activation, loss.accepts):
        allowed = " or ".join(repr(kind.name) for kind in loss.accepts)
        units = max(outputs, loss.fewest_outputs)
        raise InvalidValueError(
            f"{loss.name} needs a network that ends with {allowed}, this one ends with "
            f'{activation.name!r}; end the network with Dense({units}, "{loss.accepts[0].name}")'
        )
    if isinstance(activation, Softmax) and outputs == 1:
        raise InvalidValueError(
            "a softmax over one unit is 1 for every input, so that nothing can be learnt; for a "
            'yes-or-no answer end the network with Dense(1, "sigmoid"), for two classes with '
            'Dense(2, "softmax"), for a number with Dense(1)'
        )
    if outputs < loss.fewest_outputs:
        raise _too_few_outputs(loss, outputs)
    kind, canonical = type(loss), loss.output_activation
    if not isinstance(activation, canonical):
        return False
    plain = all(
        getattr(type(activation), method) is getattr(canonical, method)
        for method in ("__call__", "derivative", "backward")
    )
    # A loss, or an activation, with formulas of its own is not what canonical forms are made for.
    for own, form in (("value", "canonical_value"), ("gradient", "canonical_delta")):
        plain = plain and not (is_own(kind, own, than=form) and definer(kind, form) is not Loss)
    if not plain and definer(kind, "value") is Loss:
        raise InvalidTypeError(
            f"{kind.__name__} is computed together with {canonical.__name__}'s own formula, and "
            f"{type(activation).__name__} has another; give a loss that has value() and gradient()"
        )
    return plain


def _too_few_outputs(loss: Loss, outputs: int) -> InvalidValueError:
    return InvalidValueError(
        f"{loss.name} needs at least {loss.fewest_outputs} outputs, the network has {outputs}; for "
        'two classes end it with Dense(2, "softmax"), or use BinaryCrossEntropy with '
        'Dense(1, "sigmoid")'
    )


def _sum(x: Array) -> Array:
    return x.sum(axis=1)


def _sum_of_others(x: Array) -> Array:
    """Return the sum of each row but its largest element."""
    others = x.copy()
    np.put_along_axis(others, x.argmax(axis=1)[:, None], 0, axis=1)
    return _sum(others)


def _mean(x: Array) -> Array:
    return x.mean(axis=1)


def _as_columns(y: Array, outputs: int, loss: str) -> Array:
    if y.ndim == 1 and outputs == 1:
        y = y[:, None]
    if y.ndim != 2 or y.shape[1] != outputs:
        hint = ""
        if y.ndim == 1 and outputs > 1 and np.issubdtype(y.dtype, np.integer):
            hint = "; for integer class labels use CrossEntropy with a softmax output"
        raise InvalidValueError(
            f"{loss} needs targets of shape (n, {outputs}), one column per output of the "
            f"network; got shape {y.shape}{hint}"
        )
    return y


def _check_labels(y: Array, outputs: int) -> Array:
    labels = y.astype(np.int64)
    if not np.array_equal(labels, y):
        raise InvalidValueError(
            f"class labels must be whole numbers from 0 to {outputs - 1}, "
            f"got {y[labels != y][0].item()!r}"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= outputs))
    if len(wrong):
        raise InvalidValueError(
            f"class labels must be from 0 to {outputs - 1}, since the network has {outputs} "
            f"outputs; row {wrong[0]} has {labels[wrong[0]]} "
            "(np.unique(y, return_inverse=True)[1] numbers any labels from 0)"
        )
    return labels


def _check_range(y: Array, low: float, high: float, expected: str, loss: str) -> None:
    if not np.issubdtype(y.dtype, np.number) and y.dtype != np.bool_:
        raise InvalidTypeError(f"{loss} takes {expected}, got dtype {y.dtype}")
    wrong = np.argwhere((y < low) | (y > high))
    if len(wrong):
        row, column = wrong[0]
        raise InvalidValueError(
            f"{loss} takes {expected}; row {row}, column {column} has {y[row, column].item()!r}"
        )
