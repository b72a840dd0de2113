"""The plot of a result, if matplotlib is installed."""

from __future__ import annotations

import re
from pathlib import Path

from deltarule.bench.peers import OURS, Absent
from deltarule.bench.peers.base import import_peer
from deltarule.bench.result import Comparison, Result
from deltarule.bench.workloads import WORKLOADS

_LIBRARIES = {
    "PyTorch": ("#e0662f", "o", ("torch", "torch-fused", "torch-compile")),
    "JAX": ("#3f8fdf", "D", ("jax", "jax-epochs")),
    "scikit-learn": ("#2fa36b", "s", ("sklearn",)),
    "FANN": ("#a56fd6", "^", ("fann",)),
    "mlpack": ("#c9971c", "v", ("mlpack",)),
}
"""Colour, marker and ways of use, of which the fastest counts. They and the grey of the text can be
seen on white and on black."""
_GREY = "#7f8791"


def plot(result: Result, path: Path) -> Path | None:
    """Draw how many times as long as deltarule the others train; None without matplotlib.

    Of the narrow networks those at batch 32 and on all rows are shown. The background is
    transparent.
    """
    try:
        matplotlib, figures = import_peer("matplotlib"), import_peer("matplotlib.figure")
    except Absent:
        return None
    comparisons = [
        c
        for c in result.comparisons
        if c.key in WORKLOADS and (c.key.endswith(("-32", "-all")) or c.key.startswith("W"))
    ]
    rows = range(len(comparisons))
    drawn = {
        name: ratios
        for name, (_, _, keys) in _LIBRARIES.items()
        if any(ratios := [_fastest(comparison, keys) for comparison in comparisons])
    }
    if not drawn:
        return None
    figure = figures.Figure(figsize=(8.6, 1.3 + 0.3 * len(comparisons)), layout="constrained")
    axes = figure.subplots()
    for name, ratios in drawn.items():
        colour, marker, _ = _LIBRARIES[name]
        axes.plot(ratios, rows, marker, color=colour, label=name, markersize=6)
    for i, comparison in enumerate(comparisons):
        axes.text(1.02, i, _time(comparison), va="center", transform=axes.get_yaxis_transform())
    axes.axvline(1, color=_GREY, linewidth=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}x")
    axes.set_yticks(rows, [_label(comparison) for comparison in comparisons])
    axes.set_ylim(len(comparisons) - 0.5, -0.5)
    axes.grid(color=_GREY, alpha=0.3, linewidth=0.6)
    axes.set_xlabel(
        "how many times as long as deltarule a training step takes (left of 1x: faster)"
    )
    axes.text(1.02, 1.01, "deltarule", transform=axes.transAxes)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(_LIBRARIES), frameon=False)
    for text in figure.findobj(matplotlib.text.Text):
        text.set(color=_GREY, fontsize=9)
    axes.tick_params(color=_GREY)
    for spine in axes.spines.values():
        spine.set_visible(False)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "deltarule"}):
        figure.savefig(path, transparent=True, metadata={"Date": None})
    return path


def _fastest(comparison: Comparison, keys: tuple[str, ...]) -> float | None:
    """Return the smallest ratio of a library's ways of use."""
    entries = [comparison.entries[key] for key in keys if key in comparison.entries]
    return min((entry.ratio for entry in entries if entry.ratio), default=None)


def _label(comparison: Comparison) -> str:
    """Return the network and the batch, "64-100-10, batch 200"."""
    details = comparison.details
    batch, rows = details["batch_size"], details["rows"]
    return f"{details['network']}, {f'all {rows:,} rows' if batch == rows else f'batch {batch}'}"


def _time(comparison: Comparison) -> str:
    """Return deltarule's time of a step, "31 us"."""
    microseconds = comparison.entries[OURS].value or 0.0
    return f"{microseconds:.3g} us" if microseconds < 1000 else f"{microseconds / 1000:.3g} ms"


def write(result: Result, folder: Path | str) -> list[Path]:
    """Write a file of samples, a table and, if matplotlib is installed, a plot.

    They are named after the processor and the vector target, "amd-epyc-avx512.json": a newer result
    of the same machine replaces an older one.
    """
    folder = Path(folder)
    machine = f"{result.machine['cpu']} {result.machine['target'] or 'reference'}"
    name = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.json", folder / f"{name}.md"]
    paths[0].write_text(result.to_json())
    paths[1].write_text(result.to_markdown())
    picture = plot(result, folder / f"{name}.svg")
    return paths if picture is None else [*paths, picture]
