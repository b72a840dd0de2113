"""Figures of a model of a table: how columns move it, and whether it can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from deltarule.base.types import Array
from deltarule.report.figures import GRID, INK, MUTED, SERIES, blank, dress, thinned
from deltarule.tables.judging import wilson

_HALF_A_LINE = 24
_DASHES = ((), (5, 1.5), (1, 1), (3, 1, 1, 1), (7, 2), (2, 2))


def effect_figure(
    grid: Array, curves: Mapping[str, Array], values: Array, label: str, *, shares: bool
) -> Figure:
    """Return how the prediction moves with one column, above where the rows are.

    Parameters
    ----------
    grid : array (g,)
    curves : mapping of str to array (g,)
        One for each class that is shown, or one.
    values : array
        Of the column, as it is in the rows; below the curves is their histogram.
    label : str
        What is predicted.
    shares : bool
        Whether the curves are probabilities.
    """
    figure = blank()
    above, below = _two(figure)
    for i, (who, curve) in enumerate(curves.items()):
        above.plot(
            grid,
            curve,
            color=SERIES[i % len(SERIES)],
            linestyle=(0, _DASHES[i % len(_DASHES)]) if _DASHES[i % len(_DASHES)] else "-",
            linewidth=1.8,
            label=who,
        )
    _histogram(below, values, (float(grid[0]), float(grid[-1])))
    if shares:
        above.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        low, high = above.get_ylim()
        above.set_ylim(max(low - 0.02, 0), min(high + 0.02, 1))
    dress(above, label, x="")
    if len(curves) > 1:
        _legend_above(above, list(curves))
    _floor(below, "")
    return figure


def reliability_figure(sure: Array, right: Array, label: str) -> Figure:
    """Return how often what is given a probability happens, with Wilson intervals.

    Parameters
    ----------
    sure : array (n,)
        Predicted probabilities.
    right : array (n,) of bool
        Whether it happened.
    """
    figure = blank(3.6)
    above, below = _two(figure)
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, dashes=(4, 2))
    for middle, share, low, high in reliability(sure, right):
        above.plot([middle, middle], [low, high], color=SERIES[0], linewidth=1.2, alpha=0.7)
        above.plot(middle, share, "o", color=SERIES[0], markersize=4.5)
    above.set_xlim(0, 1)
    above.set_ylim(-0.02, 1.02)
    above.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _histogram(below, sure, (0.0, 1.0))
    below.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    dress(above, "how often it is so", x="")
    _floor(below, label)
    return figure


def reliability(sure: Array, right: Array) -> list[tuple[float, float, float, float]]:
    """Return (mean probability, share, low, high) of up to ten parts with equally many rows."""
    order = np.argsort(sure, kind="stable")
    parts = np.array_split(order, int(np.clip(len(sure) // 20, 1, 10)))
    found = []
    for part in parts:
        hits, n = float(right[part].sum()), len(part)
        found.append((float(sure[part].mean()), hits / n, *wilson(hits, n)))
    return found


def residual_figure(predicted: Array, residual: Array) -> Figure:
    """Return the errors, truth minus prediction, against the predictions, both (n,)."""
    figure = blank()
    axes = figure.add_subplot()
    axes.axhline(0, color=MUTED, linewidth=1, dashes=(4, 2))
    keep = thinned(len(predicted))
    axes.plot(
        predicted[keep], residual[keep], "o", color=SERIES[0], markersize=3.2, alpha=0.5, mew=0
    )
    dress(axes, "true minus predicted", x="predicted")
    return figure


def spread_figure(residual: Array) -> Figure:
    """Return the histogram of the errors (n,); the outermost hundredths are put into the ends."""
    figure = blank()
    axes = figure.add_subplot()
    low, high = np.quantile(residual, [0.005, 0.995])
    if low == high:
        low, high = low - 0.5, high + 0.5
    axes.hist(np.clip(residual, low, high), bins=30, color=SERIES[0], alpha=0.75)
    axes.axvline(0, color=MUTED, linewidth=1, dashes=(4, 2))
    dress(axes, "rows", x="true minus predicted")
    return figure


def contenders_figure(names: Sequence[str], scores: Sequence[tuple[float, float, float]]) -> Figure:
    """Return a score (value, low, high) of each contender with its interval."""
    figure = blank(0.75 + 0.38 * len(names))
    axes = figure.add_subplot()
    for i, (value, low, high) in enumerate(scores):
        colour = SERIES[0] if i == 0 else MUTED
        axes.plot([low, high], [-i, -i], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot(value, -i, "o", color=colour, markersize=7)
    axes.set_yticks([-i for i in range(len(names))], names)
    axes.set_ylim(-len(names) + 0.4, 0.6)
    dress(axes, "", x="")
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _legend_above(axes: Axes, names: Sequence[str]) -> None:
    """Put the legend above the axes, where it hides no curve; long names one below the other."""
    axes.legend(
        frameon=False,
        labelcolor=INK,
        fontsize=8,
        ncols=2 if max(map(len, names)) <= _HALF_A_LINE else 1,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
    )


def _two(figure: Figure) -> tuple[Axes, Axes]:
    above, below = figure.subplots(2, sharex=True, height_ratios=[5, 1])
    return above, below


def _histogram(axes: Axes, values: Array, ends: tuple[float, float]) -> None:
    inside = values[np.isfinite(values) & (values >= ends[0]) & (values <= ends[1])]
    if ends[0] < ends[1]:
        axes.hist(inside, bins=30, range=ends, color=GRID)


def _floor(axes: Axes, label: str) -> None:
    """Dress the axes below, which show only where the rows are."""
    axes.set_xlabel(label, color=MUTED)
    axes.set_yticks([])
    axes.tick_params(which="both", colors=MUTED, labelcolor=INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED)
