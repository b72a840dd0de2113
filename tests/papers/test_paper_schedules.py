"""Schedules without a counterpart in PyTorch, in their sources' words."""

import math

import numpy as np
import pytest
from numpy_network import EPOCHS, STEPS, descent, follow

import deltarule as dr


@pytest.mark.parametrize("power", [0.5, 0.25, 1.0])
def test_inverse_scaling_by_steps(power):
    follow(dr.SGD(dr.InverseScaling(0.1, power)), descent(lambda t, _: 0.1 / (t + 1) ** power))


def test_inverse_scaling_by_epochs():
    follow(
        dr.SGD(dr.InverseScaling(0.1, 0.5, unit="epoch")),
        descent(lambda _, epoch: 0.1 / (epoch + 1) ** 0.5),
        by_step=False,
    )


def test_sgdr_restarts_at_its_t_i_of_equation_5():
    # eta_t = eta_min + (eta_max - eta_min) / 2 * (1 + cos(pi T_cur / T_i)); T_i grows by T_mult.
    length, count = 4, 0
    rates = []
    for _ in range(STEPS):
        rates.append(0.002 + (0.1 - 0.002) / 2 * (1 + math.cos(math.pi * count / length)))
        count += 1
        if count == length:
            length, count = 3 * length, 0
    follow(dr.SGD(dr.CosineRestarts(0.1, 4, 3, 0.002)), descent(lambda t, _: rates[t]))


@pytest.mark.parametrize("unit", ["step", "epoch"])
def test_warm_up_rises_linearly_and_then_begins_its_schedule(unit):
    schedule = dr.WarmUp(4, dr.InverseScaling(0.1, unit=unit), unit=unit)

    def rate(t):
        return 0.1 * (t + 1) / 5 if t < 4 else 0.1 / math.sqrt(t - 4 + 1)

    position = {"step": lambda t, epoch: t, "epoch": lambda t, epoch: epoch}[unit]
    follow(
        dr.SGD(schedule),
        descent(lambda t, epoch: rate(position(t, epoch))),
        by_step=unit == "step",
    )


def test_warm_up_leaves_the_rest_of_the_run_to_its_schedule():
    def rate(t, _):
        if t < 5:
            return 0.1 * (t + 1) / 6
        return 0.1 * (1 - (t - 5) / (STEPS - 5))

    follow(dr.SGD(dr.WarmUp(5, dr.Linear(0.1))), descent(rate), by_step=False)


def test_any_function_of_the_step():
    follow(dr.SGD(lambda t: 0.05 + 0.05 * (t % 2)), descent(lambda t, _: 0.05 + 0.05 * (t % 2)))


def test_polynomial_with_an_end_over_all_epochs():
    follow(
        dr.SGD(dr.Polynomial(0.1, 1.5, end=0.01, unit="epoch")),
        descent(lambda _, epoch: 0.01 + 0.09 * (1 - epoch / EPOCHS) ** 1.5),
        by_step=False,
    )


def test_piecewise_takes_any_rates():
    rates = [0.02] * 3 + [0.1] * 10 + [0.0] * 2 + [0.05] * 18
    follow(
        dr.SGD(dr.Piecewise((3, 13, 15), (0.02, 0.1, 0.0, 0.05))),
        descent(lambda t, _: np.array(rates)[t]),
    )
