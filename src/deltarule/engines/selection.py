"""The choice of an engine by name."""

from __future__ import annotations

import logging

from deltarule.engines.protocol import Engine
from deltarule.engines.reference import ReferenceEngine
from deltarule.errors import InvalidValueError, describe_value
from deltarule.plan import Plan

_log = logging.getLogger("deltarule")

_NO_NATIVE = "this version has no native engine; use engine='reference' or 'auto'"


def engines() -> dict[str, str]:
    """Return the engines of this installation, each with whether and how it works.

    Examples
    --------
    >>> import deltarule as dr
    >>> dr.engines()["reference"]
    'available: NumPy'
    """
    return {"native": f"absent: {_NO_NATIVE}", "reference": "available: NumPy"}


def select_engine(name: str, plan: Plan) -> Engine:
    """Return the engine of a name; "auto" takes the fastest that can run the plan."""
    if name not in ("auto", "native", "reference"):
        raise InvalidValueError(
            f"engine must be 'auto', 'native' or 'reference', got {describe_value(name)}"
        )
    if name == "native":
        raise InvalidValueError(_NO_NATIVE)
    return ReferenceEngine()
