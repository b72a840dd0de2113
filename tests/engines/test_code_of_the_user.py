"""What classes of the user's own return is checked: a wrong shape is refused, not broadcast.

Each case is a correct class with one method replaced; the correct class trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import deltarule as dr
from deltarule.network.layers import ParameterSpec

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.random.default_rng(1).normal(size=(6, 2))


@dataclass(frozen=True)
class Loss(dr.Loss):
    name: ClassVar[str] = "test_user_loss"

    def value(self, a, t):
        return ((a - t) ** 2).sum(axis=1)

    def gradient(self, a, t):
        return 2 * (a - t)


@dataclass(frozen=True)
class Function(dr.activations.ActivationFunction):
    name: ClassVar[str] = "test_user_activation"

    def __call__(self, z):
        return np.sin(z)

    def derivative(self, z, a):
        return np.cos(z)


@dataclass(frozen=True)
class Layer(dr.CustomLayer):
    name: ClassVar[str] = "test_user_layer"

    def outputs(self, inputs):
        return inputs

    def parameters(self, inputs):
        return (ParameterSpec("gain", (inputs,), dr.initializers.Constant(1.0), False),)

    def forward(self, x, parameters, training):
        return x * parameters["gain"], x

    def backward(self, gradient, cache, parameters):
        return gradient * parameters["gain"], {"gain": (gradient * cache).sum(axis=0)}


@dataclass(frozen=True)
class Optimizer(dr.Optimizer):
    name: ClassVar[str] = "test_user_optimizer"

    def update(self, w, g, state, scalars, factor, is_weight):
        w -= factor * scalars[0] * g


@dataclass(frozen=True)
class Penalty(dr.Penalty):
    name: ClassVar[str] = "test_user_penalty"

    def value(self, W):
        return 0.1 * float((W**4).sum())

    def gradient(self, W):
        return 0.4 * W**3


@dataclass(frozen=True)
class Constraint(dr.Constraint):
    name: ClassVar[str] = "test_user_constraint"

    def apply(self, W):
        np.maximum(W, 0, out=W)


@dataclass(frozen=True)
class Clip(dr.Clip):
    name: ClassVar[str] = "test_user_clip"

    def apply(self, gradients):
        for g in gradients:
            np.clip(g, -1, 1, out=g)


@dataclass(frozen=True)
class Initializer(dr.Initializer):
    name: ClassVar[str] = "test_user_initializer"

    def __call__(self, fan_in, fan_out, *, seed, layer):
        return np.linspace(-1, 1, fan_in * fan_out).reshape(fan_in, fan_out)


KINDS = {
    kind.__name__: kind
    for kind in (Loss, Function, Layer, Optimizer, Penalty, Constraint, Clip, Initializer)
}


def run(dtype: str = "float64", **own: Any) -> dr.Network:
    """Train one step with the given parts in the place of those of the package."""
    f, layer = own.get("Function", "tanh"), own.get("Layer", dr.Scale())
    net = dr.Network(
        [dr.Dense(4, f), layer, dr.Dense(2)],
        inputs=3,
        seed=0,
        dtype=dtype,
        weight_initializer=own.get("Initializer"),
    )
    trainer = dr.Trainer(
        net,
        loss=own.get("Loss", "squared_error"),
        optimizer=own.get("Optimizer", dr.SGD(0.1)),
        penalty=own.get("Penalty"),
        constraint=own.get("Constraint"),
        clip=own.get("Clip"),
        engine="reference",
    )
    before = net.vector.copy()
    try:
        trainer.step(X.astype(dtype), Y)
    except dr.DeltaruleError:
        if "Constraint" not in own:  # which is asked last
            np.testing.assert_array_equal(net.vector, before)
        raise
    return net


def spoilt(kind: str, method: str, function: Any) -> Any:
    """Return an object of a class like one of the above, with one method replaced."""
    right = KINDS[kind]
    methods = {
        name: vars(right)[name]
        for name in ("value", "gradient", "derivative", "__call__", "forward", "backward")
        if name in vars(right)
    }
    return type(f"Wrong{kind}", (right,), methods | {method: function, "name": ""})()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_class_of_the_users_own_trains(kind, dtype):
    net = run(dtype, **{kind: KINDS[kind]()})
    assert net.vector.dtype == dtype
    assert np.isfinite(net.vector).all()


# kind, method, what it returns instead, what the message says was got
BROADCAST = {
    "a mean loss": (
        "Loss",
        "value",
        lambda s, a, t: ((a - t) ** 2).mean(),
        r"\(6,\).*got shape \(\)",
    ),
    "a loss per output": (
        "Loss",
        "value",
        lambda s, a, t: (a - t) ** 2,
        r"\(6,\).*got shape \(6, 2\)",
    ),
    "a loss as a column": (
        "Loss",
        "value",
        lambda s, a, t: ((a - t) ** 2).sum(axis=1, keepdims=True),
        r"got shape \(6, 1\)",
    ),
    "a gradient per example": (
        "Loss",
        "gradient",
        lambda s, a, t: (a - t).sum(axis=1, keepdims=True),
        r"\(6, 2\).*got shape \(6, 1\)",
    ),
    "a gradient per output": (
        "Loss",
        "gradient",
        lambda s, a, t: (a - t).mean(axis=0),
        r"got shape \(2,\)",
    ),
    "a gradient of 1": ("Loss", "gradient", lambda s, a, t: 1.0, r"got shape \(\)"),
    "targets of one column": (
        "Loss",
        "encode",
        lambda s, y, k, dtype: y[:, :1].astype(dtype),
        r"got shape \(6, 1\)",
    ),
    "an activation's mean": (
        "Function",
        "__call__",
        lambda s, z: z.mean(axis=1, keepdims=True),
        r"\(6, 4\).*got shape \(6, 1\)",
    ),
    "a derivative per row": (
        "Function",
        "derivative",
        lambda s, z, a: np.cos(z[:, :1]),
        r"got shape \(6, 1\)",
    ),
    "a derivative of 1": ("Function", "derivative", lambda s, z, a: 1.0, r"got shape \(\)"),
    "a backward per row": (
        "Function",
        "backward",
        lambda s, g, z, a: g[:, :1],
        r"got shape \(6, 1\)",
    ),
    "a layer's sum": (
        "Layer",
        "forward",
        lambda s, x, p, training: (x.sum(axis=1), x),
        r"\(6, 4\).*got shape \(6,\)",
    ),
    "a layer's gradient of 1": (
        "Layer",
        "backward",
        lambda s, g, c, p: (g, {"gain": 1.0}),
        r"backward of 'gain'.*got shape \(\)",
    ),
    "a penalty per weight": ("Penalty", "value", lambda s, W: W**2, r"got shape"),
    "a penalty's gradient of 1": ("Penalty", "gradient", lambda s, W: 1.0, r"got shape \(\)"),
    "states of one row": (
        "Optimizer",
        "initial_state",
        lambda s, size: np.zeros(size),
        r"got shape",
    ),
    "scalars of one row": (
        "Optimizer",
        "scalars",
        lambda s, t, eta: eta,
        r"\(1, 1\).*got shape \(1,\)",
    ),
    "one initial value": (
        "Initializer",
        "__call__",
        lambda s, i, o, *, seed, layer: 0.5,
        r"got shape \(\)",
    ),
    "a transposed weight": (
        "Initializer",
        "__call__",
        lambda s, i, o, *, seed, layer: np.ones((o, i)),
        r"\(3, 4\).*got shape \(4, 3\)",
    ),
}

# ... and the error is a TypeError
NO_NUMBERS = {
    "no loss": ("Loss", "value", lambda s, a, t: None),
    "complex losses": ("Loss", "value", lambda s, a, t: (a - t).sum(axis=1) * 1j),
    "text": ("Loss", "gradient", lambda s, a, t: np.full(a.shape, "0.5")),
    "no derivative": ("Function", "derivative", lambda s, z, a: None),
    "a ragged list": ("Function", "__call__", lambda s, z: [[1.0], [2.0, 3.0]]),
    "no penalty": ("Penalty", "value", lambda s, W: None),
    "a new weight": ("Optimizer", "update", lambda s, w, g, *rest: w - g),
    "a projected weight": ("Constraint", "apply", lambda s, W: np.maximum(W, 0)),
    "clipped gradients": ("Clip", "apply", lambda s, gradients: [g / 2 for g in gradients]),
    "no initial values": ("Initializer", "__call__", lambda s, i, o, *, seed, layer: None),
}


@pytest.mark.parametrize("case", BROADCAST)
def test_a_wrong_shape_is_refused_before_it_trains(case):
    kind, method, function, message = BROADCAST[case]
    with pytest.raises(dr.DeltaruleError, match=message) as caught:
        run(**{kind: spoilt(kind, method, function)})
    assert isinstance(caught.value, ValueError)
    assert f"Wrong{kind}" in str(caught.value)


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_what_is_no_array_of_numbers_is_refused(case):
    kind, method, function = NO_NUMBERS[case]
    with pytest.raises(dr.DeltaruleError, match=f"Wrong{kind}") as caught:
        run(**{kind: spoilt(kind, method, function)})
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    "returned", [None, np.zeros((6, 4)), (np.zeros((6, 4)),), (np.zeros((6, 4)), None)]
)
def test_a_layer_returns_two_things_forward_and_backward(returned):
    with pytest.raises(dr.DeltaruleError, match=r"layer '1' \(WrongLayer\): backward must return"):
        run(Layer=spoilt("Layer", "backward", lambda s, g, c, p: returned))


def test_other_number_types_are_converted():
    """float64 in a float32 network, and whole numbers, are the numbers that are meant."""
    wide = spoilt("Loss", "gradient", lambda s, a, t: np.float64(2) * (a - t))
    np.testing.assert_array_equal(
        run("float32", Loss=wide).vector, run("float32", Loss=Loss()).vector
    )
    step = spoilt("Function", "derivative", lambda s, z, a: z > 0)
    halves = spoilt("Function", "derivative", lambda s, z, a: (z > 0).astype(z.dtype))
    np.testing.assert_array_equal(run(Function=step).vector, run(Function=halves).vector)


def writing(index):
    """Return a method that writes into one of its arguments."""

    def method(self, *arguments):
        arguments[index][...] = 0
        return arguments[0]

    return method


WRITES = {
    "targets": ("Loss", "value", writing(1)),
    "outputs": ("Loss", "gradient", writing(0)),
    "encoded targets": ("Loss", "encode", writing(0)),
    "preactivations": ("Function", "__call__", writing(0)),
    "gradients": ("Function", "backward", writing(0)),
    "a layer's input": ("Layer", "forward", writing(0)),
    "a layer's gradient": ("Layer", "backward", writing(0)),
    "penalised weights": ("Penalty", "gradient", writing(0)),
}


@pytest.mark.parametrize("case", WRITES)
def test_code_of_the_users_cannot_change_what_it_looks_at(case):
    kind, method, function = WRITES[case]
    x, y = X.copy(), Y.copy()
    with pytest.raises(ValueError, match="read-only"):
        run(**{kind: spoilt(kind, method, function)})
    np.testing.assert_array_equal(X, x)
    np.testing.assert_array_equal(Y, y)


def test_the_first_layer_cannot_change_the_callers_features():
    x = X.copy()
    net = dr.Network(
        [spoilt("Layer", "forward", writing(0)), dr.Dense(2)], inputs=3, dtype="float64"
    )
    for call in (
        lambda: net.predict(x),
        lambda: dr.evaluate(net, x, Y, "squared_error"),
        lambda: dr.train(net, x, Y, loss="squared_error", progress=False),
        lambda: dr.backpropagate(net, x, Y, "squared_error"),
    ):
        with pytest.raises(ValueError, match="read-only"):
            call()
    np.testing.assert_array_equal(x, X)
