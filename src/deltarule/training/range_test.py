"""The range test: which learning rates lower the loss, and from where on it grows."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deltarule.base.errors import DivergenceError, InvalidValueError, missing_extra
from deltarule.base.guards import fixed
from deltarule.base.settings import check_integer, check_number
from deltarule.base.types import Array
from deltarule.base.upward import upward
from deltarule.base.words import Leading, helpful
from deltarule.formulas.full_batch import FullBatchOptimizer
from deltarule.formulas.optimizers import Optimizer, Rprop
from deltarule.formulas.schedules import Exponential
from deltarule.network.network import Network
from deltarule.plan import ClipLike, ConstraintLike, LossLike, OptimizerLike, PenaltyLike
from deltarule.training.callbacks import Callback
from deltarule.training.state import State
from deltarule.training.trainer import Trainer

_MEMORY = 0.9
"""Of the smoothed loss, step by step."""
_ENOUGH = 4.0
"""The test ends where the smoothed loss is so many times its lowest."""
_LINES = 10


@helpful
@fixed
@dataclass(frozen=True, eq=False, repr=False)
class RangeTest(Leading):
    """What :func:`find_learning_rate` has found.

    Attributes
    ----------
    rates : array (steps,)
        Ascending; the last is that at which the test ended.
    losses : array (steps,)
        Data loss plus penalty of each step's batch, before the step of that rate.
    smoothed : array (steps,)
        Their exponential average ``s_t = m_t / (1 - 0.9^t)``, ``m_t = 0.9 m_{t-1} + 0.1 loss_t``.
    suggestion : float or None
        A tenth of the rate at which the smoothed loss is lowest; None where it never fell.
    """

    rates: Array
    losses: Array
    smoothed: Array
    suggestion: float | None

    def plot(self, ax: Any = None) -> Any:
        """Draw losses over rates, with the suggestion; return the matplotlib axes.

        Parameters
        ----------
        ax : matplotlib axes, optional
            By default those of a new figure, which ``plt.show()`` shows.
        """
        try:
            plot_range_test = upward("found.plot")
        except ImportError:
            raise missing_extra("the picture of a range test", "report") from None
        return plot_range_test(self, ax)

    def __repr__(self) -> str:
        found = "none" if self.suggestion is None else f"{self.suggestion:.3g}"
        first, last = self.rates[[0, -1]].tolist()
        return f"RangeTest({len(self.rates)} rates, {first:.3g} to {last:.3g}; suggestion {found})"

    def __str__(self) -> str:
        shown = np.unique(np.linspace(0, len(self.rates) - 1, _LINES).round().astype(int))
        lines = [f"{'rate':>10}  {'loss, smoothed':>14}"]
        lines += [f"{self.rates[i]:10.3g}  {self.smoothed[i]:14.6g}" for i in shown]
        if self.suggestion is None:
            lines.append("The loss fell at no rate: try others (smallest=..., largest=...).")
        else:
            lowest = self.rates[np.argmin(self.smoothed)]
            lines.append(
                f"Suggestion: {self.suggestion:.3g}, a tenth of {lowest:.3g}, where the loss is "
                "lowest."
            )
        return "\n".join(lines)


@helpful
def find_learning_rate(
    network: Network,
    X: Any,
    y: Any,
    loss: LossLike,
    *,
    optimizer: OptimizerLike = "adam",
    smallest: float = 1e-6,
    largest: float = 10.0,
    steps: int = 200,
    batch_size: int | None = 32,
    drop_last: bool = False,
    shuffle: Any = True,
    penalty: PenaltyLike = None,
    constraint: ConstraintLike = None,
    clip: ClipLike = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    seed: int = 0,
    threads: int | None = None,
    precision: str | None = None,
    engine: str = "auto",
) -> RangeTest:
    """Train a copy of a network at ever higher learning rates, and see what its loss does.

    Step ``t`` of the test has the rate ``smallest * (largest / smallest)^(t / (steps - 1))``. At
    low rates the loss stays as it is, then it falls, and at rates that are too high it grows. The
    test ends there: where the smoothed loss is 4 times its lowest, or not finite.

    The network, its running statistics, and trainers of it are not changed.

    Parameters
    ----------
    network, X, y, loss
        As in :func:`deltarule.train`.
    optimizer : name or Optimizer
        The one that is to be used; its own learning rate does not matter. Rprop and the
        optimizers that take all rows in each step have none to be found.
    smallest, largest : float
        The first and the last rate, from 1e-100 to 1e100.
    steps : int
        From 2 on; more make the test finer. Batches begin anew with each epoch.
    batch_size, drop_last, shuffle, penalty, constraint, clip, sample_weight, class_weight, seed, \
threads, precision, engine
        As in :func:`deltarule.train`. The right rate depends on most of them, so pass what the
        training will have.

    Returns
    -------
    RangeTest
        ``rates``, ``losses``, ``smoothed`` and a ``suggestion``; printed, a table; ``plot()``.

    Raises
    ------
    ValueError, TypeError
        Bad input.
    TrainingInterrupted
        Ctrl-C was pressed.

    Notes
    -----
    The suggestion is a tenth of the rate at which the smoothed loss is lowest: there it is about
    to grow, and a tenth is on the way down. It is a rule of thumb for constant rates and the
    highest rate of a :class:`Cosine`; the loss of a batch is noisy, so look at the picture.

    Source: Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3; there
    the rate rises along a line. Rates on a logarithmic scale and the tenth: fastai.

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> net = dr.Network([dr.Dense(16, "relu"), dr.Dense(1)], inputs=4, seed=0)
    >>> found = dr.find_learning_rate(net, X, X[:, 0] * X[:, 1], "squared_error")
    >>> 1e-3 < found.suggestion < 1e-1
    True
    """
    check_integer("steps", steps, at_least=2, at_most=1_000_000)
    smallest = check_number("smallest", smallest, at_least=1e-100)
    largest = check_number("largest", largest, above=smallest, at_most=1e100)
    optimizer = Optimizer.resolve(optimizer)
    if isinstance(optimizer, (FullBatchOptimizer, Rprop)):
        raise InvalidValueError(
            f"{type(optimizer).__name__} has no learning rate to be found; pass another optimizer"
        )
    factor = math.exp((math.log(largest) - math.log(smallest)) / (steps - 1))
    rising = Exponential(smallest, factor)
    trainer = Trainer(
        network.copy() if isinstance(network, Network) else network,
        loss,
        replace(optimizer, learning_rate=rising),
        penalty=penalty,
        constraint=constraint,
        clip=clip,
        class_weight=class_weight,
        seed=seed,
        threads=threads,
        precision=precision,
        engine=engine,
    )
    watch = _Watch(steps)
    with suppress(DivergenceError):  # as it will at rates that are too high
        trainer.run(
            X,
            y,
            epochs=steps,  # more than enough: an epoch has a step at least
            batch_size=batch_size,
            drop_last=drop_last,
            shuffle=shuffle,
            sample_weight=sample_weight,
            callbacks=[watch],
            progress=False,
        )
    losses = np.array(watch.losses)
    if not len(losses):
        raise InvalidValueError("the loss is not finite before the first step; scale the data")
    rates = np.array([rising(t, steps) for t in range(len(losses))])
    smoothed = np.array(watch.smoothed)
    lowest = int(np.argmin(smoothed))
    return RangeTest(rates, losses, smoothed, float(rates[lowest]) / 10 if lowest else None)


class _Watch(Callback):
    """Notes the losses of a test, and ends it."""

    every_steps = 1

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self._mean = 0.0

    def on_steps(self, state: State) -> None:
        """Take the loss of a step."""
        loss = float(state.step_losses[-1].sum())
        self._mean = _MEMORY * self._mean + (1 - _MEMORY) * loss
        self.losses.append(loss)
        self.smoothed.append(self._mean / (1 - _MEMORY ** len(self.losses)))
        first, low, last = self.smoothed[0], min(self.smoothed), self.smoothed[-1]
        if last - low > (_ENOUGH - 1) * abs(low) and last > first:
            state.stop = "the loss grows"
        if len(self.losses) == self._steps:
            state.stop = "all rates were tried"
