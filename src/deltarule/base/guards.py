"""Objects that refuse what would go wrong silently: misspelt attributes, changes, two at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, TypeVar

from deltarule.base.errors import (
    FixedError,
    InUseError,
    InvalidAttributeError,
    unknown_attribute,
)

_Value = TypeVar("_Value")
_Kind = TypeVar("_Kind")


class Guarded:
    """Base of objects whose attributes are those that their class declares.

    A public attribute can be set if the class annotates it, or has a property with a setter.
    Anything else raises: an attribute that does not exist would be taken silently and do nothing.
    A subclass from outside the package may have attributes of its own.

    ``_instead`` says, for attributes that are fixed, what to do to change them.
    """

    _instead: ClassVar[Mapping[str, str]] = {}
    _settable: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        properties = {
            name
            for name, value in vars(cls).items()
            if isinstance(value, property) and value.fset is not None
        }
        annotated = {
            name
            for name, kind in vars(cls).get("__annotations__", {}).items()
            if not str(kind).startswith("ClassVar")
        }
        cls._settable = cls._settable | properties | annotated

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._settable and name[:1] != "_":
            self._refuse(name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name[:1] != "_" and (name in self._settable or name not in vars(self)):
            raise InvalidAttributeError(f"{_owner(self)}.{name} cannot be deleted")
        object.__delattr__(self, name)

    def _refuse(self, name: str) -> None:
        """Raise unless a class from outside the package may have an attribute of its own."""
        if hasattr(type(self), name):
            what = "a method" if callable(getattr(type(self), name)) else "fixed"
            instead = self._instead.get(name, "")
            raise InvalidAttributeError(
                f"{_owner(self)}.{name} is {what} and cannot be set{instead and f'; {instead}'}"
            )
        if type(self).__module__.partition(".")[0] == "deltarule":
            raise unknown_attribute(
                _owner(self), name, settable=self._settable, hint=self._instead.get(name, "")
            )


def fixed(cls: type[_Kind]) -> type[_Kind]:
    """Make a class refuse changes of attributes with an error that says what to do instead.

    As with a frozen dataclass, a subclass from outside the package may have attributes of its own.
    """
    own = frozenset(field.name for field in fields(cls)) if is_dataclass(cls) else frozenset()

    def change(self: Any, name: str, *value: Any) -> None:
        if type(self) is cls or name in own:
            what, kind = "set" if value else "deleted", _owner(self)
            raise InvalidAttributeError(
                f"{kind}.{name} cannot be {what}: a {kind} never changes; make another one"
            )
        (super(cls, self).__setattr__ if value else super(cls, self).__delattr__)(name, *value)

    cls.__setattr__ = cls.__delattr__ = change  # type: ignore[method-assign]
    return cls


def _owner(guarded: object) -> str:
    return type(guarded).__name__


_forks = 0
"""How often the process has become a child of itself."""


def _forked() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class OneAtATime:
    """Refuses a second call while a first is under way: ``with alone.turn("..."):``.

    A copy, a pickled one too, is free. So is one whose holder is a thread that a fork left behind.
    """

    def __init__(self) -> None:
        self._lock, self._made = threading.Lock(), _forks

    def turn(self, refusal: str) -> threading.Lock:
        """Return the lock to hold, or raise an InUseError where it is held."""
        # An exception can arrive between any two calls, but not between `with` and the lock: so the
        # lock itself is handed out. Who comes at the same moment waits instead of being refused.
        if self._lock.locked():
            if self._made == _forks:
                raise InUseError(refusal)
            self.__init__()  # type: ignore[misc]
        return self._lock

    def __reduce__(self) -> tuple[Any, ...]:
        return OneAtATime, ()


class ReadOnly(dict[str, _Value]):
    """A dict that is handed out to be read; a copy of it is an ordinary dict.

    Changing it raises an error that says what to do instead.
    """

    def __init__(self, values: Mapping[str, _Value], what: str, instead: str) -> None:
        super().__init__(values)
        self._message = f"{what} is read-only; {instead}"

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise FixedError(self._message)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class ReadOnlyList(list[_Value]):
    """A list that is handed out to be read; a copy or a slice of it is an ordinary list.

    Changing it raises an error that says what to do instead.
    """

    def __init__(self, values: Iterable[_Value], what: str, instead: str) -> None:
        super().__init__(values)
        self._message = f"{what} is read-only; {instead}"

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise FixedError(self._message)

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)
