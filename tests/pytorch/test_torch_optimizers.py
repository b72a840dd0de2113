"""Each optimizer follows PyTorch's."""

import pytest
from twin import Recipe, follow, gap, network, optim, torch

import deltarule as dr
from members import WITHOUT_PYTORCH, assert_complete


def everything(kind, **settings):
    return lambda twin: kind(twin.parameters(), **settings)


def decay_on_weights(kind, weight_decay, **settings):
    return lambda twin: kind(
        [
            {"params": twin.weights(), "weight_decay": weight_decay},
            {"params": twin.others(), "weight_decay": 0.0},
        ],
        **settings,
    )


RULES = {
    "sgd": (dr.SGD(0.1), everything(optim.SGD, lr=0.1)),
    "momentum": (dr.SGD(0.05, momentum=0.9), everything(optim.SGD, lr=0.05, momentum=0.9)),
    "nesterov": (
        dr.SGD(0.05, momentum=0.8, nesterov=True),
        everything(optim.SGD, lr=0.05, momentum=0.8, nesterov=True),
    ),
    "rmsprop": (
        dr.RMSprop(0.01, rho=0.95, epsilon=1e-6),
        everything(optim.RMSprop, lr=0.01, alpha=0.95, eps=1e-6),
    ),
    "rmsprop momentum": (
        dr.RMSprop(0.01, momentum=0.7),
        everything(optim.RMSprop, lr=0.01, alpha=0.9, momentum=0.7),
    ),
    "rmsprop centered": (
        dr.RMSprop(0.01, rho=0.8, centered=True),
        everything(optim.RMSprop, lr=0.01, alpha=0.8, centered=True),
    ),
    "rmsprop centered momentum": (
        dr.RMSprop(0.005, rho=0.8, momentum=0.6, centered=True),
        everything(optim.RMSprop, lr=0.005, alpha=0.8, momentum=0.6, centered=True),
    ),
    "adagrad": (dr.Adagrad(0.1), everything(optim.Adagrad, lr=0.1)),
    "adagrad accumulator": (
        dr.Adagrad(0.1, epsilon=1e-3, initial_accumulator=0.05),
        everything(optim.Adagrad, lr=0.1, eps=1e-3, initial_accumulator_value=0.05),
    ),
    "adam": (dr.Adam(), everything(optim.Adam)),
    "adam settings": (
        dr.Adam(0.02, beta1=0.8, beta2=0.95, epsilon=1e-3),
        everything(optim.Adam, lr=0.02, betas=(0.8, 0.95), eps=1e-3),
    ),
    "amsgrad": (
        dr.Adam(0.02, beta2=0.8, amsgrad=True),
        everything(optim.Adam, lr=0.02, betas=(0.9, 0.8), amsgrad=True),
    ),
    "adamw": (dr.AdamW(0.02), decay_on_weights(optim.AdamW, 0.01, lr=0.02)),
    "adamw amsgrad": (
        dr.AdamW(0.02, beta2=0.8, weight_decay=0.3, amsgrad=True),
        decay_on_weights(optim.AdamW, 0.3, lr=0.02, betas=(0.9, 0.8), amsgrad=True),
    ),
    "nadam": (dr.NAdam(), everything(optim.NAdam)),
    "nadam settings": (
        dr.NAdam(0.01, beta1=0.8, beta2=0.95, epsilon=1e-4, momentum_decay=0.1),
        everything(optim.NAdam, lr=0.01, betas=(0.8, 0.95), eps=1e-4, momentum_decay=0.1),
    ),
    "rprop": (dr.Rprop(), everything(optim.Rprop)),
    "rprop settings": (
        dr.Rprop(0.02, decrease=0.4, increase=1.4, smallest=1e-3, largest=0.05),
        everything(optim.Rprop, lr=0.02, etas=(0.4, 1.4), step_sizes=(1e-3, 0.05)),
    ),
}


def test_every_optimizer_has_a_twin():
    names = {optimizer.name for optimizer, _ in RULES.values()}
    assert_complete("optimizer", names, "twin in PyTorch", WITHOUT_PYTORCH)


@pytest.mark.parametrize(("optimizer", "rule"), RULES.values(), ids=RULES)
def test_follows_pytorch_in_mini_batches(optimizer, rule):
    follow(network(), optimizer=optimizer, rule=rule)


@pytest.mark.parametrize(("optimizer", "rule"), RULES.values(), ids=RULES)
def test_follows_pytorch_with_the_whole_data_as_one_batch(optimizer, rule):
    follow(network(), optimizer=optimizer, rule=rule, batch_size=13, epochs=30)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "rmsprop momentum"])
def test_follows_pytorch_example_by_example(name):
    optimizer, rule = RULES[name]
    follow(network(), optimizer=optimizer, rule=rule, batch_size=1, epochs=3)


def test_a_rate_off_by_one_part_in_a_million_is_seen():
    with pytest.raises(AssertionError, match="step 1: parameters differ"):
        follow(network(), optimizer=dr.SGD(0.1 * (1 + 1e-6)))


def test_adamw_decays_weights_only_where_pytorch_decays_all_it_is_given():
    ours = dr.AdamW(0.02, weight_decay=0.3)
    assert gap(network(), optimizer=ours, rule=decay_on_weights(optim.AdamW, 0.3, lr=0.02)) < 1e-9
    whole = everything(optim.AdamW, lr=0.02, weight_decay=0.3)
    assert gap(network(), optimizer=ours, rule=whole) > 1e-2


def test_adamw_without_decay_is_adam():
    follow(
        network(),
        Recipe(optimizer=dr.AdamW(0.02, weight_decay=0.0), rule=everything(optim.Adam, lr=0.02)),
    )


def test_the_default_rho_of_rmsprop_is_the_lectures_where_pytorch_has_another():
    assert gap(network(), optimizer=dr.RMSprop(), rule=everything(optim.RMSprop)) > 1e-2
    rule = everything(optim.RMSprop, lr=1e-3, alpha=0.9)
    assert gap(network(), optimizer=dr.RMSprop(), rule=rule) < 1e-9


def test_the_defaults_of_the_others_are_pytorchs():
    for ours, kind in (
        (dr.Adagrad(), optim.Adagrad),
        (dr.Adam(), optim.Adam),
        (dr.NAdam(), optim.NAdam),
        (dr.Rprop(), optim.Rprop),
    ):
        assert gap(network(), optimizer=ours, rule=everything(kind)) < 1e-9


def test_pytorchs_nadam_rounds_its_product_of_momenta_to_the_default_dtype():
    # Elsewhere the twin's default dtype is the network's; here it is what PyTorch begins with.
    changes = {"optimizer": dr.NAdam(0.01), "rule": everything(optim.NAdam, lr=0.01)}
    rounded = gap(network(), prepare=lambda twin: torch.set_default_dtype(torch.float32), **changes)
    assert 1e-9 < rounded < 1e-6
    assert gap(network(), **changes) < 1e-9
