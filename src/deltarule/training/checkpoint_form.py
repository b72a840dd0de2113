"""What there must be in a checkpoint, so that a wrong file is one clear error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError, describe_value
from deltarule.network.network import Network

_COUNT = int, lambda value: 0 <= value < 1 << 53
_POSITIVE = int, lambda value: 0 < value < 1 << 53
_ANY = object, lambda value: True
_TEXT = str, lambda value: True
_ARRAY = np.ndarray, lambda value: True
_FLAG = bool, lambda value: True
_NUMBER = (int, float), lambda value: value >= 0
_LIST = list, lambda value: True
_FORM: dict[str, Any] = {
    "engine": _TEXT,
    "settings": {
        **dict.fromkeys(("loss", "optimizer", "penalty", "constraint", "clip"), _ANY),
        **dict.fromkeys(("precision", "seed"), _ANY),
        "class_weight": (object, lambda value: not isinstance(value, dict) or _is_mapping(value)),
        "metrics": _LIST,
        "engine": _TEXT,
    },
    "trainer": {
        "epochs": _COUNT,
        "steps": _COUNT,
        "updates": _ARRAY,
        "optimizer_state": _ARRAY,
        "exact_vector": _ANY,
    },
    "run": {
        "epochs": _POSITIVE,
        "batch": _COUNT,
        "steps": _COUNT,
        "seconds": _NUMBER,
        "rate_factor": _NUMBER,
        "stop": _TEXT,
        "restored": _LIST,
        "unfinished": _ANY,
        "step_losses": _ARRAY,
        "metrics": _ANY,
        "good": _ANY,
        "begun": _ANY,
        "drop_last": _FLAG,
        "restores": _FLAG,
        "batch_size": (object, lambda value: value is None or type(value) is int),
        "shuffle": (object, lambda value: isinstance(value, bool) or _is_given(value)),
        "validation": (
            object,
            lambda value: value is None or type(value) is float or _is_given(value),
        ),
    },
    "history": _ANY,
    "callbacks": _LIST,
    "data": _ANY,
}
"""What there must be in a checkpoint: a type and a condition, or an object of such."""
_EARLIER = {"vector": _ARRAY, "running": _ARRAY, "trainer": _FORM["trainer"]}


def check_form(found: Any, network: Network) -> None:
    """Raise ValueError where what a file has is not a checkpoint of this network."""
    _check(found, _FORM, "checkpoint")
    _check_numbers(found, len(network.parameters), len(network.vector))
    for name in ("good", "begun"):
        _check_earlier(found, name, network)


def _check_earlier(found: dict[str, Any], name: str, network: Network) -> None:
    """Raise where earlier parameters of the run, if there are any, are none of this network."""
    earlier = found["run"][name]
    if earlier is None:
        return
    _check(earlier, _EARLIER, f"checkpoint.run.{name}")
    for part, array in (("vector", network.vector), ("running", network.state_vector)):
        if (earlier[part].shape, earlier[part].dtype) != (array.shape, array.dtype):
            raise InvalidValueError(f"run.{name}.{part} does not fit the network")
    _check_numbers(
        {**found, "trainer": earlier["trainer"]}, len(network.parameters), len(network.vector)
    )


def _check(found: Any, form: Any, what: str) -> None:
    """Raise where a part of a checkpoint has not its form."""
    if isinstance(form, dict):
        if not isinstance(found, dict) or found.keys() != form.keys():
            raise InvalidValueError(f"{what} must have {', '.join(form)}")
        for name, part in form.items():
            _check(found[name], part, f"{what}.{name}")
        return
    kind, holds = form
    is_flag = isinstance(found, bool)
    if not isinstance(found, kind) or (is_flag and kind not in (bool, object)) or not holds(found):
        raise InvalidValueError(f"{what} cannot be {describe_value(found)}")


def _check_numbers(found: Mapping[str, Any], parameters: int, values: int) -> None:
    """Raise where the numbers of a checkpoint do not fit together and the network."""
    done, run, history = found["trainer"], found["run"], found["history"]
    state, updates, losses = done["optimizer_state"], done["updates"], run["step_losses"]
    unfinished, exact = run["unfinished"], done["exact_vector"]
    fits = {
        "trainer.updates": updates.shape == (parameters,) and updates.dtype == np.int64
        and (updates >= 0).all(),
        "trainer.optimizer_state": state.ndim == 2 and state.shape[1] == values
        and state.dtype.kind == "f",
        "trainer.exact_vector": exact is None
        or (np.shape(exact), getattr(exact, "dtype", None)) == ((values,), np.float64),
        "run.step_losses": losses.shape == (run["batch"], 2) and losses.dtype == np.float64,
        "run.unfinished": _is_sums(unfinished, parameters) if run["batch"] else unfinished is None,
        "run.restored": all(
            isinstance(entry, list) and [type(n) for n in entry] == [int, int, float]
            for entry in run["restored"]
        ),
        "history": isinstance(history, dict) and len({np.shape(c) for c in history.values()}) <= 1
        and all(getattr(c, "dtype", None) == np.float64 and c.ndim == 1 for c in history.values()),
        "callbacks": all(
            isinstance(kept, dict) and isinstance(kept.get("class"), str)
            and isinstance(kept.get("state"), dict) and isinstance(kept.get("settings", {}), dict)
            for kept in found["callbacks"]
        ),
        "data": isinstance(found["data"], dict)
        and all(digits is None or isinstance(digits, str) for digits in found["data"].values()),
        "settings.metrics": all(isinstance(one, dict) for one in found["settings"]["metrics"]),
    }  # fmt: skip
    for what, fit in fits.items():
        if not fit:
            raise InvalidValueError(f"{what} does not fit the rest")


def _is_given(found: Any) -> bool:
    return isinstance(found, str) and found == "given"


def _is_mapping(found: dict[str, Any]) -> bool:
    """Return whether this is how a mapping of class weights is kept."""
    pairs = found.get("mapping")
    return isinstance(pairs, list) and all(isinstance(p, list) and len(p) == 2 for p in pairs)


def _is_sums(found: Any, parameters: int) -> bool:
    """Return whether these are the sums of an epoch in progress, a row of a Record."""
    if not isinstance(found, list) or len(found) != 5:
        return False
    *sums, squares, updates = found
    return (
        all(type(value) is float for value in sums)
        and (np.shape(squares), getattr(squares, "dtype", None)) == ((parameters,), np.float64)
        and type(updates) is int
        and 0 <= updates < 1 << 53
    )
