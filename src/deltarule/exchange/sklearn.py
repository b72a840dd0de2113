"""Networks from and to the multilayer perceptrons of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deltarule.base.errors import (
    InvalidTypeError,
    InvalidValueError,
    describe_value,
    missing_extra,
)
from deltarule.base.types import Array
from deltarule.formulas import activations as known
from deltarule.network.layer import Layer
from deltarule.network.layers import Activation, Dense, Dropout
from deltarule.network.network import Network

_NAMES = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
_HEADS = {"identity": "identity", "logistic": "sigmoid", "softmax": "softmax", "exp": "exp"}
_THEIRS: dict[type, str] = {
    known.Identity: "identity",
    known.Sigmoid: "logistic",
    known.Tanh: "tanh",
    known.ReLU: "relu",
}


def from_sklearn(model: Any) -> Network:
    """Return the network of a fitted ``MLPClassifier`` or ``MLPRegressor`` of scikit-learn.

    Its output is that of scikit-learn's last layer: the values of a regressor; the probabilities of
    several classes; the probability of the second of two classes, (n, 1); the probability of each
    label of a multilabel classifier. Weights are (n_in, n_out) on both sides. The dtype is that of
    the data it was fitted on.

    Raises
    ------
    TypeError
        It is something else.
    ValueError
        It is not fitted.

    Notes
    -----
    ``model.classes_`` names the columns of the output; a network keeps no labels.

    Examples
    --------
    >>> from sklearn.neural_network import MLPRegressor
    >>> from deltarule.exchange import from_sklearn
    >>> mlp = MLPRegressor(hidden_layer_sizes=(5,)).partial_fit([[0.0, 1.0]], [1.0])
    >>> from_sklearn(mlp)
    Network(2 -> Dense(5, relu) -> Dense(1); 21 parameters, float64)
    """
    if not hasattr(model, "hidden_layer_sizes"):
        raise InvalidTypeError(
            "from_sklearn takes scikit-learn's MLPClassifier or MLPRegressor, got "
            f"{describe_value(model)}"
        )
    own = getattr(model, "network_", None)
    if isinstance(own, Network):  # an estimator of deltarule.sklearn
        return own.copy()
    if not hasattr(model, "coefs_"):
        raise InvalidValueError(f"{type(model).__name__} is not fitted; call fit first")
    hidden, head = _NAMES.get(model.activation), _HEADS.get(model.out_activation_)
    if hidden is None or head is None:
        raise InvalidValueError(
            f"unknown activations of {type(model).__name__}: activation={model.activation!r}, "
            f"out_activation_={model.out_activation_!r}"
        )
    *inner, last = (W.shape[1] for W in model.coefs_)
    network = Network(
        [*(Dense(units, hidden) for units in inner), Dense(last, head)],
        inputs=model.coefs_[0].shape[0],
        dtype=model.coefs_[0].dtype,
        weight_initializer="zeros",
    )
    for i, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        network.parameters[f"{i}.weight"] = W
        network.parameters[f"{i}.bias"] = b
    if hasattr(model, "feature_names_in_"):
        network.feature_names = [str(name) for name in model.feature_names_in_]
    return network


def to_sklearn(network: Network, classes: Sequence[Any] | None = None) -> Any:
    """Return a fitted ``MLPClassifier`` or ``MLPRegressor`` of scikit-learn that predicts the same.

    A network that ends with sigmoid or softmax becomes a classifier, any other a regressor. With
    two classes scikit-learn has one output: a softmax over two units becomes the sigmoid of their
    difference. A sigmoid over several units becomes a multilabel classifier.

    Parameters
    ----------
    network : Network
        Of Dense layers alone (Dropout is left out), all hidden ones with the same activation:
        identity, sigmoid, tanh or relu. Its output is one of identity, exp, sigmoid and softmax.
    classes : sequence, optional
        The labels of a classifier, in the order of the outputs and ascending, as scikit-learn keeps
        them; 0, 1, ... by default.

    Raises
    ------
    ValueError
        scikit-learn's class has no such network, or classes do not fit the output.
    ImportError
        scikit-learn is not installed, or too old for a Poisson regressor (exp).

    Examples
    --------
    >>> import deltarule as dr
    >>> from deltarule.exchange import to_sklearn
    >>> net = dr.Network([dr.Dense(5, "tanh"), dr.Dense(3, "softmax")], inputs=2)
    >>> mlp = to_sklearn(net, classes=["a", "b", "c"])
    >>> mlp.predict_proba([[0.5, 1.0]]).shape
    (1, 3)
    """
    if not isinstance(network, Network):
        raise InvalidTypeError(
            f"to_sklearn takes a deltarule.Network, got {describe_value(network)}"
        )
    try:
        from sklearn import neural_network
    except ImportError:
        raise missing_extra("exchange with scikit-learn", "sklearn") from None
    weights, hidden, head = _stack(network)
    settings = {
        "hidden_layer_sizes": tuple(W.shape[1] for W, _ in weights[:-1]),
        "activation": hidden,
    }
    width, outputs = network.inputs, network.outputs
    labels = np.arange(max(outputs, 2)) if classes is None else np.asarray(classes)
    rows = np.zeros((len(labels), width), dtype=network.dtype)
    if head in (known.Sigmoid, known.Softmax):
        several = outputs > 1 and head is known.Sigmoid
        _check_classes(labels, outputs, several)
        if head is known.Softmax and outputs == 2:
            W, b = weights[-1]
            weights[-1] = W[:, 1:] - W[:, :1], b[1:] - b[:1]
        model = neural_network.MLPClassifier(**settings)
        # scikit-learn makes what belongs to a fitted model; its arrays are then replaced.
        y = np.eye(len(labels), dtype=int) if several else labels
        model.partial_fit(rows, y, classes=labels)
    else:
        if classes is not None:
            raise InvalidValueError(
                "the network ends with neither sigmoid nor softmax, so it is a regressor and has "
                "no classes"
            )
        model = _regressor(neural_network.MLPRegressor, head, settings)
        model.partial_fit(rows, np.ones((len(rows), outputs)).squeeze())
    for own, b_own, (W, b) in zip(model.coefs_, model.intercepts_, weights, strict=True):
        own[...], b_own[...] = W, b
    model.n_iter_ = model.t_ = 0
    model.loss_curve_ = []
    del model._optimizer  # which has seen a step: training begins anew
    if network.feature_names is not None:
        model.feature_names_in_ = np.array(network.feature_names, dtype=object)
    return model


def _stack(network: Network) -> tuple[list[tuple[Array, Array]], str, type]:
    """Return weights and biases, the name of the hidden activation, and the class of the last."""
    dense: list[tuple[int, Dense]] = []
    functions: list[type] = []
    others: list[Layer] = []
    for i, layer in enumerate(network.layers):
        if type(layer) is Dense:
            dense.append((i, layer))
            functions.append(type(layer.activation))
        elif type(layer) is Activation and functions and functions[-1] is known.Identity:
            functions[-1] = type(layer.f)
        elif type(layer) is not Dropout:
            others.append(layer)
    if others or not dense:
        raise InvalidValueError(
            "scikit-learn's networks are Dense layers alone, this one has "
            f"{type(others[0]).__name__ if others else 'none'}"
        )
    inner, head = set(functions[:-1]), functions[-1]
    if len(inner) > 1 or inner - _THEIRS.keys():
        raise InvalidValueError(
            "scikit-learn has one activation for all hidden layers: identity, sigmoid, tanh or "
            f"relu; this network has {', '.join(sorted(f.__name__ for f in inner))}"
        )
    if head not in (known.Identity, known.Exp, known.Sigmoid, known.Softmax):
        raise InvalidValueError(
            "scikit-learn's output is one of identity, exp, sigmoid and softmax, this network ends "
            f"with {head.__name__}"
        )
    if len(dense) > 1 and head is known.Softmax and network.outputs == 1:
        raise InvalidValueError("a softmax over one unit is 1 whatever the input")
    p = network.parameters
    weights = [
        (p[f"{i}.weight"], p[f"{i}.bias"] if layer.bias else np.zeros(layer.units))
        for i, layer in dense
    ]
    return weights, _THEIRS[inner.pop()] if inner else "identity", head


def _regressor(kind: Any, head: type, settings: dict[str, Any]) -> Any:
    if head is not known.Exp:
        return kind(**settings)
    try:
        return kind(loss="poisson", **settings)
    except TypeError:
        raise missing_extra("a Poisson regressor of scikit-learn 1.7 or newer", "sklearn") from None


def _check_classes(labels: Array, outputs: int, several: bool) -> None:
    expected = max(outputs, 2)
    if labels.ndim != 1 or len(labels) != expected:
        raise InvalidValueError(
            f"the network has {outputs} outputs, so classes are {expected} labels; got "
            f"{describe_value(labels.tolist())}"
        )
    if several and not np.array_equal(labels, np.arange(outputs)):
        raise InvalidValueError(
            "scikit-learn numbers the labels of a multilabel classifier 0, 1, ...; pass no classes"
        )
    if not np.array_equal(labels, np.unique(labels)):
        raise InvalidValueError(
            "scikit-learn keeps classes in ascending order; order the network's outputs so, got "
            f"{describe_value(labels.tolist())}"
        )
