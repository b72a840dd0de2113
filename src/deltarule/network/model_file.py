"""Networks as safetensors files: named arrays, and the architecture as JSON in the header.

The header's metadata has these keys, all of them strings:

===============  ============================================================================
``format``       ``deltarule``
``schema``       version of this table, now 1
``orientation``  ``W is (n_in, n_out): z = a_prev @ W + b``
``network``      JSON: inputs, dtype, seed, layers, learning_rate_factors, weight_initializer,
                 and feature_names where it was trained on a frame
===============  ============================================================================

Arrays carry the names of ``network.parameters`` and ``network.state``.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, overload

import numpy as np

from deltarule.base.errors import (
    DeltaruleError,
    FileFormatError,
    InvalidTypeError,
    InvalidValueError,
    MissingFileError,
)
from deltarule.base.settings import describe, rebuild
from deltarule.base.words import helpful
from deltarule.formulas.initializers import Initializer
from deltarule.network.network import Network, array_shapes

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
ORIENTATION = "W is (n_in, n_out): z = a_prev @ W + b"


@overload
def save(network: Network, path: str | PathLike[str]) -> Path: ...


@overload
def save(network: Network, path: BinaryIO) -> None: ...


@helpful
def save(network: Network, path: str | PathLike[str] | BinaryIO) -> Path | None:
    """Write a network to one safetensors file and return its path.

    The file is written under a temporary name, flushed to disk and then renamed. After a crash
    there is either the complete old file or the complete new one.

    Parameters
    ----------
    network : Network
    path : str, Path or binary file
        Into an open file (``open(path, "wb")``, ``io.BytesIO()``) it is written as it stands, and
        None is returned.

    Raises
    ------
    OSError
        The file cannot be written; an existing one of that name is unchanged.
    TypeError
        A layer or activation has settings that cannot be written (functions, arrays).
    """
    import json

    import safetensors.numpy

    from deltarule.base.files import is_file_object, write_atomically, write_to

    if not isinstance(network, Network):
        raise InvalidTypeError(f"save takes a deltarule.Network, got {type(network).__name__}")
    description = {
        "inputs": network.inputs,
        "dtype": network.dtype.name,
        "seed": network.seed,
        "layers": describe(network.layers),
        "learning_rate_factors": network.learning_rate_factors,
        "weight_initializer": describe(network.weight_initializer),
    }
    if network.feature_names is not None:
        description["feature_names"] = network.feature_names
    content = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in _arrays(network).items()},
        metadata={
            "format": "deltarule",
            "schema": str(SCHEMA),
            "orientation": ORIENTATION,
            "network": json.dumps(description),
        },
    )
    if is_file_object(path, "write"):
        write_to(path, content)
        return None
    return write_atomically(path, content)


@helpful
def load(path: str | PathLike[str] | BinaryIO) -> Network:
    """Return the network of a file that :func:`save` wrote.

    Import the modules with your own layers and activations first.

    Parameters
    ----------
    path : str, Path or binary file
        An open file (``open(path, "rb")``, ``io.BytesIO(content)``) is read from where it stands to
        its end.

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

    from deltarule.base.files import check_path, is_file_object, read_from, shown

    if is_file_object(path, "read"):
        content = read_from(path)
        try:
            return _network("the file", _InMemory(content))
        except safetensors.SafetensorError as error:
            raise FileFormatError(f"the file is not a whole safetensors file: {error}") from None
    path = check_path(path)
    try:
        if not path.exists():
            raise MissingFileError(f"no such file: {shown(path)}")
        if path.is_dir():
            raise FileFormatError(f"{shown(path)} is a folder, expected a safetensors file")
        with safetensors.safe_open(path, framework="numpy") as file:
            return _network(path, file)
    except safetensors.SafetensorError as error:
        raise FileFormatError(f"{path} is not a whole safetensors file: {error}") from None
    except OSError as error:
        if isinstance(error, DeltaruleError):
            raise
        raise FileFormatError(f"cannot read {shown(path)}: {error.strerror or error}") from None


class _InMemory:
    """The content of a safetensors file, to be asked as an open file is."""

    def __init__(self, content: bytes) -> None:
        import json

        import safetensors

        self._arrays = dict(safetensors.deserialize(content))  # type: ignore[no-untyped-call]  # which checks the header
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        self._metadata: dict[str, str] = header.get("__metadata__", {})

    def metadata(self) -> dict[str, str]:
        return self._metadata

    def keys(self) -> Iterable[str]:
        return self._arrays.keys()

    def get_slice(self, name: str) -> _Described:
        return _Described(self._arrays[name])

    def get_tensor(self, name: str) -> Any:
        found = self._arrays[name]
        kind = {"F32": "<f4", "F64": "<f8"}[found["dtype"]]
        return np.frombuffer(found["data"], dtype=kind).reshape(found["shape"])


class _Described:
    """Shape and dtype of an array in a file."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def get_shape(self) -> list[int]:
        return list(self._found["shape"])

    def get_dtype(self) -> str:
        return str(self._found["dtype"])


def _network(path: Path | str, file: Any) -> Network:
    """Return the network of an open file; shapes are compared before anything is allocated."""
    description = _description(path, file.metadata() or {})
    try:
        layers, inputs = rebuild(description["layers"]), description["inputs"]
        _check_arrays(path, file, array_shapes(layers, inputs), np.dtype(description["dtype"]))
        network = Network(
            layers,
            inputs,
            seed=description["seed"],
            dtype=description["dtype"],
            weight_initializer="zeros",
        )
        factors = description["learning_rate_factors"]
        if factors.keys() != network.parameters.keys():
            raise InvalidValueError("learning_rate_factors must name each parameter once")
        for name, factor in factors.items():
            network.scale_learning_rate(factor, name)
        initializer = rebuild(description.get("weight_initializer"))
        network._weight_initializer = (
            None if initializer is None else Initializer.resolve(initializer)
        )
        network.feature_names = description.get("feature_names")
    except FileFormatError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = f"it lacks {error}" if type(error) is KeyError else str(error)
        raise FileFormatError(f"{path} does not describe a network: {reason}") from None
    for name, view in _arrays(network).items():
        view[...] = file.get_tensor(name)
    return network


def _description(path: Path | str, metadata: dict[str, str]) -> dict[str, Any]:
    """Return the described network as JSON values."""
    import json

    if metadata.get("format") != "deltarule":
        raise FileFormatError(
            f"{path} is a safetensors file, but not a network written by deltarule"
        )
    schema = metadata.get("schema", "")
    if not (schema.isdecimal() and len(schema) < 9 and int(schema) >= 1):
        raise FileFormatError(f"{path} has no schema version in its header")
    if int(schema) > SCHEMA:
        raise FileFormatError(
            f"{path} has schema {schema}, this version of deltarule knows up to {SCHEMA}: "
            "install a newer one"
        )
    try:
        description = json.loads(metadata["network"])
    except (KeyError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} does not describe a network: {error}") from None
    if not isinstance(description, dict):
        raise FileFormatError(f"{path} does not describe a network: its JSON is not an object")
    return description


def _check_arrays(
    path: Path | str, file: Any, shapes: dict[str, tuple[int, ...]], dtype: np.dtype
) -> None:
    """Raise where the file's arrays are not those of the network."""
    names = set(file.keys())
    if names != shapes.keys():
        missing = ", ".join(sorted(shapes.keys() - names)) or "none"
        extra = ", ".join(sorted(names - shapes.keys())) or "none"
        raise FileFormatError(
            f"{path} does not fit the network it describes: missing {missing}; unknown {extra}"
        )
    kind = {"float32": "F32", "float64": "F64"}.get(dtype.name, dtype.name)
    for name, shape in shapes.items():
        found = file.get_slice(name)
        if tuple(found.get_shape()) != shape or found.get_dtype() != kind:
            raise FileFormatError(
                f"{path}: {name} should be {kind} {shape}, "
                f"it is {found.get_dtype()} {tuple(found.get_shape())}"
            )


def _arrays(network: Network) -> dict[str, Any]:
    return {**network.parameters, **network.state}
