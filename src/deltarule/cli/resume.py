"""``deltarule resume``: going on with a training that was ended."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from deltarule.cli.kept import Kept
from deltarule.cli.output import unusable_input
from deltarule.cli.training import carry_out


def resume(
    folder: Annotated[Path, typer.Argument(help="What --checkpoint of `deltarule train` named.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite a model and a report.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the scores alone.")] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object, everything else to standard error."),
    ] = False,
) -> None:
    """Go on with a training that was killed, terminated or interrupted.

    The training is one of `deltarule train --checkpoint FOLDER`. It goes on from its last
    checkpoint, with the arguments and the file that it began with, and writes the same model and
    report, byte for byte, as if it had never been ended. The folder stays as it is.

    Exit status: as of `deltarule train`; 2 too where the folder has no training, or the file is
    not as it was.
    """
    with unusable_input():
        kept, asked = Kept.of(folder)
    if Path.cwd() != kept.directory:
        base = kept.directory
        out = base / (asked.files["model"].parent)
        asked = replace(asked, file=os.fspath(base / asked.file), out=os.fspath(out))
    carry_out(replace(asked, force=asked.force or force), kept=kept, quiet=quiet, as_json=as_json)
