"""Predictions of a network on test data: the confusion matrix and the worst examples."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.image import imsave

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.data import as_matrix, as_targets, check_finite, check_names
from deltarule.formulas.losses import BinaryCrossEntropy, CrossEntropy, Loss, SquaredError
from deltarule.formulas.metrics import classes as true_and_predicted
from deltarule.formulas.metrics import confusion_matrix
from deltarule.network.network import Network

_MOST_PICTURES = 24
_MOST_ROWS = 20
_MOST_COLUMNS = 12
LARGEST_MATRIX = 30


class Wrong(NamedTuple):
    """One example: its row, its picture or values, the target and the prediction."""

    row: int
    picture: str
    values: tuple[str, ...]
    truth: str
    answer: str
    how: str


class Cell(NamedTuple):
    """A count of the confusion matrix and its share of the row."""

    text: str
    share: float
    right: bool


class Matrix(NamedTuple):
    """A confusion matrix: cells (true class, predicted class), recalls and precisions."""

    cells: tuple[tuple[Cell, ...], ...]
    recalls: tuple[str, ...]
    precisions: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """What the report says about test data.

    Attributes
    ----------
    n, wrong_count : int
        Examples, and how many have a wrong prediction; None for a regression.
    matrix : Matrix or None
    numbers : true and predicted numbers (n,) of a regression with one output, or None
    """

    n: int
    wrong_count: int | None
    labels: tuple[str, ...]
    matrix: Matrix | None
    wrong: tuple[Wrong, ...]
    gray: bool
    columns: tuple[str, ...]
    numbers: tuple[Array, Array] | None


def examine(
    network: Network | None,
    X: Any,
    y: Any,
    *,
    classes: Sequence[Any] | None,
    image_shape: tuple[int, ...] | None,
    column_names: Sequence[str] | None,
) -> Answers:
    """Return the predictions of a network on test data, or raise one clear error."""
    if network is None or X is None or y is None:
        raise InvalidValueError("the test data of a report need network, X and y together")
    names = _column_names(X, column_names, network.inputs)
    check_names(X, network.feature_names, "X")
    X = as_matrix(X, inputs=network.inputs, dtype=network.dtype)
    if image_shape is not None and (
        len(image_shape) not in (2, 3) or int(np.prod(image_shape)) != network.inputs
    ):
        raise InvalidValueError(
            f"image_shape {image_shape} does not hold the {network.inputs} numbers of a row of X"
        )
    y = as_targets(y, len(X))
    check_finite(y, "y", network.dtype)
    loss = _fitting_loss(network, y)
    y = loss.check_targets(y, network.outputs)
    outputs = network.predict(X)
    if isinstance(loss, SquaredError):
        return _of_numbers(X, y, outputs, names, image_shape)
    return _of_classes(X, y, outputs, names, image_shape, _labels(classes, network.outputs))


def _fitting_loss(network: Network, y: Array) -> Loss:
    """Return a loss that fits the shapes of targets and outputs."""
    if network.outputs > 1 and (y.ndim == 1 or y.shape[1] == 1):
        return CrossEntropy()
    binary = bool(((y == 0) | (y == 1)).all())
    if binary and network.outputs > 1 and (y.sum(axis=1) == 1).all():
        return CrossEntropy()
    return BinaryCrossEntropy() if binary else SquaredError()


def _of_classes(
    X: Array,
    y: Array,
    outputs: Array,
    names: tuple[str, ...],
    image_shape: tuple[int, ...] | None,
    labels: tuple[str, ...],
) -> Answers:
    if y.ndim == 2 and y.shape[1] > 1 and (y.sum(axis=1) == 1).all():
        y = y.argmax(axis=1)
    truth, predicted = true_and_predicted(y, outputs)
    several = truth.ndim == 2
    wrong = (truth != predicted).reshape(len(X), -1).any(axis=1)
    matrix = None
    if not several and len(labels) <= LARGEST_MATRIX:
        matrix = matrix_of(confusion_matrix(y, outputs))
    if several:
        sure = np.abs(outputs - truth).max(axis=1)
    else:
        sure = outputs.max(axis=1) if outputs.shape[1] > 1 else np.abs(outputs[:, 0] - 0.5) + 0.5
    order = np.flatnonzero(wrong)
    order = order[np.argsort(-sure[order], kind="stable")]

    def name(answer: Any) -> str:
        if several:
            return ", ".join(labels[k] for k in np.flatnonzero(answer)) or "none"
        return labels[int(answer)]

    picked = order[: _MOST_ROWS if image_shape is None else _MOST_PICTURES]
    return Answers(
        n=len(X),
        wrong_count=int(wrong.sum()),
        labels=labels,
        matrix=matrix,
        wrong=tuple(
            Wrong(
                int(i),
                _picture(X[i], image_shape),
                _values(X[i], image_shape),
                name(truth[i]),
                name(predicted[i]),
                "" if several else f"{sure[i]:.0%} sure",
            )
            for i in picked
        ),
        gray=image_shape is None or len(image_shape) == 2,
        columns=() if image_shape else names[:_MOST_COLUMNS],
        numbers=None,
    )


def _of_numbers(
    X: Array, y: Array, outputs: Array, names: tuple[str, ...], image_shape: tuple[int, ...] | None
) -> Answers:
    error = np.abs(outputs.astype(np.float64) - y.reshape(outputs.shape)).max(axis=1)
    picked = np.argsort(-error, kind="stable")[
        : _MOST_ROWS // 2 if image_shape is None else _MOST_PICTURES
    ]

    def several(values: Array) -> str:
        return ", ".join(f"{value:.4g}" for value in values[:4]) + ("…" if len(values) > 4 else "")

    t = y.reshape(outputs.shape)
    return Answers(
        n=len(X),
        wrong_count=None,
        labels=(),
        matrix=None,
        wrong=tuple(
            Wrong(
                int(i),
                _picture(X[i], image_shape),
                _values(X[i], image_shape),
                several(t[i]),
                several(outputs[i]),
                f"off by {error[i]:.4g}",
            )
            for i in picked
        ),
        gray=image_shape is None or len(image_shape) == 2,
        columns=() if image_shape else names[:_MOST_COLUMNS],
        numbers=(t[:, 0], outputs[:, 0]) if outputs.shape[1] == 1 else None,
    )


def matrix_of(counts: Array) -> Matrix:
    """Return counts (true class, predicted class) as the report shows them."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = tuple(
        tuple(
            Cell(f"{count:g}" if count else "", float(share), i == j)
            for j, (count, share) in enumerate(zip(row, row_shares, strict=True))
        )
        for i, (row, row_shares) in enumerate(zip(counts, shares, strict=True))
    )
    return Matrix(cells, _shares_right(counts, axis=1), _shares_right(counts, axis=0))


def _shares_right(counts: Array, *, axis: int) -> tuple[str, ...]:
    """Return the diagonal's share of each row or column; a dash if that is empty."""
    totals = counts.sum(axis=axis)
    return tuple(
        f"{right / total:.0%}" if total else "-"
        for right, total in zip(np.diag(counts), totals, strict=True)
    )


def _labels(classes: Sequence[Any] | None, outputs: int) -> tuple[str, ...]:
    k = max(outputs, 2)
    if classes is None:
        return tuple(map(str, range(k)))
    if len(classes) != k:
        raise InvalidValueError(f"classes must name {k} classes, got {len(classes)}")
    return tuple(map(str, classes))


def _column_names(X: Any, given: Sequence[str] | None, inputs: int) -> tuple[str, ...]:
    names = getattr(X, "columns", None) if given is None else given
    if names is None:
        return tuple(f"x{i}" for i in range(inputs))
    if len(names) != inputs:
        raise InvalidValueError(f"column_names must name {inputs} columns, got {len(names)}")
    return tuple(map(str, names))


def _values(row: Array, image_shape: tuple[int, ...] | None) -> tuple[str, ...]:
    if image_shape is not None:
        return ()
    return tuple(f"{value:.4g}" for value in row[:_MOST_COLUMNS].tolist())


def _picture(row: Array, image_shape: tuple[int, ...] | None) -> str:
    """Return a row of numbers as the data URL of a PNG picture; "" without a shape."""
    if image_shape is None:
        return ""
    pixels = row.reshape(image_shape).astype(np.float64)
    low, high = pixels.min(), pixels.max()
    pixels = (pixels - low) / (high - low if high > low else 1.0)
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", cmap="gray_r", vmin=0, vmax=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
