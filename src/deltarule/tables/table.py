"""A table that was read, prepared for training: target, columns, advice, and what is said of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.tables.advice import Advice, advise
from deltarule.tables.columns import Columns
from deltarule.tables.reading import Reading
from deltarule.tables.recipe import Recipe
from deltarule.tables.target import Target

if TYPE_CHECKING:
    from deltarule.tables.study import Study


@dataclass(eq=False)
class Prepared:
    """Rows with a target, and what is known of them before anything is trained.

    Attributes
    ----------
    reading : Reading
    name : str
        Of the target's column.
    frame : pyarrow.Table
        The other columns, rows with a target.
    target : Target
    encoded : array (n,)
        Class numbers, or values in the target's own units.
    rows : array (n,)
        Where the rows stand in the table that was read.
    columns : Columns
        Fitted on all rows, to be shown.
    """

    reading: Reading
    name: str
    frame: Any
    target: Target
    encoded: Array
    rows: Array
    columns: Columns
    advice: list[Advice]
    notes: list[str] = field(default_factory=list)

    @property
    def dropped(self) -> int:
        """Lines of the file that are not used: no rows, or rows without a target."""
        return self.reading.rows_dropped + self.reading.table.num_rows - len(self.rows)

    def task_line(self) -> str:
        """Say what is predicted."""
        from deltarule.tables.described import number, shortened

        rows = f"{len(self.rows):,} rows, {self.frame.num_columns:,} columns"
        if self.target.classes is None:
            low, high = self.encoded.min(), self.encoded.max()
            return f"{rows}; regression: {self.name!r}, from {number(low)} to {number(high)}"
        classes = [str(label) for label in self.target.classes.tolist()]
        counts = np.bincount(self.encoded, minlength=len(classes))
        order = np.argsort(-counts, kind="stable")[:8]
        shown = ", ".join(f"{shortened(classes[i], 40)} ({counts[i]:,})" for i in order)
        more = ", ..." if len(classes) > 8 else ""
        return f"{rows}; classification: {self.name!r} is one of {len(classes)}: {shown}{more}"

    def model_bytes(self, study: Study) -> bytes:
        """Return the content of the model's file: also what `predict` needs to read new files."""
        model = study.estimator.model_
        model.about["table"] = {
            "target": self.name,
            "names": list(self.reading.table.column_names),
            "dialect": self.reading.dialect.describe(),
        }
        buffer = io.BytesIO()
        model.save(buffer)
        return buffer.getvalue()

    def verdict(self, study: Study) -> str:
        """Say in one sentence how good the model is beside the others."""
        from deltarule.tables.described import verdict

        return verdict(study.judgement)

    def json(self, study: Study, files: Mapping[str, str], seed: int) -> dict[str, Any]:
        """Return what `deltarule train --json` prints."""
        judgement = study.judgement
        metric = "accuracy" if self.target.classes is not None else "r2"
        who = list(judgement.scores)
        found = {name: judgement.score(name, metric) for name in who}
        scores = {
            name: {s.name: {"value": s.value, "low": s.low, "high": s.high} for s in those}
            for name, those in judgement.scores.items()
        }
        classes = self.target.classes
        return {
            "task": self.target.task,
            "target": self.name,
            "rows": len(self.rows),
            "rows_dropped": self.dropped,
            "metric": metric,
            "score": None if found[who[0]] is None else found[who[0]].value,  # type: ignore[union-attr]
            "baseline": None if found[who[-1]] is None else found[who[-1]].value,  # type: ignore[union-attr]
            "columns": [
                {"name": column.name, "kind": column.kind, "use": column.use}
                for column in study.estimator.columns_.columns
            ],
            "files": dict(files),
            "classes": None if classes is None else [str(label) for label in classes.tolist()],
            "judged": study.plan.words,
            "scores": scores,
            "notes": list(self.notes),
            "advice": [
                {"kind": advice.kind, "columns": list(advice.columns), "text": advice.text}
                for advice in self.advice
            ],
            "dialect": self.reading.dialect.describe(),
            "seed": seed,
            "stopped": study.stopped,
        }


def prepare(
    reading: Reading, name: str, *, task: str | None = None, kinds: Mapping[str, str] | None = None
) -> Prepared:
    """Set rows without a target aside, find what the columns are, and what to beware of.

    Raises
    ------
    ValueError
        There is no row with a target, only one class or one value, or no other column.
    """
    table = reading.table
    if table.num_columns < 2:
        raise InvalidValueError(f"{name!r} is the only column: there is nothing to predict it from")
    values = table.column(name)
    target = Target.fit(values, task)
    rows = np.flatnonzero(target.known)
    notes = list(reading.notes)
    frame = table.drop_columns([name])
    if len(rows) < table.num_rows:
        aside = table.num_rows - len(rows)
        notes.append(f"{aside:,} of {table.num_rows:,} rows have no {name!r} and are set aside")
        frame, values = frame.take(rows), values.take(rows)
    encoded = target.encode(values)
    if target.classes is None:
        encoded = np.asarray(target.decode(encoded))
        if encoded.min() == encoded.max():
            raise InvalidValueError(
                f"every {name!r} is {encoded[0]:g}: there is nothing to learn to predict"
            )
    columns = Columns(kinds, codes_above=Recipe.resolve("plain").codes_above).fit(frame)
    if not columns.width:
        raise InvalidValueError(
            "no column is of use: all are constant, empty, identifiers or left out"
        )
    advice = advise(frame, columns, target, values)
    return Prepared(reading, name, frame, target, encoded, rows, columns, advice, notes)
