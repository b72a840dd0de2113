"""A class of one's own with formulas of its own: they run, or it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.settings import describe

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.random.default_rng(1).normal(size=(12, 1))
engines = pytest.mark.parametrize("engine", ["auto", "reference"])


def network(*layers, inputs=3):
    return dr.Network(layers, inputs=inputs, dtype="float64", seed=0)


class Doubled(dr.Dense):
    def forward(self, x, parameters, training):
        return 2 * (x @ parameters["weight"] + parameters["bias"]), x

    def backward(self, gradient, cache, parameters):
        gradient = 2 * gradient
        gradients = {"weight": cache.T @ gradient, "bias": gradient.sum(axis=0)}
        return gradient @ parameters["weight"].T, gradients


class Nothing(dr.Dropout):
    def forward(self, x, parameters, training):
        return 0 * x, None

    def backward(self, gradient, cache, parameters):
        return 0 * gradient, {}


@engines
def test_a_dense_with_formulas_of_its_own_runs_them(engine):
    net, plain = network(Doubled(2), dr.Dense(1)), network(dr.Dense(2), dr.Dense(1))
    plain.parameters["0.weight"] *= 2
    np.testing.assert_allclose(net.predict(X, engine=engine), plain.predict(X), rtol=1e-12)
    assert dr.check_gradients(net, X, Y, "squared_error")
    dr.train(net, X, Y, loss="squared_error", optimizer="sgd", engine=engine, epochs=1)


@engines
def test_a_dropout_with_formulas_of_its_own_runs_them(engine):
    net = network(Nothing(0.5), dr.Dense(1))
    assert not net.predict(X, engine=engine).any()
    assert not dr.backpropagate(net, X, Y, "squared_error").input_gradient.any()


@engines
def test_a_dense_without_formulas_of_its_own_is_a_dense(engine):
    class Mine(dr.Dense):
        pass

    net, plain = network(Mine(2), dr.Dense(1)), network(dr.Dense(2), dr.Dense(1))
    np.testing.assert_allclose(net.predict(X, engine=engine), plain.predict(X), rtol=1e-12)


@pytest.mark.parametrize(
    ("base", "methods", "words"),
    [
        (dr.Dense, ["backward"], "no forward"),
        (dr.Dense, ["call"], "never called"),
        (dr.Dropout, ["__call__"], "never called"),
        (dr.BatchNorm, ["backward"], "no forward"),
    ],
)
def test_half_a_formula_or_one_that_nothing_calls_is_refused(base, methods, words):
    kind = type("Mine", (base,), {name: lambda self, *_: None for name in methods})
    with pytest.raises(dr.InvalidTypeError, match=words):
        network(kind(2) if base is dr.Dense else kind(), dr.Dense(1))


@engines
def test_a_layer_that_only_predicts_says_so_when_it_is_trained(engine):
    class Half(dr.Dense):
        def forward(self, x, parameters, training):
            return x @ parameters["weight"], None

    net = network(Half(1))
    assert net.predict(X, engine=engine).shape == (12, 1)
    with pytest.raises(dr.MissingFormulaError, match=r"Half has no backward\(\)"):
        dr.train(net, X, Y, loss="squared_error", engine=engine)


@pytest.mark.parametrize(
    ("forward", "backward", "words"),
    [
        (lambda self, x: x, None, r"forward must take \(x, parameters, training\)"),
        (lambda self, x, p, t: x, None, r"must return \(output, cache\)"),
        (lambda self, x, p, t: (x[:, :1], None), None, "must return shape"),
        (None, lambda self, g: g, r"backward must take \(gradient, cache, parameters\)"),
        (None, lambda self, g, c, p: g, r"must return \(dL/dx, gradients by name\)"),
        (None, lambda self, g, c, p: (g, {}), "must return a gradient of 'weight'"),
    ],
)
def test_formulas_of_another_form_are_refused(forward, backward, words):
    def well(self, x, parameters, training):
        return x @ parameters["weight"], x

    def back(self, gradient, cache, parameters):
        return gradient @ parameters["weight"].T, {"weight": cache.T @ gradient}

    body = {"forward": forward or well, "backward": backward or back}
    net = network(type("Mine", (dr.Dense,), body)(3, bias=False), dr.Dense(1))
    with pytest.raises(dr.InvalidValueError, match=words):
        dr.train(net, X, Y, loss="squared_error", optimizer="sgd", epochs=1)


def test_a_parameter_that_no_formula_knows_is_refused():
    class Extra(dr.Dense):
        def parameters(self, inputs):
            more = dr.ParameterSpec("extra", (2,), dr.initializers.Zeros(), False)
            return (*super().parameters(inputs), more)

    with pytest.raises(dr.InvalidValueError, match="parameter 'extra'"):
        dr.train(network(Extra(1)), X, Y, loss="squared_error", epochs=1)


# ------------------------------------------------------------------------------ other families


class Steep(dr.activations.Sigmoid):
    def __call__(self, z):
        return super().__call__(3 * z)

    def derivative(self, z, a):
        return 3 * a * (1 - a)


class Offset(dr.activations.Identity):
    def __call__(self, z):
        return z + 100

    def derivative(self, z, a):
        return np.ones_like(z)


@engines
def test_an_activation_runs_its_own_function_also_at_the_output(engine):
    for mine in (Steep(), Offset()):
        net, plain = network(dr.Dense(1, mine)), network(dr.Dense(1))
        z = plain.predict(X)
        np.testing.assert_allclose(net.predict(X, engine=engine), mine(z), rtol=1e-12)
        assert dr.check_gradients(net, X, Y, "squared_error")
        assert dr.evaluate(net, X, Y, "squared_error", engine=engine)["loss"] == pytest.approx(
            float(0.5 * ((mine(z) - Y) ** 2).mean()), rel=1e-12
        )


def test_a_loss_made_for_sigmoid_refuses_another_sigmoid():
    with pytest.raises(dr.InvalidTypeError, match="Steep has another"):
        dr.train(network(dr.Dense(1, Steep())), X, Y > 0, loss="bce")


@pytest.mark.parametrize(
    ("base", "methods", "words"),
    [
        (dr.activations.Tanh, ["__call__"], "derivative = Tanh.derivative"),
        (dr.activations.Softmax, ["derivative"], r"backward\(\) of Softmax"),
        (dr.activations.Softmax, ["__call__"], r"of Softmax"),
        (dr.SquaredError, ["value"], r"gradient\(\) of SquaredError"),
        (dr.Huber, ["value"], r"gradient\(\) of Huber"),
        (dr.L2, ["value"], r"coefficients\(\) of L2"),
    ],
)
def test_a_formula_without_its_derivative_is_refused(base, methods, words):
    kind = type("Mine", (base,), {name: lambda self, *a: a[0] for name in methods})
    last = dr.Dense(2, kind()) if issubclass(kind, dr.ActivationFunction) else dr.Dense(2)
    loss = kind() if issubclass(kind, dr.Loss) else "squared_error"
    penalty = kind() if issubclass(kind, dr.Penalty) else None
    for engine in ("auto", "reference"):
        with pytest.raises(dr.InvalidTypeError, match=words):
            dr.train(
                network(last), X, np.zeros((12, 2)), loss=loss, penalty=penalty, engine=engine
            )  # fmt: skip


def test_a_derivative_that_is_said_to_be_right_is_taken():
    class Counted(dr.activations.Tanh):
        derivative = dr.activations.Tanh.derivative

        def __call__(self, z):
            return np.tanh(z)

    assert dr.check_gradients(network(dr.Dense(1, Counted())), X, Y, "squared_error")


class Weighted(dr.BinaryCrossEntropy):
    def value(self, a, t):
        return (-3 * t * np.log(a) - (1 - t) * np.log(1 - a)).sum(axis=1)

    def gradient(self, a, t):
        return -3 * t / a + (1 - t) / (1 - a)


@engines
def test_a_loss_runs_its_own_value_and_gradient_under_the_canonical_output(engine):
    net, t = network(dr.Dense(1, "sigmoid")), (Y > 0).astype(float)
    expected = Weighted().value(net.predict(X), t).mean()
    assert dr.evaluate(net, X, t, Weighted(), engine=engine)["loss"] == pytest.approx(expected)
    assert dr.check_gradients(net, X, t, Weighted())


@engines
@pytest.mark.parametrize(
    ("base", "method", "setting"),
    [
        (dr.SGD, "update", "optimizer"), (dr.Adam, "update", "optimizer"),
        (dr.ClipNorm, "apply", "clip"), (dr.ClipValue, "apply", "clip"),
        (dr.MaxNorm, "apply", "constraint"),
    ],
)  # fmt: skip
def test_the_method_of_a_subclass_is_called(engine, base, method, setting):
    calls = []
    body = {method: lambda self, *a: calls.append(method)}
    settings = {"optimizer": dr.SGD(0.1)} | {setting: type("Mine", (base,), body)()}
    dr.train(network(dr.Dense(1)), X, Y, loss="mse", engine=engine, epochs=2, **settings)
    assert calls


@engines
@pytest.mark.parametrize("base", [dr.schedules.Constant, dr.Cosine, dr.Linear])
def test_a_schedule_of_ones_own_is_followed(engine, base):
    mine = type("Mine", (base,), {"__call__": lambda self, t, total: 0.25})(0.1)
    history = dr.train(
        network(dr.Dense(1)), X, Y, loss="mse", optimizer=dr.SGD(mine), engine=engine, epochs=2
    )
    assert history["learning_rate"] == [0.25, 0.25]


@engines
@pytest.mark.parametrize("base", [dr.metrics.MSE, dr.metrics.R2, dr.metrics.RMSE])
def test_a_metric_of_ones_own_is_measured_in_training_as_in_evaluation(engine, base):
    mine = type("Mine", (base,), {"__call__": lambda self, y, a, w=None: 42.0})()
    net = network(dr.Dense(1))
    settings = {"loss": "mse", "metrics": [mine], "engine": engine}
    history = dr.train(net, X, Y, validation=(X, Y), epochs=1, **settings)
    name = mine.name
    assert history[name] == history[f"val_{name}"] == [42.0]
    assert dr.evaluate(net, X, Y, **settings)[name] == 42.0


def test_an_initializer_of_ones_own_is_drawn_from():
    mine = type("Mine", (dr.initializers.GlorotUniform,), {
        "__call__": lambda self, fan_in, fan_out, *, seed, layer: np.full((fan_in, fan_out), 7.0)
    })  # fmt: skip
    assert (network(dr.Dense(1, weight_initializer=mine())).parameters["0.weight"] == 7).all()


@pytest.mark.parametrize(
    ("kind", "method", "value"),
    [
        (dr.activations.Tanh, "__call__", lambda self, z: 0 * z + 0.5),
        (dr.activations.Tanh, "derivative", lambda self, z, a: 0 * z),
        (dr.SquaredError, "value", lambda self, a, t: np.full(len(a), 3.0)),
        (dr.SGD, "update", lambda self, *a: None),
        (dr.L2, "gradient", lambda self, W: 0 * W),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_a_method_replaced_in_a_class_of_the_package_runs_under_both_engines(
    kind, method, value, monkeypatch
):
    monkeypatch.setattr(kind, method, value)
    ends = []
    for engine in ("auto", "reference"):
        net = network(dr.Dense(2, "tanh"), dr.Dense(1))
        history = dr.train(
            net, X, Y, loss=dr.SquaredError(), optimizer=dr.SGD(0.1), penalty=dr.L2(0.1),
            epochs=2, engine=engine,
        )  # fmt: skip
        assert history.engine.startswith("reference")
        ends.append(net.vector.copy())
    np.testing.assert_array_equal(*ends)


# ------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    "make",
    [
        lambda: dr.Dense(1, type("Mine", (dr.activations.Tanh,), {})()),
        lambda: type("Mine", (dr.Dense,), {})(1),
        lambda: Doubled(1),
        lambda: dr.Dense(1, penalty=type("Mine", (dr.L2,), {})()),
        lambda: dr.Dense(1, constraint=type("Mine", (dr.MaxNorm,), {})()),
        lambda: dr.Dense(1, weight_initializer=type("Mine", (dr.initializers.Zeros,), {})()),
    ],
)
def test_a_subclass_without_a_name_of_its_own_is_not_saved_as_its_base(make, tmp_path):
    net = network(make())
    with pytest.raises(dr.InvalidTypeError, match="give it a class attribute `name` of its own"):
        net.save(tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "part",
    [
        type("Mine", (base,), {})()
        for base in (
            dr.Adam, dr.SquaredError, dr.L1, dr.ClipNorm, dr.metrics.MSE, dr.activations.ReLU,
            dr.initializers.Zeros, dr.OneCycle, dr.BatchNorm,
        )
        if base is not dr.OneCycle
    ] + [type("Mine", (dr.Cosine,), {})(0.1)],
    ids=lambda part: part.family,
)  # fmt: skip
def test_no_family_writes_a_subclass_as_its_base(part):
    with pytest.raises(dr.InvalidTypeError, match="name"):
        describe(part)


def test_a_subclass_with_a_name_and_fields_comes_back_as_itself():
    @dataclass(frozen=True)
    class Slanted(dr.activations.Tanh):
        name = "test_slanted"
        slant: float = 0.1

        def __call__(self, z):
            return np.tanh(z) + self.slant * z

        def derivative(self, z, a):
            return 1 - np.tanh(z) ** 2 + self.slant

    net = network(dr.Dense(2, Slanted(0.3)), dr.Dense(1))
    file = BytesIO()
    dr.save(net, file)
    file.seek(0)
    twin = dr.load(file)
    assert twin.layers == net.layers
    assert type(twin.layers[0].activation) is Slanted
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


@pytest.mark.parametrize("value", [np.bool_(True), np.bool_(False), np.True_])
def test_what_a_network_accepts_a_file_keeps(value, tmp_path):
    net = network(dr.Dense(np.int64(2), bias=value), dr.Dropout(np.float32(0.5)), dr.Dense(1))
    twin = dr.load(net.save(tmp_path / "net.safetensors"))
    assert twin.layers[0].bias == bool(value)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
