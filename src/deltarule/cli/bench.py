"""``deltarule bench``: speed beside the other libraries installed here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deltarule.base.files import check_writable, write_atomically
from deltarule.base.settings import check_integer
from deltarule.bench import PEERS, choices, print_short_form


def bench(
    peers: Annotated[
        str | None,
        typer.Option(
            help=f"Libraries, separated by commas: {', '.join(PEERS)}.",
            show_default="all that are installed, without torch-compile",
        ),
    ] = None,
    workloads: Annotated[
        str | None,
        typer.Option(
            help="Workloads, separated by commas: "
            + ", ".join(f"{key} ({title})" for key, title in choices().items())
            + ".",
            show_default="W",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of every library.")] = 2,
    json: Annotated[
        Path | None,
        typer.Option(help="File for the result, with every sample.", show_default="none"),
    ] = None,
) -> None:
    """Measure training and single-row prediction beside the libraries installed here.

    Takes about a minute. In the table, a number in brackets says how many times as long as
    deltarule a library takes. Do not rely on figures that were measured while other programs ran;
    the result warns if it notices any.
    """
    check_integer("threads", threads)
    if json is not None:
        check_writable(json)
    result = print_short_form(_names(peers), workloads=_names(workloads), threads=threads)
    if json is not None:
        write_atomically(json, result.to_json().encode())


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]
