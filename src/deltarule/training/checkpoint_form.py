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
        **dict.fromkeys(("precision", "class_weight", "seed"), _ANY),
        "metrics": _LIST,
        "engine": _TEXT,
    },
    "trainer": {
        "epochs": _COUNT,
        "steps": _COUNT,
        "updates": _ARRAY,
        "optimizer_state": _ARRAY,
    },
    "run": {
        "epochs": _POSITIVE,
        "batch": _COUNT,
        "steps": _COUNT,
        "seconds": _NUMBER,
        "rate_factor": _NUMBER,
        "stop": _TEXT,
        "unfinished": _ANY,
        "step_losses": _ARRAY,
        "metrics": _ANY,
        "drop_last": _FLAG,
        **dict.fromkeys(("batch_size", "shuffle", "validation"), _ANY),
    },
    "history": _ANY,
    "callbacks": _LIST,
    "data": _ANY,
}
"""What there must be in a checkpoint: a type and a condition, or an object of such."""


def check_form(found: Any, network: Network) -> None:
    """Raise ValueError where what a file has is not a checkpoint of this network."""
    _check(found, _FORM, "checkpoint")
    _check_numbers(found, len(network.parameters), len(network.vector))


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
    unfinished = run["unfinished"]
    fits = {
        "trainer.updates": updates.shape == (parameters,) and updates.dtype == np.int64
        and (updates >= 0).all(),
        "trainer.optimizer_state": state.ndim == 2 and state.shape[1] == values
        and state.dtype.kind == "f",
        "run.step_losses": losses.shape == (run["batch"], 2) and losses.dtype == np.float64,
        "run.unfinished": unfinished is None if run["batch"] == 0 else len(unfinished) == 5
        and np.shape(unfinished[3]) == (parameters,)
        and all(np.shape(sums) == () for i, sums in enumerate(unfinished) if i != 3),
        "history": isinstance(history, dict) and len({np.shape(c) for c in history.values()}) <= 1
        and all(getattr(c, "dtype", None) == np.float64 and c.ndim == 1 for c in history.values()),
        "callbacks": all(
            isinstance(kept, dict) and isinstance(kept.get("class"), str)
            and isinstance(kept.get("state"), dict) and isinstance(kept.get("settings", {}), dict)
            for kept in found["callbacks"]
        ),
        "data": isinstance(found["data"], dict),
        "settings.metrics": all(isinstance(one, dict) for one in found["settings"]["metrics"]),
    }  # fmt: skip
    for what, fit in fits.items():
        if not fit:
            raise InvalidValueError(f"{what} does not fit the rest")
