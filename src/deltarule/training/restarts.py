"""Training from several initialisations; the best is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deltarule.base.cores import cores
from deltarule.base.errors import InvalidValueError
from deltarule.base.random import Purpose, check_seed, words
from deltarule.base.settings import check_flag, check_integer
from deltarule.base.words import helpful
from deltarule.data.frames import names_of
from deltarule.network.network import Network
from deltarule.plan import ClipLike, ConstraintLike, LossLike, OptimizerLike, PenaltyLike
from deltarule.training.callbacks import Callback, check_callbacks
from deltarule.training.checkpoints import Checkpoint
from deltarule.training.columns import column_names
from deltarule.training.contest import Contest, Restarts
from deltarule.training.progress import SharedProgress
from deltarule.training.trainer import Trainer, check_on_divergence, check_on_interrupt
from deltarule.training.watching import Monitor, check_best_is, is_of_network


@helpful
def restart(
    network: Network,
    X: Any,
    y: Any,
    *,
    restarts: int = 16,
    keep: int = 1,
    halving: bool = False,
    monitor: str | None = None,
    best_is: str | None = None,
    loss: LossLike,
    optimizer: OptimizerLike = "adam",
    epochs: int = 10,
    batch_size: int | None = 32,
    drop_last: bool = False,
    shuffle: Any = True,
    validation: Any = None,
    metrics: Iterable[Any] | None = (),
    penalty: PenaltyLike = None,
    constraint: ConstraintLike = None,
    clip: ClipLike = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    callbacks: Sequence[Callback] | None = None,
    seed: int = 0,
    threads: int | None = None,
    precision: str | None = None,
    engine: str = "auto",
    progress: bool | str = "auto",
    on_interrupt: str = "raise",
    on_divergence: str = "raise",
) -> Restarts:
    """Train a network from several initialisations at once and keep the best of them.

    The loss of a network with hidden layers has local minima, and the initial weights decide in
    which one training ends. Restart 0 starts from the network's current parameters; restart ``i``
    starts from those of ``seeds[i] = word(seed, RESTART, i)`` (see :mod:`deltarule.base.random`).
    Everything else is the same: the order of the rows, the dropout masks and the validation rows
    are those of ``seed``. So for any ``threads`` and ``restarts``, restart ``i`` is identical to ::

        train(network.copy().initialize(seeds[i]), X, y, ..., seed=seed)

    and ``restarts=1`` is :func:`train`.

    Parameters
    ----------
    network : Network
        Receives the parameters, running statistics and ``seed`` of the best restart at the end.
        Frozen parameters are the same in every restart.
    X, y
        As in :func:`train`.
    restarts : int
    keep : int
        So many of the best networks are returned; :class:`Ensemble` averages them.
    halving : bool
        Successive halving: after an eighth of the epochs, a quarter and a half, the worse half of
        the restarts is left out (of 16; of fewer, less often). Those that go on are as they would
        be otherwise. 16 restarts then do 5/16 of the work. One that learns late may be lost.
    monitor : str, optional
        The loss or metric that decides, by its column's name; by default "val_loss" where there is
        a validation set, otherwise "loss". It is measured on the network as a restart leaves it (as
        :func:`evaluate` does), on the validation data for "val_...", otherwise on the training
        data. Of equal values the first is the best.
    best_is : "min", "max" or None
        None uses the metric's own direction, lower for losses. Metrics of your own need it.
    threads : int, optional
        How many restarts run at a time, each on one thread; by default one per core that
        this process may use (as in :func:`train`). In the reference engine, whose BLAS has threads
        of its own, by default one.
    callbacks : list of Callback, optional
        Every restart gets deep copies of its own; those passed are not changed. Callbacks, and
        metrics of your own, are called from several threads.
    progress : "auto", True or False
        One line for all restarts.
    on_interrupt : "raise" or "return"
        As in :func:`train`; TrainingInterrupted has the result so far as ``restarts``.
    loss, optimizer, epochs, batch_size, drop_last, shuffle, validation, metrics, penalty,
    constraint, clip, sample_weight, class_weight, seed, precision, engine, on_divergence
        As in :func:`train`.

    Returns
    -------
    Restarts
        Histories, scores and seeds of all; the number of the best. Of the networks only the
        ``keep`` best are kept.

    Raises
    ------
    ValueError, TypeError
        Bad input, or a callback that cannot be copied; the network is unchanged.
    DivergenceError
        Every restart diverged (a single one just cannot win); the network is unchanged.
    TrainingInterrupted
        Ctrl-C was pressed; the network is the best so far.

    Notes
    -----
    Ctrl-C ends all restarts after their current steps, and the network gets the best parameters so
    far. TrainingInterrupted is raised; its ``restarts`` is the result, with
    ``stopped == "interrupted"``. With ``on_interrupt="return"`` that is returned. An exception in a
    callback or metric ends all restarts too, and is raised; so is a score that is NaN. With
    ``halving`` every restart has a thread, of which at most ``threads`` run at a time.

    Source of successive halving: Jamieson and Talwalkar, "Non-stochastic best arm identification
    and hyperparameter optimization" (2016).

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> y = np.array([0, 1, 1, 0])
    >>> net = dr.Network([dr.Dense(2, "tanh"), dr.Dense(1, "sigmoid")], inputs=2, seed=1)
    >>> found = dr.restart(net, X, y, restarts=8, loss="binary_cross_entropy",
    ...                    optimizer=dr.Adam(0.1), epochs=200, batch_size=None)
    >>> found.scores[found.best] == min(found.scores)
    True
    >>> net.predict(X).round().ravel().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    count = check_integer("restarts", restarts)
    check_integer("keep", keep)
    check_flag("halving", halving)
    check_integer("epochs", epochs)
    check_best_is("best_is", best_is)
    check_on_interrupt(on_interrupt)
    check_on_divergence(on_divergence)
    if threads is not None:
        check_integer("threads", threads)
    hooks = check_callbacks(callbacks)
    if any(isinstance(hook, Checkpoint) for hook in hooks):
        raise InvalidValueError(
            "callbacks: a folder of checkpoints holds one run, and here are many; leave Checkpoint "
            "out (each restart can be repeated alone from its seed)"
        )
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
        threads=1,
        precision=precision,
        engine=engine,
    )
    if monitor is None:
        monitor = "loss" if validation is None else "val_loss"
    watch = Monitor(monitor, best_is=best_is)
    watch.check(column_names(trainer.plan, trainer.metrics, validation is not None))
    if not is_of_network(monitor):
        raise InvalidValueError(
            f"monitor: {monitor!r} belongs to the steps of an epoch, not to a network that could "
            "be the best; choose a loss or metric"
        )
    names = network.feature_names or names_of(X)
    contest = Contest(
        trainer,
        restart_seeds(network, check_seed(seed), count),
        hooks,
        watch,
        SharedProgress(progress, count, epochs),
        {
            # Bad data raise an error here; a data frame becomes an array only once.
            "X": trainer.plan.expected.examples(X, y, sample_weight, names=names).X,
            "y": y,
            "epochs": epochs,
            "batch_size": batch_size,
            "drop_last": drop_last,
            "shuffle": shuffle,
            "restores": on_divergence == "restore",
            "validation": validation,
            "sample_weight": sample_weight,
        },
        names,
        keep,
        halving,
    )
    if threads is None:
        # The reference engine's BLAS already has a thread per core; several restarts would compete.
        threads = cores() if trainer.engine.name == "native" else 1
    return contest.run(min(count, threads), raises=on_interrupt == "raise")


def restart_seeds(network: Network, seed: int, count: int) -> tuple[int, ...]:
    """Return the seeds of the initial parameters: the network's own, then one word each."""
    drawn = words(seed, Purpose.RESTART, rows=count, columns=1)[1:, 0]
    return (network.seed, *drawn.tolist())
