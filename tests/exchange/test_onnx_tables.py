"""Models of tables exported to ONNX: raw cells in, what `predict` says out."""

from __future__ import annotations

import json

import numpy as np
import pytest

import deltarule as dr
from deltarule.exchange import onnx_inputs, to_onnx
from deltarule.tables.columns import Columns
from deltarule.tables.model import TableModel
from deltarule.tables.target import Target
from exchanged import RUNTIMES, runner
from oracles import oracle

onnx = oracle("onnx")
pd = oracle("pandas")

ROWS = 60


def passengers(seed: int = 0) -> pd.DataFrame:
    """Rows of mixed columns with gaps, and texts beyond ASCII."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(1, 80, ROWS).round(1),
            "fare": np.exp(rng.normal(3, 1, ROWS)),
            "port": rng.choice(["Southampton", "Cherbourg", "Cóbh"], ROWS, p=[0.6, 0.25, 0.15]),
            "sex": rng.choice(["male", "female"], ROWS),
            "class": rng.integers(1, 4, ROWS),
            "alone": rng.random(ROWS) > 0.5,
            "deck": rng.choice(list("ABCDEFG"), ROWS, p=[0.4, 0.3, 0.2, 0.03, 0.03, 0.02, 0.02]),
            "always": 1.0,
        }
    )
    frame.loc[::9, "age"] = np.nan
    frame.loc[::7, ["port", "deck"]] = None
    frame.loc[::11, "sex"] = None
    return frame


def strange() -> pd.DataFrame:
    """Later rows with what the fitted ones had not."""
    frame = passengers(seed=1)
    frame.loc[0, "port"] = "Belfast"
    frame.loc[1, "sex"] = "unknown"
    frame.loc[2, "fare"] = np.inf
    frame.loc[3, "fare"] = -1e300
    frame.loc[4, "fare"] = np.nan
    frame.loc[5, "class"] = 9
    return frame


LABELS = np.where(np.arange(ROWS) % 3 == 0, "yes", "no")
TARGETS = {
    "text": LABELS,
    "whole numbers": np.arange(ROWS) % 3 + 5,
    "booleans": LABELS == "yes",
    "numbers": np.where(LABELS == "yes", 0.5, 1.5),
    "values": np.linspace(1000, 5000, ROWS),
    "several values": np.linspace([0, 5], [1000, 6], ROWS),
}


def model(target: str, networks: int = 1, dtype: str = "float32") -> TableModel:
    """A model with random networks: what it says depends on every column."""
    columns = Columns().fit(passengers())
    classify = target not in ("values", "several values")
    fitted = Target.fit(TARGETS[target], "classification" if classify else "regression")
    outputs = len(fitted.classes) if classify else len(fitted.scale)
    layers = [dr.Dense(9, "silu"), dr.Dense(outputs, "softmax" if classify else "identity")]
    return TableModel(
        columns,
        fitted,
        [dr.Network(layers, columns.width, seed=s, dtype=dtype) for s in range(networks)],
    )


def assert_same(found: dict[str, np.ndarray], expected: TableModel, frame: pd.DataFrame) -> None:
    """Numbers are off by 64 eps of float32: sums of up to 17 products, each rounded twice."""
    eps = 64 * np.finfo(np.float32).eps
    if expected.target.classes is None:
        values = expected.predict(frame)
        assert found["value"].shape == values.shape
        size = np.abs(expected.target.scale).max()
        np.testing.assert_allclose(found["value"], values, rtol=eps, atol=eps * size)
        return
    probabilities = expected.probabilities(frame)
    np.testing.assert_allclose(found["probabilities"], probabilities, rtol=0, atol=eps)
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-14)
    best, second = np.sort(probabilities)[:, ::-1].T[:2]
    clear = best - second > 2 * eps
    assert clear.sum() >= ROWS - 2
    labels = expected.predict(frame)
    assert found["label"].dtype == labels.dtype
    np.testing.assert_array_equal(found["label"][clear], labels[clear])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_values_stay_within_the_bounds_of_the_target(runtime: str) -> None:
    fitted = model("several values")
    values = fitted.predict(passengers())
    fitted.target.bounds = np.quantile(values, [0.25, 0.75], axis=0)
    found = runner(to_onnx(fitted), runtime)(onnx_inputs(fitted, passengers()))["value"]
    assert_same({"value": found}, fitted, passengers())
    assert (np.sort(found, axis=0)[[0, -1]] == fitted.target.bounds).all()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_model_says_what_predict_says_of_known_and_of_strange_rows(
    target: str, runtime: str
) -> None:
    fitted = model(target)
    exported = to_onnx(fitted)
    onnx.checker.check_model(exported, full_check=True)
    run = runner(exported, runtime)
    for frame in (passengers(), strange()):
        assert_same(run(onnx_inputs(fitted, frame)), fitted, frame)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["text", "values"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_several_networks_are_averaged(runtime: str, target: str, dtype: str) -> None:
    fitted = model(target, networks=3, dtype=dtype)
    found = runner(to_onnx(fitted), runtime)(onnx_inputs(fitted, strange()))
    assert_same(found, fitted, strange())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_category_codes_find_their_vectors(runtime: str) -> None:
    columns = Columns(codes_above=4).fit(passengers())
    positions, counts = zip(*columns.code_columns, strict=True)
    layers = [dr.Embedding(counts, 3, columns=positions), dr.Dense(2, "softmax")]
    target = Target.fit(LABELS)
    fitted = TableModel(columns, target, [dr.Network(layers, columns.width)])
    found = runner(to_onnx(fitted), runtime)(onnx_inputs(fitted, strange()))
    assert_same(found, fitted, strange())


def test_inputs_are_the_raw_cells_by_name_and_the_file_says_what_they_are() -> None:
    fitted = model("text")
    exported = to_onnx(fitted)
    kinds = {i.name: i.type.tensor_type.elem_type for i in exported.graph.input}
    number, text = onnx.TensorProto.DOUBLE, onnx.TensorProto.STRING
    assert kinds == {
        "age": number, "fare": number, "port": text, "sex": text, "class": number, "alone": text,
        "deck": text,
    }  # fmt: skip
    held = {entry.key: json.loads(entry.value) for entry in exported.metadata_props}
    assert [entry["name"] for entry in held["inputs"]] == list(kinds)
    assert held["target"]["classes"] == ["no", "yes"]
    row = {"age": np.nan, "fare": 7.25, "port": "", "sex": "male", "class": 3.0, "alone": "true"}
    row |= {"deck": "B"}
    cells = {n: np.array([[v]], object if isinstance(v, str) else float) for n, v in row.items()}
    found = runner(exported, "onnxruntime")(cells)
    frame = pd.DataFrame([row | {"port": None, "alone": True, "always": 1.0}])
    np.testing.assert_allclose(found["probabilities"], fitted.probabilities(frame), atol=1e-5)


@pytest.mark.parametrize("target", ["text", "values"])
def test_only_core_operators_of_the_stated_version_are_used(target: str) -> None:
    exported = to_onnx(model(target, networks=2))
    assert [(i.domain, i.version) for i in exported.opset_import] == [("", 19)]
    assert {node.domain for node in exported.graph.node} == {""}
    numbers = Columns().fit(passengers()[["age", "fare"]])
    target = Target.fit(TARGETS["values"])
    alone = TableModel(numbers, target, [dr.Network([dr.Dense(1)], numbers.width)])
    assert to_onnx(alone).opset_import[0].version == 13


def test_the_same_model_gives_the_same_bytes(tmp_path) -> None:
    for name in ("a.onnx", "b.onnx"):
        to_onnx(model("text", networks=2), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_columns_named_as_what_the_graph_has_do_no_harm() -> None:
    frame = pd.DataFrame(
        {"label": [1.0, 2.0, 4.0], "Gemm": [3.0, 1.0, 2.0], "0.weight": [2.0, 1.0, 0.0]}
    )
    columns = Columns().fit(frame)
    network = dr.Network([dr.Dense(2, "softmax")], columns.width)
    fitted = TableModel(columns, Target.fit(["a", "b", "a"]), [network])
    exported = to_onnx(fitted)
    onnx.checker.check_model(exported, full_check=True)
    found = runner(exported, "onnxruntime")(onnx_inputs(fitted, frame))
    np.testing.assert_allclose(found["probabilities"], fitted.probabilities(frame), atol=1e-5)
    assert [output.name for output in exported.graph.output] == ["label_2", "probabilities"]


def test_an_estimator_is_exported_as_its_model() -> None:
    from deltarule.sklearn import TabularClassifier
    from deltarule.tables.recipe import Plain

    estimator = TabularClassifier(Plain(hidden=(4,), epochs=1, networks=2))
    with pytest.raises(TypeError, match="fitted estimator"):
        to_onnx(estimator)
    estimator.fit(passengers(), LABELS)
    assert to_onnx(estimator) == to_onnx(estimator.model_)


def test_a_frame_without_a_used_column_is_refused() -> None:
    fitted = model("text")
    with pytest.raises(ValueError, match="lacks the column 'fare'"):
        onnx_inputs(fitted, passengers().drop(columns=["fare", "always"]))
    with pytest.raises(TypeError, match="onnx_inputs takes a TableModel"):
        onnx_inputs(dr.Network([dr.Dense(1)], inputs=1), passengers())
