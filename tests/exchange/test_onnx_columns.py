"""What columns of every kind become in an ONNX graph is what `Columns.transform` makes of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from deltarule.exchange.calendar import day_of_year
from deltarule.exchange.graph import Graph
from deltarule.exchange.preprocessing import append_columns, inputs_of, ports
from deltarule.tables.column import LIMIT, USES
from deltarule.tables.columns import Columns
from exchanged import RUNTIMES, runner
from oracles import oracle

onnx = oracle("onnx")
pd = oracle("pandas")

ROWS = 300
TASTES = ("sweet", "bitter", "smoky", "naïve", "Grün", "plain", "rich", "long", "short", "dry")


def _moments(rng: np.random.Generator) -> Any:
    minutes = rng.integers(0, 1500 * 24 * 60, ROWS)
    return pd.Timestamp("2019-02-27") + pd.to_timedelta(minutes, unit="min")


COLUMNS = {
    "price": lambda rng: [f"${v:,.2f}" for v in rng.uniform(10, 9000, ROWS)],
    "weight": lambda rng: [f"{v:.1f} kg" if v < 5 else f"{v * 1e3:.0f} g" for v in _weights(rng)],
    "sensor": lambda rng: np.where(rng.random(ROWS) < 0.1, -999.0, rng.normal(5, 1, ROWS)),
    "bought": _moments,
    "day": lambda rng: [str(day.date()) for day in _moments(rng)],
    "opens": lambda rng: [f"{m // 60:02d}:{m % 60:02d}" for m in rng.integers(0, 1440, ROWS)],
    "agreed": lambda rng: rng.choice(["yes", "no"], ROWS),
    "member": lambda rng: rng.random(ROWS) < 0.4,
    "sex": lambda rng: rng.choice(["male", "female"], ROWS),
    "size": lambda rng: rng.choice([*"SML", "XXL"], ROWS, p=[0.4, 0.3, 0.295, 0.005]),
    "maker": lambda rng: rng.choice([f"maker {i}" for i in range(90)], ROWS),
    "taste": lambda rng: [" ".join(rng.choice(TASTES, 5)).capitalize() + "." for _ in range(ROWS)],
    "screen": lambda rng: [
        f"{w}x{w * 9 // 16} {'IPS' if w > 1500 else 'touch'} panel"
        for w in rng.choice([1366, 1920, 2560, 3840], ROWS)
    ],
    "ratio": lambda rng: [f"{a} : {b}" for a, b in rng.integers(1, 20, (ROWS, 2))],
    "angle": lambda rng: [f"{a}h{b}m{c}s" for a, b, c in rng.integers(0, 24, (ROWS, 3))],
    "key": lambda rng: [f"k{i:05d}" for i in range(ROWS)],
}
"""Each is found to be of another kind, use or form."""


def _weights(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(1, 9, ROWS)


def table(seed: int = 0) -> pd.DataFrame:
    """A frame with one column of each kind, with gaps."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: make(rng) for name, make in COLUMNS.items()})
    for i, name in enumerate(frame.columns[::2]):
        frame[name] = frame[name].astype(object).where(np.arange(ROWS) % (11 + i) > 0, None)
    return frame


def later() -> pd.DataFrame:
    """Rows with what the fitted ones had not."""
    frame = table(seed=1).astype(object)
    frame.loc[0] = [
        "free", "heavy", np.inf, pd.Timestamp("1903-12-31 23:59"), "2000-02-29", "25:00", "TRUE",
        None, "none", "huge", "nobody", "sweetish bitter-sweet", "large", "1 : 2 : 3", "1h", "k",
    ]  # fmt: skip
    frame.loc[1, ["agreed", "maker", "taste"]] = ["No", "", "(dry) NAÏVE_short rich longé"]
    return frame


FITTED = Columns(codes_above=50).fit(table())


def test_the_table_has_every_use_and_what_can_go_with_it() -> None:
    assert {column.use for column in FITTED.columns} == set(USES)
    for what in ("sentinels", "units", "form", "parts", "levels", "others", "words", "inner"):
        assert any(getattr(column, what) for column in FITTED.columns), what
    assert {len(column.centres) for column in FITTED.columns if column.shape} == {1, 2}
    assert sum(column.indicator for column in FITTED.columns) >= 6


@pytest.fixture(scope="module")
def model() -> Any:
    graph = Graph(np.dtype(np.float32))
    X = append_columns(graph, FITTED)
    graph.output("X", X, np.float32, FITTED.width)
    return graph.model("", {})


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("frame", [table, later], ids=["known rows", "strange rows"])
def test_cells_become_the_same_numbers(model: Any, frame: Any, runtime: str) -> None:
    """To the rounding of float32 (numbers of size 30 at most), and of a sine of a float64."""
    onnx.checker.check_model(model, full_check=True)
    with np.errstate(all="ignore"):  # of the evaluator: infinity, and both sides of Where
        found = runner(model, runtime)(inputs_of(FITTED, frame()))["X"]
    expected = FITTED.transform(frame())
    for i, name in enumerate(FITTED.names_out):
        eps = 4 * LIMIT * np.finfo(np.float32).eps
        np.testing.assert_allclose(found[:, i], expected[:, i], rtol=0, atol=eps, err_msg=name)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_stands_for_missing_does_so_in_raw_cells_too(model: Any, runtime: str) -> None:
    cells = inputs_of(FITTED, table())
    expected = FITTED.transform(table())
    assert np.isnan(cells["sensor"]).any()
    cells["sensor"] = np.nan_to_num(cells["sensor"], nan=-999.0)
    found = runner(model, runtime)(cells)["X"]
    at = FITTED.names_out.index("sensor")
    np.testing.assert_allclose(found[:, at : at + 2], expected[:, at : at + 2], atol=1e-6)


def test_each_input_says_what_it_holds() -> None:
    found = {port.name: (port.type, port.meaning) for own in ports(FITTED) for port in own}
    assert found["weight"] == ("float64", "a number in g, NaN for missing")
    assert found["bought"] == ("float64", "days since 1970-01-01, NaN for missing")
    assert found["opens"] == ("float64", "hours since midnight, NaN for missing")
    assert found["agreed"] == ("text", "true or false, empty for missing")
    assert found["taste"] == ("text", "a text, empty for missing")
    assert found["ratio[1]"] == ("float64", "a number of the text, NaN for missing")
    assert found["screen [x 1]"][0] == "float64"
    assert "key" not in found
    json.dumps([port._asdict() for own in ports(FITTED) for port in own])


def test_inputs_that_would_have_the_same_name_are_told_apart() -> None:
    frame = table()[["ratio"]].rename(columns={"ratio": "a"})
    frame["a[1]"] = np.random.default_rng(0).normal(size=ROWS)
    columns = Columns().fit(frame)
    assert [port.name for own in ports(columns) for port in own] == ["a[1]", "a[2]", "a[1].2"]
    assert list(inputs_of(columns, frame)) == ["a[1]", "a[2]", "a[1].2"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_day_of_the_year_is_the_calendars(runtime: str) -> None:
    days = np.arange(np.datetime64("1895-01-01"), np.datetime64("2105-01-01"), 1)
    graph = Graph(np.dtype(np.float64))
    given = graph.input("days", np.float64, 1)
    graph.output("day", day_of_year(given), np.float64, 1)
    run = runner(graph.model("", {}), runtime)
    found = run({"days": days.astype(np.int64).astype(np.float64).reshape(-1, 1)})["day"]
    expected = days - days.astype("datetime64[Y]").astype("datetime64[D]")
    np.testing.assert_array_equal(found[:, 0], expected.astype(np.int64))
