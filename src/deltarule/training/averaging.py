"""Averages of the weights that training passes through: exponential, and stochastic (SWA)."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from deltarule.base.errors import InUseError, InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.guards import Guarded
from deltarule.base.settings import check_choice, check_flag, check_integer, check_number
from deltarule.base.types import Array
from deltarule.base.words import helpful
from deltarule.network.network import Network
from deltarule.training.callbacks import Callback
from deltarule.training.state import State


class Averaging(Guarded, Callback):
    """Base of the averages: what a run does with one."""

    in_place: bool
    _average: Array | None  # float64
    _before_others: ClassVar[bool] = True
    _checks: ClassVar[Mapping[str, Callable[[str, Any], object]]] = {}
    _run: weakref.ref[State] | None = None
    _network: Network | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._checks:
            self._checks[name](name, value)
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_run"}

    @property
    def network(self) -> Network | None:
        """A network with the average, once a run is over; None where nothing was averaged."""
        return self._network

    def on_start(self, state: State) -> None:
        """Forget any earlier run."""
        if self._run is not None and self._run() is not None:
            raise InUseError(
                f"this {type(self).__name__} is following another run, and can follow one at a "
                "time; give each run its own"
            )
        self._run, self._network = weakref.ref(state), None
        self._forget()

    def on_end(self, state: State) -> None:
        """Let the network have the average, where that is wanted."""
        self._run = None
        if not self._count:
            return
        self._network = state.network.copy()
        self._put(state, self._network)
        if self.in_place:
            state.network.vector = self._network.vector
            state.network.state_vector = self._network.state_vector

    def get_state(self) -> Mapping[str, Any]:
        """Return the average so far, and of how many it is."""
        return {"average": self._average, "count": self._count}

    def set_state(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`get_state` returned."""
        average, count = saved["average"], saved["count"]
        state = self._run() if self._run is not None else None
        right = type(count) is int and count >= 0 and (average is not None) == (count > 0)
        if right and average is not None and state is not None:
            right = (
                isinstance(average, np.ndarray)
                and average.shape == state.network.vector.shape
                and average.dtype == np.float64
            )
        if not right:
            raise InvalidValueError(f"no state of {type(self).__name__}: {describe_value(saved)}")
        self._average, self._count = average, count

    def _forget(self) -> None:
        """Begin anew."""
        self._average = None
        self._count = 0
        self._statistics: Array | None = None  # of the network with the average
        self._shown = False

    def _rate(self) -> float:
        """Return by what share the average moves towards the next weights."""
        raise NotImplementedError

    def _is_due(self, state: State, steps: int, epochs: int, *, ends: bool) -> bool:
        """Return whether weights count, after so many steps and epochs of the run."""
        raise NotImplementedError

    def _took(self, state: State, steps: int, epochs: int, *, ends: bool) -> None:
        """Take the weights after so many steps of the run. ``ends``: an epoch has just ended."""
        if not self._is_due(state, steps, epochs, ends=ends):
            return
        weights = state.network.vector.astype(np.float64)
        if self._average is None:
            self._average = weights
        else:
            self._average += self._rate() * (weights - self._average)
        self._count += 1
        self._statistics = None

    def _put(self, state: State, network: Network) -> None:
        """Give a network the average and the running statistics that belong to it."""
        network.vector = self._average
        if self._statistics is None:
            self._statistics = state._renewed(network)
        network.state_vector = self._statistics

    @contextmanager
    def _in_place(self, state: State) -> Iterator[None]:
        """Let the network have the average meanwhile, where that is wanted."""
        if not self.in_place or not self._count or self._shown:
            yield
            return
        network = state.network
        raw = network.vector.copy(), network.state_vector.copy()
        self._shown = True
        try:
            self._put(state, network)
            yield
        finally:
            self._shown = False
            network.vector, network.state_vector = raw


@helpful
@dataclass
class EMA(Averaging):
    r"""An exponential moving average of the weights, evaluated and kept in place of them.

    .. math:: \bar w \leftarrow \bar w + (1 - d) (w - \bar w)

    with ``d = decay``, after every so many steps; the first weights are the first average. It
    forgets weights that are some ``every / (1 - decay)`` steps old. Averages wander less than the
    weights of single steps do; where these circle around a minimum, they are nearer to it.

    Parameters
    ----------
    decay : float
        From 0 (the last weights) to below 1.
    every : int
        Steps from one average to the next. Each costs a return to Python and a pass over the
        weights: where steps are short, ``EMA(0.99, every=10)`` averages over as many steps as
        ``EMA(0.999)`` does, in less time.
    in_place : bool
        Whether the average takes the place of the weights: after each epoch, validation,
        :meth:`State.score` and other callbacks' ``on_epoch`` see it, so that
        :class:`EarlyStopping` keeps the best average; and the network has it after the run.
        Training goes on from the weights themselves. With False a run is as without an average,
        which is in ``network`` afterwards.

    Attributes
    ----------
    network : Network or None
        A network with the average, once a run is over.

    Notes
    -----
    Averages are kept in float64, and checkpoints have them. Running statistics of BatchNorm belong
    to weights, so they are renewed for the average wherever it is evaluated: the mean over the
    batches of the training data of each batch's mean and unbiased variance, as
    ``torch.optim.swa_utils.update_bn`` has it. That takes about as long as an epoch. What other
    callbacks change in the network while they see the average is not kept. Columns of the training
    data belong to the weights of each step, as always. Where ``on_divergence="restore"`` goes back,
    the average begins anew. One run has one average.

    Sources: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992);
    Tarvainen and Valpola, "Mean teachers are better role models" (2017).

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> net = dr.Network([dr.Dense(8, "tanh"), dr.Dense(1)], inputs=3, seed=0)
    >>> history = dr.train(net, X, X[:, 0] * X[:, 1], loss="squared_error", epochs=5,
    ...                    validation=0.2, callbacks=[dr.EMA(0.9), dr.EarlyStopping()])
    """

    decay: float = 0.999
    every: int = 1
    in_place: bool = True
    _checks: ClassVar[Mapping[str, Callable[[str, Any], object]]] = {
        "decay": partial(check_number, at_least=0, below=1),
        "every": check_integer,
        "in_place": check_flag,
    }

    @property
    def every_steps(self) -> int:  # type: ignore[override]
        """Steps from one average to the next."""
        return self.every

    def _rate(self) -> float:
        return 1 - self.decay

    def _is_due(self, state: State, steps: int, epochs: int, *, ends: bool) -> bool:
        return steps % self.every == 0


@helpful
@dataclass
class SWA(Averaging):
    r"""Stochastic weight averaging: the mean of the weights of the last epochs, or steps.

    .. math:: \bar w \leftarrow \bar w + (w - \bar w) / n

    for the n-th weights, from ``start`` on. With a learning rate that stays high or goes up and
    down, as :class:`CosineRestarts` does, the weights of single epochs lie around a wide
    minimum, and their mean lies within it.

    Parameters
    ----------
    start : float or int
        From when on: a share of the run's epochs (0.75 in the paper), or a number of epochs. Where
        so many are finished, the first weights count.
    every : int
        Epochs, or steps, from one to the next; with a cyclic rate the length of a cycle.
    unit : "epoch" or "step"
        What ``every`` counts. ``SWA(0.5, unit="step")`` is the average of Polyak and Juditsky, over
        each step of the second half.
    in_place : bool
        As in :class:`EMA`, whose notes apply.

    Attributes
    ----------
    network : Network or None
        A network with the average, once a run is over.

    Notes
    -----
    A run that ends before ``start`` has no average, and the network keeps its weights: so has one
    that :class:`EarlyStopping` ends.

    Sources: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization"
    (2018); Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992).

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> net = dr.Network([dr.Dense(8, "tanh"), dr.Dense(1)], inputs=3, seed=0)
    >>> history = dr.train(net, X, X[:, 0] * X[:, 1], loss="squared_error", epochs=20,
    ...                    optimizer=dr.SGD(0.05), callbacks=[dr.SWA(start=0.5)])
    """

    start: float = 0.75
    every: int = 1
    unit: str = "epoch"
    in_place: bool = True
    _checks: ClassVar[Mapping[str, Callable[[str, Any], object]]] = {
        "start": lambda what, value: _check_start(what, value),
        "every": check_integer,
        "unit": lambda what, value: check_choice(what, value, "epoch", "step"),
        "in_place": check_flag,
    }

    @property
    def every_steps(self) -> int:  # type: ignore[override]
        """Steps from one average to the next, where it counts steps."""
        return self.every if self.unit == "step" else 0

    def _rate(self) -> float:
        return 1 / (self._count + 1)

    def _is_due(self, state: State, steps: int, epochs: int, *, ends: bool) -> bool:
        whole = isinstance(self.start, (int, np.integer))
        start = int(self.start) if whole else math.ceil(self.start * state.epochs)
        if epochs < start:
            return False
        if self.unit == "step":
            return steps % self.every == 0
        return ends and (epochs - max(start, 1)) % self.every == 0


def _check_start(what: str, value: object) -> None:
    """Raise where it is neither a number of epochs nor a share of them."""
    if isinstance(value, (bool, np.bool_)):
        raise InvalidTypeError(f"{what} must be a number, got {describe_value(value)}")
    if isinstance(value, (int, np.integer)):
        check_integer(what, value, at_least=0)
    else:
        check_number(what, value, at_least=0, below=1)
