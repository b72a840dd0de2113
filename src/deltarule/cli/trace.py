"""``deltarule trace``: two published worked examples, number by number."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from deltarule import published
from deltarule.cli.output import console


class Which(StrEnum):
    """The names of the examples."""

    SPECIFICATION = "specification"
    MAZUR = "mazur"
    ALL = "all"


def trace(
    which: Annotated[Which, typer.Argument(help="Which worked example to print.")] = Which.ALL,
) -> None:
    """Print a worked example of backpropagation, number by number.

    There are two: the 2-2-1 network of the specification (the tutorial after which deltarule was
    written) and Matt Mazur's 2-2-2 network. Each is computed in float64 and followed by a table of
    the figures that its text prints beside the computed ones.
    """
    if which is not Which.MAZUR:
        _specification()
    if which is Which.ALL:
        typer.echo("\n")
    if which is not Which.SPECIFICATION:
        _mazur()


def _specification() -> None:
    example = published.specification()
    _heading("The specification's worked example: 2-2-1, sigmoid units")
    _paragraph(
        "The specification is the tutorial on backpropagation after which deltarule was written. "
        "It gives z_h = [.1, .3], z_o = .2 and w_o = [.4, .6], but neither the weights into the "
        "hidden layer nor the biases. Here these are chosen so that the z come out exactly:"
    )
    for name, value in example.network.parameters.items():
        kind = "W" if name.endswith("weight") else "b"
        typer.echo(f"  {kind}[{name[0]}] = {value.round(6).tolist()}")
    typer.echo()
    typer.echo(str(example.trace()))
    typer.echo()
    table = Table("figure", "printed in the text", "computed", "")
    notes = {"right": "", "cut off": "cut off, not rounded", "off": "[bold red]off[/]"}
    for row in published.slips():
        table.add_row(row.quantity, row.printed, f"{row.computed:.6f}", notes[row.verdict])
    console().print(table)
    _paragraph(
        "Where the text is off: it cuts a_o off to .549 instead of rounding it to .550, and gets "
        ".102 for the loss and -.451 for a_o - y, where .101 and -.450 are right. It also has .247 "
        "and .241 for sigma'(z_h), where .249 and .244 are right. Its deltas and gradients are "
        "right to the three digits printed."
    )


def _mazur() -> None:
    _heading("Matt Mazur's step-by-step example: 2-2-2, logistic units")
    _paragraph(
        "E = 1/2 * sum (t - o)^2, learning rate 0.5. The units of a layer share a bias, which the "
        "article does not train; here it is frozen. w1 and w2 lead into h1, w3 and w4 into h2, "
        "w5 and w6 into o1, w7 and w8 into o2."
    )
    typer.echo(str(published.mazur().trace()))
    typer.echo()
    table = Table("quantity", "float64")
    for name, values in published.mazur_quantities():
        table.add_row(name, "\n".join(f"{value:.12f}" for value in values))
    console().print(table)
    typer.echo()
    after = Table("after the update", "article", "computed", "with its mistake")
    for row in published.mazur_after_update():
        after.add_row(row.quantity, row.published, _exact(row.computed), _exact(row.with_the_slip))
    console().print(after)
    _paragraph(
        "Spot the bug: the article's figures after the update differ, because its code computed "
        "the hidden deltas with output weights it had already updated. All deltas of a step must "
        "use the weights of its forward pass. The last column makes the same mistake on purpose "
        "and gets the article's figures. (The code was fixed a day later, the article was not.)"
    )


def _exact(value: float) -> str:
    """Return 12 decimals, and a few more where there are zeros in front."""
    return f"{value:.12f}" if value >= 1e-3 else f"{value:.14f}"


def _heading(text: str) -> None:
    typer.echo(f"{text}\n{'=' * len(text)}\n")


def _paragraph(text: str) -> None:
    console().print(text + "\n", markup=False)
