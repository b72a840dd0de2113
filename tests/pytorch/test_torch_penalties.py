"""Penalties follow the same terms added to PyTorch's loss; L2 is also its ``weight_decay``."""

import pytest
from twin import Recipe, Twin, follow, gap, network, optim, stack, torch

import deltarule as dr


def squares(strength):
    return lambda twin: 0.5 * strength * sum((W**2).sum() for W in twin.weights())


def absolutes(strength):
    return lambda twin: strength * sum(W.abs().sum() for W in twin.weights())


def both(l1, l2):
    return lambda twin: absolutes(l1)(twin) + squares(l2)(twin)


PENALTIES = {
    "L2": (dr.L2(0.03), squares(0.03)),
    "L1": (dr.L1(0.01), absolutes(0.01)),
    "elastic net": (dr.ElasticNet(0.02, 0.05), both(0.02, 0.05)),
    "elastic net of L1": (dr.ElasticNet(0.02, 0.0), absolutes(0.02)),
    "elastic net of L2": (dr.ElasticNet(0.0, 0.05), squares(0.05)),
    "by default": (dr.ElasticNet(), both(1e-4, 1e-4)),
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("ours", "theirs"), PENALTIES.values(), ids=PENALTIES)
def test_follows_pytorch(ours, theirs, reduction):
    follow(
        network(),
        loss=dr.SquaredError(reduction=reduction),
        addition=theirs,
        ours={"penalty": ours},
        optimizer=dr.SGD(0.02, momentum=0.5),
        rule=lambda twin: optim.SGD(twin.parameters(), lr=0.02, momentum=0.5),
    )


def test_a_layers_own_penalty_takes_the_place_of_the_networks():
    net = stack([dr.Dense(8, "tanh", penalty=dr.L1(0.02)), dr.Dense(6, "tanh"), dr.Dense(4)])

    def theirs(twin):
        first, *rest = twin.weights()
        return 0.02 * first.abs().sum() + 0.5 * 0.1 * sum((W**2).sum() for W in rest)

    follow(net, addition=theirs, ours={"penalty": dr.L2(0.1)})


def test_normalisations_and_biases_are_left_alone_and_projections_are_not():
    net = stack(
        [
            dr.Dense(8, "tanh"),
            dr.Residual([dr.LayerNorm(), dr.Dense(6, "tanh")]),
            dr.BatchNorm(),
            dr.Dense(4),
        ]
    )
    assert len(Twin(net).weights()) == 4
    follow(net, addition=both(0.01, 0.05), ours={"penalty": dr.ElasticNet(0.01, 0.05)})


def on_weights(kind, **settings):
    return lambda twin: kind(
        [{"params": twin.weights(), "weight_decay": 0.05}, {"params": twin.others()}],
        **settings,
    )


COUPLED = {
    "sgd": (dr.SGD(0.1), on_weights(optim.SGD, lr=0.1)),
    "nesterov": (
        dr.SGD(0.05, momentum=0.9, nesterov=True),
        on_weights(optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
    ),
    "rmsprop": (dr.RMSprop(0.01), on_weights(optim.RMSprop, lr=0.01, alpha=0.9)),
    "adagrad": (dr.Adagrad(0.1), on_weights(optim.Adagrad, lr=0.1)),
    "adam": (dr.Adam(0.02), on_weights(optim.Adam, lr=0.02)),
    "amsgrad": (
        dr.Adam(0.02, amsgrad=True),
        on_weights(optim.Adam, lr=0.02, amsgrad=True),
    ),
    "nadam": (dr.NAdam(0.01), on_weights(optim.NAdam, lr=0.01)),
}


@pytest.mark.parametrize(("optimizer", "rule"), COUPLED.values(), ids=COUPLED)
def test_l2_is_pytorchs_weight_decay_on_the_weights(optimizer, rule):
    # PyTorch's decay is no part of its loss, so the twin is told to report it without a gradient.
    def reported(twin):
        with torch.no_grad():
            return squares(0.05)(twin)

    follow(
        network(), optimizer=optimizer, rule=rule, addition=reported, ours={"penalty": dr.L2(0.05)}
    )


# ------------------------------------------------------------- where PyTorch's definition differs


def test_pytorchs_weight_decay_on_all_parameters_also_pulls_at_biases():
    rule = lambda twin: optim.SGD(twin.parameters(), lr=0.1, weight_decay=0.05)  # noqa: E731
    assert gap(network(), rule=rule, ours={"penalty": dr.L2(0.05)}) > 1e-3


def test_l2_under_adam_is_not_the_decay_of_adamw():
    changes = {"optimizer": dr.Adam(0.02), "ours": {"penalty": dr.L2(0.05)}}
    decoupled = on_weights(optim.AdamW, lr=0.02)
    assert gap(network(), rule=decoupled, **changes) > 1e-2
    follow(
        network(),
        Recipe(
            rule=lambda twin: optim.AdamW(
                [
                    {"params": twin.weights(), "weight_decay": 0.05},
                    {"params": twin.others(), "weight_decay": 0.0},
                ],
                lr=0.02,
            ),
            optimizer=dr.AdamW(0.02, weight_decay=0.05),
        ),
    )
