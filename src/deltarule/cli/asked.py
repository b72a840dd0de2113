"""What is asked of ``deltarule train``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deltarule.cli.wishes import folder_name

MODEL_FILE, REPORT_FILE = "model.safetensors", "report.html"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The arguments of ``deltarule train`` that say what is trained and where it is written."""

    file: str
    target: str
    task: str | None = None
    out: str | None = None
    kind: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    separator: str | None = None
    quote: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    header: bool | None = None
    comment: str | None = None
    skip: int | None = None
    index: bool | None = None
    folds: int | None = None
    holdout: float | None = None
    time_limit: float | None = None
    seed: int = 0
    no_report: bool = False
    force: bool = False

    @property
    def files(self) -> dict[str, Path]:
        """Where the model and the report are written."""
        named = folder_name(self.file, self.target) if self.out is None else self.out
        found = {"model": Path(named) / MODEL_FILE}
        return found if self.no_report else found | {"report": Path(named) / REPORT_FILE}
