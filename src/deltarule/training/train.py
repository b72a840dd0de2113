"""Training in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deltarule.base.words import helpful
from deltarule.network.network import Network
from deltarule.plan import ClipLike, ConstraintLike, LossLike, OptimizerLike, PenaltyLike
from deltarule.training.callbacks import Callback
from deltarule.training.history import History
from deltarule.training.trainer import Trainer


@helpful
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
) -> History:
    """Train a network in place by backpropagation and return the history.

    Parameters
    ----------
    network : Network
    X : array or data frame (n, inputs)
        Finite numbers; any numeric dtype, converted batch by batch.
    y : array or data frame
        Targets (n, outputs), or (n,): for one output, or class labels 0, 1, ... (CrossEntropy).
    loss : name or Loss
    optimizer : name or Optimizer
        For instance ``Adam(learning_rate=Cosine(1e-3))``. Its state starts anew in each call; to
        keep it from call to call, use :class:`Trainer`. LevenbergMarquardt,
        BayesianRegularization and LBFGS take all rows in each step, and need ``batch_size=None``.
    epochs : int
        Passes over the data.
    batch_size : int or None
        Rows per step: 1 is per-example descent, None (or n) full-batch descent.
    drop_last : bool
        Whether a last batch that is smaller is left out.
    shuffle : bool or array of int (n,)
        Whether every epoch uses a new random order; or one fixed order, a permutation of the
        training rows (without those of a validation fraction).
    validation : (X, y), (X, y, weights) or a fraction, optional
        Evaluated after each epoch; the results are the columns "val_...". A fraction is drawn at
        random from the training data and set aside; with class labels, from each class alike.
    metrics : list of names, metrics or functions ``(y, a, w) -> number``
        Measured on the training data during the epoch (each batch before its step) and on the
        validation data after it.
    penalty, constraint, clip
        For instance ``L2(1e-4)``, ``MaxNorm(3)``, ``ClipNorm(1.0)``; a layer's own penalty or
        constraint replaces it.
    sample_weight : array (n,) or (n, outputs), optional
        Weights >= 0, of each row or of each output; a target of weight 0 may be NaN, so
        ``np.isfinite(y)`` trains on what is known. A batch whose weights are all 0 changes neither
        parameters nor state, but counts as a step.
    class_weight : mapping class -> weight, sequence, "balanced", optional
        Multiplies the sample weights of the training data.
    callbacks : list of Callback, optional
    seed : int
        Seed of the shuffles, the dropout masks and the validation fraction.
    threads : int, optional
        The largest number of threads; by default as many of the cores that this process may use
        as speed up this network: those of its affinity, of its container's quota, of
        ``OMP_NUM_THREADS``. Results of the native engine are identical for any number.
    precision : None, "float32", "float64" or "bfloat16"
        None computes in the network's dtype. With "bfloat16", for float32 networks, the products of
        dense layers read numbers rounded to bfloat16 (8 significant bits) in training; sums,
        parameters, the optimizer's state and everything else stay float32. Processors with
        AVX512_BF16 do two such multiplications in the time of one; elsewhere it is slower, with the
        same results. Validation and prediction compute in float32.
    engine : "auto", "native" or "reference"
    progress : "auto", True or False
        "auto" shows progress on standard error once a run has lasted a second: a bar on a terminal
        or in a notebook, a few lines elsewhere. Where it cannot be shown, the run goes on.
    on_interrupt : "raise" or "return"
        Whether Ctrl-C raises TrainingInterrupted after the step in progress, or the call returns
        the history as usual.
    on_divergence : "raise" or "restore"
        Whether a loss or gradient that is not finite raises DivergenceError, or the epoch is done
        anew at half the learning rate, from the parameters where the epoch with the lowest loss
        began; at most 8 times. ``history.restored`` tells of it, and a warning is logged.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        Bad input; nothing has been changed.
    DivergenceError
        The loss or a gradient was not finite. The network keeps its parameters from before that
        step (with EarlyStopping, the best ones).
    TrainingInterrupted
        Ctrl-C was pressed. It is a KeyboardInterrupt, and has the history; the network keeps what
        it has learnt (with EarlyStopping, the best).

    Notes
    -----
    Ctrl-C ends the run after the step in progress; pressed again, it acts at once. With
    ``on_interrupt="return"`` the call returns as usual, and the history has
    ``stopped == "interrupted"``. A SIGINT handler of your own is called as always; the run ends if
    it raises KeyboardInterrupt. Threads other than the main one receive no signals.

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
        precision=precision,
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
        on_interrupt=on_interrupt,
        on_divergence=on_divergence,
    )
