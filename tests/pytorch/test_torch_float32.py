"""In float32 our network stays with its twin within what rounding can explain.

The bound is ``2 * A * T * k * u * S``:

- ``u = 2^-24``, the unit roundoff;
- ``k``, the most roundings on the way from an input to a component of a gradient: every sum of
  length ``n`` makes at most ``n`` of them (Higham, "Accuracy and stability of numerical
  algorithms", section 3.1), once forward through all layers, once backward, once over the batch;
  and 8 per layer for activation, its derivative and bias, 8 for loss and optimizer;
- ``S``, the scale: the largest parameter, or the farthest movement of one, if that is larger.
  A step's error is at most ``k u S`` where the step is no longer than ``S``; under Adam, whose
  step is the rate times a ratio, where the terms of a gradient's sum do not cancel to less than
  rate / S of their size, a hundredth here;
- ``T`` steps, each adding one such error;
- ``A``, by how much the training itself enlarges a difference: measured in float64 on the twin,
  whose start is moved by a random millionth;
- 2, since both libraries round.
"""

import numpy as np
import pytest
from twin import (
    BATCH,
    INPUTS,
    LABELS,
    OUTPUTS,
    F,
    Recipe,
    network,
    optim,
    train_by_step,
    train_twin,
)

import deltarule as dr

STEPS = 20
ROUNDOFF = 2.0**-24
WIDTHS = (INPUTS, 8, 6, OUTPUTS)
ROUNDINGS = sum(WIDTHS[:-1]) + sum(WIDTHS[1:]) + BATCH + 8 * (len(WIDTHS) - 1) + 8


def cross_entropy(z, a, t):
    return F.cross_entropy(z, t, reduction="none")


RECIPES = {
    "squared error, momentum": (
        "identity",
        {
            "optimizer": dr.SGD(0.05, momentum=0.8),
            "rule": lambda twin: optim.SGD(twin.parameters(), lr=0.05, momentum=0.8),
        },
    ),
    "cross-entropy, sgd": (
        "softmax",
        {"loss": dr.CrossEntropy(), "criterion": cross_entropy, "y": LABELS},
    ),
    "cross-entropy, adam": (
        "softmax",
        {
            "loss": dr.CrossEntropy(),
            "criterion": cross_entropy,
            "y": LABELS,
            "optimizer": dr.Adam(0.01),
            "rule": lambda twin: optim.Adam(twin.parameters(), lr=0.01),
        },
    ),
    "squared error, nadam": (
        "identity",
        {
            "optimizer": dr.NAdam(0.01),
            "rule": lambda twin: optim.NAdam(twin.parameters(), lr=0.01),
        },
    ),
}


def amplification(head, recipe):
    """Return the largest growth of a small difference over the run, at least 1."""
    net, moved = network(head), network(head)
    push = 1e-6 * np.random.default_rng(1).normal(size=net.vector.shape)
    moved.vector[:] += push
    runs = [[flat(s) for s in train_twin(n, recipe)[0][:STEPS]] for n in (net, moved)]
    growth = [np.abs(a - b).max() / np.abs(push).max() for a, b in zip(*runs, strict=True)]
    return max(1.0, *growth)


def flat(snapshot):
    return np.concatenate([array.ravel() for array in snapshot.numbers.values()])


def compare(head, ours, theirs):
    """Return the largest difference of any parameter after any step, and its bound."""
    start = network(head, dtype="float32")
    expected = [flat(s) for s in train_twin(start, theirs)[0][:STEPS]]
    found = [flat(s) for s, _ in zip(train_by_step(start.copy(), ours), range(STEPS), strict=False)]
    assert found[0].dtype == expected[0].dtype == np.float32
    difference = max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True))
    scale = max(np.abs(expected).max(), np.abs(expected - start.vector).max())
    return difference, 2 * amplification(head, theirs) * STEPS * ROUNDINGS * ROUNDOFF * scale


@pytest.mark.parametrize(("head", "changes"), RECIPES.values(), ids=RECIPES)
def test_float32_follows_pytorch_within_rounding(head, changes):
    recipe = Recipe(**changes)
    difference, bound = compare(head, recipe, recipe)
    assert difference <= bound
    assert bound < 1e-2  # a bound that could hide a wrong formula would prove nothing


def test_the_bound_is_small_enough_to_see_a_rate_that_is_wrong_by_a_hundredth():
    theirs = Recipe()
    difference, bound = compare("identity", Recipe(optimizer=dr.SGD(0.101)), theirs)
    assert difference > bound
