"""The options of `train` and `predict` that say how a file is written."""

from __future__ import annotations

from typing import Annotated

import typer

File = Annotated[
    str,
    typer.Argument(help="CSV, TSV, Parquet, Arrow, compressed too; - reads standard input."),
]
Separator = Annotated[str | None, typer.Option(help="Between two fields: ',', ';', tab, ...")]
Quote = Annotated[str | None, typer.Option(help="Around fields that contain a separator.")]
Encoding = Annotated[str | None, typer.Option(help="utf-8, cp1252, ...")]
Decimal = Annotated[str | None, typer.Option(help="The decimal mark: . or ,")]
Header = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether the first line names the columns."),
]
Comment = Annotated[str | None, typer.Option(help="What lines of comments begin with.")]
Skip = Annotated[int | None, typer.Option(help="Lines above the table.", min=0)]
