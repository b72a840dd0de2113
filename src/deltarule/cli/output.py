"""Output of the commands: results to standard output, errors in one line to standard error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from deltarule.base.errors import (
    DeltaruleError,
    DivergenceError,
    MissingExtraError,
    WriteError,
)

UNUSABLE = 2
"""Exit status where the input or the command itself cannot be used."""
_FILE_WIDTH = 100
"""Columns of text where the output is no terminal."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""
TERMINATED = 143
"""Exit status after SIGTERM: 128 + SIGTERM."""


def console(*, stderr: bool = False) -> Console:
    """Return a console on the current standard output, or standard error."""
    found = Console(highlight=False, stderr=stderr)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _FILE_WIDTH
    return found


def fail(message: str, *, code: int = 1) -> typer.Exit:
    """Write one line to standard error and return the exception that exits with ``code``."""
    typer.echo(f"deltarule: {' '.join(message.split())}", err=True)
    return typer.Exit(code)


@contextmanager
def unusable_input() -> Iterator[None]:
    """Turn errors about what was given into one line and exit status 2.

    What is the machine's fault, such as a full disk or a missing library, keeps status 1.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except (WriteError, MissingExtraError, DivergenceError):
        raise
    except (DeltaruleError, FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise fail(str(error), code=UNUSABLE) from None
