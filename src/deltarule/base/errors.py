"""Every error derives from :class:`DeltaruleError` and from the builtin that fits."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any


class DeltaruleError(Exception):
    """Base of all errors raised by deltarule."""


class InvalidValueError(DeltaruleError, ValueError):
    """A setting, shape or value is impossible."""


class InvalidTypeError(DeltaruleError, TypeError):
    """An argument has a type that cannot be used here."""


class DivergenceError(DeltaruleError, ArithmeticError):
    """The loss, or a gradient, is no longer finite.

    Raised before the update of the step in question, so the network keeps its parameters from
    before that step.

    Attributes
    ----------
    epoch, step : int
        Where it happened; both count from 1 over the life of the trainer.
    layer : str or None
        The first layer whose output, or the first parameter whose gradient, is not finite; None if
        only the loss is not.
    history : History or None
        The epochs that were complete.
    """

    history: Any = None  # a History, which this module must not import

    def __init__(self, message: str, *, epoch: int, step: int, layer: str | None) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
        self.layer = layer

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(type(self), epoch=self.epoch, step=self.step, layer=self.layer)
        return make, self.args, {"history": self.history}


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a training: raised after the step in progress, so the network is a valid one.

    It derives from KeyboardInterrupt and from nothing else, as ``except Exception`` must not catch
    it: a loop over trainings ends too. Whoever wants the call to return instead passes
    ``on_interrupt="return"``.

    Attributes
    ----------
    history : History or None
        What was reported until then, with ``stopped == "interrupted"``; None after a single
        :meth:`Trainer.step <deltarule.Trainer.step>`. Of several restarts it is the best one's.
    restarts : Restarts or None
        The result so far, where :func:`deltarule.restart` was interrupted.

    Examples
    --------
    >>> import deltarule as dr
    >>> try:
    ...     raise dr.TrainingInterrupted("pressed", history=dr.History("reference"))
    ... except KeyboardInterrupt as interrupt:
    ...     interrupt.history.epochs
    0
    """

    def __init__(self, message: str = "", *, history: Any = None, restarts: Any = None) -> None:
        super().__init__(message)
        self.history = history
        self.restarts = restarts

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, {"history": self.history, "restarts": self.restarts}


class FileFormatError(DeltaruleError, OSError):
    """A file is not what it claims to be, or comes from a newer version."""


class MissingFormulaError(DeltaruleError, NotImplementedError):
    """A class of your own lacks a method that is needed."""


class UnknownNameError(DeltaruleError, KeyError):
    """A mapping has no such name."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show its repr


class InvalidAttributeError(DeltaruleError, AttributeError):
    """An object has no such attribute, or one that cannot be set."""


class FixedError(DeltaruleError, TypeError):
    """A container that is handed out to be read cannot be changed."""


class InUseError(DeltaruleError, RuntimeError):
    """An object that does one thing at a time is doing something else."""


class MissingFileError(DeltaruleError, FileNotFoundError):
    """There is no such file or folder."""


class WriteError(DeltaruleError, OSError):
    """A file cannot be written; an existing file is unchanged."""


class MissingExtraError(DeltaruleError, ImportError):
    """A feature needs an optional dependency that is not installed."""


EXTRAS = {
    "cli": "typer rich",
    "onnx": "onnx",
    "report": "matplotlib jinja2",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "tables": "pyarrow",
    "torch": "torch",
}
"""The libraries of each extra, as pip knows them."""


def missing_extra(feature: str, extra: str) -> MissingExtraError:
    """Return the error for a feature whose optional libraries are absent."""
    libraries = EXTRAS[extra]
    missing = " and ".join(libraries.split())
    return MissingExtraError(
        f"{feature} needs {missing}, which are optional; install them with: pip install {libraries}"
        if " " in libraries
        else f"{feature} needs {missing}, which is optional; install it with: pip install {missing}"
    )


def missing_formula(owner: object, method: str) -> MissingFormulaError:
    """Return the error for a method that a class of the user's must bring, and does not."""
    family = getattr(owner, "family", "")
    return MissingFormulaError(
        f"{type(owner).__name__} has no {method}(), which is needed here; "
        f"define it in your {family} class"
    )


def unknown_name(kind: str, got: str, known: Iterable[str], hint: str = "") -> InvalidValueError:
    """Return the error for an unknown name, with a hint: by default the nearest known one."""
    return InvalidValueError(_unknown(kind, got, sorted(known), hint))


def unknown_key(kind: str, got: object, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a name that a mapping lacks; it suggests the nearest known one."""
    return UnknownNameError(_unknown(kind, got, list(known)))


def unknown_attribute(
    owner: str, name: str, *, settable: Iterable[str], hint: str = ""
) -> InvalidAttributeError:
    """Return the error for setting an attribute that a class does not have."""
    if not hint:
        names = sorted(settable)
        near = nearest(name, names)
        known = f"what can be set: {', '.join(names)}" if names else "nothing of it can be set"
        hint = f"did you mean {near!r}?" if near else known
    return InvalidAttributeError(f"{owner} has no attribute {name!r} to set; {hint}")


def _unknown(kind: str, got: object, names: list[str], hint: str = "") -> str:
    if not hint and isinstance(got, str):
        near = nearest(got, names)
        hint = f"did you mean {near!r}?" if near else ""
    elif not hint and names:
        place = describe_value(got).partition(".")[0] if isinstance(got, (int, float)) else ""
        near = next((n for n in names if n == place or n.startswith(f"{place}.")), names[0])
        hint = f"names are text, such as {near!r};"
    known = f"known: {', '.join(names)}" if names else "there is none"
    return f"unknown {kind} {describe_value(got)}; {hint}{' ' * bool(hint)}{known}"


def plain(word: str) -> str:
    """Return a word without what spelling leaves open: case, dashes, underscores, spaces."""
    return word.casefold().replace("_", "").replace("-", "").replace(" ", "")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is spelt most alike, or None where none is near."""
    from difflib import get_close_matches

    by_plain = {plain(other): other for other in known}
    near = get_close_matches(plain(word[:60]), by_plain, n=1, cutoff=0.6)
    return by_plain[near[0]] if near else None


def describe_value(value: Any) -> str:
    """Return a short form of any value for an error message: one line, never another error."""
    try:
        text = repr(value)
    except Exception:  # of a hostile object, or a whole number of more than 4,300 digits
        text = f"<{type(value).__name__}>"
    text = " ".join(text[:200].split())
    return text if len(text) <= 60 else f"{text[:57]}..."
