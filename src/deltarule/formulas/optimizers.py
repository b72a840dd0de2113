"""Optimizers: settings, and a rule that updates flat arrays in place.

In the rules below ``w`` are parameters, ``g`` their gradient (data plus penalty, clipped), ``t``
the number of their updates, this one included, and ``eta`` the learning rate of the step. What
changes with ``t`` reaches an update as float64 scalars (:meth:`Optimizer.scalars`), so its rule
needs to know neither schedules nor bias corrections. Each parameter has a ``factor`` by which its
learning rate is multiplied. A parameter whose factor is 0 gets no update, no decay and no state; a
batch of weight 0 updates none. Neither counts in ``t``.

Where libraries define an optimizer differently, deltarule follows PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

import numpy as np

from deltarule.base.errors import missing_formula
from deltarule.base.settings import (
    Setting,
    check_epsilon,
    check_flag,
    check_number,
    members,
    setting,
)
from deltarule.base.types import Array
from deltarule.formulas.schedules import LearningRate, resolve_schedule


@setting
class Optimizer(Setting):
    """Base of the optimizers.

    Attributes
    ----------
    scalar_names : tuple of str
        The names of the scalars of a step.
    reported : tuple of str
        The columns that the history has of it.
    weight_decay : float
        Decoupled weight decay, for the optimizers that have it; on weights only.
    """

    family: ClassVar[str] = "optimizer"
    meanings: ClassVar[Mapping[str, str]] = {
        "momentum": "write SGD(0.1, momentum=0.9)",
        "nesterov": "write SGD(0.1, momentum=0.9, nesterov=True)",
        "nag": "write SGD(0.1, momentum=0.9, nesterov=True)",
        "heavyball": "write SGD(0.1, momentum=0.9)",
        "amsgrad": "write Adam(amsgrad=True)",
        "adamax": "the nearest is 'adam'",
        "adadelta": "the nearest is 'rmsprop'",
        "radam": "the nearest is 'adam' with a WarmUp schedule",
        "lamb": "the nearest is 'adamw'",
        "adafactor": "the nearest is 'adam'",
        "ftrl": "the nearest is 'adagrad'",
        "lookahead": "the nearest is 'adam'",
        "bfgs": "the nearest is 'lbfgs' with batch_size=None",
        "cg": "the nearest is 'lbfgs' with batch_size=None",
        "asgd": "the nearest is 'sgd'",
        "adabelief": "the nearest is 'adam'",
        "backprop": "write 'sgd'",
        "backpropagation": "write 'sgd'",
    }
    scalar_names: ClassVar[tuple[str, ...]] = ("rate",)
    reported: ClassVar[tuple[str, ...]] = ("learning_rate",)

    learning_rate: LearningRate = 1e-2

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", resolve_schedule(self.learning_rate))

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state arrays kept for each parameter."""
        return ()

    @property
    def rule(self) -> str:
        """Name of the update rule; a variant of an optimizer has one of its own."""
        return self.name

    def initial_state(self, size: int) -> Array:
        """Return the state before the first step, float64 (state arrays, size)."""
        return np.zeros((len(self.state_names), size))

    def scalars(self, t: Array, eta: Array) -> Array:
        """Return float64 scalars (steps, len(scalar_names)) for updates ``t`` (from 1)."""
        return eta[:, None]

    def update(
        self, w: Array, g: Array, state: Array, scalars: Array, factor: float, is_weight: bool
    ) -> None:
        """Update ``w`` (size,) and ``state`` (state arrays, size) in place.

        ``is_weight`` says whether decoupled weight decay applies.
        """
        raise missing_formula(self, "update")


def reported_columns() -> set[str]:
    """Return the history's columns that belong to the steps of an optimizer, of all of them."""
    return {column for kind in members("optimizer").values() for column in kind.reported}


@setting
class SGD(Optimizer):
    """Gradient descent, optionally with momentum.

    ::

        v = momentum * v + g
        w = w - eta * v                          (plain and heavy-ball momentum)
        w = w - eta * (g + momentum * v)         (nesterov)

    The learning rate multiplies the velocity, as in PyTorch, so a change of the rate acts at once.
    scikit-learn and Keras put the rate into the velocity (``rate_in_velocity=True``); with a
    constant rate both agree::

        v = momentum * v + eta * g
        w = w - v                                (plain and heavy-ball momentum)
        w = w - (eta * g + momentum * v)         (nesterov)

    Sources: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964);
    Nesterov (1983); Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and
    momentum in deep learning" (2013).

    Examples
    --------
    >>> import deltarule as dr
    >>> dr.SGD(0.1, momentum=0.9, nesterov=True).nesterov
    True
    """

    name: ClassVar[str] = "sgd"
    aliases: ClassVar[tuple[str, ...]] = (
        "gradient_descent",
        "gd",
        "stochastic_gradient_descent",
    )
    scalar_names: ClassVar[tuple[str, ...]] = (
        "rate",
        "momentum",
        "inflow",  # the factor on g in the velocity
    )
    momentum: float = 0.0
    nesterov: bool = False
    rate_in_velocity: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("momentum", self.momentum, at_least=0, below=1)
        check_flag("nesterov", self.nesterov)
        check_flag("rate_in_velocity", self.rate_in_velocity)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    @property
    def rule(self) -> str:
        if not self.momentum:
            return "sgd"
        return "sgd_nesterov" if self.nesterov else "sgd_momentum"

    def scalars(self, t: Array, eta: Array) -> Array:
        if self.momentum and self.rate_in_velocity:
            return _columns(np.ones(len(t)), self.momentum, eta)
        return _columns(eta, self.momentum, 1.0)

    def update(
        self, w: Array, g: Array, state: Array, scalars: Array, factor: float, is_weight: bool
    ) -> None:
        rate, momentum, inflow = scalars.tolist()
        if not self.momentum:
            w -= factor * rate * g
            return
        (v,) = state
        g = inflow * g
        v *= momentum
        v += g
        w -= factor * rate * (g + momentum * v if self.nesterov else v)


@setting
class RMSprop(Optimizer):
    """Gradient divided by a running root mean square of its recent size.

    ::

        s = rho * s + (1 - rho) * g^2
        u = g / (sqrt(s) + epsilon)              (sqrt(s - m^2) when centered, m the mean of g)
        v = momentum * v + u
        w = w - eta * v

    PyTorch's default for ``rho`` (its ``alpha``) is 0.99; 0.9 is the lecture's.

    Sources: Tieleman and Hinton, "Lecture 6.5: rmsprop" (2012); centered: Graves, "Generating
    sequences with recurrent neural networks" (2013).
    """

    name: ClassVar[str] = "rmsprop"
    scalar_names: ClassVar[tuple[str, ...]] = ("rate", "rho", "epsilon", "momentum")
    learning_rate: LearningRate = 1e-3
    rho: float = 0.9
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("rho", self.rho, at_least=0, below=1)
        check_epsilon(self.epsilon)
        check_number("momentum", self.momentum, at_least=0, below=1)
        check_flag("centered", self.centered)

    @property
    def state_names(self) -> tuple[str, ...]:
        return (
            ("square",)
            + (("mean",) if self.centered else ())
            + (("velocity",) if self.momentum else ())
        )

    @property
    def rule(self) -> str:
        return "rmsprop" + "_centered" * bool(self.centered) + "_momentum" * bool(self.momentum)

    def scalars(self, t: Array, eta: Array) -> Array:
        return _columns(eta, self.rho, self.epsilon, self.momentum)

    def update(
        self, w: Array, g: Array, state: Array, scalars: Array, factor: float, is_weight: bool
    ) -> None:
        rate, rho, epsilon, momentum = scalars.tolist()
        s = state[0]
        s *= rho
        s += (1 - rho) * g * g
        spread = s
        if self.centered:
            m = state[1]
            m *= rho
            m += (1 - rho) * g
            spread = np.maximum(s - m * m, 0)  # rounding may push the variance below 0
        u = g / (np.sqrt(spread) + epsilon)
        if self.momentum:
            v = state[-1]
            v *= momentum
            v += u
            u = v
        w -= factor * rate * u


@setting
class Adagrad(Optimizer):
    """Gradient divided by the root of the sum of all its squares so far.

    ::

        s = s + g^2                              (s starts at initial_accumulator)
        w = w - eta * g / (sqrt(s) + epsilon)

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization" (2011).
    """

    name: ClassVar[str] = "adagrad"
    scalar_names: ClassVar[tuple[str, ...]] = ("rate", "epsilon")
    learning_rate: LearningRate = 1e-2
    epsilon: float = 1e-10
    initial_accumulator: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_epsilon(self.epsilon)
        check_number("initial_accumulator", self.initial_accumulator, at_least=0)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("square_sum",)

    def initial_state(self, size: int) -> Array:
        return np.full((1, size), float(self.initial_accumulator))

    def scalars(self, t: Array, eta: Array) -> Array:
        return _columns(eta, self.epsilon)

    def update(
        self, w: Array, g: Array, state: Array, scalars: Array, factor: float, is_weight: bool
    ) -> None:
        rate, epsilon = scalars.tolist()
        (s,) = state
        s += g * g
        w -= factor * rate * g / (np.sqrt(s) + epsilon)


@setting
class Adam(Optimizer):
    """Adaptive moments: momentum and RMSprop, both corrected for starting at 0.

    ::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        w = w - eta * m_hat / (sqrt(v_hat) + epsilon)
        m_hat = m / (1 - beta1^t),  v_hat = v / (1 - beta2^t)

    With ``amsgrad`` the largest ``v`` so far replaces ``v`` in ``v_hat``. With ``epsilon_first``
    epsilon is added before the second moment is corrected, as in scikit-learn and Keras::

        w = w - eta * sqrt(1 - beta2^t) * m_hat / (sqrt(v) + epsilon)

    Sources: Kingma and Ba, "Adam: a method for stochastic optimization" (2015); Reddi, Kale and
    Kumar, "On the convergence of Adam and beyond" (2018).

    Examples
    --------
    >>> import deltarule as dr
    >>> dr.Adam(learning_rate=dr.Cosine(1e-3), beta2=0.99).beta2
    0.99
    """

    name: ClassVar[str] = "adam"
    scalar_names: ClassVar[tuple[str, ...]] = (
        "step_size",  # eta / (1 - beta1^t); with epsilon_first times sqrt(1 - beta2^t)
        "beta1",
        "beta2",
        "root_correction",  # 1 / sqrt(1 - beta2^t); with epsilon_first 1
        "epsilon",
        "decay",  # eta * weight_decay
    )
    learning_rate: LearningRate = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False
    epsilon_first: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta1", self.beta1, at_least=0, below=1)
        check_number("beta2", self.beta2, at_least=0, below=1)
        check_epsilon(self.epsilon)
        check_flag("amsgrad", self.amsgrad)
        check_flag("epsilon_first", self.epsilon_first)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    @property
    def rule(self) -> str:
        return "adam_amsgrad" if self.amsgrad else "adam"

    def scalars(self, t: Array, eta: Array) -> Array:
        root = np.sqrt(1 - self.beta2**t)
        step_size = eta / (1 - self.beta1**t)
        return _columns(
            step_size * root if self.epsilon_first else step_size,
            self.beta1,
            self.beta2,
            1.0 if self.epsilon_first else 1 / root,
            self.epsilon,
            eta * getattr(self, "weight_decay", 0.0),
        )

    def update(
        self, w: Array, g: Array, state: Array, scalars: Array, factor: float, is_weight: bool
    ) -> None:
        step_size, beta1, beta2, root_correction, epsilon, decay = scalars.tolist()
        m, v = state[:2]
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        if self.amsgrad:
            v = np.maximum(state[2], v, out=state[2])
        if decay and is_weight:
            w *= 1 - factor * decay
        w -= factor * step_size * m / (np.sqrt(v) * root_correction + epsilon)


@setting
class AdamW(Adam):
    """Adam with decoupled weight decay: first ``w = w - eta * weight_decay * w``, then Adam.

    The decay acts on weights only, as penalties do; PyTorch's acts on all parameters it is given.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization" (2019).
    """

    name: ClassVar[str] = "adamw"
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("weight_decay", self.weight_decay, at_least=0)


@setting
class NAdam(Optimizer):
    """Adam with Nesterov's look-ahead in its momentum.

    ::

        mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        m, v as in Adam
        w = w - eta * [ (1 - mu_t) / (1 - prod_{i<=t} mu_i) * g
                      + mu_{t+1} / (1 - prod_{i<=t+1} mu_i) * m ] / (sqrt(v_hat) + epsilon)

    PyTorch keeps the product of mu in float32, its default dtype, and so differs by about 1e-8.

    Source: Dozat, "Incorporating Nesterov momentum into Adam" (2016).
    """

    name: ClassVar[str] = "nadam"
    scalar_names: ClassVar[tuple[str, ...]] = (
        "gradient_size",
        "moment_size",
        "beta1",
        "beta2",
        "root_correction",
        "epsilon",
    )
    learning_rate: LearningRate = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta1", self.beta1, at_least=0, below=1)
        check_number("beta2", self.beta2, at_least=0, below=1)
        check_epsilon(self.epsilon)
        check_number("momentum_decay", self.momentum_decay, at_least=0)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("m", "v")

    def scalars(self, t: Array, eta: Array) -> Array:
        mu, rest = _nadam_momenta(self.beta1, self.momentum_decay, t)
        next_mu, next_rest = _nadam_momenta(self.beta1, self.momentum_decay, t + 1)
        return _columns(
            eta * (1 - mu) / rest,
            eta * next_mu / next_rest,
            self.beta1,
            self.beta2,
            1 / np.sqrt(1 - self.beta2**t),
            self.epsilon,
        )

    def update(
        self, w: Array, g: Array, state: Array, scalars: Array, factor: float, is_weight: bool
    ) -> None:
        gradient_size, moment_size, beta1, beta2, root_correction, epsilon = scalars.tolist()
        m, v = state
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        look_ahead = gradient_size * g + moment_size * m
        w -= factor * look_ahead / (np.sqrt(v) * root_correction + epsilon)


@setting
class Lion(Optimizer):
    """The sign of an interpolated momentum.

    ::

        c = beta1 * m + (1 - beta1) * g
        w = w - eta * (sign(c) + weight_decay * w)
        m = beta2 * m + (1 - beta2) * g

    Every weight moves by the same amount, so good learning rates are 3 to 10 times smaller than
    Adam's. The decay acts on weights only.

    Source: Chen et al., "Symbolic discovery of optimization algorithms" (2023).
    """

    name: ClassVar[str] = "lion"
    scalar_names: ClassVar[tuple[str, ...]] = ("rate", "beta1", "beta2", "decay")
    learning_rate: LearningRate = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta1", self.beta1, at_least=0, below=1)
        check_number("beta2", self.beta2, at_least=0, below=1)
        check_number("weight_decay", self.weight_decay, at_least=0)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("m",)

    def scalars(self, t: Array, eta: Array) -> Array:
        return _columns(eta, self.beta1, self.beta2, eta * self.weight_decay)

    def update(
        self, w: Array, g: Array, state: Array, scalars: Array, factor: float, is_weight: bool
    ) -> None:
        rate, beta1, beta2, decay = scalars.tolist()
        (m,) = state
        direction = np.sign(beta1 * m + (1 - beta1) * g)
        if decay and is_weight:
            w *= 1 - factor * decay
        w -= factor * rate * direction
        m *= beta2
        m += (1 - beta2) * g


@setting
class Adan(Optimizer):
    """Adam with Nesterov's momentum made of gradient differences.

    ::

        d = g - g_prev                           (0 in the first step)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * d
        n = beta3 * n + (1 - beta3) * (g + beta2 * d)^2
        w = w - eta * (m_hat + beta2 * v_hat) / (sqrt(n_hat) + epsilon)
        w = w / (1 + eta * weight_decay)
        m_hat = m / (1 - beta1^t), v_hat and n_hat alike

    The betas are those of the authors' code: one minus the paper's. The decay is the paper's
    proximal one; it touches weights only.

    Source: Xie, Zhou, Li, Lin and Yan, "Adan: adaptive Nesterov momentum algorithm for faster
    optimizing deep models" (2022), algorithm 1.
    """

    name: ClassVar[str] = "adan"
    scalar_names: ClassVar[tuple[str, ...]] = (
        "step_size",  # eta / (1 - beta1^t)
        "difference_size",  # eta * beta2 / (1 - beta2^t)
        "beta1",
        "beta2",
        "beta3",
        "root_correction",  # 1 / sqrt(1 - beta3^t)
        "epsilon",
        "decay",  # eta * weight_decay
        "first",  # 1 in the first step, which has no gradient before it
    )
    learning_rate: LearningRate = 1e-3
    beta1: float = 0.98
    beta2: float = 0.92
    beta3: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta1", self.beta1, at_least=0, below=1)
        check_number("beta2", self.beta2, at_least=0, below=1)
        check_number("beta3", self.beta3, at_least=0, below=1)
        check_epsilon(self.epsilon)
        check_number("weight_decay", self.weight_decay, at_least=0)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("m", "v", "n", "previous_gradient")

    def scalars(self, t: Array, eta: Array) -> Array:
        return _columns(
            eta / (1 - self.beta1**t),
            eta * self.beta2 / (1 - self.beta2**t),
            self.beta1,
            self.beta2,
            self.beta3,
            1 / np.sqrt(1 - self.beta3**t),
            self.epsilon,
            eta * self.weight_decay,
            t == 1,
        )

    def update(
        self, w: Array, g: Array, state: Array, scalars: Array, factor: float, is_weight: bool
    ) -> None:
        step_size, difference_size, beta1, beta2, beta3, *others, first = scalars.tolist()
        root_correction, epsilon, decay = others
        m, v, n, previous = state
        difference = np.zeros_like(g) if first else g - previous
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * difference
        n *= beta3
        n += (1 - beta3) * (g + beta2 * difference) ** 2
        ahead = step_size * m + difference_size * v
        w -= factor * ahead / (np.sqrt(n) * root_correction + epsilon)
        if decay and is_weight:
            w *= 1 / (1 + factor * decay)
        previous[:] = g


@setting
class Rprop(Optimizer):
    """Resilient backpropagation (iRprop-): a step size per weight and the sign of the gradient.

    ::

        if g * g_prev > 0:  size = min(size * increase, largest)
        if g * g_prev < 0:  size = max(size * decrease, smallest);  g = 0
        w = w - size * sign(g);  g_prev = g

    ``learning_rate`` is the initial step size (of a schedule, only the first rate counts). A
    learning-rate factor scales the step and with it both bounds. Meant for full-batch training
    (``batch_size=None``): with small batches the signs of the gradient are too noisy.

    Sources: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning:
    the RPROP algorithm" (1993); Igel and Huesken, "Improving the Rprop learning algorithm" (2000).
    """

    name: ClassVar[str] = "rprop"
    aliases: ClassVar[tuple[str, ...]] = (
        "resilient_backpropagation",
        "resilient",
    )
    scalar_names: ClassVar[tuple[str, ...]] = ("decrease", "increase", "smallest", "largest")
    learning_rate: LearningRate = 1e-2
    decrease: float = 0.5
    increase: float = 1.2
    smallest: float = 1e-6
    largest: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("decrease", self.decrease, above=0, below=1)
        check_number("increase", self.increase, above=1)
        check_number("smallest", self.smallest, above=0)
        check_number("largest", self.largest, above=self.smallest)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("previous_gradient", "size")

    def initial_state(self, size: int) -> Array:
        first = resolve_schedule(self.learning_rate).table(np.zeros(1), 1)
        return np.stack([np.zeros(size), np.broadcast_to(first, size)])

    def scalars(self, t: Array, eta: Array) -> Array:
        return _columns(np.full(len(t), self.decrease), self.increase, self.smallest, self.largest)

    def update(
        self, w: Array, g: Array, state: Array, scalars: Array, factor: float, is_weight: bool
    ) -> None:
        decrease, increase, smallest, largest = scalars.tolist()
        previous, size = state
        agreement = np.sign(g) * np.sign(previous)  # (g * previous may underflow)
        size *= np.where(agreement > 0, increase, np.where(agreement < 0, decrease, 1.0))
        np.clip(size, smallest, largest, out=size)
        g = np.where(agreement < 0, g.dtype.type(0), g)
        w -= factor * size * np.sign(g)
        previous[:] = g


def _nadam_momenta(beta1: float, decay: float, t: Array) -> tuple[Array, Array]:
    """Return ``mu_t`` and ``1 - prod_{i<=t} mu_i`` for updates ``t``, without a table of all i.

    With ``q = 0.96^decay`` the product is ``beta1^t prod_{i<=t} (1 - q^i / 2)``. Its logarithm is

    ``t log beta1 - sum_k c_k (1 - q^(k t))``, ``c_k = q^k / ((1 - q^k) k 2^k)``,

    from ``-log(1 - x) = sum_k x^k / k`` and the geometric series over i; 60 terms are exact to
    rounding.
    """
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        log_q = decay * math.log(0.96)
        mu: Array = beta1 * (1 - 0.5 * np.exp(t * log_q))
        if decay < 1e-30:  # q^t is 1
            log_product = t * np.log(0.5 * beta1)
        else:
            k = np.arange(1.0, 61.0)
            c = np.exp(k * log_q) / (-np.expm1(k * log_q) * k * 2**k)
            log_product = t * np.log(beta1)
            for part in np.array_split(np.arange(len(t)), len(t) // 4096 + 1):
                log_product[part] += (np.expm1(np.multiply.outer(t[part], k * log_q)) * c).sum(
                    axis=1
                )
        rest: Array = -np.expm1(log_product)
    return mu, rest


def _columns(first: Array, *others: Array | float) -> Array:
    table = np.empty((len(first), 1 + len(others)))
    for i, column in enumerate((first, *others)):
        table[:, i] = column
    return table
