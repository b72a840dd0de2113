"""``deltarule train``: a model and a report from a file with a table."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltarule.base.errors import InvalidValueError, MissingExtraError, missing_extra
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
from deltarule.cli.output import INTERRUPTED, console, unusable_input
from deltarule.cli.threads import one_thread_blas
from deltarule.cli.wishes import find_column, folder_name, wished_kinds, wished_separator

if TYPE_CHECKING:
    from deltarule.tables.table import Prepared

MODEL_FILE, REPORT_FILE = "model.safetensors", "report.html"


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
    model if its training has begun; 1 for anything else.
    """
    with unusable_input():
        folder = out if out is not None else Path(folder_name(file, target))
        files = {"model": folder / MODEL_FILE}
        if not no_report:
            files["report"] = folder / REPORT_FILE
        _check_free(folder, files, force=force)
        _check_extras(report=not no_report)
        from deltarule.tables.reading import read_table
        from deltarule.tables.study import Wishes, study
        from deltarule.tables.table import prepare

        wishes = Wishes({}, seed, folds, holdout, time_limit)
        reading = read_table(
            sys.stdin.buffer if file == "-" else file,
            separator=wished_separator(separator),
            quote=quote,
            encoding=encoding,
            decimal=decimal,
            header=header,
            comment=comment,
            skip=skip,
            index=index,
        )
        names = reading.table.column_names
        has_header = reading.dialect.header is not None or reading.dialect.format != "delimited"
        column = find_column(target, names, header=has_header)
        kinds = wished_kinds(kind or [], drop or [], names, header=has_header)
        if column in kinds:
            raise InvalidValueError(f"{column!r} is the target; it is neither left out nor a kind")
        prepared = prepare(reading, column, task=None if task is None else task.value, kinds=kinds)
        if column != target:
            prepared.notes.insert(0, f"the target {target!r} is the column {column!r}")
        words = console(stderr=as_json)
        source = "standard input" if file == "-" else Path(file).name
        if not quiet:
            _say_understood(words, source, prepared)
        from deltarule.cli.progress import Watch

        with one_thread_blas(), Watch(quiet=quiet) as watch:
            found = study(
                prepared.frame,
                prepared.target,
                prepared.encoded,
                replace(wishes, kinds=kinds),
                callbacks=(watch,),
                stage=watch.stage,
            )
        contents = {"model": prepared.model_bytes(found)}
        if not no_report:
            from deltarule.cli.findings import report_of

            contents["report"] = report_of(source, prepared, found, seed).encode()
    _write(folder, {files[what]: content for what, content in contents.items()})
    _say_scores(words, prepared, found)
    shown = {what: str(path) for what, path in files.items()}
    if not quiet:
        _say_files(words, shown)
    if as_json:
        sys.stdout.write(json.dumps(prepared.json(found, shown, seed), allow_nan=False) + "\n")
    if found.stopped == "interrupted":
        raise typer.Exit(INTERRUPTED)


def _check_free(folder: Path, files: dict[str, Path], *, force: bool) -> None:
    """Raise, before anything is done, where something would be overwritten or cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise InvalidValueError(f"{folder} is a file; --out takes a folder")
    for path in files.values():
        if path.exists() and not force:
            raise InvalidValueError(
                f"{path} exists already; --force overwrites it, --out chooses another folder"
            )
    parent = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
    from deltarule.base.files import check_writable

    check_writable(parent / MODEL_FILE)


def _check_extras(*, report: bool) -> None:
    """Raise where a library is missing, before the training."""
    try:
        import pyarrow
        import sklearn  # noqa: F401
    except ImportError as error:
        extra = "tables" if (error.name or "").startswith("pyarrow") else "sklearn"
        raise missing_extra("deltarule train", extra) from None
    assert pyarrow
    if report:
        try:
            import deltarule.report.table
        except MissingExtraError:
            raise
        except ImportError:
            raise missing_extra("the report (leave it out with --no-report)", "report") from None
        assert deltarule.report.table


def _write(folder: Path, contents: dict[Path, bytes]) -> None:
    from deltarule.base.files import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        write_atomically(path, content)


def _say_understood(words: Any, source: str, prepared: Prepared) -> None:
    from deltarule.cli.understood import column_table
    from deltarule.tables.described import dialect_line

    words.print(f"[bold]{_escaped(source)}[/]: {_escaped(dialect_line(prepared.reading.dialect))}")
    words.print(_escaped(prepared.task_line()))
    for note in prepared.notes:
        words.print(f"  {_escaped(note)}", soft_wrap=True)
    words.print()
    words.print(column_table(prepared.columns.columns, words.width))
    if prepared.advice:
        words.print("\n[bold yellow]Before you trust it[/]")
        for advice in prepared.advice:
            words.print(f"  [yellow]{_escaped(advice.kind)}[/]: {_escaped(advice.text)}")
    words.print()


def _say_scores(words: Any, prepared: Prepared, found: Any) -> None:
    from deltarule.cli.understood import score_table

    words.print(score_table(found.judgement))
    words.print(_escaped(prepared.verdict(found)), soft_wrap=True)
    if found.stopped:
        words.print(f"Training ended early: {found.stopped}.", markup=False)


def _say_files(words: Any, shown: dict[str, str]) -> None:
    for what, path in shown.items():
        words.print(f"{what.capitalize()}: {path}", markup=False, soft_wrap=True)
    words.print(
        f"Use it: deltarule predict {shown['model']} NEW_FILE --out predictions.csv",
        markup=False,
        soft_wrap=True,
    )


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
