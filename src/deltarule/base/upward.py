"""The few methods that reach upward, all in one place.

Imports go one way, from the upper floors to the lower ones. A handful of methods are convenient
where users look for them, on objects of a low floor, although the work is done above:
``net.predict`` needs an engine. They ask here, when they are called.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

PLACES = {
    "net.predict": ("deltarule.engines.selection", "prediction_executor"),
    "net.save": ("deltarule.network.model_file", "save"),
    "history.plot": ("deltarule.report.figures", "history_figure"),
    "history.report": ("deltarule.report", "write_report"),
    "print(trace)": ("deltarule.inspect.worked_example", "worked_example"),
}


@cache
def upward(convenience: str) -> Any:
    """Return the function that does the work of a convenience, such as "net.predict"."""
    module, name = PLACES[convenience]
    return getattr(import_module(module), name)
