"""The step count of an optimizer belongs to the parameter that it updates."""

import copy
import pickle

import numpy as np
import pytest

import deltarule as dr
from members import by_rule, members

ENGINES = ["reference", "native"]
ALL = pytest.mark.parametrize("optimizer", members("optimizer"), ids=lambda o: repr(o)[:40])
IN_BOTH = pytest.mark.parametrize("engine", ENGINES)

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X @ np.array([[1.0], [-2.0], [0.5]]) + np.random.default_rng(1).normal(size=(40, 1))


def trainer(optimizer, engine, **settings):
    net = dr.Network([dr.Dense(5, "tanh"), dr.Dense(1)], inputs=3, seed=2, dtype="float64")
    return dr.Trainer(net, "squared_error", optimizer, engine=engine, **settings)


@ALL
@IN_BOTH
@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_of_weight_zero_change_nothing(optimizer, engine, batch_size, target):
    """Training on them in between gives the bits of training without them."""
    weights = np.repeat([1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0], 4)
    weighted = trainer(optimizer, engine)
    weighted.run(X, Y, epochs=3, batch_size=batch_size, shuffle=False, sample_weight=weights)
    alone = trainer(optimizer, engine)
    kept = weights > 0
    alone.run(
        X[kept], Y[kept], epochs=3, batch_size=batch_size, shuffle=False,
        sample_weight=weights[kept],
    )  # fmt: skip
    np.testing.assert_array_equal(weighted.network.vector, alone.network.vector)
    np.testing.assert_array_equal(
        weighted._executor.optimizer_state, alone._executor.optimizer_state
    )


@IN_BOTH
@pytest.mark.parametrize("name", by_rule("optimizer"))
def test_the_first_update_after_a_thousand_batches_of_weight_zero_is_the_first(name, engine):
    X = np.ones((1003, 1))
    weights = np.repeat([0.0, 1.0], [1000, 3])
    moved = []
    for rows in (slice(None), slice(-3, None)):
        net = dr.Network([dr.Dense(1)], inputs=1, dtype="float64", weight_initializer="zeros")
        own = dr.Trainer(net, "squared_error", name, engine=engine)
        own.run(X[rows], X[rows], batch_size=1, shuffle=False, sample_weight=weights[rows])
        moved.append(net.vector)
    np.testing.assert_array_equal(*moved)
    assert moved[0].all()


@ALL
@IN_BOTH
def test_a_parameter_that_is_freed_begins_as_a_new_one(optimizer, engine, target):
    """Frozen for some epochs and freed, it moves as where training begins then."""
    frozen = trainer(optimizer, engine)
    frozen.network.freeze("0.weight")
    frozen.run(X, Y, epochs=4, batch_size=8)
    frozen.network.unfreeze("0.weight")
    begun = frozen.network.copy()
    before = begun.parameters["0.weight"].copy()
    frozen.step(X, Y)
    twin = dr.Trainer(begun, "squared_error", optimizer, engine=engine)
    twin.step(X, Y)
    np.testing.assert_array_equal(
        frozen.network.parameters["0.weight"], begun.parameters["0.weight"]
    )
    assert (begun.parameters["0.weight"] != before).any()


@ALL
@IN_BOTH
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_counts_survive_copies_and_new_plans(optimizer, engine, duplicate):
    def course(between):
        own = trainer(optimizer, engine)
        own.network.freeze("1")
        weights = np.repeat([0.0, 1.0], [8, 32])
        own.run(X, Y, epochs=2, batch_size=8, shuffle=False, sample_weight=weights)
        own.network.unfreeze("1.bias")
        own.run(X, Y, epochs=1, batch_size=8)
        own.network.unfreeze("1").freeze("0.bias")
        own = between(own)
        own.run(X, Y, epochs=2, batch_size=8)
        return own

    one, other = course(lambda trainer: trainer), course(duplicate)
    np.testing.assert_array_equal(one.network.vector, other.network.vector)
    counts = dict(zip(one.network.parameters, one._counts.of_parameters, strict=True))
    assert counts == {"0.weight": 23, "0.bias": 13, "1.weight": 10, "1.bias": 15}


@ALL
def test_engines_agree_where_counts_differ(optimizer, target):
    vectors = []
    for engine in ENGINES:
        own = trainer(optimizer, engine)
        own.network.freeze("0")
        own.run(X, Y, epochs=2, batch_size=8)
        own.network.unfreeze("0")
        weights = (np.arange(40) // 4 % 3 > 0).astype(float)
        own.run(X, Y, epochs=2, batch_size=2, sample_weight=weights, shuffle=False)
        own.run(X, Y, epochs=2, batch_size=1, sample_weight=weights)
        vectors.append(own.network.vector)
    # 130 updates, each off by some eps of values of size 1 (agreement.py measures such).
    np.testing.assert_allclose(*vectors, rtol=0, atol=130 * 64 * np.finfo(float).eps)


@IN_BOTH
def test_schedules_go_on_counting_steps(engine):
    """A batch of weight 0 is a step: the rate goes on."""
    own = trainer(dr.SGD(dr.Piecewise((3,), (0.0, 1e-3))), engine)
    before = own.network.vector.copy()
    weights = np.repeat([0.0, 1.0], [12, 4])
    own.run(X[:16], Y[:16], batch_size=4, shuffle=False, sample_weight=weights)
    assert (own.network.vector != before).any()


@IN_BOTH
def test_zero_weights_are_found_in_a_given_order(engine):
    order = np.random.default_rng(3).permutation(40)
    weights = np.ones(40)
    weights[order[8:24]] = 0
    own = trainer("adam", engine)
    own.run(X, Y, batch_size=8, shuffle=order, sample_weight=weights, epochs=2)
    alone = trainer("adam", engine)
    kept = np.r_[order[:8], order[24:]]
    alone.run(X[kept], Y[kept], batch_size=8, shuffle=False, epochs=2)
    assert (own.steps, alone.steps) == (10, 6)
    np.testing.assert_array_equal(own.network.vector, alone.network.vector)
