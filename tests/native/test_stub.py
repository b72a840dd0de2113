"""The types of the core, for mypy where none is built, are what nanobind finds in it."""

from pathlib import Path

import deltarule as dr
from deltarule.engines import native
from oracles import oracle


def test_the_stub_is_the_one_that_is_generated():
    generator = oracle("nanobind.stubgen").StubGen(module=native.core())
    generator.put(native.core())
    written = (Path(dr.__file__).parent / "_native.pyi").read_text(encoding="utf-8")
    assert written == generator.get(), "the bindings have changed: run `make stub`"
