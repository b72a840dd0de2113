"""The few methods that use modules above their own, all in one place.

Imports go one way: upper layers of the package import lower ones. A few methods are most convenient
on objects of a low layer although the work is done in a higher one: ``net.predict`` needs an
engine. Such a method looks up its function here when it is called.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

PLACES = {
    "net.predict": ("deltarule.engines.selection", "prediction_executor"),
    "net.save": ("deltarule.network.model_file", "save"),
    "history.plot": ("deltarule.report.figures", "plot_history"),
    "history.report": ("deltarule.report", "write_report"),
    "found.plot": ("deltarule.report.figures", "plot_range_test"),
    "print(trace)": ("deltarule.inspect.worked_example", "worked_example"),
}


@cache
def upward(convenience: str) -> Any:
    """Return the function that does the work of a convenience, such as "net.predict"."""
    module, name = PLACES[convenience]
    return getattr(import_module(module), name)
