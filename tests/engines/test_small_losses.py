"""What is reported of a loss is right however small it is: every loss, engine and vector target.

A network of one layer whose weights are the identity passes its input on as the preactivation.
A weight of 1 on one row and 0 on the others picks this row's loss out of a batch; a step of SGD
with rate 1 writes its delta into the biases.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from mpmath import mp, mpf

import deltarule as dr
from deltarule.data import Dataset
from deltarule.engines.selection import select_engine
from deltarule.plan import compile_network
from loss_oracles import exact
from members import assert_complete
from problems import TARGETS

ENGINES = ["reference", *TARGETS]
DTYPES = ["float32", "float64"]
OUTPUTS = 3

PAIRS = {
    "squared_error": (dr.SquaredError(), "identity"),
    "squared_error-tanh": (dr.SquaredError(), "tanh"),
    "mean_squared_error": (dr.MeanSquaredError(), "identity"),
    "mean_absolute_error": (dr.MeanAbsoluteError(), "identity"),
    "mean_absolute_error-tanh": (dr.MeanAbsoluteError(), "tanh"),
    "huber": (dr.Huber(), "identity"),
    "huber(0.25)": (dr.Huber(0.25), "identity"),
    "quantile": (dr.Quantile(0.75), "identity"),
    "poisson": (dr.Poisson(), "exp"),
    "poisson-softplus": (dr.Poisson(), "softplus"),
    "binary_cross_entropy": (dr.BinaryCrossEntropy(), "sigmoid"),
    "cross_entropy": (dr.CrossEntropy(), "softmax"),
    "cross_entropy(0.1)": (dr.CrossEntropy(label_smoothing=0.1), "softmax"),
}
assert_complete("loss", {loss.name for loss, _ in PAIRS.values()}, "pair")

SIZES = [0.0, 1e-30, 1e-8, 1e-3, 0.3, 1.0, 3.0, 8.0, 10.0, 15.0, 17.0, 30.0, 37.0, 50.0, 75.0]
FAR = [88.0, 104.0, 700.0, 740.0, 1e4, 1e8, 1e15]
VALUE_UNITS = 16
DELTA_UNITS = 16
"""Roundings of the terms: an elementary function counts 4, and there are at most three in a row."""


@cache
def rows(pair: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return preactivations (n, outputs) and targets as they are given."""
    loss, activation = PAIRS[pair]
    sizes = SIZES + FAR if loss.classifies else SIZES + FAR[:-1]
    if loss.name == "poisson":  # e^z, and the gradient's square, must be numbers of float32
        sizes = [v for v in SIZES if v < 40]
    line = np.array([s * v for v in sizes for s in (1, -1)])
    if activation == "softplus":  # below about -70 it stops at tiny / eps, as its docstring says
        line = line[np.abs(line) < 70]
    rng = np.random.default_rng(0)
    mixed = rng.choice(line, (40, OUTPUTS))
    # One output stands out: this is where a loss is small.
    apart = np.stack([line, np.zeros_like(line), -np.abs(line)], axis=1)
    z = np.concatenate([mixed, apart, apart[:, ::-1]]).astype(dtype)
    kinds = {
        "binary_cross_entropy": [0.0, 1.0, 1.0, 0.0, 0.25, 0.5, 0.9, 1 - 1e-6, 1e-6],
        "poisson": [0.0, 1.0, 2.0, 7.0],
    }.get(loss.name, [0.0, 1.0, -1.0, 0.5, 1e-8, 15.0, 1e4])
    t = rng.choice(kinds, z.shape).astype(dtype)
    if loss.name == "cross_entropy":
        t = np.eye(OUTPUTS)[rng.integers(0, OUTPUTS, len(z))]
        soft = rng.random(len(z)) < 0.3
        t[soft] = 0.75 * t[soft] + 0.25 / OUTPUTS
        t = t.astype(dtype)
    elif loss.name == "binary_cross_entropy":
        right = rng.random(z.shape) < 0.5  # certain, and right
        t[right] = z[right] > 0
    return z, t


@cache
def answers(pair: str, dtype: str):
    loss, activation = PAIRS[pair]
    z, t = rows(pair, dtype)
    encoded = loss.encode(loss.check_targets(t, OUTPUTS), OUTPUTS, np.dtype(dtype))
    return [exact(loss, activation, *row) for row in zip(z, encoded, strict=True)]


def chosen(engine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the engine of a parameter, with its vector target set."""
    if engine == "reference":
        return engine
    monkeypatch.setenv("DELTARULE_TARGET", engine)
    return "native"


def network(activation: str, dtype: str) -> dr.Network:
    net = dr.Network([dr.Dense(OUTPUTS, activation)], inputs=OUTPUTS, dtype=dtype)
    net.vector[:] = 0
    net.parameters["0.weight"][...] = np.eye(OUTPUTS)
    return net


def assert_within(computed: float, right: mpf, scale: mpf, units: int, dtype: str, where: str):
    info = np.finfo(dtype)
    bound = units * float(info.eps) * scale + 4 * float(info.tiny)
    assert abs(mpf(float(computed)) - right) <= bound, (
        f"{where}: {computed!r}, exactly {mp.nstr(right, 20)}, bound {mp.nstr(bound, 5)}"
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_reported_loss_is_exact_however_small(engine, pair, dtype, monkeypatch):
    loss, activation = PAIRS[pair]
    z, t = rows(pair, dtype)
    net = network(activation, dtype)
    plan = compile_network(net, loss=loss)
    executor = select_engine(chosen(engine, monkeypatch), plan).executor(plan, net)
    for row, right in enumerate(answers(pair, dtype)):
        weights = np.zeros(len(z))
        weights[row] = 1
        value, _ = executor.evaluate(Dataset(z, t, weights))
        where = f"z {z[row]}, t {t[row]}"
        assert_within(value, right.value, right.value_scale, VALUE_UNITS, dtype, where)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_delta_is_exact_however_small(engine, pair, dtype, monkeypatch):
    loss, activation = PAIRS[pair]
    z, t = rows(pair, dtype)
    net = network(activation, dtype)
    start = net.vector.copy()
    trainer = dr.Trainer(
        net, loss=loss, optimizer=dr.SGD(1.0), engine=chosen(engine, monkeypatch), threads=None
    )
    for row, right in enumerate(answers(pair, dtype)):
        weights = np.zeros(len(z))
        weights[row] = 1
        net.vector[:] = start
        trainer.step(z, t, sample_weight=weights)
        for delta, exactly, scale in zip(
            -net.parameters["0.bias"], right.deltas, right.delta_scales, strict=True
        ):
            where = f"z {z[row]}, t {t[row]}"
            assert_within(delta, exactly, scale, DELTA_UNITS, dtype, where)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("dtype", "logit"),
    [("float32", 10.0), ("float32", 15.0), ("float64", 30.0), ("float64", 36.0)],
)
def test_a_certain_right_answer_still_has_a_loss(engine, dtype, logit, monkeypatch):
    """``log(1 + e^-z)`` is about ``e^-z``, for one output and for two."""
    right = np.log1p(np.exp(-logit))
    one = dr.Network([dr.Dense(1, "sigmoid")], inputs=1, dtype=dtype, weight_initializer="zeros")
    two = dr.Network([dr.Dense(2, "softmax")], inputs=1, dtype=dtype, weight_initializer="zeros")
    one.parameters["0.bias"][...] = logit
    two.parameters["0.bias"][...] = [0, logit]
    settings = {"engine": chosen(engine, monkeypatch)}
    for net, loss in ((one, "binary_cross_entropy"), (two, "cross_entropy")):
        found = dr.evaluate(net, [[1.0]], [1], loss, **settings)["loss"]
        assert found == pytest.approx(right, rel=20 * float(np.finfo(dtype).eps))
