"""Targets: labels of any type as class numbers, values standardised, and both back again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError, describe_value
from deltarule.base.settings import check_choice
from deltarule.base.types import Array
from deltarule.tables.cells import Cells
from deltarule.tables.parsing import Spelling
from deltarule.tables.sentinels import in_words, outliers
from deltarule.tables.target_cells import (
    are_labels,
    cells_of,
    key_of,
    read,
    refuse_names,
    spelling_of_cells,
    text_of,
    without_absent,
)


class Target:
    """What a network is trained on, and how its outputs become labels or values again.

    ``Target.fit(values)`` finds the task. Text that is no number, booleans, and up to 20 different
    whole numbers, each five times on average, are labels; everything else is a regression.

    - Labels lose outer spaces. Labels of two letters or more that differ only in case or inner
      spaces are one class, spelt as it is most often. "", "?", "NULL", "nan" and the like are no
      labels: such rows have no target.
    - Values in text are read as :class:`Columns` reads them ("$2.39", "1339,69"). A number that
      stands for "no value" (a pile of -200 far from all others) is none.
    - Outputs of a network that lie beyond all values it was trained on become the nearest of them:
      a price is never negative where none was.

    Attributes
    ----------
    task : str
        "classification" or "regression".
    classes : array or None
        The labels in ascending order; None for regression.
    known : array (n,) of bool
        Which rows of the fitted values have a target.
    reason : str
        What was noticed, in words.
    """

    def __init__(
        self,
        task: str,
        classes: Array | None = None,
        centre: Array | None = None,
        scale: Array | None = None,
        single: bool = True,
        spellings: Sequence[Spelling | None] = (),
        sentinels: Sequence[tuple[float, ...]] = (),
        bounds: Array | None = None,
    ) -> None:
        self.task = task
        self.classes = classes
        self.centre = centre
        self.scale = scale
        self.single = single
        self.spellings = tuple(spellings)
        self.sentinels = tuple(sentinels)
        self.bounds = bounds  # (2, outputs): the smallest and the largest values; None: no matter
        self.known: Array = np.empty(0, bool)
        self.reason = ""

    @classmethod
    def fit(cls, values: Any, task: str | None = None, *, sentinels: bool = True) -> Target:
        """Find the task, the classes or the scale of targets.

        Parameters
        ----------
        values : array, series, list (n,), or a table (n, outputs) of several numbers for each row
        task : "classification", "regression" or None
            None finds it.
        sentinels : bool
            Whether a number that stands for "no value" makes a row without a target.

        Raises
        ------
        ValueError
            There are no rows, no row has a target, there is only one class, or the values are no
            numbers where a regression is asked for.
        TypeError
            Labels of several types, such as text and numbers, or no column at all.

        Examples
        --------
        >>> from deltarule.tables.target import Target
        >>> target = Target.fit(["yes", " no", "Yes", "no ", "?", "yes"])
        >>> target.classes, target.known
        (array(['no', 'yes'], dtype=object), array([ True,  True,  True,  True, False,  True]))
        >>> target.encode(["no", "YES "])
        array([0, 1])
        >>> Target.fit(["$2.39", "$1,020.00", "$3.10"]).decode([[0.0]])
        array([341.83])
        """
        check_choice("task", task, "classification", "regression", None)
        columns = cells_of(values)
        if not len(columns[0]):
            raise InvalidValueError("y has no rows; expected at least one example")
        if all(without_absent(cells).missing().all() for cells in columns):
            raise InvalidValueError("no row has a target; expected at least one")
        if task is None:
            task = "regression"
            if len(columns) == 1 and are_labels(columns[0]):
                task = "classification"
        if task == "classification":
            if len(columns) > 1:
                raise InvalidValueError(
                    f"a classification has one column of labels, y has {len(columns)}; fit one "
                    "model for each"
                )
            return cls._of_labels(columns[0])
        return cls._of_values(columns, sentinels)

    @classmethod
    def _of_values(cls, columns: Sequence[Cells], sentinels: bool) -> Target:
        spellings = [spelling_of_cells(cells) if cells.is_text else None for cells in columns]
        parts = [read(cells, how) for cells, how in zip(columns, spellings, strict=True)]
        absent = []
        for numbers in parts:
            ordered = np.sort(numbers[np.isfinite(numbers)])
            absent.append(outliers(ordered) if sentinels and len(ordered) else ())
            for value in absent[-1]:
                numbers[numbers == value] = np.nan
        table = np.stack(parts, axis=1)
        known = np.isfinite(table).all(axis=1)
        if not known.any():
            raise InvalidValueError("no row has a target; expected at least one")
        kept = table[known]
        with np.errstate(over="ignore"):
            scale = kept.std(axis=0)
        scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
        found = cls(
            "regression",
            None,
            kept.mean(axis=0),
            scale,
            len(columns) == 1,
            spellings,
            absent,
            np.stack([kept.min(axis=0), kept.max(axis=0)]),
        )
        found.known = known
        if any(absent):
            found.reason = in_words(tuple(sorted({v for those in absent for v in those})))
        return found

    @classmethod
    def _of_labels(cls, cells: Cells) -> Target:
        cells = without_absent(cells)
        known = ~cells.missing()
        reason = ""
        if cells.is_text:
            labels: dict[str, str] = {}
            order = np.argsort(-cells.counts(), kind="stable").tolist()
            for value in (cells.values[i] for i in order):
                labels.setdefault(key_of(value), value)
            if len(labels) < len(cells.values):
                merged = next(v for v in cells.values if labels[key_of(v)] != v)
                reason = f"{merged!r} and {labels[key_of(merged)]!r} are one class"
            classes = np.array(sorted(labels.values()), object)
        else:
            assert cells.numbers is not None
            known &= np.isfinite(cells.numbers)
            classes = np.unique(cells.numbers[known])
            if cells.type == "boolean":
                classes = classes.astype(bool)
            elif (classes == np.round(classes)).all() and (np.abs(classes) < 2**53).all():
                classes = classes.astype(np.int64)
        if len(classes) < 2:
            got = (
                f"only {describe_value(classes.tolist()[0])}"
                if len(classes)
                else "no row with a target"
            )
            raise InvalidValueError(f"the target must have at least two classes, got {got}")
        refuse_names(classes, int(known.sum()), "the target")
        found = cls("classification", classes=classes)
        found.known, found.reason = known, reason
        return found

    def encode(self, values: Any) -> Array:
        """Return class numbers (n,), or standardised values (n, outputs).

        A row without a target has the class number -1, or NaN.

        Raises
        ------
        ValueError
            A label is none of the classes, or the number of outputs differs.
        """
        columns = cells_of(values)
        if self.classes is None:
            assert self.centre is not None
            assert self.scale is not None
            if len(columns) != len(self.centre):
                raise InvalidValueError(
                    f"y has {len(columns)} columns, the target was fitted on {len(self.centre)}"
                )
            spellings = self.spellings or [None] * len(columns)
            parts = [read(cells, how) for cells, how in zip(columns, spellings, strict=True)]
            for numbers, absent in zip(parts, self.sentinels, strict=False):
                for value in absent:
                    numbers[numbers == value] = np.nan
            return (np.stack(parts, axis=1) - self.centre) / self.scale
        return self._class_numbers(columns[0])

    def _class_numbers(self, cells: Cells) -> Array:
        assert self.classes is not None
        labels = self.classes.tolist()
        exact: dict[str, int] = {text_of(label): i for i, label in enumerate(labels)}
        loose: dict[str, int] = {}
        if all(isinstance(label, str) for label in labels):
            cells = without_absent(cells, exact)
            for label, i in exact.items():
                loose.setdefault(key_of(label), i)
        text = cells.as_text()
        numbers = [exact.get(value, loose.get(key_of(value), -1)) for value in text.values]
        if -1 in numbers:
            unknown = text.values[numbers.index(-1)]
            raise InvalidValueError(
                f"label {describe_value(unknown)} is none of the classes "
                f"{', '.join(map(repr, labels[:10]))}{', ...' if len(labels) > 10 else ''}"
            )
        return np.array([*numbers, -1])[text.codes]

    def decode(self, outputs: Any) -> Array:
        """Return labels for class numbers (n,), or values for standardised outputs.

        Values beyond ``bounds`` become the nearest bound.
        """
        if self.classes is not None:
            found: Array = self.classes[np.asarray(outputs, np.int64)]
            return found
        assert self.centre is not None
        assert self.scale is not None
        values = np.asarray(outputs, np.float64).reshape(len(outputs), len(self.centre))
        values = values * self.scale + self.centre
        if self.bounds is not None:
            values = np.clip(values, *self.bounds)
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
            "spellings": [None if how is None else how.describe() for how in self.spellings],
            "sentinels": [list(values) for values in self.sentinels],
            "bounds": None if self.bounds is None else self.bounds.tolist(),
        }

    @classmethod
    def rebuild(cls, described: Mapping[str, Any]) -> Target:
        """Return the target that :meth:`describe` described, or raise one clear error."""
        try:
            if described["task"] == "classification":
                dtype = described["dtype"]
                if dtype not in ("str", "bool", "int64", "float64"):
                    raise ValueError
                labels = described["classes"]
                classes = np.array(labels, object if dtype == "str" else dtype)
                if classes.ndim != 1 or classes.tolist() != labels or len(set(labels)) < 2:
                    raise ValueError
                return cls("classification", classes=classes)
            if described["task"] != "regression":
                raise ValueError
            centre = np.array(described["centre"], np.float64)
            scale = np.array(described["scale"], np.float64)
            single = described["single"]
            if centre.ndim != 1 or centre.shape != scale.shape or not isinstance(single, bool):
                raise ValueError
            if not len(centre) or (single and len(centre) > 1):
                raise ValueError
            if not (np.isfinite(centre).all() and np.isfinite(scale).all() and (scale > 0).all()):
                raise ValueError
            spellings = [
                None if how is None else Spelling.rebuild(how)
                for how in described.get("spellings", [])
            ]
            absent = [tuple(map(float, values)) for values in described.get("sentinels", [])]
            if len(spellings) not in (0, len(centre)):
                raise ValueError
            bounds = None
            if described.get("bounds") is not None:
                bounds = np.array(described["bounds"], np.float64)
                if bounds.shape != (2, len(centre)) or not (bounds[0] <= bounds[1]).all():
                    raise ValueError
            return cls("regression", None, centre, scale, single, spellings, absent, bounds)
        except (KeyError, TypeError, ValueError):
            raise InvalidValueError(
                f"no target is described by {describe_value(described)}"
            ) from None
