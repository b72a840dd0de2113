"""From a study to its report."""

from __future__ import annotations

import numpy as np

from deltarule.base.types import Array
from deltarule.report.table import Findings, Miss, table_report
from deltarule.tables.described import cell, describe_column, describe_dialect, number
from deltarule.tables.study import MODEL, Study
from deltarule.tables.table import Prepared

_MOST_MISSES = 15
_MOST_CELLS = 6


def report_of(source: str, prepared: Prepared, study: Study, seed: int) -> str:
    """Return the report of a study as HTML text; ``source`` is the file's name."""
    columns = study.estimator.columns_.columns
    used = {column.name for column in columns if column.use != "left out"}
    importances = [i for i in study.importances if i.name in used]
    shown = [i.name for i in importances[:_MOST_CELLS]]
    networks = study.estimator.networks_
    histories = study.estimator.histories_
    classes = prepared.target.classes
    found = describe_dialect(prepared.reading.dialect)
    if prepared.dropped:
        found.append(("lines not used", f"{prepared.dropped:,}"))
    network = networks[0]
    facts = [
        ("networks", f"{len(networks)}, whose predictions are averaged"),
        ("each of them", repr(network)),
        ("rows for training", f"{study.trained_on:,}"),
        ("numbers per row", f"{network.inputs:,}"),
        ("recipe", repr(study.estimator.recipe)),
        ("seed", str(seed)),
    ]
    return table_report(
        Findings(
            source=source,
            target=prepared.name,
            classes=() if classes is None else tuple(map(str, classes.tolist())),
            rows=len(prepared.rows),
            rows_dropped=prepared.dropped,
            judged=study.plan.words,
            judgement=study.judgement,
            found=found,
            notes=prepared.notes,
            advice=[advice.text for advice in prepared.advice],
            importances=importances,
            effects=study.effects,
            columns=[describe_column(column) for column in columns],
            misses=_misses(prepared, study, shown),
            missed_columns=shown,
            facts=facts,
            summary=network.summary(),
            history=histories[0],
            stopped=study.stopped,
            command="deltarule predict model.safetensors NEW_FILE --out predictions.csv",
        )
    )


def _misses(prepared: Prepared, study: Study, names: list[str]) -> list[Miss]:
    """Return the judged rows with the largest errors, the worst first."""
    judgement = study.judgement
    outputs = judgement.outputs[MODEL]
    if prepared.target.classes is None:
        error = np.abs(judgement.y - outputs)
        picked = np.argsort(-error, kind="stable")[:_MOST_MISSES]
        truth = [number(value) for value in judgement.y[picked]]
        answer = [number(value) for value in outputs[picked]]
        how = [f"off by {number(value, 4)}" for value in error[picked]]
    else:
        labels = [str(label) for label in prepared.target.classes.tolist()]
        guess = outputs.argmax(axis=1)
        sure = outputs.max(axis=1)
        wrong = np.flatnonzero(guess != judgement.y)
        picked = wrong[np.argsort(-sure[wrong], kind="stable")][:_MOST_MISSES]
        truth = [labels[int(k)] for k in judgement.y[picked]]
        answer = [labels[int(k)] for k in guess[picked]]
        how = [f"{value:.0%} sure" for value in sure[picked]]
    rows = judgement.rows[picked]
    cells = _cells(prepared, rows, names)
    return [
        Miss(int(prepared.rows[row]) + 1, true, said, far, shown)
        for row, true, said, far, shown in zip(rows, truth, answer, how, cells, strict=True)
    ]


def _cells(prepared: Prepared, rows: Array, names: list[str]) -> list[tuple[str, ...]]:
    part = prepared.frame.select(names).take(rows)
    columns = [[cell(value) for value in column.to_pylist()] for column in part.columns]
    return list(zip(*columns, strict=True)) if columns else [()] * len(rows)
