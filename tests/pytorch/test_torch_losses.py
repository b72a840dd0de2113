"""Each loss follows PyTorch's: value, delta, weights and both reductions."""

import numpy as np
import pytest
from twin import (
    COUNTS,
    LABELS,
    OUTPUTS,
    REAL,
    SHARES,
    SOFT,
    WEIGHTS,
    F,
    follow,
    gap,
    mse,
    network,
    nn,
    optim,
    torch,
)

import deltarule as dr

RATE = 0.02
CLASS_WEIGHTS = np.array([0.5, 2.0, 1.0, 3.0])
HALVES = (SHARES > 0.5).astype(float)


def rate(twin):
    return optim.SGD(twin.parameters(), lr=RATE)


def run(net, loss, criterion, y, **changes):
    changes = {"optimizer": dr.SGD(RATE), "rule": rate} | changes
    return follow(net, loss=loss, criterion=criterion, y=y, **changes)


def by_output(function, average, **settings):
    """Return a criterion of examples from one of PyTorch's on single outputs."""

    def criterion(z, a, t):
        losses = function(a, t, reduction="none", **settings)
        return losses.mean(dim=1) if average else losses.sum(dim=1)

    return criterion


def on_z(criterion):
    return lambda z, a, t: criterion(z, z, t)


def cross_entropy(z, a, t):
    return F.cross_entropy(z, t, reduction="none")


def smoothed(z, a, t):
    return F.cross_entropy(z, t, reduction="none", label_smoothing=0.15)


def make(kind, **settings):
    return lambda reduction: kind(reduction=reduction, **settings)


# (the output's activation, our loss, the losses of the examples by PyTorch, targets)
LOSSES = {
    "squared error": ("identity", make(dr.SquaredError), mse, REAL),
    "mean squared error": (
        "identity",
        make(dr.MeanSquaredError),
        by_output(F.mse_loss, True),
        REAL,
    ),
    "mean absolute error": (
        "identity",
        make(dr.MeanAbsoluteError),
        by_output(F.l1_loss, True),
        REAL,
    ),
    "huber": ("identity", make(dr.Huber), by_output(F.huber_loss, True), REAL),
    "huber 0.3": (
        "identity",
        make(dr.Huber, threshold=0.3),
        by_output(F.huber_loss, True, delta=0.3),
        REAL,
    ),
    "poisson": (
        "exp",
        make(dr.Poisson),
        on_z(by_output(F.poisson_nll_loss, True, log_input=True)),
        COUNTS,
    ),
    "poisson of softplus": (
        "softplus",
        make(dr.Poisson),
        by_output(F.poisson_nll_loss, True, log_input=False, eps=0.0),
        COUNTS,
    ),
    "binary cross-entropy": (
        "sigmoid",
        make(dr.BinaryCrossEntropy),
        on_z(by_output(F.binary_cross_entropy_with_logits, False)),
        HALVES,
    ),
    "binary cross-entropy, soft": (
        "sigmoid",
        make(dr.BinaryCrossEntropy),
        by_output(F.binary_cross_entropy, False),
        SHARES,
    ),
    "cross-entropy": ("softmax", make(dr.CrossEntropy), cross_entropy, LABELS),
    "cross-entropy, one-hot": (
        "softmax",
        make(dr.CrossEntropy),
        cross_entropy,
        np.eye(OUTPUTS)[LABELS],
    ),
    "cross-entropy, soft": ("softmax", make(dr.CrossEntropy), cross_entropy, SOFT),
    "cross-entropy, smoothed": (
        "softmax",
        make(dr.CrossEntropy, label_smoothing=0.15),
        smoothed,
        LABELS,
    ),
    "cross-entropy, soft, smoothed": (
        "softmax",
        make(dr.CrossEntropy, label_smoothing=0.15),
        smoothed,
        SOFT,
    ),
}


@pytest.mark.parametrize("sample_weight", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("head", "loss", "criterion", "y"), LOSSES.values(), ids=LOSSES)
def test_follows_pytorch(head, loss, criterion, y, reduction, sample_weight):
    run(network(head), loss(reduction), criterion, y, sample_weight=sample_weight)


def test_one_output_takes_targets_without_a_second_axis():
    def criterion(z, a, t):
        return F.binary_cross_entropy_with_logits(z[:, 0], t, reduction="none")

    run(network("sigmoid", outputs=1), dr.BinaryCrossEntropy(), criterion, HALVES[:, 0])


# -------------------------------------------------------------- PyTorch's own criteria, as they are


def whole(criterion, on="a"):
    return lambda z, a, t: criterion(z if on == "z" else a, t)


CRITERIA = {
    "MSELoss": ("identity", dr.MeanSquaredError(), whole(nn.MSELoss()), REAL),
    "L1Loss": ("identity", dr.MeanAbsoluteError(), whole(nn.L1Loss()), REAL),
    "HuberLoss": ("identity", dr.Huber(0.5), whole(nn.HuberLoss(delta=0.5)), REAL),
    "PoissonNLLLoss": ("exp", dr.Poisson(), whole(nn.PoissonNLLLoss(), "z"), COUNTS),
    "CrossEntropyLoss": ("softmax", dr.CrossEntropy(), whole(nn.CrossEntropyLoss(), "z"), LABELS),
    "CrossEntropyLoss smoothed": (
        "softmax",
        dr.CrossEntropy(label_smoothing=0.2),
        whole(nn.CrossEntropyLoss(label_smoothing=0.2), "z"),
        LABELS,
    ),
    "CrossEntropyLoss, sum": (
        "softmax",
        dr.CrossEntropy(reduction="sum"),
        whole(nn.CrossEntropyLoss(reduction="sum"), "z"),
        LABELS,
    ),
    "BCEWithLogitsLoss, sum": (
        "sigmoid",
        dr.BinaryCrossEntropy(reduction="sum"),
        whole(nn.BCEWithLogitsLoss(reduction="sum"), "z"),
        HALVES,
    ),
}


@pytest.mark.parametrize(("head", "loss", "criterion", "y"), CRITERIA.values(), ids=CRITERIA)
def test_is_pytorchs_own_criterion(head, loss, criterion, y):
    run(network(head), loss, criterion, y, reduced=True)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_class_weights_are_pytorchs_weight(reduction):
    weight = torch.tensor(CLASS_WEIGHTS)
    run(
        network("softmax"),
        dr.CrossEntropy(reduction=reduction),
        whole(nn.CrossEntropyLoss(weight=weight, reduction=reduction), "z"),
        LABELS,
        reduced=True,
        class_weight=CLASS_WEIGHTS,
    )


def test_class_weights_multiply_sample_weights():
    run(
        network("softmax"),
        dr.CrossEntropy(label_smoothing=0.1),
        lambda z, a, t: F.cross_entropy(z, t, reduction="none", label_smoothing=0.1),
        LABELS,
        sample_weight=WEIGHTS,
        class_weight=CLASS_WEIGHTS,
    )


def test_balanced_class_weights_are_those_of_the_whole_data():
    balanced = len(LABELS) / (OUTPUTS * np.bincount(LABELS))
    changes = {
        "loss": dr.CrossEntropy(),
        "y": LABELS,
        "criterion": whole(nn.CrossEntropyLoss(weight=torch.tensor(balanced)), "z"),
        "reduced": True,
        "optimizer": dr.SGD(RATE),
        "rule": rate,
    }
    follow(network("softmax"), class_weight=balanced, **changes)
    assert gap(network("softmax"), ours={"class_weight": "balanced"}, **changes) < 1e-9


# ------------------------------------------------------------- where PyTorch's definition differs


def scaled(factor, criterion):
    return lambda z, a, t: factor * criterion(z, a, t)


# Ours are PyTorch's averages over examples and outputs, times so much.
FACTORS = {
    "SquaredError is k/2 MSELoss": (
        "identity",
        dr.SquaredError(),
        whole(nn.MSELoss()),
        OUTPUTS / 2,
        REAL,
    ),
    "BinaryCrossEntropy is k BCEWithLogitsLoss": (
        "sigmoid",
        dr.BinaryCrossEntropy(),
        whole(nn.BCEWithLogitsLoss(), "z"),
        OUTPUTS,
        HALVES,
    ),
    "MeanSquaredError(sum) is MSELoss(sum) / k": (
        "identity",
        dr.MeanSquaredError(reduction="sum"),
        whole(nn.MSELoss(reduction="sum")),
        1 / OUTPUTS,
        REAL,
    ),
    "Huber(sum) is HuberLoss(sum) / k": (
        "identity",
        dr.Huber(reduction="sum"),
        whole(nn.HuberLoss(reduction="sum")),
        1 / OUTPUTS,
        REAL,
    ),
    "Poisson(sum) is PoissonNLLLoss(sum) / k": (
        "exp",
        dr.Poisson(reduction="sum"),
        whole(nn.PoissonNLLLoss(reduction="sum"), "z"),
        1 / OUTPUTS,
        COUNTS,
    ),
}


@pytest.mark.parametrize(
    ("head", "loss", "criterion", "factor", "y"), FACTORS.values(), ids=FACTORS
)
def test_averages_over_outputs_differ_from_sums_by_their_number(head, loss, criterion, factor, y):
    changes = {"loss": loss, "y": y, "reduced": True, "optimizer": dr.SGD(RATE), "rule": rate}
    assert gap(network(head), criterion=criterion, **changes) > 1e-2
    follow(network(head), criterion=scaled(factor, criterion), **changes)


def test_huber_is_smooth_l1_times_its_threshold():
    run(
        network(),
        dr.Huber(0.4),
        scaled(0.4, whole(nn.SmoothL1Loss(beta=0.4))),
        REAL,
        reduced=True,
    )


def test_weighted_and_smoothed_cross_entropy_weighs_by_the_true_class_alone():
    # PyTorch weighs each class's share of a smoothed target by that class's own weight.
    changes = {
        "loss": dr.CrossEntropy(label_smoothing=0.15),
        "y": LABELS,
        "optimizer": dr.SGD(RATE),
        "rule": rate,
        "class_weight": CLASS_WEIGHTS,
    }
    theirs = nn.CrossEntropyLoss(weight=torch.tensor(CLASS_WEIGHTS), label_smoothing=0.15)
    assert gap(network("softmax"), criterion=whole(theirs, "z"), reduced=True, **changes) > 1e-2
    follow(network("softmax"), criterion=smoothed, **changes)


def test_class_weights_of_one_hot_targets_divide_by_weights_where_pytorch_divides_by_rows():
    def changes(y):
        return {
            "loss": dr.CrossEntropy(),
            "y": y,
            "optimizer": dr.SGD(RATE),
            "rule": rate,
            "criterion": whole(nn.CrossEntropyLoss(weight=torch.tensor(CLASS_WEIGHTS)), "z"),
            "reduced": True,
            "ours": {"class_weight": CLASS_WEIGHTS},
        }

    assert gap(network("softmax"), **changes(np.eye(OUTPUTS)[LABELS])) > 1e-2
    assert gap(network("softmax"), **changes(LABELS)) < 1e-9


def test_class_weights_of_a_binary_output_divide_by_weights_where_pos_weight_divides_by_rows():
    y = HALVES[:, 0]
    changes = {
        "loss": dr.BinaryCrossEntropy(),
        "y": y,
        "optimizer": dr.SGD(RATE),
        "rule": rate,
        "ours": {"class_weight": {1: 3.0}},
        "reduced": True,
    }
    net = network("sigmoid", outputs=1)

    def theirs(z, a, t):
        return F.binary_cross_entropy_with_logits(z[:, 0], t, pos_weight=torch.tensor(3.0))

    def by_weights(z, a, t):
        return theirs(z, a, t) * len(t) / (1 + 2 * t).sum()

    assert gap(net, criterion=theirs, **changes) > 1e-2
    assert gap(net, criterion=by_weights, **changes) < 1e-9


def test_poisson_of_softplus_adds_nothing_under_the_logarithm_where_pytorch_adds_1e_8():
    changes = {
        "loss": dr.Poisson(),
        "y": COUNTS,
        "optimizer": dr.SGD(RATE),
        "rule": rate,
        "reduced": True,
    }
    theirs = whole(nn.PoissonNLLLoss(log_input=False))
    assert 1e-10 < gap(network("softplus"), criterion=theirs, **changes) < 1e-6
