"""Every gradient agrees with finite differences of the reported loss, in float64 to 1e-6."""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr
from deltarule.plan import compile_network
from gradient_cases import (
    ACTIVATIONS,
    BATCH,
    INPUTS,
    LAYERS,
    OUTPUTS,
    PAIRS,
    PENALTIES,
    REGRESSION_LOSSES,
    Bilinear,
    features,
    network,
    targets,
)
from pairwise import pairwise

TOLERANCE = 1e-6

# One pair per loss: together they cover canonical outputs and others.
PRODUCT_PAIRS = [
    "squared_error-tanh",
    "mean_squared_error-identity",
    "mean_absolute_error-identity",
    "huber-tanh",
    "quantile(0.8)-identity",
    "poisson-exp",
    "binary_cross_entropy-sigmoid",
    "cross_entropy-softmax",
]
PLAIN_ACTIVATIONS = [name for name in ACTIVATIONS if "(" not in name]


def test_the_widths_and_the_batch_all_differ():
    assert len({INPUTS, OUTPUTS, BATCH}) == 3


def test_every_activation_loss_and_penalty_has_a_case():
    def classes(base):
        own = [base, *base.__subclasses__()]
        own += [deeper for c in own[1:] for deeper in c.__subclasses__()]
        return {c.name for c in own if c.name and c.__module__.startswith("deltarule.")}

    assert classes(dr.activations.ActivationFunction) == {f.name for f in ACTIVATIONS.values()}
    assert classes(dr.losses.Loss) == {PAIRS[name][0].name for name in PRODUCT_PAIRS}
    assert classes(dr.penalties.Penalty) == {p.name for p in PENALTIES.values() if p}


@pairwise(layer=LAYERS, activation=PLAIN_ACTIVATIONS, pair=PRODUCT_PAIRS, penalty=PENALTIES)
def test_every_layer_activation_loss_and_penalty_agrees(layer, activation, pair, penalty):
    loss, output = PAIRS[pair]
    net = network([*LAYERS[layer](ACTIVATIONS[activation]), dr.Dense(OUTPUTS, output)])
    dr.check_gradients(
        net,
        features(),
        targets(loss),
        loss,
        penalty=PENALTIES[penalty],
        directions=1,
        tolerance=TOLERANCE,
    ).raise_if_wrong()


@pairwise(
    loss=REGRESSION_LOSSES,
    activation=ACTIVATIONS,
    reduction=["mean", "sum"],
    weighted=[False, True],
)
def test_every_regression_loss_agrees_behind_every_output(loss, activation, reduction, weighted):
    net = network([dr.Dense(4, "tanh"), dr.Dense(OUTPUTS, ACTIVATIONS[activation])])
    weights = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.1, 1.0]) if weighted else None
    chosen = REGRESSION_LOSSES[loss](reduction=reduction)
    check = dr.check_gradients(
        net, features(), targets(chosen), chosen, sample_weight=weights, tolerance=TOLERANCE
    )
    check.raise_if_wrong()


SOFT_ROWS = np.random.default_rng(5).dirichlet([1.0, 1.0], BATCH)

CLASSIFICATION = {
    "poisson exp": (dr.Poisson, "exp", targets(dr.Poisson())),
    "poisson softplus": (dr.Poisson, "softplus", targets(dr.Poisson())),
    "poisson fractions": (dr.Poisson, "exp", np.abs(targets(dr.SquaredError()))),
    "binary": (dr.BinaryCrossEntropy, "sigmoid", targets(dr.BinaryCrossEntropy())),
    "binary soft": (dr.BinaryCrossEntropy, "sigmoid", SOFT_ROWS),
    "labels": (dr.CrossEntropy, "softmax", targets(dr.CrossEntropy())),
    "one-hot": (dr.CrossEntropy, "softmax", np.eye(OUTPUTS)[targets(dr.CrossEntropy())]),
    "soft": (dr.CrossEntropy, "softmax", SOFT_ROWS),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("case", CLASSIFICATION)
def test_counts_and_entropies_agree_with_every_form_of_target(case, reduction, weighted):
    kind, output, t = CLASSIFICATION[case]
    net = network([dr.Dense(4, "tanh"), dr.Dense(OUTPUTS, output)])
    weights = np.array([0.5, 2.0, 0.0, 1.0, 3.0, 0.1, 1.0]) if weighted else None
    dr.check_gradients(
        net, features(), t, kind(reduction=reduction), sample_weight=weights, tolerance=TOLERANCE
    ).raise_if_wrong()


@pytest.mark.parametrize("target", ["labels", "one-hot", "soft"])
@pytest.mark.parametrize("smoothing", [0.05, 0.5, 0.99])
def test_cross_entropy_agrees_under_label_smoothing(smoothing, target):
    t = CLASSIFICATION[target][2]
    net = network([dr.Dense(4, "tanh"), dr.Dense(OUTPUTS, "softmax")])
    loss = dr.CrossEntropy(label_smoothing=smoothing)
    dr.check_gradients(net, features(), t, loss, tolerance=TOLERANCE).raise_if_wrong()


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if "(" in name])
@pytest.mark.parametrize("layer", LAYERS)
def test_activations_agree_at_other_settings(layer, activation):
    net = network([*LAYERS[layer](ACTIVATIONS[activation]), dr.Dense(OUTPUTS)])
    t = targets(dr.SquaredError())
    dr.check_gradients(net, features(), t, "squared_error", tolerance=TOLERANCE).raise_if_wrong()


LAST_LAYERS = {
    "batch norm": dr.BatchNorm(),
    "layer norm": dr.LayerNorm(),
    "dropout": dr.Dropout(0.4),
    "residual": dr.Residual([dr.Dense(4, "tanh"), dr.Dense(OUTPUTS, "sigmoid")]),
    "residual of an activation": dr.Residual([dr.Activation("silu")]),
    "custom layer": Bilinear(OUTPUTS),
    "activation": dr.Activation("tanh"),
}


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
@pytest.mark.parametrize("last", LAST_LAYERS)
def test_a_network_may_end_with_any_layer(last, loss):
    net = network([dr.Dense(OUTPUTS, "tanh"), LAST_LAYERS[last]])
    chosen = REGRESSION_LOSSES[loss]()
    dr.check_gradients(
        net, features(), targets(chosen), chosen, tolerance=TOLERANCE
    ).raise_if_wrong()


FIRST_LAYERS = {
    "batch norm": dr.BatchNorm(),
    "layer norm": dr.LayerNorm(),
    "dropout": dr.Dropout(0.4),
    "residual": dr.Residual([dr.Dense(4, "tanh"), dr.Dense(INPUTS)]),
    "residual with projection": dr.Residual([dr.Dense(4, "tanh")]),
    "custom layer": Bilinear(4),
    "activation": dr.Activation("tanh"),
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("first", FIRST_LAYERS)
def test_a_network_may_begin_with_any_layer(first, training):
    net = network([FIRST_LAYERS[first], dr.Dense(OUTPUTS)])
    dr.check_gradients(
        net,
        features(),
        targets(dr.SquaredError()),
        "squared_error",
        training=training,
        tolerance=TOLERANCE,
    ).raise_if_wrong()


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("pair", ["squared_error-tanh", "cross_entropy-softmax"])
def test_every_single_coordinate_agrees(layer, pair, training):
    loss, output = PAIRS[pair]
    net = network([*LAYERS[layer](dr.activations.Tanh()), dr.Dense(OUTPUTS, output)])
    check = dr.check_gradients(
        net,
        features(),
        targets(loss),
        loss,
        penalty="l2",
        every_coordinate=True,
        training=training,
        tolerance=TOLERANCE,
    )
    check.raise_if_wrong()
    assert {p.name: p.checked for p in check.parameters} == {
        name: array.size for name, array in net.parameters.items()
    }


BATCH_NORM_MODES = {
    "training": (dr.BatchNorm(), True),
    "evaluation": (dr.BatchNorm(), False),
    "frozen": (dr.BatchNorm(learning_rate_factor=0), True),
    "large epsilon": (dr.BatchNorm(epsilon=0.5), True),
}


@pytest.mark.parametrize("mode", BATCH_NORM_MODES)
@pytest.mark.parametrize("activation", PLAIN_ACTIVATIONS)
def test_batch_norm_agrees_in_each_mode(mode, activation):
    layer, training = BATCH_NORM_MODES[mode]
    net = network([dr.Dense(5), layer, dr.Activation(activation), dr.Dense(OUTPUTS)])
    dr.check_gradients(
        net,
        features(),
        targets(dr.SquaredError()),
        "squared_error",
        training=training,
        tolerance=TOLERANCE,
    ).raise_if_wrong()


def test_a_frozen_batch_norm_has_the_gradients_of_evaluation():
    net = network([dr.Dense(5), dr.BatchNorm(), dr.Activation("tanh"), dr.Dense(OUTPUTS)])
    x, t = features(), targets(dr.SquaredError())
    evaluation = dr.backpropagate(net, x, t, "squared_error", training=False)
    training = dr.backpropagate(net, x, t, "squared_error", training=True)
    frozen = dr.backpropagate(net.copy().freeze("1"), x, t, "squared_error", training=True)
    for name, gradient in evaluation.gradients.items():
        np.testing.assert_array_equal(frozen.gradients[name], gradient)
    assert np.abs(training.gradients["0.weight"] - evaluation.gradients["0.weight"]).max() > 0.01


def test_a_bias_that_batch_norm_takes_away_has_gradient_zero_and_is_no_false_alarm():
    for seed in range(20):
        net = network(
            [dr.Dense(5), dr.BatchNorm(), dr.Activation("tanh"), dr.Dense(OUTPUTS)], seed=seed
        )
        # A sum over 7 examples of shifted, scaled targets: losses of every size.
        t = 10.0 ** (seed % 7) * targets(dr.SquaredError(), seed=seed)
        x = features(seed=seed)
        trace = dr.backpropagate(net, x, t, "squared_error")
        size = np.abs(trace.deltas["1"]).max() * BATCH
        # Means of 7 numbers leave a few roundings of their terms, however the terms cancel.
        assert np.abs(trace.gradients["0.bias"]).max() < 1e3 * np.finfo(float).eps * size
        dr.check_gradients(net, x, t, "squared_error", tolerance=TOLERANCE).raise_if_wrong()


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (0, 1), (7, 0), (2**40, 2**33)])
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 0.9])
def test_dropout_agrees_under_the_mask_of_its_seed_and_step(rate, seed, step):
    net = network([dr.Dense(6, "tanh"), dr.Dropout(rate), dr.Dense(OUTPUTS)])
    x, t = features(), targets(dr.SquaredError())
    trace = dr.backpropagate(net, x, t, "squared_error", seed=seed, step=step)
    dropped = trace.activations["1"] == 0
    assert dropped.any() == (rate > 0)
    np.testing.assert_array_equal(trace.deltas["0"][dropped], 0)
    dr.check_gradients(
        net, x, t, "squared_error", seed=seed, step=step, tolerance=TOLERANCE
    ).raise_if_wrong()


@pytest.mark.parametrize("own", [p for p in PENALTIES if p != "no penalty"])
@pytest.mark.parametrize("wide", PENALTIES)
def test_a_penalty_of_one_layer_agrees_beside_that_of_the_network(own, wide):
    net = network(
        [dr.Dense(5, "tanh", penalty=PENALTIES[own]), dr.Residual([dr.Dense(4)]), dr.Dense(OUTPUTS)]
    )
    x, t = features(), targets(dr.SquaredError())
    dr.check_gradients(
        net, x, t, "squared_error", penalty=PENALTIES[wide], tolerance=TOLERANCE
    ).raise_if_wrong()

    trace = dr.backpropagate(net, x, t, "squared_error", penalty=PENALTIES[wide])
    bare = dr.backpropagate(
        network([dr.Dense(5, "tanh"), dr.Residual([dr.Dense(4)]), dr.Dense(OUTPUTS)]),
        x,
        t,
        "squared_error",
    )
    for name, gradient in trace.gradients.items():
        acting = PENALTIES[own] if name == "0.weight" else PENALTIES[wide]
        added = 0.0
        if acting is not None and name.endswith("weight"):
            l1, l2 = acting.coefficients
            added = l1 * np.sign(net.parameters[name]) + l2 * net.parameters[name]
            added = added / len(x) if acting.over_batch else added
        np.testing.assert_allclose(gradient, bare.gradients[name] + added, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("single", ["vector", "row"])
def test_a_single_example_agrees(single):
    net = network([dr.Dense(4, "sigmoid"), dr.Dense(OUTPUTS, "sigmoid")])
    x, t = features(1), targets(dr.SquaredError(), 1)
    if single == "vector":
        x, t = x[0], t[0]
    dr.check_gradients(net, x, t, "squared_error", tolerance=TOLERANCE).raise_if_wrong()


# ------------------------------------------------------ independent of check_gradients: dL/dx


def _loss_at(net, x, t, loss, **settings):
    return dr.backpropagate(net, x, t, loss, **settings).loss


def _distance_from_kinks(net, x, t, loss, **settings):
    trace = dr.backpropagate(net, x, t, loss, **settings)
    gaps = [
        np.abs(trace.preactivations[op.path] - kink).min()
        for op in compile_network(net).operations
        for kink in op.layer.kinks
    ]
    return min(gaps, default=np.inf)


@pairwise(
    layer=LAYERS,
    activation=["tanh", "relu", "gelu", "selu", "softmax"],
    pair=["squared_error-tanh", "poisson-exp", "cross_entropy-softmax"],
)
def test_the_input_gradient_agrees_with_differences_of_the_loss(layer, activation, pair):
    """A fourth-order difference with h = 1e-3, written here.

    Its truncation error is about ``h^4 |L^(5)| / 30 < 1e-13 |L^(5)|``, its rounding error about
    ``18 eps |L| / 12 h < 1e-12 |L|``; both lie far below 1e-6 of the largest component.
    """
    loss, output = PAIRS[pair]
    h = 1e-3
    for seed in range(200):  # data on which no kink lies within the stencil
        net = network(
            [*LAYERS[layer](ACTIVATIONS[activation]), dr.Dense(OUTPUTS, output)], seed=seed
        )
        x, t = features(seed=seed), targets(loss, seed=seed)
        if _distance_from_kinks(net, x, t, loss, seed=3) > 20 * h:
            break
    else:
        pytest.fail("no data away from kinks")
    trace = dr.backpropagate(net, x, t, loss, seed=3)
    assert trace.input_gradient.shape == x.shape
    expected = np.empty_like(x)
    for place in np.ndindex(x.shape):
        values = []
        for multiple in (-2, -1, 1, 2):
            moved = x.copy()
            moved[place] += multiple * h
            values.append(_loss_at(net, moved, t, loss, seed=3))
        expected[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    atol = 1e-6 * np.abs(expected).max()
    np.testing.assert_allclose(trace.input_gradient, expected, rtol=0, atol=atol)


# ------------------------------------------------------------------------- the check itself


def test_the_check_leaves_the_network_as_it_was():
    net = network([dr.Dense(5, "relu"), dr.BatchNorm(), dr.Dense(OUTPUTS)])
    vector, state = net.vector.copy(), net.state_vector.copy()
    dr.check_gradients(net, features(), targets(dr.SquaredError()), "squared_error")
    np.testing.assert_array_equal(net.vector, vector)
    np.testing.assert_array_equal(net.state_vector, state)


def test_a_float32_network_is_checked_in_float64():
    net = dr.Network([dr.Dense(5, "gelu"), dr.Dense(OUTPUTS)], inputs=INPUTS, seed=1)
    t = targets(dr.SquaredError())
    assert dr.check_gradients(net, features(), t, "squared_error", tolerance=TOLERANCE)
    assert net.dtype == np.float32


def test_a_direction_across_a_kink_is_skipped_and_counted():
    net = dr.Network([dr.Dense(2, "relu"), dr.Dense(1)], inputs=1, dtype="float64", seed=0)
    net.parameters["0.bias"] = [0.0, 1.0]
    # At x = 0 the first unit's preactivation is its bias, 0: its kink. Weights do not move it.
    check = dr.check_gradients(net, [[0.0]], [[1.0]], "squared_error", every_coordinate=True)
    by_name = {p.name: p for p in check.parameters}
    assert (by_name["0.bias"].checked, by_name["0.bias"].skipped) == (1, 1)
    assert (by_name["1.weight"].checked, by_name["1.weight"].skipped) == (2, 0)
    assert check


def test_a_parameter_with_kinks_on_every_side_is_skipped_not_failed():
    net = dr.Network([dr.Dense(2, "relu"), dr.Dense(1)], inputs=1, dtype="float64", seed=0)
    check = dr.check_gradients(net, [[0.0]], [[1.0]], "squared_error")
    assert check
    assert "3 directions skipped at kinks" in str(check)


def test_where_every_direction_has_a_kink_nothing_is_checked_and_the_verdict_says_so():
    net = dr.Network([dr.Dense(1, "relu")], inputs=1, weight_initializer="zeros")
    check = dr.check_gradients(net, [[1.0]], [[1.0]], "squared_error")
    assert not check
    with pytest.raises(dr.DeltaruleError, match="nothing was checked: all 6 directions"):
        check.raise_if_wrong()


AT_KINKS = {
    "relu": ([dr.Dense(4, "relu"), dr.Dense(2)], "squared_error"),
    "hard swish": ([dr.Dense(4, "hard_swish"), dr.Dense(2)], "squared_error"),
    "absolute errors": ([dr.Dense(4, "tanh"), dr.Dense(2)], "mean_absolute_error"),
    "huber": ([dr.Dense(4, "tanh"), dr.Dense(2)], dr.Huber(0.5)),
    "quantile": ([dr.Dense(4, "tanh"), dr.Dense(2)], dr.Quantile(0.3)),
}


def at_kinks(case):
    """A network and data of which example 0 lies exactly at a kink, and the others do not."""
    layers, loss = AT_KINKS[case]
    net = network(layers, seed=3)
    x = features()
    x[0] = 0
    net.parameters["0.bias"][...] = -3.0 if case == "hard swish" else 0.0
    t = np.random.default_rng(2).normal(size=(len(x), 2))
    t[0] = net.predict(x)[0] - (0.5 if case == "huber" else 0)
    return net, x, t, loss


@pytest.mark.parametrize("case", AT_KINKS)
def test_an_example_at_a_kink_is_left_out_and_the_others_are_checked(case):
    net, x, t, loss = at_kinks(case)
    check = dr.check_gradients(net, x, t, loss, every_coordinate=True)
    assert check
    assert max(p.left_out for p in check.parameters) == 1
    assert all(p.checked == net.parameters[p.name].size for p in check.parameters)
    assert "1 examples left out" in str(check)


@pytest.mark.parametrize("case", AT_KINKS)
def test_a_wrong_gradient_is_seen_although_an_example_lies_at_a_kink(case, monkeypatch):
    net, x, t, loss = at_kinks(case)
    kind = type(dr.losses.Loss.resolve(loss))
    right = kind.gradient
    monkeypatch.setattr(kind, "gradient", lambda self, a, t: 1.001 * right(self, a, t))
    check = dr.check_gradients(net, x, t, loss)
    assert not check
    assert check.worst.relative_error == pytest.approx(0.001 / 1.001, rel=0.01)
