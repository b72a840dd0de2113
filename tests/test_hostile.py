"""Everything public, called with every hostile value for each of its arguments in turn.

What is public is found here by itself. A call succeeds, or raises one clear error of ours that
names the argument; it never raises another error, warns, prints, hangs, or changes the network.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import signal
import sys
import time
import warnings

import pytest

import deltarule as dr
from hostile import ITEMS, RECIPES, SETTABLE, VALUES, World, public

SECONDS = 100.0
"""A call that takes longer hangs; it takes milliseconds, on a machine that stalls some seconds."""

# Words by which a message may name an argument instead of by its own name.
ALSO = {
    "network": ("Network",),
    "names": ("name", "parameter or layer"),
    "metrics": ("metric",),
    "callbacks": ("callback",),
    "path": ("file", "write"),
    "function": ("activation",),
    "t": ("y ", "target"),
    "x": ("X ", "X;"),
    "X": ("rows",),
    "y": ("target",),
    "value": ("expected a", "unknown", "needs settings"),
    "then": ("learning_rate", "schedule"),
    "name": ("parameter",),
    "weight_initializer": ("initializer",),
    "bias_initializer": ("initializer",),
    "projection_initializer": ("initializer",),
    "low": ("high",),
    "smallest": ("largest",),
    "inputs": ("parameters",),
    "other": ("vector",),
    "optimizer": ("rate",),
    "monitor": ("metric",),
}


@contextlib.contextmanager
def strict(what: str, seconds: float = SECONDS):
    """Warnings are errors, nothing is printed, nothing hangs."""

    def late(*_):
        raise TimeoutError(f"{what} hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    out = io.StringIO()
    try:
        with (
            warnings.catch_warnings(), contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):  # fmt: skip
            warnings.simplefilter("error")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not out.getvalue(), f"{what} prints {out.getvalue()[:200]!r}"


def problem_of(error: BaseException, argument: str) -> str | None:
    """Return what is wrong with an error, or None."""
    if not isinstance(error, dr.DeltaruleError):
        return f"raises {type(error).__name__}: {str(error)[:200]}"
    text = str(error)
    if "\n" in text.strip() or not text.strip():
        return f"has a message of several paragraphs: {text[:200]!r}"
    if len(text) > 1200:
        return f"has a message of {len(text)} characters"
    words = (argument, argument.replace("_", " "), *ALSO.get(argument, ()))
    if not any(word in text for word in words):
        return f"does not name {argument!r}: {text[:200]}"
    return None


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Some hostile values are paths that a file can have."""
    monkeypatch.chdir(tmp_path)


def test_everything_public_has_a_recipe():
    missing = sorted(public() - RECIPES.keys())
    assert not missing, (
        f"{', '.join(missing)}: public, but no test gives hostile arguments. Add a line to RECIPES "
        "in tests/hostile.py: its name, and a function that returns (callable, valid arguments)"
    )


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", sorted(n for n, recipe in RECIPES.items() if recipe))
def test_hostile_arguments(name):
    target, valid = RECIPES[name](World())
    with strict(name):
        call(target, valid)  # the recipe is right
    problems = []
    for argument in inspect.signature(target).parameters:
        for kind, make in VALUES.items():
            if (argument, kind) in BESIDE_THE_POINT:
                continue
            world = World()
            target, valid = RECIPES[name](world)
            before = world.digest()
            what = f"{name}({argument}={kind})"
            try:
                with strict(what):
                    call(target, valid | {argument: make()})
            except AssertionError as error:
                problems.append(str(error))
            except BaseException as error:
                problem = problem_of(error, argument)
                if problem:
                    problems.append(f"{what} {problem}")
                elif world.digest() != before:
                    problems.append(f"{what} changed the network, and raised {error}")
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems)


BESIDE_THE_POINT = {
    ("progress", "True"),  # it prints
    ("metrics", "list of rude"),  # a function of the user's, which raises
}


def call(target, arguments):
    """Call with arguments by name; ``*names`` by position."""
    parameters = inspect.signature(target).parameters
    star = [n for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL and n in arguments]
    named = {n: v for n, v in arguments.items() if n not in star}
    if not star:
        return target(**named)
    first = [
        named.pop(n) for n, p in parameters.items() if n in named and p.kind is not p.KEYWORD_ONLY
    ]
    return target(*first, *(arguments[n] for n in star), **named)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", [f"{k}.{a}" for k in SETTABLE for a in SETTABLE[k](World())[1]])
def test_hostile_assignments(name):
    kind, attribute = name.split(".")
    problems = []
    for value, make in VALUES.items():
        world = World()
        thing, _ = SETTABLE[kind](world)
        before = world.digest()
        try:
            with strict(name):
                setattr(thing, attribute, make())
        except BaseException as error:
            problem = problem_of(error, attribute)
            if problem or world.digest() != before:
                problems.append(f"{name} = {value} {problem or 'changed the network'}")
    assert not problems, "\n".join(problems)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ITEMS)
def test_hostile_keys_and_items(name):
    problems = []
    for value, make in VALUES.items():
        world = World()
        mapping, key = ITEMS[name](world)
        before = world.digest()
        uses = {
            "read": lambda m=mapping, f=make: m[f()],
            "set": lambda m=mapping, f=make: m.__setitem__(f(), 0.0),
        }
        if key is not None:
            uses["item"] = lambda m=mapping, k=key, f=make: m.__setitem__(k, f())
        for use, act in uses.items():
            if use == "set" and not hasattr(mapping, "__setitem__"):
                continue
            try:
                with strict(name):
                    act()
            except BaseException as error:
                if name == "learning_rate_factors" and use == "read":
                    continue  # a plain dict
                problem = problem_of(error, "")
                if problem or world.digest() != before:
                    problems.append(f"{name} {use} {value}: {problem or 'changed the network'}")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (TypeError("bare"), "raises TypeError"),
        (dr.InvalidValueError("epochs must be\n\n1"), "several paragraphs"),
        (dr.InvalidValueError("epochs " * 500), "3500 characters"),
        (dr.InvalidValueError("something is wrong"), "does not name 'epochs'"),
        (dr.InvalidValueError("epochs must be 1"), None),
    ],
)
def test_the_check_sees_a_bad_error(error, complaint):
    found = problem_of(error, "epochs")
    assert (found is None) if complaint is None else complaint in found


def test_the_check_sees_what_hangs_warns_and_prints():
    with pytest.raises(AssertionError, match="prints"), strict("it"):
        sys.stdout.write("something")
    with pytest.raises(UserWarning), strict("it"):
        warnings.warn("something", stacklevel=1)
    with pytest.raises(TimeoutError, match="it hangs"), strict("it", seconds=0.01):  # noqa: PT012
        while True:  # the alarm may come before a single wait begins, which would never end
            time.sleep(0.01)
