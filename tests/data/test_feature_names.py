"""The columns of a data frame are remembered by name, and other frames are held to them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import deltarule as dr

VALUES = np.linspace(-1, 1, 24).reshape(8, 3)
FRAME = pd.DataFrame(VALUES, columns=["age", "height", "weight"])
Y = VALUES.sum(axis=1)
NAMES = ("age", "height", "weight")


def network() -> dr.Network:
    return dr.Network([dr.Dense(1)], inputs=3, seed=0)


def trained(X: Any = FRAME, **settings: Any) -> dr.Network:
    net = network()
    dr.train(net, X, Y, loss="squared_error", epochs=1, **settings)
    return net


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("way", ["train", "run", "step", "restart"])
def test_training_on_a_frame_remembers_its_columns(make: Any, way: str) -> None:
    frame, net = make({name: VALUES[:, i] for i, name in enumerate(NAMES)}), network()
    trainer = dr.Trainer(net, "squared_error")
    ways: dict[str, Callable[[], Any]] = {
        "train": lambda: dr.train(net, frame, Y, loss="squared_error", epochs=1),
        "run": lambda: trainer.run(frame, Y),
        "step": lambda: trainer.step(frame, Y),
        "restart": lambda: dr.restart(
            net, frame, Y, loss="squared_error", restarts=2, epochs=1, validation=(frame, Y)
        ),
    }
    assert net.feature_names is None
    ways[way]()
    assert net.feature_names == NAMES


@pytest.mark.parametrize("X", [VALUES, VALUES.tolist(), pd.DataFrame(VALUES)])
def test_what_has_no_names_of_columns_leaves_none(X: Any) -> None:
    net = trained(X)
    assert net.feature_names is None
    net.predict(FRAME)


OTHERS = {
    "another order": (FRAME[["height", "age", "weight"]], "column 0 is 'height', it was 'age'"),
    "one missing": (FRAME[["age", "height"]], "missing 'weight'"),
    "one more": (FRAME.assign(id=1), r"unexpected 'id'. Pass .*X\[list\(net.feature_names\)\]"),
    "one renamed": (FRAME.rename(columns={"age": "Age"}), "missing 'age'; unexpected 'Age'"),
    "one twice": (FRAME[["age", "age", "height", "weight"]], "has 4 columns, some of the same"),
    "polars": (pl.DataFrame(FRAME[["weight", "age", "height"]].to_dict("list")), "another order"),
}
USES: dict[str, Callable[[dr.Network, Any], Any]] = {
    "predict": lambda net, X: net.predict(X),
    "evaluate": lambda net, X: dr.evaluate(net, X, Y, "squared_error"),
    "backpropagate": lambda net, X: dr.backpropagate(net, X, Y, "squared_error"),
    "check_gradients": lambda net, X: dr.check_gradients(net, X, Y, "squared_error"),
    "train": lambda net, X: dr.train(net, X, Y, loss="squared_error", epochs=1),
    "step": lambda net, X: dr.Trainer(net, "squared_error").step(X, Y),
    "restart": lambda net, X: dr.restart(net, X, Y, loss="squared_error", restarts=2),
    "validation": lambda net, X: dr.train(net, FRAME, Y, loss="squared_error", validation=(X, Y)),
}


@pytest.mark.parametrize(("other", "message"), OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_frame_with_other_columns_is_refused(use: Any, other: Any, message: str) -> None:
    net = trained()
    before = net.vector.copy()
    with pytest.raises(ValueError, match=message) as caught:
        use(net, other)
    assert isinstance(caught.value, dr.DeltaruleError)
    np.testing.assert_array_equal(net.vector, before)
    assert net.feature_names == NAMES


def test_the_columns_of_a_validation_frame_are_those_of_the_training_frame() -> None:
    net = network()
    with pytest.raises(ValueError, match="columns of validation X are in another order"):
        dr.train(
            net, FRAME, Y, loss="squared_error", validation=(FRAME[["weight", "age", "height"]], Y)
        )
    assert net.feature_names is None
    with pytest.raises(ValueError, match="columns of validation X are in another order"):
        dr.restart(
            net, FRAME, Y, loss="squared_error", validation=(FRAME[["weight", "age", "height"]], Y)
        )


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_the_same_columns_and_arrays_are_taken(use: Any) -> None:
    net = trained()
    use(net, FRAME)
    use(net, VALUES)
    assert net.feature_names == NAMES


def test_the_advice_of_the_error_works() -> None:
    net = trained()
    shuffled = FRAME[["weight", "age", "height"]]
    np.testing.assert_array_equal(
        net.predict(shuffled[list(net.feature_names)]), net.predict(FRAME)
    )
    net.feature_names = None
    dr.train(net, shuffled, Y, loss="squared_error", epochs=1)
    assert net.feature_names == ("weight", "age", "height")


def test_copies_pickles_and_files_keep_the_names(tmp_path: Path) -> None:
    net = trained()
    twins = [
        net.copy(),
        net.copy(dtype="float64"),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        pickle.loads(pickle.dumps(dr.Trainer(net, "squared_error"))).network,
        dr.load(net.save(tmp_path / "net.safetensors")),
    ]
    assert [twin.feature_names for twin in twins] == [NAMES] * len(twins)


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (["a", "b"], ValueError, "must be 3 names, one for each input; got 2"),
        ("abc", TypeError, "names of 3 columns, or None, got 'abc'"),
        ([1, 2, 3], TypeError, "names of 3 columns"),
        (3, TypeError, "names of 3 columns, or None, got 3"),
    ],
)
def test_names_that_are_none_are_refused(names: Any, kind: type, message: str) -> None:
    net = trained()
    with pytest.raises(kind, match=message) as caught:
        net.feature_names = names
    assert isinstance(caught.value, dr.DeltaruleError)
    assert net.feature_names == NAMES
    net.feature_names = ["a", "b", "c"]
    assert net.feature_names == ("a", "b", "c")
