"""The command line: one module per command, on Typer and Rich."""

from deltarule.cli.app import app, run

__all__ = ["app", "run"]
