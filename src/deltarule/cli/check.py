"""``deltarule check``: the gradients of a described network against finite differences."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer

from deltarule.base.errors import DeltaruleError
from deltarule.base.random import Purpose, normals, words
from deltarule.base.settings import check_integer
from deltarule.base.types import Array
from deltarule.cli.description import parse_layers, parse_setting
from deltarule.cli.output import fail
from deltarule.formulas.losses import BinaryCrossEntropy, CrossEntropy, Loss, Poisson
from deltarule.formulas.penalties import Penalty
from deltarule.inspect import GradientCheck, check_gradients
from deltarule.network.network import Network

_INPUTS, _TARGETS, _PARAMETERS = 4093, 4094, 4095
"""Layer numbers of the random words, beyond those of any network."""

CANNOT_CHECK = 2


def check(
    layers: Annotated[
        str,
        typer.Option(
            help="Layers from input to output, such as 'dense:8:tanh, batch_norm, "
            "residual(dense:8:relu, dense:8), dense:3:softmax'. After a layer's name come its "
            "settings, in order or by name: 'dense:8:tanh:bias=false', 'dropout:0.2', "
            "'activation:gelu', 'layer_norm'.",
            show_default=True,
        ),
    ] = "dense:8:tanh, batch_norm, dense:3:softmax",
    inputs: Annotated[int, typer.Option(help="Inputs of the network.")] = 5,
    loss: Annotated[
        str, typer.Option(help="Name and settings, such as cross_entropy or huber:0.5.")
    ] = "cross_entropy",
    penalty: Annotated[
        str | None, typer.Option(help="On all weights, such as l2:0.01.", show_default="none")
    ] = None,
    rows: Annotated[int, typer.Option(help="Random examples to check on.")] = 7,
    every_coordinate: Annotated[
        bool,
        typer.Option(
            "--every-coordinate", help="Check every single number instead of random directions."
        ),
    ] = False,
    directions: Annotated[
        int, typer.Option(help="Random directions for each parameter array.")
    ] = 3,
    tolerance: Annotated[
        float, typer.Option(help="Largest relative error of a right gradient.")
    ] = 1e-6,
    seed: Annotated[int, typer.Option(help="Seed of data, parameters and directions.")] = 0,
) -> None:
    """Check the gradients of a network that you describe.

    The gradient of every parameter by backpropagation is compared with finite differences of the
    loss, in float64, on random data that suit the loss.

    Exit status: 0 if all agree, 1 if a gradient is wrong or could not be compared, 2 if the
    description is wrong.
    """
    try:
        check_integer("rows", rows)
        network = Network(parse_layers(layers), inputs, seed=seed, dtype="float64")
        chosen_loss = parse_setting(Loss, loss)
        x = normals(seed, Purpose.DIRECTION, rows=rows, columns=inputs, layer=_INPUTS)
        # Fresh networks have biases of 0 and scales of 1, where some wrong formulas look right.
        size = len(network.vector)
        network.vector += 0.1 * normals(
            seed, Purpose.DIRECTION, rows=1, columns=size, layer=_PARAMETERS
        ).reshape(size)
        found: GradientCheck = check_gradients(
            network,
            x,
            _targets(chosen_loss, rows, network.outputs, seed),
            chosen_loss,
            penalty=None if penalty is None else parse_setting(Penalty, penalty),
            every_coordinate=every_coordinate,
            directions=directions,
            tolerance=tolerance,
            seed=seed,
        )
    except DeltaruleError as error:
        raise fail(str(error), code=CANNOT_CHECK) from None
    typer.echo(f"{network!r}\n{chosen_loss!r}, {rows} random examples, seed {seed}\n\n{found}")
    if not found:
        raise typer.Exit(1)


def _targets(loss: Loss, rows: int, outputs: int, seed: int) -> Array:
    """Return random targets that make sense for a loss."""
    drawn = words(seed, Purpose.DIRECTION, rows=rows, columns=outputs, layer=_TARGETS)
    if isinstance(loss, CrossEntropy):
        return (drawn[:, 0] % outputs).astype(np.int64)
    if isinstance(loss, BinaryCrossEntropy):
        return (drawn & 1).astype(np.float64)
    if isinstance(loss, Poisson):
        return (drawn % 5).astype(np.float64)
    return normals(seed, Purpose.DIRECTION, rows=rows, columns=outputs, layer=_TARGETS)
