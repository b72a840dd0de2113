"""Every output may have a weight of its own; what weighs nothing need not be known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import deltarule as dr
import native_cases
from deltarule.engines import native
from problems import bits, examples, trained

OUTPUTS = 5
LOSSES = [pair for pair in native_cases.LOSSES if dr.Loss.resolve(pair[0]).over_outputs]
IDS = [f"{loss if isinstance(loss, str) else loss.name}-{output}" for loss, output in LOSSES]
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
CHANNELS = ("native", "reference")


def stack(output: str, outputs: int = OUTPUTS) -> list[dr.Layer]:
    return [dr.Dense(6, "tanh"), dr.Dense(outputs, output)]


def partly_unknown(loss: Any, n: int = 37, outputs: int = OUTPUTS) -> tuple[Any, Any, Any]:
    """Return X, targets of which a third is NaN, and weights that are 0 there."""
    X, y = examples(loss, outputs, n=n)
    rng = np.random.default_rng(1)
    known = rng.random(y.shape) > 0.3
    known[0], known[1] = True, False  # a row with all, and one with none
    weights = np.where(known, rng.uniform(0.5, 2, y.shape), 0)
    return X, np.where(known, y, np.nan), weights


@pytest.mark.parametrize(("loss", "output"), LOSSES, ids=IDS)
def test_the_gradient_is_that_of_the_reported_loss(loss: Any, output: str) -> None:
    X, y, weights = partly_unknown(loss)
    net = dr.Network(stack(output), inputs=7, seed=0, dtype="float64")
    check = dr.check_gradients(net, X, y, loss, sample_weight=weights)
    assert check, str(check)


@pytest.mark.parametrize(("loss", "output"), LOSSES, ids=IDS)
def test_the_loss_is_the_weighted_sum_of_what_each_output_loses(loss: Any, output: str) -> None:
    X, y, weights = partly_unknown(loss)
    resolved = dr.losses.Loss.resolve(loss)
    net = dr.Network(stack(output), inputs=7, seed=0, dtype="float64")
    a, known = net.predict(X), weights > 0
    each = np.zeros(y.shape)
    for i, j in np.argwhere(known):
        each[i, j] = (
            resolved.value(a[i : i + 1, j : j + 1], y[i : i + 1, j : j + 1])[0]
            if (output != "sigmoid" or resolved.name != "binary_cross_entropy")
            else -(y[i, j] * np.log(a[i, j]) + (1 - y[i, j]) * np.log(1 - a[i, j]))
        )
    if resolved.over_outputs == "mean":
        each /= OUTPUTS
    expected = (weights * each).sum()
    if resolved.reduction == "mean":
        expected /= weights.mean(axis=1).sum()
    for engine in CHANNELS:
        found = dr.evaluate(net, X, y, loss, sample_weight=weights, engine=engine)["loss"]
        assert found == pytest.approx(expected, rel=200 * EPS["float64"])
    trace = dr.backpropagate(net, X, y, loss, sample_weight=weights)
    assert trace.loss == pytest.approx(expected, rel=200 * EPS["float64"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "output"), LOSSES, ids=IDS)
def test_both_engines_train_alike(loss: Any, output: str, dtype: str, target: str) -> None:
    X, y, weights = partly_unknown(loss)
    found = [
        trained(
            engine, stack(output), X, y, loss=loss, dtype=dtype, sample_weight=weights,
            batch_size=batch_size,
        )
        for engine in CHANNELS
        for batch_size in (10,)
    ]  # fmt: skip
    (native, _, one), (reference, _, other) = found
    scale = np.abs(reference.vector).max()
    bound = 500 * EPS[dtype] * scale
    np.testing.assert_allclose(native.vector, reference.vector, rtol=0, atol=bound)
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=500 * EPS[dtype])


@pytest.mark.parametrize("engine", CHANNELS)
@pytest.mark.parametrize("batch_size", [1, 3, 10, None])
def test_what_stands_where_the_weight_is_0_changes_no_bit(engine: str, batch_size: Any) -> None:
    X, y, weights = partly_unknown("squared_error")
    vectors = []
    for filling in (np.nan, 0.0, 7.0, np.inf):
        filled = np.where(weights > 0, y, filling)
        net, _, history = trained(
            engine, stack("identity"), X, filled, epochs=2, batch_size=batch_size,
            sample_weight=weights, metrics=["r2", "mae"],
        )  # fmt: skip
        assert np.isfinite(net.vector).all()
        vectors.append((net.vector.tobytes(), history["loss"], history["mae"], history["r2"]))
    assert vectors.count(vectors[0]) == len(vectors)


@pytest.mark.parametrize("engine", CHANNELS)
def test_batches_in_which_nothing_is_known_change_nothing(engine: str) -> None:
    X, y, weights = partly_unknown("squared_error", n=40)
    nothing = np.zeros((80, OUTPUTS))
    one, other = (
        dr.Trainer(
            dr.Network(stack("identity"), inputs=7, seed=1), "squared_error", "adam", engine=engine
        )
        for _ in range(2)
    )
    settings = {"batch_size": 10, "shuffle": False}
    one.run(X, y, sample_weight=weights, **settings)
    other.run(
        np.concatenate([X, X, X]), np.concatenate([y, y, y]),
        sample_weight=np.concatenate([nothing, weights]), **settings,
    )  # fmt: skip
    np.testing.assert_array_equal(other.network.vector, one.network.vector)


@pytest.mark.parametrize("engine", CHANNELS)
def test_a_row_of_weight_0_may_have_an_unknown_target_and_a_loss_that_overflows(
    engine: str,
) -> None:
    X, y = examples("squared_error", OUTPUTS)
    weights = np.ones(len(X))
    weights[[3, 8]] = 0
    vectors = []
    for filling in (np.nan, 0.0, 1e30):  # whose square is infinite in float32
        spoilt = y.copy()
        spoilt[weights == 0] = filling
        net, _, history = trained(
            engine, stack("identity"), X, spoilt, sample_weight=weights, dtype="float32"
        )
        assert np.isfinite(history["loss"]).all()
        vectors.append(net.vector.tobytes())
    assert vectors.count(vectors[0]) == len(vectors)


@pytest.mark.parametrize("engine", CHANNELS)
def test_an_output_of_weight_0_may_lose_more_than_the_dtype_holds(engine: str) -> None:
    X, y, weights = partly_unknown("squared_error")
    vectors = []
    for filling in (0.0, 1e30):  # whose square is infinite in float32
        net, _, history = trained(
            engine, stack("identity"), X, np.where(weights > 0, y, filling), dtype="float32",
            sample_weight=weights,
        )  # fmt: skip
        assert np.isfinite(history["loss"]).all()
        vectors.append(net.vector.tobytes())
    assert vectors[0] == vectors[1]


@pytest.mark.parametrize("engine", CHANNELS)
def test_labels_of_rows_that_weigh_nothing_may_be_unknown(engine: str) -> None:
    X, labels = examples("cross_entropy", 3)
    weights = np.ones(len(X))
    weights[[0, 5]] = 0
    layers = [dr.Dense(3, "softmax")]
    unknown = np.where(weights > 0, labels, np.nan)
    soft = np.where(weights[:, None] > 0, np.eye(3)[labels], np.nan)
    nets = [
        trained(
            engine, layers, X, y, loss="cross_entropy", sample_weight=weights,
            class_weight="balanced",
        )[0]
        for y in (labels, unknown, soft)
    ]  # fmt: skip
    np.testing.assert_array_equal(nets[1].vector, nets[0].vector)
    np.testing.assert_allclose(nets[2].vector, nets[0].vector, rtol=0, atol=50 * EPS["float64"])
    # The balance is that of the rows that count.
    rows = weights > 0
    alone = dr.Trainer(dr.Network(layers, inputs=7, seed=1, dtype="float64"), "cross_entropy",
                       class_weight="balanced", engine=engine)  # fmt: skip
    with_all = dr.Trainer(dr.Network(layers, inputs=7, seed=1, dtype="float64"), "cross_entropy",
                          class_weight="balanced", engine=engine)  # fmt: skip
    loss = alone.step(X[rows], labels[rows])
    assert with_all.step(X, unknown, weights) == pytest.approx(loss, rel=100 * EPS["float64"])


@pytest.mark.parametrize("engine", CHANNELS)
@pytest.mark.parametrize(("loss", "output"), LOSSES, ids=IDS)
def test_the_same_weight_for_all_outputs_of_a_row_is_the_weight_of_the_row(
    loss: Any, output: str, engine: str
) -> None:
    X, y = examples(loss, OUTPUTS)
    rows = np.random.default_rng(2).uniform(0.5, 2, len(X))
    one, _, by_row = trained(engine, stack(output), X, y, loss=loss, sample_weight=rows)
    table = np.repeat(rows[:, None], OUTPUTS, axis=1)
    other, _, by_output = trained(engine, stack(output), X, y, loss=loss, sample_weight=table)
    bound = 500 * EPS["float64"] * np.abs(one.vector).max()
    np.testing.assert_allclose(other.vector, one.vector, rtol=0, atol=bound)
    np.testing.assert_allclose(by_output["loss"], by_row["loss"], rtol=100 * EPS["float64"])


@pytest.mark.parametrize("name", ["mse", "rmse", "mae", "r2", "mape"])
def test_metrics_of_numbers_weigh_each_output(name: str) -> None:
    X, y, weights = partly_unknown("squared_error")
    net = dr.Network(stack("identity"), inputs=7, seed=0)
    rows = np.random.default_rng(2).uniform(0.5, 2, len(X))
    full = np.where(weights > 0, y, 1.0)
    by_row, by_output = (
        dr.evaluate(net, X, full, "squared_error", metrics=[name], sample_weight=w)[name]
        for w in (rows, np.repeat(rows[:, None], OUTPUTS, axis=1))
    )
    assert by_output == pytest.approx(by_row, rel=1e-12)
    # Weights of 0 and 1: each output is measured on the rows where it is known.
    known = weights > 0
    found = dr.evaluate(net, X, y, "squared_error", metrics=[name], sample_weight=known)[name]
    a = net.predict(X).astype(np.float64)
    r = np.where(known, y - a, 0)
    if name == "r2":
        spread = [((y[k, j] - y[k, j].mean()) ** 2).sum() for j, k in enumerate(known.T)]
        expected = np.mean(1 - (r**2).sum(axis=0) / spread)
    elif name == "mape":
        expected = np.abs(r[known] / y[known]).mean()
    else:
        expected = {"mse": (r**2).sum(), "rmse": (r**2).sum(), "mae": np.abs(r).sum()}[name]
        expected /= known.sum()
        expected = np.sqrt(expected) if name == "rmse" else expected
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "f1", "precision", "recall", "roc_auc", "log_loss"])
def test_metrics_of_labels_weigh_each_output(name: str) -> None:
    X, y, weights = partly_unknown("binary_cross_entropy")
    net = dr.Network(stack("sigmoid"), inputs=7, seed=0)
    rows = np.random.default_rng(2).uniform(0.5, 2, len(X))
    full = np.where(weights > 0, y, 1.0)
    by_row, by_output = (
        dr.evaluate(net, X, full, "binary_cross_entropy", metrics=[name], sample_weight=w)[name]
        for w in (rows, np.repeat(rows[:, None], OUTPUTS, axis=1))
    )
    assert by_output == pytest.approx(by_row, rel=1e-12)


@pytest.mark.parametrize("engine", CHANNELS)
def test_metrics_over_batches_are_those_over_all_rows(engine: str) -> None:
    X, y, weights = partly_unknown("squared_error")
    names = ["mse", "r2", "mae"]
    net, _, history = trained(
        engine, stack("identity"), X, y, sample_weight=weights, metrics=names,
        optimizer=dr.SGD(0.0),
    )  # fmt: skip
    found = dr.evaluate(net, X, y, "squared_error", metrics=names, sample_weight=weights)
    for name in ("loss", *names):
        assert history[name][0] == pytest.approx(found[name], rel=1e-12)


def test_a_metric_of_ones_own_is_called_for_each_output_that_has_weight() -> None:
    X, y, weights = partly_unknown("squared_error", outputs=3)
    weights[:, 2] = 0
    shapes = []

    def largest(y: Any, a: Any, w: Any) -> float:
        shapes.append((y.shape, a.shape, w.shape))
        return float(np.abs(y - a)[w > 0].max())

    net = dr.Network(stack("identity", 3), inputs=7, seed=0)
    found = dr.evaluate(net, X, y, "squared_error", metrics=[largest], sample_weight=weights)
    n = len(X)
    assert shapes == [((n, 1), (n, 1), (n,))] * 2
    errors = np.where(weights > 0, np.abs(y - net.predict(X)), 0).max(axis=0)
    assert found["largest"] == pytest.approx(errors[:2].mean(), rel=1e-6)


def test_the_recipe_for_unknown_targets() -> None:
    X, y, _ = partly_unknown("squared_error")
    known = np.isfinite(y)
    for target, weights in (
        (y, known),
        (pd.DataFrame(y), pd.DataFrame(y).notna()),
        (y.tolist(), known.tolist()),
    ):
        net = dr.Network(stack("identity"), inputs=7, seed=0)
        history = dr.train(
            net, X, target, loss="squared_error", sample_weight=weights, epochs=3,
            validation=(X, target, weights), metrics=["r2"],
        )  # fmt: skip
        assert np.isfinite([history["loss"], history["val_loss"], history["val_r2"]]).all()
        trainer = dr.Trainer(net, "squared_error")
        assert np.isfinite(trainer.step(X, target, weights))


def test_a_fraction_for_validation_takes_the_weights_along() -> None:
    X, y, weights = partly_unknown("squared_error")
    net = dr.Network(stack("identity"), inputs=7, seed=0)
    history = dr.train(
        net, X, y, loss="squared_error", sample_weight=weights, epochs=2, validation=0.3
    )
    assert np.isfinite(history["val_loss"]).all()


def test_one_output_may_have_its_weights_in_a_column() -> None:
    X, y = examples("squared_error", 1)
    rows = np.random.default_rng(2).uniform(0.5, 2, len(X))
    one = trained("native", stack("identity", 1), X, y, sample_weight=rows)[0]
    other = trained("native", stack("identity", 1), X, y, sample_weight=rows[:, None])[0]
    np.testing.assert_array_equal(one.vector, other.vector)


@pytest.mark.parametrize("n", [3, 37, 5000])
def test_bits_do_not_depend_on_the_number_of_threads(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1.0)
    X, y, weights = partly_unknown("squared_error", n=n)
    for batch_size in (2, 40, None):
        found = [
            bits(
                stack("identity"), X, y, threads, sample_weight=weights, batch_size=batch_size,
                epochs=1 if n > 100 else 3,
            )
            for threads in (1, 2, 5)
        ]  # fmt: skip
        assert found.count(found[0]) == len(found)


BAD = {
    "NaN that counts": (
        dict(sample_weight=None),
        ValueError,
        r"y has a value that is not finite: nan at row 1, column 0.*sample_weight=np.isfinite\(y\)",
    ),
    "NaN that counts in one output": (
        dict(sample_weight=np.ones((37, OUTPUTS))),
        ValueError,
        "not finite: nan at row 1, column 0",
    ),
    "another number of outputs": (
        dict(sample_weight=np.ones((37, 2))),
        ValueError,
        r"\(37,\), one weight per row of X, or \(37, 5\), one per output; got shape \(37, 2\)",
    ),
    "negative": (
        dict(sample_weight=-np.ones((37, OUTPUTS))),
        ValueError,
        "must be >= 0; row 0, column 0 has -1.0",
    ),
    "all 0": (dict(sample_weight=np.zeros((37, OUTPUTS))), ValueError, "all weights are 0"),
    "of validation": (
        dict(sample_weight=None, validation=True),
        ValueError,
        r"validation sample_weight must have shape \(37,\)",
    ),
}


@pytest.mark.parametrize(("settings", "kind", "message"), BAD.values(), ids=BAD)
def test_weights_that_fit_nothing_are_refused(settings: Any, kind: type, message: str) -> None:
    X, y, weights = partly_unknown("squared_error")
    settings = dict(settings)
    if settings.pop("validation", None):
        settings |= dict(sample_weight=weights, validation=(X, y, weights[:, :2]))
    net = dr.Network(stack("identity"), inputs=7, seed=0)
    before = net.vector.copy()
    with pytest.raises(kind, match=message) as caught:
        dr.train(net, X, y, loss="squared_error", **settings)
    assert isinstance(caught.value, dr.DeltaruleError)
    np.testing.assert_array_equal(net.vector, before)


def test_a_loss_that_is_no_sum_over_outputs_refuses_their_weights() -> None:
    X, labels = examples("cross_entropy", 3)
    net = dr.Network([dr.Dense(3, "softmax")], inputs=7)
    with pytest.raises(ValueError, match=r"cross_entropy is one number for a row.*shape \(37,\)"):
        dr.train(net, X, labels, loss="cross_entropy", sample_weight=np.ones((37, 3)))
    soft = np.where(np.arange(37)[:, None] == 4, np.nan, np.eye(3)[labels])
    with pytest.raises(ValueError, match=r"sample_weight=np.isfinite\(y\).all\(axis=1\)"):
        dr.train(net, X, soft, loss="cross_entropy")
    weights = np.isfinite(soft).all(axis=1)
    dr.train(net, X, soft, loss="cross_entropy", sample_weight=weights, epochs=1)


@dr.losses.setting
class Quartic(dr.Loss):
    """A loss of one's own that is a mean over outputs."""

    name = "quartic of a test"
    over_outputs = "mean"

    def value(self, a: Any, t: Any) -> Any:
        return ((a - t) ** 4).mean(axis=1)

    def gradient(self, a: Any, t: Any) -> Any:
        return 4 / a.shape[1] * (a - t) ** 3


@dr.losses.setting
class Distance(dr.Loss):
    """A loss of one's own that is no sum over outputs."""

    name = "distance of a test"

    def value(self, a: Any, t: Any) -> Any:
        return np.sqrt(((a - t) ** 2).sum(axis=1))

    def gradient(self, a: Any, t: Any) -> Any:
        return (a - t) / self.value(a, t)[:, None]


def test_a_loss_of_ones_own_says_whether_it_is_a_sum_over_outputs() -> None:
    X, y, weights = partly_unknown("squared_error")
    net = dr.Network(stack("identity"), inputs=7, seed=0)
    assert dr.check_gradients(net, X, y, Quartic(), sample_weight=weights)
    with pytest.raises(ValueError, match="does not say that it is a sum or mean over outputs"):
        dr.check_gradients(net, X, y, Distance(), sample_weight=weights)


def test_a_printed_trace_shows_the_weights_of_the_outputs() -> None:
    X, y, weights = partly_unknown("squared_error", n=2, outputs=2)
    net = dr.Network(stack("identity", 2), inputs=7, seed=0)
    text = str(dr.backpropagate(net, X, y, "squared_error", sample_weight=weights))
    assert "L = sum(l) / sum(mean of w over outputs) = " in text
