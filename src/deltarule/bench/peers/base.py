"""The interface through which a library is measured."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from deltarule.base.types import Array
from deltarule.bench.workloads import Data, Workload


class Absent(Exception):  # noqa: N818
    """A peer cannot run here; the message says why."""


class Session(Protocol):
    """One library with one workload: network, data and optimizer, ready to train."""

    def reset(self) -> None:
        """Restore the shared initial parameters and a new optimizer state; not timed."""
        ...

    def run_epochs(self, epochs: int) -> float:
        """Train until all work is done and return the last epoch's mean loss in the library.

        The loss is a mean over the epoch's steps before their updates: cross-entropy, or
        1/2 (y - a)^2.
        """
        ...

    def predictor(self, X: Array) -> Callable[[], Any]:
        """Return a function that predicts rows stored in the library's own kind of array."""
        ...


@runtime_checkable
class RestartingSession(Session, Protocol):
    """A session of a library that trains several networks at once."""

    def run_restarts(self, restarts: int, epochs: int) -> float:
        """Train this many networks from different initial parameters; return the best loss."""
        ...


class Peer(Protocol):
    """A library, used in one particular way."""

    key: str
    title: str
    note: str
    """What this way of use is, and how the loss is recorded."""

    def suits(self, workload: Workload) -> bool:
        """Whether this way of use makes sense for a workload."""
        ...

    def prepare(self, workload: Workload, data: Data, threads: int) -> Session:
        """Return a session; raise :class:`Absent` if the library cannot run here."""
        ...


def import_peer(name: str) -> Any:
    """Import a library when it is used; raise :class:`Absent` if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Absent(f"{name} is not installed ({error})") from None
