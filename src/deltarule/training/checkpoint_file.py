"""What a checkpoint holds, and how it becomes a file and a trainer again.

A checkpoint is a model file (see :mod:`deltarule.network.model_file`) whose header has one more
key, ``checkpoint``: JSON, packed as :mod:`deltarule.base.packing` tells, with the items

==================  ============================================================================
``engine``          engine and vector target that ran
``settings``        loss, optimizer, penalty, constraint, clip, precision, metrics, class_weight,
                    seed, engine: arguments of :class:`deltarule.Trainer`
``trainer``         epochs, steps, updates (of each parameter), optimizer_state
``run``             epochs, batch_size, drop_last, shuffle, validation: arguments of the run;
                    batch (of the epoch in progress), steps, seconds, rate_factor, stop,
                    unfinished (sums of the epoch in progress), step_losses, metrics
``history``         the columns
``callbacks``       of each its class, settings and state
``data``            fingerprints of the training and validation data and of a given order
==================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.packing import pack, unpack
from deltarule.base.settings import Setting, describe, members, rebuild
from deltarule.base.types import Array
from deltarule.formulas.by_output import ByOutput
from deltarule.formulas.metrics import Spread
from deltarule.network.model_file import BESIDE, ModelFile, content_of, describing
from deltarule.network.network import Network
from deltarule.training.callbacks import Callback
from deltarule.training.checkpoint_form import check_form

KEY = "checkpoint"
_RECORDS: Mapping[str, type] = {"ByOutput": ByOutput, "Spread": Spread}


def content(network: Network, saved: Mapping[str, Any]) -> bytes:
    """Return the content of a checkpoint's file."""
    arrays: dict[str, Array] = {}
    packed = pack(saved, BESIDE.rstrip("/"), arrays, _RECORDS)
    return content_of([network], {KEY: packed}, arrays)


def saved_in(file: ModelFile, path: object) -> dict[str, Any]:
    """Return what :func:`content` was given."""
    with describing(path, "a checkpoint"):
        found: dict[str, Any] = unpack(file.about[KEY], file.beside, _RECORDS)
        check_form(found, file.networks[0])
        return found


def described(part: Any) -> Any:
    """Return a setting as JSON; of what Python made, such as a function in it, the name."""
    try:
        return describe(part)
    except InvalidTypeError:
        pass
    if isinstance(part, Setting) and members(part.family).get(part.name) is type(part):
        own = {f.name: described(getattr(part, f.name)) for f in fields(cast(Any, part))}
        return {part.family: part.name} | own
    return {"python": name_of(part)}


def _foreign(stored: Any) -> list[str]:
    """Return the names of what Python made in a description."""
    if not isinstance(stored, dict):
        return []
    if isinstance(stored.get("python"), str):
        return [stored["python"]]
    return [name for part in stored.values() for name in _foreign(part)]


def rebuilt(what: str, stored: Any, given: Any, resolve: Any, path: object) -> Any:
    """Return a setting from its description, or the one that was passed, which must fit it.

    Parameters
    ----------
    what : str
        The argument's name.
    stored
        What :func:`described` returned.
    given
        What was passed; None: nothing.
    resolve : function
        Turns what was passed into the object that was described.
    path
        The file, for messages.
    """
    if given is None:
        if foreign := _foreign(stored):
            raise InvalidValueError(
                f"the run had {what}={foreign[0]}, which a file cannot hold: pass it again, "
                f"dr.resume(..., {what}=...)"
            )
        with describing(path, "a checkpoint"):
            return rebuild(stored)
    found = resolve(given)
    if described(found) != stored:
        with describing(path, "a checkpoint"):
            foreign = _foreign(stored)
            shown = ", ".join(foreign) if foreign else describe_value(rebuild(stored))
        raise InvalidValueError(
            f"{what} is {describe_value(found)}, but the run had "
            f"{shown}: it goes on with what it began with"
        )
    return found


def name_of(part: Any) -> str:
    """Return the name of a function or of an object's class, with its module."""
    function = getattr(part, "function", part)  # a metric that is a function
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def described_callback(callback: Callback) -> dict[str, Any]:
    """Return a callback's class, its settings where it is one of ours, and its state."""
    kind = type(callback)
    found: dict[str, Any] = {"class": name_of(kind)}
    if is_ours(kind):
        own: Any = callback
        found["settings"] = {f.name: _plain(getattr(own, f.name)) for f in fields(own) if f.init}
    return found | {"state": dict(callback.get_state())}


def _plain(value: Any) -> Any:
    return str(value) if hasattr(value, "__fspath__") else value


def is_ours(kind: type) -> bool:
    """Whether a callback can be made again from its settings."""
    return kind.__module__.startswith("deltarule.training.") and is_dataclass(kind)


def described_weights(class_weight: Any) -> Any:
    """Return class weights as packed values: the keys of a mapping are labels."""
    if isinstance(class_weight, Mapping):
        return {"mapping": [list(item) for item in class_weight.items()]}
    return (
        list(class_weight)
        if isinstance(class_weight, Iterable) and not isinstance(class_weight, str)
        else class_weight
    )


def rebuilt_weights(stored: Any) -> Any:
    """Return class weights from what :func:`described_weights` returned."""
    if isinstance(stored, dict):
        return dict(stored["mapping"])
    return stored


def check_same_data(found: Mapping[str, str | None], saved: Mapping[str, str | None]) -> None:
    """Raise where fingerprints are not those of the run."""
    other = [name for name, digits in found.items() if saved.get(name) != digits]
    if other:
        words = {
            "training": "X, y or sample_weight are not the training data",
            "validation": "validation is not the validation data",
            "order": "shuffle is not the order of rows",
        }
        raise InvalidValueError(
            f"{words[other[0]]} of the run (their fingerprints differ); pass the same data, or "
            "other_data=True to go on with others from the end of an epoch"
        )
