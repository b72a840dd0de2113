"""Learning-rate schedules: ``step -> learning rate``.

Steps count from 0. The lengths of a schedule are in steps, or in epochs with ``unit="epoch"``; then
the rate is constant within an epoch. If a length is None, the schedule spans the whole run: from
the trainer's first step to the last step of the current call.

Wherever a learning rate is expected, a number means :class:`Constant`, and any function
``step -> rate`` is accepted too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, ClassVar, TypeAlias

import numpy as np

from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    missing_formula,
)
from deltarule.base.settings import (
    Setting,
    check_choice,
    check_integer,
    check_number,
    check_sequence,
    hint_for,
    setting,
)
from deltarule.base.types import Array


@setting
class Schedule(Setting):
    """Base of the schedules.

    Parameters
    ----------
    unit : "step" or "epoch", keyword only
        The unit of lengths and positions.
    """

    family: ClassVar[str] = "schedule"
    meanings: ClassVar[Mapping[str, str]] = {
        "plateau": "it is a callback: callbacks=[ReduceOnPlateau()]",
        "reduceonplateau": "it is a callback: callbacks=[ReduceOnPlateau()]",
        "reducelronplateau": "it is a callback: callbacks=[ReduceOnPlateau()]",
        "adaptive": "it is a callback: callbacks=[ReduceOnPlateau()]",
        "inversetimedecay": "the nearest is InverseScaling(rate, power=1)",
        "noam": "the nearest is WarmUp(length, InverseScaling(rate))",
        "cyclic": "the nearest is OneCycle(rate)",
        "triangular": "the nearest is OneCycle(rate)",
    }
    unit: str = field(default="step", kw_only=True)

    def __post_init__(self) -> None:
        check_choice("unit", self.unit, "step", "epoch")

    def __call__(self, t: float, total: float) -> float:
        """Return the rate at position ``t`` (from 0) of a run of length ``total``, in units."""
        raise missing_formula(self, "__call__")

    @property
    def spans_run(self) -> bool:
        """Whether the rate depends on the length of the whole run."""
        return getattr(self, "length", 0) is None

    @property
    def foreseeable(self) -> bool:
        """Whether rates may be computed before their steps: no function of a user's is asked."""
        parts = [part for part in vars(self).values() if isinstance(part, Schedule)]
        return type(self).__module__ == __name__ and all(part.foreseeable for part in parts)

    def table(self, t: Array, total: float) -> Array:
        """Return the rates at positions ``t`` of a run of length ``total``, float64.

        Raises
        ------
        ValueError
            A rate is not finite, or negative.
        """
        try:
            rates = np.array([self(position, total) for position in t.tolist()], dtype=np.float64)
        except (OverflowError, TypeError) as error:
            raise InvalidValueError(
                f"{self!r} gives no learning rate at {self.unit} {int(t[0])} or later: {error}"
            ) from error
        return check_rates(rates, self, t)


@setting
class Constant(Schedule):
    """``rate(t) = learning_rate``."""

    name: ClassVar[str] = "constant"
    aliases: ClassVar[tuple[str, ...]] = ("fixed",)
    learning_rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.learning_rate)

    def __call__(self, t: float, total: float) -> float:
        return self.learning_rate

    def table(self, t: Array, total: float) -> Array:
        if type(self).__call__ is not Constant.__call__:
            return super().table(t, total)
        return np.full(len(t), float(self.learning_rate))


@setting
class FunctionOfStep(Schedule):
    """``rate(t) = function(t)``: a plain function as a schedule."""

    function: Callable[[int], float]

    @property
    def foreseeable(self) -> bool:
        return False

    def __call__(self, t: float, total: float) -> float:
        try:
            rate = self.function(int(t))
        except OverflowError as error:
            raise InvalidValueError(
                f"the function of the step has no learning rate at {self.unit} {int(t)}: {error}"
            ) from error
        return check_number(f"the learning rate at {self.unit} {t}", rate, at_least=0)


@setting
class Step(Schedule):
    """``rate(t) = learning_rate * factor^floor(t / every)``."""

    name: ClassVar[str] = "step"
    aliases: ClassVar[tuple[str, ...]] = (
        "step_decay",
        "step_lr",
    )
    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.learning_rate)
        _check_count("every", self.every)
        check_number("factor", self.factor, above=0)

    def __call__(self, t: float, total: float) -> float:
        return _grown(self, t, self.factor, t // self.every)


@setting
class Exponential(Schedule):
    """``rate(t) = learning_rate * factor^(t / every)``."""

    name: ClassVar[str] = "exponential"
    aliases: ClassVar[tuple[str, ...]] = (
        "exponential_decay",
        "exponential_lr",
    )
    learning_rate: float
    factor: float
    every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.learning_rate)
        check_number("factor", self.factor, above=0)
        _check_count("every", self.every)

    def __call__(self, t: float, total: float) -> float:
        return _grown(self, t, self.factor, t / self.every)


@setting
class InverseScaling(Schedule):
    """``rate(t) = learning_rate / (t + 1)^power``."""

    name: ClassVar[str] = "inverse_scaling"
    aliases: ClassVar[tuple[str, ...]] = (
        "invscaling",
        "inverse_decay",
    )
    learning_rate: float
    power: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.learning_rate)
        check_number("power", self.power, at_least=0)

    def __call__(self, t: float, total: float) -> float:
        try:
            return float(self.learning_rate / (t + 1) ** self.power)
        except OverflowError:  # of the power
            return 0.0


@setting
class Polynomial(Schedule):
    """``rate(t) = end + (learning_rate - end) * (1 - min(t / length, 1))^power``.

    PyTorch's ``PolynomialLR`` has power 1 by default and always ends at 0.
    """

    name: ClassVar[str] = "polynomial"
    aliases: ClassVar[tuple[str, ...]] = (
        "poly",
        "polynomial_decay",
        "polynomial_lr",
    )
    learning_rate: float
    power: float = 2.0
    end: float = 0.0
    length: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.learning_rate)
        check_number("power", self.power, above=0)
        check_number("end", self.end, at_least=0)
        _check_length(self.length)

    def __call__(self, t: float, total: float) -> float:
        remaining = 1 - _share(t, self.length or total)
        return float(self.end + (self.learning_rate - self.end) * remaining**self.power)


@setting
class Linear(Schedule):
    """``rate(t) = learning_rate + (end - learning_rate) * min(t / length, 1)``.

    PyTorch's ``LinearLR`` rises from a third of the rate by default.
    """

    name: ClassVar[str] = "linear"
    aliases: ClassVar[tuple[str, ...]] = (
        "linear_decay",
        "linear_lr",
    )
    learning_rate: float
    end: float = 0.0
    length: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.learning_rate)
        check_number("end", self.end, at_least=0)
        _check_length(self.length)

    def __call__(self, t: float, total: float) -> float:
        return self.learning_rate + (self.end - self.learning_rate) * _share(
            t, self.length or total
        )


@setting
class Cosine(Schedule):
    """``rate(t) = end + (learning_rate - end) * (1 + cos(pi * min(t / length, 1))) / 2``.

    It stays at ``end`` afterwards; PyTorch's ``CosineAnnealingLR`` rises again.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017).

    Examples
    --------
    >>> import deltarule as dr
    >>> schedule = dr.Cosine(1e-3)
    >>> [f"{schedule(t, 100):.5f}" for t in (0, 50, 100)]
    ['0.00100', '0.00050', '0.00000']
    """

    name: ClassVar[str] = "cosine"
    aliases: ClassVar[tuple[str, ...]] = (
        "cosine_decay",
        "cosine_annealing",
        "cosine_annealing_lr",
    )
    learning_rate: float
    end: float = 0.0
    length: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.learning_rate)
        check_number("end", self.end, at_least=0)
        _check_length(self.length)

    def __call__(self, t: float, total: float) -> float:
        share = _share(t, self.length or total)
        return self.end + (self.learning_rate - self.end) * (1 + math.cos(math.pi * share)) / 2


@setting
class CosineRestarts(Schedule):
    """Repeated cosine decays: the first has ``length``, each next one is ``growth`` times as long.

    Source: Loshchilov and Hutter (2017).
    """

    name: ClassVar[str] = "cosine_restarts"
    aliases: ClassVar[tuple[str, ...]] = (
        "sgdr",
        "cosine_annealing_warm_restarts",
        "cosine_decay_restarts",
    )
    learning_rate: float
    length: int
    growth: int = 1
    end: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.learning_rate)
        _check_count("length", self.length)
        _check_count("growth", self.growth)
        check_number("end", self.end, at_least=0)

    def __call__(self, t: float, total: float) -> float:
        length = self.length
        if self.growth == 1:
            t = t % length
        while t >= length:
            t -= length
            length *= self.growth
        return _cosine_between(self.learning_rate, self.end, _share(t, length))


@setting
class OneCycle(Schedule):
    """Cosine from ``learning_rate / start_divisor`` up to ``learning_rate``, then down.

    ``rise`` is the share of the run in which the rate rises. The last rate is the first one divided
    by ``end_divisor``. As in PyTorch, the maximum is reached at step ``rise * length - 1`` (step 0
    if that is negative) and the last rate at step ``length - 1``. Momentum is not cycled.

    Source: Smith and Topin, "Super-convergence" (2018).
    """

    name: ClassVar[str] = "one_cycle"
    aliases: ClassVar[tuple[str, ...]] = ("one_cycle_lr",)
    learning_rate: float
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4
    length: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rate(self.learning_rate)
        check_number("rise", self.rise, above=0, below=1)
        check_number("start_divisor", self.start_divisor, at_least=1)
        check_number("end_divisor", self.end_divisor, at_least=1)
        _check_length(self.length)

    def __call__(self, t: float, total: float) -> float:
        length = self.length or total
        start = self.learning_rate / self.start_divisor
        top, last = max(self.rise * length - 1, 0.0), length - 1
        if t < top:
            return _cosine_between(start, self.learning_rate, t / top)
        share = min((t - top) / (last - top), 1.0) if last > top else 1.0
        return _cosine_between(self.learning_rate, start / self.end_divisor, share)


@setting
class Piecewise(Schedule):
    """``rates[i]`` from step ``boundaries[i - 1]`` on; there is one more rate than boundaries."""

    name: ClassVar[str] = "piecewise"
    aliases: ClassVar[tuple[str, ...]] = (
        "piecewise_constant",
        "multi_step",
        "multi_step_lr",
    )
    boundaries: tuple[int, ...]
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, of in (("boundaries", "steps"), ("rates", "numbers")):
            object.__setattr__(self, name, check_sequence(name, getattr(self, name), of))
        for boundary in self.boundaries:
            check_integer("boundaries", boundary, at_least=0)
        if len(self.rates) != len(self.boundaries) + 1:
            raise InvalidValueError(
                f"Piecewise needs one rate more than boundaries, got {len(self.rates)} rates "
                f"for {len(self.boundaries)} boundaries"
            )
        for rate in self.rates:
            check_number("rates", rate, at_least=0)
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise InvalidValueError(f"boundaries must increase, got {self.boundaries}")

    def __call__(self, t: float, total: float) -> float:
        return self.rates[sum(t >= boundary for boundary in self.boundaries)]


@setting
class WarmUp(Schedule):
    """A linear rise over ``length`` steps, followed by any schedule ``then``.

    ``rate(t) = then(0) * (t + 1) / (length + 1)`` for ``t < length``, after that
    ``then(t - length)`` over the rest of the run.
    """

    name: ClassVar[str] = "warm_up"
    aliases: ClassVar[tuple[str, ...]] = ("linear_warmup",)
    length: int
    then: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_count("length", self.length)
        object.__setattr__(self, "then", resolve_schedule(self.then))
        if self.then.unit != self.unit and not isinstance(self.then, Constant):
            raise InvalidValueError(
                f"WarmUp counts in {self.unit}s but its schedule in {self.then.unit}s; "
                "give both the same unit"
            )

    @property
    def spans_run(self) -> bool:
        return bool(self.then.spans_run)

    def __call__(self, t: float, total: float) -> float:
        rest = max(total - self.length, 1)
        if t < self.length:
            return float(self.then(0, rest) * (t + 1) / (self.length + 1))
        return float(self.then(t - self.length, rest))


LearningRate: TypeAlias = float | Schedule | Callable[[int], float]


def resolve_schedule(value: LearningRate) -> Schedule:
    """Return a schedule for a number, a schedule or a function ``step -> rate``."""
    if isinstance(value, Schedule):
        return value
    if callable(value) and not isinstance(value, type):
        return FunctionOfStep(value)
    if isinstance(value, (str, type)):
        hint = hint_for(Schedule, value) if isinstance(value, str) else ""
        raise InvalidTypeError(
            "learning_rate must be a number, a schedule such as Cosine(1e-3) or a function of "
            f"the step, got {describe_value(value)}{hint and f'; {hint}'}"
        )
    return Constant(_check_rate(value))


def check_rates(rates: Array, schedule: Schedule, t: Array) -> Array:
    """Return the rates at positions ``t``, or raise an error where one cannot be used."""
    usable = np.isfinite(rates) & (rates >= 0)
    if not usable.all():
        i = int(np.argmin(usable))
        raise InvalidValueError(
            f"the learning rate must be a finite number >= 0, got {rates[i]} at {schedule.unit} "
            f"{int(t[i])} of {schedule!r}; let it grow less or end the run before"
        )
    return rates


def _grown(schedule: Step | Exponential, t: float, factor: float, exponent: float) -> float:
    """Return ``learning_rate * factor^exponent``, or raise an error where no float holds it."""
    try:
        rate = float(schedule.learning_rate * factor**exponent)
    except OverflowError:
        rate = math.inf if schedule.learning_rate else 0.0
    if rate == math.inf:
        check_rates(np.array([rate]), schedule, np.array([t]))
    return rate


def _check_rate(value: Any) -> float:
    return check_number("learning_rate", value, at_least=0)


def _check_length(value: Any) -> None:
    if value is not None:
        _check_count("length", value)


def _check_count(what: str, value: Any) -> None:
    """Refuse what is no number of steps, or more than a float counts exactly."""
    if check_integer(what, value) > _MOST_STEPS:
        raise InvalidValueError(f"{what} must be at most 2^53, got {describe_value(value)}")


_MOST_STEPS = 1 << 53


def _share(t: float, length: float) -> float:
    return min(t / length, 1.0)


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
