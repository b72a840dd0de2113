"""The native engine: a thin adapter to the compiled core.

It hands a plan over by name, hands over arrays, and brings back the record. A part of a plan runs
natively if its class is the package's own, the core knows its name, and the core needs what the
class has. All else runs in the reference engine: a subclass with a formula of its own never runs
as its base.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.random import Purpose
from deltarule.base.settings import Setting, registered
from deltarule.base.types import Array
from deltarule.data import Dataset
from deltarule.engines.protocol import Engine, Executor, Record, Run, steps_per_epoch
from deltarule.engines.reference import passes
from deltarule.formulas import penalties
from deltarule.formulas.clipping import Clip, ClipNorm, ClipValue
from deltarule.formulas.constraints import MaxNorm
from deltarule.formulas.optimizers import Optimizer
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

KINDS: dict[str, dict[str, dict[str, Any]]] = {} if _core is None else _core.kinds()
"""What the core knows, and what each of it needs: the lists of native/src/kinds.hpp."""

_OPERATIONS: dict[type, str] = {
    DenseOperation: "dense",
    ActivationOperation: "activation",
    DropoutOperation: "dropout",
    LayerNormOperation: "layer_norm",
    BatchNormOperation: "batch_norm",
    AddOperation: "add",
}
_EVERY_OPERATION = {"path", "source", "target", "other", "function", "position", "frozen"}
_PENALTIES = (penalties.L1, penalties.L2, penalties.ElasticNet)
_DTYPES = frozenset(map(np.dtype, ("float32", "float64", "int64", "int32", "uint8")))
_IN_LOSS, _NOWHERE = -1, -2
_ROWS_ORDERED_AT_ONCE = 1 << 18  # 2 MiB of orders, unless one epoch has more rows

WORK_PER_THREAD = 4e5
"""Multiplications of a step that repay another thread; tests lower it to have many threads."""


# ------------------------------------------------------------------------- what the core can run


def _foreign(part: Setting) -> str | None:
    """Return that a part is none of the package's own, or None where it is one."""
    kind = type(part)
    own = kind.__module__.startswith("deltarule.") and registered(kind.family, kind.name) is kind
    return None if own else f"the {kind.family} {kind.__name__} is written in Python"


def _mismatch(family: str, name: str, kind: type, has: dict[str, Any]) -> str | None:
    """Return how the core's needs of a kind differ from what its class has, or None."""
    needs = KINDS[family].get(name)
    if needs is None:
        return f"{kind.__name__} has no native form: the core knows no {family} {name!r}"
    for what, value in has.items():
        if needs[what] != value:
            return (
                f"{kind.__name__} is not the core's {family} {name!r}: "
                f"{what} {value} there, {needs[what]} in the core"
            )
    return None


def _settings(part: Setting) -> list[str]:
    # The reduction of a loss over the rows of a batch is the description's own.
    return [f.name for f in fields(part) if f.name != "reduction"]  # type: ignore[arg-type]


def _why_not_setting(part: Setting) -> str | None:
    """Return why the core cannot run an activation or a loss."""
    family, name = part.family, part.name
    return _foreign(part) or _mismatch(family, name, type(part), {"settings": _settings(part)})


def _why_not_optimizer(optimizer: Optimizer) -> str | None:
    has = {"states": len(optimizer.state_names), "scalars": list(optimizer.row_names)}
    return _foreign(optimizer) or _mismatch("rule", optimizer.rule, type(optimizer), has)


def _why_not_operation(op: Operation) -> str | None:
    if isinstance(op, CustomOperation):
        return f"layer {op.path!r}, {type(op.layer).__name__}, is written in Python"
    name, kind = _OPERATIONS.get(type(op)), type(op).__name__
    if name is None or name not in KINDS["operation"]:
        return f"layer {op.path!r} has no native form: the core knows no {kind}"
    needs = KINDS["operation"][name]
    has = {f.name for f in fields(op)} - _EVERY_OPERATION
    if has != {*needs["parameters"], *needs["state"], *needs["settings"]}:
        return (
            f"layer {op.path!r}, {kind}, is not the core's operation {name!r}: it has {sorted(has)}"
        )
    return _why_not_setting(op.function) if isinstance(op, ActivationOperation) else None


# ------------------------------------------------------------------------- a plan, handed over


def _numbers(part: Setting) -> dict[str, float]:
    return {name: float(getattr(part, name)) for name in _settings(part)}


def _operation(op: Operation, plan: Plan) -> _core.Operation:
    found = _core.Operation()
    found.kind = _OPERATIONS[type(op)]
    found.sources = [op.source, op.other] if isinstance(op, AddOperation) else [op.source]
    found.target = op.target
    needs = KINDS["operation"][found.kind]
    indices = {name: getattr(op, name) for name in needs["parameters"]}
    found.parameters = {name: index for name, index in indices.items() if index is not None}
    found.state = {name: plan.state[getattr(op, name)].offset for name in needs["state"]}
    found.settings = {name: float(getattr(op, name)) for name in needs["settings"]}
    if isinstance(op, ActivationOperation):
        found.activation, found.settings = op.function.name, _numbers(op.function)
    found.position = getattr(op, "position", 0)
    found.frozen = getattr(op, "frozen", False)
    return found


def _parameter(segment: Segment) -> _core.Parameter:
    found = _core.Parameter()
    found.offset = segment.offset
    found.rows, found.columns = segment.shape if len(segment.shape) == 2 else (1, segment.size)
    found.factor = float(segment.factor)
    if segment.penalty is not None:
        found.l1, found.l2 = map(float, segment.penalty.coefficients)
    if isinstance(segment.constraint, MaxNorm):
        found.max_norm = float(segment.constraint.limit)
    found.decays = segment.is_weight
    return found


def _description(plan: Plan, network: Network) -> _core.Description:
    found = _core.Description()
    found.operations = [_operation(op, plan) for op in plan.operations]
    found.widths = list(plan.widths)
    found.parameters = [_parameter(segment) for segment in plan.parameters]
    if plan.loss is not None:
        found.loss, found.loss_settings = plan.loss.name, _numbers(plan.loss)
        found.mean = plan.loss.reduction == "mean"
    found.canonical = plan.canonical
    found.rule = None if plan.optimizer is None else plan.optimizer.rule
    found.clip_value, found.clip_norm = _clipping(plan.clip)
    found.parameter_count = len(network.vector)
    found.state_count = len(network.state_vector)
    found.work_per_thread = WORK_PER_THREAD
    return found


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


def _orders(run: Run) -> Iterator[tuple[int, int, Array | None]]:
    """Yield (first epoch, last epoch, orders) of stretches whose orders take little memory."""
    n = len(run.data)
    if isinstance(run.shuffle, np.ndarray):
        yield 0, run.epochs, _aligned(np.asarray(run.shuffle, dtype=np.int64))[None, :]
    elif not run.shuffle or run.batch_size >= n:
        yield 0, run.epochs, None
    else:
        each = max(1, _ROWS_ORDERED_AT_ONCE // n)
        for first in range(0, run.epochs, each):
            count = min(each, run.epochs - first)
            yield (
                first,
                first + count,
                _core.permutations(
                    seed=run.seed,
                    purpose=Purpose.SHUFFLE,
                    first_step=run.first_epoch + first,
                    count=count,
                    row=0,
                    n=n,
                ),
            )


class NativeExecutor:
    """A plan bound to a network's arrays and to the core's buffers."""

    def __init__(self, plan: Plan, network: Network, threads: int | None) -> None:
        self.plan, self._outputs = plan, plan.outputs
        self.vector, self.running = network.vector, network.state_vector
        self._core = _core.Executor(
            _description(plan, network), bits=8 * plan.dtype.itemsize, threads=threads or 0
        )
        self._states = 0
        if plan.optimizer is not None:
            # One column: an optimizer starts all parameters alike. The core's state starts at 0.
            start = plan.optimizer.initial_state(1)
            self._states = len(start)
            if start.any():
                self.moments = np.repeat(start, len(self.vector), axis=1)

    @property
    def moments(self) -> Array:
        """A copy of the optimizer's state, (state arrays, parameters); the core keeps its own."""
        moments = np.empty((self._states, len(self.vector)), dtype=self.plan.dtype)
        self._core.get_optimizer_state(moments)
        return moments

    @moments.setter
    def moments(self, moments: Array) -> None:
        self._core.set_optimizer_state(np.ascontiguousarray(moments, dtype=self.plan.dtype))

    @property
    def threads_used(self) -> int:
        """Number of threads of the last call."""
        return int(self._core.threads_used)

    def run(self, run: Run) -> Record:
        """Train for ``run.epochs`` epochs."""
        record = Record.empty(run.epochs, len(self.plan.parameters))
        per_epoch = steps_per_epoch(len(run.data), run.batch_size, run.drop_last)
        data = self._data(run.data)
        for first, last, order in _orders(run):
            if run.interrupt.requested:  # the core looks every 30 ms: short calls end before
                record.interrupted = True
                break
            done = self._train(run, record, data, first, last, per_epoch, order)
            record.steps_done += done["steps_done"]
            record.interrupted = done["interrupted"]
            if done["diverged"] != _NOWHERE:
                record.diverged_at = self._place(done["diverged"], run, record)
            if record.steps_done < last * per_epoch:
                break
        record.epochs_done = record.steps_done // per_epoch
        return record

    def _train(
        self,
        run: Run,
        record: Record,
        data: dict[str, Any],
        first: int,
        last: int,
        per_epoch: int,
        order: Array | None,
    ) -> dict[str, Any]:
        """Train for the epochs [first, last) of a run, in these orders."""
        epochs, steps = slice(first, last), slice(first * per_epoch, last * per_epoch)
        return self._core.train(
            **data,
            order=order,
            batch_size=run.batch_size,
            steps_per_epoch=per_epoch,
            first_batch=0,
            first_step=run.first_step + steps.start,
            steps=steps.stop - steps.start,
            seed=run.seed,
            scalars=np.ascontiguousarray(run.rows[steps], dtype=np.float64),
            parameters=self.vector,
            running=self.running,
            outputs=run.outputs,
            outputs_by_row=True,
            loss_sum=record.loss_sum[epochs],
            weight_sum=record.weight_sum[epochs],
            penalty_sum=record.penalty_sum[epochs],
            gradient_squares=record.gradient_squares[epochs],
            updates=record.epoch_steps[epochs],
            stop=lambda: run.interrupt.requested,
        )

    def _place(self, diverged: int, run: Run, record: Record) -> str:
        """Return where a step was not finite: the parameter whose gradient is, or the layer."""
        if diverged == _IN_LOSS:
            return self._first_not_finite(run, record)
        return self.plan.parameters[diverged].name

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
        parts = [_why_not_operation(op) for op in plan.operations]
        if plan.loss is not None:
            parts.append(_why_not_setting(plan.loss))
        if plan.optimizer is not None:
            parts.append(_why_not_optimizer(plan.optimizer))
        problem = next(filter(None, parts), None)
        if problem is not None:
            return problem
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
