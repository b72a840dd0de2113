"""Each formula is broken once on purpose, and the gradient check must notice and say where.

A row of a table says what is broken, how, on which network, and which parameters become wrong; the
others must stay right, and the worst must be one of the wrong ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.engines.reference import formulas
from deltarule.engines.reference import passes as backpropagation
from deltarule.formulas import activations, losses, penalties
from gradient_cases import (
    ACTIVATIONS,
    BATCH,
    OUTPUTS,
    PAIRS,
    REGRESSION_LOSSES,
    Bilinear,
    features,
    network,
    targets,
)

WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.1, 1.0])


@dataclass
class Case:
    """A network and what it is checked with."""

    layers: list[dr.Layer]
    loss: dr.losses.Loss
    penalty: Any = None
    weights: Any = None

    def check(self) -> dr.GradientCheck:
        return dr.check_gradients(
            network(self.layers),
            features(),
            targets(self.loss),
            self.loss,
            penalty=self.penalty,
            sample_weight=self.weights,
        )

    def notices(self, wrong: set[str]) -> None:
        """Fail unless exactly these parameters are found wrong, and one of them the worst."""
        check = self.check()
        found = {p.name for p in check.parameters if not p.relative_error <= check.tolerance}
        assert not check
        assert found == wrong, str(check)
        assert check.worst.name in wrong
        with pytest.raises(dr.DeltaruleError, match=f"'{check.worst.name}' is wrong"):
            check.raise_if_wrong()


FIRST = {"0.weight", "0.bias"}
LAST = {"1.weight", "1.bias"}
SQUARED = dr.SquaredError()


# -------------------------------------------------------------------------------- activations


# Slips that people make, beside the scaling by one thousandth below.
SLIPS = {
    "sigmoid: a (1 + a)": ("sigmoid", lambda f, z, a: a * (1 + a)),
    "sigmoid: derivative of a taken for z": ("sigmoid", lambda f, z, a: z * (1 - z)),
    "tanh: 1 - a": ("tanh", lambda f, z, a: 1 - a),
    "relu: 1 on both sides": ("relu", lambda f, z, a: np.ones_like(z)),
    "relu: sides exchanged": ("relu", lambda f, z, a: (z < 0).astype(z.dtype)),
    "leaky relu: 0 below": ("leaky_relu", lambda f, z, a: (z > 0).astype(z.dtype)),
    "elu: a instead of a + alpha": ("elu(0.4)", lambda f, z, a: np.where(z > 0, 1, a)),
    "elu: without alpha": ("elu(0.4)", lambda f, z, a: np.where(z > 0, 1, np.exp(z))),
    "selu: without scale": (
        "selu",
        lambda f, z, a: np.where(z > 0, 1, f.alpha * np.exp(np.minimum(z, 0))),
    ),
    "gelu: Phi alone": ("gelu", lambda f, z, a: activations.normal_cdf(z)),
    "gelu: that of the tanh form": (
        "gelu",
        lambda f, z, a: activations.GELUTanh().derivative(z, a),
    ),
    "gelu tanh: that of the exact form": (
        "gelu_tanh",
        lambda f, z, a: activations.GELU().derivative(z, a),
    ),
    "silu: sigma alone": ("silu", lambda f, z, a: activations.Sigmoid()(z)),
    "mish: t alone": ("mish", lambda f, z, a: np.tanh(np.log1p(np.exp(z)))),
    "softplus: softplus itself": ("softplus", lambda f, z, a: a),
    "exp: z": ("exp", lambda f, z, a: z),
    "identity: 0": ("identity", lambda f, z, a: np.zeros_like(z)),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_a_derivative_is_noticed(slip, monkeypatch):
    name, formula = SLIPS[slip]
    function = ACTIVATIONS[name]
    case = Case([dr.Dense(5), dr.Activation(function), dr.Dense(OUTPUTS)], SQUARED)
    case.check().raise_if_wrong()
    monkeypatch.setattr(type(function), "derivative", lambda self, z, a: formula(self, z, a))
    case.notices(FIRST)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "softmax"])
def test_a_derivative_wrong_by_a_thousandth_is_noticed(name, monkeypatch):
    function = ACTIVATIONS[name]
    case = Case([dr.Dense(5), dr.Activation(function), dr.Dense(OUTPUTS)], SQUARED)
    case.check().raise_if_wrong()
    right = type(function).derivative
    monkeypatch.setattr(type(function), "derivative", lambda self, z, a: 1.001 * right(self, z, a))
    case.notices(FIRST)


@pytest.mark.parametrize("name", ["elu", "selu", "gelu", "gelu_tanh", "silu", "mish"])
def test_a_derivative_taken_at_the_activation_instead_of_z_is_noticed(name, monkeypatch):
    function = ACTIVATIONS[name]
    case = Case([dr.Dense(5), dr.Activation(function), dr.Dense(OUTPUTS)], SQUARED)
    monkeypatch.setattr(
        type(function),
        "backward",
        lambda self, gradient, z, a: gradient * self.derivative(a, a),
    )
    case.notices(FIRST)


@pytest.mark.parametrize(
    "backward",
    [
        lambda self, g, z, a: g * a * (1 - a),
        lambda self, g, z, a: g * a,
        lambda self, g, z, a: a * (g - (g * a).sum(axis=0, keepdims=True)),
        lambda self, g, z, a: a * (g - g.sum(axis=1, keepdims=True)),
    ],
    ids=["the diagonal alone", "without the sum", "summed over rows", "sum without a"],
)
def test_a_wrong_jacobian_of_softmax_is_noticed(backward, monkeypatch):
    case = Case([dr.Dense(5), dr.Activation("softmax"), dr.Dense(OUTPUTS)], SQUARED)
    case.check().raise_if_wrong()
    monkeypatch.setattr(activations.Softmax, "backward", backward)
    case.notices(FIRST)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_leaving_an_activation_out_of_the_backward_pass_is_noticed(name, monkeypatch):
    if name == "identity":  # nothing to leave out: break it the other way
        monkeypatch.setattr(activations.Identity, "backward", lambda self, g, z, a: g * z)
    else:
        monkeypatch.setattr(type(ACTIVATIONS[name]), "backward", lambda self, g, z, a: g)
    Case([dr.Dense(5), dr.Activation(ACTIVATIONS[name]), dr.Dense(OUTPUTS)], SQUARED).notices(FIRST)


# ------------------------------------------------------------------------------------- losses


def _scaled(method, factor=1.001):
    return lambda self, *arguments: factor * method(self, *arguments)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_loss_gradient_wrong_by_a_thousandth_makes_every_parameter_wrong(pair, monkeypatch):
    loss, output = PAIRS[pair]
    case = Case([dr.Dense(5, "tanh"), dr.Dense(OUTPUTS, output)], loss)
    case.check().raise_if_wrong()
    canonical = isinstance(activations.ActivationFunction.resolve(output), loss.output_activation)
    method = "canonical_delta" if canonical else "gradient"
    monkeypatch.setattr(type(loss), method, _scaled(getattr(type(loss), method)))
    case.notices(FIRST | LAST)


LOSS_SLIPS = {
    "squared error: 2 (a - t)": (
        "squared_error-tanh",
        "gradient",
        lambda self, a, t: 2 * (a - t),
    ),
    "squared error: t - a": ("squared_error-tanh", "gradient", lambda self, a, t: t - a),
    "squared error: averaged over outputs": (
        "squared_error-identity",
        "gradient",
        lambda self, a, t: (a - t) / a.shape[1],
    ),
    "mean squared error: 2 forgotten": (
        "mean_squared_error-tanh",
        "gradient",
        lambda self, a, t: (a - t) / a.shape[1],
    ),
    "mean squared error: k forgotten": (
        "mean_squared_error-tanh",
        "gradient",
        lambda self, a, t: 2 * (a - t),
    ),
    "mean absolute error: sign of t - a": (
        "mean_absolute_error-tanh",
        "gradient",
        lambda self, a, t: np.sign(t - a) / a.shape[1],
    ),
    "huber: never clipped": (
        "huber(0.3)-identity",
        "gradient",
        lambda self, a, t: (a - t) / a.shape[1],
    ),
    "quantile: sides exchanged": (
        "quantile(0.8)-identity",
        "gradient",
        lambda self, a, t: np.where(a < t, self.q - 1, self.q) / a.shape[1],
    ),
    "poisson: 1 - a / t": (
        "poisson-softplus",
        "gradient",
        lambda self, a, t: (1 - a / np.maximum(t, 1)) / a.shape[1],
    ),
    "poisson: dl/da where dl/dz belongs": (
        "poisson-exp",
        "canonical_delta",
        lambda self, z, a, t: (1 - t / a) / a.shape[1],
    ),
    "binary cross-entropy: times a (1 - a)": (
        "binary_cross_entropy-sigmoid",
        "canonical_delta",
        lambda self, z, a, t: (a - t) * a * (1 - a),
    ),
    "binary cross-entropy: averaged over outputs": (
        "binary_cross_entropy-sigmoid",
        "canonical_delta",
        lambda self, z, a, t: (a - t) / a.shape[1],
    ),
    "cross-entropy: dl/da where dl/dz belongs": (
        "cross_entropy-softmax",
        "canonical_delta",
        lambda self, z, a, t: -t / a,
    ),
}


@pytest.mark.parametrize("slip", LOSS_SLIPS)
def test_a_slip_in_a_loss_makes_every_parameter_wrong(slip, monkeypatch):
    pair, method, formula = LOSS_SLIPS[slip]
    loss, output = PAIRS[pair]
    case = Case([dr.Dense(5, "tanh"), dr.Dense(OUTPUTS, output)], loss)
    case.check().raise_if_wrong()
    monkeypatch.setattr(type(loss), method, formula)
    case.notices(FIRST | LAST)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_reported_loss_that_the_gradient_does_not_differentiate_is_noticed(pair, monkeypatch):
    loss, output = PAIRS[pair]
    canonical = isinstance(activations.ActivationFunction.resolve(output), loss.output_activation)
    method = "canonical_value" if canonical else "value"
    monkeypatch.setattr(type(loss), method, _scaled(getattr(type(loss), method), 0.5))
    Case([dr.Dense(5, "tanh"), dr.Dense(OUTPUTS, output)], loss).notices(FIRST | LAST)


def test_label_smoothing_in_the_loss_alone_is_noticed(monkeypatch):
    loss = dr.CrossEntropy(label_smoothing=0.1)
    case = Case([dr.Dense(5, "tanh"), dr.Dense(OUTPUTS, "softmax")], loss)
    case.check().raise_if_wrong()

    def unsmoothed(self, z, a, t):
        return a - (t - self.label_smoothing / t.shape[1]) / (1 - self.label_smoothing)

    monkeypatch.setattr(losses.CrossEntropy, "canonical_delta", unsmoothed)
    case.notices(FIRST | LAST)


# ------------------------------------------------------------------- scaling and sample weights

REDUCTIONS = [*REGRESSION_LOSSES.values(), dr.Poisson, dr.BinaryCrossEntropy, dr.CrossEntropy]


def _ending_for(loss):
    return dr.Dense(OUTPUTS, loss.output_activation())


@pytest.mark.parametrize("kind", REDUCTIONS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("factor", [BATCH, OUTPUTS, 1 / BATCH], ids=["1/n", "1/k", "1/n twice"])
def test_a_forgotten_or_repeated_division_is_noticed(kind, factor, monkeypatch):
    loss = kind()
    case = Case([dr.Dense(5, "tanh"), _ending_for(loss)], loss)
    right = backpropagation.loss_scale
    monkeypatch.setattr(
        "deltarule.inspect.trace.loss_scale", lambda plan, total: factor * right(plan, total)
    )
    case.notices(FIRST | LAST)


def test_a_mean_in_the_place_of_a_sum_is_noticed(monkeypatch):
    loss = dr.SquaredError(reduction="sum")
    monkeypatch.setattr("deltarule.inspect.trace.loss_scale", lambda plan, total: 1 / total)
    Case([dr.Dense(5, "tanh"), _ending_for(loss)], loss).notices(FIRST | LAST)


def test_dividing_by_the_number_of_rows_instead_of_the_sum_of_weights_is_noticed(monkeypatch):
    monkeypatch.setattr("deltarule.inspect.trace.loss_scale", lambda plan, total: 1 / BATCH)
    case = Case([dr.Dense(5, "tanh"), dr.Dense(OUTPUTS)], SQUARED, weights=WEIGHTS)
    case.notices(FIRST | LAST)


@pytest.mark.parametrize(
    "wrong", [lambda w: None, lambda w: w**2], ids=["left out", "applied twice"]
)
def test_sample_weights_that_the_backward_pass_handles_wrongly_are_noticed(wrong, monkeypatch):
    case = Case([dr.Dense(5, "tanh"), dr.Dense(OUTPUTS)], SQUARED, weights=WEIGHTS)
    case.check().raise_if_wrong()
    right = backpropagation.backward

    def broken(plan, done, t, weights, context, *, whole):
        right(plan, done, t, wrong(weights), context, whole=whole)

    monkeypatch.setattr("deltarule.inspect.trace.backward", broken)
    case.notices(FIRST | LAST)


# ------------------------------------------------------------------------- the reference engine

DENSE = [dr.Dense(5, "tanh"), dr.Dense(OUTPUTS)]
BATCH_NORM = [dr.Dense(5), dr.BatchNorm(), dr.Activation("tanh"), dr.Dense(OUTPUTS)]
FROZEN = [
    dr.Dense(5),
    dr.BatchNorm(learning_rate_factor=0),
    dr.Activation("tanh"),
    dr.Dense(OUTPUTS),
]
LAYER_NORM = [dr.Dense(5), dr.LayerNorm(), dr.Activation("tanh"), dr.Dense(OUTPUTS)]
SCALE = [dr.Dense(5, "tanh"), dr.Scale(1.5), dr.Dense(OUTPUTS)]
DROPOUT = [dr.Dense(5), dr.Dropout(0.4), dr.Activation("tanh"), dr.Dense(OUTPUTS)]


def _keep_training(f):
    """Return a normalisation's backward whose mean and variance count as constants."""

    def broken(gradient, x_hat, r, scale, *of_batch):
        _, of_scale, of_shift = f(gradient, x_hat, r, scale, *of_batch)
        return gradient * scale * r, of_scale, of_shift

    return broken


def _without(term, axis):
    """Return a normalisation's backward without the mean of g, or without its part along x_hat."""

    def broken(gradient, x_hat, r, scale, *of_batch):
        g = gradient * scale
        mean = g.mean(axis=axis, keepdims=True)
        along = x_hat * (g * x_hat).mean(axis=axis, keepdims=True)
        dx = r * (g - (along if term == "mean" else mean))
        return dx, (gradient * x_hat).sum(axis=0), gradient.sum(axis=0)

    return broken


def _part(f, number, change):
    """Return a backward whose result ``number`` is changed."""

    def broken(*arguments):
        parts = list(f(*arguments))
        parts[number] = change(*arguments, parts[number])
        return tuple(parts)

    return broken


dense, batch, layer = (
    formulas.dense_backward,
    formulas.batch_norm_backward,
    formulas.layer_norm_backward,
)
NORM = {"1.scale", "1.shift"}

BACKWARDS = {
    "dense: dW scaled": (
        "dense_backward",
        _part(dense, 1, lambda delta, a, W, dW: 1.001 * dW),
        DENSE,
        {"0.weight", "1.weight"},
    ),
    "dense: dW of another row order": (
        "dense_backward",
        _part(dense, 1, lambda delta, a, W, dW: a[::-1].T @ delta),
        DENSE,
        {"0.weight", "1.weight"},
    ),
    "dense: db averaged": (
        "dense_backward",
        _part(dense, 2, lambda delta, a, W, db: delta.mean(axis=0)),
        DENSE,
        {"0.bias", "1.bias"},
    ),
    "dense: delta not passed through W": (
        "dense_backward",
        _part(dense, 0, lambda delta, a, W, da: np.repeat(delta.sum(1)[:, None], len(W), 1)),
        DENSE,
        FIRST,
    ),
    "dense: delta through weights already updated": (
        "dense_backward",
        _part(dense, 0, lambda delta, a, W, da: delta @ (W - 0.5 * a.T @ delta).T),
        DENSE,
        FIRST,
    ),
    "dense: delta through W's absolute values": (
        "dense_backward",
        _part(dense, 0, lambda delta, a, W, da: delta @ np.abs(W).T),
        DENSE,
        FIRST,
    ),
    "batch norm: statistics as constants": (
        "batch_norm_backward",
        _keep_training(batch),
        BATCH_NORM,
        {"0.weight", "0.bias"},
    ),
    "batch norm: mean forgotten": (
        "batch_norm_backward",
        _without("mean", 0),
        BATCH_NORM,
        {"0.weight", "0.bias"},
    ),
    "batch norm: variance forgotten": (
        "batch_norm_backward",
        _without("variance", 0),
        BATCH_NORM,
        {"0.weight"},  # the mean of x_hat is 0: the bias does not see it
    ),
    "batch norm: unbiased mean along x_hat": (
        "batch_norm_backward",
        _part(
            batch,
            0,
            lambda g, x_hat, r, s, of_batch, dx: (
                r * s * (g - g.mean(0) - x_hat * (g * x_hat).sum(0) / (BATCH - 1))
            ),
        ),
        BATCH_NORM,
        {"0.weight"},
    ),
    "batch norm: 1/deviation forgotten": (
        "batch_norm_backward",
        _part(batch, 0, lambda g, x_hat, r, s, of_batch, dx: dx / r),
        BATCH_NORM,
        {"0.weight"},  # the bias's gradient is 0 either way
    ),
    "batch norm: scale forgotten": (
        "batch_norm_backward",
        _part(batch, 0, lambda g, x_hat, r, s, of_batch, dx: dx / s),
        BATCH_NORM,
        {"0.weight"},
    ),
    "batch norm: dscale without x_hat": (
        "batch_norm_backward",
        _part(batch, 1, lambda g, x_hat, r, s, of_batch, ds: g.sum(0)),
        BATCH_NORM,
        {"1.scale"},
    ),
    "batch norm: dshift averaged": (
        "batch_norm_backward",
        _part(batch, 2, lambda g, x_hat, r, s, of_batch, db: g.mean(0)),
        BATCH_NORM,
        {"1.shift"},
    ),
    "frozen batch norm: statistics of the batch": (
        "batch_norm_backward",
        lambda g, x_hat, r, s, of_batch: batch(g, x_hat, r, s, True),
        FROZEN,
        {"0.weight", "0.bias"},
    ),
    "layer norm: statistics as constants": (
        "layer_norm_backward",
        _keep_training(layer),
        LAYER_NORM,
        {"0.weight", "0.bias"},
    ),
    "layer norm: mean forgotten": (
        "layer_norm_backward",
        _without("mean", 1),
        LAYER_NORM,
        {"0.weight", "0.bias"},
    ),
    "layer norm: variance forgotten": (
        "layer_norm_backward",
        _without("variance", 1),
        LAYER_NORM,
        {"0.weight", "0.bias"},
    ),
    "layer norm: means over rows": (
        "layer_norm_backward",
        _without("neither", 0),
        LAYER_NORM,
        {"0.weight", "0.bias"},
    ),
    "layer norm: scale forgotten": (
        "layer_norm_backward",
        _part(
            layer,
            0,
            lambda g, x_hat, r, s, dx: (
                r * (g - g.mean(1, keepdims=True) - x_hat * (g * x_hat).mean(1, keepdims=True))
            ),
        ),
        LAYER_NORM,
        {"0.weight", "0.bias"},
    ),
    "layer norm: dscale without x_hat": (
        "layer_norm_backward",
        _part(layer, 1, lambda g, x_hat, r, s, ds: g.sum(0)),
        LAYER_NORM,
        {"1.scale"},
    ),
    "layer norm: dshift averaged": (
        "layer_norm_backward",
        _part(layer, 2, lambda g, x_hat, r, s, db: g.mean(0)),
        LAYER_NORM,
        {"1.shift"},
    ),
    "scale: scale forgotten": (
        "scale_backward",
        _part(formulas.scale_backward, 0, lambda g, x, s, dx: g),
        SCALE,
        {"0.weight", "0.bias"},
    ),
    "scale: dscale averaged": (
        "scale_backward",
        _part(formulas.scale_backward, 1, lambda g, x, s, ds: (g * x).mean(0)),
        SCALE,
        {"1.scale"},
    ),
    "dropout: mask forgotten": (
        "dropout_backward",
        lambda gradient, keep, rate: gradient / (1 - rate),
        DROPOUT,
        FIRST,
    ),
    "dropout: 1 - rate forgotten": (
        "dropout_backward",
        lambda gradient, keep, rate: gradient * keep,
        DROPOUT,
        FIRST,
    ),
    "dropout: divided by rate": (
        "dropout_backward",
        lambda gradient, keep, rate: gradient * keep / rate,
        DROPOUT,
        FIRST,
    ),
    "dropout: the opposite mask": (
        "dropout_backward",
        lambda gradient, keep, rate: gradient * ~keep / (1 - rate),
        DROPOUT,
        FIRST,
    ),
    "dropout: another mask": (
        "dropout_backward",
        lambda gradient, keep, rate: gradient * keep[::-1] / (1 - rate),
        DROPOUT,
        FIRST,
    ),
    "dropout: left out": (
        "dropout_backward",
        lambda gradient, keep, rate: gradient,
        DROPOUT,
        FIRST,
    ),
}


@pytest.mark.parametrize("what", BACKWARDS)
def test_a_broken_backward_formula_is_noticed(what, monkeypatch):
    function, broken, layers, wrong = BACKWARDS[what]
    case = Case(layers, SQUARED)
    case.check().raise_if_wrong()
    monkeypatch.setattr(formulas, function, broken)
    case.notices(wrong)


def test_every_backward_function_of_the_engine_is_broken_here():
    own = {name for name in vars(formulas) if name.endswith("_backward")}
    assert own == {row[0] for row in BACKWARDS.values()}


RESIDUAL = [dr.Dense(4, "tanh"), dr.Residual([dr.Dense(5, "tanh"), dr.Dense(4)]), dr.Dense(OUTPUTS)]
PROJECTED = [dr.Dense(4, "tanh"), dr.Residual([dr.Dense(5, "tanh")]), dr.Dense(OUTPUTS)]


@pytest.mark.parametrize(
    ("layers", "dropped", "wrong"),
    [
        (RESIDUAL, 0, FIRST),
        (RESIDUAL, 1, FIRST | {"1.0.weight", "1.0.bias", "1.1.weight", "1.1.bias"}),
        (PROJECTED, 0, FIRST | {"1.projection.weight"}),
        (PROJECTED, 1, FIRST | {"1.0.weight", "1.0.bias"}),
    ],
    ids=["shortcut", "inner stack", "projected shortcut", "inner stack beside a projection"],
)
def test_a_delta_that_one_branch_of_a_residual_does_not_get_is_noticed(
    layers, dropped, wrong, monkeypatch
):
    case = Case(layers, SQUARED)
    case.check().raise_if_wrong()
    right = backpropagation._backward

    def broken(op, done, context, whole):
        shares = list(right(op, done, context, whole))
        if len(op.sources) == 2:
            slot, gradient = shares[dropped]
            shares[dropped] = slot, 0 * gradient
        yield from shares

    monkeypatch.setattr(backpropagation, "_backward", broken)
    case.notices(wrong)


CUSTOM = [dr.Dense(5, "tanh"), Bilinear(4), dr.Dense(OUTPUTS)]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda dx, p: (0.5 * dx, p), FIRST),
        (lambda dx, p: (dx, p | {"left": 2 * p["left"]}), {"1.left"}),
        (lambda dx, p: (dx, p | {"right": -p["right"]}), {"1.right"}),
        (lambda dx, p: (dx, {"left": p["right"], "right": p["left"]}), {"1.left", "1.right"}),
    ],
    ids=["dx", "one parameter", "the other parameter", "parameters exchanged"],
)
def test_a_wrong_formula_of_a_custom_layer_is_noticed(change, wrong, monkeypatch):
    case = Case(CUSTOM, SQUARED)
    case.check().raise_if_wrong()
    right = Bilinear.backward
    monkeypatch.setattr(Bilinear, "backward", lambda *arguments: change(*right(*arguments)))
    case.notices(wrong)


# ---------------------------------------------------------------------------------- penalties

PENALTY_SLIPS = {
    "l2: 2 strength W": (penalties.L2(0.3), lambda self, W: 2 * self.strength * W),
    "l2: divided by the batch": (penalties.L2(0.3), lambda self, W: self.strength * W / BATCH),
    "l2: left out": (penalties.L2(0.3), lambda self, W: 0 * W),
    "l2: wrong by a thousandth": (penalties.L2(0.3), lambda self, W: 1.001 * self.strength * W),
    "l1: W instead of its sign": (penalties.L1(0.2), lambda self, W: self.strength * W),
    "l1: positive everywhere": (penalties.L1(0.2), lambda self, W: self.strength * np.ones_like(W)),
    "l1: wrong by a thousandth": (
        penalties.L1(0.2),
        lambda self, W: 1.001 * self.strength * np.sign(W),
    ),
    "elastic net: l1 alone": (penalties.ElasticNet(0.1, 0.4), lambda self, W: self.l1 * np.sign(W)),
    "elastic net: l2 alone": (penalties.ElasticNet(0.1, 0.4), lambda self, W: self.l2 * W),
    "elastic net: strengths exchanged": (
        penalties.ElasticNet(0.1, 0.4),
        lambda self, W: self.l2 * np.sign(W) + self.l1 * W,
    ),
}


@pytest.mark.parametrize("place", ["network", "layer"])
@pytest.mark.parametrize("slip", PENALTY_SLIPS)
def test_a_slip_in_a_penalty_is_noticed_at_the_weights_it_acts_on(slip, place, monkeypatch):
    penalty, formula = PENALTY_SLIPS[slip]
    if place == "network":
        case, wrong = Case(DENSE, SQUARED, penalty=penalty), {"0.weight", "1.weight"}
    else:
        layers = [dr.Dense(5, "tanh", penalty=penalty), dr.Dense(OUTPUTS)]
        case, wrong = Case(layers, SQUARED), {"0.weight"}
    case.check().raise_if_wrong()
    monkeypatch.setattr(type(penalty), "gradient", formula, raising=True)
    case.notices(wrong)


def test_a_penalty_counted_in_the_gradient_and_not_in_the_loss_is_noticed(monkeypatch):
    monkeypatch.setattr(penalties.Penalty, "value", lambda self, W: 0.0)
    Case(DENSE, SQUARED, penalty=dr.L2(0.3)).notices({"0.weight", "1.weight"})


# ----------------------------------------------------------------------- the smallest places


def test_one_wrong_coordinate_is_named_by_the_check_of_every_coordinate(monkeypatch):
    def broken(delta, a_prev, W):
        da_prev, dW, db = dense(delta, a_prev, W)
        if W.shape == (5, OUTPUTS):
            dW = dW.copy()
            dW[3, 1] *= 1.001
        return da_prev, dW, db

    monkeypatch.setattr(formulas, "dense_backward", broken)
    check = dr.check_gradients(
        network(DENSE), features(), targets(SQUARED), SQUARED, every_coordinate=True
    )
    assert not check
    assert (check.worst.name, check.worst.coordinate) == ("1.weight", (3, 1))
    assert check.worst.relative_error == pytest.approx(1e-3, rel=0.01)
