"""Residual layers, frozen parameters and factors on the learning rate follow PyTorch's."""

import numpy as np
import pytest
from twin import LABELS, F, Recipe, follow, gap, network, optim, our_numbers, stack

import deltarule as dr

# ---------------------------------------------------------------------------------------- residual

RESIDUALS = {
    "identity shortcut": [
        dr.Dense(8, "tanh"),
        dr.Residual([dr.Dense(6, "tanh"), dr.Dense(8)]),
        dr.Dense(4),
    ],
    "projection": [
        dr.Dense(8, "tanh"),
        dr.Residual([dr.Dense(5, "tanh"), dr.Dense(6)]),
        dr.Activation("silu"),
        dr.Dense(4),
    ],
    "projection of the input": [
        dr.Residual([dr.Dense(8, "tanh"), dr.Dense(6, "tanh")]),
        dr.Dense(4),
    ],
    "projection to the output": [
        dr.Dense(8, "tanh"),
        dr.Dense(6, "tanh"),
        dr.Residual([dr.Dense(5, "tanh"), dr.Dense(4)]),
    ],
    "shortcut around an activation": [
        dr.Dense(8),
        dr.Residual([dr.Activation("relu")]),
        dr.Dense(6),
        dr.Residual([dr.Activation("gelu")]),
        dr.Dense(4),
    ],
    "normalised": [
        dr.Dense(8),
        dr.Residual(
            [dr.BatchNorm(), dr.Activation("relu"), dr.Dense(6), dr.LayerNorm(), dr.Dense(8)]
        ),
        dr.Dense(4),
    ],
    "scaled": [
        dr.Scale(),
        dr.Dense(8, "tanh"),
        dr.Residual([dr.Dense(5, "tanh"), dr.Dense(8), dr.Scale()]),
        dr.Dense(4),
    ],
    "one within another": [
        dr.Dense(8, "tanh"),
        dr.Residual(
            [dr.Dense(6, "tanh"), dr.Residual([dr.Dense(5, "tanh"), dr.Dense(6)]), dr.Dense(9)]
        ),
        dr.Dense(4),
    ],
    "one behind another": [
        dr.Residual([dr.Dense(7, "tanh")]),
        dr.Residual([dr.Dense(6, "tanh")]),
        dr.Residual([dr.Dense(6, "tanh"), dr.Dense(6)]),
        dr.Dense(4),
    ],
}


@pytest.mark.parametrize("layers", RESIDUALS.values(), ids=RESIDUALS)
def test_residual_follows_pytorch(layers):
    follow(
        stack(layers),
        optimizer=dr.SGD(0.02),
        rule=lambda twin: optim.SGD(twin.parameters(), lr=0.02),
    )


def test_residual_follows_pytorch_under_adam_and_cross_entropy():
    layers = [*RESIDUALS["projection"], dr.Activation("softmax")]
    follow(
        stack(layers),
        loss=dr.CrossEntropy(),
        criterion=lambda z, a, t: F.cross_entropy(z, t, reduction="none"),
        y=LABELS,
        optimizer=dr.Adam(0.01),
        rule=lambda twin: optim.Adam(twin.parameters(), lr=0.01),
    )


# ----------------------------------------------------------------------------------------- no bias


def test_layers_without_a_bias_follow_pytorch():
    layers = [dr.Dense(8, "tanh", bias=False), dr.Dense(6, "tanh"), dr.Dense(4, bias=False)]
    follow(stack(layers))


# -------------------------------------------------------------------------------------- frozen

OPTIMIZERS = {
    "sgd": (lambda: dr.SGD(0.05), optim.SGD, {"lr": 0.05}),
    "momentum": (
        lambda: dr.SGD(0.05, momentum=0.9),
        optim.SGD,
        {"lr": 0.05, "momentum": 0.9},
    ),
    "rmsprop": (
        lambda: dr.RMSprop(0.01, momentum=0.5),
        optim.RMSprop,
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.5},
    ),
    "adagrad": (lambda: dr.Adagrad(0.1), optim.Adagrad, {"lr": 0.1}),
    "adam": (lambda: dr.Adam(0.02), optim.Adam, {"lr": 0.02}),
    "rprop": (
        lambda: dr.Rprop(0.005, smallest=1e-30, largest=1e3),
        optim.Rprop,
        {"lr": 0.005, "step_sizes": (1e-30, 1e3)},
    ),
    "nadam": (lambda: dr.NAdam(0.02), optim.NAdam, {"lr": 0.02}),
}


@pytest.mark.parametrize("names", [("0",), ("1.weight",), ("0.bias", "2"), ("1.bias",)])
@pytest.mark.parametrize(("ours", "kind", "settings"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_frozen_parameters_stay_and_the_others_follow_pytorch(ours, kind, settings, names):
    net = network().freeze(*names)
    fixed = [n for n, factor in net.learning_rate_factors.items() if not factor]

    def prepare(twin):
        for name in fixed:
            twin.named[name].requires_grad_(False)

    trained = follow(
        net,
        optimizer=ours(),
        rule=lambda twin: kind(twin.parameters(), **settings),
        prepare=prepare,
    )
    for name in fixed:
        np.testing.assert_array_equal(our_numbers(trained)[name], our_numbers(net)[name])


def test_a_frozen_weight_does_not_decay():
    net = network().freeze("1")
    rule = lambda twin: optim.AdamW(  # noqa: E731
        [
            {"params": [twin.named["0.weight"], twin.named["2.weight"]], "weight_decay": 0.3},
            {"params": [twin.named["0.bias"], twin.named["2.bias"]], "weight_decay": 0.0},
        ],
        lr=0.02,
    )
    follow(net, optimizer=dr.AdamW(0.02, weight_decay=0.3), rule=rule)


# ------------------------------------------------------------------- factors on the learning rate

FACTORS = {"0.weight": 0.5, "0.bias": 2.0, "1.weight": 0.1, "1.bias": 1.0, "2.weight": 3.0}


def scaled():
    net = network()
    for name, factor in FACTORS.items():
        net.scale_learning_rate(factor, name)
    return net


def groups(kind, lr, **settings):
    return lambda twin: kind(
        [
            {"params": [twin.named[name]], "lr": lr * FACTORS.get(name, 1.0)}
            for name in twin.own_names
        ],
        lr=lr,
        **settings,
    )


@pytest.mark.parametrize(("ours", "kind", "settings"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_factors_follow_the_rates_of_pytorchs_parameter_groups(ours, kind, settings):
    follow(scaled(), optimizer=ours(), rule=groups(kind, **settings))


def test_factors_multiply_a_schedule_as_in_pytorch():
    follow(
        scaled(),
        optimizer=dr.SGD(dr.Step(0.05, 7, 0.5), momentum=0.9),
        rule=groups(optim.SGD, 0.05, momentum=0.9),
        scheduler=lambda o: optim.lr_scheduler.StepLR(o, 7, 0.5),
    )


def test_factors_multiply_the_decay_of_adamw_as_in_pytorch():
    def rule(twin):
        return optim.AdamW(
            [
                {
                    "params": [twin.named[name]],
                    "lr": 0.02 * FACTORS.get(name, 1.0),
                    "weight_decay": 0.3 if name.endswith("weight") else 0.0,
                }
                for name in twin.own_names
            ]
        )

    follow(scaled(), optimizer=dr.AdamW(0.02, weight_decay=0.3), rule=rule)


def test_a_layers_own_factor_is_that_of_all_its_parameters():
    net = stack(
        [
            dr.Dense(8, "tanh", learning_rate_factor=0.5),
            dr.Residual([dr.Dense(6, "tanh", learning_rate_factor=3.0)], learning_rate_factor=0.2),
            dr.Dense(4),
        ]
    )
    factors = {"0.weight": 0.5, "0.bias": 0.5, "1.0.weight": 3.0, "1.0.bias": 3.0}
    factors["1.projection.weight"] = 0.2
    assert {n: f for n, f in net.learning_rate_factors.items() if f != 1} == factors

    def rule(twin):
        return optim.SGD(
            [
                {"params": [twin.named[name]], "lr": 0.1 * factors.get(name, 1.0)}
                for name in twin.own_names
            ]
        )

    follow(net, rule=rule)


def test_a_factor_scales_the_bounds_of_rprop_too_where_pytorchs_stand():
    net = network().scale_learning_rate(0.5, "0", "1", "2")
    rule = lambda twin: optim.Rprop(twin.parameters(), lr=0.005, step_sizes=(0.004, 0.02))  # noqa: E731
    assert gap(net, optimizer=dr.Rprop(0.01, smallest=0.004, largest=0.02), rule=rule) > 1e-2
    follow(net, Recipe(optimizer=dr.Rprop(0.01, smallest=0.008, largest=0.04), rule=rule))


def test_a_factor_scales_the_end_of_a_schedule_too_where_pytorchs_eta_min_is_one_for_all():
    changes = {
        "optimizer": dr.SGD(dr.Cosine(0.05, 0.02, 33)),
        "rule": groups(optim.SGD, 0.05),
    }
    theirs = lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 33, 0.02)  # noqa: E731
    assert gap(scaled(), scheduler=theirs, **changes) > 1e-2

    def by_factor(optimizer):
        return optim.lr_scheduler.LambdaLR(
            optimizer, lambda t: (0.02 + 0.03 * (1 + np.cos(np.pi * min(t / 33, 1))) / 2) / 0.05
        )

    follow(scaled(), Recipe(scheduler=by_factor, **changes))
