"""Objects that carry settings: frozen dataclasses with a family and a name.

One mechanism serves activations, losses, optimizers, layers and all other families. A class that
derives from a family's base and has a ``name`` is known by that name from then on; this includes
classes that a user defines. :meth:`Setting.resolve` turns a name, a class or an instance into an
instance; :func:`describe` and :func:`rebuild` turn an instance into plain JSON values and back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from itertools import islice
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    nearest,
    plain,
    unknown_name,
)
from deltarule.base.guards import fixed
from deltarule.base.words import helpful, watched

_families: dict[str, dict[str, type[Setting]]] = {}
_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def setting(cls: type[_T]) -> type[_T]:
    """Make a class a frozen dataclass whose repr is the code that makes it.

    Many classes have formulas but no fields of their own. They use the methods of their base: to
    generate a dataclass's methods takes half a millisecond, which would slow down the import.
    """
    own = cls.__annotations__.values()
    if is_dataclass(cls) and all(str(kind).startswith("ClassVar") for kind in own):
        return fixed(cls)
    made = dataclass(frozen=True, repr=False, eq=False)(cls)
    made.__init__ = watched(made.__init__)  # type: ignore[method-assign]
    return fixed(made)


@helpful
class Setting:
    """Base of every family of settings.

    Attributes
    ----------
    family : str
        What the family is called in messages and files ("activation", "loss", ...).
    name : str
        The plain name of the class within its family ("relu"). A class without one is abstract.
    aliases : tuple of str
        Other usual names of the same thing. :meth:`resolve` takes them, and the class's own name,
        in any spelling (case, dashes and underscores do not count); files hold ``name``.
    pairs : tuple of tuple of str
        Of a family: methods that state one formula, such as a function and its derivative. A
        class that has another first one must bring one of the others too.
    meanings : dict of str to str
        Of a family: what to write for names that mean something similar, but not the same.
    """

    family: ClassVar[str]
    name: ClassVar[str] = ""
    pairs: ClassVar[tuple[tuple[str, ...], ...]] = ()
    aliases: ClassVar[tuple[str, ...]] = ()
    meanings: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = cls.__dict__.get("name", "")
        if not name:
            return
        known = _families.setdefault(cls.family, {}).setdefault(name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InvalidValueError(
                f"the {cls.family} name {name!r} is taken by "
                f"{known.__module__}.{known.__qualname__}; give {cls.__qualname__} another name"
            )
        _families[cls.family][name] = cls

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, f.name) for f in fields(self))  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Setting) or type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        own = fields(self)  # type: ignore[arg-type]
        positional = [f"{getattr(self, f.name)!r}" for f in own if not f.kw_only and _required(f)]
        named = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in sorted(own, key=lambda f: f.kw_only is True)
            if not _required(f) and getattr(self, f.name) != _default(f)
        ]
        return f"{type(self).__name__}({', '.join(positional + named)})"

    @classmethod
    def resolve(cls, value: Any) -> Self:
        """Return an instance for a name, a class or an instance of this family.

        Raises
        ------
        ValueError
            The name is unknown (the message gives the nearest known one), or the class needs
            settings.
        TypeError
            The value is neither.
        """
        found = value
        if isinstance(found, str):
            found = members(cls.family).get(found) or _by_alias(cls.family, found)
            if found is None:
                hint = _hint(cls, value)
                raise unknown_name(cls.family, value, members(cls.family), hint) from None
        if isinstance(found, type) and issubclass(found, cls):
            try:
                found = found()
            except TypeError:
                needed = ", ".join(f.name for f in fields(found) if _required(f))
                raise InvalidValueError(
                    f"{cls.family} {found.name!r} needs settings: "
                    f"write {found.__name__}({needed}) instead of its name"
                ) from None
        if not isinstance(found, cls):
            article = "an" if cls.family[0] in "aeiou" else "a"
            raise InvalidTypeError(
                f"expected {article} {cls.family} (an object or one of the names "
                f"{', '.join(sorted(members(cls.family)))}), got {describe_value(value)}"
            )
        return found


def _default(f: Field[Any]) -> Any:
    return f.default if f.default_factory is MISSING else f.default_factory()


def _required(f: Field[Any]) -> bool:
    return _default(f) is MISSING


def is_own(kind: type, method: str, than: str) -> bool:
    """Whether a class has one method from a more derived class than another one."""
    return definer(kind, method) is not definer(kind, than) and issubclass(
        definer(kind, method), definer(kind, than)
    )


def definer(kind: type, method: str) -> type:
    """Return the class that a method comes from."""
    return next(base for base in kind.__mro__ if method in vars(base))


def check_formulas(part: Setting) -> None:
    """Raise where a class has a formula of its own, but another's derivative of it."""
    kind = type(part)
    if kind.__module__.startswith("deltarule."):
        return
    root = next(base for base in kind.__mro__ if Setting in base.__bases__)
    for formula, *others in kind.pairs:
        inherited = [other for other in others if definer(kind, other) is not root]
        if inherited and all(is_own(kind, formula, than=other) for other in others):
            other = inherited[0]
            base = definer(kind, other).__name__
            raise InvalidTypeError(
                f"{kind.__name__} has {formula}() of its own, but {other}() of {base}, which "
                f"belongs to {base}'s {formula}(); define {other} too "
                f"(or write {other} = {base}.{other} if it is right)"
            )


def members(family: str) -> Mapping[str, type[Any]]:
    """Return the known classes of a family by name."""
    return MappingProxyType(_families.get(family, {}))


def _by_any_name(family: str) -> dict[str, type[Setting]]:
    """Return the classes of a family by all their names, in their plain spelling."""
    found: dict[str, type[Setting]] = {}
    for names in (lambda c: c.__dict__.get("aliases", ()), lambda c: (c.name, c.__name__)):
        for kind in members(family).values():
            found |= {plain(name): kind for name in names(kind)}
    return found


def _by_alias(family: str, name: str) -> type[Setting] | None:
    return _by_any_name(family).get(plain(name))


def hint_for(base: type[Setting], name: str) -> str:
    """Return what to write for a name: what it means, else the class that is spelt like it."""
    meant = base.meanings.get(plain(name))
    if meant is not None:
        return meant
    known = _by_any_name(base.family)
    near = nearest(name, known)
    return "" if near is None else f"did you mean {known[near].__name__}?"


def _hint(base: type[Setting], name: str) -> str:
    """Return a hint for an unknown name, as it stands in front of the known ones."""
    hint = hint_for(base, name)
    if not hint.startswith("did you mean "):
        return hint and f"{hint};"
    known = _by_any_name(base.family)
    return f"did you mean {known[nearest(name, known) or ''].name!r}?"


def describe(value: Any) -> Any:
    """Return plain JSON values for a setting: ``{family: name, field: value, ...}``.

    Every field is written, including those with default values, so a file keeps its meaning even
    if a default changes.
    """
    if isinstance(value, Setting):
        kind = type(value)
        if not value.name or not is_dataclass(value):
            raise InvalidTypeError(
                f"{kind.__qualname__} cannot be written to a file: "
                "make it a frozen dataclass with a class attribute `name`"
            )
        if members(kind.family).get(value.name) is not kind:
            raise InvalidTypeError(
                f"{kind.__qualname__} cannot be written to a file: it would be read as "
                f"{members(kind.family)[value.name].__qualname__}, whose name {value.name!r} it "
                "has; give it a class attribute `name` of its own"
            )
        return {value.family: value.name} | {
            f.name: describe(getattr(value, f.name)) for f in fields(value)
        }
    if isinstance(value, (tuple, list)):
        return [describe(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if type(value).__name__ in ("bool_", "bool"):  # NumPy's
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise InvalidTypeError(f"cannot be written to a file: {describe_value(value)}")


def rebuild(value: Any) -> Any:
    """Return the setting that :func:`describe` described."""
    if isinstance(value, list):
        return tuple(rebuild(item) for item in value)
    if not isinstance(value, dict):
        return value
    family = next((key for key in value if key in _families), None)
    if family is None:
        raise InvalidValueError(f"no family of settings in {describe_value(value)}")
    name = value[family]
    if not isinstance(name, str) or name not in members(family):
        raise InvalidValueError(
            f"unknown {family} {describe_value(name)}; if it is one of your own classes, import "
            "the module that defines it first"
        )
    found = members(family)[name]
    settings = {key: rebuild(item) for key, item in value.items() if key != family}
    known = {f.name for f in fields(found)}
    if unknown := sorted(settings.keys() - known):
        raise InvalidValueError(f"{family} {name!r} has no setting {', '.join(unknown)}")
    if missing := sorted(known - settings.keys()):  # a default is not what was described
        raise InvalidValueError(f"{family} {name!r} lacks {', '.join(missing)}")
    return found(**settings)


def check_number(
    what: str,
    value: Any,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> float:
    """Return ``value`` as a float, or raise an error that says what was given and expected."""
    bounds = []
    if above > -math.inf:
        bounds.append(f"> {float(above):g}")
    if at_least > -math.inf:
        bounds.append(f">= {at_least:g}")
    if below < math.inf:
        bounds.append(f"< {below:g}")
    if at_most < math.inf:
        bounds.append(f"<= {at_most:g}")
    expected = "a finite number" + (f" {' and '.join(bounds)}" if bounds else "")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f"{what} must be {expected}, got {describe_value(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and above < number < below and at_least <= number <= at_most):
        raise InvalidValueError(f"{what} must be {expected}, got {describe_value(value)}")
    return number


def check_epsilon(value: Any) -> float:
    """Return what keeps a divisor from 0: at least the smallest number that float32 divides by."""
    return check_number("epsilon", value, at_least=1.2e-38)


def check_flag(what: str, value: Any) -> bool:
    """Return ``value`` as a bool, or raise an error: "no" and 0.5 are neither True nor False."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):
        raise InvalidTypeError(f"{what} must be True or False, got {describe_value(value)}")
    return bool(value)


def check_choice(what: str, value: Any, *choices: str | None) -> None:
    """Raise unless a value is one of some names, or None where that is one of them."""
    if value is None and None in choices:
        return
    if not isinstance(value, str) or value not in choices:
        expected = [repr(choice) for choice in choices]
        kind = InvalidValueError if isinstance(value, str) else InvalidTypeError
        raise kind(
            f"{what} must be {', '.join(expected[:-1])} or {expected[-1]}, "
            f"got {describe_value(value)}"
        )


_LONGEST = 1 << 20


def check_sequence(what: str, values: Any, of: str) -> tuple[Any, ...]:
    """Return values in a row as a tuple, or raise an error; text and mappings are none."""
    expected = f"{what} must be a list of {of}"
    if isinstance(values, (str, bytes, bytearray, Mapping, type)) or not hasattr(
        values, "__iter__"
    ):
        raise InvalidTypeError(f"{expected}, got {describe_value(values)}")
    try:
        found = tuple(islice(iter(values), _LONGEST + 1))
    except Exception:
        raise InvalidTypeError(f"{expected}, got {describe_value(values)}") from None
    if len(found) > _LONGEST:
        raise InvalidValueError(f"{expected}, got more than {_LONGEST:,}")
    return found


def check_integer(what: str, value: Any, *, at_least: int = 1, at_most: int = 1 << 53) -> int:
    """Return ``value`` as an int, or raise an error that says what was given and expected."""
    if type(value) is int and at_least <= value <= at_most:
        return value
    expected = f"a whole number >= {at_least}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidTypeError(f"{what} must be {expected}, got {describe_value(value)}")
    number = int(value)
    if number < at_least:
        raise InvalidValueError(f"{what} must be {expected}, got {describe_value(value)}")
    if number > at_most:
        raise InvalidValueError(
            f"{what} must be {expected} and <= {at_most}, got {describe_value(value)}"
        )
    return number
