"""What all tests share: the vector targets, Ctrl-C, and what is skipped where something is missing.

Functions and tables that tests import are in modules of their own beside this file (``problems``,
``pairwise``, ``agreement``, ...), so that any set of test files in any order can be run at once.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from deltarule.engines import native
from problems import TARGETS

REQUIRED = os.environ.get("DELTARULE_REQUIRE_ORACLES") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {}
    if native.core() is None:
        missing["native"] = f"no native engine: {native.unavailable()}"
    if not (shutil.which("c++") or shutil.which("g++")):
        missing["vector_maths"] = "no C++ compiler to build the test program"
    for item in items:
        reason = missing.get(item.path.parent.name)
        if reason and REQUIRED:
            raise pytest.UsageError(reason)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each vector target that this machine has."""
    monkeypatch.setenv("DELTARULE_TARGET", request.param)
    return request.param


class Clock:
    """Stands for the module ``time``: it goes on when a test says so."""

    now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that progress is shown by."""
    clock = Clock()
    monkeypatch.setattr("deltarule.training.progress.time", clock)
    return clock


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """A shell starts what runs in the background with SIGINT ignored; so would every test be.

    A test would wait for ever for its own Ctrl-C. Its processes inherit what stands here.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
