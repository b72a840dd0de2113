"""Output of the commands: results to standard output, errors in one line to standard error."""

from __future__ import annotations

import typer
from rich.console import Console


def console() -> Console:
    """Return a console on the current standard output."""
    return Console(highlight=False)


def fail(message: str, *, code: int = 1) -> typer.Exit:
    """Write one line to standard error and return the exception that exits with ``code``."""
    typer.echo(f"deltarule: {' '.join(message.split())}", err=True)
    return typer.Exit(code)
