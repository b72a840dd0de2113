"""A history as a notebook shows it: a picture of the losses, and the last numbers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from deltarule.base.types import Array

_WIDTH, _HEIGHT, _EDGE = 320, 96, 6
_MOST_POINTS = 320
_COLOURS = {"loss": "#0b63b5", "val_loss": "#c8501a"}
_NAMES = {"loss": "training", "val_loss": "validation"}


def history_html(history: Mapping[str, list[float]]) -> str:
    """Return a history as a piece of HTML without scripts or links."""
    it: Any = history
    facts = f"{it.epochs:,} epochs, {it.steps:,} steps, {it.seconds:.2f} s, {it.engine} engine"
    if it.stopped:
        facts += f"; stopped: {it.stopped}"
    numbers = it.last()
    head = "".join(f"<th>{escape(name)}</th>" for name in numbers)
    row = "".join(f"<td>{value:.6g}</td>" for value in numbers.values())
    table = f"<table><tr><th>epoch</th>{head}</tr><tr><td>{it.epochs}</td>{row}</tr></table>"
    return (
        f'<div><div style="margin:.4em 0"><b>History</b>: {escape(facts)}</div>'
        f"{_picture(history) if it.epochs else ''}{table if numbers else ''}</div>"
    )


def _picture(history: Mapping[str, list[float]]) -> str:
    """Return the curves of the losses as SVG; "" where no loss is finite."""
    curves = {name: np.array(history[name]) for name in _COLOURS if name in history}
    finite = np.concatenate([values[np.isfinite(values)] for values in curves.values()])
    if not len(finite):
        return ""
    low, high = float(finite.min()), float(finite.max())
    logarithmic = low > 0 and high > 30 * low
    lines, labels = [], []
    for name, values in curves.items():
        points = _points(values, low, high, logarithmic=logarithmic)
        mark = "" if len(values) > 1 else ' stroke-linecap="round" stroke-dasharray="0 1"'
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{_COLOURS[name]}" '
            f'stroke-width="{1.6 if len(values) > 1 else 5}"{mark}/>'
        )
        labels.append(f'<span style="color:{_COLOURS[name]}">{_NAMES[name]}</span>')
    scale = ", logarithmic" if logarithmic else ""
    span = f"{low:.4g} to {high:.4g}{scale}"
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="loss by epoch, {span}" style="border:1px solid #8888;border-radius:3px">'
        f"{''.join(lines)}</svg><div>loss by epoch, {span}: {', '.join(labels)}</div>"
    )


def _points(values: Array, low: float, high: float, *, logarithmic: bool) -> str:
    """Return the places of some of the finite values, first and last among them."""
    keep = np.unique(np.linspace(0, len(values) - 1, min(len(values), _MOST_POINTS)).astype(int))
    keep = keep[np.isfinite(values[keep])]
    x = _EDGE + (_WIDTH - 2 * _EDGE) * keep / max(1, len(values) - 1)
    # Halves, as the span of two finite numbers may overflow.
    y, bottom, top = (np.asarray(v) / 2 for v in (values[keep], low, high))
    if logarithmic:
        y, bottom, top = np.log(y), np.log(bottom), np.log(top)
    height = (y - bottom) / (top - bottom) if top > bottom else np.full(len(y), 0.5)
    y = _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * height
    places = [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]
    return " ".join(places * 2 if len(places) == 1 else places)
