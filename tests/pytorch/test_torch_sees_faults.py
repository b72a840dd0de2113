"""Each comparison with PyTorch fails once our formula is wrong where it is easy to overlook."""

from dataclasses import replace

import numpy as np
import pytest
from twin import COUNTS, LABELS, SHARES, WEIGHTS, F, follow, mse, network, nn, optim, stack

import deltarule as dr
from deltarule.engines.reference import executor as reference
from deltarule.engines.reference import formulas
from deltarule.engines.reference import passes as backpropagation

activations, losses, optimizers = dr.activations, dr.losses, dr.optimizers


def sgd(twin):
    return optim.SGD(twin.parameters(), lr=0.02)


@pytest.fixture
def seen(monkeypatch):
    """Assert that a comparison holds, and fails once an attribute of ours is made wrong."""

    def assert_seen(fault, net, **changes):
        follow(net, **changes)
        monkeypatch.setattr(*fault)
        with pytest.raises(AssertionError, match=r"differ|Not equal"):
            follow(net, **changes)

    return assert_seen


# -------------------------------------------------------------------------------------- optimizers


def no_look_ahead(self, w, g, state, scalars, factor, is_weight):
    (v,) = state
    v *= self.momentum
    v += g
    w -= factor * scalars[0] * v


def rate_inside_velocity(self, w, g, state, scalars, factor, is_weight):
    (v,) = state
    v *= self.momentum
    v += factor * scalars[0] * g
    w -= v


def epsilon_under_the_root(self, w, g, state, scalars, factor, is_weight):
    s = state[0]
    s *= self.rho
    s += (1 - self.rho) * g * g
    w -= factor * scalars[0] * g / np.sqrt(s + self.epsilon**2)


def epsilon_within_the_sum(self, w, g, state, scalars, factor, is_weight):
    state[0] += g * g + self.epsilon
    w -= factor * scalars[0] * g / np.sqrt(state[0])


def without_bias_correction(self, t, eta):
    rows = right_adam_scalars(self, t, eta)
    rows[:, 3] = 1.0
    return rows


def momenta_one_step_late(self, t, eta):
    rows = right_nadam_scalars(self, np.maximum(t - 1, 1), eta)
    rows[:, 4] = right_nadam_scalars(self, t, eta)[:, 4]
    return rows


def gradient_kept_after_a_turn(self, w, g, state, scalars, factor, is_weight):
    turned = state[0] * g < 0
    right_rprop(self, w, g, state, scalars, factor, is_weight)
    state[0][turned] = g[turned]


def decay_on_everything(self, w, g, state, scalars, factor, is_weight):
    right_adam(self, w, g, state, scalars, factor, True)


def factor_forgotten(self, w, g, state, scalars, factor, is_weight):
    right_sgd(self, w, g, state, scalars, 1.0, is_weight)


right_adam, right_adam_scalars = optimizers.Adam.update, optimizers.Adam.scalars
right_nadam_scalars = optimizers.NAdam.scalars
right_rprop, right_sgd = optimizers.Rprop.update, optimizers.SGD.update

RULES = {
    "nesterov": (
        (optimizers.SGD, "update", no_look_ahead),
        dr.SGD(0.05, momentum=0.8, nesterov=True),
        lambda p: optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True),
    ),
    "rmsprop": (
        (optimizers.RMSprop, "update", epsilon_under_the_root),
        dr.RMSprop(0.01, epsilon=1e-4),
        lambda p: optim.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-4),
    ),
    "adagrad": (
        (optimizers.Adagrad, "update", epsilon_within_the_sum),
        dr.Adagrad(0.1, epsilon=1e-4),
        lambda p: optim.Adagrad(p, lr=0.1, eps=1e-4),
    ),
    "adam": (
        (optimizers.Adam, "scalars", without_bias_correction),
        dr.Adam(0.01),
        lambda p: optim.Adam(p, lr=0.01),
    ),
    "nadam": (
        (optimizers.NAdam, "scalars", momenta_one_step_late),
        dr.NAdam(0.01),
        lambda p: optim.NAdam(p, lr=0.01),
    ),
    "rprop": (
        (optimizers.Rprop, "update", gradient_kept_after_a_turn),
        dr.Rprop(),
        lambda p: optim.Rprop(p),
    ),
}


@pytest.mark.parametrize(("fault", "optimizer", "rule"), RULES.values(), ids=RULES)
def test_in_an_optimizer(seen, fault, optimizer, rule):
    seen(fault, network(), optimizer=optimizer, rule=lambda twin: rule(twin.parameters()))


def test_in_the_place_of_the_rate(seen):
    changes = {
        "optimizer": dr.SGD(dr.Step(0.05, 7), momentum=0.8),
        "rule": lambda twin: optim.SGD(twin.parameters(), lr=0.05, momentum=0.8),
        "scheduler": lambda o: optim.lr_scheduler.StepLR(o, 7),
    }
    seen((optimizers.SGD, "update", rate_inside_velocity), network(), **changes)


def test_in_what_decays(seen):
    def rule(twin):
        rest = {"params": twin.others(), "weight_decay": 0.0}
        return optim.AdamW([{"params": twin.weights()}, rest], lr=0.01, weight_decay=0.1)

    fault = (optimizers.AdamW, "update", decay_on_everything)
    seen(fault, network(), optimizer=dr.AdamW(0.01, weight_decay=0.1), rule=rule)


# --------------------------------------------------------------------------------------- schedules

SCHEDULES = {
    "step": (dr.Step(0.02, 4), lambda o: optim.lr_scheduler.StepLR(o, 4)),
    "exponential": (
        dr.Exponential(0.02, 0.9),
        lambda o: optim.lr_scheduler.ExponentialLR(o, 0.9),
    ),
    "polynomial": (
        dr.Polynomial(0.02, length=30),
        lambda o: optim.lr_scheduler.PolynomialLR(o, 30, 2.0),
    ),
    "linear": (
        dr.Linear(0.02, length=30),
        lambda o: optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 30),
    ),
    "cosine": (
        dr.Cosine(0.02, length=33),
        lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 33),
    ),
    "restarts": (
        dr.CosineRestarts(0.02, 5, 2),
        lambda o: optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 5, 2),
    ),
    "one cycle": (
        dr.OneCycle(0.02, length=33),
        lambda o: optim.lr_scheduler.OneCycleLR(o, 0.02, 33, cycle_momentum=False),
    ),
    "piecewise": (
        dr.Piecewise((6,), (0.02, 0.002)),
        lambda o: optim.lr_scheduler.MultiStepLR(o, [6]),
    ),
    "warm-up": (
        dr.WarmUp(4, 0.02),
        lambda o: optim.lr_scheduler.LinearLR(o, 1 / 5, 1.0, 4),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), SCHEDULES.values(), ids=SCHEDULES)
def test_in_a_schedule_that_is_late_by_one_step(ours, theirs, seen):
    right = type(ours).__call__
    late = (type(ours), "__call__", lambda self, t, n: right(self, max(t - 1, 0), n))
    seen(late, network(), optimizer=dr.SGD(ours), rule=sgd, scheduler=theirs)


def test_in_an_epoch_that_is_taken_for_a_step(seen):
    right = dr.Step.table

    def by_step(self, t, total):
        batches = 3  # of 5, 5 and 3 rows
        return right(self, batches * t + np.arange(len(t)) % batches, batches * total)

    seen(
        (dr.Step, "table", by_step),
        network(),
        optimizer=dr.SGD(dr.Step(0.02, 4, unit="epoch")),
        rule=sgd,
        scheduler=lambda o: optim.lr_scheduler.StepLR(o, 4),
        unit="epoch",
        by_step=False,
    )


# ------------------------------------------------------------------------------------------ losses


def outputs_summed(self, a, t):
    return right_mean_delta(self, a, t) * a.shape[1]


def no_threshold(self, a, t):
    return (a - t) / a.shape[1]


def smoothed_over_the_others(self, y, outputs, dtype):
    hard = right_encode(replace(self, label_smoothing=0.0), y, outputs, dtype)
    s = self.label_smoothing
    return (1 - s) * hard + s / (outputs - 1) * (1 - hard)


def mean_over_rows(plan, total_weight):
    return 1 / 5


right_mean_delta = losses.MeanSquaredError.gradient
right_encode = losses.CrossEntropy.encode

LOSSES = {
    "squared error": (
        (losses.SquaredError, "gradient", lambda self, a, t: 2 * (a - t)),
        "identity",
        {},
    ),
    "mean squared error": (
        (losses.MeanSquaredError, "gradient", outputs_summed),
        "identity",
        {"loss": dr.MeanSquaredError(), "criterion": lambda z, a, t: 0.5 * mse(z, a, t)},
    ),
    "mean absolute error": (
        (losses.MeanAbsoluteError, "gradient", lambda self, a, t: np.sign(a - t)),
        "identity",
        {
            "loss": dr.MeanAbsoluteError(),
            "criterion": lambda z, a, t: nn.L1Loss()(a, t),
            "reduced": True,
        },
    ),
    "huber": (
        (losses.Huber, "gradient", no_threshold),
        "identity",
        {
            "loss": dr.Huber(0.5),
            "criterion": lambda z, a, t: nn.HuberLoss(delta=0.5)(a, t),
            "reduced": True,
        },
    ),
    "poisson": (
        (losses.Poisson, "canonical_delta", lambda self, z, a, t: a - t),
        "exp",
        {
            "loss": dr.Poisson(),
            "criterion": lambda z, a, t: nn.PoissonNLLLoss()(z, t),
            "reduced": True,
            "y": COUNTS,
        },
    ),
    "binary cross-entropy": (
        (losses.BinaryCrossEntropy, "canonical_delta", lambda self, z, a, t: (a - t) * a * (1 - a)),
        "sigmoid",
        {
            "loss": dr.BinaryCrossEntropy(),
            "criterion": lambda z, a, t: 4 * F.binary_cross_entropy(a, t),
            "reduced": True,
            "y": SHARES,
        },
    ),
    "label smoothing": (
        (losses.CrossEntropy, "encode", smoothed_over_the_others),
        "softmax",
        {
            "loss": dr.CrossEntropy(label_smoothing=0.1),
            "criterion": lambda z, a, t: F.cross_entropy(z, t, label_smoothing=0.1),
            "reduced": True,
            "y": LABELS,
        },
    ),
    "a mean that divides by rows": (
        (reference, "loss_scale", mean_over_rows),
        "identity",
        {"sample_weight": WEIGHTS},
    ),
    "a last batch that divides by the rows of a whole one": (
        (reference, "loss_scale", mean_over_rows),
        "identity",
        {},
    ),
}


@pytest.mark.parametrize(("fault", "head", "changes"), LOSSES.values(), ids=LOSSES)
def test_in_a_loss(fault, head, changes, seen):
    changes = {"optimizer": dr.SGD(0.02), "rule": sgd} | changes
    seen(fault, network(head), **changes)


@pytest.mark.parametrize(
    "kind",
    [losses.SquaredError, losses.MeanSquaredError, losses.Huber, losses.MeanAbsoluteError],
)
def test_in_the_reported_value_alone(kind, seen):
    right = kind.value
    fault = (kind, "value", lambda self, a, t: right(self, a, t) * (1 + 1e-8))
    criterion = {
        losses.SquaredError: mse,
        losses.MeanSquaredError: lambda z, a, t: mse(z, a, t) / 2,
        losses.Huber: lambda z, a, t: F.huber_loss(a, t, reduction="none").mean(dim=1),
        losses.MeanAbsoluteError: lambda z, a, t: (a - t).abs().mean(dim=1),
    }[kind]
    seen(fault, network(), loss=kind(), criterion=criterion, optimizer=dr.SGD(0.02), rule=sgd)


# ------------------------------------------------------------------------------------- activations

ELEMENTWISE = [
    kind
    for kind in vars(activations).values()
    if isinstance(kind, type)
    and issubclass(kind, activations.ActivationFunction)
    and kind.name not in ("", "softmax")
]


@pytest.mark.parametrize("kind", ELEMENTWISE, ids=lambda kind: kind.name)
def test_in_a_derivative_by_a_millionth(kind, seen):
    right = kind.derivative
    fault = (kind, "derivative", lambda self, z, a: right(self, z, a) * (1 + 1e-6))
    # As a layer of its own the identity too is an operation with a derivative.
    layers = [dr.Dense(8, "tanh"), dr.Dense(6), dr.Activation(kind()), dr.Dense(4)]
    seen(fault, stack(layers), optimizer=dr.SGD(0.02), rule=sgd)


def test_in_the_jacobian_of_softmax(seen):
    diagonal = lambda self, gradient, z, a: gradient * a * (1 - a)  # noqa: E731
    seen((activations.Softmax, "backward", diagonal), network(hidden="softmax"))


# -------------------------------------------------------------------------- normalisation, residual


def mean_still(gradient, x_hat, r, scale, of_batch):
    g = gradient * scale
    return g * r, (gradient * x_hat).sum(axis=0), gradient.sum(axis=0)


def left_biased(variance, n):
    return variance


def epsilon_outside_the_root(x, scale, shift, mean, variance, epsilon):
    r = 1 / (np.sqrt(variance) + epsilon)
    return scale * (x - mean) * r + shift, (x - mean) * r, r


def unbiased_rows(x, scale, shift, epsilon):
    r = 1 / np.sqrt(x.var(axis=1, ddof=1, keepdims=True) + epsilon)
    x_hat = (x - x.mean(axis=1, keepdims=True)) * r
    return scale * x_hat + shift, x_hat, r


NORMS = {
    "backward through the mean": (
        (formulas, "batch_norm_backward", mean_still),
        dr.BatchNorm(),
    ),
    "epsilon": ((formulas, "batch_norm_forward", epsilon_outside_the_root), dr.BatchNorm()),
    "running variance": (
        (formulas, "unbiased", left_biased),
        dr.BatchNorm(),
    ),
    "variance of a row": ((formulas, "layer_norm_forward", unbiased_rows), dr.LayerNorm()),
}


@pytest.mark.parametrize(("fault", "norm"), NORMS.values(), ids=NORMS)
def test_in_a_normalisation(fault, norm, seen):
    seen(fault, stack([dr.Dense(8, "tanh"), norm, dr.Dense(6, "tanh"), norm, dr.Dense(4)]))


def test_in_the_way_back_through_a_shortcut(seen):
    right = backpropagation._backward

    def cut(op, done, context, whole):
        found = list(right(op, done, context, whole))
        return found[1:] if len(op.sources) == 2 else found

    layers = [dr.Dense(8, "tanh"), dr.Residual([dr.Dense(5, "tanh"), dr.Dense(8)]), dr.Dense(4)]
    seen((backpropagation, "_backward", cut), stack(layers))


# --------------------------------------------------------------- clipping, penalties, factors


def each_array_by_its_own_norm(self, gradients):
    for g in gradients:
        g *= min(1.0, self.limit / np.sqrt((g * g).sum()))


def test_in_a_norm_that_is_not_global(seen):
    def clip(twin):
        norm = nn.utils.get_total_norm([p.grad for p in twin.parameters()]).item()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5 * (1 + 1e-6 / norm))

    fault = (dr.ClipNorm, "apply", each_array_by_its_own_norm)
    seen(fault, network(), clip=clip, ours={"clip": dr.ClipNorm(0.5)})


def test_in_a_bound_on_values(seen):
    def low(self, gradients):
        for g in gradients:
            np.minimum(g, self.limit, out=g)

    clip = lambda twin: nn.utils.clip_grad_value_(twin.parameters(), 0.05)  # noqa: E731
    fault = (dr.ClipValue, "apply", low)
    seen(fault, network(), clip=clip, ours={"clip": dr.ClipValue(0.05)})


@pytest.mark.parametrize("ours", [dr.L1(0.02), dr.L2(0.02), dr.ElasticNet(0.02, 0.02)])
@pytest.mark.parametrize("part", ["gradient", "value"])
def test_in_a_penalty(ours, part, seen):
    right = getattr(type(ours), part)
    fault = (type(ours), part, lambda self, W: 2 * right(self, W))
    l1, l2 = ours.coefficients

    def addition(twin):
        return sum(l1 * W.abs().sum() + l2 / 2 * (W**2).sum() for W in twin.weights())

    seen(fault, network(), addition=addition, ours={"penalty": ours})


def test_in_a_factor_on_the_rate(seen):
    net = network().scale_learning_rate(0.5, "1.weight")

    def rule(twin):
        rest = [p for p in twin.parameters() if p is not twin.named["1.weight"]]
        return optim.SGD([{"params": [twin.named["1.weight"]], "lr": 0.05}, {"params": rest}], 0.1)

    seen((optimizers.SGD, "update", factor_forgotten), net, rule=rule)
