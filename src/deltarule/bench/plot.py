"""The plot of a result, if matplotlib is installed."""

from __future__ import annotations

import re
from pathlib import Path

from deltarule.bench.peers import OURS, PEERS, Absent
from deltarule.bench.peers.base import import_peer
from deltarule.bench.result import Result


def plot(result: Result, path: Path) -> Path | None:
    """Draw each peer's ratio to deltarule, on a logarithmic axis; None without matplotlib."""
    try:
        figures = import_peer("matplotlib.figure")
    except Absent:
        return None
    comparisons = [
        c for c in result.comparisons if any(entry.ratio for entry in c.entries.values())
    ]
    if not comparisons:
        return None
    peers = [
        name
        for name in result.peers
        if any(c.entries.get(name) and c.entries[name].ratio for c in comparisons)
    ]
    figure = figures.Figure(figsize=(8, 1.2 + 0.55 * len(comparisons)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(peers)
    for i, name in enumerate(peers):
        places, ratios = [], []
        for j, comparison in enumerate(comparisons):
            entry = comparison.entries.get(name)
            if entry is not None and entry.ratio:
                places.append(j - 0.4 + (i + 0.5) * height)
                ratios.append(entry.ratio)
        # Bars start at 1. To the right the peer takes longer, to the left deltarule does.
        axes.barh(places, [r - 1 for r in ratios], height, left=1, label=PEERS[name].title)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(comparisons)), [f"{c.key} {c.title}" for c in comparisons])
    axes.invert_yaxis()
    axes.set_xlabel(f"time (or memory) divided by {OURS}'s, median of rounds")
    axes.set_title(f"{result.machine['cpu']}, {result.machine['threads']} threads, {result.date}")
    axes.title.set_fontsize(9)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    return path


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
    picture = plot(result, folder / f"{name}.png")
    return paths if picture is None else [*paths, picture]
