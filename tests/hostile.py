"""Arguments that nobody should pass, and valid ones for everything public; for test_hostile."""

from __future__ import annotations

import datetime
import decimal
import fractions
import inspect
import io
import pathlib
import shutil
import tempfile
import weakref
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

import deltarule as dr
from deltarule.base.settings import Setting, members
from members import own

# ------------------------------------------------------------------------------ hostile values


class Rude:
    """Raises wherever it is asked for anything."""

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("rude")

    __repr__ = __str__ = __len__ = __bool__ = __eq__ = __index__ = __float__ = __int__ = _raise
    __iter__ = __array__ = __getitem__ = __call__ = __lt__ = __fspath__ = _raise
    __hash__ = object.__hash__


class RudeArray(np.ndarray):
    """An array whose attributes are those of an array, and whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("rude")


class Claims:
    """Says that it is an array and gives something else."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        return "not an array"


class LongInt(int):
    def __repr__(self) -> str:
        return "7\n\nand another paragraph"


class Name(str):
    """A text with a life of its own."""


def recursive() -> list:
    found: list = []
    found.append(found)
    return found


def structured() -> np.ndarray:
    return np.zeros(3, dtype=[("a", "f4"), ("b", "i2")])


def object_array() -> np.ndarray:
    found = np.ones((4, 2), dtype=object)
    found[1, 1] = Rude()
    return found


VALUES = {
    "None": lambda: None,
    "True": lambda: True,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: float("-inf"),
    "-1": lambda: -1,
    "0": lambda: 0,
    "0.5": lambda: 0.5,
    "-0.0": lambda: -0.0,
    "1e308": lambda: 1e308,
    "5e-324": lambda: 5e-324,
    "2**63": lambda: 2**63,
    "10**400": lambda: 10**400,
    "10**5000": lambda: 10**5000,
    "complex": lambda: 1 + 2j,
    "fraction": lambda: fractions.Fraction(1, 3),
    "decimal nan": lambda: decimal.Decimal("NaN"),
    "decimal snan": lambda: decimal.Decimal("sNaN"),
    "int that prints paragraphs": lambda: LongInt(7),
    "empty text": lambda: "",
    "long text": lambda: "x" * 100_000,
    "text of lines": lambda: "a\n\nb",
    "surrogates": lambda: "\ud800\udfff",
    "null": lambda: "a\0b",
    "bytes": lambda: b"abc",
    "bytearray": lambda: bytearray(b"abc"),
    "[]": lambda: [],
    "()": lambda: (),
    "{}": lambda: {},
    "[None]": lambda: [None],
    "ragged": lambda: [[1.0, 2.0], [3.0]],
    "deep": lambda: [[[[[[[1.0]]]]]]],
    "recursive": recursive,
    "list of rude": lambda: [Rude()],
    "mapping": lambda: MappingProxyType({"a": 1}),
    "dict of rude": lambda: {Rude(): Rude()},
    "set": lambda: {1, 2},
    "range": lambda: range(3),
    "generator": lambda: (i for i in range(3)),
    "object": object,
    "class": lambda: Rude,
    "type": lambda: type,
    "function": lambda: lambda *a, **k: None,
    "raising function": lambda: Rude()._raise,
    "module": lambda: np,
    "ellipsis": lambda: ...,
    "slice": lambda: slice(None),
    "rude": Rude,
    "claims to be an array": Claims,
    "0-d": lambda: np.array(3.0),
    "0-d object": lambda: np.array(None),
    "empty array": lambda: np.zeros((0, 3)),
    "3-d": lambda: np.zeros((2, 2, 2)),
    "nan array": lambda: np.full((4, 2), np.nan),
    "complex array": lambda: np.zeros((4, 2), complex),
    "text array": lambda: np.array([["a", "b"]] * 4),
    "bytes array": lambda: np.array([[b"a", b"b"]] * 4),
    "dates": lambda: np.array(["2020-01-01"] * 4, dtype="datetime64[D]"),
    "structured": structured,
    "void": lambda: np.zeros(4, dtype="V8"),
    "object array": object_array,
    "huge strides": lambda: np.lib.stride_tricks.as_strided(np.zeros(1), (1 << 16, 2), (0, 0)),
    "rude array": lambda: np.zeros((4, 3)).view(RudeArray),
    "masked": lambda: np.ma.masked_array([[1.0, 2.0]] * 4, mask=True),
    "float16": lambda: np.zeros((4, 2), np.float16),
    "longdouble": lambda: np.full((4, 2), np.finfo(np.longdouble).max),
    "big endian": lambda: np.zeros((4, 2), ">f8"),
    "numpy scalar": lambda: np.float32("nan"),
    "numpy int": lambda: np.int64(-(2**63)),
    "numpy bool": lambda: np.bool_(True),
    "numpy text": lambda: np.str_("x"),
    "date": lambda: datetime.datetime(2020, 1, 1),
    "folder": lambda: pathlib.Path(tempfile.gettempdir()),
    "text file": lambda: io.StringIO("text"),
    "network": lambda: dr.Network([dr.Dense(1)], inputs=1),
    "network class": lambda: dr.Network,
    "layer class": lambda: dr.Dense,
    "setting": lambda: dr.L2(),
    "exception": lambda: ValueError("x"),
}
"""Each is made anew for every call."""

# ------------------------------------------------------------------------------ what is public

FAMILIES = {k.family: k for k in Setting.__subclasses__() if k.__module__.startswith("deltarule.")}

VALID: dict[str, Any] = {
    "units": 2, "learning_rate": 0.1, "factor": 0.5, "every": 2, "length": 3, "then": 0.1,
    "boundaries": (2,), "rates": (0.1, 0.2), "categories": 2, "layers": None, "function": "relu",
    "value": 0.5, "metric": None, "seed": 1,
}  # fmt: skip
"""Settings of families that have no default."""


class World:
    """A small network and all that belongs to it, made anew for each call that may change it."""

    @cached_property
    def X(self) -> np.ndarray:
        return np.array([[0.0, 1.0], [1.0, 2.0], [2.0, -1.0], [0.5, 0.25]])

    @cached_property
    def y(self) -> np.ndarray:
        return np.array([[0.0], [1.0], [-1.0], [0.5]])

    @cached_property
    def net(self) -> dr.Network:
        return dr.Network([dr.Dense(2, "tanh"), dr.BatchNorm(), dr.Dense(1)], 2, seed=1)

    def digest(self) -> tuple[object, ...] | None:
        """Return all that a call that fails must not change."""
        if "net" not in vars(self):
            return None
        net, data = self.net, (self.X.tobytes(), self.y.tobytes())
        factors = tuple(net.learning_rate_factors.items())
        return net.vector.tobytes(), net.state_vector.tobytes(), net.seed, factors, data

    @property
    def trainer(self) -> dr.Trainer:
        return dr.Trainer(self.net, "mse", dr.SGD(0.01))

    @property
    def data(self) -> dict[str, Any]:
        return {"X": self.X, "y": self.y}

    @property
    def training(self) -> dict[str, Any]:
        return {"network": self.net, **self.data, "loss": "mse", "epochs": 1, "progress": False}

    @property
    def state(self) -> dr.State:
        kept: list[dr.State] = []

        class Keep(dr.Callback):
            def on_end(self, state: dr.State) -> None:
                kept.append(state)

        dr.train(self.net, self.X, self.y, loss="mse", epochs=1, progress=False, callbacks=[Keep()])
        return kept[0]

    @property
    def folder(self) -> str:
        """A new folder, deleted with its name."""
        folder = Name(tempfile.mkdtemp())
        weakref.finalize(folder, shutil.rmtree, str(folder), ignore_errors=True)
        return folder

    @property
    def checkpoint(self) -> str:
        folder, net = self.folder, self.net.copy()
        dr.train(net, **{k: v for k, v in self.training.items() if k != "network"}, callbacks=[
            dr.Checkpoint(folder)
        ])  # fmt: skip
        return folder

    @property
    def history(self) -> dr.History:
        return self.state.history

    @property
    def trace(self) -> dr.Trace:
        return dr.backpropagate(self.net, self.X, self.y, "mse")


def _recipes() -> dict[str, Any]:
    """Return, by name, a function that gives (callable, valid arguments) in a world."""
    pass_ = {"x": "X", "t": "y"}

    def passes(w: World) -> dict[str, Any]:
        return {"network": w.net, "loss": "mse"} | {k: getattr(w, v) for k, v in pass_.items()}

    found: dict[str, Any] = {
        "train": lambda w: (dr.train, w.training | {"batch_size": 2}),
        "restart": lambda w: (dr.restart, w.training | {"restarts": 2, "batch_size": 2}),
        "find_learning_rate": lambda w: (
            dr.find_learning_rate,
            {"network": w.net, **w.data, "loss": "mse", "steps": 3, "batch_size": 2},
        ),
        "RangeTest.plot": lambda w: (
            dr.find_learning_rate(w.net, w.X, w.y, "mse", steps=3, batch_size=2).plot, {}
        ),
        "evaluate": lambda w: (dr.evaluate, {"network": w.net, **w.data, "loss": "mse"}),
        "backpropagate": lambda w: (dr.backpropagate, passes(w)),
        "check_gradients": lambda w: (dr.check_gradients, passes(w)),
        "load": lambda w: (dr.load, {"path": written(w)}),
        "save": lambda w: (dr.save, {"network": w.net, "path": io.BytesIO()}),
        "engines": lambda w: (dr.engines, {}),
        "Network": lambda w: (dr.Network, {"layers": [dr.Dense(1)], "inputs": 2}),
        "Trainer": lambda w: (dr.Trainer, {"network": w.net, "loss": "mse"}),
        "EarlyStopping": lambda w: (dr.EarlyStopping, {}),
        "ReduceOnPlateau": lambda w: (dr.ReduceOnPlateau, {}),
        "EMA": lambda w: (dr.EMA, {}),
        "SWA": lambda w: (dr.SWA, {}),
        "Log": lambda w: (dr.Log, {"path": "run.csv"}),
        "TimeBudget": lambda w: (dr.TimeBudget, {"seconds": 1.0}),
        "State.end_at": lambda w: (w.state.end_at, {"moment": 1.0, "reason": "enough"}),
        "Checkpoint": lambda w: (dr.Checkpoint, {"folder": w.folder}),
        "resume": lambda w: (dr.resume, {"path": w.checkpoint, "X": w.X, "y": w.y, "epochs": 1}),
        "Ensemble": lambda w: (dr.Ensemble, {"networks": [w.net]}),
        "Ensemble.predict": lambda w: (dr.Ensemble([w.net]).predict, {"X": w.X}),
        "Ensemble.save": lambda w: (dr.Ensemble([w.net]).save, {"path": io.BytesIO()}),
        "Ensemble.load": lambda w: (dr.Ensemble.load, {"path": written(w)}),
        "Network.predict": lambda w: (w.net.predict, {"X": w.X}),
        "Network.copy": lambda w: (w.net.copy, {}),
        "Network.save": lambda w: (w.net.save, {"path": io.BytesIO()}),
        "Network.initialize": lambda w: (w.net.initialize, {"seed": 1}),
        "Network.freeze": lambda w: (w.net.freeze, {"names": "0"}),
        "Network.unfreeze": lambda w: (w.net.unfreeze, {"names": "0"}),
        "Network.scale_learning_rate": lambda w: (
            w.net.scale_learning_rate, {"factor": 0.5, "names": "0"}
        ),
        "Network.parameter_spec": lambda w: (w.net.parameter_spec, {"name": "0.weight"}),
        "Network.summary": lambda w: (w.net.summary, {}),
        "Network.being_trained": None,
        "Network.take_over": lambda w: (w.net.take_over, {"other": w.net.copy()}),
        "Trainer.step": lambda w: (w.trainer.step, w.data),
        "Trainer.run": lambda w: (
            w.trainer.run, w.data | {"epochs": 1, "progress": False, "batch_size": 2}
        ),
        "State.score": lambda w: (w.state.score, {"column": "loss"}),
        "GradientCheck.raise_if_wrong": lambda w: (
            dr.check_gradients(w.net, w.X, w.y, "mse").raise_if_wrong, {}
        ),
        # What the library itself makes and hands out, or calls; users read it or derive from it.
        **dict.fromkeys(
            ("Trace", "GradientCheck", "History", "Restarts", "RangeTest", "State",
             "Callback", "ParameterSpec", "StateSpec", "CustomLayer", "Engine", "Metric")
        ),
    }  # fmt: skip
    for name, kind in vars(dr).items():
        if isinstance(kind, type) and issubclass(kind, BaseException) and name in dr.__all__:
            found[name] = None
        if kind in FAMILIES.values():
            found[name] = None
            found[f"{name}.resolve"] = lambda w, k=kind: (k.resolve, {"value": own_name(k)})
    for family in FAMILIES:
        for name in own(family):
            kind = members(family)[name]
            found[f"{family} {kind.__name__}"] = found[kind.__name__] = lambda w, k=kind: (
                k, settings_of(k)
            )  # fmt: skip
    return found


def own_name(base: type) -> Any:
    return {"layer": dr.Dense(1), "schedule": dr.Cosine(0.1)}.get(base.family, own(base.family)[-1])


def settings_of(kind: type) -> dict[str, Any]:
    """Return valid values of the settings that a class must have."""
    found = {}
    for name, p in inspect.signature(kind).parameters.items():
        if p.default is inspect.Parameter.empty:
            if name not in VALID:
                raise AssertionError(
                    f"{kind.__name__} needs {name!r}: add a valid value of it to VALID in "
                    "tests/hostile.py"
                )
            found[name] = [dr.Dense(2)] if name == "layers" else VALID[name]
    return found


def written(w: World) -> io.BytesIO:
    file = io.BytesIO()
    w.net.save(file)
    file.seek(0)
    return file


RECIPES = _recipes()
"""None: not called with arguments of a user."""

SETTABLE = {
    "Network": lambda w: (w.net, ("vector", "state_vector", "parameters", "state")),
}
ITEMS = {
    "net.parameters": lambda w: (w.net.parameters, "0.weight"),
    "net.state": lambda w: (w.net.state, "1.running_mean"),
    "history": lambda w: (w.history, None),
    "trace.deltas": lambda w: (w.trace.deltas, None),
    "learning_rate_factors": lambda w: (w.net.learning_rate_factors, None),
}


def public() -> set[str]:
    """Return the names of everything public that can be called."""
    found = set()
    for name in dr.__all__:
        thing = getattr(dr, name)
        if not callable(thing):
            continue
        found.add(name)
        if isinstance(thing, type) and not issubclass(thing, (Setting, BaseException, tuple)):
            for method, value in vars(thing).items():
                if not method.startswith("_") and inspect.isfunction(value):
                    found.add(f"{name}.{method}")
        if thing in FAMILIES.values():
            found.add(f"{name}.resolve")
    for family in FAMILIES:
        found |= {f"{family} {members(family)[name].__name__}" for name in own(family)}
    return found


for _name in public():
    # Callbacks' methods get what the loop gives them; a history's are its own owner's tests.
    owner, _, _method = _name.partition(".")
    kind = getattr(dr, owner, None)
    if _method and (
        kind is dr.History or (isinstance(kind, type) and issubclass(kind, dr.Callback))
    ):
        RECIPES.setdefault(_name, None)
