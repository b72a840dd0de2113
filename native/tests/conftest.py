"""The vector functions are tested in a small program of their own, which needs a C++ compiler."""

import os
import shutil

import pytest


def pytest_collection_modifyitems(items):
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler or os.environ.get("DELTARULE_REQUIRE_ORACLES") == "1":
        return
    for item in items:
        if item.path.name.startswith("math_"):
            item.add_marker(pytest.mark.skip(reason="no C++ compiler to build the test program"))
