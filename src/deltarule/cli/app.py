"""All commands, and how their errors are reported."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

import deltarule
from deltarule.base.errors import DeltaruleError
from deltarule.cli import bench, check, demo, predict, resume, trace, train
from deltarule.cli.output import INTERRUPTED, console, fail


class _Commands(TyperGroup):
    """Turns the errors a user can cause into one line and exit status 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # `deltarule trace | head`: no reader is left
            raise
        except (DeltaruleError, OSError) as error:
            raise fail(str(error)) from None
        except KeyboardInterrupt:
            raise fail("interrupted", code=INTERRUPTED) from None


app = typer.Typer(
    name="deltarule",
    cls=_Commands,
    help="Feed-forward networks trained by backpropagation, with every delta in plain sight.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("resume")(resume.resume)
app.command("predict")(predict.predict)
app.command("demo")(demo.demo)
app.command("trace")(trace.trace)
app.command("check")(check.check)
app.command("bench")(bench.bench)


@app.command("engines")
def engines() -> None:
    """List the engines of this installation and say whether they work."""
    table = Table("engine", "state")
    for name, state in deltarule.engines().items():
        table.add_row(name, state)
    console().print(table)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deltarule {deltarule.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


def run() -> int:
    """Run the command that ``sys.argv`` names; return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # consoles without Greek letters show "?"
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="deltarule")
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    return 0
