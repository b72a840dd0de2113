"""Two published worked examples of backpropagation, with the figures that their texts print.

:func:`specification` is the 2-2-1 network of the specification, the tutorial on backpropagation
after which deltarule was written (docs/backpropagation.md works through it). :func:`mazur` is the
2-2-2 network of Matt Mazur's "A step by step backpropagation example" (2015). Both are float64
networks ready for :func:`deltarule.backpropagate`; :func:`slips` and :func:`mazur_quantities`
compare the printed figures with the computed ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from deltarule.base.settings import check_integer
from deltarule.base.types import Array
from deltarule.formulas.losses import SquaredError
from deltarule.formulas.optimizers import SGD
from deltarule.inspect import Trace, backpropagate
from deltarule.network.layers import Dense
from deltarule.network.network import Network
from deltarule.training.evaluation import evaluate
from deltarule.training.trainer import Trainer


class Example(NamedTuple):
    """A network with one example: inputs ``x`` and targets ``t``, each (1, k)."""

    network: Network
    x: Array
    t: Array

    def trace(self) -> Trace:
        """Return the trace of one pass, under half the squared error."""
        return backpropagate(self.network, self.x, self.t, SquaredError())


class Printed(NamedTuple):
    """A figure as a text prints it, and as float64 arithmetic gives it."""

    quantity: str
    printed: str
    computed: float

    @property
    def verdict(self) -> str:
        """Whether it is "right" as rounded, "cut off" (right digits, but not rounded) or "off"."""
        digits = len(self.printed.rpartition(".")[2])
        unit = 10.0**-digits
        shown = float(self.printed)
        if math.isclose(shown, round(self.computed, digits), abs_tol=unit / 1e3):
            return "right"
        cut = math.trunc(self.computed / unit) * unit
        return "cut off" if math.isclose(shown, cut, abs_tol=unit / 1e3) else "off"


def specification() -> Example:
    """Return the example of the specification: 2-2-1, sigmoid units, ``x = (.5, .8)``, ``y = 1``.

    The text gives ``z_h = (.1, .3)``, ``z_o = .2`` and ``w_o = (.4, .6)``, but neither the weights
    into the hidden layer nor the biases. Here ``w_h = ((.3, .1), (.2, .5))``, one row for each
    unit, and ``b_h = (-.13, -.2)`` are chosen so that z_h comes out exactly; b_o follows from z_o.

    Examples
    --------
    >>> from deltarule.published import specification
    >>> trace = specification().trace()
    >>> trace.deltas["1"].round(6).tolist(), trace.deltas["0"].round(6).tolist()
    ([[-0.111424]], [[-0.011115, -0.016343]])
    """
    network = Network([Dense(2, "sigmoid"), Dense(1, "sigmoid")], inputs=2, dtype="float64")
    x, t = np.array([[0.5, 0.8]]), np.array([[1.0]])
    w_o = np.array([[0.4], [0.6]])
    a_h = 1 / (1 + np.exp([-0.1, -0.3]))
    network.parameters["0.weight"] = [[0.3, 0.2], [0.1, 0.5]]
    network.parameters["0.bias"] = [-0.13, -0.2]
    network.parameters["1.weight"] = w_o
    network.parameters["1.bias"] = 0.2 - a_h @ w_o
    return Example(network, x, t)


def slips() -> list[Printed]:
    """Return the figures that the specification prints, each with the computed one.

    Its ``a_o`` is cut off instead of rounded, and the loss and ``a_o - y`` are off because they
    are computed from it. Its two derivatives ``sigma'(z_h)`` are off independently of that. The
    figures computed from these are right in the three digits that are printed.
    """
    trace = specification().trace()
    a_h, a_o = trace.activations["0"][0], float(trace.activations["1"][0, 0])
    slope_h, slope_o = a_h * (1 - a_h), a_o * (1 - a_o)
    delta_h, delta_o = trace.deltas["0"][0], float(trace.deltas["1"][0, 0])
    back = delta_o * trace.network.parameters["1.weight"][:, 0]
    dW_h, dW_o = trace.gradients["0.weight"], trace.gradients["1.weight"]

    def pair(name: str, printed: tuple[str, str], values: Array) -> Iterator[Printed]:
        for i, (text, value) in enumerate(zip(printed, values.tolist(), strict=True)):
            yield Printed(f"{name}[{i + 1}]", text, value)

    return [
        *pair("a_h", ("0.525", "0.574"), a_h),
        Printed("a_o", "0.549", a_o),
        Printed("L", "0.102", trace.loss),
        Printed("a_o - y", "-0.451", a_o - 1),
        Printed("sigma'(z_o)", "0.247", slope_o),
        Printed("δ_o", "-0.111", delta_o),
        *pair("w_o δ_o", ("-0.044", "-0.067"), back),
        *pair("sigma'(z_h)", ("0.247", "0.241"), slope_h),
        *pair("δ_h", ("-0.011", "-0.016"), delta_h),
        *pair("∂L/∂w_o", ("-0.058", "-0.064"), dW_o[:, 0]),
        # The text has one row per unit, the library one column.
        *pair("∂L/∂w_h[1]", ("-0.006", "-0.009"), dW_h[:, 0]),
        *pair("∂L/∂w_h[2]", ("-0.008", "-0.013"), dW_h[:, 1]),
    ]


MAZUR_LEARNING_RATE = 0.5


def mazur() -> Example:
    """Return Matt Mazur's example: 2-2-2, logistic units, one frozen bias shared by each layer.

    Source: https://mattmazur.com/2015/03/17/a-step-by-step-backpropagation-example/

    Examples
    --------
    >>> from deltarule.published import mazur
    >>> round(mazur().trace().loss, 9)
    0.298371109
    """
    network = Network([Dense(2, "sigmoid"), Dense(2, "sigmoid")], inputs=2, dtype="float64")
    network.parameters["0.weight"] = [[0.15, 0.25], [0.20, 0.30]]
    network.parameters["0.bias"] = [0.35, 0.35]
    network.parameters["1.weight"] = [[0.40, 0.50], [0.45, 0.55]]
    network.parameters["1.bias"] = [0.60, 0.60]
    network.freeze("0.bias", "1.bias")
    return Example(network, np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]]))


def mazur_after(steps: int) -> Example:
    """Return Mazur's example after ``steps`` steps of gradient descent with learning rate 1/2."""
    check_integer("steps", steps)
    example = mazur()
    trainer = Trainer(example.network, SquaredError(), SGD(MAZUR_LEARNING_RATE))
    trainer.run(example.x, example.t, epochs=steps, batch_size=1, progress=False)
    return example


def mazur_error(example: Example) -> float:
    """Return the total error E of Mazur's example with its current parameters."""
    return evaluate(example.network, example.x, example.t, SquaredError())["loss"]


def mazur_with_the_slip(steps: int) -> tuple[float, Array]:
    """Return E and the outputs (2,) after ``steps`` steps with the mistake of the article's code.

    Spot the bug: the output weights are updated first, and then the hidden deltas are computed
    with the new weights. All deltas of a step must use the weights of its forward pass. The author
    fixed the code a day later; the article kept the numbers.
    """
    check_integer("steps", steps)
    network, x, t = mazur()
    W1, b1, W2, b2 = (p.copy() for p in network.parameters.values())
    for _ in range(steps):
        hidden, outputs = _logistic_pass(x, W1, b1, W2, b2)
        delta_o = (outputs - t) * outputs * (1 - outputs)
        W2 -= MAZUR_LEARNING_RATE * hidden.T @ delta_o
        delta_h = (delta_o @ W2.T) * hidden * (1 - hidden)  # the mistake: W2 is already updated
        W1 -= MAZUR_LEARNING_RATE * x.T @ delta_h
    _, outputs = _logistic_pass(x, W1, b1, W2, b2)
    return float(0.5 * ((outputs - t) ** 2).sum()), outputs[0]


def _logistic_pass(x: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> tuple[Array, Array]:
    hidden = 1 / (1 + np.exp(-(x @ W1 + b1)))
    return hidden, 1 / (1 + np.exp(-(hidden @ W2 + b2)))


def mazur_quantities() -> list[tuple[str, list[float]]]:
    """Return what the article works out up to the first update, by its own names."""
    trace, after = mazur().trace(), mazur_after(1).network.parameters
    hidden, outputs = trace.activations["0"][0], trace.activations["1"][0]
    errors = 0.5 * (trace.targets[0] - outputs) ** 2
    upstream = (trace.deltas["1"] @ trace.network.parameters["1.weight"].T)[0]
    # w1 and w2 lead into h1: unit by unit is column by column here.
    rows: list[tuple[str, Array]] = [
        ("net_h1, net_h2", trace.preactivations["0"][0]),
        ("out_h1, out_h2", hidden),
        ("net_o1, net_o2", trace.preactivations["1"][0]),
        ("out_o1, out_o2", outputs),
        ("E_o1, E_o2, E", np.array([*errors, trace.loss])),
        ("δ_o1, δ_o2", trace.deltas["1"][0]),
        ("∂E/∂out_h1, ∂E/∂out_h2", upstream),
        ("δ_h1, δ_h2", trace.deltas["0"][0]),
        ("∂E/∂w1 .. ∂E/∂w4", trace.gradients["0.weight"].T.ravel()),
        ("∂E/∂w5 .. ∂E/∂w8", trace.gradients["1.weight"].T.ravel()),
        ("w1 .. w4 after one step", after["0.weight"].T.ravel()),
        ("w5 .. w8 after one step", after["1.weight"].T.ravel()),
    ]
    return [(name, values.tolist()) for name, values in rows]


class AfterUpdate(NamedTuple):
    """A figure after the update: as published, computed, and computed with the mistake."""

    quantity: str
    published: str
    computed: float
    with_the_slip: float


def mazur_after_update() -> list[AfterUpdate]:
    """Return the figures that the article prints for the time after the update; takes a second."""
    once, trained = mazur_after(1), mazur_after(10_000)
    outputs = trained.network.predict(trained.x)[0].tolist()
    slipped, slipped_outputs = mazur_with_the_slip(10_000)
    return [
        AfterUpdate(
            "E after one step",
            "0.291027924",
            mazur_error(once),
            mazur_with_the_slip(1)[0],
        ),
        AfterUpdate("E after 10,000 steps", "0.000035085", mazur_error(trained), slipped),
        AfterUpdate("out_o1 then", "0.015912196", outputs[0], float(slipped_outputs[0])),
        AfterUpdate("out_o2 then", "0.984065734", outputs[1], float(slipped_outputs[1])),
    ]
