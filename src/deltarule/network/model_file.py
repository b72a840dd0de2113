"""Networks as safetensors files: named arrays, and the architecture as JSON in the header.

The header's metadata has these keys, all of them strings:

===============  ============================================================================
``format``       ``deltarule``
``schema``       version of this table: 1 for one network, 2 for several, 3 for a checkpoint
``orientation``  ``W is (n_in, n_out): z = a_prev @ W + b``
``network``      JSON: inputs, dtype, seed, layers, learning_rate_factors, weight_initializer,
                 and feature_names where it was trained on a frame
``networks``     in the place of ``network``, of several: a JSON list of the same descriptions
``digest``       of a checkpoint: BLAKE2b (256 bits, hexadecimal) of the whole file in which
                 these 64 digits are zeros
further keys     JSON: what belongs to the networks, such as columns and classes
===============  ============================================================================

Arrays carry the names of ``network.parameters`` and ``network.state``. Where there are several
networks, the number of the network stands in front: ``3/0.weight``. Arrays of a checkpoint that
belong to no network begin with ``checkpoint/``. The same content gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeVar, overload

import numpy as np

from deltarule.base.errors import (
    DeltaruleError,
    FileFormatError,
    InvalidTypeError,
    InvalidValueError,
    MissingFileError,
    describe_value,
)
from deltarule.base.settings import describe, rebuild
from deltarule.base.types import Array
from deltarule.base.words import helpful
from deltarule.formulas.initializers import Initializer
from deltarule.network.network import Network, array_shapes

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 3
ORIENTATION = "W is (n_in, n_out): z = a_prev @ W + b"
BESIDE = "checkpoint/"
"""The names of arrays that belong to no network begin with it."""
_OWN = ("format", "schema", "orientation", "network", "networks", "digest")
_NO_DIGEST = "0" * 64
_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}

_T = TypeVar("_T")


class ModelFile(NamedTuple):
    """What a model file holds.

    Attributes
    ----------
    networks : tuple of Network
    about : dict of str to JSON values
        What was saved with the networks; empty in a file of :func:`save`.
    beside : dict of str to array
        The arrays of a checkpoint that belong to no network; else empty.
    """

    networks: tuple[Network, ...]
    about: dict[str, Any]
    beside: dict[str, Array]


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
    if not isinstance(network, Network):
        raise InvalidTypeError(f"save takes a deltarule.Network, got {type(network).__name__}")
    return save_networks([network], path)


def save_networks(
    networks: Sequence[Network],
    path: str | PathLike[str] | BinaryIO,
    about: Mapping[str, Any] | None = None,
) -> Path | None:
    """Write networks, and what belongs to them, to one safetensors file and return its path.

    Parameters
    ----------
    networks : sequence of Network
        At least one.
    path : str, Path or binary file
        As in :func:`save`.
    about : mapping of str to JSON values, optional
        Each item is a key of the header, beside the networks.

    Raises
    ------
    OSError
        As in :func:`save`.
    TypeError, ValueError
        A description has something that is not a JSON value (NaN and infinities are none).

    Examples
    --------
    >>> import io, deltarule as dr
    >>> from deltarule.network.model_file import load_networks, save_networks
    >>> pair = [dr.Network([dr.Dense(1)], inputs=3, seed=seed) for seed in (1, 2)]
    >>> file = io.BytesIO()
    >>> save_networks(pair, file, {"classes": ["no", "yes"]})
    >>> _ = file.seek(0)
    >>> found = load_networks(file)
    >>> len(found.networks), found.about
    (2, {'classes': ['no', 'yes']})
    """
    from deltarule.base.files import is_file_object, write_atomically, write_to

    content = content_of(networks, about)
    if is_file_object(path, "write"):
        write_to(path, content)
        return None
    return write_atomically(path, content)


def content_of(
    networks: Sequence[Network],
    about: Mapping[str, Any] | None = None,
    beside: Mapping[str, Array] | None = None,
) -> bytes:
    """Return the content of a model file; with arrays ``beside`` the networks, of a checkpoint."""
    import safetensors.numpy

    one = len(networks) == 1
    descriptions = [_describe(network) for network in networks]
    if not descriptions:
        raise InvalidValueError("a model file has at least one network, got none")
    # The lowest number, so that older versions read what they can.
    schema = "3" if beside is not None else "1" if one else "2"
    metadata = {
        "format": "deltarule",
        "schema": schema,
        "orientation": ORIENTATION,
        **({"network": _json(descriptions[0])} if one else {"networks": _json(descriptions)}),
        **({"digest": _NO_DIGEST} if beside is not None else {}),
    }
    for key, value in (about or {}).items():
        if key in _OWN:
            raise InvalidValueError(f"the header's key {key!r} describes the file itself")
        metadata[key] = _json(value)
    arrays = {
        f"{prefix}{name}": np.ascontiguousarray(array)
        for prefix, network in _prefixed(networks)
        for name, array in _arrays(network).items()
    }
    for name, array in (beside or {}).items():
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)  # which makes 0-d ones 1-d
    content = _ordered(safetensors.numpy.save(arrays, metadata=metadata), metadata)
    if beside is None:
        return content
    return content.replace(_NO_DIGEST.encode(), digest_of(content).encode(), 1)


def digest_of(content: bytes) -> str:
    """Return the digest of a file's content, in which its own digits are zeros."""
    from hashlib import blake2b

    return blake2b(content, digest_size=32).hexdigest()


def _describe(network: Network) -> dict[str, Any]:
    """Return a network without its arrays as JSON values."""
    description = {
        "inputs": network.inputs,
        "dtype": network.dtype.name,
        "seed": network.seed,
        "layers": describe(network.layers),
        "learning_rate_factors": dict(network.learning_rate_factors),
        "weight_initializer": describe(network.weight_initializer),
    }
    if network.feature_names is not None:
        description["feature_names"] = network.feature_names
    return description


def _json(value: Any) -> str:
    import json

    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise InvalidTypeError(f"cannot be written to a file: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"cannot be written to a file: {error}") from None


def _prefixed(items: Sequence[_T]) -> list[tuple[str, _T]]:
    """Return what stands in front of the names of each network's arrays, and the network."""
    return [(f"{i}/" if len(items) > 1 else "", item) for i, item in enumerate(items)]


def _ordered(content: bytes, metadata: dict[str, str]) -> bytes:
    """Return a safetensors file with its metadata in the order given; the writer draws one."""
    import json

    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end]) | {"__metadata__": metadata}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[end:]


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
    return _open(path, _only_network)


def load_networks(path: str | PathLike[str] | BinaryIO) -> ModelFile:
    """Return the networks of a file, and what was saved with them.

    It reads every model file: also one of :func:`save`, with one network and nothing about it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file has no deltarule networks, is damaged, or comes from a newer version.
    """
    return _open(path, _everything)


def _open(path: Any, read: Callable[[Path | str, Any], _T]) -> _T:
    """Return what is read from a safetensors file; what cannot be read is one clear error."""
    import safetensors

    from deltarule.base.files import check_path, is_file_object, read_from, shown

    if is_file_object(path, "read"):
        content = read_from(path)
        try:
            file = _InMemory(content)
            _check_digest("the file", file.metadata(), content)
            return read("the file", file)
        except safetensors.SafetensorError as error:
            raise FileFormatError(f"the file is not a whole safetensors file: {error}") from None
    path = check_path(path)
    try:
        if not path.exists():
            raise MissingFileError(f"no such file: {shown(path)}")
        if path.is_dir():
            raise FileFormatError(f"{shown(path)} is a folder, expected a safetensors file")
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "digest" in metadata:
                _check_digest(path, metadata, path.read_bytes())
            return read(path, file)
    except safetensors.SafetensorError as error:
        raise FileFormatError(f"{path} is not a whole safetensors file: {error}") from None
    except OSError as error:
        if isinstance(error, DeltaruleError):
            raise
        raise FileFormatError(f"cannot read {shown(path)}: {error.strerror or error}") from None


def _check_digest(path: Path | str, metadata: Mapping[str, str], content: bytes) -> None:
    """Raise where a file that has a digest was altered."""
    digest = metadata.get("digest")
    if digest is None and metadata.get("schema") != "3":
        return
    plain = content.replace(f'"digest":"{digest}"'.encode(), f'"digest":"{_NO_DIGEST}"'.encode(), 1)
    if digest != digest_of(plain):
        raise FileFormatError(
            f"{path} is damaged or was altered: its content does not fit its digest"
        )


@contextmanager
def describing(path: object, what: str) -> Iterator[None]:
    """Turn whatever a wrong description raises into one error: ``path`` does not describe ``what``.

    A path is shown as it is; anything else, such as an open file, is "the file".
    """
    try:
        yield
    except FileFormatError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        from deltarule.base.files import named

        reason = f"it lacks {error}" if type(error) is KeyError else str(error)
        raise FileFormatError(f"{named(path)} does not describe {what}: {reason}") from None


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
        return np.frombuffer(found["data"], _DTYPES[found["dtype"]]).reshape(found["shape"])


class _Described:
    """Shape and dtype of an array in a file."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def get_shape(self) -> list[int]:
        return list(self._found["shape"])

    def get_dtype(self) -> str:
        return str(self._found["dtype"])


def _only_network(path: Path | str, file: Any) -> Network:
    """Return the network of an open file; raise where there are several."""
    descriptions = _descriptions(path, file.metadata() or {})
    if len(descriptions) > 1:
        raise FileFormatError(
            f"{path} has {len(descriptions)} networks, not one; deltarule.Ensemble.load(path) "
            "returns them, and deltarule.sklearn.load(path) the estimator that they may belong to"
        )
    return _networks(path, file, descriptions)[0]


def _everything(path: Path | str, file: Any) -> ModelFile:
    """Return the networks of an open file and what belongs to them."""
    metadata = file.metadata() or {}
    networks = _networks(path, file, _descriptions(path, metadata))
    about = {key: _parsed(path, metadata, key) for key in sorted(metadata.keys() - set(_OWN))}
    beside = {
        name: np.array(file.get_tensor(name))
        for name in file.keys()  # noqa: SIM118
        if metadata.get("schema") == "3" and name.startswith(BESIDE)
    }
    return ModelFile(networks, about, beside)


def _networks(
    path: Path | str, file: Any, descriptions: list[dict[str, Any]]
) -> tuple[Network, ...]:
    """Return all networks of an open file."""
    prefixed = _prefixed(descriptions)
    shares: dict[str, list[str]] = {prefix: [] for prefix, _ in prefixed}
    checkpoint = (file.metadata() or {}).get("schema") == "3"
    for name in file.keys():  # noqa: SIM118
        prefix = name[: name.find("/") + 1]
        if checkpoint and prefix == BESIDE:
            continue
        if prefix not in shares:
            raise FileFormatError(
                f"{path} does not fit the networks it describes: {describe_value(name)} belongs "
                "to none of them"
            )
        shares[prefix].append(name)
    return tuple(
        _network(path, _Share(file, prefix, shares[prefix]), description)
        for prefix, description in prefixed
    )


class _Share:
    """The arrays of one network in an open file, by the names that the network gives them."""

    def __init__(self, file: Any, prefix: str, names: list[str]) -> None:
        self._file, self._prefix, self._names = file, prefix, names

    def keys(self) -> list[str]:
        return [name.removeprefix(self._prefix) for name in self._names]

    def get_slice(self, name: str) -> Any:
        return self._file.get_slice(self._prefix + name)

    def get_tensor(self, name: str) -> Any:
        return self._file.get_tensor(self._prefix + name)


def _network(path: Path | str, file: Any, description: dict[str, Any]) -> Network:
    """Return one network; shapes are compared before anything is allocated."""
    with describing(path, "a network"):
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
    for name, view in _arrays(network).items():
        view[...] = file.get_tensor(name)
    return network


def _descriptions(path: Path | str, metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the described networks as JSON values."""
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
    several = int(schema) == 2
    found = _parsed(path, metadata, "networks" if several else "network")
    descriptions = found if several else [found]
    if not isinstance(descriptions, list) or not descriptions:
        raise FileFormatError(f"{path} does not describe networks: its JSON is not a list of them")
    if not all(isinstance(description, dict) for description in descriptions):
        raise FileFormatError(f"{path} does not describe a network: its JSON is not an object")
    return descriptions


def _parsed(path: Path | str, metadata: Mapping[str, str], key: str) -> Any:
    """Return the JSON value of a key of the header."""
    import json

    what = "a network" if key in _OWN else f"its {describe_value(key)}"
    try:
        return json.loads(metadata[key], parse_constant=_refuse)
    except KeyError:
        raise FileFormatError(f"{path} does not describe a network: it lacks {key!r}") from None
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} does not describe {what}: {error}") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON value")


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
