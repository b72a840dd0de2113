"""A fitted model of a table: columns, networks, target; it needs no scikit-learn to predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from deltarule.base.errors import FileFormatError, InvalidTypeError, InvalidValueError
from deltarule.base.files import named
from deltarule.base.types import Array
from deltarule.network.model_file import ModelFile, describing, load_networks, save_networks
from deltarule.network.network import Network
from deltarule.tables.columns import Columns
from deltarule.tables.target import Target

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 8192


class TableModel:
    """Columns, networks and target: from any frame with the same columns to predictions.

    ::

        outputs = mean over networks of network(columns.transform(frame))

    Parameters
    ----------
    columns : Columns
        Fitted; makes numbers of a frame.
    target : Target
        Fitted; makes labels or values of outputs.
    networks : sequence of Network
        Their outputs are averaged: probabilities of classes, or standardised values.
    about : mapping of str to JSON values
        What else is kept in the file's header; the keys "columns" and "target" are taken.

    Raises
    ------
    ValueError
        A network does not fit the columns or the target.
    """

    def __init__(
        self,
        columns: Columns,
        target: Target,
        networks: Sequence[Network],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.columns = columns
        self.target = target
        self.networks = tuple(networks)
        self.about = dict(about or {})
        _check(self)

    def outputs(self, frame: Any) -> Array:
        """Return the averaged outputs (n, outputs): probabilities, or standardised values."""
        return self.outputs_of(self.columns.transform(frame))

    def outputs_of(self, X: Array) -> Array:
        """Return the averaged outputs of transformed rows (n, width)."""
        found = np.empty((len(X), self.networks[0].outputs))
        for start in range(0, len(X), _BLOCK):
            block = X[start : start + _BLOCK]
            total = np.zeros((len(block), found.shape[1]))
            for network in self.networks:
                total += network.predict(block)
            found[start : start + _BLOCK] = total / len(self.networks)
        return found

    def predict(self, frame: Any) -> Array:
        """Return labels (n,), or values (n,) or (n, outputs)."""
        return self.decode(self.outputs(frame))

    def decode(self, outputs: Array) -> Array:
        """Return labels or values for averaged outputs (n, outputs)."""
        classifies = self.target.task == "classification"
        return self.target.decode(outputs.argmax(axis=1) if classifies else outputs)

    def probabilities(self, frame: Any) -> Array:
        """Return the probability of each class (n, classes), in the order of ``target.classes``."""
        if self.target.task != "classification":
            raise InvalidTypeError("a regression has no probabilities; call predict")
        outputs = self.outputs(frame)
        return outputs / outputs.sum(axis=1, keepdims=True)  # which float32 leaves a digit off 1

    def save(self, path: str | PathLike[str] | BinaryIO) -> Path | None:
        """Write the model to one safetensors file and return its path; see docs/files.md.

        Raises
        ------
        OSError
            The file cannot be written; an existing one of that name is unchanged.
        """
        about = {"columns": self.columns.describe(), "target": self.target.describe()}
        return save_networks(self.networks, path, about | self.about)

    @classmethod
    def load(cls, path: str | PathLike[str] | BinaryIO) -> TableModel:
        """Return the model of a file that :meth:`save` wrote; no code of the file is run.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        OSError
            The file has no table model, is damaged, or comes from a newer version.
        """
        return cls.from_file(load_networks(path), path)

    @classmethod
    def from_file(cls, file: ModelFile, path: object) -> TableModel:
        """Return the model of a file's content; ``path`` is named in messages."""
        about = dict(file.about)
        described = [about.pop(key, None) for key in ("columns", "target")]
        if None in described:
            raise FileFormatError(
                f"{named(path)} has a network, but no columns and target: it is no model of a "
                "table; deltarule.load returns a single network"
            )
        with describing(path, "a table model"):
            columns, target = Columns.rebuild(described[0]), Target.rebuild(described[1])
            return cls(columns, target, file.networks, about)

    def __repr__(self) -> str:
        kind = self.target.task
        count = len(self.networks)
        return (
            f"<TableModel: {kind}, {len(self.columns.columns)} columns, "
            f"{count} network{'s' * (count != 1)} of {self.networks[0].layers!r}>"
        )


def _check(model: TableModel) -> None:
    """Raise where networks, columns and target do not belong together."""
    if not model.networks:
        raise InvalidValueError("a table model has at least one network, got none")
    classes = model.target.classes
    for network in model.networks:
        if network.inputs != model.columns.width:
            raise InvalidValueError(
                f"a network has inputs={network.inputs}, the columns give {model.columns.width}"
            )
        if classes is not None and network.outputs != len(classes):
            raise InvalidValueError(
                f"a network has {network.outputs} outputs, the target has {len(classes)} classes"
            )
        if network.outputs != model.networks[0].outputs:
            raise InvalidValueError("the networks have different numbers of outputs")
