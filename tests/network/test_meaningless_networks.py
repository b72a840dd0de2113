"""Networks and losses that make no sense together are refused before anything is trained."""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr
from deltarule.formulas.activations import ActivationFunction
from deltarule.formulas.losses import Loss
from members import own

X = np.random.default_rng(0).normal(size=(6, 3))
SMALLEST = {
    "the output": [dr.Dense(1, "softmax")],
    "an activation": [dr.Dense(1), dr.Activation("softmax")],
}


def calls(layers, loss, y):
    """Every way to use a network with a loss."""
    net = dr.Network(layers, inputs=3)
    return [
        lambda: dr.train(net, X, y, loss=loss, progress=False),
        lambda: dr.Trainer(net, loss=loss),
        lambda: dr.evaluate(net, X, y, loss),
        lambda: dr.backpropagate(net, X, y, loss),
        lambda: dr.check_gradients(net, X, y, loss),
    ]


@pytest.mark.parametrize("where", SMALLEST)
@pytest.mark.parametrize("loss", ["squared_error", "huber", "mean_absolute_error"])
def test_a_softmax_over_one_unit_is_refused_with_the_mend(loss, where):
    for call in calls(SMALLEST[where], loss, np.zeros(6)):
        with pytest.raises(dr.DeltaruleError, match=r'1 for every input.*Dense\(1, "sigmoid"\)'):
            call()


@pytest.mark.parametrize("loss", own("loss"))
def test_no_loss_takes_a_softmax_of_one_unit(loss):
    with pytest.raises(ValueError, match="softmax"):
        dr.Trainer(dr.Network([dr.Dense(1, "softmax")], inputs=3), loss=loss)


@pytest.mark.parametrize("activation", own("activation"))
@pytest.mark.parametrize("loss", [n for n in own("loss") if Loss.resolve(n).accepts is not None])
def test_a_likelihood_takes_only_outputs_that_are_its_parameters(loss, activation):
    net = dr.Network([dr.Dense(2, activation)], inputs=3)
    accepted = isinstance(ActivationFunction.resolve(activation), Loss.resolve(loss).accepts)
    if accepted:
        dr.Trainer(net, loss=loss)
        return
    with pytest.raises(ValueError, match=f"{loss} needs a network that ends with .*Dense"):
        dr.Trainer(net, loss=loss)


def test_a_network_that_only_predicts_may_be_anything():
    net = dr.Network([dr.Dense(1, "softmax")], inputs=3)
    assert (net.predict(X) == 1).all()
