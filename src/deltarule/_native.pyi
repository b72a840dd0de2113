from collections.abc import Sequence
from typing import Annotated

from numpy.typing import NDArray


def target() -> str:
    """
    Name of the vector target in use; empty where DELTARULE_TARGET names one this machine has not.
    """

def targets() -> list[str]:
    """Names of the vector targets that this machine has, the best first."""

def processors() -> int:
    """Processors this process may use."""

class Executor:
    def __init__(self, *, operations: list, widths: Sequence[int], parameters: list, loss: int, loss_setting: float, canonical: bool, mean: bool, rule: int, states: int, clip_value: float, clip_norm: float, parameter_count: int, state_count: int, bits: int, threads: int, work_per_thread: float) -> None: ...

    def train(self, *, x: Annotated[NDArray, dict(device='cpu', writable=False)], y: Annotated[NDArray, dict(device='cpu', writable=False)], weights: object | None, batch_size: int, drop_last: bool, shuffle: bool, order: object | None, seed: int, first_epoch: int, first_step: int, epochs: int, rows: Annotated[NDArray, dict(device='cpu', writable=False)], parameters: Annotated[NDArray, dict(order='C', device='cpu')], running: Annotated[NDArray, dict(order='C', device='cpu')], outputs: object | None, loss_sum: Annotated[NDArray, dict(order='C', device='cpu')], weight_sum: Annotated[NDArray, dict(order='C', device='cpu')], penalty_sum: Annotated[NDArray, dict(order='C', device='cpu')], gradient_squares: Annotated[NDArray, dict(order='C', device='cpu')], updates: Annotated[NDArray, dict(order='C', device='cpu')], stop: object) -> dict: ...

    def forward(self, *, x: Annotated[NDArray, dict(device='cpu', writable=False)], y: object | None, weights: object | None, parameters: Annotated[NDArray, dict(order='C', device='cpu')], running: Annotated[NDArray, dict(order='C', device='cpu')], out: object | None) -> tuple: ...

    def set_moments(self, flat: Annotated[NDArray, dict(order='C', device='cpu')]) -> None: ...

    def get_moments(self, flat: Annotated[NDArray, dict(order='C', device='cpu')]) -> None: ...

    @property
    def threads_used(self) -> int: ...
