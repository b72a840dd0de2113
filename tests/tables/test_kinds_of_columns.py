"""What a column is follows from its cells, and can be asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import deltarule as dr
from deltarule.tables.column import Column
from deltarule.tables.columns import Columns

RNG = np.random.default_rng(0)
WORDS = ["ford", "fiat", "opel", "wagon", "diesel", "sport"]
NAMES = [f"{WORDS[i % 6]} {WORDS[i // 7 % 6]} {i}" for i in range(60)]


def column(values: Any, kind: str | None = None, name: str = "x") -> Column:
    return Columns({name: kind} if kind else None).fit({name: values}).columns[0]


KINDS: dict[str, tuple[Any, str, str]] = {
    "numbers": ([1.5, 2, 3], "number", "number"),
    "whole numbers": ([3, 1, 2] * 9, "number", "number"),
    "texts that are numbers": (["8 GB", "16 GB", "1 TB"], "number", "number"),
    "ratios": (["33 : 67", "40 : 60", "51 : 49"] * 5, "number", "number"),
    "ratios of two levels": (["1977-1989", "2000-2002"] * 9, "category", "indicator"),
    "genotypes": (["1/2", "2/2", "1/1"] * 9, "category", "one-hot"),
    "pressures": ([f"{100 + i}/{60 + i}" for i in range(30)], "number", "number"),
    "numbers among codes": (
        [str(i % 40) for i in range(99)] + ["c168", "207a"] * 3, "category", "one-hot"
    ),
    "numbers with footnotes": (["75.8[1]", "79", "51.3 [a][note 2]", "60"] * 9, "number", "number"),
    "numbers with intervals": (
        [f"{i}.5 ({i - 3}.1-{i + 4}.0)" for i in range(9, 40)], "number", "number"
    ),
    "stars": ([f"{i / 10} out of 5 stars" for i in range(10, 50)], "number", "number"),
    "ranges of money": ([f"${i}K-${i + 20}K" for i in range(40)], "number", "number"),
    "ranges of years": ([f"{i}-{i + 5} years" for i in range(40)], "number", "number"),
    "numbers of telephones": ([f"555-{1000 + i * 7}" for i in range(40)], "identifier", "left out"),
    "plus and minus": (["+", "-", "-", "+"] * 9, "category", "indicator"),
    "numbers with typeset signs": (["\u22124.18", "\u20135.5", "3"], "number", "number"),
    "numbers and a typing error": ([str(i) for i in range(50)] + ["4l"], "number", "number"),
    "names of sites of genes": ([f"rs{i * i}" for i in range(50)], "identifier", "left out"),
    "rupees": ([f"Rs {i * i}" for i in range(50)], "number", "number"),
    "0 and 1": ([0, 1, 1], "boolean", "indicator"),
    "booleans": ([True, None, False], "boolean", "indicator"),
    "yes and no": (["Yes", "no", "YES"], "boolean", "indicator"),
    "Y and N": (["Y", "N", ""], "boolean", "indicator"),
    "two texts": (["m", "f", "f"], "category", "indicator"),
    "texts": (["red", "green", "blue"] * 3, "category", "one-hot"),
    "comparisons": (["<=50K", ">50K", "<=50K"], "category", "indicator"),
    "ranges": (["18 - 29", "30 - 44", "45 - 59", "60+"] * 4, "category", "one-hot"),
    "digits with leading zeros": (["02134", "10001", "94105"] * 4, "category", "one-hot"),
    "a box that may be ticked": (["Apple", None, None], "category", "one-hot"),
    "names of many words": (NAMES, "text", "words"),
    "names of one word": ([f"A{i}x{i * 7}" for i in range(60)], "identifier", "left out"),
    "dates": (["2020-01-05", "2021-12-31"], "date", "date parts"),
    "dates of the frame's own": (np.array(["2020-01-05", "2021-12-31"], "M8[D]"), "date",
                                 "date parts"),
    "months": (["Jan-20", "Feb-21", "Mar-19"], "date", "date parts"),
    "months, the year last": (["1/2020", "11/2021"], "date", "date parts"),
    "months, as some programs write them": (["1960m1", "1960M11"], "date", "date parts"),
    "months behind a colon": (["1950:1", "1950:12", "1951:02"], "date", "date parts"),
    "quarters": (["1960q1", "1960q4", "1961q2"], "date", "date parts"),
    "months of other languages": (["3. März 2019", "14 décembre 2020", "1 de mayo de 2021"], "date",
                                  "date parts"),
    "weeks": (["2019-W03", "2020-W53", "2020W01"], "date", "date parts"),
    "the year behind the time": (["Mon Jan 21 12:43:23 2019", "Thu Jun 25 14:58:08 2020"], "date",
                                 "date parts"),
    "dates of a server": (["21/Jan/2019:12:43:23 +0000", "25/Jun/2020:14:58:08 +0000"], "date",
                                "date parts"),
    "the year first, a named month": (["2019-Jan-21", "2020-Jun-25"], "date", "date parts"),
    "dates in Chinese": (["2019\u5e7401\u670821\u65e5", "2020\u5e7406\u670825\u65e5"], "date",
                         "date parts"),
    "a named month first": (["Jan-1-1995", "Feb-15-1996"], "date", "date parts"),
    "seasons": (["1920-21", "1999-00", "2005/06"], "date", "date parts"),
    "times": (["18.00.00", "19.30.00"], "date", "date parts"),
    "yyyymmdd": ([20200105, 20211231, 20210630], "date", "date parts"),
    "one text": (["Y", "Y", "Y"], "constant", "left out"),
    "one number, with gaps": ([80, None, 80, 80, 80, 80, 80], "constant", "left out"),
    "nothing": (["", "NA", None, "?"], "empty", "left out"),
}  # fmt: skip


@pytest.mark.parametrize("what", KINDS)
def test_a_kind_is_found(what: str) -> None:
    values, kind, use = KINDS[what]
    found = column(values)
    assert (found.kind, found.use) == (kind, use)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("order_id", [i // 2 for i in range(40)], "identifier"),
        ("EmployeeNumber", [7 * i for i in range(40)], "identifier"),
        ("Unnamed: 0", list(range(40)), "identifier"),
        ("rank", [40 - i for i in range(40)], "number"),
        ("year", list(range(1980, 2020)), "number"),
        ("x", list(range(40)), "number"),
        ("created_at", [1_500_000_000 + 86_400 * i * i for i in range(40)], "date"),
        ("distance", [1_500_000_000 + 86_400 * i * i for i in range(40)], "number"),
    ],
)
def test_names_help_where_numbers_could_be_either(name: str, values: list, kind: str) -> None:
    assert column(values, name=name).kind == kind


@pytest.mark.parametrize(
    ("asked", "values", "use"),
    [
        ("category", [1, 2, 3, 1, 2, 3, 1, 2, 3], "one-hot"),
        ("category", ["8 GB", "16 GB", "8 GB"], "indicator"),
        ("text", ["red car", "blue car", "red van"] * 3, "words"),
        ("number", [True, False, True], "number"),
        ("number", ["02134", "10001"], "number"),
        ("date", [20200105, 20211231], "date parts"),
        ("identifier", ["a", "b"], "left out"),
        ("left out", [1.5, 2.5], "left out"),
    ],
)
def test_another_kind_can_be_asked_for(asked: str, values: list, use: str) -> None:
    assert column(values, asked).use == use


@pytest.mark.parametrize(
    ("asked", "values", "message"),
    [
        ("number", ["red", "blue"], r"'x' is asked to be a number, but its values are such as"),
        ("date", ["red", "blue"], r"'x' is asked to be a date"),
        ("date", [1.5, 2.5], r"'x' is asked to be a date, but 1.5 is none"),
        ("boolean", ["a", "b", "c"], r"'x' is asked to be a boolean"),
        ("boolean", [1, 2, 3], r"'x' is asked to be a boolean"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused(asked: str, values: list, message: str) -> None:
    with pytest.raises(dr.DeltaruleError, match=message):
        column(values, asked)


def test_unknown_columns_and_kinds_are_refused_with_the_nearest_known() -> None:
    with pytest.raises(dr.DeltaruleError, match=r"unknown column 'sise'; did you mean 'size'"):
        Columns({"sise": "number"}).fit({"size": [1, 2]})
    with pytest.raises(dr.DeltaruleError, match=r"unknown kind of column 'x' 'numbers'"):
        Columns({"x": "numbers"})


def test_rare_levels_share_one_output() -> None:
    found = column(["red"] * 5 + ["green"] * 4 + ["pink", "teal"])
    assert found.levels == ("red", "green")
    assert found.others
    many = column([f"k{i % 300}" for i in range(1200)])
    assert len(many.levels) == 128
    assert many.others


def test_what_stands_for_nothing_depends_on_the_column() -> None:
    assert column(["a", "NULL", "b", "?", "c"]).absent == ("?", "NULL")
    assert column(["None", "BrkFace", "NA", "Stone"]).absent == ("NA",)
    assert column(["None", "", "NA", "Stone"]).absent == ()  # beside empty cells NA is an answer
    assert column(["3", "none", "4.5", "unknown"]).absent == ("none", "unknown")


def test_a_pile_of_nines_far_from_all_else_is_no_number() -> None:
    days = [999.0] * 30 + list(RNG.integers(0, 28, 20))
    assert column(days).sentinels == (999.0,)
    assert column(days).missing == 0.6
    assert column(list(RNG.integers(900, 999, 40)) + [999] * 5).sentinels == ()
    assert column([0] * 40 + [500, 700, 900]).sentinels == ()


def test_nines_may_be_the_most_that_a_field_holds() -> None:
    gains = [0] * 900 + list(range(100, 41_000, 500))
    assert column([*gains, *[99_999] * 9]).sentinels == ()
    assert column([*gains, *[99_999] * 90]).sentinels == (99_999.0,)
    assert column([*gains, *[9_999_999] * 9]).sentinels == (9_999_999.0,)


def test_codes_beside_nines_are_no_numbers_either() -> None:
    children = list(RNG.integers(0, 10, 500))
    assert column([*children, 98, 98, 99, 99, 99, 88]).sentinels == (88, 98, 99)
    assert column([*children, 97, 98, 99, 99, 99], name="y").reason.startswith("97 and 98 and 99 s")
    ages = list(RNG.integers(18, 96, 500))
    assert column([*ages, 97, 98, 98, 99, 99, 99]).sentinels == ()


def test_negative_nines_where_nothing_else_is_negative_may_lie_near() -> None:
    levels = list(RNG.uniform(0, 300, 60))
    assert column([*levels, -99, -99, -99]).sentinels == (-99.0,)
    assert column([*levels, -99.9, -99.9, -99.9]).sentinels == (-99.9,)
    assert column([*levels, -40.5, -99, -99, -99]).sentinels == ()
    assert column([*levels, -100, -100, -100]).sentinels == ()


def test_a_count_of_rows_is_used_where_there_is_nothing_else() -> None:
    step, other = list(range(1, 41)), list(RNG.normal(size=40))
    assert [c.use for c in Columns().fit({"step": step}).columns] == ["number"]
    found = Columns().fit({"step": step, "other": other}).columns
    assert [c.use for c in found] == ["left out", "number"]


def test_ranges_are_read_as_their_middles_in_the_unit_that_follows() -> None:
    found = column([f"{i}-{i + 2}K" for i in range(5, 40)])
    assert (found.low, found.high) == (6_000, 40_000)


def test_a_month_and_a_year_are_no_day() -> None:
    found = column(["Jan 2020", "Mar 2020", "Feb 2021"])
    assert (found.form, found.high - found.low) == ("year and month", 397.0)


def test_a_value_that_one_column_proves_counts_in_all() -> None:
    near = [-200.0] * 5 + list(RNG.uniform(0, 1300, 40))
    proof = [-200.0] * 5 + list(RNG.uniform(0, 10, 40))
    assert Columns().fit({"near": near}).columns[0].sentinels == ()
    found = Columns().fit({"near": near, "proof": proof}).columns
    assert [c.sentinels for c in found] == [(-200.0,), (-200.0,)]


def test_a_description_is_short_and_says_why() -> None:
    described = column([f"city {i % 3000}" for i in range(9000)]).describe()
    assert len(str(described)) < 3000
    assert column(["a", "b", "c", "d"] * 9, "left out").describe()["reason"] == "as asked"
    assert column([1.5, 2.5, 4.0]).describe() == {
        "name": "x", "kind": "number", "use": "number", "centre": 2.5,
        "scale": (3.25 - 2.0) / 1.349, "low": 1.5, "high": 4.0,
    }  # fmt: skip
