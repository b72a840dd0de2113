"""Independent libraries that tests compare against.

On a user's machine a missing one skips the tests that need it, and says so; with
DELTARULE_REQUIRE_ORACLES=1, as in CI, it is an error.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


def oracle(name: str) -> ModuleType:
    """Return an independent library; to be called at the head of a test module."""
    try:
        module = importlib.import_module(name)
        if module.__file__ is None:  # a folder of that name on the path
            raise ImportError(f"{name} is no package")
        return module
    except ImportError:
        if os.environ.get("DELTARULE_REQUIRE_ORACLES") == "1":
            raise
        pytest.skip(f"needs {name}, which is not installed", allow_module_level=True)
