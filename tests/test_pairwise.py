"""In a pairwise design no pair is missing; under soak no combination is."""

from __future__ import annotations

import itertools

import pytest

import pairwise

SIZES = [(1, 1), (2, 3), (3, 3, 3), (14, 2, 3, 2), (13, 12, 2, 2, 2), (2,) * 8, (4, 1, 5, 1)]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_pair_of_values_of_two_factors_occurs(sizes: tuple[int, ...]) -> None:
    rows = pairwise.covering(*sizes)
    for i, j in itertools.combinations(range(len(sizes)), 2):
        found = {(row[i], row[j]) for row in rows}
        assert found == set(itertools.product(range(sizes[i]), range(sizes[j])))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_it_is_small_and_the_same_at_every_run(sizes: tuple[int, ...]) -> None:
    rows = pairwise.covering(*sizes)
    largest, second = sorted(sizes, reverse=True)[:2]
    assert largest * second <= len(rows) <= 2 * largest * second + 4
    assert rows == pairwise.covering(*sizes)
    assert len(set(rows)) == len(rows)


def test_a_single_factor_is_taken_whole_and_an_empty_one_leaves_nothing() -> None:
    assert pairwise.covering(3) == [(0,), (1,), (2,)]
    assert pairwise.covering(3, 0, 2) == []


def test_under_soak_it_is_the_whole_product(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = ("ab", range(3), [True, False])
    monkeypatch.setattr(pairwise, "SOAK", False)
    assert len(pairwise.rows(*factors)) < 12
    monkeypatch.setattr(pairwise, "SOAK", True)
    assert pairwise.rows(*factors) == list(itertools.product(*factors))


def test_a_factor_of_pairs_gives_two_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairwise, "SOAK", False)
    mark = pairwise.pairwise(loss__output=[("l", "o"), ("m", "p")], dtype=["float32"])
    names, params = mark.args
    assert names == ["loss", "output", "dtype"]
    assert [param.values for param in params] == [("l", "o", "float32"), ("m", "p", "float32")]
    assert [param.id for param in params] == ["l-o-float32", "m-p-float32"]
