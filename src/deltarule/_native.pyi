"""What native/src/bindings.cpp offers."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from deltarule.types import Array

class _Done(TypedDict):
    epochs_done: int
    steps_done: int
    interrupted: bool
    diverged: int

def target() -> str: ...
def targets() -> list[str]: ...
def processors() -> int: ...

class Executor:
    def __init__(
        self,
        *,
        operations: list[tuple[Any, ...]],
        widths: Sequence[int],
        parameters: list[tuple[Any, ...]],
        loss: int,
        loss_setting: float,
        canonical: bool,
        mean: bool,
        rule: int,
        states: int,
        clip_value: float,
        clip_norm: float,
        parameter_count: int,
        state_count: int,
        bits: int,
        threads: int,
    ) -> None: ...
    def train(
        self,
        *,
        x: Array,
        y: Array,
        weights: Array | None,
        batch_size: int,
        drop_last: bool,
        shuffle: bool,
        order: Array | None,
        seed: int,
        first_epoch: int,
        first_step: int,
        epochs: int,
        rows: Array,
        parameters: Array,
        running: Array,
        outputs: Array | None,
        loss_sum: Array,
        weight_sum: Array,
        penalty_sum: Array,
        gradient_squares: Array,
        updates: Array,
        stop: Callable[[], bool],
    ) -> _Done: ...
    def forward(
        self,
        *,
        x: Array,
        y: Array | None,
        weights: Array | None,
        parameters: Array,
        running: Array,
        out: Array | None,
    ) -> tuple[float, float]: ...
    def set_moments(self, flat: Array) -> None: ...
    def get_moments(self, flat: Array) -> None: ...
    @property
    def threads_used(self) -> int: ...
