"""``deltarule bench``: speed beside the other libraries installed here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deltarule.base.files import check_writable, write_atomically
from deltarule.base.settings import check_integer
from deltarule.bench import PEERS, WORKLOADS, print_short_form


def bench(
    peers: Annotated[
        str | None,
        typer.Option(
            help=f"Separated by commas, of: {', '.join(PEERS)}.",
            show_default="installed ones, without torch-compile",
        ),
    ] = None,
    workloads: Annotated[
        str | None,
        typer.Option(
            help="Separated by commas: "
            + ", ".join(f"{key} ({workload.title})" for key, workload in WORKLOADS.items())
            + ".",
            show_default="all",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Of every library.")] = 2,
    json: Annotated[
        Path | None,
        typer.Option(help="Where the result goes, every sample included.", show_default="nowhere"),
    ] = None,
) -> None:
    """Measure training and single-row prediction beside the peers installed here.

    Takes about a minute. In the table, a number in brackets says how many times as long as
    deltarule a peer takes. Figures taken while other programs run are not to be relied on; the
    result says so where it notices.
    """
    check_integer("threads", threads)
    if json is not None:
        check_writable(json)
    result = print_short_form(_names(peers), workloads=_names(workloads), threads=threads)
    if json is not None:
        write_atomically(json, result.to_json().encode())


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]
