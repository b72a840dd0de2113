"""Columns that ``predict --keep`` copies: as the file spells them, whatever the blocks hold."""

import csv
from functools import partial

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from deltarule.cli import app
from deltarule.tables import reading
from oracles import oracle

oracle("pyarrow")
runner = CliRunner()

ROWS = 60


def table(path, keys, separator=",", mark="."):
    """Write keys, a number and twice the number."""
    lines = [separator.join(["key", "x", "y"])]
    for i, key in enumerate(keys):
        numbers = [f"{(i % 7) * factor / 4:.2f}".replace(".", mark) for factor in (1, 2)]
        lines.append(separator.join([str(key), *numbers]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of a file whose keys are whole numbers."""
    folder = tmp_path_factory.mktemp("keep")
    path = table(folder / "old.csv", range(100, 100 + ROWS))
    arguments = ["train", path, "--target", "y", "--drop", "key", "--folds", 2, "--out", folder]
    result = runner.invoke(app, [*map(str, arguments), "--no-report", "--quiet"])
    assert result.exit_code == 0, result.output
    return folder / "model.safetensors"


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(reading, "read_blocks", partial(reading.read_blocks, block_bytes=100))


def halves(first, second):
    """Keys that are of one form in the first blocks and of another later."""
    return [*map(first, range(ROWS // 2)), *map(second, range(ROWS // 2, ROWS))]


LATER = {
    "text": (halves(str, "A{}".format), "string"),
    "zeros in front": (halves(str, "00{}".format), "string"),
    "more digits than a number has": (halves(str, "1000000000000000000{}".format), "string"),
    "fractions": (halves(str, "{}.5".format), "double"),
    "whole numbers": (halves("".format, str), "int64"),
    "text after nothing": (halves("".format, "A{}".format), "string"),
    "dates": (halves("2020-01-{:02}".format, "2020-01-{} 10:30".format), "string"),
    "a word after dates": (halves("2020-01-{:02}".format, "never".format), "string"),
    "nothing": (halves("".format, "".format), "string"),
    "whole numbers all along": (halves(str, str), "int64"),
}


def kept(model, path, out):
    arguments = ["predict", model, path, "--keep", "Key", "--out", out, "--force"]
    result = runner.invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    if out.suffix == ".parquet":
        column = parquet.read_table(out).column("key")
        return column.to_pylist(), str(column.type)
    with out.open(newline="", encoding="utf-8") as file:
        return [row[0] for row in csv.reader(file)][1:], None


@pytest.mark.parametrize("name", LATER)
def test_a_key_may_change_its_form_in_a_later_block(model, name, tmp_path, small_blocks):
    keys, kind = LATER[name]
    path = table(tmp_path / "new.csv", keys)
    assert kept(model, path, tmp_path / "out.csv") == (list(map(str, keys)), None)
    spelt = {
        "string": lambda key: key or None,
        "double": float,
        "int64": lambda key: int(key) if key else None,
    }
    expected = [spelt[kind](key) for key in keys]
    assert kept(model, path, tmp_path / "out.parquet") == (expected, kind)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.csv", "out.csv", "out.parquet"]


def test_a_kept_column_with_decimal_commas_is_numbers_in_parquet(model, tmp_path, small_blocks):
    path = table(tmp_path / "new.csv", halves("{},5".format, "{},25".format), ";", ",")
    keys, kind = kept(model, path, tmp_path / "out.parquet")
    assert (kind, keys[0], keys[-1]) == ("double", 0.5, ROWS - 1 + 0.25)


def test_text_is_quoted_only_where_it_must_be(model, tmp_path, small_blocks):
    keys = halves("a{}".format, '"say ""{}"", please"'.format)
    path = table(tmp_path / "new.csv", keys)
    assert kept(model, path, tmp_path / "out.csv")[0][-1] == f'say "{ROWS - 1}", please'
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[1].startswith("a0,")


def test_a_type_that_the_file_itself_states_is_kept(model, tmp_path):
    path = tmp_path / "new.parquet"
    none = pa.array([None] * ROWS, pa.int64())
    parquet.write_table(pa.table({"key": none, "x": [0.5] * ROWS}), path)
    assert kept(model, path, tmp_path / "out.parquet") == ([None] * ROWS, "int64")
