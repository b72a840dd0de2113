"""Any frame becomes the same numbers, by name; a JSON description brings them back."""

from __future__ import annotations

import json

import numpy as np
import pytest

import deltarule as dr
from deltarule.tables.columns import Columns
from oracles import oracle

pd = oracle("pandas")
pl = oracle("polars")
pa = oracle("pyarrow")

TABLE = pd.DataFrame(
    {
        "size": [1.0, 2.0, None, 4.5],
        "colour": ["red ", "blue", None, "green"],
        "sold": [True, False, True, True],
        "count": [3, 1, 2, 2],
    }
)
FRAMES = {
    "pandas": TABLE,
    "pandas, nullable": TABLE.convert_dtypes(),
    "pandas, categorical": TABLE.astype({"colour": "category"}),
    "pandas, objects": TABLE.astype(object),
    "polars": pl.from_pandas(TABLE),
    "pyarrow": pa.Table.from_pandas(TABLE),
    "dict": TABLE.to_dict("list"),
    "list of dicts": TABLE.to_dict("records"),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_every_library_s_frame_becomes_the_same_numbers(kind: str) -> None:
    expected = Columns().fit(TABLE)
    found = Columns().fit(FRAMES[kind])
    assert found.names_out == expected.names_out
    np.testing.assert_array_equal(found.transform(FRAMES[kind]), expected.transform(TABLE))


def test_a_description_is_json_that_brings_back_the_same_numbers() -> None:
    columns = Columns().fit(TABLE)
    again = Columns.rebuild(json.loads(json.dumps(columns.describe())))
    assert again.columns == columns.columns
    assert again.transform(TABLE).tobytes() == columns.transform(TABLE).tobytes()


def test_columns_are_found_by_name() -> None:
    columns = Columns().fit(TABLE)
    other = TABLE[["count", "sold", "size", "colour"]].assign(extra=1)
    np.testing.assert_array_equal(columns.transform(other), columns.transform(TABLE))
    assert columns.check(other) == ((), ("extra",), True)


def test_an_absent_column_is_an_error_or_on_request_missing() -> None:
    columns = Columns().fit(TABLE)
    without = TABLE.drop(columns="size")
    with pytest.raises(dr.DeltaruleError, match=r"X lacks the column 'size'.*may be missing"):
        columns.transform(without)
    filled = columns.transform(without, missing="fill")
    np.testing.assert_array_equal(filled, columns.transform(TABLE.assign(size=None)))
