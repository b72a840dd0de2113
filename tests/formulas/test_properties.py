"""Laws that every network obeys, tried on random architectures, data and settings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deltarule as dr
from gradient_cases import Bilinear, features, network, targets
from members import own
from problems import SOAK

# Few and reproducible examples: every run of the tests tries the same ones, `make soak` others.
settings.register_profile(
    "formulas",
    max_examples=4000 if SOAK else 40,
    deadline=None,
    derandomize=not SOAK,
    print_blob=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
tried = settings(settings.get_profile("formulas"))

EPS = np.finfo(float).eps

FUNCTIONS = [name for name in own("activation") if name != "exp"]  # exp of exp leaves all ranges
widths = st.integers(1, 6)
functions = st.sampled_from(FUNCTIONS)

dense = st.builds(dr.Dense, widths, functions, bias=st.booleans())
without_batch = st.one_of(
    dense,
    st.builds(dr.Activation, functions),
    st.builds(dr.Dropout, st.sampled_from([0.0, 0.2, 0.5])),
    st.builds(dr.LayerNorm, st.sampled_from([1e-5, 0.1])),
    st.builds(Bilinear, widths),
)
any_layer = st.one_of(without_batch, st.builds(dr.BatchNorm, st.sampled_from([1e-5, 0.1])))


def stacks(layer):
    """Return stacks of one to four layers, residuals inside residuals among them."""
    nested = st.recursive(
        layer,
        lambda inner: st.builds(dr.Residual, st.lists(inner, min_size=1, max_size=3)),
        max_leaves=4,
    )
    return st.lists(nested, min_size=1, max_size=4)


PAIRS = [
    (dr.SquaredError, "identity"),
    (dr.SquaredError, "tanh"),
    (dr.MeanSquaredError, "sigmoid"),
    (dr.Huber, "identity"),
    (dr.Poisson, "exp"),
    (dr.Poisson, "softplus"),
    (dr.BinaryCrossEntropy, "sigmoid"),
    (dr.CrossEntropy, "softmax"),
]


@st.composite
def problems(draw, layer=any_layer):
    """Return a network, x, t, a loss: at least two outputs and two examples."""
    kind, output = draw(st.sampled_from(PAIRS))
    inputs, outputs, n = draw(st.integers(1, 5)), draw(st.integers(2, 4)), draw(st.integers(2, 9))
    seed = draw(st.integers(0, 2**20))
    loss = kind(reduction=draw(st.sampled_from(["mean", "sum"])))
    net = network([*draw(stacks(layer)), dr.Dense(outputs, output)], inputs=inputs, seed=seed)
    return net, features(n, inputs, seed), targets(loss, n, outputs, seed), loss


def with_reduction(loss, reduction):
    return type(loss)(reduction=reduction)


def close(one, other, scale, terms):
    """Compare up to the rounding of so many terms of a scale."""
    np.testing.assert_allclose(one, other, rtol=0, atol=terms * EPS * max(scale, 1e-300))


def size_of_gradients(trace):
    """Return a bound on the terms that a gradient's sums are made of.

    ``dW = a.T @ delta``, and each delta itself is a sum over products with the weights behind it.
    """
    largest = [np.abs(a).max() for a in (*trace.activations.values(), trace.inputs)]
    deltas = [np.abs(d).max() for d in trace.deltas.values()]
    weights = np.abs(trace.network.vector).max()
    return max(1, *largest) * max(deltas) * max(1, weights) * len(trace.inputs)


@tried
@given(problems())
def test_the_output_has_one_row_per_example_and_one_column_per_output(problem):
    net, x, t, loss = problem
    assert net.predict(x).shape == (len(x), net.outputs)
    trace = dr.backpropagate(net, x, t, loss)
    last = list(trace.activations.values())[-1]
    assert last.shape == (len(x), net.outputs)
    assert {name: g.shape for name, g in trace.gradients.items()} == {
        name: p.shape for name, p in net.parameters.items()
    }
    assert list(trace.gradients) == list(net.parameters)
    assert trace.input_gradient.shape == x.shape
    assert trace.losses.shape == (len(x),)
    for place in net.placed:
        assert trace.activations[place.path].shape == (len(x), place.outputs)
        assert trace.deltas[place.path].shape[0] == len(x)


@tried
@given(problems())
def test_the_prediction_is_the_activation_of_an_evaluation_pass(problem):
    net, x, t, loss = problem
    trace = dr.backpropagate(net, x, t, loss, training=False)
    output = list(trace.activations.values())[-1]
    np.testing.assert_array_equal(net.predict(x, engine="reference"), output)
    evaluated = dr.evaluate(net, x, t, loss, engine="reference")["loss"]
    np.testing.assert_allclose(evaluated, trace.loss, rtol=1e-13)


@tried
@given(problems(), st.sampled_from([None, "l1", "l2", "elastic_net"]), st.booleans())
def test_the_gradients_agree_with_finite_differences(problem, penalty, training):
    """Kinks and steep places are left out by the check; what it compares must agree."""
    net, x, t, loss = problem
    check = dr.check_gradients(net, x, t, loss, penalty=penalty, training=training, directions=2)
    wrong = [p for p in check.parameters if p.checked and not p.relative_error <= 1e-6]
    assert not wrong, f"{net}\n{check}"


@tried
@given(problems(), st.integers(0, 5), st.sampled_from([None, "l2"]))
def test_the_gradients_are_what_one_step_of_rate_1_subtracts(problem, seed, penalty):
    net, x, t, loss = problem
    trace = dr.backpropagate(net, x, t, loss, seed=seed, step=0, penalty=penalty)
    before = net.copy()
    trainer = dr.Trainer(net, loss, dr.SGD(1.0), seed=seed, penalty=penalty, engine="reference")
    assert trainer.step(x, t) == pytest.approx(trace.loss, rel=1e-14)
    for name, gradient in trace.gradients.items():
        # the step rounds once, to the size of the larger of both
        scale = np.abs(before.parameters[name]).max() + np.abs(gradient).max()
        close(before.parameters[name] - net.parameters[name], gradient, scale, 2)


@tried
@given(problems(without_batch))
def test_the_gradient_of_a_batch_is_the_sum_over_its_examples(problem):
    net, x, t, loss = problem
    whole = dr.backpropagate(net, x, t, with_reduction(loss, "sum"), training=False)
    parts = [
        dr.backpropagate(net, x[i : i + 1], t[i : i + 1], loss, training=False)
        for i in range(len(x))
    ]
    terms = 200 * len(x)  # products of a few layers, each of up to 6 terms, and the sum of rows
    for name, gradient in whole.gradients.items():
        total = sum(part.gradients[name] for part in parts)
        close(gradient, total, size_of_gradients(whole), terms)
    close(whole.loss, sum(part.loss for part in parts), np.abs(whole.losses).sum() + 1, terms)
    rows = np.concatenate([part.input_gradient for part in parts])
    close(whole.input_gradient, rows, size_of_gradients(whole), terms)


@tried
@given(problems(without_batch), st.data())
def test_weight_2_is_the_example_twice_and_weight_0_is_the_example_absent(problem, data):
    net, x, t, loss = problem
    counts = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(x), max_size=len(x))))
    if not counts.any():
        counts[0] = 1
    rows = np.repeat(np.arange(len(x)), counts)
    weighted = dr.backpropagate(net, x, t, loss, sample_weight=counts, training=False)
    repeated = dr.backpropagate(net, x[rows], t[rows], loss, training=False)
    terms = 200 * len(rows)
    for name, gradient in repeated.gradients.items():
        close(weighted.gradients[name], gradient, 3 * size_of_gradients(repeated), terms)
    scale = np.abs(repeated.losses).sum() + 1
    close(weighted.loss, repeated.loss, scale, terms)
    np.testing.assert_array_equal(weighted.input_gradient[counts == 0], 0)


@tried
@given(problems(), st.floats(0.01, 100))
def test_a_mean_does_not_see_the_scale_of_the_weights_and_a_sum_is_the_mean_times_it(
    problem, factor
):
    net, x, t, loss = problem
    rng = np.random.default_rng(len(x))
    weights = rng.uniform(0.1, 2, len(x))
    mean, scaled = (
        dr.backpropagate(net, x, t, with_reduction(loss, "mean"), sample_weight=w)
        for w in (weights, factor * weights)
    )
    total = dr.backpropagate(net, x, t, with_reduction(loss, "sum"), sample_weight=weights)
    size = size_of_gradients(total)
    for name, gradient in mean.gradients.items():
        close(scaled.gradients[name], gradient, size, 500)
        close(total.gradients[name], weights.sum() * gradient, size * weights.sum(), 500)
    assert total.data_loss == pytest.approx(weights.sum() * mean.data_loss, rel=1e-12)
    assert scaled.data_loss == pytest.approx(mean.data_loss, rel=1e-12)


@tried
@given(problems(without_batch), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_does_not_matter(problem, random):
    net, x, t, loss = problem
    order = list(range(len(x)))
    random.shuffle(order)
    one = dr.backpropagate(net, x, t, loss, training=False)
    other = dr.backpropagate(net, x[order], t[order], loss, training=False)
    for name, gradient in one.gradients.items():
        close(other.gradients[name], gradient, size_of_gradients(one), 200 * len(x))
    np.testing.assert_allclose(
        other.losses, one.losses[order], rtol=0, atol=1e-12 * (1 + np.abs(one.losses).max())
    )


@tried
@given(problems(), st.sampled_from(["l1", "l2", "elastic_net"]))
def test_a_penalty_adds_the_same_whatever_the_batch_and_its_reduction(problem, penalty):
    net, x, t, loss = problem
    added = []
    for rows in (slice(None), slice(0, 2)):
        for reduction in ("mean", "sum"):
            chosen = with_reduction(loss, reduction)
            plain = dr.backpropagate(net, x[rows], t[rows], chosen)
            penalised = dr.backpropagate(net, x[rows], t[rows], chosen, penalty=penalty)
            assert penalised.loss == penalised.data_loss + penalised.penalty
            assert penalised.data_loss == plain.loss
            added.append(penalised.penalty)
            for name, gradient in plain.gradients.items():
                difference = penalised.gradients[name] - gradient
                if not net.parameter_spec(name).is_weight:
                    assert (difference == 0).all()
    assert len(set(added)) == 1


@tried
@given(problems(any_layer))
def test_backpropagating_changes_nothing(problem):
    net, x, t, loss = problem
    vector, state, data = net.vector.copy(), net.state_vector.copy(), x.copy()
    dr.backpropagate(net, x, t, loss)
    np.testing.assert_array_equal(net.vector, vector)
    np.testing.assert_array_equal(net.state_vector, state)
    np.testing.assert_array_equal(x, data)
