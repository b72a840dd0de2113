"""Files that cannot be used: one line that says what and where, exit status 2, nothing written."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deltarule.cli import app
from deltarule.network.model_file import load_networks, save_networks
from oracles import oracle

oracle("pyarrow")
runner = CliRunner()

ROWS = "".join(f"{i * 7 % 23},{'ab'[i % 2]},{'yn'[i % 2]}\n" for i in range(40))
GOOD = "size,colour,kind\n" + ROWS


def zipped(names: list[str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, GOOD)
    return packed.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "blank lines alone": (b"\n\n\n", "empty|no rows|nothing"),
    "zero rows": (b"size,colour,kind\n", "no rows|header"),
    "binary rubbish": (np.random.default_rng(0).bytes(5000), "not|binary"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(200), "PNG|image|picture|binary|not"),
    "NUL bytes in text": (GOOD.encode().replace(b"a,", b"a\0,"), "byte 0"),
    "a spreadsheet": (zipped(["[Content_Types].xml", "xl/workbook.xml"]), "Excel|spreadsheet|CSV"),
    "an archive of two files": (zipped(["a.csv", "b.csv"]), "two|2|several|one"),
    "a web page": (b"<!DOCTYPE html><html><body>404</body></html>", "HTML|web page"),
    "JSON": (b'[{"size": 1, "kind": "y"}]', "JSON"),
    "cut inside a quoted field": (GOOD.encode() + b'7,"a wide', "quote|never closed|cut"),
    "cut inside a compressed stream": (gzip.compress(ROWS.encode() * 50)[:-20], "is cut"),
    "a damaged compressed stream": (b"\x1f\x8b\x08\x00" + bytes(60), "gz|compress|damaged"),
    "a cut Parquet file": (b"PAR1" + bytes(100), "Parquet"),
    "a cut Arrow file": (b"ARROW1\0\0" + bytes(100), "Arrow"),
    "the target is absent": (GOOD.replace("kind", "sort").encode(), "'kind'.*'sort'|no column"),
    "one class only": (GOOD.replace(",n\n", ",y\n").encode(), "at least two classes"),
    "no row has a target": (re.sub(",[yn]\n", ",\n", GOOD).encode(), "target|kind"),
    "the target alone": (("kind\n" + "y\nn\n" * 20).encode(), "column"),
    "nothing to learn from": (("size,kind\n" + "1,y\n1,n\n" * 20).encode(), "column|constant"),
    "one row": (b"size,colour,kind\n1,a,y\n", "row|class"),
}  # fmt: skip


def failed(*arguments: object) -> str:
    """Run a command that cannot work; return its one line."""
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert not result.stdout
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("deltarule: ")
    assert len(lines[0]) < 500
    return lines[0]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    content, says = FILES[name]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    line = failed("train", path, "--target", "kind", "--out", tmp_path / "out")
    assert_says(line, says)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.csv"]


def assert_says(line: str, says: str) -> None:
    assert re.search(says, line), line


def test_a_folder_and_what_is_not_there(tmp_path: Path) -> None:
    assert "folder" in failed("train", tmp_path, "--target", "kind")
    (tmp_path / "table.csv").write_text(GOOD)
    line = failed("train", tmp_path / "tabel.csv", "--target", "kind")
    assert "there is no file" in line
    assert "did you mean table.csv" in line


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    path.write_text(GOOD)
    path.chmod(0)
    opened = Path.open

    def refuse(self: Path, *arguments: object, **settings: object) -> object:
        if self == path:  # who is root may read everything
            raise PermissionError(13, "Permission denied", str(path))
        return opened(self, *arguments, **settings)

    monkeypatch.setattr(Path, "open", refuse)
    line = failed("train", path, "--target", "kind", "--out", tmp_path / "out")
    assert "table.csv" in line
    assert "ermission" in line


OPTIONS: dict[str, tuple[list[str], str]] = {
    "a target that is nearly spelt": (["--target", "knid"], "did you mean 'kind'"),
    "an encoding that there is not": (["--target", "kind", "--encoding", "utf-99"], "utf-99"),
    "a kind that there is not": (["--target", "kind", "--kind", "size=colour"], "kind"),
    "a kind of no column": (["--target", "kind", "--kind", "weight=number"], "weight"),
    "a kind without a column": (["--target", "kind", "--kind", "number"], "COLUMN=KIND|="),
    "the target dropped": (["--target", "kind", "--drop", "kind"], "target"),
    "all columns dropped": (["--target", "kind", "--drop", "size", "--drop", "colour"], "left out"),
    "a share of everything": (["--target", "kind", "--holdout", "1.5"], "holdout"),
    "both ways to judge": (["--target", "kind", "--folds", "3", "--holdout", "0.3"], "both"),
    "a decimal mark that is none": (["--target", "kind", "--decimal", "!"], "decimal"),
    "a separator that there is not": (["--target", "kind", "--separator", "<>"], "no column"),
    "more lines to skip than there are": (["--target", "kind", "--skip", "1000"], "row|skip|empty"),
    "a regression of words": (["--target", "kind", "--task", "regression"], "number|regression"),
    "a time limit of nothing": (["--target", "kind", "--time-limit", "0"], "time"),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_cannot_be_met(name: str, tmp_path: Path) -> None:
    options, says = OPTIONS[name]
    (tmp_path / "table.csv").write_text(GOOD)
    assert_says(failed("train", tmp_path / "table.csv", *options, "--out", tmp_path / "out"), says)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.csv"]


@pytest.mark.parametrize("there", ["model.safetensors", "report.html"])
def test_what_is_there_is_not_overwritten_unasked(there: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(GOOD)
    (tmp_path / there).write_text("mine")
    line = failed("train", tmp_path / "table.csv", "--target", "kind", "--out", tmp_path)
    assert "--force" in line
    assert (tmp_path / there).read_text() == "mine"


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(GOOD)
    (tmp_path / "out").write_text("mine")
    assert "folder" in failed(
        "train", tmp_path / "table.csv", "--target", "kind", "--out", tmp_path / "out"
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "table.csv").write_text(GOOD)
    result = runner.invoke(
        app,
        ["train", str(folder / "table.csv"), "--target", "kind", "--out", str(folder),
         "--folds", "2", "--no-report", "--quiet"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder / "model.safetensors"


def rewritten(model: Path, change: Callable[[dict], object]) -> bytes:
    networks, about, _ = load_networks(model)
    change(about)
    file = io.BytesIO()
    save_networks(networks, file, about)
    return file.getvalue()


STRANGE: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda path: b"",
    "cut": lambda path: path.read_bytes()[:-10],
    "cut in the header": lambda path: path.read_bytes()[:300],
    "a header as long as the sea": lambda path: b"\xff" * 8 + path.read_bytes()[8:],
    "a table": lambda path: GOOD.encode(),
    "a network alone": lambda path: rewritten(path, dict.clear),
    "without columns": lambda path: rewritten(path, lambda about: about.pop("columns")),
    "without target": lambda path: rewritten(path, lambda about: about.pop("target")),
    "no column": lambda path: rewritten(path, lambda about: about["columns"]["columns"].clear()),
    "a column less": lambda path: rewritten(path, lambda about: about["columns"]["columns"].pop()),
    "columns of another shape": lambda path: rewritten(
        path, lambda about: about.update(columns=[1, 2])
    ),
    "a kind that there is not": lambda path: rewritten(
        path, lambda about: about["columns"]["columns"][0].update(kind="os.system")
    ),
    "a use that there is not": lambda path: rewritten(
        path, lambda about: about["columns"]["columns"][0].update(use="eval")
    ),
    "a third class": lambda path: rewritten(
        path, lambda about: about["target"]["classes"].append("?")
    ),
    "a task that there is not": lambda path: rewritten(
        path, lambda about: about["target"].update(task="war")
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_model_of_a_stranger(name: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(GOOD)
    (tmp_path / "strange.safetensors").write_bytes(STRANGE[name](model))
    out = tmp_path / "out.csv"
    line = failed("predict", tmp_path / "strange.safetensors", tmp_path / "table.csv", "--out", out)
    assert "strange.safetensors" in line
    assert not out.exists()


PREDICTED: dict[str, tuple[str, list[str], str]] = {
    "a column is missing": (GOOD.replace("size", "length"), [], "'size'.*'length'"),
    "no rows": ("size,colour\n", [], "no rows|header|empty"),
    "a key that there is not": (GOOD, ["--keep", "key"], "key"),
    "ends inside a quoted field": (GOOD + '7,"a wide', [], "quote|never closed|cut"),
}


@pytest.mark.parametrize("name", PREDICTED)
def test_rows_that_cannot_be_predicted(name: str, model: Path, tmp_path: Path) -> None:
    content, options, says = PREDICTED[name]
    (tmp_path / "new.csv").write_text(content)
    out = tmp_path / "out.csv"
    assert_says(failed("predict", model, tmp_path / "new.csv", "--out", out, *options), says)
    assert not out.exists()


def test_predictions_are_not_overwritten_unasked(model: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(GOOD)
    (tmp_path / "out.csv").write_text("mine")
    line = failed("predict", model, tmp_path / "new.csv", "--out", tmp_path / "out.csv")
    assert "--force" in line
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_ten_thousand_columns_are_read(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(10_000))
    rng = np.random.default_rng(0)
    with (tmp_path / "wide.csv").open("w") as file:
        file.write(names + ",kind\n")
        for i in range(20):
            cells = rng.integers(0, 9, 10_000)
            file.write(",".join(map(str, cells)) + f",{'yn'[i % 2]}\n")
    line = failed("train", tmp_path / "wide.csv", "--target", "kin", "--out", tmp_path / "out")
    assert "did you mean 'kind'" in line
