"""Networks as safetensors files: named arrays, and the architecture as JSON in the header.

The header's metadata has these keys, all of them strings:

===============  ============================================================================
``format``       ``deltarule``
``schema``       version of this table, now 1
``orientation``  ``W is (n_in, n_out): z = a_prev @ W + b``
``network``      JSON: inputs, dtype, seed, layers, learning_rate_factors
===============  ============================================================================

Arrays carry the names of ``network.parameters`` and ``network.state``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.errors import (
    DeltaruleError,
    FileFormatError,
    InvalidTypeError,
    MissingFileError,
)
from deltarule.files import write_atomically
from deltarule.network import Network
from deltarule.settings import describe, rebuild

SCHEMA = 1
ORIENTATION = "W is (n_in, n_out): z = a_prev @ W + b"


def save(network: Network, path: str | Path) -> Path:
    """Write a network to one safetensors file and return its path.

    The file is written beside its place, flushed to disk and then renamed, so that after a crash
    either the old or the new file stands there, whole.

    Raises
    ------
    OSError
        The file cannot be written; an older one of that name is untouched.
    TypeError
        A layer or activation has settings that cannot be written (functions, arrays).
    """
    import safetensors.numpy

    if not isinstance(network, Network):
        raise InvalidTypeError(f"save takes a deltarule.Network, got {type(network).__name__}")
    description = {
        "inputs": network.inputs,
        "dtype": network.dtype.name,
        "seed": network.seed,
        "layers": describe(network.layers),
        "learning_rate_factors": network.learning_rate_factors,
    }
    content = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in _arrays(network).items()},
        metadata={
            "format": "deltarule",
            "schema": str(SCHEMA),
            "orientation": ORIENTATION,
            "network": json.dumps(description),
        },
    )
    return write_atomically(path, content)


def load(path: str | Path) -> Network:
    """Return the network of a file that :func:`save` wrote.

    Layers and activations of your own must have been imported before.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file is not a deltarule network, is damaged, or comes from a newer version; the message
        says which.

    Examples
    --------
    >>> import tempfile, pathlib, deltarule as dr
    >>> net = dr.Network([dr.Dense(2, "relu")], inputs=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = net.save(pathlib.Path(folder) / "net.safetensors")
    ...     twin = dr.load(pathlib.Path(folder) / "net.safetensors")
    >>> bool((twin.vector == net.vector).all())
    True
    """
    import safetensors

    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"no such file: {path}")
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder, expected a safetensors file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            network = _network(path, metadata)
            _fill(path, network, file)
    except safetensors.SafetensorError as error:
        raise FileFormatError(f"{path} is not a whole safetensors file: {error}") from None
    return network


def _network(path: Path, metadata: dict[str, str]) -> Network:
    """Return a network of the described architecture, with initial values."""
    if metadata.get("format") != "deltarule":
        raise FileFormatError(
            f"{path} is a safetensors file, but not a network written by deltarule"
        )
    schema = metadata.get("schema", "")
    if not schema.isdecimal():
        raise FileFormatError(f"{path} has no schema version in its header")
    if int(schema) > SCHEMA:
        raise FileFormatError(
            f"{path} has schema {schema}, this version of deltarule knows up to {SCHEMA}: "
            "install a newer one"
        )
    try:
        description = json.loads(metadata["network"])
        network = Network(
            rebuild(description["layers"]),
            description["inputs"],
            seed=description["seed"],
            dtype=description["dtype"],
            weight_initializer="zeros",
        )
        for name, factor in description["learning_rate_factors"].items():
            network.scale_learning_rate(factor, name)
    except (KeyError, TypeError, ValueError, AttributeError, DeltaruleError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(f"{path} does not describe a network: {reason}") from None
    return network


def _fill(path: Path, network: Network, file: Any) -> None:
    """Copy the file's arrays into the network."""
    views = _arrays(network)
    names = set(file.keys())
    if names != views.keys():
        missing = ", ".join(sorted(views.keys() - names)) or "none"
        extra = ", ".join(sorted(names - views.keys())) or "none"
        raise FileFormatError(
            f"{path} does not fit the network it describes: missing {missing}; unknown {extra}"
        )
    for name, view in views.items():
        array = file.get_tensor(name)
        if array.shape != view.shape or array.dtype != view.dtype:
            raise FileFormatError(
                f"{path}: {name} should be {view.dtype} {view.shape}, "
                f"it is {array.dtype} {array.shape}"
            )
        view[...] = array


def _arrays(network: Network) -> dict[str, Any]:
    return {**network.parameters, **network.state}
