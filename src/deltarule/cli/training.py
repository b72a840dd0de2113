"""What ``deltarule train`` and ``deltarule resume`` do: from a file to a model and a report."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deltarule.base.errors import InvalidValueError, MissingExtraError, missing_extra
from deltarule.base.files import PART, check_writable, write_atomically
from deltarule.cli.asked import MODEL_FILE, Asked
from deltarule.cli.kept import Kept, digest_of_file, going_on
from deltarule.cli.output import INTERRUPTED, console, unusable_input
from deltarule.cli.threads import one_thread_blas
from deltarule.cli.wishes import find_column, wished_kinds, wished_separator

if TYPE_CHECKING:
    from deltarule.tables.table import Prepared


def carry_out(
    asked: Asked,
    *,
    checkpoint: Path | None = None,
    kept: Kept | None = None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train, say how good it is, and write model and report.

    Parameters
    ----------
    checkpoint : Path, optional
        A new folder for checkpoints.
    kept : Kept, optional
        A training to go on with.
    """
    with going_on(checkpoint if kept is None else kept.folder):
        _carry_out(asked, checkpoint, kept, quiet=quiet, as_json=as_json)


def _carry_out(
    asked: Asked, checkpoint: Path | None, kept: Kept | None, *, quiet: bool, as_json: bool
) -> None:
    with unusable_input():
        files = asked.files
        _check_free(files, force=asked.force, ours={} if kept is None else kept.written)
        _check_extras(report=not asked.no_report)
        if checkpoint is not None:
            kept = Kept.new(checkpoint, asked)
        prepared, kinds = _prepare(asked)
        words = console(stderr=as_json)
        source = "standard input" if asked.file == "-" else Path(asked.file).name
        if not quiet:
            _say_understood(words, source, prepared)
        if kept is not None:
            kept.begin()
        from deltarule.cli.progress import Watch
        from deltarule.tables.study import study

        with one_thread_blas(), Watch(quiet=quiet) as watch:
            found = study(
                prepared.frame,
                prepared.target,
                prepared.encoded,
                replace(_wishes(asked), kinds=kinds),
                callbacks=(watch,),
                stage=watch.stage,
                checkpoints=None if kept is None else kept.folder,
            )
        contents = {"model": prepared.model_bytes(found)}
        if not asked.no_report:
            from deltarule.cli.findings import report_of

            contents["report"] = report_of(source, prepared, found, asked.seed).encode()
        if kept is not None:
            kept.will_write(contents)
            for path in files.values():
                for part in path.parent.glob(f".{path.name}.*{PART}"):
                    part.unlink(missing_ok=True)  # of a process that was killed
    _write({files[what]: content for what, content in contents.items()})
    _say_scores(words, prepared, found)
    shown = {what: str(path) for what, path in files.items()}
    if not quiet:
        _say_files(words, shown)
    if as_json:
        sys.stdout.write(
            json.dumps(prepared.json(found, shown, asked.seed), allow_nan=False) + "\n"
        )
    if found.stopped == "interrupted":
        raise typer.Exit(INTERRUPTED)


def _wishes(asked: Asked) -> Any:
    from deltarule.tables.study import Wishes

    return Wishes({}, asked.seed, asked.folds, asked.holdout, asked.time_limit)


def _prepare(asked: Asked) -> tuple[Prepared, dict[str, str]]:
    """Read the file; return what is trained on, and the kinds of columns that were given."""
    from deltarule.tables.reading import read_table
    from deltarule.tables.table import prepare

    _wishes(asked)  # which raises where they are impossible
    reading = read_table(
        sys.stdin.buffer if asked.file == "-" else asked.file,
        separator=wished_separator(asked.separator),
        quote=asked.quote,
        encoding=asked.encoding,
        decimal=asked.decimal,
        header=asked.header,
        comment=asked.comment,
        skip=asked.skip,
        index=asked.index,
    )
    names = reading.table.column_names
    has_header = reading.dialect.header is not None or reading.dialect.format != "delimited"
    column = find_column(asked.target, names, header=has_header)
    kinds = wished_kinds(asked.kind, asked.drop, names, header=has_header)
    if column in kinds:
        raise InvalidValueError(f"{column!r} is the target; it is neither left out nor a kind")
    prepared = prepare(reading, column, task=asked.task, kinds=kinds)
    if column != asked.target:
        prepared.notes.insert(0, f"the target {asked.target!r} is the column {column!r}")
    return prepared, kinds


def _check_free(files: dict[str, Path], *, force: bool, ours: dict[str, str]) -> None:
    """Raise, before anything is done, where something would be overwritten or cannot be written.

    ``ours``: digests of those that may be overwritten, since this training has written them.
    """
    folder = files["model"].parent
    if folder.exists() and not folder.is_dir():
        raise InvalidValueError(f"{folder} is a file; --out takes a folder")
    for what, path in files.items():
        own = what in ours and path.is_file() and ours[what] == digest_of_file(path)
        if path.exists() and not (force or own):
            raise InvalidValueError(
                f"{path} exists already; --force overwrites it, --out chooses another folder"
            )
    parent = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
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


def _write(contents: dict[Path, bytes]) -> None:
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
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

    words.print(score_table(found.judgement, words.width))
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
