"""The system's calls that write a file, each of which can be made to fail or to end the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CALLS = ("open", "write", "fsync", "replace", "chmod")


@contextmanager
def at_call(number: int, act: Callable[[str], None]) -> Iterator[list[str]]:
    """Let the call of this number (from 0 on) act before it does its work; yield all names.

    A write is made to do half of its work first.
    """
    made: list[str] = []

    def wrapped(name: str, call: Any) -> Any:
        def instead(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            if len(made) - 1 == number:
                if name == "write":
                    handle, content = args
                    call(handle, content[: len(content) // 2])
                act(name)
            return call(*args, **kwargs)

        return instead

    usual = {name: getattr(os, name) for name in CALLS}
    for name, call in usual.items():
        setattr(os, name, wrapped(name, call))
    try:
        yield made
    finally:
        for name, call in usual.items():
            setattr(os, name, call)


def failing(number: int) -> Callable[[str], None]:
    """Return an act that raises an OSError of this number."""

    def act(name: str) -> None:
        raise OSError(number, os.strerror(number))

    return act
