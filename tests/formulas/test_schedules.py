"""Schedules: their formulas, ends and directions, by step and by epoch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import deltarule as dr
from deltarule.formulas.schedules import FunctionOfStep, resolve_schedule

RATE = 0.4

# schedule, total, {position: rate}
POINTS = {
    "constant": (dr.schedules.Constant(RATE), 10, {0: RATE, 9: RATE, 1000: RATE}),
    "step": (dr.Step(RATE, 3, 0.5), 10, {0: RATE, 2: RATE, 3: 0.2, 5: 0.2, 6: 0.1, 9: 0.05}),
    "exponential": (dr.Exponential(RATE, 0.5), 10, {0: RATE, 1: 0.2, 3: 0.05}),
    "exponential every 4": (
        dr.Exponential(RATE, 0.5, 4),
        10,
        {0: RATE, 2: RATE * math.sqrt(0.5), 4: 0.2, 8: 0.1},
    ),
    "inverse scaling": (dr.InverseScaling(RATE), 10, {0: RATE, 3: 0.2, 15: 0.1}),
    "inverse scaling, power 1": (dr.InverseScaling(RATE, 1.0), 10, {0: RATE, 1: 0.2, 3: 0.1}),
    "polynomial": (dr.Polynomial(RATE), 10, {0: RATE, 5: 0.1, 10: 0.0, 11: 0.0}),
    "polynomial to an end": (
        dr.Polynomial(RATE, power=1.0, end=0.2, length=4),
        10,
        {0: RATE, 1: 0.35, 2: 0.3, 4: 0.2, 9: 0.2},
    ),
    "linear": (dr.Linear(RATE), 10, {0: RATE, 5: 0.2, 10: 0.0, 20: 0.0}),
    "linear rise": (dr.Linear(0.1, 0.5, 4), 10, {0: 0.1, 2: 0.3, 4: 0.5, 9: 0.5}),
    "cosine": (dr.Cosine(RATE), 12, {0: RATE, 4: 0.3, 6: 0.2, 8: 0.1, 12: 0.0, 13: 0.0}),
    "cosine to an end": (dr.Cosine(RATE, 0.2, 6), 12, {0: RATE, 3: 0.3, 6: 0.2, 12: 0.2}),
    "restarts": (
        dr.CosineRestarts(RATE, 4),
        12,
        {0: RATE, 2: 0.2, 4: RATE, 6: 0.2, 8: RATE, 4000: RATE},
    ),
    "growing restarts": (
        dr.CosineRestarts(RATE, 2, 2),
        30,
        {0: RATE, 1: 0.2, 2: RATE, 4: 0.2, 6: RATE, 10: 0.2, 14: RATE},
    ),
    # top at 0.3 * 20 - 1 = 5, last step 19
    "one cycle": (
        dr.OneCycle(RATE),
        20,
        {0: RATE / 25, 5: RATE, 12: (RATE + RATE / 25e4) / 2, 19: RATE / 25e4, 30: RATE / 25e4},
    ),
    "piecewise": (
        dr.Piecewise((3, 6), (RATE, 0.2, 0.1)),
        10,
        {0: RATE, 2: RATE, 3: 0.2, 5: 0.2, 6: 0.1, 99: 0.1},
    ),
    "warm-up": (
        dr.WarmUp(3, RATE),
        10,
        {0: 0.1, 1: 0.2, 2: 0.3, 3: RATE, 9: RATE},
    ),
    "warm-up before a cosine": (
        dr.WarmUp(3, dr.Cosine(RATE)),
        13,
        {0: 0.1, 2: 0.3, 3: RATE, 8: 0.2, 13: 0.0},
    ),
}


@pytest.mark.parametrize("name", POINTS)
def test_a_schedule_has_the_rates_of_its_formula(name):
    schedule, total, points = POINTS[name]
    for t, rate in points.items():
        assert schedule(t, total) == pytest.approx(rate, rel=1e-13, abs=1e-17), f"at {t}"


@pytest.mark.parametrize("name", POINTS)
def test_the_table_is_the_schedule_at_each_step(name):
    schedule, total, _ = POINTS[name]
    table = schedule.table(np.arange(2, 9), total)
    assert table.dtype == np.float64
    np.testing.assert_allclose(table, [schedule(t, total) for t in range(2, 9)], rtol=1e-15)


@pytest.mark.parametrize(
    "name", ["step", "exponential", "inverse scaling", "polynomial", "linear", "cosine"]
)
def test_a_decay_begins_at_its_rate_never_rises_and_never_turns_negative(name):
    schedule, total, _ = POINTS[name]
    rates = schedule.table(np.arange(5 * total), total)
    assert rates[0] == RATE
    assert (np.diff(rates) <= 0).all()
    assert (rates >= 0).all()


def test_one_cycle_rises_to_its_top_and_falls_from_it():
    for total in (2, 3, 5, 10, 1000):
        rates = dr.OneCycle(RATE).table(np.arange(total), total)
        top = int(rates.argmax())
        assert rates.max() <= RATE * (1 + 1e-15)
        assert (np.diff(rates[: top + 1]) > 0).all()
        assert (np.diff(rates[top:]) < 0).all()
        assert rates[-1] == pytest.approx(RATE / 25e4)


def test_a_warm_up_rises_evenly_and_meets_its_schedule():
    rates = dr.WarmUp(9, RATE).table(np.arange(12), 12)
    np.testing.assert_allclose(np.diff(rates[:10]), RATE / 10, rtol=1e-12)
    assert (rates[9:] == RATE).all()


@pytest.mark.parametrize("kind", [dr.Polynomial, dr.Linear, dr.Cosine, dr.OneCycle])
def test_without_a_length_a_schedule_spans_the_run(kind):
    assert kind(RATE).spans_run
    assert not kind(RATE, length=10).spans_run
    for total in (10, 37):
        for t in range(total):
            assert kind(RATE)(t, total) == kind(RATE, length=total)(t, 999)
    assert dr.WarmUp(2, kind(RATE)).spans_run
    assert not dr.WarmUp(2, kind(RATE, length=5)).spans_run


class Watch(dr.Callback):
    """Keeps the one weight as it is after every epoch."""

    def __init__(self):
        self.weights = []

    def on_epoch(self, state):
        self.weights.append(float(state.network.vector[0]))


def test_a_schedule_by_epoch_keeps_its_rate_within_an_epoch():
    """The gradient is 1 at every step, so an epoch of 3 steps moves the weight by 3 rates."""
    net = dr.Network([dr.Dense(1, bias=False)], inputs=1, dtype="float64")
    net.vector[:] = 0.0
    watch = Watch()
    dr.train(
        net,
        np.ones((3, 1)),
        np.full(3, -1e6),
        loss="mean_absolute_error",
        optimizer=dr.SGD(dr.Step(RATE, 2, 0.5, unit="epoch")),
        epochs=6,
        batch_size=1,
        callbacks=[watch],
        progress=False,
    )
    moved = -np.diff([0.0, *watch.weights])
    np.testing.assert_allclose(moved, 3 * np.array([0.4, 0.4, 0.2, 0.2, 0.1, 0.1]), rtol=1e-13)


def test_a_number_and_a_function_are_schedules():
    assert resolve_schedule(0.1) == dr.schedules.Constant(0.1)
    halved = resolve_schedule(lambda step: 1 / (step + 1))
    assert isinstance(halved, FunctionOfStep)
    np.testing.assert_allclose(halved.table(np.arange(4), 4), [1, 1 / 2, 1 / 3, 1 / 4])


IMPOSSIBLE = {
    "negative rate": lambda: dr.schedules.Constant(-0.1),
    "rate that is no number": lambda: dr.Cosine("fast"),
    "NaN": lambda: dr.Exponential(float("nan"), 0.5),
    "no steps": lambda: dr.Step(RATE, 0),
    "half a step": lambda: dr.Step(RATE, 1.5),
    "length 0": lambda: dr.Linear(RATE, length=0),
    "negative end": lambda: dr.Cosine(RATE, -0.1),
    "rise of the whole run": lambda: dr.OneCycle(RATE, rise=1.0),
    "unit": lambda: dr.Cosine(RATE, unit="batch"),
    "too few rates": lambda: dr.Piecewise((3, 6), (0.1, 0.2)),
    "boundaries that fall": lambda: dr.Piecewise((6, 3), (0.1, 0.2, 0.3)),
    "mixed units": lambda: dr.WarmUp(3, dr.Cosine(RATE, unit="epoch")),
    "name for a rate": lambda: dr.SGD("cosine"),
    "class for a rate": lambda: dr.SGD(dr.Cosine),
    "function that turns negative": lambda: resolve_schedule(lambda step: -1.0)(0, 1),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_an_impossible_schedule_is_refused(what):
    with pytest.raises(dr.DeltaruleError):
        IMPOSSIBLE[what]()
