"""Where the commands write: results to standard output, errors to standard error in one line."""

from __future__ import annotations

import typer
from rich.console import Console


def console() -> Console:
    """Return a console on the standard output of this moment."""
    return Console(highlight=False)


def fail(message: str, *, code: int = 1) -> typer.Exit:
    """Write one line on standard error and return the exception that leaves with ``code``."""
    typer.echo(f"deltarule: {' '.join(message.split())}", err=True)
    return typer.Exit(code)
