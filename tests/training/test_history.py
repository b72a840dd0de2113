"""A history takes 8 bytes per number, is to be read, and shows itself."""

from __future__ import annotations

import copy
import html
import io
import itertools
import json
import pickle
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from oracles import oracle

X = np.random.default_rng(0).standard_normal((8, 2))
TARGETS = X.sum(axis=1)
COLUMNS = 4  # loss, learning_rate and the gradient norms of weight and bias


def trained(**settings: Any) -> dr.History:
    net = dr.Network([dr.Dense(1)], inputs=2, seed=0)
    return dr.train(net, X, TARGETS, loss="squared_error", **({"epochs": 3} | settings))


# -------------------------------------------------------------------------------------- its memory


def held() -> int:
    """Bytes that the library and NumPy have allocated: threads of pytest's allocate, too."""
    ours = [tracemalloc.Filter(True, f"{Path(m.__file__).parent}/*") for m in (dr, np)]
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(ours).traces)


def test_a_callback_costs_no_memory_by_epoch() -> None:
    """8 bytes per number, an eighth of room, and a second copy while the room grows."""
    sizes = {}
    for hooked in (False, True):
        for epochs in (1000, 5000):
            callbacks = [dr.Callback()] if hooked else None
            tracemalloc.start()
            history = trained(epochs=epochs, batch_size=None, callbacks=callbacks, progress=False)
            sizes[epochs] = held()
            tracemalloc.stop()
            assert history.epochs == epochs
        assert (sizes[5000] - sizes[1000]) / 4000 <= 8 * COLUMNS * 9 / 8 + 1


def test_however_it_is_cut_into_calls_it_is_the_same() -> None:
    values = np.arange(2000.0)
    once, by_one, mixed = (dr.History("reference") for _ in range(3))
    once._extend(2000, {"a": values, "b": -values})
    for i in range(2000):
        by_one._extend(1, {"a": values[i : i + 1], "b": -values[i]})
    cuts = [0, 1, 65, 66, 1000, 2000]
    for start, end in itertools.pairwise(cuts):
        mixed._extend(end - start, {"a": values[start:end], "b": -values[start:end]})
        assert mixed["a"] == values[:end].tolist()
    assert dict(once) == dict(by_one) == dict(mixed) == {"a": list(values), "b": list(-values)}
    assert by_one._parts[0].nbytes <= 2 * 8 * 2000 * 9 / 8 + 64


# ------------------------------------------------------------------------------------- to be read


def test_a_column_is_a_list_of_floats() -> None:
    history = trained()
    column = history["loss"]
    assert isinstance(column, list)
    assert all(type(value) is float for value in column)
    assert column == [*column] == list(iter(column))
    assert column[-1] == history.latest("loss")
    assert type(column[1:]) is list
    assert json.loads(json.dumps(dict(history))) == dict(history)
    assert repr(column) == repr(list(column))
    np.testing.assert_array_equal(np.asarray(column), column)
    for twin in (column[:], list(column), column.copy(), copy.deepcopy(column)):
        assert type(twin) is list
        assert twin == column
        twin.clear()
    assert type(pickle.loads(pickle.dumps(column))) is list
    assert len(history["loss"]) == 3


CHANGES = [
    lambda c: c.clear(), lambda c: c.append(1.0), lambda c: c.extend([1.0]), lambda c: c.pop(),
    lambda c: c.insert(0, 1.0), lambda c: c.remove(c[0]), lambda c: c.reverse(),
    lambda c: c.sort(), lambda c: c.sort(reverse=True), lambda c: c.__setitem__(0, 1.0),
    lambda c: c.__setitem__(slice(None), []), lambda c: c.__delitem__(0),
    lambda c: c.__iadd__([1.0]), lambda c: c.__imul__(2),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_column_cannot_be_changed(change: Any) -> None:
    history = trained()
    before = dict(history)
    with pytest.raises(dr.FixedError, match=r"history\['loss'\] is read-only; .*is a copy"):
        change(history["loss"])
    assert dict(history) == before
    assert "loss" in repr(history)


def test_nothing_else_of_it_can_be_changed() -> None:
    history = trained()
    before = repr(history)
    for name in ("epochs", "steps", "seconds", "engine", "stopped", "unfinished", "stoped"):
        with pytest.raises(dr.InvalidAttributeError, match=name):
            setattr(history, name, 7)
        with pytest.raises((dr.InvalidAttributeError, AttributeError)):
            delattr(history, name)
    with pytest.raises(dr.FixedError):
        history["loss"] = [1.0]  # type: ignore[index]
    with pytest.raises(dr.FixedError):
        del history["loss"]  # type: ignore[attr-defined]
    with pytest.raises(dr.FixedError):
        history.unfinished["loss"] = 1.0  # type: ignore[index]
    for wrong in ("los", 0, None, [], slice(None)):
        with pytest.raises(dr.UnknownNameError, match="unknown column"):
            history[wrong]  # type: ignore[index]
        with pytest.raises(dr.UnknownNameError, match="unknown column"):
            history.latest(wrong)  # type: ignore[arg-type]
    assert repr(history) == before


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))]
)
def test_copies_are_equal_and_independent(copied: Any) -> None:
    history = trained()
    history["loss"]
    twin = copied(history)
    assert dict(twin) == dict(history)
    assert repr(twin) == repr(history)
    twin._extend(1, dict.fromkeys(twin, 0.5))
    assert (twin.epochs, history.epochs) == (4, 3)
    assert (len(twin["loss"]), len(history["loss"])) == (4, 3)


def test_threads_may_read_while_it_grows() -> None:
    history, wrong, done = dr.History("reference"), [], threading.Event()
    history._extend(1, {"a": 0.0})

    def read() -> None:
        while not done.is_set():
            column = list(history["a"])
            if column != [float(i) for i in range(len(column))]:
                wrong.append(column)

    readers = [threading.Thread(target=read) for _ in range(3)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for reader in readers:
            reader.start()
        for i in range(1, 3000):
            history._extend(1, {"a": float(i)})
        done.set()
        for reader in readers:
            reader.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong
    assert history["a"] == [float(i) for i in range(3000)]


# ------------------------------------------------------------------------------ other shapes of it


def test_it_becomes_a_frame_with_a_row_for_each_epoch() -> None:
    history = trained(validation=0.25)
    frame = history.to_frame()
    assert list(frame.columns) == list(history)
    assert frame.index.tolist() == [1, 2, 3]
    assert frame.index.name == "epoch"
    assert {name: frame[name].tolist() for name in frame} == dict(history)
    frame.loc[1, "loss"] = 7.0
    assert history["loss"][0] != 7.0
    assert len(dr.History("reference").to_frame()) == 0


def test_where_pandas_is_missing_the_frame_is_of_polars(monkeypatch: pytest.MonkeyPatch) -> None:
    history = trained()
    monkeypatch.setitem(sys.modules, "pandas", None)
    frame = history.to_frame()
    assert frame.columns == ["epoch", *history]
    assert frame["loss"].to_list() == history["loss"]
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(dr.MissingExtraError, match=r"needs pandas or polars.*pip install pandas"):
        history.to_frame()


def test_a_report_goes_into_a_file_object_too() -> None:
    history = trained()
    file = io.BytesIO()
    assert history.report(file) is None
    assert file.getvalue().lower().startswith(b"<!doctype html>")
    with pytest.raises(dr.InvalidTypeError, match="binary mode"):
        history.report(io.StringIO())


def test_its_pictures_are_axes_that_pyplot_knows() -> None:
    pyplot = oracle("matplotlib.pyplot")
    before = set(pyplot.get_fignums())
    history = trained(metrics=["mae"])
    try:
        axes = history.plot()
        assert [one.get_ylabel() for one in axes] == [
            "loss",
            "mae",
            "learning rate",
            "gradient norm",
        ]
        assert set(pyplot.get_fignums()) - before == {axes[0].figure.number}
        _, mine = pyplot.subplots()
        assert history.plot(ax=mine).tolist() == [mine]
        assert len(mine.lines) == 1
        assert len(set(pyplot.get_fignums()) - before) == 2
        with pytest.raises(dr.InvalidTypeError, match="ax must be matplotlib axes"):
            history.plot(ax=3)
    finally:
        pyplot.close("all")
    with pytest.raises(dr.InvalidValueError, match="nothing to plot"):
        dr.History("reference").plot()


def evil(y: np.ndarray, a: np.ndarray, w: np.ndarray | None) -> float:
    return 1.0


evil.__name__ = "<script>alert('1')</script>"


@pytest.mark.parametrize("epochs", [0, 1, 2, 1000])
def test_a_notebook_shows_it_with_a_picture_and_its_numbers(epochs: int) -> None:
    history = trained(epochs=epochs, validation=0.25) if epochs else dr.History("reference")
    shown = history._repr_html_()
    assert shown.count("<svg") == bool(epochs)
    assert shown.count("<polyline") == 2 * bool(epochs)
    assert len(shown) < 16_000
    assert f"{history.epochs:,} epochs" in shown
    for name, value in history.last().items():
        assert f"<th>{name}</th>" in shown
        assert f"<td>{value:.6g}</td>" in shown


def test_text_in_it_is_escaped() -> None:
    shown = trained(metrics=[evil])._repr_html_()
    assert "<script" not in shown
    assert html.escape(evil.__name__) in shown


@pytest.mark.parametrize(
    "values",
    [
        [np.nan, np.inf],
        [1.0, np.nan, 2.0],
        [-1.7e308, 1.7e308],
        [0.0, 0.0],
        [1e-320, 1e300],
        [-1.0],
    ],
)
def test_any_numbers_can_be_shown(values: list[float]) -> None:
    history = dr.History("reference")
    history._extend(len(values), {"loss": np.array(values), "learning_rate": np.ones(len(values))})
    with np.errstate(all="raise"):
        shown = history._repr_html_()
    assert "points=" not in shown or "nan" not in shown.split("points=")[1].split('"')[1]
    assert repr(history).startswith(f"History({len(values)} epochs")


def test_an_empty_one_has_a_repr() -> None:
    history = dr.History("reference (NumPy)")
    assert repr(history) == "History(0 epochs, 0 steps, 0.00 s, reference (NumPy) engine)"
    assert len(history) == 0
