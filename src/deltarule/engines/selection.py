"""The choice of an engine by name."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from deltarule.base.errors import InvalidValueError
from deltarule.base.log import warn
from deltarule.base.settings import check_choice
from deltarule.base.words import helpful
from deltarule.engines.native import NativeEngine, core, target, unavailable
from deltarule.engines.protocol import Engine, Executor
from deltarule.engines.reference.executor import ReferenceEngine
from deltarule.network.network import Network
from deltarule.plan import Plan, compile_network

_said: set[str] = set()


class _Kept(threading.local):
    """Each thread's executors of predictions: an executor's buffers serve one call at a time."""

    def __init__(self) -> None:
        self.executors: WeakKeyDictionary[Network, tuple[tuple[object, ...], Executor]] = (
            WeakKeyDictionary()
        )


_kept = _Kept()


@helpful
def engines() -> dict[str, str]:
    """Return the engines of this installation, each with whether and how it works.

    Examples
    --------
    >>> import deltarule as dr
    >>> dr.engines()["reference"]
    'available: NumPy'
    """
    problem, compiled = unavailable(), core()
    native = f"absent: {problem}"
    if problem is None and compiled is not None:
        others = ", ".join(compiled.targets())
        native = f"available: vector target {compiled.target()} (this machine has {others})"
    return {"native": native, "reference": "available: NumPy"}


def select_engine(name: str, plan: Plan) -> Engine:
    """Return the engine of a name; "auto" takes the fastest that can run the plan.

    Where "auto" has to fall back to the reference engine, the log says why, once for each reason.
    """
    check_choice("engine", name, "auto", "native", "reference")
    if name == "reference":
        return ReferenceEngine()
    native = NativeEngine()
    problem = native.why_not(plan)
    if problem is None:
        return native
    if name == "native":
        raise InvalidValueError(
            f"engine='native' cannot run this: {problem}; use engine='reference' or 'auto'"
        )
    if problem not in _said:
        _said.add(problem)
        warn("using the reference engine, which is slower: %s", problem)
    return ReferenceEngine()


def prediction_executor(network: Network, engine: str, threads: int | None) -> Executor:
    """Return an executor for forward passes only, kept for the network's next prediction.

    A plan without loss depends on what cannot change in a network, so the executor of the last
    call serves again where engine, threads, vectors and the calling thread are the same.
    """
    asked = (engine, threads, target(), id(network._vector), id(network._state_vector))
    kept = _kept.executors.get(network)
    if kept is not None and kept[0] == asked:
        return kept[1]
    plan = compile_network(network)
    executor = select_engine(engine, plan).executor(plan, network, threads=threads)
    _kept.executors[network] = (asked, executor)
    return executor
