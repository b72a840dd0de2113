"""No layer of the package is forgotten: finite differences, the other engine, PyTorch."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import deltarule as dr
from gradient_cases import LAYERS
from members import assert_complete, own
from native_cases import STACKS

ELSEWHERE = {
    "add": "the end of a residual",
    "embedding": "needs codes: tests/native/test_embedding.py has all three",
}


def names(stacks: Iterable[Iterable[dr.Layer]]) -> Iterator[str]:
    """Yield the names of the layers of the package in stacks, those inside others too."""
    for stack in stacks:
        for layer in stack:
            if type(layer).__module__.startswith("deltarule."):
                yield layer.name
            yield from names([layer.inner])


def test_finite_differences() -> None:
    relu = dr.activations.ReLU()
    found = set(names(make(relu) for make in LAYERS.values()))
    assert_complete("layer", found, "finite difference", ELSEWHERE)


def test_the_other_engine() -> None:
    assert_complete("layer", set(names(STACKS.values())), "comparison of both engines", ELSEWHERE)


def test_pytorch() -> None:
    """(PyTorch draws dropout masks of its own: a mask is compared with the documented words.)"""
    twin = Path(__file__).parent / "pytorch" / "twin.py"
    classes = {kind.__name__: kind.name for kind in map(_layer, own("layer"))}
    text = twin.read_text(encoding="utf-8")
    found = {name for class_, name in classes.items() if f"case dr.{class_}()" in text}
    assert_complete("layer", found, "twin in PyTorch", {*ELSEWHERE, "dropout"})


def _layer(name: str) -> type[dr.Layer]:
    from deltarule.base.settings import members

    return members("layer")[name]
