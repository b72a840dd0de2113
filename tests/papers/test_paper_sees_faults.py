"""The comparisons with the papers fail once our formula is wrong where it is easy to overlook."""

import numpy as np
import pytest
import test_paper_losses
import test_paper_optimizers
import test_paper_schedules

import deltarule as dr


def momentum_first(self, w, g, state, row, factor, is_weight):
    state[0] *= self.beta2
    state[0] += (1 - self.beta2) * g
    w -= row[0] * np.sign(self.beta1 * state[0] + (1 - self.beta1) * g)


def gradient_before_the_first_is_zero(self, w, g, state, row, factor, is_weight):
    right_adan(self, w, g, state, np.r_[row[:-1], 0.0], factor, is_weight)


right_adan = dr.Adan.update


def rows_for_columns(self, W):
    W *= np.minimum(1, self.limit / np.sqrt((W * W).sum(axis=1, keepdims=True)))


def other_tail(self, a, t):
    return np.where(a < t, self.q - 1, self.q) / a.shape[1]


def from_0(self, t, total):
    return self.learning_rate / max(t, 1) ** self.power


def lion():
    test_paper_optimizers.test_lion_is_algorithm_2_of_chen_et_al(0.003, lambda t: 0.003, 0.0)


def adan():
    test_paper_optimizers.test_adan_is_algorithm_1_of_xie_et_al(0.01, lambda t: 0.01, 0.3)


def max_norm():
    test_paper_optimizers.test_max_norm_projects_each_units_weights_after_the_update_as_in_srivastava()


def quantile():
    test_paper_losses.test_training_follows_the_slope_of_the_check_function(0.1)


def inverse_scaling():
    test_paper_schedules.test_inverse_scaling_by_steps(0.5)


@pytest.mark.parametrize(
    ("comparison", "fault"),
    [
        (lion, (dr.Lion, "update", momentum_first)),
        (adan, (dr.Adan, "update", gradient_before_the_first_is_zero)),
        (max_norm, (dr.MaxNorm, "apply", rows_for_columns)),
        (quantile, (dr.Quantile, "gradient", other_tail)),
        (inverse_scaling, (dr.InverseScaling, "__call__", from_0)),
    ],
    ids=["lion", "adan", "max-norm", "quantile", "inverse scaling"],
)
def test_a_fault_is_seen(comparison, fault, monkeypatch):
    comparison()
    monkeypatch.setattr(*fault)
    with pytest.raises(AssertionError):
        comparison()
