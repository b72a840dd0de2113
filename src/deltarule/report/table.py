"""The report of a model of a table: one HTML file, the same bytes for the same findings.

It holds no date, no duration and no path of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

import deltarule
from deltarule.base.types import Array
from deltarule.report import figures, table_figures
from deltarule.report.answers import LARGEST_MATRIX, Matrix, matrix_of
from deltarule.report.page import Panel, render, themed_svg
from deltarule.tables.described import Described, between, name_of, number, shown, verdict
from deltarule.tables.effects import Effect, Importance
from deltarule.tables.judging import Judgement
from deltarule.training.history import History

MODEL = "network"
_MOST_BARS = 20
_FEW_CLASSES = 4
"""Up to so many, the confusion matrix stands beside a figure."""
_MOST_COLUMNS = 60
_LONGEST = 48
_LONGEST_LABEL = 32
"""Of an axis; more would not fit beside a figure."""
_EXPLAINED = {
    "accuracy": "share of rows whose class is predicted rightly",
    "balanced_accuracy": "mean over the classes of the share found: rare ones count as much",
    "roc_auc": "chance that a row of a class gets a higher probability of it than another row",
    "log_loss": "mean of log(1 / probability given to the true class); smaller is better",
    "r2": "share of the target's variance that is explained; 0 is the mean, 1 is exact",
    "mae": "mean size of an error, in units of the target; smaller is better",
    "rmse": "like it, but large errors weigh more; smaller is better",
}


class Miss(NamedTuple):
    """A row with a large error: its number in the file, and its cells."""

    row: int
    truth: str
    answer: str
    how: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """What a report of a table says.

    Attributes
    ----------
    source, target : str
        Name of the file, without its folder, and of the column that is predicted.
    classes : tuple of str
        Empty for a regression.
    rows, rows_dropped : int
        With a target; lines of the file that are no rows.
    judged : str
        How the scores came about.
    judgement : Judgement
        Its first contender is the model.
    found : tuple of (str, str)
        How the file writes its table.
    notes, advice : tuple of str
        What was noticed; what to look at before the scores are believed.
    importances, effects, columns, misses, missed_columns
        In the order in which they are shown.
    facts : tuple of (str, str)
        What was trained, and how.
    """

    source: str
    target: str
    classes: tuple[str, ...]
    rows: int
    rows_dropped: int
    judged: str
    judgement: Judgement
    found: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    advice: Sequence[str] = ()
    importances: Sequence[Importance] = ()
    effects: Sequence[Effect] = ()
    columns: Sequence[Described] = ()
    misses: Sequence[Miss] = ()
    missed_columns: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    summary: str = ""
    history: History | None = None
    stopped: str = ""
    command: str = ""


def table_report(findings: Findings) -> str:
    """Return the report as HTML text."""
    judgement = findings.judgement
    classes = findings.classes
    return render(
        "table.html",
        title=f"{findings.target} from {findings.source}",
        f=findings,
        kind=_kind(findings),
        verdict=verdict(judgement),
        cards=_cards(judgement),
        contenders=_contenders(judgement),
        score_rows=_score_rows(judgement),
        matrix=_matrix(judgement, classes),
        labels=classes,
        few=len(classes) <= _FEW_CLASSES,
        caption=f"{len(judgement.rows):,} judged rows: rows are the truth, columns the prediction. "
        "Blue: right, red: wrong.",
        by_class=_by_class(judgement, classes),
        errors=_figures(findings),
        effects=_effects(findings),
        bars=_bars(findings.importances),
        more_bars=max(0, len(findings.importances) - _MOST_BARS),
        columns=findings.columns[:_MOST_COLUMNS],
        more_columns=_more(findings.columns[_MOST_COLUMNS:]),
        curves=_curves(findings.history),
        main=name_of(judgement.scores[MODEL][0].name),
        footer=f"Written by deltarule {deltarule.__version__}.",
    )


def _kind(findings: Findings) -> str:
    rows = f"{findings.rows:,} rows"
    if findings.classes:
        return f"{rows}, {len(findings.classes)} classes"
    return f"{rows}, a number is predicted"


def _cards(judgement: Judgement) -> list[tuple[str, str, str]]:
    return [
        (name_of(score.name), shown(score), between(score)) for score in judgement.scores[MODEL][:4]
    ]


def _contenders(judgement: Judgement) -> Panel | None:
    main = judgement.scores[MODEL][0].name
    found = {who: judgement.score(who, main) for who in judgement.scores}
    scores = {who: score for who, score in found.items() if score is not None}
    figure = table_figures.contenders_figure(
        list(scores), [(s.value, s.low, s.high) for s in scores.values()]
    )
    words = "; ".join(f"{who}: {shown(s)}, {between(s)}" for who, s in scores.items())
    return Panel(
        name_of(main).capitalize(),
        themed_svg(figure, "contenders"),
        words,
        "On rows that none of them had seen. Lines: 95 % intervals.",
    )


def _score_rows(judgement: Judgement) -> list[tuple[str, str, list[tuple[str, str]]]]:
    rows = []
    for score in judgement.scores[MODEL]:
        cells = []
        for who in judgement.scores:
            found = judgement.score(who, score.name)
            cells.append(("", "") if found is None else (shown(found), between(found)))
        rows.append((name_of(score.name), _EXPLAINED[score.name], cells))
    return rows


def _predicted(judgement: Judgement) -> Array:
    outputs = judgement.outputs[MODEL]
    return outputs.argmax(axis=1) if judgement.task == "classification" else outputs


def _counts(judgement: Judgement, k: int) -> Array:
    pairs = judgement.y.astype(np.int64) * k + _predicted(judgement)
    return np.bincount(pairs, minlength=k * k).reshape(k, k).astype(np.float64)


def _matrix(judgement: Judgement, classes: Sequence[str]) -> Matrix | None:
    if not classes or len(classes) > LARGEST_MATRIX:
        return None
    return matrix_of(_counts(judgement, len(classes)))


def _by_class(judgement: Judgement, classes: Sequence[str]) -> list[tuple[str, int, str]]:
    """Return (class, rows, share found) of the classes that are too many for a matrix."""
    if len(classes) <= LARGEST_MATRIX:
        return []
    hit = _predicted(judgement) == judgement.y
    k = len(classes)
    total = np.bincount(judgement.y, minlength=k)
    right = np.bincount(judgement.y[hit], minlength=k)
    order = np.argsort(-total, kind="stable")[:LARGEST_MATRIX]
    return [(classes[i], int(total[i]), f"{right[i] / max(total[i], 1):.0%}") for i in order]


def _figures(findings: Findings) -> list[Panel]:
    """Return the figures about errors and about how far the predictions can be believed."""
    judgement, classes = findings.judgement, findings.classes
    outputs = judgement.outputs[MODEL]
    drawn: list[tuple[str, Figure, str, str]] = []
    if not classes:
        residual = judgement.y - outputs
        near, far = (number(q, 4) for q in np.quantile(np.abs(residual), [0.5, 0.9]))
        drawn = [
            (
                "Predicted and true",
                figures.prediction_figure(judgement.y, outputs),
                "Predicted against true values; a dashed diagonal marks exact ones.",
                "Of rows that the model had not seen; on the dashed line they would be exact.",
            ),
            (
                "Residuals",
                table_figures.residual_figure(outputs, residual),
                "Errors against predictions.",
                "A bend would mean that something is not learnt; a funnel, that errors grow with "
                "the prediction.",
            ),
            (
                "How large errors are",
                table_figures.spread_figure(residual),
                f"Half of the errors are within {near}, nine of ten within {far}.",
                f"Half of them are within ±{near}, nine of ten within ±{far}.",
            ),
        ]
    else:
        if len(classes) == 2:
            sure, right = outputs[:, 1], judgement.y == 1
            label = f"predicted probability of {_short(classes[1], _LONGEST_LABEL)}"
        else:
            sure, right = outputs.max(axis=1), outputs.argmax(axis=1) == judgement.y
            label = "probability of the predicted class"
        points = table_figures.reliability(sure, right)
        words = ", ".join(f"{p:.0%}: {share:.0%}" for p, share, _, _ in points)
        drawn = [
            (
                "Can the probabilities be believed?",
                table_figures.reliability_figure(sure, right, label),
                f"Predicted probability and how often it is so: {words}.",
                "On the dashed line, what is given 70 % happens in 70 % of the rows. Lines: 95 % "
                "intervals. Below: how often each probability is given.",
            )
        ]
    return [
        Panel(title, themed_svg(figure, f"error{i}"), words, caption)
        for i, (title, figure, words, caption) in enumerate(drawn)
    ]


def _effects(findings: Findings) -> list[Panel]:
    shares = bool(findings.classes)
    return [
        Panel(
            effect.name,
            themed_svg(
                table_figures.effect_figure(
                    effect.grid,
                    {_short(who): curve for who, curve in effect.curves.items()},
                    effect.values,
                    _short(_axis(findings, effect), _LONGEST_LABEL),
                    shares=shares,
                ),
                f"effect{i}",
            ),
            "; ".join(
                f"{who}: from {number(curve[0], 4)} at {number(effect.grid[0], 4)} to "
                f"{number(curve[-1], 4)} at {number(effect.grid[-1], 4)}"
                for who, curve in effect.curves.items()
            ),
            "",
        )
        for i, effect in enumerate(findings.effects)
    ]


def _axis(findings: Findings, effect: Effect) -> str:
    if not findings.classes:
        return findings.target
    return (
        f"probability of {next(iter(effect.curves))}" if len(effect.curves) == 1 else "probability"
    )


class Bar(NamedTuple):
    """A bar in per cent of the widest, with its spread."""

    name: str
    text: str
    width: float
    left: float
    reach: float


def _bars(importances: Sequence[Importance]) -> list[Bar]:
    shown_ = importances[:_MOST_BARS]
    widest = max((i.mean + i.spread for i in shown_), default=0)
    widest = widest if widest > 0 else 1.0
    bars = []
    for name, mean, spread in ((i.name, i.mean, i.spread) for i in shown_):
        width = 100 * max(mean, 0) / widest
        left = 100 * max(mean - spread, 0) / widest
        reach = max(100 * max(mean + spread, 0) / widest - left, 0)
        text = f"{mean:.3f} ± {spread:.3f}"
        bars.append(Bar(name, text, round(width, 1), round(left, 1), round(reach, 1)))
    return bars


def _more(columns: Sequence[Described]) -> list[tuple[str, int]]:
    """Return (kind, how many) of the columns that are not listed."""
    counts: dict[str, int] = {}
    for column in columns:
        key = f"{column.kind}, {column.use}"
        counts[key] = counts.get(key, 0) + 1
    return list(counts.items())


def _curves(history: History | None) -> list[Panel]:
    if history is None or not history.epochs:
        return []
    figure = figures.loss_figure(history)
    if figure is None:
        return []
    caption = "Of each epoch, measured during training."
    if history.get("val_loss"):
        caption += " Dashed: rows kept aside to choose the best epoch."
    return [
        Panel("Loss", themed_svg(figure, "loss"), f"Loss over {history.epochs} epochs.", caption)
    ]


def _short(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
