"""What describes a network or a trainer is fixed, and a misspelt attribute is refused."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.guards import OneAtATime


def network():
    return dr.Network([dr.Dense(3, "tanh"), dr.BatchNorm(), dr.Dense(1)], inputs=2, seed=0)


DESCRIPTION = ["layers", "inputs", "outputs", "placed", "dtype", "seed", "weight_initializer"]


@pytest.mark.parametrize("name", [*DESCRIPTION, "learning_rate_factors", "predict", "summary"])
def test_what_describes_a_network_cannot_be_set_or_deleted(name):
    net = network()
    before = getattr(net, name)
    with pytest.raises(dr.InvalidAttributeError, match=rf"Network\.{name} is .* cannot be set"):
        setattr(net, name, 100_000)
    with pytest.raises(dr.InvalidAttributeError, match="cannot be deleted"):
        delattr(net, name)
    assert getattr(net, name) == before


@pytest.mark.parametrize("name", ["inputs", "dtype", "seed", "layers", "learning_rate_factors"])
def test_the_error_says_how_to_change_a_network(name):
    with pytest.raises(dr.InvalidAttributeError, match=r"make a new Network|use net\."):
        setattr(network(), name, 3)


@pytest.mark.parametrize(
    ("name", "mend"),
    [("trainable", "net.freeze"), ("weights", "net.parameters"), ("vectr", "'vector'")],
)
def test_an_attribute_that_a_network_does_not_have_is_refused(name, mend):
    with pytest.raises(dr.InvalidAttributeError, match=mend):
        setattr(network(), name, False)


@pytest.mark.parametrize("name", ["lr", "learning_rate", "optimizer", "steps", "epochs", "metric"])
def test_a_trainers_settings_are_fixed(name):
    trainer = dr.Trainer(network(), "squared_error")
    with pytest.raises(dr.InvalidAttributeError):
        setattr(trainer, name, 0.1)


def test_a_users_own_subclass_may_have_attributes_of_its_own():
    class Mine(dr.Network):
        pass

    net = Mine([dr.Dense(1)], inputs=2)
    net.label = "mine"
    assert net.copy().label == "mine"
    with pytest.raises(dr.InvalidAttributeError):
        net.inputs = 3


def test_values_can_be_set():
    net = network()
    net.vector = np.ones(len(net.vector))
    net.parameters["0.bias"] = [1, 2, 3]
    net.vector[0] = 7
    assert net.parameters["0.weight"][0, 0] == 7
    assert net.parameters["0.bias"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_an_array_that_is_handed_out_can_be_reshaped_without_harm(engine):
    net = network()
    X = np.ones((2, 2))
    before = net.predict(X, engine=engine)
    for view in (net.vector, net.state_vector, *net.parameters.values(), *net.state.values()):
        view.shape = (view.size,)
        view.dtype = np.uint8
        view.flags.writeable = False
    assert net.predict(X, engine=engine).tolist() == before.tolist()
    net.parameters["0.bias"] = [1, 2, 3]


CHANGES = [
    lambda factors: factors.__setitem__("0.weight", 0),
    lambda factors: factors.__delitem__("0.weight"),
    lambda factors: factors.update({"0.weight": 0}),
    lambda factors: factors.pop("0.weight"),
    lambda factors: factors.popitem(),
    lambda factors: factors.clear(),
    lambda factors: factors.setdefault("x", 1),
    lambda factors: factors.__ior__({"x": 1}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_learning_rate_factors_are_to_be_read(change):
    factors = network().learning_rate_factors
    with pytest.raises(dr.FixedError, match=r"read-only; use net\.scale_learning_rate"):
        change(factors)
    assert set(factors.values()) == {1.0}


def test_a_copy_of_the_factors_is_an_ordinary_dict():
    factors = network().learning_rate_factors
    for twin in (dict(factors), copy.copy(factors), pickle.loads(pickle.dumps(factors))):
        assert type(twin) is dict
        assert twin == factors


def test_one_at_a_time_refuses_the_second():
    alone = OneAtATime()
    with alone.turn("busy"), pytest.raises(dr.InUseError, match="busy"):
        alone.turn("busy")
    with alone.turn("busy"):
        pass
    with alone.turn("busy"), copy.deepcopy(alone).turn("a copy is free"):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_leaves_nothing_in_use():
    alone, held, done = OneAtATime(), threading.Event(), threading.Event()

    def hold():
        with alone.turn("busy"):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        try:
            with alone.turn("busy"):
                os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
