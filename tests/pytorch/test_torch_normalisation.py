"""BatchNorm and LayerNorm follow PyTorch's; running statistics are compared after every step."""

import numpy as np
import pytest
from twin import (
    LABELS,
    REAL,
    WEIGHTS,
    F,
    Recipe,
    Twin,
    X,
    follow,
    gap,
    nn,
    optim,
    our_numbers,
    stack,
    torch,
)

import deltarule as dr


def between(norm, head="identity"):
    """Return three layers with a normalisation before each hidden activation."""
    return stack(
        [
            dr.Dense(8, bias=False),
            norm,
            dr.Activation("tanh"),
            dr.Dense(6, bias=False),
            norm,
            dr.Activation("sigmoid"),
            dr.Dense(4, head),
        ]
    )


def behind(norm):
    """Return three layers with a normalisation of the input and behind the activations."""
    return stack([norm, dr.Dense(8, "tanh"), norm, dr.Dense(6, "silu"), norm, dr.Dense(4)])


NORMS = {
    "batch": dr.BatchNorm(),
    "batch, settings": dr.BatchNorm(epsilon=1e-2, momentum=0.4),
    "batch, running values stand": dr.BatchNorm(momentum=0.0),
    "batch, running values are the last": dr.BatchNorm(momentum=1.0),
    "layer": dr.LayerNorm(),
    "layer, settings": dr.LayerNorm(epsilon=1e-2),
}


@pytest.mark.parametrize("place", [between, behind])
@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_follows_pytorch(norm, place):
    follow(place(norm))


@pytest.mark.parametrize("norm", [dr.BatchNorm(), dr.LayerNorm()])
def test_follows_pytorch_under_adam_and_a_sum(norm):
    follow(
        between(norm, "softmax"),
        loss=dr.CrossEntropy(reduction="sum"),
        criterion=lambda z, a, t: F.cross_entropy(z, t, reduction="none"),
        y=LABELS,
        optimizer=dr.Adam(0.01),
        rule=lambda twin: optim.Adam(twin.parameters(), lr=0.01),
    )


@pytest.mark.parametrize("norm", [dr.BatchNorm(), dr.LayerNorm()])
def test_sample_weights_do_not_enter_the_normalisation(norm):
    follow(between(norm), sample_weight=WEIGHTS)


def test_running_statistics_really_move():
    net = between(dr.BatchNorm())
    trained = follow(net)
    for name, values in net.state.items():
        assert np.abs(trained.state[name] - values).max() > 1e-2


@pytest.mark.parametrize("norm", [dr.BatchNorm(momentum=0.3), dr.LayerNorm()])
def test_evaluation_uses_what_pytorchs_evaluation_mode_uses(norm):
    trained = follow(between(norm))
    twin = Twin(trained).eval()
    with torch.no_grad():
        _, a = twin(torch.tensor(X))
        expected = 0.5 * nn.MSELoss(reduction="sum")(a, torch.tensor(REAL)).item() / len(X)
    found = dr.evaluate(trained, X, REAL, dr.SquaredError(), engine="reference")
    assert found["loss"] == pytest.approx(expected, rel=1e-9)
    one_by_one = trained.predict(X, batch_size=1, engine="reference")
    np.testing.assert_allclose(one_by_one, a.numpy(), rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------------------------------ frozen


def used(net):
    """Give a network running statistics that differ from the initial ones."""
    random = np.random.default_rng(5)
    for name in net.state:
        net.state[name] = random.uniform(0.3, 2.0, size=net.state[name].shape)
    return net


def frozen(*names, evaluates):
    def prepare(twin):
        for name in names:
            twin.named[name].requires_grad_(False)
        for module in twin.modules():
            if evaluates and isinstance(module, nn.BatchNorm1d):
                module.eval()

    return prepare


SCALES = ("1.scale", "1.shift", "4.scale", "4.shift")


def test_a_frozen_batch_norm_is_pytorchs_in_evaluation_mode_without_gradients():
    net = used(between(dr.BatchNorm())).freeze("1", "4")
    trained = follow(net, prepare=frozen(*SCALES, evaluates=True))
    for name in (*SCALES, *net.state):
        before, after = our_numbers(net)[name], our_numbers(trained)[name]
        np.testing.assert_array_equal(after, before)


def test_a_batch_norm_with_a_factor_of_0_is_frozen_too():
    net = used(between(dr.BatchNorm(learning_rate_factor=0.0)))
    follow(net, prepare=frozen(*SCALES, evaluates=True))


def test_a_batch_norm_of_which_only_the_scale_is_frozen_still_uses_the_batch():
    net = used(between(dr.BatchNorm())).freeze("1.scale", "4.scale")
    follow(net, prepare=frozen("1.scale", "4.scale", evaluates=False))


def test_a_frozen_layer_norm_follows_pytorchs_without_gradients():
    net = between(dr.LayerNorm()).freeze("1", "4")
    follow(net, prepare=frozen(*SCALES, evaluates=False))


def test_without_gradients_alone_pytorchs_batch_norm_still_uses_the_batch():
    net = used(between(dr.BatchNorm())).freeze("1", "4")
    assert gap(net, prepare=frozen(*SCALES, evaluates=False)) > 1e-2


def test_a_layer_may_be_frozen_and_thawed_between_two_runs():
    net = between(dr.BatchNorm()).freeze("1", "4")
    thawed = follow(net, Recipe(prepare=frozen(*SCALES, evaluates=True))).unfreeze("1", "4")
    follow(thawed)


def test_both_refuse_a_batch_of_one_row():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm1d(7)(torch.zeros(1, 7))
    with pytest.raises(dr.DeltaruleError, match="at least 2 rows"):
        dr.train(behind(dr.BatchNorm()), X, REAL, loss="squared_error", batch_size=4)
