"""What a careful analyst would notice is said, and what is harmless is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deltarule.tables.advice import Advice, advise
from deltarule.tables.columns import Columns
from deltarule.tables.target import Target

RNG = np.random.default_rng(0)
N = 400
SOLD = RNG.random(N) < 0.4
NOISE = RNG.standard_normal(N)
PRICE = RNG.uniform(1, 50, N)
COUNT = RNG.integers(1, 9, N)


def advice_on(frame: dict[str, Any], y: Any) -> list[Advice]:
    return advise(frame, Columns().fit(frame), Target.fit(y), y)


def about(frame: dict[str, Any], y: Any, kind: str) -> list[tuple[str, ...]]:
    return [advice.columns for advice in advice_on(frame, y) if advice.kind == kind]


LEAKS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "its values repeat the target": (
        {"x": NOISE, "paid": np.where(SOLD, "sold", "open")}, SOLD, ("paid",)),
    "having a value is the target": (
        {"x": NOISE, "receipt": [f"r{i % 9}" if s else None for i, s in enumerate(SOLD)]},
        SOLD, ("receipt",)),
    "those with a value are of one class": (
        {"x": NOISE, "boat": [float(i % 50) if not s and i % 5 == 0 else None
                              for i, s in enumerate(SOLD)]}, SOLD, ("boat",)),
    "the target's rank": (
        {"x": NOISE, "rank": np.argsort(np.argsort(-PRICE))}, PRICE, ("rank",)),
    "addends": (
        {"x": NOISE, "y": PRICE}, 10 * NOISE + PRICE, ("x", "y")),
    "factors": (
        {"x": NOISE, "count": COUNT, "price": PRICE}, COUNT * PRICE, ("count", "price")),
}  # fmt: skip


@pytest.mark.parametrize("how", LEAKS)
def test_a_leak_is_named(how: str) -> None:
    frame, y, columns = LEAKS[how]
    assert about(frame, y, "leak") == [columns]


def test_a_leak_is_called_what_was_measured() -> None:
    for y, words in (
        (NOISE > 0, "avoids 93% or more of the errors of always giving the same answer"),
        (3 * NOISE, "explains 95% or more of the target's variance"),
    ):
        texts = [a.text for a in advice_on({"x": NOISE, "z": PRICE}, y) if a.kind == "leak"]
        end = f"alone {words}; if it is known only after the target, leave it out."
        assert any(text.endswith(end) for text in texts), texts


def test_a_good_column_is_no_leak() -> None:
    assert about({"x": NOISE}, NOISE + 0.5 * RNG.standard_normal(N) > 0, "leak") == []
    assert about({"x": NOISE, "z": PRICE}, 20 * NOISE + PRICE + 5 * np.roll(NOISE, 7), "leak") == []


def test_a_row_of_totals_is_named_with_or_without_a_label() -> None:
    numbers = {"a": [1, 2, 3, 4, 10], "b": [5.0, 5, 5, 7, 22]}
    y = [1.5, 2.5, 0.5, 3.5, 8]
    assert about({"region": ["n", "s", "e", "w", "Total"], **numbers}, y, "total row") == [
        ("region",)
    ]
    assert about(numbers, y, "total row") == [()]
    numbers["a"][-1] = numbers["b"][-1] = 6
    assert about(numbers, y, "total row") == []


def test_repeated_rows_are_counted_and_so_are_those_with_another_target() -> None:
    frame = {"x": [*NOISE, *NOISE[:7]], "c": [*map(str, COUNT), *map(str, COUNT[:7])]}
    y = [*SOLD, *SOLD[:4], *~SOLD[4:7]]
    texts = [a.text for a in advice_on(frame, y) if a.kind == "duplicates"]
    assert len(texts) == 1
    assert texts[0].startswith("7 rows repeat an earlier row in every column, 3 of them")
    assert about({"x": NOISE}, SOLD, "duplicates") == []


def test_columns_are_told_apart() -> None:
    frame = {
        "id": np.arange(N) + 7,
        "weight": [-999.0 if i % 20 == 0 else float(w) for i, w in enumerate(PRICE)],
        "size": [f"{p:.2f} kg" if i != 5 else "?? kg" for i, p in enumerate(PRICE)],
        "when": ["03/04/2020", "05/06/2021"] * (N // 2),
        "gone": [1.5 + i if i % 25 == 0 else None for i in range(N)],
        "one": ["a"] * N,
        "none": [None] * N,
        "grade": COUNT,
        "mark": [f"level {c}" for c in COUNT],
        "word": ["Blue", "blue ", "red", "BLUE"] * (N // 4),
    }
    found = {advice.kind: advice.columns for advice in advice_on(frame, SOLD)}
    assert found == {
        "identifier": ("id",),
        "sentinel": ("weight",),
        "unreadable": ("size",),
        "date order": ("when",),
        "mostly missing": ("gone",),
        "constant": ("one",),
        "empty": ("none",),
        "same": ("grade", "mark"),
        "spelling": ("word",),
    }


def test_the_target_is_looked_at_too() -> None:
    def kinds(y: Any) -> set[str]:
        return {advice.kind for advice in advice_on({"x": NOISE[: len(y)]}, y)}

    assert kinds(["a"] * 370 + ["b"] * 25 + ["c"] * 5) == {"imbalance", "rare class"}
    assert kinds(np.exp(2 * RNG.standard_normal(N))) == {"skewed target"}
    assert kinds(SOLD[:50]) == {"few rows"}
    assert kinds(["yes", "no", "Yes", "no"] * 50) == {"target"}


def test_the_most_important_comes_first() -> None:
    frame = {"id": np.arange(N) + 7, "paid": np.where(SOLD, "sold", "open")}
    assert [advice.kind for advice in advice_on(frame, SOLD)] == ["leak", "identifier"]
