"""Labels of any type and values come back as they were given."""

from __future__ import annotations

import json

import numpy as np
import pytest

import deltarule as dr
from deltarule.tables.target import Target


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["b", " a", "b "], "classification", ["a", "b"]),
        ([True, False, True], "classification", [False, True]),
        ([3, 1, 3], "classification", [1, 3]),
        ([1.5, 2.5, 0.25], "regression", None),
        (list(range(50)), "regression", None),
    ],
)
def test_the_task_follows_from_the_values(values: list, task: str, classes: list | None) -> None:
    target = Target.fit(values)
    assert target.task == task
    assert (None if target.classes is None else target.classes.tolist()) == classes
    again = Target.rebuild(json.loads(json.dumps(target.describe())))
    back = again.decode(again.encode(values)).tolist()
    assert back == [v.strip() if isinstance(v, str) else pytest.approx(v) for v in values]


def test_values_are_standardised_output_by_output() -> None:
    values = np.array([[1.0, 10.0], [3.0, 30.0], [5.0, 20.0]])
    encoded = Target.fit(values).encode(values)
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(encoded.std(axis=0), 1)


@pytest.mark.parametrize("rows", [4, 12, 25, 200])
def test_names_of_rows_are_no_classes_however_few_they_are(rows: int) -> None:
    """A class needs rows to be learnt from; nine labels of ten that occur once are names."""
    names = [f"name {i}" for i in range(rows)]
    with pytest.raises(dr.InvalidValueError, match=r"labels of the target differ.*choose another"):
        Target.fit(names)
    with pytest.raises(dr.InvalidValueError, match="numbers are predicted by a regression"):
        Target.fit(list(range(rows)), task="classification")
    half = names[: rows // 2] * 2
    assert Target.fit(half).classes.tolist() == sorted(set(half))


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(dr.DeltaruleError, match=r"at least two classes, got only 'x'"):
        Target.fit(["x", "x"])


def test_values_stay_between_the_smallest_and_the_largest() -> None:
    target = Target.fit([[1.0, -5.0], [3.0, -4.0], [2.0, 0.0]])
    far = [[-100.0, 100.0], [100.0, -100.0]]
    assert target.decode(far).tolist() == [[1.0, 0.0], [3.0, -5.0]]
    assert Target.rebuild(target.describe()).decode(far).tolist() == [[1.0, 0.0], [3.0, -5.0]]
    without = {key: value for key, value in target.describe().items() if key != "bounds"}
    assert Target.rebuild(without).decode(far)[0, 0] < -50


@pytest.mark.parametrize(
    "bounds", [[0.0], [[1.0], [0.0]], [[0.0, 1.0], [2.0, 3.0]], "all", [[0], []]]
)
def test_bounds_that_make_no_sense_are_refused(bounds: object) -> None:
    described = Target.fit([1.0, 2.5, 4.0]).describe() | {"bounds": bounds}
    with pytest.raises(ValueError, match="no target is described"):
        Target.rebuild(described)


def test_plus_and_minus_are_two_classes() -> None:
    target = Target.fit(["+", "-", "-", "+", ""])
    assert target.classes.tolist() == ["+", "-"]
    assert target.known.tolist() == [True] * 4 + [False]
    assert target.encode(["-", "+"]).tolist() == [1, 0]
