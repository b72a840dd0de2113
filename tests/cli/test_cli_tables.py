"""``deltarule train``: the same bytes each time, a report that fits its window, real files."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deltarule.cli import app
from narrow_pages import faults
from oracles import oracle

oracle("pyarrow")
runner = CliRunner()

LONG = " ".join(["a question as long as surveys have them,"] * 4) + " is it not?"


def table(path: Path, rows: int = 120) -> Path:
    """Write a table with a name of 140 characters, a category of twelve levels and 40 numbers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 40)).round(3)
    level = rng.integers(0, 12, rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([LONG, *(f"x{i}" for i in range(40)), "of twelve"])
        for row, k in zip(X.tolist(), level.tolist(), strict=True):
            out.writerow([f"answer {k % 3}", row[0] + k, *row[1:], f"class number {k}"])
    return path


def train(folder: Path, *options: str) -> tuple[bytes, bytes]:
    """Train in a process of its own; return model and report."""
    command = [sys.executable, "-m", "deltarule", "train", str(folder.parent / "table.csv")]
    command += ["--target", "of twelve", "--out", str(folder), "--folds", "2", "--quiet", *options]
    folder.mkdir()
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return (folder / "model.safetensors").read_bytes(), (folder / "report.html").read_bytes()


def test_the_same_file_and_seed_give_the_same_bytes_wherever_and_on_however_many_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(tmp_path / "table.csv")
    first = train(tmp_path / "first")
    if hasattr(os, "sched_setaffinity"):
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        try:
            again = train(tmp_path / "again")
        finally:
            os.sched_setaffinity(0, cores)
    else:
        again = train(tmp_path / "again")
    assert again == first
    assert train(tmp_path / "other", "--seed", "1") != first


# --------------------------------------------------------------------------------- the report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    table(folder / "table.csv")
    arguments = ["train", str(folder / "table.csv"), "--target", "of twelve", "--folds", "2"]
    result = runner.invoke(app, [*arguments, "--out", str(folder), "--quiet"])
    assert result.exit_code == 0, result.output
    return folder / "report.html"


def test_the_report_needs_nothing_from_outside_and_knows_both_colour_schemes(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert LONG in text
    assert str(report.parent) not in text


def test_nothing_in_the_report_is_wider_than_a_telephone(report: Path) -> None:
    assert faults(report.read_text(encoding="utf-8")) == []


UNBROKEN = "a_name_without_a_place_to_break_" * 6


def test_long_labels_and_names_are_cut_in_figures_and_in_the_terminal(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([UNBROKEN, "y"])
        out.writerows((x, UNBROKEN if x > 0 else "A") for x in rng.normal(size=60).round(3))
    arguments = ["train", str(tmp_path / "table.csv"), "--target", "y", "--folds", "2"]
    result = runner.invoke(app, [*arguments, "--out", str(tmp_path), "--time-limit", "2"])
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines()[1:3])) <= 100
    assert UNBROKEN not in result.stdout
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert faults(text) == []
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", text)
    assert any("…" in label for label in drawn)
    assert max(map(len, drawn)) <= 60


BROWSER = next(
    (b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), ""
)


@pytest.mark.skipif(not BROWSER, reason="needs Chromium, which no Python package brings")
@pytest.mark.parametrize("width", [390, 1440])
def test_the_report_does_not_scroll_sideways(report: Path, width: int, tmp_path: Path) -> None:
    page = tmp_path / "page.html"  # a window is never narrower than 500, a frame is
    page.write_text(
        f'<iframe id="f" src="report.html" style="border:0;width:{width}px;height:900px"></iframe>'
        '<script>onload = () => { const d = document.getElementById("f").contentDocument;'
        "document.title = d.documentElement.scrollWidth + ' ' + d.documentElement.clientWidth; }"
        "</script>",
        encoding="utf-8",
    )
    shutil.copy(report, tmp_path / "report.html")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--allow-file-access-from-files", f"--user-data-dir={tmp_path}/profile",
         "--window-size=1600,1000", "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        check=True, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    found = re.search(r"<title>(\d+) (\d+)</title>", done.stdout)
    assert found, done.stdout[:500]
    needed, has = map(int, found.groups())
    assert width - 20 <= has <= width  # a scroll bar may take some
    assert needed <= has


# --------------------------------------------------------------------------------- real files

CASES = Path(os.environ.get("DELTARULE_CASES", ""))

# rows with a target, lines that have none, the least score, columns that are warned of
REAL = {
    "titanic3.csv": (1309, 0, 0.95, {"boat", "body"}),
    "adult.data": (3000, 0, 0.82, set()),
    "algerian_forest_fires.csv": (244, 3, 0.94, set()),
    "AirQualityUCI.csv": (2525, 475, 0.95, set()),
    "laptops.csv": (1303, 0, 0.80, set()),
    "cars1.csv": (198, 0, 0.78, set()),
    "timesData.csv": (1201, 1402, 0.98, {"rank"}),
    "chipotle.tsv": (4622, 0, 0.93, set()),
    "ames_train.csv.gz": (1460, 0, 0.78, set()),
    "coffee_classification.csv": (55, 0, 0.85, set()),
    "thanksgiving-2015-poll-data.csv": (1058, 0, 0.98, set()),
    "HR_attrition.csv": (1470, 0, 0.85, set()),
    "exoplanets_2019.csv": (1052, 0, 0.96, set()),
    "nasdaqlisted.txt": (3087, 7, 0.97, set()),
    "castle-solutions.csv": (1349, 0, 0.80, set()),
    "bank-additional.csv": (2834, 0, 0.89, {"duration"}),
}  # fmt: skip


@pytest.mark.skipif(
    not (CASES / "cases.tsv").is_file(),
    reason="DELTARULE_CASES names no folder of real files; they have no licence to be copied here",
)
@pytest.mark.parametrize("name", REAL)
def test_a_real_file_needs_nothing_but_the_name_of_its_target(name: str, tmp_path: Path) -> None:
    lines = (CASES / "cases.tsv").read_text(encoding="utf-8").splitlines()
    target = next(line.split("\t")[1] for line in lines if line.startswith(f"{name}\t"))
    arguments = ["train", str(CASES / name), "--target", target, "--out", str(tmp_path), "--json"]
    result = runner.invoke(app, [*arguments, "--no-report"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    rows, dropped, score, warned = REAL[name]
    assert (found["rows"], found["rows_dropped"]) == (rows, dropped)
    assert found["score"] >= score
    assert warned <= {column for advice in found["advice"] for column in advice["columns"]}
