"""From a user's data to checked examples: for a pass, for an evaluation, for a training run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.settings import check_integer
from deltarule.base.types import Array
from deltarule.data.arrays import Dataset, as_matrix, as_targets, error_at, not_finite
from deltarule.data.frames import check_names
from deltarule.data.numbers import numeric
from deltarule.data.source import Batches, InMemory, Orders, Shuffle
from deltarule.data.split import split_rows
from deltarule.data.weights import (
    as_weights,
    check_some_weight,
    class_weights,
    without_unweighted,
)
from deltarule.formulas.losses import Loss


class Expected(NamedTuple):
    """What a network and its loss take; turns data as users have it into checked examples.

    Attributes
    ----------
    inputs, outputs : int
        Columns of X, and of the network's output.
    dtype : dtype
        The network's, into which every value must fit.
    loss : Loss
    couples_rows : bool
        Whether a batch needs at least two rows, for batch statistics.
    check_columns : function (X, what)
        Raises where the network's first layer cannot read X's columns.
    """

    inputs: int
    outputs: int
    dtype: np.dtype
    loss: Loss
    couples_rows: bool
    check_columns: Callable[[Array, str], None]

    def examples(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        finite: bool = True,
        what: str = "",
        single: bool = False,
        names: tuple[str, ...] | None = None,
    ) -> Dataset:
        """Return checked examples, or raise one clear error.

        ``what`` stands before the names in messages ("validation "). ``single``: one example may
        come without its axis of rows. ``names``: the columns that a frame must have.
        """
        if names is not None:
            check_names(X, names, f"{what}X")
        X = as_matrix(
            X, inputs=self.inputs, dtype=self.dtype, what=f"{what}X", finite=finite, single=single
        )
        self.check_columns(X, f"{what}X")
        targets = y
        y = as_targets(y, len(X), what=f"{what}y", single=single)
        weights = as_weights(
            sample_weight,
            len(X),
            dtype=self.dtype,
            outputs=self.outputs,
            what=f"{what}sample_weight",
            rows_alone=self._why_rows_alone,
        )
        check_some_weight(weights, "in sample_weight")
        at = not_finite(y, self.dtype)
        if at is not None:
            y = without_unweighted(y, weights)
            at = not_finite(y, self.dtype)
            if finite and at is not None:
                raise error_at(at, y, f"{what}y", source=targets, remedy=self._remedy(y))
        return Dataset(X, self._targets(y, what), weights)

    def _targets(self, y: Array, what: str) -> Array:
        """Return targets as the loss keeps them; an error says whose they are."""
        try:
            return self.loss.check_targets(y, self.outputs)
        except (InvalidValueError, InvalidTypeError) as error:
            if not what:
                raise
            raise type(error)(f"{what}y: {error}") from None

    def _remedy(self, y: Array) -> str:
        known = "np.isfinite(y)"
        if y.ndim == 2 and y.shape[1] > 1 and not self.loss.over_outputs:
            known += ".all(axis=1)"
        return f"remove or fill such rows, or let unknown targets weigh 0: sample_weight={known}"

    def _why_rows_alone(self) -> str:
        """Return why the outputs cannot have weights of their own; "" where they can."""
        if self.loss.over_outputs:
            return ""
        if type(self.loss).__module__.startswith("deltarule."):
            return f"{self.loss.name} is one number for a row, not one for each output"
        return f"{self.loss.name} does not say that it is a sum or mean over outputs (over_outputs)"

    def split(
        self,
        data: Dataset,
        validation: Any,
        *,
        seed: int,
        names: tuple[str, ...] | None = None,
    ) -> tuple[Dataset, Dataset | None]:
        """Return training and validation examples, for given data or a fraction to hold out."""
        if validation is None:
            return data, None
        if isinstance(validation, (tuple, list)):
            if len(validation) not in (2, 3):
                raise InvalidValueError(
                    f"validation must be (X, y) or (X, y, weights), got {len(validation)} items"
                )
            return data, self.examples(*validation, what="validation ", names=names)
        if isinstance(validation, bool) or not isinstance(validation, (float, np.floating)):
            raise InvalidTypeError(
                "validation must be (X, y), (X, y, weights) or a fraction such as 0.2, got "
                f"{describe_value(validation)}"
            )
        labels = data.y if self.loss.classifies and data.y.size == len(data) else None
        kept, held = split_rows(
            len(data),
            float(validation),
            None if labels is None else labels.ravel(),
            seed=seed,
        )
        parts = data.take(kept), data.take(held)
        check_some_weight(parts[0].weights, "in the training part")
        check_some_weight(parts[1].weights, "in the validation part")
        return parts

    def weighted_by_class(self, data: Dataset, class_weight: Any) -> Dataset:
        """Return examples whose class weights multiply their sample weights."""
        if class_weight is not None and not self.loss.classifies:
            raise InvalidValueError(
                f"class_weight needs a loss of classes, {self.loss.name} is none; use sample_weight"
            )
        by_class = class_weights(class_weight, data.y, self.outputs, data.weights)
        if by_class is None:
            return data
        weights = data.weights
        if weights is not None and weights.ndim == 2:
            by_class = by_class[:, None]
        weights = by_class if weights is None else by_class * weights
        check_some_weight(weights, "(class times sample weights)")
        return Dataset(data.X, data.y, weights)

    def batches(
        self,
        data: Dataset,
        batch_size: Any,
        *,
        drop_last: bool = False,
        shuffle: Any = False,
        seed: int = 0,
    ) -> Batches:
        """Return how examples are cut into steps; raise where a batch would be too small."""
        n = len(data)
        size = n if batch_size is None else min(check_integer("batch_size", batch_size), n)
        order = _order(shuffle, n)
        smallest = size if drop_last or n % size == 0 else n % size
        if self.couples_rows and smallest < 2:
            remedy = "a larger batch_size" if size < 2 else "drop_last=True or another batch_size"
            raise InvalidValueError(
                f"BatchNorm needs at least 2 rows in every batch; {n} rows in batches of {size} "
                f"leave one of {smallest}: use {remedy}, or freeze the BatchNorm"
            )
        return Batches(InMemory(data), size, drop_last=drop_last, shuffle=order, seed=seed)


def _order(shuffle: Any, n: int) -> Shuffle:
    """Return whether to shuffle, or a checked order of ``n`` rows, or checked orders."""
    if isinstance(shuffle, (bool, np.bool_)):
        return bool(shuffle)
    if isinstance(shuffle, str):
        raise InvalidValueError(
            f"shuffle must be True, False or an order, got {describe_value(shuffle)}"
        )
    if isinstance(shuffle, Orders):
        return _Checked(shuffle, n)
    return _permutation(shuffle, n, "shuffle must be True, False or")


class _Checked(Orders):
    """Orders of which each is a permutation of ``n`` rows, or an error."""

    def __init__(self, orders: Orders, n: int) -> None:
        self._orders, self._n = orders, n

    def of_epoch(self, epoch: int) -> Array:
        what = f"the order of epoch {epoch} that shuffle gives must be"
        return _permutation(self._orders.of_epoch(epoch), self._n, what)


def _permutation(order: Any, n: int, what: str) -> Array:
    """Return an order of ``n`` rows as int64, or raise where it is none."""
    rows = numeric(order, "shuffle", hint="")
    if rows.shape == (n,) and n:
        with np.errstate(invalid="ignore"):  # NaN is no row, and differs from what it becomes
            numbers = rows.astype(np.int64)
        seen = np.zeros(n, dtype=bool)
        if np.array_equal(numbers, rows) and numbers.min() >= 0 and numbers.max() < n:
            seen[numbers] = True
        if seen.all():
            return numbers
    raise InvalidValueError(
        f"{what} a permutation of the {n} training rows (those that a validation fraction "
        f"leaves), got {describe_value(order)}"
    )
