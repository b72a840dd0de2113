"""Targets of which some are unknown: PyTorch's loss over those that are known, masked by hand."""

import numpy as np
import pytest
from twin import COUNTS, REAL, SHARES, F, follow, gap, network, optim, torch

import deltarule as dr

RATE = 0.02
KNOWN = np.random.default_rng(5).random(REAL.shape) > 0.3


def known_alone(function, average=False, of_z=False, **settings):
    """Return the loss of a batch over its known targets alone."""

    def criterion(z, a, t):
        known = ~torch.isnan(t)
        each = function((z if of_z else a)[known], t[known], reduction="none", **settings)
        share = t.shape[1] if not average else 1  # a row weighs the share of its known outputs
        return each.sum() / known.sum() * share

    return criterion


def half_square(a, t, reduction):
    return 0.5 * (a - t) ** 2


CASES = {
    "squared_error": ("identity", dr.SquaredError(), REAL, known_alone(half_square)),
    "squared_error of softmax": ("softmax", dr.SquaredError(), SHARES, known_alone(half_square)),
    "mean_squared_error": ("tanh", dr.MeanSquaredError(), REAL, known_alone(F.mse_loss, True)),
    "mean_absolute_error": ("identity", dr.MeanAbsoluteError(), REAL, known_alone(F.l1_loss, True)),
    "huber": ("identity", dr.Huber(0.5), REAL, known_alone(F.huber_loss, True, delta=0.5)),
    "binary_cross_entropy": (
        "sigmoid",
        dr.BinaryCrossEntropy(),
        (SHARES > 0.5).astype(float),
        known_alone(F.binary_cross_entropy_with_logits, of_z=True),
    ),
    "poisson": ("exp", dr.Poisson(), COUNTS, known_alone(F.poisson_nll_loss, True, True)),
}


def recipe(case):
    output, loss, y, criterion = CASES[case]
    changes = {
        "loss": loss,
        "y": np.where(KNOWN, y, np.nan),
        "sample_weight": KNOWN,
        "criterion": criterion,
        "reduced": True,
        "optimizer": dr.SGD(RATE),
        "rule": lambda twin: optim.SGD(twin.parameters(), lr=RATE),
    }
    return network(output), changes


@pytest.mark.parametrize("case", CASES)
def test_what_is_unknown_counts_for_nothing(case):
    net, changes = recipe(case)
    follow(net, **changes)


def test_a_weight_of_the_wrong_outputs_is_seen():
    net, changes = recipe("squared_error")
    y = np.where(KNOWN, REAL, 0.0)
    assert gap(net, **changes | {"y": y}) > 1e-2
