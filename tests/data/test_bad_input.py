"""Bad input gets one clear error, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

import deltarule as dr

X = np.linspace(-1, 1, 24).reshape(8, 3)
Y = np.array([0, 1, 1, 0, 1, 0, 0, 1])
NAN = float("nan")


def network(outputs: int = 2, activation: str = "softmax") -> dr.Network:
    return dr.Network([dr.Dense(4, "tanh"), dr.Dense(outputs, activation)], inputs=3, seed=0)


def changed(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
    array = array.astype(type(value) if isinstance(value, float) else array.dtype)
    array[place] = value
    return array


def train(net: dr.Network, X: Any = X, y: Any = Y, **settings: Any) -> dr.History:
    return dr.train(net, X, y, **{"loss": "cross_entropy", "epochs": 1, **settings})


BAD_TRAINING = {
    # what is passed, type of the error, what the message says
    "one column missing": (dict(X=X[:, :2]), ValueError, r"shape \(n, 3\).*got shape \(8, 2\)"),
    "one example as a vector": (dict(X=X[0]), ValueError, r"pass X\[None, :\]"),
    "three dimensions": (dict(X=X[None]), ValueError, r"got shape \(1, 8, 3\)"),
    "no rows": (dict(X=X[:0], y=Y[:0]), ValueError, "X has no rows"),
    "X missing": (dict(X=None), TypeError, "X is missing"),
    "NaN in X": (dict(X=changed(X, (2, 1), NAN)), ValueError, "not finite: nan at row 2, column 1"),
    "inf in X": (dict(X=changed(X, (0, 0), np.inf)), ValueError, "not finite: inf at row 0"),
    "beyond float32": (dict(X=changed(X, (1, 2), 1e39)), ValueError, "too large for float32"),
    "text in X": (dict(X=[["a", "b", "c"]] * 8), TypeError, "X must hold numbers, got dtype <U1"),
    "complex X": (dict(X=X * 1j), TypeError, "got dtype complex128"),
    "dates in X": (dict(X=np.full((8, 3), np.datetime64("2020-01-01"))), TypeError, "datetime64"),
    "ragged X": (dict(X=[[1, 2, 3], [1, 2]]), ValueError, "cannot be made into an array"),
    "sparse X": (dict(X=scipy.sparse.csr_matrix(X)), TypeError, r"pass X.toarray\(\)"),
    "a text column": (
        dict(X=pd.DataFrame({"a": X[:, 0], "city": ["Rome"] * 8, "c": X[:, 2]})),
        TypeError,
        "row 0, column 'city' has 'Rome'",
    ),
    "a text column in polars": (
        dict(X=pl.DataFrame({"a": X[:, 0], "city": ["Rome"] * 8, "c": X[:, 2]})),
        TypeError,
        "column 'city' has 'Rome'",
    ),
    "a missing number": (
        dict(X=pd.DataFrame({"a": X[:, 0], "b": pd.array([1, None] * 4), "c": X[:, 2]})),
        ValueError,
        "not finite: nan at row 1, column 'b'",
    ),
    "too few targets": (dict(y=Y[:7]), ValueError, "y must have 8 rows, as many as X; got 7"),
    "y missing": (dict(y=None), TypeError, "y is missing"),
    "NaN in y": (dict(y=changed(Y, 3, NAN)), ValueError, "y has a value that is not finite: nan"),
    "text labels": (dict(y=["cat", "dog"] * 4), TypeError, "return_inverse=True"),
    "label too large": (dict(y=changed(Y, 5, 2)), ValueError, "from 0 to 1.*row 5 has 2"),
    "label negative": (dict(y=changed(Y, 5, -1)), ValueError, "row 5 has -1"),
    "label not whole": (dict(y=changed(Y, 5, 0.5)), ValueError, "whole numbers.*got 0.5"),
    "soft labels do not sum to 1": (dict(y=np.full((8, 2), 0.7)), ValueError, "row 0 sums to 1.4"),
    "wrong number of classes": (dict(y=np.eye(3)[Y]), ValueError, r"got shape \(8, 3\)"),
    "negative weight": (dict(sample_weight=-np.ones(8)), ValueError, "must be >= 0; row 0"),
    "weights of another length": (dict(sample_weight=np.ones(7)), ValueError, r"shape \(8,\)"),
    "all weights 0": (dict(sample_weight=np.zeros(8)), ValueError, "all weights are 0"),
    "all class weights 0": (
        dict(class_weight=[0, 0]),
        ValueError,
        "all weights are 0 .class times",
    ),
    "a weight for each row": (dict(class_weight=np.ones(8)), ValueError, "each of the 2 classes"),
    "no weight is held out": (
        dict(sample_weight=np.eye(8)[0], validation=0.3),
        ValueError,
        "all weights are 0 in the validation part",
    ),
    "tiny weights": (dict(sample_weight=np.full(8, 1e-50)), ValueError, "scale them"),
    "X as a set": (dict(X={1, 2}), TypeError, "an array, a nested list or a data frame, got set"),
    "X as a generator": (dict(X=(row for row in X)), TypeError, "got generator"),
    "complex objects": (dict(X=(X * 1j).astype(object)), TypeError, "row 0, column 0 has"),
    "beyond float64": (dict(X=np.full((8, 3), 10**400, object)), ValueError, "beyond float64"),
    "masked": (dict(X=np.ma.masked_less(X, 0)), ValueError, "is a masked array"),
    "two metrics of one name": (
        dict(metrics=[lambda y, a, w: 0.0, lambda y, a, w: 1.0]),
        ValueError,
        "cannot be called '<lambda>'",
    ),
    "a metric of two arguments": (
        dict(metrics=[lambda y, a: 0.0]),
        TypeError,
        r"takes \(y, a, w\)",
    ),
    "drop_last as text": (dict(drop_last="no"), TypeError, "drop_last must be True or False"),
    "shuffle of nothing": (dict(shuffle=[None] * 8), ValueError, "permutation of the 8"),
    "unknown class weighted": (dict(class_weight={2: 1.0}), ValueError, "names class 2"),
    "negative class weight": (
        dict(class_weight={1: -1.0}),
        ValueError,
        "class_weight must be >= 0",
    ),
    "unknown class weighting": (dict(class_weight="fair"), ValueError, "'balanced', a mapping"),
    "unknown loss": (dict(loss="crosentropy"), ValueError, "did you mean 'cross_entropy'"),
    "loss missing": (dict(loss=None), TypeError, "expected a loss"),
    "loss does not fit": (
        dict(loss="binary_cross_entropy"),
        ValueError,
        r'end the network with Dense\(2, "sigmoid"\)',
    ),
    "poisson without positive output": (dict(loss="poisson"), ValueError, "'exp' or 'softplus'"),
    "labels for numbers": (
        dict(loss="squared_error"),
        ValueError,
        "for integer class labels use CrossEntropy",
    ),
    "unknown optimizer": (dict(optimizer="adamm"), ValueError, "did you mean 'adam'"),
    "optimizer of another kind": (
        dict(optimizer=3),
        TypeError,
        "expected an optimizer",
    ),
    "no epochs": (dict(epochs=0), ValueError, "epochs must be a whole number >= 1, got 0"),
    "fraction of epochs": (dict(epochs=1.5), TypeError, "epochs must be a whole number"),
    "no batch": (dict(batch_size=0), ValueError, "batch_size must be a whole number >= 1"),
    "not a permutation": (dict(shuffle=np.zeros(8, int)), ValueError, "permutation of the 8"),
    "unknown shuffle": (dict(shuffle="yes"), ValueError, "True, False or an order, got 'yes'"),
    "fraction of 1": (dict(validation=1.0), ValueError, "between 0 and 1"),
    "fraction as int": (dict(validation=2), TypeError, "a fraction such as 0.2"),
    "tiny fraction": (dict(validation=0.01), ValueError, "no rows on one side"),
    "validation of another width": (dict(validation=(X[:, :1], Y)), ValueError, r"\(n, 3\)"),
    "validation of one item": (dict(validation=(X,)), ValueError, "got 1 items"),
    "NaN in validation": (dict(validation=(X * NAN, Y)), ValueError, "validation X has a value"),
    "unknown metric": (dict(metrics=["acuracy"]), ValueError, "did you mean 'accuracy'"),
    "metrics as a name": (dict(metrics="accuracy"), TypeError, "metrics must be a list"),
    "metric of numbers": (dict(metrics=["r2"]), ValueError, "'r2' compares numbers"),
    "unknown penalty": (dict(penalty="l3"), ValueError, "known: elastic_net, l1, l2"),
    "callback as a class": (
        dict(callbacks=[dr.EarlyStopping]),
        TypeError,
        "a callback is an object",
    ),
    "callbacks not in a list": (dict(callbacks=dr.EarlyStopping()), TypeError, "must be a list"),
    "nothing to watch": (dict(callbacks=[dr.EarlyStopping()]), ValueError, "pass validation="),
    "unknown engine": (dict(engine="cuda"), ValueError, "'auto', 'native' or 'reference'"),
    "no threads": (dict(threads=0), ValueError, "threads must be a whole number >= 1"),
    "negative seed": (dict(seed=-1), ValueError, "seed must be a whole number >= 0"),
    "unknown progress": (dict(progress="loud"), ValueError, "True, False or 'auto'"),
}


@pytest.mark.parametrize(("settings", "kind", "message"), BAD_TRAINING.values(), ids=BAD_TRAINING)
def test_bad_training_input_is_refused_and_changes_nothing(
    settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    net = network()
    before = net.vector.copy()
    with pytest.raises(kind, match=message) as caught:
        train(net, **settings)
    assert isinstance(caught.value, dr.DeltaruleError)
    np.testing.assert_array_equal(net.vector, before)


BAD_SETTINGS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no units": (lambda: dr.Dense(0), ValueError, "units must be a whole number >= 1"),
    "units as text": (lambda: dr.Dense("10"), TypeError, "units must be a whole number"),
    "unknown activation": (lambda: dr.Dense(3, "rellu"), ValueError, "did you mean 'relu'"),
    "unknown initializer": (
        lambda: dr.Dense(3, weight_initializer="hee"),
        ValueError,
        "unknown initializer 'hee'",
    ),
    "rate of 1": (lambda: dr.Dropout(1.0), ValueError, "rate must be .* < 1, got 1.0"),
    "negative learning rate": (lambda: dr.SGD(-0.1), ValueError, "learning_rate must be .* >= 0"),
    "NaN learning rate": (lambda: dr.Adam(NAN), ValueError, "learning_rate must be a finite"),
    "learning rate as text": (lambda: dr.Adam("fast"), TypeError, "learning_rate must be a number"),
    "momentum of 1": (lambda: dr.SGD(0.1, momentum=1), ValueError, "momentum must be .* < 1"),
    "beta of 1": (lambda: dr.Adam(beta2=1.0), ValueError, "beta2 must be"),
    "negative penalty": (lambda: dr.L2(-1), ValueError, "strength must be"),
    "negative clip": (lambda: dr.ClipNorm(0), ValueError, "limit must be a finite number > 0"),
    "unknown reduction": (lambda: dr.SquaredError(reduction="avg"), ValueError, "'mean' or 'sum'"),
    "quantile of 1": (lambda: dr.Quantile(1.0), ValueError, "q must be"),
    "smoothing of 1": (lambda: dr.CrossEntropy(label_smoothing=1), ValueError, "label_smoothing"),
    "no layers": (lambda: dr.Network([], inputs=2), ValueError, "at least one layer"),
    "not a layer": (lambda: dr.Network([10], inputs=2), TypeError, "number 0 is 10"),
    "layers not in a list": (
        lambda: dr.Network(dr.Dense(2), inputs=2),
        TypeError,
        "list of layers",
    ),
    "no inputs": (lambda: dr.Network([dr.Dense(2)], inputs=0), ValueError, "inputs must be"),
    "half precision": (
        lambda: dr.Network([dr.Dense(2)], inputs=2, dtype="float16"),
        TypeError,
        '"float32" or "float64"',
    ),
    "unknown layer to freeze": (
        lambda: network().freeze("7"),
        ValueError,
        "unknown parameter or layer '7'",
    ),
    "unknown parameter": (lambda: network().parameters["0.weights"], KeyError, "'0.weight'"),
    "assignment of another shape": (
        lambda: network().parameters.__setitem__("0.bias", [1.0]),
        ValueError,
        r"shape \(4,\), got values of shape \(1,\)",
    ),
    "text into a parameter": (
        lambda: network().parameters.__setitem__("0.bias", ["a"] * 4),
        TypeError,
        "'0.bias' must hold numbers",
    ),
    "too large for a parameter": (
        lambda: network().parameters.__setitem__("0.bias", [1e300] * 4),
        ValueError,
        "'0.bias' would become infinite",
    ),
    "parameters without all names": (
        lambda: setattr(network(), "parameters", {"0.bias": [0.0] * 4}),
        ValueError,
        "a mapping with exactly these names: 0.weight",
    ),
    "layers to freeze in a list": (lambda: network().freeze(["0", "1"]), TypeError, "one by one"),
    "a bias that is text": (lambda: dr.Dense(3, bias="false"), TypeError, "bias must be True or"),
    "no dtype": (lambda: dr.Network([dr.Dense(1)], inputs=1, dtype=None), TypeError, "float32"),
    "trainer without a network": (lambda: dr.Trainer(None, "squared_error"), TypeError, "Network"),
    "a seed beyond 64 bits": (
        lambda: dr.Network([dr.Dense(1)], inputs=1, seed=2**64),
        ValueError,
        "<= 18446744073709551615",
    ),
    "vector of another length": (
        lambda: setattr(network(), "vector", [1.0]),
        ValueError,
        r"'vector' has shape",
    ),
    "piecewise without enough rates": (
        lambda: dr.Piecewise((5,), (0.1,)),
        ValueError,
        "one rate more than boundaries",
    ),
    "unknown unit": (lambda: dr.Cosine(0.1, unit="week"), ValueError, "'step' or 'epoch'"),
}


@pytest.mark.parametrize(("make", "kind", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_impossible_settings_are_refused(
    make: Callable[[], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        make()
    assert isinstance(caught.value, dr.DeltaruleError)


def test_class_weights_are_refused_for_numbers() -> None:
    net = dr.Network([dr.Dense(1)], inputs=3)
    with pytest.raises(ValueError, match="class_weight needs a loss of classes"):
        dr.train(net, X, X[:, 0], loss="squared_error", class_weight="balanced")


def test_a_metric_of_classes_is_refused_for_numbers() -> None:
    net = dr.Network([dr.Dense(1)], inputs=3)
    with pytest.raises(ValueError, match="'accuracy' compares classes"):
        dr.train(net, X, X[:, 0], loss="squared_error", metrics=["accuracy"])


def test_batch_norm_refuses_a_batch_of_one_row() -> None:
    net = dr.Network([dr.Dense(4), dr.BatchNorm(), dr.Dense(2, "softmax")], inputs=3)
    before = net.vector.copy()
    with pytest.raises(ValueError, match="8 rows in batches of 7 leave one of 1"):
        train(net, batch_size=7)
    np.testing.assert_array_equal(net.vector, before)
    train(net, batch_size=7, drop_last=True)


def test_a_schedule_over_the_whole_run_is_refused_for_single_steps() -> None:
    trainer = dr.Trainer(network(), "cross_entropy", dr.Adam(dr.Cosine(0.1)))
    with pytest.raises(ValueError, match="give the schedule a length"):
        trainer.step(X, Y)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, list, np.asarray, np.float32])
def test_data_frames_lists_and_arrays_of_any_dtype_give_the_same(make: Callable[..., Any]) -> None:
    whole = np.round(4 * X)
    reference, other = network(), network()
    train(reference, whole)
    train(other, make(whole) if make is not list else whole.tolist())
    np.testing.assert_array_equal(other.vector, reference.vector)
    integers = network()
    train(integers, whole.astype(np.int8), Y.astype(np.uint8))
    np.testing.assert_array_equal(integers.vector, reference.vector)


def test_prediction_carries_nan_and_infinity_to_their_row_only() -> None:
    net = dr.Network([dr.Dense(4, "relu"), dr.Dense(2, "softmax")], inputs=3, seed=0)
    spoilt = changed(X, (2, 1), NAN)
    prediction = net.predict(spoilt)
    assert np.isnan(prediction[2]).all()
    np.testing.assert_array_equal(np.delete(prediction, 2, 0), np.delete(net.predict(X), 2, 0))


@pytest.mark.parametrize(
    ("layers", "X", "y", "settings", "message"),
    [
        ([dr.Dense(1)], np.ones(4), np.ones(4), {}, r"for a single feature pass X\[:, None\]"),
        (
            [dr.Dense(1, "sigmoid")],
            np.ones((4, 1)),
            [0.2, 0.8, 1.0, 0.0],
            {"class_weight": {0: 1.0, 1: 2.0}},
            "class_weight needs whole classes as targets, got soft labels",
        ),
        (
            [dr.Dense(2, "sigmoid")],
            np.ones((2, 1)),
            [[1, 1], [0, 1]],
            {"class_weight": [1.0, 2.0]},
            "class_weight needs one class per row; for several labels",
        ),
        (
            [dr.Dense(1, "sigmoid")],
            np.ones((2, 1)),
            [0.0, 1.5],
            {},
            r"row 1, column 0 has 1\.5",
        ),
        ([dr.Dense(1)], np.ones((2, 1)), np.ones((2, 1, 1)), {}, "got shape"),
    ],
)
def test_targets_and_features_of_a_wrong_form_are_told_apart(
    layers: list, X: Any, y: Any, settings: dict, message: str
) -> None:
    net = dr.Network(layers, inputs=1)
    loss = "squared_error" if layers[0].activation.name == "identity" else "binary_cross_entropy"
    with pytest.raises(ValueError, match=message):
        dr.train(net, X, y, loss=loss, **settings)


def test_one_output_is_too_few_for_cross_entropy() -> None:
    net = dr.Network([dr.Dense(1, "softmax")], inputs=1)
    with pytest.raises(ValueError, match=r"a softmax over one unit is 1 .*Dense\(2"):
        dr.train(net, np.ones((2, 1)), [0, 0], loss="cross_entropy")


@pytest.mark.parametrize("threads", [0, -1, 2.5])
def test_evaluate_refuses_a_number_of_threads_that_is_none(threads: Any) -> None:
    net = dr.Network([dr.Dense(1)], inputs=1)
    with pytest.raises((ValueError, TypeError), match="threads must be a whole number >= 1"):
        dr.evaluate(net, np.ones((2, 1)), np.ones(2), "squared_error", threads=threads)


def test_a_class_that_only_the_validation_data_have_is_blamed_on_them():
    net = dr.Network([dr.Dense(2, "softmax")], inputs=1, seed=0)
    X = [[0.0], [1.0]]
    with pytest.raises(dr.InvalidValueError, match=r"^validation y: class labels must be from 0"):
        dr.train(net, X, [0, 1], loss="cross_entropy", validation=(X, [0, 2]))
    with pytest.raises(dr.InvalidValueError, match=r"^validation y: .* targets of shape"):
        dr.train(net, X, [[0, 1.0], [1, 0]], loss="mse", validation=(X, [0, 2]))


def test_none_means_no_metrics_as_it_means_no_callbacks():
    net = dr.Network([dr.Dense(1)], inputs=1, seed=0)
    history = dr.train(net, [[1.0]], [1.0], loss="mse", metrics=None, callbacks=None, epochs=1)
    assert "loss" in history
    assert dr.evaluate(net, [[1.0]], [1.0], "mse", metrics=None).keys() == {"loss"}
