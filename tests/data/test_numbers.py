"""Arrays, tensors, columns and frames as people have them become numbers, or one clear error."""

from __future__ import annotations

import datetime
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import deltarule as dr
from deltarule.data import numeric
from oracles import oracle

TABLE = np.arange(6.0).reshape(3, 2)
NAN = float("nan")


class Exports:
    """An object that has nothing but DLPack."""

    def __dlpack__(self, **settings: Any) -> Any:
        return TABLE.__dlpack__(**settings)

    def __dlpack_device__(self) -> Any:
        return TABLE.__dlpack_device__()


class Refuses:
    """An object whose conversion fails in a way of its own."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise RuntimeError("ask for .get()")


PANDAS_COLUMNS = {
    "bool": ([True, False, True], [1, 0, 1]),
    "Int64": (pd.array([1, None, 3], dtype="Int64"), [1, NAN, 3]),
    "boolean": (pd.array([True, None, False], dtype="boolean"), [1, NAN, 0]),
    "Float32": (pd.array([1.5, None, 2], dtype="Float32"), [1.5, NAN, 2]),
    "sparse": (pd.arrays.SparseArray([0.0, 0.0, 1.0]), [0, 0, 1]),
    "categories of numbers": (pd.Categorical([10, 20, None]), [10, 20, NAN]),
    "objects": (np.array([1, 2.5, True], object), [1, 2.5, 1]),
    "missing objects": (np.array([1, None, pd.NA], object), [1, NAN, NAN]),
    "Decimal": ([Decimal("1.5")] * 3, [1.5] * 3),
    "Fraction": ([Fraction(1, 2)] * 3, [0.5] * 3),
    "big-endian": (np.array([1, 2, 3], ">i4"), [1, 2, 3]),
}


@pytest.mark.parametrize(("column", "numbers"), PANDAS_COLUMNS.values(), ids=PANDAS_COLUMNS)
def test_a_pandas_column_is_the_numbers_that_it_shows(column: Any, numbers: list[float]) -> None:
    frame = pd.DataFrame({"a": [7.0, 8.0, 9.0], "b": column}, index=["x", "x", 9])
    np.testing.assert_array_equal(numeric(frame, "X"), np.column_stack([[7, 8, 9], numbers]))
    np.testing.assert_array_equal(numeric(frame["b"], "y"), numbers)


POLARS_COLUMNS = {
    "bool": (pl.Series([True, False, True]), [1, 0, 1]),
    "bool with nulls": (pl.Series([True, None, False]), [1, NAN, 0]),
    "integers with nulls": (pl.Series([1, None, 3]), [1, NAN, 3]),
    "Decimal": (pl.Series([Decimal("1.5")] * 3), [1.5] * 3),
    "nulls": (pl.Series([None] * 3), [NAN] * 3),
    "objects": (pl.Series([1, 2.5, Decimal(2)], dtype=pl.Object), [1, 2.5, 2]),
}


@pytest.mark.parametrize(("column", "numbers"), POLARS_COLUMNS.values(), ids=POLARS_COLUMNS)
def test_a_polars_column_is_the_numbers_that_it_shows(column: Any, numbers: list[float]) -> None:
    frame = pl.DataFrame({"a": [7.0, 8.0, 9.0], "b": column})
    np.testing.assert_array_equal(numeric(frame, "X"), np.column_stack([[7, 8, 9], numbers]))
    np.testing.assert_array_equal(numeric(frame["b"], "y"), numbers)


NO_NUMBERS = {
    "text": (pd.DataFrame, list("abc"), "row 0, column 'b' has 'a'"),
    "text among numbers": (pd.DataFrame, np.array([1, "x", 2], object), "row 1, column 'b' has"),
    "numbers as text": (pd.DataFrame, ["1", "2", "3"], "row 0, column 'b' has '1'"),
    "categories": (pd.DataFrame, pd.Categorical(list("aba")), r"'b' has the categories.*cat.codes"),
    "dates": (pd.DataFrame, pd.date_range("2020", periods=3), "column 'b' has dtype datetime"),
    "time zones": (
        pd.DataFrame,
        pd.date_range("2020", periods=3, tz="UTC"),
        "'b' has dtype datetime.*days since",
    ),
    "time spans": (pd.DataFrame, pd.to_timedelta([1, 2, 3], unit="D"), "'b' has dtype timedelta"),
    "complex": (pd.DataFrame, [1j, 2, 3], "'b' has dtype complex128; pass real and imaginary"),
    "lists": (pd.DataFrame, [[1], [2], [3]], r"column 'b' has \[1\]"),
    "text in polars": (pl.DataFrame, list("abc"), "row 0, column 'b' has 'a'"),
    "dates in polars": (pl.DataFrame, [datetime.date(2020, 1, 1)] * 3, "'b' has dtype Date; turn"),
    "categories in polars": (
        pl.DataFrame,
        pl.Series(list("aba"), dtype=pl.Categorical),
        "'b' has dtype Categorical",
    ),
    "lists in polars": (pl.DataFrame, [[1], [2], [3]], "'b' has dtype List"),
}


@pytest.mark.parametrize(("make", "column", "message"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_column_that_holds_no_numbers_is_named(make: Any, column: Any, message: str) -> None:
    net = dr.Network([dr.Dense(1)], inputs=2)
    with pytest.raises(TypeError, match=message) as caught:
        net.predict(make({"a": [7.0, 8.0, 9.0], "b": column}))
    assert isinstance(caught.value, dr.DeltaruleError)


def test_columns_of_one_name_are_told_apart_by_their_place() -> None:
    frame = pd.DataFrame([[1.0, True], [2.0, False]], columns=["a", "a"])
    np.testing.assert_array_equal(numeric(frame, "X"), [[1, 1], [2, 0]])


def test_a_frame_of_one_dtype_is_not_copied() -> None:
    frame = pd.DataFrame(TABLE)
    assert np.shares_memory(numeric(frame, "X"), frame.to_numpy())


def mixed_frame(library: str, kind: str, rows: int) -> Any:
    """A frame of floats but for one column of a kind, half of which is missing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
    frame["b"] = (frame["b"] > 0).astype(kind)
    if library == "pandas":
        return frame if kind == "bool" else frame.assign(b=frame["b"].where(frame["a"] > 0))
    data = pl.DataFrame({name: frame[name].to_numpy() for name in frame})
    return data.with_columns(pl.when(pl.col("a") > 0).then(pl.col("b")))


def calls_made(data: Any) -> int:
    """Count the calls, of Python and of C, that turn data into numbers."""
    made = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal made
        made += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        numeric(data, "X")
    finally:
        sys.setprofile(before)
    return made


@pytest.mark.parametrize("kind", ["bool", "boolean", "Int64", "Float64", "category"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_several_dtypes_takes_no_call_for_each_cell(library: str, kind: str) -> None:
    few, many = (mixed_frame(library, kind, rows) for rows in (100, 3000))
    numeric(few, "X")  # what is imported and made once
    assert calls_made(many) < calls_made(few) + 100


TABLES = {
    "Fortran order": np.asfortranarray(TABLE),
    "negative strides": TABLE[::-1, ::-1][::-1, ::-1],
    "big-endian": TABLE.astype(">f8"),
    "float16": TABLE.astype(np.float16),
    "longdouble": TABLE.astype(np.longdouble),
    "nothing masked": np.ma.array(TABLE),
    "a matrix": TABLE.view(np.matrix),
    "nested lists": TABLE.tolist(),
    "rows in a list": list(TABLE),
    "tuples": tuple(map(tuple, TABLE)),
    "objects": TABLE.astype(object),
    "a memory view": memoryview(TABLE),
    "columns of a list": [pd.Series(row, index=[5, "z"]) for row in TABLE],
    "columns of polars in a list": [pl.Series(row) for row in TABLE],
    "DLPack": Exports(),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_table_in_any_form_gives_the_same_prediction(table: Any, engine: str) -> None:
    net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(2)], inputs=2, seed=0)
    expected = net.predict(TABLE.astype(np.float32), engine=engine)
    np.testing.assert_array_equal(net.predict(table, engine=engine), expected)


def test_a_read_only_table_trains() -> None:
    table = TABLE.copy()
    table.flags.writeable = False
    net, twin = (dr.Network([dr.Dense(1)], inputs=2, seed=0) for _ in range(2))
    dr.train(net, table, table[:, 0], loss="squared_error", epochs=2)
    dr.train(twin, TABLE, TABLE[:, 0], loss="squared_error", epochs=2)
    np.testing.assert_array_equal(net.vector, twin.vector)


def test_tensors_are_brought_over() -> None:
    torch = oracle("torch")
    tensor = torch.arange(6.0).reshape(3, 2)
    forms = {
        "requires a gradient": tensor.clone().requires_grad_(),
        "bfloat16": tensor.bfloat16(),
        "bfloat16 with a gradient": tensor.bfloat16().requires_grad_(),
        "float16": tensor.half(),
        "transposed": tensor.T.contiguous().T,
        "a parameter": torch.nn.Parameter(tensor),
        "negative bit": torch.complex(tensor, -tensor).conj().imag,
        "rows in a list": list(tensor.clone().requires_grad_()),
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(numeric(form, "X"), TABLE, err_msg=name)
    assert np.shares_memory(numeric(tensor, "X"), tensor.numpy())
    with pytest.raises(TypeError, match=r"to_dense\(\)"):
        numeric(torch.eye(2).to_sparse(), "X")
    with pytest.raises(TypeError, match="no data"):
        numeric(torch.ones(2, 2, device="meta"), "X")


NO_TABLES = {
    "text": ("ab", TypeError, "an array, a nested list or a data frame, got 'ab'"),
    "bytes": (b"ab", TypeError, "got b'ab'"),
    "a generator": ((row for row in TABLE), TypeError, r"got generator; pass list\(X\)"),
    "a map": (map(list, TABLE), TypeError, r"got map; pass list\(X\)"),
    "a dictionary": ({"a": [1, 2]}, TypeError, "got dict; a frame of it"),
    "a lazy frame": (pl.DataFrame(TABLE).lazy(), TypeError, r"LazyFrame; pass X.collect\(\)"),
    "an object": (object(), TypeError, "got object"),
    "masked": (np.ma.masked_less(TABLE, 2), ValueError, "fill or drop the masked values"),
    "records": (np.zeros(3, [("a", "f4")]), TypeError, "structured_to_unstructured"),
    "complex": (TABLE * 1j, TypeError, "complex128; pass real and imaginary"),
    "text in lists": ([["1", "2"]], TypeError, "got dtype <U1; encode text"),
    "raw bytes": (np.zeros(3, "V8"), TypeError, r"dtype \|V8"),
    "arrays in an array": (np.array([np.ones(2), np.ones(3)], object), TypeError, "row 0 has arr"),
    "what refuses": (Refuses(), TypeError, r"RuntimeError: ask for .get\(\)"),
    "of many rows": ([[1, 2], [3]], ValueError, "cannot be made into an array"),
}


@pytest.mark.parametrize(("data", "kind", "message"), NO_TABLES.values(), ids=NO_TABLES)
def test_what_is_no_table_gets_one_clear_error(data: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        numeric(data, "X")
    assert isinstance(caught.value, dr.DeltaruleError)


@pytest.mark.parametrize("single", [[0.0, 1.0], (0, 1), np.array([0.0, 1.0]), pd.Series([0, 1])])
def test_prediction_and_backpropagation_take_a_single_example(single: Any) -> None:
    net = dr.Network([dr.Dense(3, "tanh"), dr.Dense(1)], inputs=2, seed=0)
    prediction = net.predict(single)
    np.testing.assert_array_equal(prediction, net.predict([[0.0, 1.0]]))
    trace = dr.backpropagate(net, single, 1.0, "squared_error")
    np.testing.assert_array_equal(trace.inputs, [[0, 1]])
    assert prediction.shape == (1, 1)


@pytest.mark.parametrize(
    ("data", "inputs", "way"),
    [
        ([0.0, 1.0], 2, "[X]"),
        (np.array([0.0, 1.0]), 2, "X[None, :]"),
        (pd.Series([0.0, 1.0]), 2, "X.to_frame().T"),
        ([0.0, 1.0], 1, "[[x] for x in X]"),
        (np.array([0.0, 1.0]), 1, "X[:, None]"),
        (pd.Series([0.0, 1.0]), 1, "X.to_frame()"),
    ],
)
def test_the_advice_for_a_vector_works_as_it_is_typed(data: Any, inputs: int, way: str) -> None:
    net = dr.Network([dr.Dense(1)], inputs=inputs)
    n = 1 if inputs == 2 else 2
    with pytest.raises(ValueError, match="; for a single") as caught:
        dr.evaluate(net, data, [0.0] * n, "squared_error")
    assert str(caught.value).endswith(f"pass {way}")
    dr.evaluate(net, eval(way, {"X": data}), [0.0] * n, "squared_error")
