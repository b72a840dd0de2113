"""Targets: labels of any type as class numbers, values standardised, and both back again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.settings import check_choice
from deltarule.base.types import Array
from deltarule.tables.cells import Cells, of_array
from deltarule.tables.frames import frame_of
from deltarule.tables.kinds import ABSENT

_FEW = 20


class Target:
    """What a network is trained on, and how its outputs become labels or values.

    Attributes
    ----------
    task : str
        "classification" or "regression".
    classes : array or None
        The labels in ascending order; None for regression.
    known : array (n,) of bool
        Which rows of the fitted values have a target.
    names : tuple of str
        Of the outputs of a regression, where the values have names.
    """

    def __init__(
        self,
        task: str,
        classes: Array | None = None,
        centre: Array | None = None,
        scale: Array | None = None,
        single: bool = True,
    ) -> None:
        self.task = task
        self.classes = classes
        self.centre = centre
        self.scale = scale
        self.single = single
        self.known: Array = np.empty(0, bool)

    @classmethod
    def fit(cls, values: Any, task: str | None = None) -> Target:
        """Find the task, the classes or the scale of values (n,) or (n, outputs)."""
        check_choice("task", task, "classification", "regression", None)
        columns = _cells(values)
        task = task or ("classification" if len(columns) == 1 and _labels(columns[0]) else None)
        if task == "classification":
            return cls._of_labels(columns[0])
        table = np.stack([_numbers(cells) for cells in columns], axis=1)
        found = cls("regression", single=len(columns) == 1)
        found.known = np.isfinite(table).all(axis=1)
        if not found.known.any():
            raise InvalidValueError("no row has a target; expected at least one")
        kept = table[found.known]
        scale = kept.std(axis=0)
        found.centre, found.scale = kept.mean(axis=0), np.where(scale > 0, scale, 1.0)
        return found

    @classmethod
    def _of_labels(cls, cells: Cells) -> Target:
        cells = cells.without(ABSENT)
        known = ~cells.missing()
        if cells.is_text:
            classes = np.array(sorted(cells.values), object)
        else:
            assert cells.numbers is not None
            classes = np.unique(cells.numbers[known])
            if cells.type == "boolean":
                classes = classes.astype(bool)
            elif (classes == classes.astype(np.int64)).all():
                classes = classes.astype(np.int64)
        if len(classes) < 2:
            got = f"only {classes[0]!r}" if len(classes) else "no row with a target"
            raise InvalidValueError(f"the target must have at least two classes, got {got}")
        found = cls("classification", classes=classes)
        found.known = known
        return found

    def encode(self, values: Any) -> Array:
        """Return class numbers (n,), or standardised values (n, outputs); -1 or NaN for missing."""
        columns = _cells(values)
        if self.classes is None:
            table = np.stack([_numbers(cells) for cells in columns], axis=1)
            return (table - self.centre) / self.scale
        cells = columns[0].without(ABSENT)
        if self.classes.dtype == object:
            cells = cells.as_text()
            place = {label: i for i, label in enumerate(self.classes.tolist())}
            unknown = [value for value in cells.values if value not in place]
            if unknown:
                raise InvalidValueError(
                    f"label {unknown[0]!r} is none of the classes "
                    f"{', '.join(map(repr, self.classes[:10].tolist()))}"
                )
            return np.array([place[value] for value in cells.values] + [-1])[cells.codes]
        numbers = _numbers(cells)
        codes = np.searchsorted(self.classes, numbers).clip(0, len(self.classes) - 1)
        gone = np.isnan(numbers)
        wrong = ~gone & (self.classes[codes] != numbers)
        if wrong.any():
            raise InvalidValueError(
                f"label {numbers[wrong][0]!r} is none of the classes "
                f"{', '.join(map(repr, self.classes[:10].tolist()))}"
            )
        return np.where(gone, -1, codes)

    def decode(self, outputs: Any) -> Array:
        """Return labels for class numbers (n,), or values for standardised outputs."""
        if self.classes is not None:
            return self.classes[np.asarray(outputs, np.int64)]
        assert self.centre is not None
        assert self.scale is not None
        values = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
        values = values * self.scale + self.centre
        return values[:, 0] if self.single else values

    def describe(self) -> dict[str, Any]:
        """Return everything that :meth:`rebuild` needs as JSON values."""
        if self.classes is not None:
            return {
                "task": self.task,
                "classes": self.classes.tolist(),
                "dtype": "str" if self.classes.dtype == object else self.classes.dtype.name,
            }
        assert self.centre is not None
        assert self.scale is not None
        return {
            "task": self.task,
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "single": self.single,
        }

    @classmethod
    def rebuild(cls, described: Mapping[str, Any]) -> Target:
        """Return the target that :meth:`describe` described."""
        try:
            if described["task"] == "classification":
                dtype = {"str": object}.get(described["dtype"], described["dtype"])
                return cls("classification", classes=np.array(described["classes"], dtype))
            return cls(
                "regression",
                centre=np.array(described["centre"], np.float64),
                scale=np.array(described["scale"], np.float64),
                single=bool(described["single"]),
            )
        except (KeyError, TypeError, ValueError):
            raise InvalidValueError(
                f"no target is described by {describe_value(described)}"
            ) from None


def _cells(values: Any) -> list[Cells]:
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return [of_array(values)]
    if hasattr(values, "to_frame") and not hasattr(values, "columns"):
        values = values.to_frame()
    elif type(values).__name__ == "ChunkedArray" or isinstance(values, (list, tuple)):
        cells = list(values) if isinstance(values, (list, tuple)) else values.to_pylist()
        if not cells or isinstance(cells[0], (str, bytes)) or not hasattr(cells[0], "__len__"):
            array = np.empty(len(cells), object)
            array[:] = cells
            return [of_array(array)]
    if isinstance(values, (str, bytes)) or not (
        hasattr(values, "__len__") or hasattr(values, "shape")
    ):
        raise InvalidTypeError(f"y must be a column of targets, got {describe_value(values)}")
    table = frame_of(values, "y")
    return [table.cells(i) for i in range(len(table.names))]


def _labels(cells: Cells) -> bool:
    """Whether targets are labels: text that is no numbers, booleans, few distinct integers."""
    cells = cells.without(ABSENT)
    if cells.is_text:
        return len(cells.values) <= _FEW or bool(np.isnan(_numbers(cells)).mean() > 0.5)
    assert cells.numbers is not None
    known = cells.numbers[np.isfinite(cells.numbers)]
    return cells.type == "boolean" or (
        bool((known == np.round(known)).all()) and len(np.unique(known)) <= _FEW
    )


def _numbers(cells: Cells) -> Array:
    if cells.numbers is not None:
        return cells.numbers.astype(np.float64)
    found = []
    for value in cells.values:
        try:
            found.append(float(value))
        except ValueError:
            found.append(float("nan"))
    return np.array([*found, np.nan])[cells.codes]
