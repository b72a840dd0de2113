"""Each schedule follows PyTorch's, under SGD with momentum, whose rate stands outside the velocity.

PyTorch moves a scheduler on after the optimizer's step; ours is a function of the step, from 0.
"""

import pytest
from twin import (
    EPOCHS,
    REAL,
    STEPS,
    STEPS_PER_EPOCH,
    Recipe,
    X,
    follow,
    gap,
    network,
    optim,
    torch,
    train_twin,
    train_whole,
)

import deltarule as dr

RATE = 0.06
scheduler = optim.lr_scheduler


def warm_up(length, then):
    def make(optimizer):
        rise = scheduler.LinearLR(optimizer, 1 / (length + 1), 1.0, length)
        return scheduler.SequentialLR(optimizer, [rise, then(optimizer)], [length])

    return make


# Lengths count in steps; every entry is also run with lengths that count in epochs.
LENGTHS = {
    "step": (lambda u: dr.Step(RATE, 4, 0.6, unit=u), lambda o: scheduler.StepLR(o, 4, 0.6)),
    "step by default": (lambda u: dr.Step(RATE, 9, unit=u), lambda o: scheduler.StepLR(o, 9)),
    "exponential": (
        lambda u: dr.Exponential(RATE, 0.9, unit=u),
        lambda o: scheduler.ExponentialLR(o, 0.9),
    ),
    "exponential every 5": (
        lambda u: dr.Exponential(RATE, 0.5, every=5, unit=u),
        lambda o: scheduler.ExponentialLR(o, 0.5 ** (1 / 5)),
    ),
    "polynomial": (
        lambda u: dr.Polynomial(RATE, 1.7, length=8, unit=u),
        lambda o: scheduler.PolynomialLR(o, 8, 1.7),
    ),
    "linear": (
        lambda u: dr.Linear(RATE, RATE / 10, length=7, unit=u),
        lambda o: scheduler.LinearLR(o, 1.0, 0.1, 7),
    ),
    "restarts": (
        lambda u: dr.CosineRestarts(RATE, 4, end=0.01, unit=u),
        lambda o: scheduler.CosineAnnealingWarmRestarts(o, 4, 1, eta_min=0.01),
    ),
    "restarts, each twice as long": (
        lambda u: dr.CosineRestarts(RATE, 3, growth=2, unit=u),
        lambda o: scheduler.CosineAnnealingWarmRestarts(o, 3, 2),
    ),
    "piecewise": (
        lambda u: dr.Piecewise((3, 5, 9), (RATE, RATE / 2, RATE / 4, RATE / 8), unit=u),
        lambda o: scheduler.MultiStepLR(o, [3, 5, 9], 0.5),
    ),
    "function": (
        lambda u: dr.schedules.FunctionOfStep(lambda t: RATE / (1 + 0.3 * t), unit=u),
        lambda o: scheduler.LambdaLR(o, lambda t: 1 / (1 + 0.3 * t)),
    ),
    "warm-up": (
        lambda u: dr.WarmUp(4, RATE, unit=u),
        lambda o: scheduler.LinearLR(o, 1 / 5, 1.0, 4),
    ),
    "warm-up, step": (
        lambda u: dr.WarmUp(3, dr.Step(RATE, 2, 0.7, unit=u), unit=u),
        warm_up(3, lambda o: scheduler.StepLR(o, 2, 0.7)),
    ),
    "warm-up, restarts": (
        lambda u: dr.WarmUp(3, dr.CosineRestarts(RATE, 3, growth=2, unit=u), unit=u),
        warm_up(3, lambda o: scheduler.CosineAnnealingWarmRestarts(o, 3, 2)),
    ),
}

# Without a length a schedule spans the run; PyTorch has to be told how long that is.
SPANS = {
    "polynomial": (
        lambda u: dr.Polynomial(RATE, unit=u),
        lambda n: lambda o: scheduler.PolynomialLR(o, n, 2.0),
    ),
    "linear": (
        lambda u: dr.Linear(RATE, unit=u),
        lambda n: lambda o: scheduler.LinearLR(o, 1.0, 0.0, n),
    ),
    "cosine": (
        lambda u: dr.Cosine(RATE, unit=u),
        lambda n: lambda o: scheduler.CosineAnnealingLR(o, n),
    ),
    "cosine to a floor": (
        lambda u: dr.Cosine(RATE, 0.01, unit=u),
        lambda n: lambda o: scheduler.CosineAnnealingLR(o, n, 0.01),
    ),
    "one cycle": (
        lambda u: dr.OneCycle(RATE, unit=u),
        lambda n: lambda o: scheduler.OneCycleLR(o, RATE, n, cycle_momentum=False),
    ),
    "one cycle with settings": (
        lambda u: dr.OneCycle(RATE, 0.45, 5.0, 20.0, unit=u),
        lambda n: (
            lambda o: scheduler.OneCycleLR(
                o,
                RATE,
                n,
                pct_start=0.45,
                div_factor=5.0,
                final_div_factor=20.0,
                cycle_momentum=False,
            )
        ),
    ),
    "warm-up, cosine": (
        lambda u: dr.WarmUp(3, dr.Cosine(RATE, unit=u), unit=u),
        lambda n: warm_up(3, lambda o: scheduler.CosineAnnealingLR(o, n - 3)),
    ),
}


def sgd(twin):
    return optim.SGD(twin.parameters(), lr=RATE, momentum=0.8)


def recipe(ours, theirs, unit="step", **changes):
    optimizer = dr.SGD(ours, momentum=0.8)
    return Recipe(optimizer=optimizer, rule=sgd, scheduler=theirs, unit=unit, **changes)


@pytest.mark.parametrize(("ours", "theirs"), LENGTHS.values(), ids=LENGTHS)
def test_follows_pytorch_step_by_step(ours, theirs):
    follow(network(), recipe(ours("step"), theirs))


@pytest.mark.parametrize(("ours", "theirs"), LENGTHS.values(), ids=LENGTHS)
def test_follows_pytorch_epoch_by_epoch(ours, theirs):
    follow(network(), recipe(ours("epoch"), theirs, "epoch", by_step=False))


@pytest.mark.parametrize(("ours", "theirs"), SPANS.values(), ids=SPANS)
def test_follows_pytorch_over_all_steps_of_the_run(ours, theirs):
    follow(network(), recipe(ours("step"), theirs(STEPS), by_step=False))


@pytest.mark.parametrize(("ours", "theirs"), SPANS.values(), ids=SPANS)
def test_follows_pytorch_over_all_epochs_of_the_run(ours, theirs):
    follow(network(), recipe(ours("epoch"), theirs(EPOCHS), "epoch", by_step=False))


@pytest.mark.parametrize(
    ("ours", "kind"),
    [
        (lambda s: dr.Adam(s), optim.Adam),
        (lambda s: dr.NAdam(s), optim.NAdam),
        (lambda s: dr.AdamW(s, weight_decay=0.0), optim.Adam),
        (lambda s: dr.Adagrad(s), optim.Adagrad),
        (lambda s: dr.RMSprop(s, rho=0.99, momentum=0.5), lambda *a, **k: optim.RMSprop(
            *a, momentum=0.5, **k
        )),
    ],
)  # fmt: skip
def test_a_changing_rate_acts_in_every_optimizer_as_in_pytorch(ours, kind):
    follow(
        network(),
        optimizer=ours(dr.Exponential(0.02, 0.93)),
        rule=lambda twin: kind(twin.parameters(), lr=0.02),
        scheduler=lambda o: scheduler.ExponentialLR(o, 0.93),
    )


def test_the_decay_of_adamw_follows_the_scheduled_rate_as_in_pytorch():
    follow(
        network(),
        optimizer=dr.AdamW(dr.Step(0.02, 5, 0.5), weight_decay=0.2),
        rule=lambda twin: optim.AdamW(
            [
                {"params": twin.weights(), "weight_decay": 0.2},
                {"params": twin.others(), "weight_decay": 0.0},
            ],
            lr=0.02,
        ),
        scheduler=lambda o: scheduler.StepLR(o, 5, 0.5),
    )


def test_rprop_takes_its_first_step_size_from_a_schedule_and_nothing_later_as_in_pytorch():
    follow(
        network(),
        optimizer=dr.Rprop(dr.Step(0.02, 5, 0.5)),
        rule=lambda twin: optim.Rprop(twin.parameters(), lr=0.02),
        scheduler=lambda o: scheduler.StepLR(o, 5, 0.5),
    )


@pytest.mark.parametrize(("patience", "min_delta"), [(1, 0.2), (2, 0.5), (3, 1.0)])
def test_reduce_on_plateau_with_a_patience_of_one_more_follows_pytorch(patience, min_delta):
    # PyTorch's scheduler is told the epoch's loss by hand, so the twin is told ours beforehand:
    # its own is the same to 1e-9, which `follow` asserts.
    callback = dr.ReduceOnPlateau(
        "loss", factor=0.4, patience=patience, min_delta=min_delta, smallest=0.1
    )
    ours = Recipe(optimizer=dr.SGD(RATE, momentum=0.8), callbacks=[callback], by_step=False)
    losses = iter([snapshot.loss for snapshot in train_whole(network(), ours)])
    rates = []

    class Told:
        def __init__(self, optimizer):
            self.optimizer = optimizer
            self.plateau = scheduler.ReduceLROnPlateau(
                optimizer,
                factor=0.4,
                patience=patience - 1,  # PyTorch reduces after one bad epoch more
                threshold=min_delta,
                threshold_mode="abs",
                min_lr=0.1 * RATE,
            )

        def step(self):
            self.plateau.step(next(losses))
            rates.append(self.optimizer.param_groups[0]["lr"])

    follow(
        network(),
        recipe(RATE, Told, "epoch", callbacks=[callback], by_step=False),
    )
    assert len(set(rates)) >= 3  # it was reduced more than once


def epoch_rates(scheduled, batch_sizes):
    """Return the last rate of every epoch of runs over the same data with several batch sizes."""
    trainer = dr.Trainer(network(), "squared_error", dr.SGD(scheduled), engine="reference")
    rates = []
    for size in batch_sizes:
        history = trainer.run(X, REAL, epochs=2, batch_size=size, progress=False)
        rates += history["learning_rate"]
    return rates


@pytest.mark.parametrize("sizes", [(5, 5), (5, 13), (13, 5)])
def test_epochs_go_on_counting_when_a_later_run_has_other_batches(sizes):
    # PyTorch's scheduler, moved on after each epoch, knows nothing of batches.
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    theirs = scheduler.StepLR(optimizer, 1, 0.5)
    expected = []
    for _ in range(4):
        expected += theirs.get_last_lr()
        optimizer.step()
        theirs.step()
    assert epoch_rates(dr.Step(RATE, 1, 0.5, unit="epoch"), sizes) == expected


# ------------------------------------------------------------- where PyTorch's definition differs


def test_cosine_stays_at_its_end_where_pytorchs_rises_again():
    length = 20
    ours = dr.Cosine(RATE, 0.001, length)
    theirs = scheduler.CosineAnnealingLR
    assert gap(network(), **vars(recipe(ours, lambda o: theirs(o, length, 0.001)))) > 1e-3

    def held(optimizer):
        constant = scheduler.LambdaLR(optimizer, lambda t: 0.001 / RATE)
        return scheduler.SequentialLR(
            optimizer, [theirs(optimizer, length, 0.001), constant], [length]
        )

    follow(network(), recipe(ours, held))


def test_the_default_power_of_polynomial_is_2_where_pytorchs_is_1():
    theirs = lambda o: scheduler.PolynomialLR(o, 10)  # noqa: E731
    assert gap(network(), **vars(recipe(dr.Polynomial(RATE, length=10), theirs))) > 1e-3
    follow(network(), recipe(dr.Polynomial(RATE, 1.0, length=10), theirs))


def test_polynomial_may_end_above_0_which_pytorchs_cannot():
    follow(
        network(),
        recipe(
            dr.Polynomial(RATE, 3.0, end=0.01, length=15),
            lambda o: scheduler.LambdaLR(
                o, lambda t: (0.01 + (RATE - 0.01) * (1 - min(t, 15) / 15) ** 3) / RATE
            ),
        ),
    )


def test_linear_starts_at_its_rate_where_pytorchs_starts_at_a_third_of_it():
    ours = dr.Linear(RATE, end=RATE / 2, length=10)
    theirs = scheduler.LinearLR
    third = recipe(ours, lambda o: theirs(o, end_factor=0.5, total_iters=10))
    assert gap(network(), **vars(third)) > 1e-3
    follow(network(), recipe(ours, lambda o: theirs(o, 1.0, 0.5, 10)))


def test_one_cycle_leaves_momentum_alone_where_pytorchs_cycles_it():
    ours = dr.OneCycle(RATE)
    cycled = recipe(ours, lambda o: scheduler.OneCycleLR(o, RATE, STEPS))
    assert gap(network(), **vars(cycled)) > 1e-3


def test_the_last_step_has_the_end_rate_in_one_cycle_but_not_in_cosine_as_in_pytorch():
    def last_rates(theirs):
        seen = []

        class Watched(optim.SGD):
            def step(self):
                seen.append(self.param_groups[0]["lr"])
                super().step()

        train_twin(
            network(),
            Recipe(rule=lambda twin: Watched(twin.parameters(), lr=RATE), scheduler=theirs),
        )
        return seen[STEPS_PER_EPOCH - 1 :: STEPS_PER_EPOCH]

    def our_rates(schedule):
        history = dr.train(
            network(),
            X[:STEPS_PER_EPOCH],
            REAL[:STEPS_PER_EPOCH],
            loss="squared_error",
            optimizer=dr.SGD(schedule),
            epochs=EPOCHS,
            batch_size=1,
            engine="reference",
            progress=False,
        )
        return history["learning_rate"]

    cycle, cosine = our_rates(dr.OneCycle(RATE)), our_rates(dr.Cosine(RATE))
    assert cycle == pytest.approx(
        last_rates(lambda o: scheduler.OneCycleLR(o, RATE, STEPS, cycle_momentum=False)), rel=1e-9
    )
    assert cosine == pytest.approx(
        last_rates(lambda o: scheduler.CosineAnnealingLR(o, STEPS)), rel=1e-9
    )
    assert cycle[-1] == pytest.approx(RATE / 25 / 1e4, rel=1e-9)
    assert cosine[-1] > RATE / 1000
