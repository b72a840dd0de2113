"""``deltarule predict``: what a model says of the rows of a file, block by block."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltarule.base.errors import InvalidValueError, missing_extra
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
from deltarule.cli.output import unusable_input
from deltarule.cli.wishes import find_column, wished_separator

if TYPE_CHECKING:
    from deltarule.tables.model import TableModel

PREDICTION = "prediction"
_MOST_NAMED = 8


def predict(
    model: Annotated[Path, typer.Argument(help="The model that `deltarule train` wrote.")],
    file: File,
    out: Annotated[
        Path | None,
        typer.Option(help="FILE.csv or FILE.parquet; by default CSV to standard output."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A column to write too, such as a key; may be repeated."),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write the probability of each class too.")
    ] = False,
    fill_missing: Annotated[
        bool,
        typer.Option("--fill-missing", help="Take columns that the file lacks as missing values."),
    ] = False,
    separator: Separator = None,
    quote: Quote = None,
    encoding: Encoding = None,
    decimal: Decimal = None,
    header: Header = None,
    comment: Comment = None,
    skip: Skip = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing on standard error.")] = False,
) -> None:
    """Predict the rows of a file with a model that `deltarule train` wrote.

    The file is read in blocks, so it may be larger than memory. Columns are found by name; what is
    missing or new is said. Each row of the file becomes a row of the output: its prediction, spelt
    as the target's labels were, and the columns that --keep names.

    Exit status: 0; 2 if the model, the file or an option cannot be used; 130 after Ctrl-C; 1 for
    anything else.
    """
    with unusable_input():
        if out is not None and out.exists() and not force:
            raise InvalidValueError(f"{out} exists already; --force overwrites it")
        if out is not None and out.is_dir():
            raise InvalidValueError(f"{out} is a folder; add a file name")
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise missing_extra("deltarule predict", "tables") from None
        from deltarule.cli.writing import has_types, writer
        from deltarule.tables.model import TableModel

        found = TableModel.load(model)
        if probabilities and found.target.classes is None:
            raise InvalidValueError("a regression has no probabilities")
        options = {
            "separator": wished_separator(separator), "quote": quote, "encoding": encoding,
            "decimal": decimal, "header": header, "comment": comment, "skip": skip,
        }  # fmt: skip
        options = {k: v for k, v in options.items() if v is not None}
        rows = 0
        kept: list[str] = []
        read = _blocks(found, file, options, keep or [], typed=has_types(out))
        with closing(read) as blocks, writer(out) as write:
            for i, block in enumerate(blocks):
                if i == 0:
                    kept = [find_column(name, block.column_names) for name in keep or []]
                    _say_differences(found, block, fill_missing=fill_missing, quiet=quiet)
                write(_answers(found, block, kept, probabilities, fill_missing))
                rows += block.num_rows
        if not quiet and out is not None:
            typer.echo(f"{rows:,} predictions: {out}", err=True)


def _blocks(
    model: TableModel, file: str, options: dict[str, Any], keep: Sequence[str], *, typed: bool
) -> Generator[Any]:
    """Yield the file's rows, read as the file was that the model was trained on.

    What is kept and not used stays as the file spells it, whatever other rows hold. If the output
    has types, its numbers become numbers.
    """
    from deltarule.cli.writing import as_numbers
    from deltarule.tables.reading import read_blocks

    place = sys.stdin.buffer if file == "-" else file
    dialect = _dialect(model)
    if dialect.get("format") == "delimited":
        options.setdefault("header", dialect.get("header") is not None)
        options |= {name: list(dialect.get(name, ())) for name in ("text", "integers", "floats")}
    used = {column.name for column in model.columns.columns if column.use != "left out"}
    verbatim: list[str] = []

    def find_verbatim(names: Sequence[str]) -> list[str]:
        known = _names(model, names)
        kept = {find_column(name, known) for name in keep} - used - set(options.get("text", ()))
        verbatim.extend(name for name, now in zip(names, known, strict=True) if now in kept)
        return verbatim

    with read_blocks(place, **options, verbatim=find_verbatim) as blocks:
        for block in blocks:
            for name in verbatim if typed else ():
                at = block.column_names.index(name)
                numbers = as_numbers(block.column(name), blocks.dialect.decimal)
                block = block.set_column(at, name, numbers)
            yield block.rename_columns(_names(model, block.column_names))


def _dialect(model: TableModel) -> dict[str, Any]:
    """Return how the file was written that the model was trained on."""
    dialect: dict[str, Any] = model.about.get("table", {}).get("dialect", {})
    return dialect


def _names(model: TableModel, names: Sequence[str]) -> list[str]:
    """Without a header, columns are counted; a file without the target is one short."""
    table, dialect = model.about.get("table", {}), _dialect(model)
    known = [name for name in table.get("names") or [] if name != table.get("target")]
    counted = dialect.get("format") == "delimited" and dialect.get("header") is None
    return known if known and counted and len(names) == len(known) else list(names)


def _say_differences(model: TableModel, block: Any, *, fill_missing: bool, quiet: bool) -> None:
    found = model.columns.check(block)
    target = model.about.get("table", {}).get("target")
    new = [name for name in found.new if name != target]
    if found.missing and not fill_missing:
        raise InvalidValueError(
            f"the file lacks {_listed('column', found.missing)} of the model"
            + (f"; it has {_listed('column', new)} that the model does not know" if new else "")
            + "; --fill-missing takes what is absent as missing values"
        )
    if quiet:
        return
    if found.missing:
        typer.echo(f"absent, taken as missing: {_listed('column', found.missing)}", err=True)
    if new:
        typer.echo(f"not known to the model, not used: {_listed('column', new)}", err=True)


def _answers(
    model: TableModel, block: Any, kept: Sequence[str], probabilities: bool, fill: bool
) -> Any:
    """Return a block of the output."""
    import numpy as np
    import pyarrow as pa

    X = model.columns.transform(block, missing="fill" if fill else "raise")
    outputs = model.outputs_of(X)
    columns = {name: block.column(name) for name in kept}
    classes = model.target.classes
    if classes is None:
        answers = model.target.decode(outputs)
    else:
        answers = model.target.decode(outputs.argmax(axis=1))
        if classes.dtype == bool:
            answers = np.where(answers, "true", "false")
    columns[_free(PREDICTION, kept)] = pa.array(answers)
    if probabilities and classes is not None:
        for k, label in enumerate(classes.tolist()):
            columns[_free(f"probability of {label}", kept)] = pa.array(
                outputs[:, k].astype(np.float32)
            )
    return pa.table(columns)


def _free(name: str, taken: Sequence[str]) -> str:
    """Return a name that no column has which is kept."""
    while name in taken:
        name = f"{name}.2"
    return name


def _listed(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_MOST_NAMED]))
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"the {what}{'s' * (len(names) > 1)} {shown}{more}"
