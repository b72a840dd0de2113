"""The trainer: the loop over epochs, and what is reported of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deltarule.base.errors import (
    DivergenceError,
    InvalidTypeError,
    InvalidValueError,
    describe_value,
)
from deltarule.base.interrupt import Interrupt, deferred_interrupt
from deltarule.base.random import check_seed
from deltarule.base.settings import check_flag, check_integer, check_number
from deltarule.base.types import Array
from deltarule.data import Dataset, check_some_weight, class_weights, numeric, split_rows
from deltarule.engines import Executor, Record, Run, select_engine
from deltarule.engines.protocol import steps_per_epoch
from deltarule.formulas.losses import Loss
from deltarule.formulas.optimizers import Optimizer
from deltarule.formulas.schedules import Schedule
from deltarule.network.network import Network
from deltarule.plan import (
    ClipLike,
    ConstraintLike,
    LossLike,
    OptimizerLike,
    PenaltyLike,
    compile_network,
)
from deltarule.training.callbacks import Callback, State, check_callbacks
from deltarule.training.evaluation import (
    check_fit,
    evaluate_dataset,
    measure,
    resolve_metrics,
    with_penalty,
)
from deltarule.training.history import History
from deltarule.training.progress import Display, Progress

_log = logging.getLogger("deltarule")

_SECONDS_PER_CALL = 0.25
"""About how long one call of an engine lasts where nothing in Python is due after each epoch."""
_LARGEST_GROWTH = 64
"""At most so many times as long is each such call as the one before."""
_STEPS_PER_CALL = 1 << 13
"""At most so many steps in such a call: its tables stay in the cache."""
_TINY = np.finfo(np.float64).tiny
"""Below every sum of weights that is not 0."""


class Trainer:
    """A network with a loss and an optimizer whose state outlives a single call.

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

    def __init__(
        self,
        network: Network,
        loss: LossLike,
        optimizer: OptimizerLike = "adam",
        *,
        penalty: PenaltyLike = None,
        constraint: ConstraintLike = None,
        clip: ClipLike = None,
        metrics: Iterable[Any] = (),
        class_weight: Any = None,
        seed: int = 0,
        threads: int | None = None,
        engine: str = "auto",
    ) -> None:
        if not isinstance(network, Network):
            raise InvalidTypeError(f"expected a deltarule.Network, got {describe_value(network)}")
        self._network = network
        self._loss = Loss.resolve(loss)
        self._optimizer = Optimizer.resolve(optimizer)
        self._settings: dict[str, Any] = {
            "penalty": penalty,
            "constraint": constraint,
            "clip": clip,
        }
        self._metrics = resolve_metrics(metrics)
        self._class_weight = class_weight
        self._seed = check_seed(seed)
        if threads is not None:
            check_integer("threads", threads)
        self._engine_name, self._threads = engine, threads
        self._rate_factor = 1.0
        self._factors: dict[str, float] = {}
        self._executor: Executor
        self._compile()
        self.epochs = 0
        self.steps = 0

    def __getstate__(self) -> dict[str, Any]:
        # The executor holds views into the network's vector: a copy makes its own.
        own = ("plan", "engine", "_executor")
        state = {name: value for name, value in self.__dict__.items() if name not in own}
        return state | {"_moments": np.array(self._executor.moments)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        moments = state.pop("_moments")
        self.__dict__.update(state)
        self._compile()
        self._executor.moments = moments

    @property
    def network(self) -> Network:
        """The network that is trained."""
        return self._network

    def _compile(self) -> None:
        """Make the plan of the network as it is now, and what executes it."""
        self._factors = self.network.learning_rate_factors
        self.plan = compile_network(
            self.network, loss=self._loss, optimizer=self._optimizer, **self._settings
        )
        self.engine = select_engine(self._engine_name, self.plan)
        self._executor = self.engine.executor(self.plan, self.network, threads=self._threads)

    def _follow_factors(self) -> None:
        """Make a new plan where parameters were frozen or freed since; the state stays."""
        if self.network.learning_rate_factors != self._factors:
            moments = self._executor.moments
            self._compile()
            self._executor.moments = moments

    def step(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Do one step on one batch; return its loss (data loss plus penalty) before the step.

        Raises
        ------
        ValueError, TypeError
            Bad input: nothing has been changed.
        DivergenceError
            The loss or a gradient is not finite: the network is as before.
        """
        if self._schedule.spans_run:
            raise InvalidValueError(
                f"{type(self._schedule).__name__} spans the whole run, and step() cannot know how "
                "long that is; give the schedule a length"
            )
        self._follow_factors()
        data = self._with_class_weights(self.plan.examples(X, y, sample_weight))
        self._check_batches(len(data), len(data), False)
        rates = self._rates(1, 1, 1)
        call = self._call(data, 1, len(data), rates, Interrupt())
        with deferred_interrupt() as interrupt:
            record = self._executor.run(call)
            self.steps += record.steps_done
        if interrupt.requested:
            raise KeyboardInterrupt
        self._raise_if_diverged(record, None)
        return float(self._losses(record)["loss"][0])

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
    ) -> History:
        """Train for some epochs and return what happened; see :func:`deltarule.train`."""
        self._follow_factors()
        check_integer("epochs", epochs)
        check_flag("drop_last", drop_last)
        hooks = check_callbacks(callbacks)
        display = progress if isinstance(progress, Display) else Progress(progress, epochs)
        data, held_out = self._split(self.plan.examples(X, y, sample_weight), validation)
        data = self._with_class_weights(data)
        n = len(data)
        size = n if batch_size is None else min(check_integer("batch_size", batch_size), n)
        order = _check_shuffle(shuffle, n)
        self._check_batches(n, size, drop_last)
        for part in (data, held_out):
            if part is not None:
                check_fit(self.plan, part, self._metrics)
        per_epoch = steps_per_epoch(n, size, drop_last)

        # Where something in Python is due after each epoch, a call of the engine is one epoch.
        # Otherwise calls grow until they last long enough for their own cost not to count.
        each_epoch = bool(hooks or self._metrics or held_out)
        largest_call = 1 if each_epoch else max(1, _STEPS_PER_CALL // per_epoch)
        epochs_per_call = 1

        outputs = None
        if self._metrics:
            outputs = np.empty((n, self.plan.outputs), dtype=self.plan.dtype)
        self._rate_factor = 1.0
        history = History(self.engine.describe())
        names = self.column_names(held_out is not None)
        state = State(self.network, history, names, epochs, rate_factor=self._rate_factor)
        start = time.perf_counter()
        try:
            for hook in hooks:
                hook.on_start(state)
            with deferred_interrupt() as interrupt:
                while history.epochs < epochs and not state.stop:
                    self._follow_factors()
                    count = min(epochs_per_call, epochs - history.epochs)
                    rates = self._rates(count, per_epoch, epochs - history.epochs)
                    if outputs is not None:
                        outputs.fill(np.nan)
                    called = time.perf_counter()
                    record = self._executor.run(
                        self._call(data, count, size, rates, interrupt, drop_last, order, outputs)
                    )
                    self.epochs += record.epochs_done
                    self.steps += record.steps_done
                    history.steps += record.steps_done
                    room = _SECONDS_PER_CALL / (time.perf_counter() - called)
                    longer = int(count * min(room, _LARGEST_GROWTH))
                    epochs_per_call = max(1, min(longer, largest_call))
                    if record.epochs_done:
                        columns = self._losses(record)
                        if outputs is not None:
                            columns |= self._seen(data, outputs)
                        if held_out is not None:
                            columns |= self._validate(held_out)
                        columns |= self._health(record, rates, per_epoch)
                        history.extend(record.epochs_done, columns)
                    history.seconds = time.perf_counter() - start
                    self._raise_if_diverged(record, history)
                    if record.epochs_done:
                        state.epoch = history.epochs
                        for hook in hooks:
                            hook.on_epoch(state)
                        self._rate_factor = check_number(
                            "state.rate_factor", state.rate_factor, at_least=0
                        )
                        display.show(history)
                    if interrupt.requested:
                        state.stop = "interrupted"
        finally:
            history.stopped = history.stopped or str(state.stop)
            failures = _end(hooks, state)
            history.seconds = time.perf_counter() - start
            display.show(history, final=True)
        if failures:
            raise failures[0]
        if state.stop == "interrupted" and not interrupt.shared:
            _log.warning(
                "training interrupted after %d steps; the network keeps what it has learnt",
                history.steps,
            )
        return history

    @property
    def _schedule(self) -> Schedule:
        assert isinstance(self._optimizer.learning_rate, Schedule)
        return self._optimizer.learning_rate

    def _rates(self, epochs: int, per_epoch: int, epochs_left: int) -> Array:
        """Return the learning rate of each step of the next epochs."""
        if self._schedule.unit == "epoch":
            t, total = np.arange(self.epochs, self.epochs + epochs), self.epochs + epochs_left
            rates = self._schedule.table(t, total).repeat(per_epoch)
        else:
            t = np.arange(self.steps, self.steps + epochs * per_epoch)
            rates = self._schedule.table(t, self.steps + epochs_left * per_epoch)
        return self._rate_factor * rates

    def _call(
        self,
        data: Dataset,
        epochs: int,
        batch_size: int,
        rates: Array,
        interrupt: Interrupt,
        drop_last: bool = False,
        shuffle: bool | Array = False,
        outputs: Array | None = None,
    ) -> Run:
        t = np.arange(self.steps + 1, self.steps + 1 + len(rates), dtype=np.float64)
        return Run(
            data=data,
            batch_size=batch_size,
            drop_last=drop_last,
            shuffle=shuffle,
            seed=self._seed,
            first_epoch=self.epochs,
            first_step=self.steps,
            epochs=epochs,
            rows=self._optimizer.rows(t, rates),
            interrupt=interrupt,
            outputs=outputs,
        )

    def _raise_if_diverged(self, record: Record, history: History | None) -> None:
        if record.diverged_at is None:
            return
        epoch, step, layer = self.epochs + 1, self.steps + 1, record.diverged_at or None
        where = f"in {layer!r}" if layer else "in the loss"
        error = DivergenceError(
            f"training diverged: a value {where} is not finite at step {step} (epoch {epoch}); "
            "the update of that step was not made. Lower the learning rate, clip gradients "
            "(clip=ClipNorm(1.0)) or scale the data",
            epoch=epoch,
            step=step,
            layer=layer,
        )
        error.history = history
        if history is not None:
            history.stopped = f"diverged at step {step}"
        raise error

    def _losses(self, record: Record) -> dict[str, Array]:
        """Return the losses of the finished epochs."""
        done = slice(0, record.epochs_done)
        data_loss, weight = record.loss_sum[done], record.weight_sum[done]
        if self._loss.reduction == "mean":
            data_loss = data_loss / np.maximum(weight, _TINY)  # 0 where nothing had weight
        penalty = record.penalty_sum[done] / np.maximum(record.epoch_steps[done], 1)
        return with_penalty(self.plan, data_loss, penalty)

    def _health(self, record: Record, rates: Array, per_epoch: int) -> dict[str, Array]:
        """Return the learning rates and gradient norms of the finished epochs."""
        done = slice(0, record.epochs_done)
        squares = record.gradient_squares[done].T  # (parameters, epochs), as the columns need it
        norms = np.empty(squares.shape)
        np.divide(squares, np.maximum(record.epoch_steps[done], 1), out=norms)
        np.sqrt(norms, out=norms)
        return {"learning_rate": rates[per_epoch - 1 :: per_epoch][done]} | {
            f"gradient_norm.{segment.name}": norm
            for segment, norm in zip(self.plan.parameters, norms, strict=True)
        }

    def column_names(self, validation: bool) -> tuple[str, ...]:
        """Return the names of the columns that a run's history has."""
        measured = (*with_penalty(self.plan, 0.0, 0.0), *self._metrics)
        held_out = tuple(f"val_{name}" for name in measured) if validation else ()
        norms = tuple(f"gradient_norm.{segment.name}" for segment in self.plan.parameters)
        return (*measured, *held_out, "learning_rate", *norms)

    def _seen(self, data: Dataset, outputs: Array) -> dict[str, Array]:
        """Return the metrics of the rows that took part in an epoch."""
        seen = np.flatnonzero(~np.isnan(outputs[:, 0]))
        if len(seen) < len(data):
            data, outputs = data.take(seen), outputs[seen]
        values = measure(self.plan, self._metrics, data, outputs)
        return {name: np.array([value]) for name, value in values.items()}

    def _validate(self, held_out: Dataset) -> dict[str, Array]:
        values = evaluate_dataset(
            self.plan, self._executor, self.network.vector, held_out, self._metrics
        )
        return {f"val_{name}": np.array([value]) for name, value in values.items()}

    def _with_class_weights(self, data: Dataset) -> Dataset:
        if self._class_weight is not None and not self._loss.classifies:
            raise InvalidValueError(
                f"class_weight needs a loss of classes, {self._loss.name} is none; "
                "use sample_weight"
            )
        by_class = class_weights(self._class_weight, data.y, self.plan.outputs)
        if by_class is None:
            return data
        weights = by_class if data.weights is None else by_class * data.weights
        check_some_weight(weights, "(class times sample weights)")
        return Dataset(data.X, data.y, weights)

    def _split(self, data: Dataset, validation: Any) -> tuple[Dataset, Dataset | None]:
        """Return training and validation data."""
        if validation is None:
            return data, None
        if isinstance(validation, (tuple, list)):
            if len(validation) not in (2, 3):
                raise InvalidValueError(
                    f"validation must be (X, y) or (X, y, weights), got {len(validation)} items"
                )
            X, y, *weights = validation
            weight = weights[0] if weights else None
            return data, self.plan.examples(X, y, weight, what="validation ")
        if isinstance(validation, bool) or not isinstance(validation, (float, np.floating)):
            raise InvalidTypeError(
                "validation must be (X, y), (X, y, weights) or a fraction such as 0.2, got "
                f"{describe_value(validation)}"
            )
        labels = data.y if self._loss.classifies and data.y.size == len(data) else None
        kept, held = split_rows(
            len(data),
            float(validation),
            None if labels is None else labels.ravel(),
            seed=self._seed,
        )
        parts = data.take(kept), data.take(held)
        check_some_weight(parts[0].weights, "in the training part")
        check_some_weight(parts[1].weights, "in the validation part")
        return parts

    def _check_batches(self, n: int, size: int, drop_last: bool) -> None:
        if not self.plan.batch_norms:
            return
        smallest = size if drop_last or n % size == 0 else n % size
        if smallest < 2:
            mend = "a larger batch_size" if size < 2 else "drop_last=True or another batch_size"
            raise InvalidValueError(
                f"BatchNorm needs at least 2 rows in every batch; {n} rows in batches of {size} "
                f"leave one of {smallest}: use {mend}, or freeze the BatchNorm"
            )


def _end(hooks: Sequence[Callback], state: State) -> list[Exception]:
    """Let every callback end, whatever the others do; return what they raised."""
    failures: list[Exception] = []
    for hook in hooks:
        try:
            hook.on_end(state)
        except Exception as error:
            _log.exception("%s.on_end failed", type(hook).__name__)
            failures.append(error)
    return failures


def _check_shuffle(shuffle: Any, n: int) -> bool | Array:
    if isinstance(shuffle, (bool, np.bool_)):
        return bool(shuffle)
    if isinstance(shuffle, str):
        raise InvalidValueError(f"shuffle must be True, False or an order, got {shuffle!r}")
    order = numeric(shuffle, "shuffle", hint="")
    if order.shape != (n,) or not np.array_equal(np.sort(order), np.arange(n)):
        raise InvalidValueError(
            f"shuffle must be True, False or a permutation of the {n} training rows (those that a "
            f"validation fraction leaves), got {describe_value(shuffle)}"
        )
    return order.astype(np.int64)
