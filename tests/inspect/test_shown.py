"""What a person sees: reprs that say something, tables in notebooks, containers to be read."""

from __future__ import annotations

import pickle
from html.parser import HTMLParser

import numpy as np
import pytest

import deltarule as dr

X, Y = np.random.default_rng(0).normal(size=(5, 2)), np.zeros(5)


@pytest.fixture
def net():
    return dr.Network([dr.Dense(3, "tanh"), dr.BatchNorm(), dr.Dense(1)], inputs=2, seed=0)


def things(net):
    return {
        "Network": net,
        "Trainer": dr.Trainer(net, "mse", dr.Adam(0.1), penalty="l2", metrics=["mae"]),
        "Trace": dr.backpropagate(net, X, Y, "mse"),
        "GradientCheck": dr.check_gradients(net, X, Y, "mse"),
    }


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.cells, self.tags = [], [], set()
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        assert all("#" not in (value or "") for _, value in attrs)  # the notebook's own colours

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells.append(data)


@pytest.mark.parametrize("name", ["Network", "Trainer", "Trace", "GradientCheck"])
def test_a_notebook_shows_a_table_that_is_whole_and_has_no_colours_of_its_own(net, name):
    shown = Cells(things(net)[name]._repr_html_())
    assert name in shown.cells[0]
    assert shown.tags <= {"div", "table", "thead", "tbody", "tr", "th", "td"}
    expected = {
        "Network": ["Dense(3, tanh)", "weight 2x3  bias 3", "9"],
        "Trainer": ["MeanSquaredError()", "L2()", "mae", "0 epochs, 0 steps"],
        "Trace": ["dense", "batch_norm", "2.weight"],
        "GradientCheck": ["0.weight", "right"],
    }
    assert set(expected[name]) <= set(shown.cells)


def test_text_in_a_table_is_escaped():
    kind = type("<script>alert(1)</script>", (dr.Dense,), {})
    text = dr.Network([kind(1)], inputs=1)._repr_html_()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("name", ["Network", "Trainer", "Trace", "GradientCheck"])
def test_a_repr_is_one_line_that_says_something(net, name):
    text = repr(things(net)[name])
    assert text.startswith(f"{name}(")
    assert "\n" not in text
    says = {
        "Network": "Dense(3, tanh)", "Trainer": "Adam(learning_rate=Constant(0.1))",
        "Trace": "5 examples", "GradientCheck": "all gradients agree",
    }  # fmt: skip
    assert says[name] in text


def test_a_trainer_says_how_far_it_is(net):
    trainer = dr.Trainer(net, "mse", "sgd")
    trainer.run(X, Y, epochs=3, batch_size=2, drop_last=True, progress=False)
    assert "3 epochs, 6 steps" in repr(trainer)


def test_a_trace_can_be_read_and_not_changed(net):
    x = X.astype(np.float32)
    trace = dr.backpropagate(net, x, Y, "mse")
    for mapping in (trace.deltas, trace.activations, trace.preactivations, trace.gradients):
        first = next(iter(mapping))
        with pytest.raises(dr.FixedError, match="cannot be changed"):
            mapping[first] = 0
        with pytest.raises(dr.FixedError, match="cannot be changed"):
            del mapping[first]
        with pytest.raises(ValueError, match="read-only"):
            mapping[first][:] = 0
    for array in (trace.inputs, trace.targets, trace.losses, trace.input_gradient):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    x[:] = 1  # the caller's own array is not locked
    again = pickle.loads(pickle.dumps(trace))
    np.testing.assert_array_equal(again.deltas["0"], trace.deltas["0"])


@pytest.mark.parametrize("key", [0, 0.0, None, (0,), [0], 7, b"0"])
def test_a_key_that_is_no_name_is_answered_with_names(net, key):
    trace = dr.backpropagate(net, X, Y, "mse")
    for mapping in (trace.deltas, trace.gradients, net.parameters, net.state):
        with pytest.raises(dr.UnknownNameError, match=r"names are text, such as '[012]"):
            mapping[key]
        assert key not in mapping if isinstance(key, (int, float, tuple, bytes)) else True
    with pytest.raises(dr.UnknownNameError, match="unknown layer 0; names are text, such as '0'"):
        trace.deltas[0]
    with pytest.raises(dr.UnknownNameError, match=r"such as '2\.weight'"):
        net.parameters[2]
