from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray

import deltarule.base.errors


def target() -> str:
    """
    Name of the vector target in use; empty where DELTARULE_TARGET names one that this machine lacks.
    """

def targets() -> list[str]:
    """Names of the vector targets that this machine has, the best first."""

def kinds() -> dict:
    """
    What the core knows: {"activation" | "loss" | "rule" | "operation": {name: what it needs}}.
    """

def permutations(*, seed: int, purpose: int, first_step: int, count: int, row: int, n: int) -> Annotated[NDArray[numpy.int64], dict(shape=(None, None))]:
    """
    Random orders (count, n): row e is the stable argsort of the n words of step first_step + e.
    """

def peak_gflops(repeats: int) -> float:
    """
    Single-precision GFLOP/s that this core reaches now, by multiply-adds in registers.
    """

class Operation:
    """One operation of a plan; kinds() says what each needs."""

    def __init__(self) -> None: ...

    @property
    def kind(self) -> str: ...

    @kind.setter
    def kind(self, arg: str, /) -> None: ...

    @property
    def sources(self) -> list[int]:
        """Slots that are read."""

    @sources.setter
    def sources(self, arg: Sequence[int], /) -> None: ...

    @property
    def target(self) -> int:
        """The slot that is written."""

    @target.setter
    def target(self, arg: int, /) -> None: ...

    @property
    def parameters(self) -> dict[str, int]:
        """Indices into Description.parameters, by name."""

    @parameters.setter
    def parameters(self, arg: Mapping[str, int], /) -> None: ...

    @property
    def state(self) -> dict[str, int]:
        """Offsets in the flat vector of running statistics, by name."""

    @state.setter
    def state(self, arg: Mapping[str, int], /) -> None: ...

    @property
    def settings(self) -> dict[str, float]:
        """Numbers by name; for an activation those of the function."""

    @settings.setter
    def settings(self, arg: Mapping[str, float], /) -> None: ...

    @property
    def lists(self) -> dict[str, list[int]]:
        """Lists of whole numbers by name."""

    @lists.setter
    def lists(self, arg: Mapping[str, Sequence[int]], /) -> None: ...

    @property
    def activation(self) -> str: ...

    @activation.setter
    def activation(self, arg: str, /) -> None: ...

    @property
    def position(self) -> int:
        """The layer in the counter of the random words."""

    @position.setter
    def position(self, arg: int, /) -> None: ...

    @property
    def frozen(self) -> bool:
        """Whether running statistics are used in training too."""

    @frozen.setter
    def frozen(self, arg: bool, /) -> None: ...

class Parameter:
    """A parameter's place in the flat vector, and what acts on it."""

    def __init__(self) -> None: ...

    @property
    def offset(self) -> int: ...

    @offset.setter
    def offset(self, arg: int, /) -> None: ...

    @property
    def rows(self) -> int:
        """1 for a vector."""

    @rows.setter
    def rows(self, arg: int, /) -> None: ...

    @property
    def columns(self) -> int: ...

    @columns.setter
    def columns(self, arg: int, /) -> None: ...

    @property
    def factor(self) -> float:
        """On the learning rate; 0: frozen."""

    @factor.setter
    def factor(self, arg: float, /) -> None: ...

    @property
    def l1(self) -> float: ...

    @l1.setter
    def l1(self, arg: float, /) -> None: ...

    @property
    def l2(self) -> float: ...

    @l2.setter
    def l2(self, arg: float, /) -> None: ...

    @property
    def over_batch(self) -> bool: ...

    @over_batch.setter
    def over_batch(self, arg: bool, /) -> None: ...

    @property
    def max_norm(self) -> float:
        """Of each unit's incoming weights; 0: none."""

    @max_norm.setter
    def max_norm(self, arg: float, /) -> None: ...

    @property
    def decays(self) -> bool:
        """Whether decoupled weight decay applies."""

    @decays.setter
    def decays(self, arg: bool, /) -> None: ...

class Description:
    """A network, its loss and its update rule. (Set lists as a whole.)"""

    def __init__(self) -> None: ...

    @property
    def operations(self) -> list[Operation]: ...

    @operations.setter
    def operations(self, arg: Sequence[Operation], /) -> None: ...

    @property
    def widths(self) -> list[int]:
        """Columns of each slot; slot 0 is the input."""

    @widths.setter
    def widths(self, arg: Sequence[int], /) -> None: ...

    @property
    def parameters(self) -> list[Parameter]: ...

    @parameters.setter
    def parameters(self, arg: Sequence[Parameter], /) -> None: ...

    @property
    def loss(self) -> str | None: ...

    @loss.setter
    def loss(self, name: str | None) -> None: ...

    @property
    def loss_settings(self) -> dict[str, float]: ...

    @loss_settings.setter
    def loss_settings(self, arg: Mapping[str, float], /) -> None: ...

    @property
    def canonical(self) -> bool:
        """Whether the loss has its canonical output activation."""

    @canonical.setter
    def canonical(self, arg: bool, /) -> None: ...

    @property
    def mean(self) -> bool:
        """Whether a batch's loss is divided by the sum of its weights."""

    @mean.setter
    def mean(self, arg: bool, /) -> None: ...

    @property
    def rule(self) -> str | None: ...

    @rule.setter
    def rule(self, name: str | None) -> None: ...

    @property
    def clip_value(self) -> float:
        """0: none."""

    @clip_value.setter
    def clip_value(self, arg: float, /) -> None: ...

    @property
    def clip_norm(self) -> float:
        """0: none."""

    @clip_norm.setter
    def clip_norm(self, arg: float, /) -> None: ...

    @property
    def bfloat16(self) -> bool:
        """
        Whether products of dense layers in training read numbers rounded to bfloat16.
        """

    @bfloat16.setter
    def bfloat16(self, arg: bool, /) -> None: ...

    @property
    def parameter_count(self) -> int:
        """Length of the flat vector."""

    @parameter_count.setter
    def parameter_count(self, arg: int, /) -> None: ...

    @property
    def state_count(self) -> int:
        """Length of the vector of running statistics."""

    @state_count.setter
    def state_count(self, arg: int, /) -> None: ...

    @property
    def work_per_thread(self) -> float:
        """Multiplications of a step that repay another thread."""

    @work_per_thread.setter
    def work_per_thread(self, arg: float, /) -> None: ...

class InUse(deltarule.base.errors.InUseError):
    pass

class Accepted:
    """Which examples a step may train on as they are."""

    def __init__(self) -> None: ...

    @property
    def rows(self) -> int:
        """At least."""

    @rows.setter
    def rows(self, arg: int, /) -> None: ...

    @property
    def largest(self) -> float:
        """Inputs from -largest to it."""

    @largest.setter
    def largest(self, arg: float, /) -> None: ...

    @property
    def lowest(self) -> float:
        """Targets from here on, if they are no labels."""

    @lowest.setter
    def lowest(self, arg: float, /) -> None: ...

    @property
    def highest(self) -> float: ...

    @highest.setter
    def highest(self, arg: float, /) -> None: ...

    @property
    def labels(self) -> bool:
        """Whether targets are class labels."""

    @labels.setter
    def labels(self, arg: bool, /) -> None: ...

class Executor:
    """A network bound to memory, that trains and predicts."""

    def __init__(self, network: Description, *, bits: int, threads: int) -> None: ...

    def train(self, *, x: Annotated[NDArray, dict(device='cpu', writable=False)], y: object, weights: object | None, order: object | None, batch_size: int, steps_per_epoch: int, first_batch: int, first_step: int, steps: int, seed: int, scalars: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], group: object | None = None, parameters: Annotated[NDArray, dict(order='C', device='cpu')], running: Annotated[NDArray, dict(order='C', device='cpu')], outputs: object | None, outputs_by_row: bool, loss_sum: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], weight_sum: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], penalty_sum: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], gradient_squares: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], updates: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu')], step_losses: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu')], stop: object, outcome: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu')]) -> None:
        """
        Do some steps; the records, a row for each epoch touched, are added to, and the losses of each step are set. The outcome, set even where Python raises meanwhile: steps done, whether `stop` ended it, where it diverged.
        """

    def step(self, x: object, y: object, accepted: Accepted, scalars: Annotated[NDArray[numpy.float64], dict(shape=(None, None), order='C', device='cpu', writable=False)], row: int, step: int, seed: int, parameters: Annotated[NDArray, dict(order='C', device='cpu')], running: Annotated[NDArray, dict(order='C', device='cpu')], stop: object, done: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu')]) -> float | None:
        """
        Do one step on a batch and return its loss. None, and nothing has changed, where the batch is not accepted, a value is not finite, or `stop` ended it. Done, set even where Python raises meanwhile: 0 or 1 steps.
        """

    def forward(self, *, x: Annotated[NDArray, dict(device='cpu', writable=False)], y: object | None, weights: object | None, parameters: Annotated[NDArray, dict(order='C', device='cpu')], running: Annotated[NDArray, dict(order='C', device='cpu')], out: object | None) -> tuple: ...

    def set_optimizer_state(self, flat: Annotated[NDArray, dict(order='C', device='cpu')]) -> None: ...

    def get_optimizer_state(self, flat: Annotated[NDArray, dict(order='C', device='cpu')]) -> None: ...

    @property
    def threads_used(self) -> int: ...

def end_of_interpreter() -> None:
    """
    Called by atexit: no thread comes back from native code any more, and those of the pool end.
    """
