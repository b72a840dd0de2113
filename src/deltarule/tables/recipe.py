"""How a network for a table is built and trained: one small object that can be exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from deltarule.base.errors import missing_formula
from deltarule.base.settings import Setting, check_integer, check_number, setting
from deltarule.base.types import Array
from deltarule.formulas.activations import ActivationFunction
from deltarule.formulas.losses import CrossEntropy, Loss, MeanSquaredError
from deltarule.formulas.optimizers import AdamW
from deltarule.formulas.schedules import Cosine
from deltarule.network.layers import (
    Activation,
    Dense,
    Dropout,
    Embedding,
    Layer,
    Residual,
    Scale,
    whole_numbers,
)
from deltarule.network.network import Network
from deltarule.tables.components import principal_components
from deltarule.tables.ridge import ridge
from deltarule.training.callbacks import Callback
from deltarule.training.checkpoints import Checkpoint
from deltarule.training.evaluation import evaluate
from deltarule.training.history import History
from deltarule.training.resume import resume
from deltarule.training.train import train
from deltarule.training.watching import EarlyStopping

if TYPE_CHECKING:
    from pathlib import Path

Examples = tuple[Array, Array, Array]
"""X, y and sample weights."""

_FAR = 3.0
_LINEAR = 3.0
_GENTLE = 0.3
_LARGEST = 1_000
_LOOKED_AT = 20_000


@dataclass(frozen=True)
class Task:
    """What a recipe is told of a table.

    Attributes
    ----------
    rows : int
        On which one network is trained.
    inputs : int
        Columns of numbers.
    outputs : int
        Classes, or values that are predicted.
    classifies : bool
    codes : tuple of (int, int)
        Columns of category codes: their position, and how many categories they have.
    """

    rows: int
    inputs: int
    outputs: int
    classifies: bool
    codes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Running:
    """How a network is trained, whatever the recipe: what does not belong to the model.

    Attributes
    ----------
    monitor : str
        The column of the history whose best epoch is kept, such as "val_loss".
    metrics, callbacks, engine, threads, progress
        As in :func:`deltarule.train`.
    checkpoints : Path, optional
        A folder for the checkpoints of one network; where it has one, the training goes on from it.
    """

    monitor: str = "val_loss"
    metrics: tuple[Any, ...] = ()
    callbacks: tuple[Callback, ...] = ()
    engine: str = "auto"
    threads: int | None = None
    progress: bool | str = "auto"
    checkpoints: Path | None = None

    def train(
        self,
        network: Network,
        examples: Examples,
        validation: Examples,
        *,
        callbacks: Sequence[Callback],
        **settings: Any,
    ) -> History:
        """Train a network, or go on with its training; ``settings`` as in :func:`deltarule.train`.

        A network that was trained to the end is as it was then.
        """
        X, y, weights = examples
        hooks = [*callbacks, *self.callbacks]
        same: dict[str, Any] = {
            "validation": validation,
            "metrics": self.metrics,
            "sample_weight": weights,
            "threads": self.threads,
            "engine": self.engine,
            "progress": self.progress,
        }
        if self.checkpoints is None:
            return train(network, X, y, callbacks=hooks, on_interrupt="return", **same, **settings)
        hooks.append(Checkpoint(self.checkpoints, keep=1))
        if not any(self.checkpoints.glob("epoch-*.safetensors")):
            return train(network, X, y, callbacks=hooks, **same, **settings)
        found, history = resume(self.checkpoints, X, y, callbacks=hooks, **same)
        network.vector, network.state_vector = found.vector, found.state_vector
        return history


class Recipe(Setting):
    """Base of the recipes. One of your own defines the three methods; its ``name`` makes it known.

    Examples are X (n, inputs), y and sample weights (n,), float32. X has standardised numbers,
    indicators and category codes. y are class numbers (n,), or standardised values (n, outputs).
    """

    family: ClassVar[str] = "recipe"

    @property
    def codes_above(self) -> int | None:
        """Above how many levels a category becomes codes for an Embedding; None: never."""
        return None

    def folds(self, rows: int) -> int:
        """Return in how many parts the rows of a table are held out, one network for each.

        1 is a single network with one validation part.
        """
        raise missing_formula(self, "folds")

    def network(self, task: Task, examples: Examples, seed: int) -> Network:
        """Return a network with its initial parameters, for the rows that it will be trained on."""
        raise missing_formula(self, "network")

    def train(
        self,
        network: Network,
        task: Task,
        examples: Examples,
        validation: Examples,
        seed: int,
        running: Running,
    ) -> History:
        """Train a network and leave it as it was at its best epoch."""
        raise missing_formula(self, "train")


@setting
class Plain(Recipe):
    """Sound defaults: two hidden layers beside a linear path, AdamW, a cosine, dropout.

    ::

        y = x @ P + F(3 tanh(x / 3))        F = Dense, Dropout, Dense, Dropout, Dense

    (for classes its softmax). ``P`` and the last layer of ``F`` start at 0, and the last bias at
    the logarithms of the classes' shares; ``P`` learns three times as fast. So the network first
    becomes the linear model, which is hard to beat on small tables, then more than that. Numbers
    far out reach only the linear path. The epoch that is best on the validation part is kept.

    Where a ridge regression is better than that on the validation part, as where there are about as
    many columns as rows, or where the target is nearly a sum of the columns, training begins anew
    with the ridge regression as ``P``, which then learns 0.3 times as fast. No epoch is kept that
    is worse.

    Where a few directions hold almost all the variance of many columns, such as those of a
    spectrum, the first layer turns the columns into their principal components, of like variance,
    and stays fixed: gradient descent would see little but the first of them.

    Parameters
    ----------
    hidden : tuple of int, optional
        Units of the hidden layers; by default two layers, the wider the more rows there are.
    activation : name or ActivationFunction
    dropout : float, optional
        After each hidden layer; by default 0.2 below 2,000 rows, else 0.1.
    learning_rate : float
        The first; it falls to 0 along a cosine.
    weight_decay : float
    epochs, batch_size : int, optional
        By default so many that small tables are seen often, and large ones in large batches.
    label_smoothing : float
        Of the cross-entropy.
    embedding : int
        Length of the vectors of categories with more than 128 levels; the others are one-hot.
    networks : int, optional
        Networks that are averaged, each with another part of the rows held out; by default 5 below
        5,000 rows, else 1.
    """

    name: ClassVar[str] = "plain"
    hidden: tuple[int, ...] | None = None
    activation: ActivationFunction | str = "relu"
    dropout: float | None = None
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    epochs: int | None = None
    batch_size: int | None = None
    label_smoothing: float = 0.0
    embedding: int = 8
    networks: int | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if self.hidden is not None and not (type(self.hidden) is tuple and not self.hidden):
            set_(self, "hidden", whole_numbers("hidden", self.hidden, at_least=1))
        set_(self, "activation", ActivationFunction.resolve(self.activation))
        if self.dropout is not None:
            check_number("dropout", self.dropout, at_least=0, below=1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, at_least=0)
        check_number("label_smoothing", self.label_smoothing, at_least=0, below=1)
        check_integer("embedding", self.embedding)
        for name in ("epochs", "batch_size", "networks"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))

    @property
    def codes_above(self) -> int:
        """128: beyond, one-hot columns would be many and rarely 1."""
        return 128

    def folds(self, rows: int) -> int:
        """Return the number of networks: ``networks``, or 5 below 5,000 rows, else 1."""
        return self.networks or (5 if rows < 5000 else 1)

    def network(self, task: Task, examples: Examples, seed: int) -> Network:
        """Return the linear path beside the hidden layers, behind whatever prepares the inputs."""
        X, y, weights = examples
        front: list[Layer] = []
        width = task.inputs
        components = None if task.codes else principal_components(X)
        counts: tuple[int, ...] = ()
        if task.codes:
            positions, counts = zip(*task.codes, strict=True)
            front.append(Embedding(counts, self.embedding, columns=positions))
            width = front[0].outputs(width)
        elif components is not None:
            width = components[0].shape[1]
            front.append(Dense(width))
        if width == task.outputs:  # a residual of equal widths would have no projection
            width += 1
            front.append(Dense(width))
        dropout = (0.2 if task.rows < 2000 else 0.1) if self.dropout is None else self.dropout
        deep: list[Layer] = [Scale(1 / _FAR), Activation("tanh"), Scale(_FAR)]
        for units in self.hidden or _hidden(task.rows):
            deep += [Dense(units, self.activation), Dropout(dropout)]
        deep.append(Dense(task.outputs, weight_initializer="zeros"))
        layers: list[Layer] = [*front, Residual(tuple(deep), projection_initializer="zeros")]
        if task.classifies:
            layers.append(Activation("softmax"))
        network = Network(layers, inputs=task.inputs, seed=seed)
        at = len(front)
        network.freeze(f"{at}.0", f"{at}.2")
        network.scale_learning_rate(_LINEAR, f"{at}.projection")
        if task.codes:  # code 0 is every level that was not seen: the mean of the vectors at first
            network.parameters["0.table"][np.cumsum([0, *counts[:-1]])] = 0
        if components is not None:
            network.parameters["0.weight"], network.parameters["0.bias"] = components
            network.freeze("0")
        if task.classifies:
            shares = np.bincount(y, weights + 1e-3 * weights.mean(), minlength=task.outputs)
            network.parameters[_last_bias(network, at)] = np.log(
                np.maximum(shares, 1e-3 * shares.mean()) / shares.sum()
            )
        return network

    def train(
        self,
        network: Network,
        task: Task,
        examples: Examples,
        validation: Examples,
        seed: int,
        running: Running,
    ) -> History:
        """Train with AdamW along a cosine; keep the best epoch, or the linear start."""
        start = None if task.classifies or task.codes else linear_start(network, *examples)
        history = self._trained(network, task, examples, validation, seed, running)
        if start is None or history.stopped == "interrupted":
            return history

        def error() -> float:
            X, y, weights = validation
            found = evaluate(network, X, y, loss=MeanSquaredError(), sample_weight=weights)
            return float(found["loss"])

        trained, reached = network.vector.copy(), error()
        network.vector[:] = start
        if (linear := error()) >= reached:
            network.vector[:] = trained
            return history
        network.scale_learning_rate(_GENTLE, f"{_place(network)}.projection")
        if running.checkpoints is not None:
            running = replace(running, checkpoints=running.checkpoints / "from-ridge")
        history = self._trained(network, task, examples, validation, seed, running)
        if error() > linear:
            network.vector[:] = start
        return history

    def _trained(
        self,
        network: Network,
        task: Task,
        examples: Examples,
        validation: Examples,
        seed: int,
        running: Running,
    ) -> History:
        loss: Loss = MeanSquaredError()
        if task.classifies:
            loss = CrossEntropy(label_smoothing=self.label_smoothing)
        epochs = self.epochs or _epochs(task.rows)
        return running.train(
            network,
            examples,
            validation,
            loss=loss,
            optimizer=AdamW(Cosine(self.learning_rate), weight_decay=self.weight_decay),
            epochs=epochs,
            batch_size=self.batch_size or _batch_size(task.rows),
            callbacks=[EarlyStopping(running.monitor, patience=epochs)],
            seed=seed,
        )


def linear_start(network: Network, X: Array, y: Array, weights: Array) -> Array | None:
    """Return the parameters with which a network of :class:`Plain` is a ridge regression.

    None where that would be slow: of more than 1,000 columns and rows. Of many rows 20,000 are
    looked at.
    """
    at = _place(network)
    step = -(-len(X) // _LOOKED_AT)
    seen = X[::step].astype(np.float64)
    for i in range(at):
        seen = seen @ network.parameters[f"{i}.weight"] + network.parameters[f"{i}.bias"]
    if min(seen.shape) > _LARGEST:
        return None
    W, b = ridge(seen, y[::step].astype(np.float64), weights[::step])
    start = network.copy()
    start.parameters[f"{at}.projection.weight"] = W
    start.parameters[_last_bias(network, at)] = b
    return start.vector


def _place(network: Network) -> int:
    """Return where the residual stands."""
    return next(i for i, layer in enumerate(network.layers) if isinstance(layer, Residual))


def _last_bias(network: Network, at: int) -> str:
    layer = network.layers[at]
    assert isinstance(layer, Residual)
    return f"{at}.{len(layer.layers) - 1}.bias"


def _hidden(rows: int) -> tuple[int, ...]:
    return (64, 64) if rows < 2000 else (128, 128) if rows < 20_000 else (256, 256)


def _batch_size(rows: int) -> int:
    """Return the rows of a step: at most 32 of a small table, and at least 8 steps in an epoch."""
    if rows < 2000:
        return max(8, min(32, rows // 8))
    return 64 if rows < 20_000 else 256


def _epochs(rows: int) -> int:
    """Return how often a table is seen: small ones 150 times, large ones 20 times."""
    return max(20, min(150, 300_000 // rows))
