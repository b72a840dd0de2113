"""The results: comparisons of one quantity each, as JSON, text and tables."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from deltarule.bench.peers import OURS, PEERS
from deltarule.bench.workloads import WORKLOADS

_SHARES = ("share of a core", "share of floor")
_BUSY = 0.05
"""Share of the cores' time in other processes above which a result warns."""


@dataclass
class Entry:
    """One library in one comparison.

    Attributes
    ----------
    value : float or None
        Median over the rounds; None where the library is absent.
    samples : list of float
        One value per round.
    ratio : float or None
        Median over the rounds of this library's value divided by deltarule's in the same round.
    best, best_ratio : float or None
        The smallest sample, and its ratio to deltarule's smallest. These are steadier than medians
        on a busy machine, and similar to them on a quiet one.
    loss : float or None
        Mean loss of the second epoch from the shared initial parameters; similar if the work is.
    absent : str
        Why there is no value.
    details : dict
        Anything else that is known.
    """

    value: float | None = None
    samples: list[float] = field(default_factory=list)
    ratio: float | None = None
    best: float | None = None
    best_ratio: float | None = None
    loss: float | None = None
    absent: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Comparison:
    """All libraries compared in one quantity; less is better.

    Attributes
    ----------
    key, title, unit : str
    entries : dict of str to Entry
        By the peer's key.
    details : dict
        For a workload: network, batch, rows, floor and the share of it that is reached.
    """

    key: str
    title: str
    unit: str
    entries: dict[str, Entry] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def add_samples(self, samples: dict[str, list[float]]) -> None:
        """Fill in medians and ratios from interleaved rounds."""
        ours = samples.get(OURS)
        for name, values in samples.items():
            entry = self.entries.setdefault(name, Entry())
            entry.samples, entry.value = values, statistics.median(values)
            entry.best = min(values)
            if ours is not None and name != OURS:
                pairs = zip(values, ours, strict=True)
                entry.ratio = statistics.median(theirs / own for theirs, own in pairs)
                entry.best_ratio = min(values) / min(ours)

    def add_absent(self, absent: dict[str, str]) -> None:
        """Note libraries that could not be measured, and why."""
        for name, reason in absent.items():
            self.entries[name] = Entry(absent=reason)


@dataclass
class Result:
    """One run of the benchmark."""

    form: str
    date: str
    machine: dict[str, Any]
    peak: dict[str, Any] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    installed_megabytes: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: float = 0.0

    def __getitem__(self, key: str) -> Comparison:
        """Return a comparison by its key."""
        for comparison in self.comparisons:
            if comparison.key == key:
                return comparison
        raise KeyError(key)

    @property
    def peers(self) -> list[str]:
        """Keys of all libraries that have an entry, in the registry's order."""
        return [name for name in PEERS if any(name in c.entries for c in self.comparisons)]

    def to_json(self) -> str:
        """Return everything as JSON, with every sample."""
        notes = {name: PEERS[name].note for name in self.peers}
        return json.dumps(asdict(self) | {"notes": notes}, indent=1) + "\n"

    def header(self) -> list[str]:
        """Return the lines that say where this was measured."""
        machine, versions = self.machine, self.machine["versions"]
        lines = [
            f"{self.date}, {self.form} form, {self.seconds:.0f} s; {machine['cpu']}, "
            f"{machine['cores']} cores, {machine['threads']} threads each",
            f"deltarule native engine {machine['engines']['native']}",
            ", ".join(f"{name} {version}" for name, version in versions.items()),
        ]
        share = machine.get("busy_with_others")
        if share is not None and share > _BUSY:
            lines.append(
                f"BUSY MACHINE: other processes took {share:.0%} of the cores' time; this slows "
                "libraries with several threads most, so do not rely on these figures and ratios"
            )
        if machine.get("mixed_threads"):
            lines.append(
                "MIXED THREADS: this process has measured with another number of threads before, "
                "and thread pools keep the number they started with; start a new process"
            )
        if self.peak:
            lines.append(f"peak {self.peak['gflops']:.0f} GFLOP/s (by {self.peak['by']})")
        return lines

    def tables(self, *, values: bool = True) -> list[tuple[list[str], list[list[str]]]]:
        """Return headings and rows of two tables, narrow networks apart; none that is empty.

        The cells are values and each peer's ratio to deltarule; without ``values`` of the peers
        their ratios alone. No column is empty.
        """
        narrow = [c for c in self.comparisons if c.key in WORKLOADS and WORKLOADS[c.key].narrow]
        others = [c for c in self.comparisons if c not in narrow]
        return [self._table(group, values) for group in (narrow, others) if group]

    def _table(
        self, comparisons: list[Comparison], values: bool
    ) -> tuple[list[str], list[list[str]]]:
        peers = [name for name in self.peers if name != OURS]
        headings = ["", "unit", OURS, *(PEERS[name].title for name in peers), *_SHARES]
        rows = []
        for comparison in comparisons:
            ours = comparison.entries.get(OURS, Entry())
            row = [f"{comparison.key} {comparison.title}", comparison.unit, _number(ours.value)]
            for name in peers:
                entry = comparison.entries.get(name)
                if entry is None:
                    row.append("")
                elif entry.value is None:
                    row.append("absent")
                else:
                    ratio = "" if entry.ratio is None else f"{_number(entry.ratio)}x"
                    text = f" ({ratio})" if ratio else ""
                    row.append(_number(entry.value) + text if values else ratio)
            shares = ours.details.get("share_of_core"), comparison.details.get("share_of_floor")
            rows.append([*row, *("" if share is None else f"{share:.0%}" for share in shares)])
        used = [i for i in range(len(headings)) if any(row[i] for row in rows)]
        return [headings[i] for i in used], [[row[i] for i in used] for row in rows]

    def absences(self) -> list[str]:
        """Return lines that say which peers are absent, from which comparisons, and why."""
        where: dict[tuple[str, str], list[str]] = {}
        for comparison in self.comparisons:
            for name, entry in comparison.entries.items():
                if entry.absent:
                    where.setdefault((name, entry.absent), []).append(comparison.key)
        return [
            f"{PEERS[name].title} is absent from {', '.join(keys)}: {reason}"
            for (name, reason), keys in where.items()
        ]

    def to_markdown(self) -> str:
        """Return the table as Markdown, with where and how it was measured."""
        lines = [*(f"- {line}" for line in self.header()), ""]
        lines += [
            "Medians over interleaved rounds; in brackets the median of the ratios to deltarule "
            "within a round (above 1: the peer takes longer).",
        ]
        for headings, rows in self.tables():
            cells = [headings, ["---", "---", *["---:"] * (len(headings) - 2)], *rows]
            lines += ["", *(f"| {' | '.join(row)} |" for row in cells)]
        for line in self.absences():
            lines += ["", line]
        lines += ["", *(f"- {PEERS[name].title}: {PEERS[name].note}" for name in self.peers)]
        if self.installed_megabytes:
            lines += ["", "| installed | own MB | with requirements |", "| --- | ---: | ---: |"]
            lines += [
                f"| {name} | {size['own']:.1f} | {size['with requirements']:.1f} |"
                for name, size in self.installed_megabytes.items()
            ]
        return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    """Return three significant digits."""
    if value is None:
        return "absent"
    if value == 0 or not math.isfinite(value):
        return str(value)
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
