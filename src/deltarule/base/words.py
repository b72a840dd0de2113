"""Words that lead on: what other libraries and textbooks call things, and what this one does.

Everything here runs only after something has failed: an unknown name, a wrong keyword, a missing
method. :func:`helpful` watches the calls of public functions and classes; it adds nothing to a
signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from deltarule.base.errors import InvalidAttributeError, InvalidTypeError, nearest

_T = TypeVar("_T")


def helpful(target: _T) -> _T:
    """Let a function, or the public methods of a class, answer a wrong call with the right one.

    A call that does not fit the signature raises an InvalidTypeError that names the right keyword.
    Nothing else changes: what runs, runs as it did, and so do ``inspect`` and type checkers.
    """
    if isinstance(target, type):
        if issubclass(target, tuple):
            target.__new__ = watched(target.__new__)  # type: ignore[method-assign]
            return target
        for name, value in list(vars(target).items()):
            if inspect.isfunction(value) and (name == "__init__" or not name.startswith("_")):
                if not hasattr(value, "__wrapped__") and not hasattr(value, "__signature__"):
                    setattr(target, name, watched(value))
            elif isinstance(value, classmethod) and not name.startswith("_"):
                setattr(target, name, classmethod(watched(value.__func__)))
        return target
    return watched(target, method=False)  # type: ignore[arg-type]


def watched(function: Callable[..., Any], *, method: bool = True) -> Any:
    """Return a function that answers a wrong call with the right one; see :func:`helpful`."""
    answer = wrong_call

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            # No frame below this one: the arguments did not fit.
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            problem = answer(function, args, kwargs, method=method) or error
        raise problem from None

    if not function.__globals__.get("__builtins__"):  # made by namedtuple
        return update_wrapper(call, function)
    # With the globals of the function's module, doctest and others know where it comes from.
    made = FunctionType(
        call.__code__, function.__globals__, function.__name__, None, call.__closure__
    )
    return update_wrapper(made, function)


def watches_itself(function: _T) -> _T:
    """Hide ``*more`` and ``**wrong`` of a method so fast that a call around it would cost.

    It passes them to :func:`wrong_call` itself.
    """
    signature = inspect.signature(function)  # type: ignore[arg-type]
    public = [
        p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    function.__signature__ = signature.replace(parameters=public)  # type: ignore[attr-defined]
    return function


def wrong_call(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    method: bool = True,
) -> InvalidTypeError | None:
    """Return the error for arguments that do not fit a signature; None where they fit."""
    parameters = dict(inspect.signature(function).parameters)
    own = next(iter(parameters), None) if method else None
    known = [
        name
        for name, p in parameters.items()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and name != own
    ]
    kind = _kind(function, args) if method else ""
    made = function.__name__ in ("__init__", "__new__")
    called = kind if made else f"{function.__name__}()"
    if kind and called != kind:
        called = f"{kind}.{called}"
    what = "setting" if made else "argument"
    star = next((name for name, p in parameters.items() if p.kind is p.VAR_POSITIONAL), None)
    if star is not None and kwargs.keys() - set(known):
        name = next(name for name in kwargs if name not in known)
        return InvalidTypeError(
            f"{called} has no {what} {name!r}; give {star} by position: "
            f"{', '.join([*known, repr('0'), repr('1.bias')])}"
        )
    for name in kwargs:
        if name not in known:
            return InvalidTypeError(
                f"{called} has no {what} {name!r}; {_instead(kind, name, known, kwargs)}"
            )
    positional = [
        name for name in known if parameters[name].kind is not parameters[name].KEYWORD_ONLY
    ]
    given = len(args) - method
    if given > len(positional):
        named = [f"{name}=" for name in known if name not in positional]
        rest = f"; give the others by name: {', '.join(named)}" if named else ""
        return InvalidTypeError(
            f"{called} takes {len(positional)} argument{'s' * (len(positional) != 1)} by position "
            f"({', '.join(positional)}), got {given}{rest}"
        )
    for name in positional[:given]:
        if name in kwargs:
            return InvalidTypeError(f"{called} got {name!r} twice, by position and by name")
    missing = [
        name
        for name in known
        if parameters[name].default is inspect.Parameter.empty
        and name not in kwargs
        and name not in positional[:given]
    ]
    if missing:
        from deltarule.base.vocabulary import NEEDED

        needed = " and ".join(NEEDED.get(name, name) for name in missing)
        return InvalidTypeError(f"{called} needs {needed}")
    return None


def _kind(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    if not args:
        return function.__qualname__.rpartition(".")[0]
    owner = args[0] if isinstance(args[0], type) else type(args[0])
    return owner.__name__


def _instead(kind: str, name: str, known: list[str], given: Mapping[str, Any]) -> str:
    """Return what to write instead of a keyword that is not known."""
    from deltarule.base.vocabulary import ADVICE, ADVICE_HERE, by_other_name

    here = ADVICE_HERE.get((kind, name))
    if here is not None:
        return here
    others = by_other_name()
    for ours in (*others.get(name, ()), *others.get(name.lower(), ())):
        if ours in known and ours != name:
            return f"it is called {ours}" + (", which is given too" if ours in given else "")
    if name in ADVICE:
        return ADVICE[name]
    near = nearest(name, known)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"it takes {', '.join(known)}" if known else "it takes none"


def missing_attribute(kind: str, name: str, known: Iterable[str]) -> AttributeError:
    """Return the error for an attribute that an object, or the package, does not have."""
    if name.startswith("_"):  # asked for by protocols, thousands of times
        return AttributeError(f"{kind} has no attribute {name!r}")
    from deltarule.base.vocabulary import ATTRIBUTES

    hint = ATTRIBUTES.get(kind, {}).get(name)
    if hint is None:
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"
    return InvalidAttributeError(f"{kind} has no attribute {name!r}; {hint}")


class Leading:
    """Base of objects that answer a missing attribute with the one that is meant."""

    if not TYPE_CHECKING:  # type checkers should go on to find attributes that do not exist

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):  # asked for by protocols, thousands of times
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            from deltarule.base.vocabulary import ATTRIBUTES

            kinds = [kind.__name__ for kind in type(self).__mro__ if kind.__name__ in ATTRIBUTES]
            public = [known for known in dir(self) if not known.startswith("_")]
            if name in public:  # a property whose own work raised an AttributeError
                raise AttributeError(f"{type(self).__name__}.{name} cannot be read now")
            raise missing_attribute((*kinds, type(self).__name__)[0], name, public)
