"""Predictions: what is kept from one to the next, and what is asked anew."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import deltarule as dr
from deltarule.engines import prediction_executor

X = np.random.default_rng(5).standard_normal((6, 3)).astype(np.float32)


class Derived(np.ndarray):
    pass


def network() -> dr.Network:
    return dr.Network([dr.Dense(4, "tanh"), dr.Dense(2)], inputs=3, seed=1)


def test_the_next_prediction_uses_the_executor_of_the_last() -> None:
    net = network()
    kept = prediction_executor(net, "auto", None)
    net.predict(X)
    assert prediction_executor(net, "auto", None) is kept
    assert prediction_executor(net, "auto", 1) is not kept
    assert prediction_executor(net.copy(), "auto", None) is not kept


def test_a_prediction_follows_the_parameters_and_is_an_array_of_its_own() -> None:
    net = network()
    first = net.predict(X[:1])
    net.vector *= 2
    second = net.predict(X[:1])
    z = X[:1].astype(float) @ net.parameters["0.weight"] + net.parameters["0.bias"]
    a = np.tanh(z) @ net.parameters["1.weight"] + net.parameters["1.bias"]
    assert not np.shares_memory(first, second)
    # Sums of 3 and 4 products, tanh between them: 16 roundings at most, terms below 8.
    np.testing.assert_allclose(second, a, rtol=0, atol=16 * 8 * np.finfo(np.float32).eps)
    assert np.abs(first - a).max() > 1e-2


def test_each_thread_has_an_executor_of_its_own_and_keeps_it() -> None:
    net = network()
    mine = prediction_executor(net, "auto", None)
    theirs = []

    def look() -> None:
        theirs.extend(prediction_executor(net, "auto", None) for _ in range(2))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert theirs[0] is theirs[1] is not mine
    assert prediction_executor(net, "auto", None) is mine


@pytest.mark.parametrize(
    "form",
    [
        np.asfortranarray,
        lambda X: np.concatenate([X, X], axis=1)[:, :3],
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: np.frombuffer(b"." + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape),
        lambda X: X.astype(np.float64),
        lambda X: X.astype(">f4"),
        lambda X: X.tolist(),
        lambda X: X.view(Derived),
        np.ma.masked_invalid,
    ],
    ids=[
        "columns first", "wide rows", "every other row", "not aligned", "float64", "big-endian",
        "list", "derived", "masked, without a mask",
    ],
)  # fmt: skip
def test_however_an_array_lies_in_memory_its_prediction_is_the_same(form: object) -> None:
    net = network()
    np.testing.assert_array_equal(net.predict(form(X)), net.predict(X))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (X[:, :2], ValueError, r"shape \(n, 3\).*got shape \(6, 2\)"),
        (X[:0], ValueError, "X has no rows"),
        (X.astype(complex), TypeError, "X must hold numbers, got dtype complex128"),
        (X.astype(str), TypeError, "X must hold numbers"),
        (X.astype("datetime64[s]"), TypeError, "X must hold numbers"),
        (np.array([["a", 1.0, 2.0]], dtype=object), TypeError, "row 0, column 0 has 'a'"),
        (np.ma.masked_less(X, 0), ValueError, "masked array"),
        (None, TypeError, "X is missing"),
    ],
)
def test_bad_rows_are_refused_before_and_after_a_good_prediction(
    bad: object, error: type[Exception], message: str
) -> None:
    net = network()
    for _ in range(2):
        with pytest.raises(error, match=message):
            net.predict(bad)
        net.predict(X)


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"threads": 0}, {"threads": True}])
def test_bad_settings_are_refused_after_a_good_prediction(settings: dict[str, object]) -> None:
    net = network()
    net.predict(X, threads=1)
    with pytest.raises((ValueError, TypeError), match="whole number >= 1"):
        net.predict(X, **settings)  # type: ignore[arg-type]
