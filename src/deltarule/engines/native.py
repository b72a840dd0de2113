"""The native engine: a thin adapter to the compiled core.

It turns a plan into numbers, hands over arrays, and brings back the record. What the core does not
know (activations, losses, penalties and layers written in Python) is found by exact type, so that a
subclass with a formula of its own never runs as its base.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.data import Dataset
from deltarule.engines.protocol import Engine, Executor, Record, Run
from deltarule.engines.reference import passes
from deltarule.formulas import activations, losses, optimizers, penalties
from deltarule.formulas.clipping import Clip, ClipNorm, ClipValue
from deltarule.formulas.constraints import MaxNorm
from deltarule.network.network import Network, Views
from deltarule.plan import (
    ActivationOperation,
    AddOperation,
    BatchNormOperation,
    CustomOperation,
    DenseOperation,
    DropoutOperation,
    LayerNormOperation,
    Operation,
    Plan,
    Segment,
)

try:
    import deltarule._native as _core
except ImportError as error:
    _core = None  # type: ignore[assignment]
    _missing: str | None = str(error)
else:
    _missing = None

# The numbers of native/src/program.hpp and activation_kind.hpp.
_GATHER, _DENSE, _ACTIVATION, _DROPOUT, _LAYER_NORM, _BATCH_NORM, _ADD = range(7)

_ACTIVATIONS: dict[type, int] = {
    activations.Identity: 0,
    activations.Sigmoid: 1,
    activations.Tanh: 2,
    activations.ReLU: 3,
    activations.LeakyReLU: 4,
    activations.ELU: 5,
    activations.SELU: 6,
    activations.GELU: 7,
    activations.GELUTanh: 8,
    activations.SiLU: 9,
    activations.Mish: 10,
    activations.Softplus: 11,
    activations.Exp: 12,
    activations.Softmax: 100,
}
_LOSSES: dict[type, int] = {
    losses.SquaredError: 1,
    losses.MeanSquaredError: 2,
    losses.MeanAbsoluteError: 3,
    losses.Huber: 4,
    losses.Quantile: 5,
    losses.Poisson: 6,
    losses.BinaryCrossEntropy: 7,
    losses.CrossEntropy: 8,
}
_LOSS_SETTINGS = ("threshold", "q", "label_smoothing")
_RULES = (
    "sgd", "momentum", "nesterov", "rmsprop", "rmsprop_centered", "rmsprop_momentum",
    "rmsprop_centered_momentum", "adagrad", "adam", "amsgrad", "nadam", "lion", "rprop",
)  # fmt: skip
_OPTIMIZERS = (
    optimizers.SGD,
    optimizers.RMSprop,
    optimizers.Adagrad,
    optimizers.Adam,
    optimizers.AdamW,
    optimizers.NAdam,
    optimizers.Lion,
    optimizers.Rprop,
)
_PENALTIES = (penalties.L1, penalties.L2, penalties.ElasticNet)
_DTYPES = frozenset(map(np.dtype, ("float32", "float64", "int64", "int32", "uint8")))
_IN_LOSS, _NOWHERE = -1, -2

WORK_PER_THREAD = 4e5
"""Multiplications of a step that repay another thread; tests lower it to have many threads."""


def _rule(optimizer: Any) -> int:
    name = optimizer.name
    if name == "sgd" and optimizer.momentum:
        name = "nesterov" if optimizer.nesterov else "momentum"
    elif name == "rmsprop":
        name += "_centered" * bool(optimizer.centered) + "_momentum" * bool(optimizer.momentum)
    elif name in ("adam", "adamw"):
        name = "amsgrad" if optimizer.amsgrad else "adam"
    return _RULES.index(name)


def _operation(op: Operation, plan: Plan) -> tuple[Any, ...]:
    """Return an operation as the core's ``operation_of`` reads it."""
    kind, other, weight, bias, activation = -1, -1, -1, -1, 0
    setting, momentum, mean, variance, frozen, position = 0.0, 0.0, -1, -1, 0, 0
    match op:
        case DenseOperation():
            kind, weight, bias = _DENSE, op.weight, -1 if op.bias is None else op.bias
        case ActivationOperation():
            kind, activation = _ACTIVATION, _ACTIVATIONS[type(op.function)]
            for name in ("negative_slope", "alpha"):
                setting = float(getattr(op.function, name, setting))
        case DropoutOperation():
            kind, setting, position = _DROPOUT, op.rate, op.position
        case LayerNormOperation():
            kind, weight, bias, setting = _LAYER_NORM, op.scale, op.shift, op.epsilon
        case BatchNormOperation():
            kind, weight, bias, setting = _BATCH_NORM, op.scale, op.shift, op.epsilon
            momentum, frozen = op.momentum, int(op.frozen)
            mean, variance = plan.state[op.mean].offset, plan.state[op.variance].offset
        case AddOperation():
            kind, other = _ADD, op.other
    return (
        kind, op.source, other, op.target, weight, bias, activation, float(setting),
        float(momentum), mean, variance, frozen, position,
    )  # fmt: skip


def _parameter(segment: Segment) -> tuple[Any, ...]:
    """Return a parameter as the core's ``parameter_of`` reads it."""
    rows, columns = segment.shape if len(segment.shape) == 2 else (1, segment.shape[0])
    l1, l2 = segment.penalty.coefficients if segment.penalty else (0.0, 0.0)
    limit = segment.constraint.limit if isinstance(segment.constraint, MaxNorm) else 0.0
    return (
        segment.offset, rows, columns, float(segment.factor), float(l1), float(l2),
        float(limit), segment.is_weight,
    )  # fmt: skip


def _clipping(clip: Clip | None) -> tuple[float, float]:
    """Return the limits of clipping by value and by norm; 0: none."""
    match clip:
        case ClipValue():
            return float(clip.limit), 0.0
        case ClipNorm():
            return 0.0, float(clip.limit)
    return 0.0, 0.0


def _readable(array: Array, dtype: np.dtype) -> Array:
    """Return an array that the core reads: a dtype it knows, rows contiguous."""
    flags = array.flags
    if flags.c_contiguous and flags.aligned and array.dtype in _DTYPES:
        return array
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if array.dtype not in _DTYPES:
        array = array.astype(dtype)
    inner = array.strides[-1] == array.itemsize or array.shape[-1] <= 1
    whole = array.ndim < 2 or array.strides[0] % array.itemsize == 0
    if inner and whole and array.flags.aligned:
        return array
    return _aligned(array)


def _aligned(array: Array) -> Array:
    """Return an aligned array, rows contiguous; ``np.ascontiguousarray`` does not align."""
    return np.require(array, requirements=["C", "A"])


class NativeExecutor:
    """A plan bound to a network's arrays and to the core's buffers."""

    def __init__(self, plan: Plan, network: Network, threads: int | None) -> None:
        self.plan, self._outputs = plan, plan.outputs
        self.vector, self.running = network.vector, network.state_vector
        # One column: an optimizer starts every parameter alike, and the core's state starts at 0.
        start = np.zeros((0, 1)) if plan.optimizer is None else plan.optimizer.initial_state(1)
        self._states = len(start)
        clip_value, clip_norm = _clipping(plan.clip)
        loss = plan.loss
        setting = next((float(getattr(loss, n)) for n in _LOSS_SETTINGS if hasattr(loss, n)), 0.0)
        self._core = _core.Executor(
            operations=[_operation(op, plan) for op in plan.operations],
            widths=list(plan.widths),
            parameters=[_parameter(segment) for segment in plan.parameters],
            loss=0 if loss is None else _LOSSES[type(loss)],
            loss_setting=setting,
            canonical=plan.canonical,
            mean=loss is None or loss.reduction == "mean",
            rule=0 if plan.optimizer is None else _rule(plan.optimizer),
            states=self._states,
            clip_value=clip_value,
            clip_norm=clip_norm,
            parameter_count=len(self.vector),
            state_count=len(self.running),
            bits=8 * plan.dtype.itemsize,
            threads=threads or 0,
            work_per_thread=WORK_PER_THREAD,
        )
        if start.any():
            self.moments = np.repeat(start, len(self.vector), axis=1)

    @property
    def moments(self) -> Array:
        """A copy of the optimizer's state, (state arrays, parameters); the core keeps its own."""
        moments = np.empty((self._states, len(self.vector)), dtype=self.plan.dtype)
        self._core.get_moments(moments)
        return moments

    @moments.setter
    def moments(self, moments: Array) -> None:
        self._core.set_moments(np.ascontiguousarray(moments, dtype=self.plan.dtype))

    @property
    def threads_used(self) -> int:
        """Number of threads of the last call."""
        return int(self._core.threads_used)

    def run(self, run: Run) -> Record:
        """Train for ``run.epochs`` epochs."""
        record = Record.empty(run.epochs, len(self.plan.parameters))
        if run.interrupt.requested:  # the core looks every 30 ms: short calls end before
            record.interrupted = True
            return record
        order = run.shuffle if isinstance(run.shuffle, np.ndarray) else None
        n = len(run.data)
        done = self._core.train(
            **self._data(run.data),
            batch_size=run.batch_size,
            drop_last=run.drop_last,
            shuffle=order is None and bool(run.shuffle) and run.batch_size < n,
            order=None if order is None else _aligned(np.asarray(order, dtype=np.int64)),
            seed=run.seed,
            first_epoch=run.first_epoch,
            first_step=run.first_step,
            epochs=run.epochs,
            rows=np.ascontiguousarray(run.rows, dtype=np.float64),
            parameters=self.vector,
            running=self.running,
            outputs=run.outputs,
            loss_sum=record.loss_sum,
            weight_sum=record.weight_sum,
            penalty_sum=record.penalty_sum,
            gradient_squares=record.gradient_squares,
            updates=record.epoch_steps,
            stop=lambda: run.interrupt.requested,
        )
        record.epochs_done, record.steps_done = done["epochs_done"], done["steps_done"]
        record.interrupted = done["interrupted"]
        if done["diverged"] == _IN_LOSS:
            record.diverged_at = self._first_not_finite(run, record)
        elif done["diverged"] != _NOWHERE:
            record.diverged_at = self.plan.parameters[done["diverged"]].name
        return record

    def predict(self, X: Array, batch_size: int | None) -> Array:
        """Return the outputs for ``X``; rows run in blocks of the core's own size."""
        outputs = np.empty((len(X), self._outputs), self.plan.dtype)
        self._core.forward(
            x=_readable(X, self.plan.dtype),
            y=None,
            weights=None,
            parameters=self.vector,
            running=self.running,
            out=outputs,
        )
        return outputs

    def evaluate(self, data: Dataset, outputs: Array | None = None) -> tuple[float, float]:
        """Return the sums of ``w_i l_i`` and of ``w_i``."""
        return self._core.forward(
            **self._data(data), parameters=self.vector, running=self.running, out=outputs
        )

    def _data(self, data: Dataset) -> dict[str, Any]:
        return {
            "x": _readable(data.X, self.plan.dtype),
            "y": _readable(data.y, self.plan.dtype),
            "weights": None if data.weights is None else _aligned(data.weights),
        }

    def _first_not_finite(self, run: Run, record: Record) -> str:
        """Return the layer where the step that was dropped left the finite numbers.

        The reference engine repeats that one forward pass, with everything in plain sight.
        """
        n, b = len(run.data), run.batch_size
        per_epoch = n // b if run.drop_last else -(-n // b)
        epoch, i = divmod(record.steps_done, per_epoch)
        order = run.order(epoch)
        rows = slice(i * b, i * b + b) if order is None else order[i * b : i * b + b]
        views = Views(self.vector, {s.name: s.shape for s in self.plan.parameters})
        state = Views(self.running, {s.name: s.shape for s in self.plan.state})
        context = passes.Context(
            list(views.values()),
            list(state.values()),
            training=True,
            seed=run.seed,
            step=run.first_step + record.steps_done,
        )
        with np.errstate(all="ignore"):
            x, _, _ = passes.gather(self.plan, run.data, rows)
            return passes.first_not_finite(self.plan, passes.forward(self.plan, x, context))


class NativeEngine:
    """Whole epochs in compiled code."""

    name = "native"

    def describe(self) -> str:
        """Return the engine's name and its vector target."""
        return f"native ({_core.target()})"

    def why_not(self, plan: Plan) -> str | None:
        """Return why the core cannot run a plan, or None where it can."""
        problem = unavailable()
        if problem is not None:
            return problem
        for op in plan.operations:
            if isinstance(op, CustomOperation):
                return f"layer {op.path!r}, {type(op.layer).__name__}, is written in Python"
            if isinstance(op, ActivationOperation) and type(op.function) not in _ACTIVATIONS:
                return f"the activation {type(op.function).__name__} is written in Python"
        if plan.loss is not None and type(plan.loss) not in _LOSSES:
            return f"the loss {type(plan.loss).__name__} is written in Python"
        if plan.optimizer is not None and type(plan.optimizer) not in _OPTIMIZERS:
            return f"the optimizer {type(plan.optimizer).__name__} is written in Python"
        if plan.clip is not None and type(plan.clip) not in (ClipValue, ClipNorm):
            return f"the clipping {type(plan.clip).__name__} is written in Python"
        for segment in plan.parameters:
            if segment.penalty is not None and type(segment.penalty) not in _PENALTIES:
                return f"the penalty {type(segment.penalty).__name__} is written in Python"
            if segment.constraint is not None and type(segment.constraint) is not MaxNorm:
                return f"the constraint {type(segment.constraint).__name__} is written in Python"
        return None

    def executor(self, plan: Plan, network: Network, *, threads: int | None = None) -> Executor:
        """Return a new executor."""
        problem = self.why_not(plan)
        if problem is not None:
            raise InvalidValueError(f"the native engine cannot run this network: {problem}")
        return NativeExecutor(plan, network, threads)


def unavailable() -> str | None:
    """Return why there is no native engine in this installation, or None where there is one."""
    if _missing is not None:
        return f"deltarule was built without its compiled core ({_missing})"
    if not _core.target():
        known = ", ".join(_core.targets())
        return f"DELTARULE_TARGET names a target this machine has not; it has {known}"
    return None


def target() -> str:
    """Return the vector target in use; "" where there is no core or no such target."""
    return "" if _core is None else _core.target()


def core() -> ModuleType | None:
    """Return the compiled module, or None."""
    return _core


_: Engine = NativeEngine()
