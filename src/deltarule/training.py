"""Training: the loop over epochs, and what is reported of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deltarule.callbacks import Callback, State, check_callbacks
from deltarule.data import Dataset, class_weights, split_rows
from deltarule.engines import Record, Run, select_engine
from deltarule.engines.protocol import steps_per_epoch
from deltarule.errors import DivergenceError, InvalidTypeError, InvalidValueError, describe_value
from deltarule.evaluation import (
    check_fit,
    evaluate_dataset,
    measure,
    resolve_metrics,
    with_penalty,
)
from deltarule.history import History
from deltarule.interrupt import Interrupt, deferred_interrupt
from deltarule.losses import Loss
from deltarule.network import Network
from deltarule.optimizers import Optimizer
from deltarule.plan import (
    ClipLike,
    ConstraintLike,
    LossLike,
    OptimizerLike,
    PenaltyLike,
    compile_network,
)
from deltarule.progress import Progress
from deltarule.random import check_seed
from deltarule.schedules import Schedule
from deltarule.settings import check_integer
from deltarule.types import Array

_log = logging.getLogger("deltarule")

_SECONDS_PER_CALL = 0.25
"""About how long one call of an engine lasts where nothing in Python is due after each epoch."""
_STEPS_PER_CALL = 1 << 16
"""At most so many steps in such a call."""


def train(
    network: Network,
    X: Any,
    y: Any,
    *,
    loss: LossLike,
    optimizer: OptimizerLike = "adam",
    epochs: int = 10,
    batch_size: int | None = 32,
    drop_last: bool = False,
    shuffle: Any = True,
    validation: Any = None,
    metrics: Iterable[Any] = (),
    penalty: PenaltyLike = None,
    constraint: ConstraintLike = None,
    clip: ClipLike = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    callbacks: Sequence[Callback] | None = None,
    seed: int = 0,
    threads: int | None = None,
    engine: str = "auto",
    progress: bool | str = "auto",
) -> History:
    """Train a network in place by backpropagation and return what happened.

    Parameters
    ----------
    network : Network
    X : array or data frame (n, inputs)
        Finite numbers; any numeric dtype, converted batch by batch.
    y : array or data frame
        Targets (n, outputs), or (n,): for one output, or class labels 0, 1, ... (CrossEntropy).
    loss : name or Loss
    optimizer : name or Optimizer
        For instance ``Adam(learning_rate=Cosine(1e-3))``. Its state begins anew; for state that
        outlives a call use :class:`Trainer`.
    epochs : int
        Passes over the data.
    batch_size : int or None
        Rows per step: 1 is per-example descent, None (or n) full-batch descent.
    drop_last : bool
        Whether a last batch that is smaller is left out.
    shuffle : bool or array of int (n,)
        Whether every epoch has a random order of its own; or one order, a permutation of all rows.
    validation : (X, y), (X, y, weights) or a fraction, optional
        Evaluated after each epoch into columns "val_...". A fraction is drawn at random and taken
        out of the training data, for class labels from every class alike.
    metrics : list of names, metrics or functions ``(y, a, w) -> number``
        Of training data as seen during the epoch (each batch before its step), and of validation
        data.
    penalty, constraint, clip
        For instance ``L2(1e-4)``, ``MaxNorm(3)``, ``ClipNorm(1.0)``; a layer's own penalty or
        constraint wins.
    sample_weight : array (n,), optional
        Weights >= 0. A batch of total weight 0 changes nothing.
    class_weight : mapping class -> weight, sequence, "balanced", optional
        Multiplies the sample weights of the training data.
    callbacks : list of Callback, optional
    seed : int
        Of shuffles, dropout masks and the validation fraction.
    threads : int, optional
        How many threads an engine may use; by default all cores it gains from.
    engine : "auto", "native" or "reference"
    progress : "auto", True or False
        "auto" shows progress on standard error once a run has lasted a second.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        Bad input: nothing has been changed.
    DivergenceError
        The loss or a gradient was not finite; the network keeps its parameters from before that
        step (or the best ones, under EarlyStopping).

    Notes
    -----
    Ctrl-C ends the run after the step in progress: the network keeps all it has learnt, the history
    says ``stopped == "interrupted"``, and the call returns as usual.

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> net = dr.Network([dr.Dense(8, "tanh"), dr.Dense(1, "sigmoid")], inputs=2, seed=1)
    >>> history = dr.train(net, X, y, loss="binary_cross_entropy", optimizer=dr.Adam(0.1),
    ...                    epochs=200, batch_size=None, metrics=["accuracy"])
    >>> history["accuracy"][-1]
    1.0
    """
    trainer = Trainer(
        network,
        loss,
        optimizer,
        penalty=penalty,
        constraint=constraint,
        clip=clip,
        metrics=metrics,
        class_weight=class_weight,
        seed=seed,
        threads=threads,
        engine=engine,
    )
    return trainer.run(
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
    )


class Trainer:
    """A network with a loss and an optimizer whose state outlives a single call.

    Parameters are those of :func:`train`. A schedule without a length spans all steps from the
    trainer's first to the last one of the current :meth:`run`.

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
        self.network = network
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
        self._compile()
        self.epochs = 0
        self.steps = 0

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
            self._executor.moments[...] = moments

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
        data = self._training_data(X, y, sample_weight)
        self._check_batches(len(data), len(data), False)
        rates = self._rates(1, self.steps + 1, 1)
        record = self._executor.run(self._call(data, 1, len(data), rates, Interrupt()))
        self._raise_if_diverged(record, None)
        self.steps += record.steps_done
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
        progress: bool | str = "auto",
    ) -> History:
        """Train for some epochs and return what happened; parameters as in :func:`train`."""
        self._follow_factors()
        check_integer("epochs", epochs)
        hooks = check_callbacks(callbacks)
        display = Progress(progress, epochs)
        data, held_out = self._split(self._training_data(X, y, sample_weight), validation)
        n = len(data)
        size = n if batch_size is None else min(check_integer("batch_size", batch_size), n)
        order = _check_shuffle(shuffle, n)
        self._check_batches(n, size, drop_last)
        for part in (data, held_out):
            if part is not None:
                check_fit(self.plan, part, self._metrics)
        per_epoch = steps_per_epoch(n, size, drop_last)
        total = self.steps + epochs * per_epoch

        # Where something in Python is due after each epoch, a call of the engine is one epoch.
        # Otherwise calls grow until they last long enough for their own cost not to count.
        each_epoch = bool(hooks or self._metrics or held_out)
        largest_call = 1 if each_epoch else max(1, _STEPS_PER_CALL // per_epoch)
        epochs_per_call = 1

        outputs = None
        if self._metrics:
            outputs = np.empty((n, self.plan.outputs), dtype=self.plan.dtype)
        history = History(self.engine.describe())
        names = self._column_names(held_out is not None)
        state = State(self.network, history, names, epochs, rate_factor=self._rate_factor)
        start = time.perf_counter()
        for hook in hooks:
            hook.on_start(state)
        try:
            with deferred_interrupt() as interrupt:
                while history.epochs < epochs and not state.stop:
                    count = min(epochs_per_call, largest_call, epochs - history.epochs)
                    rates = self._rates(count * per_epoch, total, per_epoch)
                    if outputs is not None:
                        outputs.fill(np.nan)
                    called = time.perf_counter()
                    record = self._executor.run(
                        self._call(data, count, size, rates, interrupt, drop_last, order, outputs)
                    )
                    if time.perf_counter() - called < _SECONDS_PER_CALL:
                        epochs_per_call *= 2
                    if record.epochs_done:
                        columns = self._losses(record)
                        if outputs is not None:
                            columns |= self._seen(data, outputs)
                        if held_out is not None:
                            columns |= self._validate(held_out)
                        columns |= self._health(record, rates, per_epoch)
                        history.extend(record.epochs_done, columns)
                    history.steps += record.steps_done
                    history.seconds = time.perf_counter() - start
                    self.epochs += record.epochs_done
                    self.steps += record.steps_done
                    self._raise_if_diverged(record, history)
                    if record.interrupted:
                        state.stop = "interrupted"
                        break
                    state.epoch = history.epochs
                    for hook in hooks:
                        hook.on_epoch(state)
                    self._rate_factor = state.rate_factor
                    display.show(history)
        finally:
            history.stopped = state.stop
            for hook in hooks:
                hook.on_end(state)
            history.seconds = time.perf_counter() - start
            display.show(history, final=True)
        if state.stop == "interrupted":
            _log.warning(
                "training interrupted after %d steps; the network keeps what it has learnt",
                history.steps,
            )
        return history

    @property
    def _schedule(self) -> Schedule:
        assert isinstance(self._optimizer.learning_rate, Schedule)
        return self._optimizer.learning_rate

    def _rates(self, steps: int, total: int, per_epoch: int) -> Array:
        """Return the learning rates of the next steps."""
        return self._rate_factor * self._schedule.table(self.steps, steps, total, per_epoch)

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
        raise error

    def _losses(self, record: Record) -> dict[str, Array]:
        """Return the losses of the finished epochs."""
        done = slice(0, record.epochs_done)
        data_loss, weight = record.loss_sum[done], record.weight_sum[done]
        if self._loss.reduction == "mean":
            data_loss = np.divide(data_loss, weight, out=np.zeros_like(weight), where=weight > 0)
        penalty = record.penalty_sum[done] / np.maximum(record.epoch_steps[done], 1)
        return with_penalty(self.plan, data_loss, penalty)

    def _health(self, record: Record, rates: Array, per_epoch: int) -> dict[str, Array]:
        """Return the learning rates and gradient norms of the finished epochs."""
        done = slice(0, record.epochs_done)
        steps = np.maximum(record.epoch_steps[done], 1)
        norms = np.sqrt(record.gradient_squares[done] / steps[:, None])
        return {"learning_rate": rates[per_epoch - 1 :: per_epoch][done]} | {
            f"gradient_norm.{segment.name}": norms[:, i]
            for i, segment in enumerate(self.plan.parameters)
        }

    def _column_names(self, validation: bool) -> tuple[str, ...]:
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

    def _training_data(self, X: Any, y: Any, sample_weight: Any) -> Dataset:
        data = self.plan.examples(X, y, sample_weight)
        by_class = class_weights(self._class_weight, data.y, self.plan.outputs)
        if by_class is None:
            return data
        return Dataset(data.X, data.y, by_class * (1 if data.weights is None else data.weights))

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
            return data, self.plan.examples(X, y, weights[0] if weights else None)
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
        return data.take(kept), data.take(held)

    def _check_batches(self, n: int, size: int, drop_last: bool) -> None:
        if not self.plan.batch_norms:
            return
        smallest = size if drop_last or n % size == 0 else n % size
        if smallest < 2:
            raise InvalidValueError(
                f"BatchNorm needs at least 2 rows in every batch; {n} rows in batches of {size} "
                f"leave one of {smallest}: use drop_last=True or another batch_size"
            )


def _check_shuffle(shuffle: Any, n: int) -> bool | Array:
    if isinstance(shuffle, (bool, np.bool_)):
        return bool(shuffle)
    order = np.asarray(shuffle)
    if order.shape != (n,) or not np.array_equal(np.sort(order), np.arange(n)):
        raise InvalidValueError(
            f"shuffle must be True, False or a permutation of the {n} training rows, got "
            f"{describe_value(shuffle)}"
        )
    return order.astype(np.int64)
