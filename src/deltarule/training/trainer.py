"""The trainer: a network with a loss and an optimizer, kept from call to call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from deltarule.base.display import html_table
from deltarule.base.errors import (
    DivergenceError,
    FileFormatError,
    InvalidTypeError,
    InvalidValueError,
    TrainingInterrupted,
    describe_value,
)
from deltarule.base.guards import Guarded, ReadOnly
from deltarule.base.interrupt import Interrupt, deferred_interrupt
from deltarule.base.log import warn
from deltarule.base.random import check_seed
from deltarule.base.settings import (
    check_choice,
    check_flag,
    check_integer,
    check_sequence,
)
from deltarule.base.types import Array
from deltarule.base.words import Leading, helpful
from deltarule.data.frames import names_of
from deltarule.data.source import Batches
from deltarule.engines import Engine, Executor, Record, Run, UpdateCounts
from deltarule.formulas.clipping import Clip
from deltarule.formulas.constraints import Constraint
from deltarule.formulas.losses import Loss
from deltarule.formulas.metrics import Metric
from deltarule.formulas.optimizers import Optimizer
from deltarule.formulas.penalties import Penalty
from deltarule.formulas.schedules import Schedule, check_rates
from deltarule.network.network import Network
from deltarule.plan import (
    ClipLike,
    ConstraintLike,
    LossLike,
    OptimizerLike,
    PenaltyLike,
    Plan,
    compile_network,
)
from deltarule.training.callbacks import Callback, check_callbacks
from deltarule.training.columns import Columns, Seen, losses_of
from deltarule.training.evaluation import check_metrics_fit, resolve_metrics
from deltarule.training.executors import bind
from deltarule.training.full_batch_executor import (
    FullBatchExecutor,
    check_full_batch,
    check_has_rate,
)
from deltarule.training.history import History
from deltarule.training.loop import INTERRUPTED, TERMINATED, Loop, interrupted_after
from deltarule.training.pace import steps_per_unit
from deltarule.training.progress import Display, Progress, Quiet

_STEPS_AHEAD = 64
"""Of so many single steps scalars are computed at once: it takes about as long as for one."""


class _Ahead(NamedTuple):
    """The optimizer's scalars of single steps from ``first`` on, and what they depend on."""

    of: tuple[Any, ...]
    first: int
    scalars: Array


@helpful
class Trainer(Guarded, Leading):
    """A network with a loss and an optimizer, whose state is kept from call to call.

    It does one thing at a time: while a call of :meth:`step` or :meth:`run` is under way, another
    one raises :class:`deltarule.InUseError`, and so does another trainer of the same network.
    Predicting meanwhile is allowed.

    Parameters are those of :func:`deltarule.train`. A schedule without a length spans all steps
    from the trainer's first to the last one of the current :meth:`run`.

    Attributes
    ----------
    epochs, steps : int
        Done so far, over all calls.

    Examples
    --------
    Online learning, one batch at a time:

    >>> import numpy as np, deltarule as dr
    >>> net = dr.Network([dr.Dense(1)], inputs=2, seed=0)
    >>> trainer = dr.Trainer(net, loss="squared_error", optimizer=dr.SGD(0.1))
    >>> for _ in range(200):
    ...     loss = trainer.step([[1.0, 2.0], [3.0, 1.0]], [5.0, 5.0])
    >>> loss < 1e-6
    True
    """

    _instead: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("lr", "learning_rate"),
        "the optimizer has it: make a new Trainer(net, loss, optimizer=...), give the optimizer a "
        "schedule, or let a callback set state.rate_factor",
    ) | dict.fromkeys(
        ("network", "loss", "optimizer", "metrics", "engine", "plan"), "make a new Trainer"
    )

    def __init__(
        self,
        network: Network,
        loss: LossLike,
        optimizer: OptimizerLike = "adam",
        *,
        penalty: PenaltyLike = None,
        constraint: ConstraintLike = None,
        clip: ClipLike = None,
        metrics: Iterable[Any] | None = (),
        class_weight: Any = None,
        seed: int = 0,
        threads: int | None = None,
        precision: str | None = None,
        engine: str = "auto",
    ) -> None:
        if not isinstance(network, Network):
            raise InvalidTypeError(f"expected a deltarule.Network, got {describe_value(network)}")
        self._network = network
        self._loss = Loss.resolve(loss)
        self._optimizer = Optimizer.resolve(optimizer)
        self._settings: dict[str, Any] = {
            "penalty": None if penalty is None else Penalty.resolve(penalty),
            "constraint": None if constraint is None else Constraint.resolve(constraint),
            "clip": None if clip is None else Clip.resolve(clip),
            "precision": precision,
        }
        self._metrics = resolve_metrics(metrics)
        if isinstance(class_weight, Mapping):
            class_weight = dict(class_weight)
        elif class_weight is not None and not isinstance(class_weight, str):
            class_weight = check_sequence("class_weight", class_weight, "weights")
        self._class_weight = class_weight
        self._seed = check_seed(seed)
        if threads is not None:
            check_integer("threads", threads)
        self._engine_name, self._threads = engine, threads
        self._rate_factor = 1.0
        self._factors: Mapping[str, float] = {}
        self._counts = UpdateCounts(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool))
        self._executor: Executor
        self._compile()
        self._epochs = 0
        self._steps = 0

    def __getstate__(self) -> dict[str, Any]:
        # The executor holds views into the network's vector: a copy makes its own.
        own = ("_plan", "_engine", "_executor", "_as_given", "_ahead", "_done")
        state = {name: value for name, value in self.__dict__.items() if name not in own}
        return state | {"_optimizer_state": np.array(self._executor.optimizer_state)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        optimizer_state = state.pop("_optimizer_state")
        self.__dict__.update(state)
        self._compile()
        # A copy: what comes from a memory map is read-only.
        self._executor.optimizer_state = np.array(optimizer_state)

    @property
    def network(self) -> Network:
        """The network that is trained."""
        return self._network

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics by name; to be read."""
        return ReadOnly(self._metrics, "trainer.metrics", "make a new Trainer(..., metrics=[...])")

    @property
    def loss(self) -> Loss:
        """The loss."""
        return self._loss

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""
        return self._optimizer

    @property
    def epochs(self) -> int:
        """Epochs done so far, over all calls."""
        return self._epochs

    @property
    def steps(self) -> int:
        """Steps done so far, over all calls."""
        return self._steps

    @property
    def engine(self) -> Engine:
        """The engine that runs."""
        return self._engine

    @property
    def plan(self) -> Plan:
        """The network, loss and optimizer, compiled."""
        return self._plan

    def _compile(self) -> None:
        """Make the plan of the network as it is now, and what executes it."""
        self._factors = dict(self.network.learning_rate_factors)
        self._plan = compile_network(
            self.network, loss=self._loss, optimizer=self._optimizer, **self._settings
        )
        trained = np.array([place.factor != 0 for place in self.plan.parameters])
        counts = self._counts.of_parameters if self._counts.group.size else 0 * trained
        self._counts = UpdateCounts(counts, trained)
        self._engine, self._executor = bind(
            self._engine_name, self._plan, self.network, self._threads
        )
        # For single steps on batches that the engine may take as they are.
        self._as_given = (
            self._executor.checks_batches
            and self._class_weight is None
            and self._schedule.foreseeable
            and self._counts.groups == 1
        )
        self._ahead = _Ahead((), 0, np.zeros((0, 0)))
        self._done = np.zeros(1, dtype=np.int64)

    def _kept(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of this trainer, besides the network."""
        from deltarule.training.checkpoint_file import described, described_weights

        settings = {
            "loss": described(self._loss),
            "optimizer": described(self._optimizer),
            **{name: described(value) for name, value in self._settings.items()},
            "metrics": [described(metric) for metric in self._metrics.values()],
            "class_weight": described_weights(self._class_weight),
            "seed": self._seed,
            "engine": self._engine_name,
        }
        done = {
            "epochs": self._epochs,
            "steps": self._steps,
            "updates": self._counts.of_parameters,
            "optimizer_state": np.array(self._executor.optimizer_state),
            "exact_vector": self._full_batch.exact_vector if self._full_batch else None,
        }
        return {"settings": settings, "trainer": done}

    def _go_back_to(self, saved: Mapping[str, Any]) -> None:
        """Be what :meth:`_kept` returned of a trainer with the same settings."""
        done = saved["trainer"]
        self._epochs, self._steps = done["epochs"], done["steps"]
        trained = np.array([place.factor != 0 for place in self.plan.parameters])
        state, usual = done["optimizer_state"], self._executor.optimizer_state
        if (state.shape, state.dtype) != (usual.shape, usual.dtype):
            raise FileFormatError(
                f"the checkpoint's optimizer_state is {state.dtype} {state.shape}, that of "
                f"{self._optimizer!r} {usual.dtype} {usual.shape}"
            )
        self._counts = UpdateCounts(done["updates"], trained)
        self._executor.optimizer_state = state
        if self._full_batch and done["exact_vector"] is not None:
            self._full_batch.exact_vector = done["exact_vector"]

    @property
    def _full_batch(self) -> FullBatchExecutor | None:
        return self._executor if isinstance(self._executor, FullBatchExecutor) else None

    def _follow_factors(self) -> None:
        """Make a new plan where parameters were frozen or freed since; the state stays."""
        if self._network._factors != self._factors:
            optimizer_state = self._executor.optimizer_state
            self._compile()
            self._executor.optimizer_state = optimizer_state

    def _remember(self, names: tuple[str, ...] | None) -> None:
        """Let the network know the columns of the frame that it is trained on."""
        if names is not self.network.feature_names:
            self.network.feature_names = names

    def _description(self) -> dict[str, str]:
        """What it trains, with what, and how far it is."""
        return {
            "network": repr(self._network),
            "loss": repr(self._loss),
            "optimizer": repr(self._optimizer),
            **{name: repr(value) for name, value in self._settings.items() if value is not None},
            **({"metrics": ", ".join(self._metrics)} if self._metrics else {}),
            "engine": self._engine.describe(),
            "done": f"{self._epochs} epochs, {self._steps} steps",
        }

    def __repr__(self) -> str:
        network, *rest = self._description().values()
        return f"Trainer({network}; {'; '.join(rest)})"

    def _repr_html_(self) -> str:
        return html_table("Trainer", ("", ""), self._description().items())

    def step(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Do one step on one batch; return its loss (data loss plus penalty) before the step.

        Raises
        ------
        ValueError, TypeError
            Bad input: nothing has been changed.
        DivergenceError
            The loss or a gradient is not finite: the network is as before.
        TrainingInterrupted
            Ctrl-C was pressed. The step was made, or where it takes long, dropped as a whole.
        """
        if self._schedule.spans_run:
            raise InvalidValueError(
                f"{type(self._schedule).__name__} spans the whole run, and step() cannot know how "
                "long that is; give the schedule a length"
            )
        with self._network.being_trained():
            self._follow_factors()
            loss = None
            if self._as_given and sample_weight is None:
                loss = self._step_as_given(X, y)
            return self._step_checked(X, y, sample_weight) if loss is None else loss

    def _step_as_given(self, X: Any, y: Any) -> float | None:
        """Let the engine do a step if it can take the batch as it is; None: it cannot."""
        found = self._scalars_ahead()
        if found is None:
            return None
        executor, done = self._executor, self._done
        with deferred_interrupt() as interrupt:
            try:
                loss = executor.step(X, y, *found, self._steps, self._seed, interrupt, done)
            finally:  # whatever is raised meanwhile
                if done[0]:
                    done[0] = 0
                    self._steps += 1
                    self._counts.since += 1
        if interrupt.requested:
            raise _interrupted_at(self.steps, made=loss is not None)
        return loss

    def _scalars_ahead(self) -> tuple[Array, int] | None:
        """Return a table of the optimizer's scalars, and the row of the next step.

        None where one of these steps has no learning rate.
        """
        counts = self._counts
        of = (counts, self._steps - counts.since, self._rate_factor, self._epochs)
        row = self._steps - self._ahead.first
        if self._ahead.of != of or row >= len(self._ahead.scalars):
            try:
                rates = self._rates(0, _STEPS_AHEAD, _STEPS_AHEAD, _STEPS_AHEAD)
            except InvalidValueError:
                return None
            scalars = counts.scalars(self._optimizer, rates, None)
            self._ahead = _Ahead(of, self._steps, np.ascontiguousarray(scalars, dtype=np.float64))
            row = 0
        return self._ahead.scalars, row

    def _step_checked(self, X: Any, y: Any, sample_weight: Any) -> float:
        """Check a batch of whatever kind, and do a step."""
        expected = self._plan.expected
        names = self._network.feature_names or names_of(X)
        data = expected.examples(X, y, sample_weight, names=names)
        data = expected.weighted_by_class(data, self._class_weight)
        batches = expected.batches(data, None, seed=self._seed)
        self._remember(names)
        with deferred_interrupt() as interrupt:
            record = self._run(batches, 0, 1, self._rates(0, 1, 1, 1), interrupt)
        if record.raised is not None:
            raise record.raised
        if interrupt.requested:
            raise _interrupted_at(self.steps, made=record.steps_done > 0)
        self._raise_if_diverged(record, None)
        return losses_of(self.plan, record.row(0))["loss"]

    def run(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int | None = 32,
        drop_last: bool = False,
        shuffle: Any = True,
        validation: Any = None,
        sample_weight: Any = None,
        callbacks: Sequence[Callback] | None = None,
        progress: bool | str | Display = "auto",
        on_interrupt: str = "raise",
        on_divergence: str = "raise",
    ) -> History:
        """Train for some epochs and return what happened; see :func:`deltarule.train`.

        ``progress`` may be an object with a method ``show(history, *, final)``, which is called
        whenever an engine returns. An error that it raises is logged, and does not end the run.
        """
        check_on_interrupt(on_interrupt)
        check_on_divergence(on_divergence)
        history, _ = self._run_and_score(
            X,
            y,
            epochs=epochs,
            batch_size=batch_size,
            drop_last=drop_last,
            shuffle=shuffle,
            validation=validation,
            sample_weight=sample_weight,
            callbacks=callbacks,
            progress=progress,
            raises=on_interrupt == "raise",
            restores=on_divergence == "restore",
        )
        if history.stopped in (INTERRUPTED, TERMINATED):
            warn(interrupted_after(history))
        return history

    def _run_and_score(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int,
        batch_size: int | None,
        drop_last: bool,
        shuffle: Any,
        validation: Any,
        sample_weight: Any,
        callbacks: Sequence[Callback] | None,
        progress: bool | str | Display,
        raises: bool = False,
        restores: bool = False,
        monitor: str | None = None,
        resumed: Mapping[str, Any] | None = None,
        other_data: bool = False,
    ) -> tuple[History, float]:
        """Train; return the history and, by a column's name, what the network scores in the end.

        ``raises``: whether Ctrl-C does. ``restores``: whether a run that diverges goes back.
        ``resumed``: what a checkpoint has of the run that goes on;
        ``other_data``: whether it may with other data.
        """
        check_integer("epochs", epochs)
        check_flag("drop_last", drop_last)
        hooks = check_callbacks(callbacks)
        display: Display
        if not isinstance(progress, (bool, str)) and isinstance(progress, Display):
            display = progress
        else:
            display = Progress(progress, epochs)
        with self.network.being_trained():
            self._follow_factors()
            expected = self.plan.expected
            names = self.network.feature_names or names_of(X)
            data = expected.examples(X, y, sample_weight, names=names)
            data, held_out = expected.split(data, validation, seed=self._seed, names=names)
            data = expected.weighted_by_class(data, self._class_weight)
            batches = expected.batches(
                data, batch_size, drop_last=drop_last, shuffle=shuffle, seed=self._seed
            )
            check_full_batch(self._optimizer, batches)
            for part in (data, held_out):
                if part is not None:
                    check_metrics_fit(self.plan, part, self._metrics)
            columns = Columns(
                self.plan,
                self._metrics,
                data,
                held_out,
                asked=bool(hooks) or monitor is not None,
                unit=steps_per_unit(batches) * batches.size,
            )
            self._remember(names)
            loop = Loop(
                self,
                batches,
                columns,
                epochs,
                hooks,
                Quiet(display.show),
                arguments={
                    "batch_size": batch_size,
                    "drop_last": drop_last,
                    "restores": restores,
                    "shuffle": shuffle if isinstance(shuffle, bool) else "given",
                    "validation": "given" if isinstance(validation, (tuple, list)) else validation,
                },
                restores=restores,
                resumed=resumed,
            )
            if resumed is not None and not other_data:
                from deltarule.training.checkpoint_file import check_same_data

                check_same_data(loop.fingerprints(), resumed["data"])
            history = loop.run(raises=raises)
            if monitor is None or not history.epochs:
                return history, math.nan
            return history, columns.score(monitor, self._executor, self.network)

    @property
    def _schedule(self) -> Schedule:
        assert isinstance(self._optimizer.learning_rate, Schedule)
        return self._optimizer.learning_rate

    def _rates(self, batch: int, steps: int, per_epoch: int, left: int) -> Array:
        """Return the learning rates of the next steps, from a batch of the current epoch on.

        ``left``: how many steps the whole run still has.
        """
        if self._schedule.unit == "epoch":
            touched, run = -(-(batch + steps) // per_epoch), -(-(batch + left) // per_epoch)
            t = np.arange(self.epochs, self.epochs + touched)
            rates = self._schedule.table(t, self.epochs + run).repeat(per_epoch)
            rates = rates[batch : batch + steps]
        else:
            t = np.arange(self._steps, self._steps + steps)
            rates = self._schedule.table(t, self._steps + left)
        if self._rate_factor == 1:
            return rates
        check_has_rate(self._optimizer)
        with np.errstate(over="ignore"):
            return check_rates(self._rate_factor * rates, self._schedule, t)

    def _run(
        self,
        batches: Batches,
        batch: int,
        steps: int,
        rates: Array,
        interrupt: Interrupt,
        seen: Seen | None = None,
        unfinished: tuple[Array, ...] | None = None,
    ) -> Record:
        """Let the engine do some steps from a batch of the current epoch on."""
        run = Run(
            batches=batches,
            epoch=self._epochs,
            batch=batch,
            steps=steps,
            first_step=self._steps,
            rates=rates,
            counts=self._counts,
            interrupt=interrupt,
            observer=seen,
        )
        record = Record.empty(run.epochs_touched, len(self._plan.parameters), steps)
        if unfinished is not None:
            record.go_on_from(unfinished)
        try:
            self._executor.run(run, record)
        except BaseException as error:
            record.raised = error
        self._steps += record.steps_done
        return record

    def _raise_if_diverged(self, record: Record, history: History | None) -> None:
        if record.diverged_at is None:
            return
        epoch, step, layer = self.epochs + 1, self.steps + 1, record.diverged_at or None
        where = f"in {layer!r}" if layer else "in the loss"
        clip = "" if self.plan.clip else ", clip gradients (clip=ClipNorm(1.0))"
        error = DivergenceError(
            f"training diverged: a value {where} is not finite at step {step} (epoch {epoch}); "
            "the update of that step was not made. "
            f"Lower the learning rate{clip} or scale the data",
            epoch=epoch,
            step=step,
            layer=layer,
        )
        error.history = history
        if history is not None:
            history._stopped = f"diverged at step {step}"
        raise error


def _interrupted_at(step: int, *, made: bool) -> TrainingInterrupted:
    return TrainingInterrupted(f"training interrupted {'after' if made else 'before'} step {step}")


def check_on_interrupt(value: str) -> None:
    """Raise where it is none of what may happen after Ctrl-C."""
    check_choice("on_interrupt", value, "raise", "return")


def check_on_divergence(value: str) -> None:
    """Raise where it is none of what may happen after a divergence."""
    check_choice("on_divergence", value, "raise", "restore")
