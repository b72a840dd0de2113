"""``deltarule train``: a model and a report from a file with a table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deltarule.cli.asked import Asked
from deltarule.cli.file_options import (
    Comment,
    Decimal,
    Encoding,
    File,
    Header,
    Quote,
    Separator,
    Skip,
)
from deltarule.cli.training import carry_out


class Task(StrEnum):
    """What is predicted."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


def train(
    file: File,
    target: Annotated[str, typer.Option(help="The column to predict.")],
    task: Annotated[Task | None, typer.Option(help="What is predicted; found by itself.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for model and report; by default named after file and target."),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="What a column is: COLUMN=KIND, such as zip=category. May be repeated."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="A column to leave out. May be repeated.")
    ] = None,
    separator: Separator = None,
    quote: Quote = None,
    encoding: Encoding = None,
    decimal: Decimal = None,
    header: Header = None,
    comment: Comment = None,
    skip: Skip = None,
    index: Annotated[
        bool | None,
        typer.Option("--index/--no-index", help="Whether the first column merely counts the rows."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Judge by cross-validation in so many parts; the default below 5,000 rows is 5.",
            min=2,
        ),
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            help="Judge on this share of the rows; the default from 5,000 rows on is 0.2."
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(help="Seconds for all trainings together; reading and judging come on top."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything that is random.", min=0)] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="New folder for checkpoints: `deltarule resume FOLDER` goes on with a training "
            "that was ended.",
            show_default="none",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a model and a report.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the scores alone.")] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object, everything else to standard error."),
    ] = False,
) -> None:
    """Train a network on a table and say how good it is.

    Finds by itself how the file is written and what its columns are, and says so. Judges the
    network on rows that it has not seen, beside a linear model and the most frequent class or the
    mean.
    Writes a model (for `deltarule predict`) and a report, both into one folder.

    Exit status: 0; 2 if the input or an option cannot be used; 130 after Ctrl-C, which keeps the
    model if its training has begun, or with --checkpoint what `deltarule resume` goes on from; 1
    for anything else.
    """
    asked = Asked(
        file=file,
        target=target,
        task=None if task is None else task.value,
        out=None if out is None else str(out),
        kind=tuple(kind or ()),
        drop=tuple(drop or ()),
        separator=separator,
        quote=quote,
        encoding=encoding,
        decimal=decimal,
        header=header,
        comment=comment,
        skip=skip,
        index=index,
        folds=folds,
        holdout=holdout,
        time_limit=time_limit,
        seed=seed,
        no_report=no_report,
        force=force,
    )
    carry_out(asked, checkpoint=checkpoint, quiet=quiet, as_json=as_json)
