"""Embedding: vectors in the place of category codes, in both engines, beside PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr
from agreement import Problem, assert_agree
from deltarule.engines import native
from deltarule.engines.reference import formulas
from deltarule.plan import compile_network
from oracles import oracle

D = dr.Dense
COUNTS, COLUMNS, SIZE = (12, 3, 40), (1, 4, 2), 5
RNG = np.random.default_rng(0)
N = 53


def examples(dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    X = RNG.normal(size=(N, 6))
    for column, count in zip(COLUMNS, COUNTS, strict=True):
        X[:, column] = RNG.integers(0, count, N)
    return X.astype(dtype), RNG.normal(size=(N, 2)).astype(dtype)


X, Y = examples()
FIRST = dr.Embedding(COUNTS, SIZE, columns=COLUMNS)
STACKS = {
    "dense": [FIRST, D(7, "tanh"), D(2)],
    "scaled and normalised": [FIRST, dr.Scale(), D(9), dr.LayerNorm(), dr.Activation("gelu"), D(2)],
    "dropped": [FIRST, dr.Dropout(0.2), D(9, "tanh"), D(2)],
    "short-cut": [FIRST, dr.Residual([D(18, "tanh")]), D(2)],
    "batch norm": [FIRST, dr.BatchNorm(), D(2)],
    "codes alone, wide vectors": [dr.Embedding((7, 9), 37), D(2)],
    "frozen": [dr.Embedding(COUNTS, SIZE, columns=COLUMNS, learning_rate_factor=0), D(2)],
}


def inputs_of(name: str) -> np.ndarray:
    if "alone" not in name:
        return X
    rng = np.random.default_rng(1)
    return np.stack([rng.integers(0, 7, N), rng.integers(0, 9, N)], axis=1)


@pytest.mark.parametrize("name", STACKS)
def test_gradients(name: str) -> None:
    x = inputs_of(name)
    net = dr.Network(STACKS[name], inputs=x.shape[1], seed=1, dtype="float64")
    check = dr.check_gradients(net, x, Y, "squared_error", penalty=dr.L2(0.01))
    check.raise_if_wrong()


def test_the_formula_is_a_dense_layer_over_one_hot_columns() -> None:
    net = dr.Network([FIRST, D(2)], inputs=6, seed=1, dtype="float64")
    trace = dr.backpropagate(net, X, Y, "squared_error")
    starts = np.cumsum((0, *COUNTS))
    table, expected = net.parameters["0.table"], [X[:, [0, 3, 5]]]
    gradient = np.zeros_like(table)
    delta = trace.deltas["0"][:, 3:].reshape(N, 3, SIZE)
    for i, (column, count) in enumerate(zip(COLUMNS, COUNTS, strict=True)):
        one_hot = np.eye(count)[X[:, column].astype(int)]
        rows = slice(starts[i], starts[i + 1])
        expected.append(one_hot @ table[rows])
        gradient[rows] = one_hot.T @ delta[:, i]
    np.testing.assert_allclose(trace.activations["0"], np.hstack(expected), rtol=1e-14)
    np.testing.assert_allclose(trace.gradients["0.table"], gradient, rtol=1e-12, atol=1e-15)
    assert not trace.input_gradient[:, list(COLUMNS)].any()


@pytest.mark.parametrize(
    "broken",
    [
        lambda g, codes, table: formulas_right(g, codes, table) * 1.001,
        lambda g, codes, table: formulas_right(g, codes[::-1], table),
        lambda g, codes, table: _last_wins(g, codes, table),
    ],
    ids=["scaled", "codes of other rows", "the last row of a code alone"],
)
def test_a_broken_backward_formula_is_noticed(broken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formulas, "embedding_backward", broken)
    net = dr.Network(STACKS["dense"], inputs=6, seed=1, dtype="float64")
    check = dr.check_gradients(net, X, Y, "squared_error")
    wrong = {p.name for p in check.parameters if p.relative_error > check.tolerance}
    assert wrong == {"0.table"}


formulas_right = formulas.embedding_backward


def _last_wins(g, codes, table):
    dtable = np.zeros_like(table)
    dtable[codes] = g.reshape(*codes.shape, -1)
    return dtable


@pytest.mark.skipif(native.core() is None, reason="no native engine")
@pytest.mark.parametrize(("batch_size", "steps"), [(1, 6), (10, 40), (N, 6)])
@pytest.mark.parametrize("name", STACKS)
def test_both_engines_agree(name: str, batch_size: int, steps: int) -> None:
    if name == "batch norm" and batch_size == 1:
        batch_size = 2
    problem = Problem(
        STACKS[name], inputs_of(name), Y, batch_size=batch_size, drop_last=batch_size == 2,
        optimizer=dr.SGD(2e-3, momentum=0.9), settings={"penalty": dr.L2(0.01)},
    )  # fmt: skip
    assert_agree(problem, steps)


@pytest.mark.skipif(native.core() is None, reason="no native engine")
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "lion"])
def test_the_number_of_threads_changes_nothing(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1.0)
    vectors = set()
    for threads in (1, 2, 3, 8, 64):
        net = dr.Network(STACKS["dense"], inputs=6, seed=1)
        dr.train(
            net, X, Y, loss="squared_error", optimizer=optimizer, batch_size=8, epochs=2,
            threads=threads, engine="native", clip=dr.ClipNorm(0.5), progress=False,
        )  # fmt: skip
        vectors.add(net.vector.tobytes())
    assert len(vectors) == 1


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_training_follows_pytorch(engine: str) -> None:
    torch = oracle("torch")
    net = dr.Network([FIRST, D(7, "tanh"), D(2)], inputs=6, seed=1, dtype="float64")
    p = {name: torch.tensor(a.copy(), requires_grad=True) for name, a in net.parameters.items()}
    optimizer = torch.optim.Adam(p.values(), lr=1e-2)
    starts = torch.tensor([0, *np.cumsum(COUNTS)[:-1]])
    x, y = torch.tensor(X), torch.tensor(Y)
    trainer = dr.Trainer(net, "squared_error", dr.Adam(1e-2), engine=engine)
    for step in range(30):
        rows = slice(step % 5 * 10, step % 5 * 10 + 10)
        codes = x[rows][:, list(COLUMNS)].long() + starts
        found = torch.nn.functional.embedding(codes, p["0.table"]).reshape(10, -1)
        a = torch.cat([x[rows][:, [0, 3, 5]], found], dim=1)
        a = torch.tanh(a @ p["1.weight"] + p["1.bias"]) @ p["2.weight"] + p["2.bias"]
        optimizer.zero_grad()
        (0.5 * (a - y[rows]) ** 2).sum(1).mean().backward()
        optimizer.step()
        trainer.step(X[rows], Y[rows])
    for name, value in p.items():
        np.testing.assert_allclose(net.parameters[name], value.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_a_missing_code_makes_its_row_nan_and_no_other(engine: str) -> None:
    net = dr.Network(STACKS["dense"], inputs=6, seed=1)
    missing = X.copy()
    missing[4, 2] = np.nan
    found, right = net.predict(missing, engine=engine), net.predict(X, engine=engine)
    assert np.isnan(found[4]).all()
    np.testing.assert_array_equal(np.delete(found, 4, 0), np.delete(right, 4, 0))


@pytest.mark.parametrize("value", [-1, 12, 0.5, np.inf, -np.inf, 1e30])
def test_what_is_no_code_is_refused(value: float) -> None:
    net = dr.Network(STACKS["dense"], inputs=6, seed=1)
    bad, before = X.copy(), net.vector.copy()
    bad[7, 1] = value
    for call in (
        lambda: net.predict(bad),
        lambda: dr.train(net, bad, Y, loss="squared_error"),
        lambda: dr.train(net, X, Y, loss="squared_error", validation=(bad, Y)),
        lambda: dr.evaluate(net, bad, Y, "squared_error"),
        lambda: dr.backpropagate(net, bad, Y, "squared_error"),
    ):
        with pytest.raises(ValueError, match=r"row 7"):
            call()
    np.testing.assert_array_equal(net.vector, before)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32, bool])
def test_codes_of_any_numeric_type(dtype: type) -> None:
    codes = np.random.default_rng(0).integers(0, 2, (9, 2))
    net = dr.Network([dr.Embedding((2, 2), 3), D(1)], inputs=2, seed=1)
    expected = net.predict(codes.astype(float), engine="reference")
    np.testing.assert_allclose(net.predict(codes.astype(dtype)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dr.Embedding(0), "categories must be a whole number >= 1, got 0"),
        (lambda: dr.Embedding(()), "categories must name at least one whole number"),
        (lambda: dr.Embedding("abc"), "categories must be a whole number"),
        (lambda: dr.Embedding(2**24 + 1), "at most 2\\^24 categories"),
        (lambda: dr.Embedding(3, 0), "size must be a whole number >= 1"),
        (lambda: dr.Embedding((3, 4), columns=(1, 1)), "a different column for each number"),
        (lambda: dr.Embedding((3, 4), columns=(1,)), "a different column for each number"),
        (lambda: dr.Embedding(3, columns=-1), "columns must be a whole number >= 0"),
        (lambda: dr.Network([dr.Embedding(3, columns=5)], inputs=5), "the network has inputs=5"),
        (lambda: dr.Network([D(4), dr.Embedding(3)], inputs=5), "the network's first layer"),
        (lambda: dr.Network([dr.Residual([dr.Embedding(3)])], inputs=5), "first layer"),
    ],
)
def test_impossible_settings_are_refused(make, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_it_is_saved_and_printed(tmp_path) -> None:
    net = dr.Network(STACKS["dense"], inputs=6, seed=1)
    twin = dr.load(net.save(tmp_path / "net.safetensors"))
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    assert twin.layers == net.layers
    text = str(dr.backpropagate(net, X[:2], Y[:2], "squared_error"))
    assert "a[0] = [x without codes, table[0] at the codes]" in text
    assert "dL/dtable[0] = sum of delta[0] over the rows of each code" in text


@pytest.mark.skipif(native.core() is None, reason="no native engine")
@pytest.mark.parametrize(
    "lists",
    [
        {"categories": [12, 3, 41], "columns": [1, 4, 2]},
        {"categories": [12, 3, 39], "columns": [1, 4, 2]},
        {"categories": [12, 3, 2**62], "columns": [1, 4, 2]},
        {"categories": [12, 43, 0], "columns": [1, 4, 2]},
        {"categories": [60, 3, -8], "columns": [1, 4, 2]},
        {"categories": [12, 3, 40], "columns": [1, 4, 6]},
        {"categories": [12, 3, 40], "columns": [1, 4, -1]},
        {"categories": [12, 3, 40], "columns": [1, 1, 4]},
        {"categories": [12, 43], "columns": [1, 4]},
        {"categories": [12, 3, 40], "columns": [1, 4]},
        {"categories": [], "columns": []},
        {"categories": [12, 3, 40]},
    ],
    ids=str,
)
def test_the_core_refuses_columns_that_lead_out_of_bounds(lists: dict[str, list[int]]) -> None:
    net = dr.Network(STACKS["dense"], inputs=6, seed=1)
    description = native._description(compile_network(net), net)
    operations = description.operations
    operations[0].lists = lists
    description.operations = operations
    with pytest.raises(ValueError, match="native core"):
        native.core().Executor(description, bits=32, threads=1)
