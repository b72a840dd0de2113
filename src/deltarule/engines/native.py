"""The native engine: a thin adapter to the compiled core.

It passes a plan by names and arrays to the core and returns the core's record. A part of a plan
runs natively if its class belongs to the package and the core knows its name and its settings.
Everything else runs in the reference engine: a subclass with a formula of its own never runs as
its base.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from itertools import islice
from types import ModuleType
from typing import Any, cast

import numpy as np

from deltarule.base.cores import cores
from deltarule.base.errors import InvalidValueError
from deltarule.base.interrupt import Interrupt
from deltarule.base.settings import Setting, members
from deltarule.base.types import Array
from deltarule.data import Dataset
from deltarule.data.arrays import largest
from deltarule.data.source import Stretch
from deltarule.engines.protocol import Engine, Executor, Outputs, Record, Run
from deltarule.engines.reference import passes
from deltarule.formulas.clipping import Clip, ClipNorm, ClipValue
from deltarule.formulas.constraints import MaxNorm
from deltarule.formulas.losses import CrossEntropy, Loss
from deltarule.formulas.optimizers import Optimizer
from deltarule.network.network import Network, Views
from deltarule.plan import Operation, Parameter, Plan

try:
    import deltarule._native as _core
except ImportError as error:
    _core = None  # type: ignore[assignment]
    _missing: str | None = str(error)
else:
    _missing = None

KINDS: dict[str, dict[str, dict[str, Any]]] = {} if _core is None else _core.kinds()
"""What the core knows, and what each of it needs: the lists of native/src/kinds.hpp."""

_DTYPES = frozenset(map(np.dtype, ("float32", "float64", "int64", "int32", "uint8")))
_IN_LOSS, _NOWHERE, _IN_STATISTICS = -1, -2, -3

_MOST_THREADS = 1 << 12

WORK_PER_THREAD = 4e5
"""Multiplications of a step that repay another thread; tests lower it to have many threads."""


# ------------------------------------------------------------------------- what the core can run


_FORMULAS = {
    "activation": ("__call__", "derivative", "backward"),
    "loss": ("value", "gradient", "canonical_value", "canonical_delta", "encode"),
    "optimizer": ("update", "initial_state"),
    "penalty": ("value", "gradient"),
    "constraint": ("apply",),
    "clip": ("apply",),
    "layer": ("forward", "backward"),
}
_AS_SHIPPED: dict[type, dict[str, Any]] = {
    kind: {name: getattr(kind, name, None) for name in formulas}
    for family, formulas in _FORMULAS.items()
    for kind in members(family).values()
}
"""The formulas of the package's own classes, which the core repeats."""


def _foreign(part: Setting) -> str | None:
    """Return that a part is none of the package's own, or None where it is one."""
    kind = type(part)
    if kind not in _AS_SHIPPED:
        return f"the {kind.family} {kind.__name__} is written in Python"
    changed = [
        name
        for name, method in _AS_SHIPPED[kind].items()
        if getattr(kind, name, None) is not method or name in vars(part)
    ]
    if changed:
        return f"{changed[0]} of the {kind.family} {kind.__name__} was replaced in Python"
    return None


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
    return _names_of_fields(cast(Any, type(part)))


@cache
def _names_of_fields(kind: Any) -> list[str]:
    # The reduction of a loss over the rows of a batch is the description's own.
    return [f.name for f in fields(kind) if f.name != "reduction"]


def _why_not_setting(part: Setting) -> str | None:
    """Return why the core cannot run an activation or a loss."""
    has = {"settings": _settings(part)}
    return _foreign(part) or _mismatch(part.family, part.name, type(part), has)


def _why_not_optimizer(optimizer: Optimizer) -> str | None:
    has = {"states": len(optimizer.state_names), "scalars": list(optimizer.scalar_names)}
    return _foreign(optimizer) or _mismatch("rule", optimizer.rule, type(optimizer), has)


def _why_not_operation(op: Operation, plan: Plan) -> str | None:
    """Return why the core cannot run a layer at its place."""
    layer, needs = op.layer, KINDS["operation"].get(op.layer.name, {})
    missing = [name for name in needs.get("optional", ()) if name not in op.parameters]
    lists = [n for n in layer.formula_settings if isinstance(getattr(layer, n, None), tuple)]
    has = {
        "sources": len(op.sources),
        "parameters": [*op.parameters, *missing],
        "state": list(op.state),
        "settings": [name for name in layer.formula_settings if name not in lists],
        "lists": lists,
    }
    why = _foreign(layer) or _mismatch("operation", layer.name, type(layer), has)
    if why is not None:
        return f"layer {op.path!r}: {why}"
    return None if op.function is None else _why_not_setting(op.function)


# ------------------------------------------------------------------------- a plan, handed over


def _numbers(part: Setting) -> dict[str, float]:
    return {name: float(getattr(part, name)) for name in _settings(part)}


def _operation(op: Operation, plan: Plan) -> _core.Operation:
    found = _core.Operation()
    found.kind = op.layer.name
    found.sources, found.target = list(op.sources), op.target
    found.parameters = dict(op.parameters)
    found.state = {name: plan.state[i].offset for name, i in op.state.items()}
    if op.function is None:
        needs = KINDS["operation"][op.layer.name]
        found.settings = {name: float(getattr(op.layer, name)) for name in needs["settings"]}
        found.lists = {name: list(getattr(op.layer, name)) for name in needs["lists"]}
    else:
        found.activation, found.settings = op.function.name, _numbers(op.function)
    found.position, found.frozen = op.position, op.frozen
    return found


def _parameter(place: Parameter) -> _core.Parameter:
    found = _core.Parameter()
    found.offset = place.offset
    found.rows, found.columns = place.shape if len(place.shape) == 2 else (1, place.size)
    found.factor = float(place.factor)
    if place.penalty is not None:
        found.l1, found.l2 = map(float, place.penalty.coefficients)
        found.over_batch = bool(place.penalty.over_batch)
    if isinstance(place.constraint, MaxNorm):
        found.max_norm = float(place.constraint.limit)
    found.decays = place.is_weight
    return found


def _description(plan: Plan, network: Network) -> _core.Description:
    found = _core.Description()
    found.operations = [_operation(op, plan) for op in plan.operations]
    found.widths = list(plan.widths)
    found.parameters = [_parameter(place) for place in plan.parameters]
    if plan.loss is not None:
        found.loss, found.loss_settings = plan.loss.name, _numbers(plan.loss)
        found.mean = plan.loss.reduction == "mean"
    found.canonical = plan.canonical
    found.rule = None if plan.optimizer is None else plan.optimizer.rule
    found.clip_value, found.clip_norm = _clipping(plan.clip)
    found.bfloat16 = plan.bfloat16
    found.parameter_count = len(network.vector)
    found.state_count = len(network.state_vector)
    found.work_per_thread = WORK_PER_THREAD
    return found


def _accepted(plan: Plan) -> _core.Accepted | None:
    """Return what the core may train on as it is; None where only Python can check that."""
    loss, limit = plan.loss, largest(plan.dtype)
    if loss is None or plan.operations[0].layer.reads_inputs:
        return None
    found = _core.Accepted()
    found.rows = 2 if plan.couples_rows else 1
    found.largest = found.highest = limit
    found.lowest = -limit
    checks = type(loss).check_targets
    if checks is CrossEntropy.check_targets:
        found.labels = True
    elif checks is not Loss.check_targets:
        return None
    elif loss.target_range is not None:
        low, high, _ = loss.target_range
        found.lowest, found.highest = max(low, -limit), min(high, limit)
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
        with np.errstate(over="ignore"):  # a value beyond the dtype is carried as infinity
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
        self._core = _core.Executor(
            _description(plan, network),
            bits=8 * plan.dtype.itemsize,
            threads=min(threads or cores(), _MOST_THREADS),
        )
        self._accepts = _accepted(plan)
        self._states = 0
        if plan.optimizer is not None:
            # One column: an optimizer starts all parameters alike. The core's state starts at 0.
            start = plan.optimizer.initial_state(1)
            self._states = len(start)
            if start.any():
                self.optimizer_state = np.repeat(start, len(self.vector), axis=1)

    @property
    def checks_batches(self) -> bool:
        """Whether the core can check batches itself."""
        return self._accepts is not None

    @property
    def optimizer_state(self) -> Array:
        """A copy of the optimizer's state, (state arrays, parameters); the core keeps its own."""
        state = np.empty((self._states, len(self.vector)), dtype=self.plan.dtype)
        self._core.get_optimizer_state(state)
        return state

    @optimizer_state.setter
    def optimizer_state(self, state: Array) -> None:
        self._core.set_optimizer_state(np.ascontiguousarray(state, dtype=self.plan.dtype))

    @property
    def threads_used(self) -> int:
        """Number of threads of the last call."""
        return int(self._core.threads_used)

    def step(
        self,
        X: Any,
        y: Any,
        scalars: Array,
        row: int,
        step: int,
        seed: int,
        interrupt: Interrupt,
        done: Array,
    ) -> float | None:
        """Do one step on arrays that the core can check itself; None: look more closely."""
        if type(X) is not np.ndarray or type(y) is not np.ndarray or self._accepts is None:
            return None
        if interrupt.requested:  # by a run around this one
            return None
        return self._core.step(
            X,
            y,
            self._accepts,
            scalars,
            row,
            step,
            seed,
            self.vector,
            self.running,
            lambda: interrupt.requested,
            done,
        )

    def run(self, run: Run, record: Record) -> None:
        """Do the steps of a run, stretch by stretch."""
        for stretch in run.batches.stretches(run.epoch, run.batch, run.steps):
            if run.interrupt.requested:  # the core looks every 30 ms: short calls end before
                record.interrupted = True
                return
            outputs = Outputs(stretch, self.plan) if run.observer else None
            before = record.steps_done
            diverged = self._train(run, record, stretch, outputs)
            done = record.steps_done - before
            if outputs is not None and run.observer is not None:
                outputs.show(run.observer, done)
            if diverged == _IN_LOSS:
                record.diverged_at = self._first_not_finite(run, record, stretch, done)
            elif diverged <= _IN_STATISTICS:
                offset = _IN_STATISTICS - diverged
                record.diverged_at = next(s.name for s in self.plan.state if s.offset == offset)
            elif diverged != _NOWHERE:
                record.diverged_at = self.plan.parameters[diverged].name
            if done < stretch.steps:
                return

    def _train(self, run: Run, record: Record, stretch: Stretch, outputs: Outputs | None) -> int:
        """Let the core do a stretch of steps; return where it diverged, or _NOWHERE."""
        first = record.steps_done
        assert self.plan.optimizer is not None
        rates = run.rates[first : first + stretch.steps]
        weighted = stretch.weighted()
        scalars = run.counts.scalars(self.plan.optimizer, rates, weighted)
        # Of the record, the epochs from the stretch's first on.
        loss, weight, penalty, squares, updates = (
            record.sums if not stretch.epoch else (a[stretch.epoch :] for a in record.sums)
        )
        outcome = np.zeros(3, dtype=np.int64)
        try:
            self._core.train(
                **self._data(stretch.data),
                order=None if stretch.orders is None else _aligned(stretch.orders),
                batch_size=stretch.batch_size,
                steps_per_epoch=stretch.steps_per_epoch,
                first_batch=stretch.first_batch,
                first_step=run.first_step + first,
                steps=stretch.steps,
                seed=run.batches.seed,
                scalars=np.ascontiguousarray(scalars, dtype=np.float64),
                group=run.counts.group if run.counts.groups > 1 else None,
                parameters=self.vector,
                running=self.running,
                outputs=None if outputs is None else outputs.array,
                outputs_by_row=outputs is not None and outputs.by_row,
                loss_sum=loss,
                weight_sum=weight,
                penalty_sum=penalty,
                gradient_squares=squares,
                updates=updates,
                step_losses=record.step_losses[first:],
                stop=lambda: run.interrupt.requested,
                outcome=outcome,
            )
        finally:
            steps_done, interrupted, diverged = outcome.tolist()
            record.steps_done += steps_done
            run.counts.since += steps_done if weighted is None else int(weighted[:steps_done].sum())
            record.interrupted = bool(interrupted)
        return diverged

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

    def _first_not_finite(self, run: Run, record: Record, stretch: Stretch, done: int) -> str:
        """Return the layer where the step that was dropped left the finite numbers.

        The reference engine repeats that one forward pass, with everything in plain sight.
        """
        _, rows = next(islice(stretch.batches(), done, None))
        views = Views(self.vector, {p.name: p.shape for p in self.plan.parameters})
        state = Views(self.running, {s.name: s.shape for s in self.plan.state})
        context = passes.Context(
            list(views.values()),
            list(state.values()),
            training=True,
            seed=run.batches.seed,
            step=run.first_step + record.steps_done,
            bfloat16=self.plan.bfloat16,
        )
        with np.errstate(all="ignore"):
            x, _, _ = passes.gather(self.plan, stretch.data, rows)
            return passes.first_not_finite(self.plan, passes.forward(self.plan, x, context))


class NativeEngine:
    """Whole epochs in compiled code."""

    name = "native"
    _fitting: Plan | None = None  # the last that was looked at and can run

    def describe(self) -> str:
        """Return the engine's name and its vector target."""
        return f"native ({_core.target()})"

    def why_not(self, plan: Plan) -> str | None:
        """Return why the core cannot run a plan, or None where it can."""
        problem = unavailable()
        if problem is not None:
            return problem
        parts = [_why_not_operation(op, plan) for op in plan.operations]
        if plan.loss is not None:
            parts.append(_why_not_setting(plan.loss))
        if plan.optimizer is not None:
            parts.append(_why_not_optimizer(plan.optimizer))
        problem = next(filter(None, parts), None)
        if problem is not None:
            return problem
        others: list[Setting | None] = [plan.clip]
        for place in plan.parameters:
            others += [place.penalty, place.constraint]
        foreign = next(filter(None, (_foreign(p) for p in others if p is not None)), None)
        if foreign is None:
            self._fitting = plan
        return foreign

    def executor(self, plan: Plan, network: Network, *, threads: int | None = None) -> Executor:
        """Return a new executor."""
        problem = None if plan is self._fitting else self.why_not(plan)
        if problem is not None:
            raise InvalidValueError(f"the native engine cannot run this network: {problem}")
        return NativeExecutor(plan, network, threads)


def unavailable() -> str | None:
    """Return why there is no native engine in this installation, or None where there is one."""
    if _missing is not None:
        return f"deltarule was built without its compiled core ({_missing})"
    if not _core.target():
        known = ", ".join(_core.targets())
        return f"DELTARULE_TARGET names a target that this machine lacks; it has {known}"
    return None


def target() -> str:
    """Return the vector target in use; "" where there is no core or no such target."""
    return "" if _core is None else _core.target()


def core() -> ModuleType | None:
    """Return the compiled module, or None."""
    return _core


_: Engine = NativeEngine()
