"""Clipping follows PyTorch's, by value and by global norm."""

import pytest
from twin import Recipe, follow, gap, network, nn, optim

import deltarule as dr

value_, norm_ = nn.utils.clip_grad_value_, nn.utils.clip_grad_norm_
total_norm = nn.utils.get_total_norm


def gradients(twin):
    return [p.grad for p in twin.parameters() if p.grad is not None]


def exactly(limit, counts=None):
    """Return PyTorch's clipping by norm without the 1e-6 that it adds to the norm."""

    def clip(twin):
        norm = total_norm(gradients(twin)).item()
        if counts is not None:
            counts[norm > limit] += 1
        norm_(twin.parameters(), limit * (1 + 1e-6 / norm))

    return clip


def sgd(rate, **settings):
    return {
        "optimizer": dr.SGD(rate, **settings),
        "rule": lambda twin: optim.SGD(twin.parameters(), lr=rate, **settings),
    }


@pytest.mark.parametrize("limit", [1e-3, 0.05, 100.0])
def test_by_value_follows_pytorch(limit):
    follow(
        network(),
        clip=lambda twin: value_(twin.parameters(), limit),
        ours={"clip": dr.ClipValue(limit)},
        **sgd(0.1, momentum=0.5),
    )


@pytest.mark.parametrize("limit", [1e-3, 1.5, 100.0])
def test_by_norm_follows_pytorch(limit):
    counts = {True: 0, False: 0}
    follow(
        network(),
        clip=exactly(limit, counts),
        ours={"clip": dr.ClipNorm(limit)},
        **sgd(0.1, momentum=0.5),
    )
    if limit == 1.5:
        assert min(counts.values()) >= 5  # some steps were clipped and some were not


def test_by_norm_follows_pytorch_under_adam():
    follow(
        network(),
        clip=exactly(0.5),
        ours={"clip": dr.ClipNorm(0.5)},
        optimizer=dr.Adam(0.02),
        rule=lambda twin: optim.Adam(twin.parameters(), lr=0.02),
    )


def test_the_norm_is_that_of_the_parameters_that_are_trained():
    def prepare(twin):
        twin.named["0.weight"].requires_grad_(False)
        twin.named["2.bias"].requires_grad_(False)

    follow(
        network().freeze("0.weight", "2.bias"),
        prepare=prepare,
        clip=exactly(0.3),
        ours={"clip": dr.ClipNorm(0.3)},
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (dr.ClipNorm(0.5), exactly(0.5)),
        (dr.ClipValue(0.05), lambda twin: value_(twin.parameters(), 0.05)),
    ],
)
def test_what_is_clipped_is_the_gradient_of_data_and_penalty(ours, theirs):
    follow(
        network(),
        addition=lambda twin: 0.5 * 0.4 * sum((W**2).sum() for W in twin.weights()),
        clip=theirs,
        ours={"clip": ours, "penalty": dr.L2(0.4)},
    )


# ------------------------------------------------------------- where PyTorch's definition differs


def test_pytorch_adds_1e_6_to_the_norm_and_so_clips_a_little_more():
    changes = {"ours": {"clip": dr.ClipNorm(0.5)}}
    theirs = lambda twin: norm_(twin.parameters(), 0.5)  # noqa: E731
    assert 1e-8 < gap(network(), clip=theirs, **changes) < 1e-4
    follow(network(), Recipe(clip=exactly(0.5), **changes))


def test_pytorchs_weight_decay_comes_after_clipping_where_our_penalty_comes_before():
    decayed = lambda twin: optim.SGD(  # noqa: E731
        [{"params": twin.weights(), "weight_decay": 0.4}, {"params": twin.others()}], lr=0.1
    )
    changes = {"rule": decayed, "optimizer": dr.SGD(0.1)}
    ours = {"clip": dr.ClipNorm(0.5), "penalty": dr.L2(0.4)}
    assert gap(network(), clip=exactly(0.5), ours=ours, **changes) > 1e-2
    assert gap(network(), ours={"penalty": dr.L2(0.4)}, **changes) < 1e-9
