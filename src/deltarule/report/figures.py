"""Figures of a run, as matplotlib objects.

Each ``..._figure`` returns a :class:`matplotlib.figure.Figure` without any global state, or None if
the history has nothing to show in it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.types import Array
from deltarule.formulas.optimizers import reported_columns
from deltarule.training.history import History
from deltarule.training.range_test import RangeTest

INK, MUTED, GRID = "#1b1f24", "#5b6470", "#d9dde3"
SERIES = ("#0b63b5", "#c8501a", "#12805c", "#8a3fa0", "#a67800", "#b02a55", "#3f7f93", "#6b6b6b")
"""Colours. Everyone can tell the first two apart, and lines differ in their dashes too."""

_MOST_POINTS = 1000
_GRADIENT = "gradient_norm."
_PARTS = ("data_loss", "penalty")


def plot_history(history: History, ax: Any = None) -> Array:
    """Draw losses, metrics, learning rate and gradient norms; return the axes (plots,).

    The figure is one of pyplot's, so that ``plt.show()`` and notebooks know it. Into given axes the
    losses are drawn.
    """
    panels = [panel for panel, columns in _PANELS if columns(history)]
    if not panels:
        raise InvalidValueError("there is nothing to plot: no epoch was finished")
    if ax is not None:
        if not isinstance(ax, Axes):
            raise InvalidTypeError(f"ax must be matplotlib axes, got {describe_value(ax)}")
        draw_loss(ax, history)
        return np.array([ax], dtype=object)
    from matplotlib import pyplot

    rows = math.ceil(len(panels) / 2)
    columns = min(len(panels), 2)
    figure = pyplot.figure(figsize=(5 * columns, 3.4 * rows), layout="constrained")
    axes = np.empty(len(panels), dtype=object)
    for i, panel in enumerate(panels):
        axes[i] = figure.add_subplot(rows, columns, i + 1)
        panel(axes[i], history)
    return axes


def plot_range_test(found: RangeTest, ax: Any = None) -> Axes:
    """Draw the losses of a range test over its rates; return the axes, by default pyplot's."""
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.figure(figsize=(5, 3.4), layout="constrained").add_subplot()
    elif not isinstance(ax, Axes):
        raise InvalidTypeError(f"ax must be matplotlib axes, got {describe_value(ax)}")
    ax.plot(found.rates, found.losses, color=GRID, lw=1, label="of each batch")
    ax.plot(found.rates, found.smoothed, color=SERIES[0], lw=1.6, label="smoothed")
    if found.suggestion is not None:
        label = f"suggestion: {found.suggestion:.2g}"
        ax.axvline(found.suggestion, color=SERIES[1], lw=1.2, dashes=(5, 1.5), label=label)
    low, high = found.smoothed.min(), found.smoothed[0]
    margin = (high - low) or abs(high) or 1.0
    ax.set_ylim(low - 0.2 * margin, high + margin)  # what grows beyond would hide the rest
    dress(ax, "loss", x="learning rate", legend=True)
    ax.set_xscale("log")
    return ax


def loss_figure(history: History) -> Figure | None:
    """Return the loss by epoch, of training and validation data, with its parts."""
    return _single(history, draw_loss, loss_columns(history))


def metrics_figure(history: History) -> Figure | None:
    """Return the metrics by epoch, of training and validation data."""
    return _single(history, draw_metrics, metric_columns(history))


def learning_rate_figure(history: History) -> Figure | None:
    """Return the learning rate by epoch."""
    return _single(history, draw_learning_rate, rate_columns(history))


def gradient_norm_figure(history: History) -> Figure | None:
    """Return the norm of each parameter's gradient by epoch, on a logarithmic scale."""
    return _single(history, draw_gradient_norms, gradient_columns(history))


def prediction_figure(truth: Array, predicted: Array) -> Figure:
    """Return predictions against true numbers, both (n,)."""
    figure = blank()
    axes = figure.add_subplot()
    both = np.concatenate([truth, predicted])
    ends = [float(both.min()), float(both.max())]
    axes.plot(ends, ends, color=MUTED, linewidth=1, dashes=(4, 2), label="exact")
    keep = thinned(len(truth))
    axes.plot(truth[keep], predicted[keep], "o", color=SERIES[0], markersize=3.5, alpha=0.6)
    dress(axes, "predicted", x="true")
    return figure


def loss_columns(history: History) -> list[str]:
    """Return the names of the loss columns that have numbers."""
    return _present(history, ("loss", *_PARTS, "val_loss"))


def metric_columns(history: History) -> list[str]:
    """Return the names of the metric columns that have numbers."""
    other = {"loss", "val_loss", *_PARTS, *(f"val_{part}" for part in _PARTS), *reported_columns()}
    return [
        name
        for name in _present(history, history)
        if name not in other and not name.startswith(_GRADIENT)
    ]


def rate_columns(history: History) -> list[str]:
    """Return the name of the learning rate's column, if it has numbers."""
    return _present(history, ("learning_rate",))


def gradient_columns(history: History) -> list[str]:
    """Return the names of the gradient norms' columns that have numbers."""
    return [name for name in _present(history, history) if name.startswith(_GRADIENT)]


def draw_loss(axes: Axes, history: History) -> None:
    """Draw the loss columns."""
    names = loss_columns(history)
    styles = {"loss": (0, ()), "val_loss": (1, (5, 1.5)), "data_loss": (2, (1, 1))}
    labels = {"loss": "training", "val_loss": "validation", "data_loss": "training, data alone"}
    for name in names:
        colour, dashes = styles.get(name, (3, (3, 1, 1, 1)))
        _line(axes, history, name, labels.get(name, name), colour, dashes)
    values = np.array([history[name] for name in names if name != "penalty"])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 30 * values.min():
        axes.set_yscale("log")
    dress(axes, "loss", legend=True)


def draw_metrics(axes: Axes, history: History) -> None:
    """Draw the metrics: training solid, validation dashed; a colour for each metric."""
    names = metric_columns(history)
    metrics = list(dict.fromkeys(name.removeprefix("val_") for name in names))
    alone = len(metrics) == 1
    for name in names:
        metric = name.removeprefix("val_")
        held_out = name.startswith("val_")
        kind = "validation" if held_out else "training"
        colour = int(held_out) if alone else metrics.index(metric)
        dashes = (5, 1.5) if held_out else ()
        _line(axes, history, name, kind if alone else f"{metric}, {kind}", colour, dashes)
    dress(axes, metrics[0].replace("_", " ") if alone else "metrics", legend=True)


def draw_learning_rate(axes: Axes, history: History) -> None:
    """Draw the learning rate of each epoch's last step."""
    _line(axes, history, "learning_rate", "learning rate", 0, ())
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)
    dress(axes, "learning rate")


def draw_gradient_norms(axes: Axes, history: History) -> None:
    """Draw the gradient norms: a colour for each layer, weights solid and all others dashed."""
    names = [name for name in gradient_columns(history) if any(v > 0 for v in history[name])]
    layers = list(dict.fromkeys(_layer_of(name) for name in names))
    labelled: set[str] = set()
    for name in names:
        layer = _layer_of(name)
        label = f"layer {layer}" if layer not in labelled else None
        labelled.add(layer)
        values = np.array(history[name])
        keep = thinned(len(values))
        weight = name.endswith("weight")
        axes.plot(
            keep + 1,
            np.where(values[keep] > 0, values[keep], np.nan),
            color=_layer_colour(layers.index(layer), len(layers)),
            linewidth=1.6 if weight else 1.1,
            linestyle="-" if weight else (0, (3, 1.5)),
            marker="o" if len(values) == 1 else "",
            label=label,
        )
    if names:
        axes.set_yscale("log")
    dress(axes, "gradient norm", legend=len(layers) <= 12)


def silent_parameters(history: History) -> list[str]:
    """Return the parameters whose gradient was 0 in every epoch."""
    return [
        name.removeprefix(_GRADIENT)
        for name in gradient_columns(history)
        if not any(v > 0 for v in history[name])
    ]


def svg(figure: Figure) -> str:
    """Return a figure as SVG text, with its letters as text."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "deltarule"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


_PANELS = (
    (draw_loss, loss_columns),
    (draw_metrics, metric_columns),
    (draw_learning_rate, rate_columns),
    (draw_gradient_norms, gradient_columns),
)


def blank(height: float = 3.1) -> Figure:
    """Return an empty figure."""
    # Small on purpose: on a phone its letters are still 10 pixels high.
    return Figure(figsize=(4.8, height), layout="constrained")


def _single(history: History, draw: object, columns: list[str]) -> Figure | None:
    if not columns:
        return None
    figure = blank()
    assert callable(draw)
    draw(figure.add_subplot(), history)
    return figure


def _present(history: History, names: Sequence[str] | History) -> list[str]:
    return [name for name in names if history.get(name)]


def _line(
    axes: Axes, history: History, name: str, label: str, colour: int, dashes: tuple[float, ...]
) -> None:
    values = np.array(history[name])
    keep = thinned(len(values))
    axes.plot(
        keep + 1,
        values[keep],
        color=SERIES[colour % len(SERIES)],
        linewidth=1.6,
        linestyle=(0, dashes) if dashes else "-",
        marker="o" if len(values) == 1 else "",
        label=label,
    )


def dress(axes: Axes, label: str, *, x: str = "epoch", legend: bool = False) -> None:
    """Label the axes, and give them the colours of the page."""
    axes.set_xlabel(x, color=MUTED)
    axes.set_ylabel(label, color=MUTED)
    axes.tick_params(which="both", colors=MUTED, labelcolor=INK)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=x == "epoch"))
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    if legend and axes.get_legend_handles_labels()[1]:
        many = len(axes.get_legend_handles_labels()[1]) > 4
        axes.legend(frameon=False, labelcolor=INK, fontsize=8 if many else 9, ncols=1 + many)


def thinned(n: int) -> Array:
    """Return some indices of n values, first and last among them; not too many to draw."""
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_POINTS)).astype(np.int64))


def _layer_of(column: str) -> str:
    """Return the layer of "gradient_norm.2.1.weight": "2.1"."""
    return column.removeprefix(_GRADIENT).rpartition(".")[0]


def _layer_colour(i: int, layers: int) -> str:
    """Return one of the series, or for many layers a step of a ramp from first to last."""
    if layers <= len(SERIES):
        return SERIES[i]
    start, end = (np.array([int(c[k : k + 2], 16) for k in (1, 3, 5)]) for c in SERIES[:2])
    mixed = start + (end - start) * i / (layers - 1)
    return "#" + "".join(f"{round(value):02x}" for value in mixed)
