"""The cells of targets: columns of any container, labels as people spell them, written numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.types import Array
from deltarule.tables.cells import Cells, of_array, type_of_objects
from deltarule.tables.frames import frame_of
from deltarule.tables.kinds_of_numbers import hardly_repeats
from deltarule.tables.kinds_of_text import ABSENT, NOT_AVAILABLE, NUMBERLESS, absent_among
from deltarule.tables.parsing import Spelling, spelling_of

FEW = 20
"""Whole numbers are labels by themselves where no more than so many differ."""


def key_of(label: str) -> str:
    """Return what labels that people spell differently have in common; a letter is itself."""
    plain = " ".join(label.split())
    return plain.casefold() if len(plain) > 1 else plain


def text_of(label: Any) -> str:
    """Return a label as :meth:`Cells.as_text` writes it."""
    if isinstance(label, str):
        return label
    cells = of_array(np.array([label]))
    return cells.as_text().values[0] if not np.isnan(cells.numbers).any() else "nan"  # type: ignore[arg-type]


def without_absent(cells: Cells, kept: Mapping[str, int] | None = None) -> Cells:
    """Return labels without the texts that stand for none, unless they are known classes."""
    if not cells.is_text:
        return cells
    absent = [token for token in absent_among(cells.values) if token not in (kept or ())]
    if NOT_AVAILABLE in cells.values and not absent and not cells.missing().any() and kept is None:
        absent = [NOT_AVAILABLE]
    elif kept is not None and NOT_AVAILABLE not in kept:
        absent.append(NOT_AVAILABLE)
    return cells.without(absent)


def cells_of(values: Any) -> list[Cells]:
    """Return the cells of each column of targets."""
    if hasattr(values, "to_frame") and not hasattr(values, "columns"):  # a series
        array = getattr(values, "dtype", None)
        if isinstance(array, np.dtype) and array.kind == "O":
            check_types(values)
        values = values.to_frame()
    elif type(values).__name__ in ("ChunkedArray", "Array") or (
        hasattr(values, "to_pylist") and not hasattr(values, "column_names")
    ):
        return [_of_arrow_column(values)]
    elif isinstance(values, (list, tuple)):
        first = values[0] if values else None
        if isinstance(first, (str, bytes, Mapping)) or not hasattr(first, "__len__"):
            array = np.empty(len(values), object)
            array[:] = values
            values = array
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.names is None:
        if values.dtype.kind == "O":
            check_types(values)
        return [of_array(values)]
    if isinstance(values, (str, bytes)) or not (
        hasattr(values, "__len__") or hasattr(values, "shape")
    ):
        raise InvalidTypeError(f"y must be a column of targets, got {describe_value(values)}")
    table = frame_of(values, "y")
    return [table.cells(i) for i in range(len(table.names))]


def _of_arrow_column(values: Any) -> Cells:
    import pyarrow as pa

    return frame_of(pa.table({"y": values}), "y").cells(0)


def check_types(values: Any, what: str = "y") -> None:
    """Raise where targets are of several types, such as text and numbers."""
    if type_of_objects(values) is None:
        shown = sorted({type(v).__name__ for v in values if v is not None and v == v})
        raise InvalidTypeError(
            f"{what} has values of several types, {' and '.join(shown[:4])}; make them all text or "
            "all numbers"
        )


def are_labels(cells: Cells) -> bool:
    """Return whether targets are labels: text but numbers, booleans, few distinct integers."""
    if cells.is_text:
        cells = without_absent(cells)
        if not cells.values:
            return False
        found = _spelled(cells)
        if found is None:
            return True
        numbers = read(cells, found)
    else:
        assert cells.numbers is not None
        if cells.type == "boolean":
            return True
        numbers = cells.numbers
    numbers = numbers[np.isfinite(numbers)]
    if not ((numbers == np.round(numbers)) & (np.abs(numbers) < 2**53)).all():
        return False
    distinct = len(np.unique(numbers))
    return distinct <= FEW and (distinct <= 2 or distinct <= len(numbers) / 5)


def refuse_names(classes: Array, rows: int, what: str) -> None:
    """Raise where hardly two rows have the same label, so that there is no class to learn."""
    if not hardly_repeats(len(classes), rows):
        return
    numbers = all(isinstance(label, (int, float)) for label in classes.tolist())
    remedy = "choose another target, or group its labels"
    raise InvalidValueError(
        f"{len(classes)} of the {rows} labels of {what} differ, such as "
        f"{', '.join(map(describe_value, classes.tolist()[:3]))}: a class needs several rows to be "
        f"learnt from; {'numbers are predicted by a regression' if numbers else remedy}"
    )


def _spelled(cells: Cells) -> Spelling | None:
    tokens = [v for v in cells.values if v in ABSENT or v.casefold() in NUMBERLESS]
    cells = cells.without(tokens)
    found = spelling_of(cells.values, cells.counts()) if cells.values else None
    return None if found is None else found[0]


def spelling_of_cells(cells: Cells) -> Spelling:
    """Return how the numbers of a regression are written, or raise where they are none."""
    found = _spelled(cells)
    if found is None:
        known = [value for value in cells.values if value not in ABSENT]
        shown = ", ".join(describe_value(value) for value in known[:3]) or "no value at all"
        raise InvalidValueError(
            f"a regression needs numbers, got targets such as {shown}; a classification predicts "
            "labels"
        )
    return found


def read(cells: Cells, how: Spelling | None) -> Array:
    """Return targets as numbers (n,); NaN for missing."""
    if cells.numbers is not None:
        return cells.numbers.astype(np.float64)
    return np.append((how or Spelling()).read(cells.values), np.nan)[cells.codes]
