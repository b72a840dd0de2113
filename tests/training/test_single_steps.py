"""A step on arrays takes a short way; it is the same step as on lists, which Python checks."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import deltarule as dr
from ctrl_c import press
from deltarule.engines.native import NativeExecutor, unavailable

pytestmark = pytest.mark.skipif(unavailable() is not None, reason="the short way is native")

RNG = np.random.default_rng(8)
X = RNG.standard_normal((6, 3))
Y = RNG.standard_normal(6)
LABELS = RNG.integers(0, 3, 6)
WITH_GAPS = np.full((12, 6), np.nan)[::2, 1:4]
WITH_GAPS[:] = X
PAST_THE_TABLE = 70
"""Steps; more than those whose scalars are computed at once."""


def trainer(
    loss: Any = "squared_error", optimizer: Any = "adam", *, dtype: str = "float64", **settings: Any
) -> dr.Trainer:
    outputs = {"cross_entropy": (3, "softmax"), "binary_cross_entropy": (1, "sigmoid")}
    outputs["poisson"] = (1, "exp")
    layers = [dr.Dense(4, "tanh"), dr.Dropout(0.2), dr.BatchNorm()]
    layers.append(dr.Dense(*outputs.get(loss, (1, "identity"))))
    net = dr.Network(layers, inputs=3, seed=2, dtype=dtype)
    return dr.Trainer(net, loss, optimizer, seed=5, **settings)


def everything(made: dr.Trainer) -> list[Any]:
    """Return all that a step may change."""
    net = made.network
    arrays = (net.vector, net.state_vector, made._executor.optimizer_state)
    counts = made._counts.of_parameters.tolist()
    return [*(a.tobytes() for a in arrays), made.steps, made.epochs, counts]


def listed(x: Any) -> Any:
    return x.tolist() if isinstance(x, np.ndarray) else x


def twins(*arguments: Any, **settings: Any) -> tuple[dr.Trainer, dr.Trainer]:
    return trainer(*arguments, **settings), trainer(*arguments, **settings)


def same(short: dr.Trainer, long: dr.Trainer, x: Any, y: Any, **weights: Any) -> float:
    """Do a step the short way and the long one; return its loss."""
    loss = short.step(x, y, **weights)
    assert type(loss) is float
    assert loss == long.step(listed(x), listed(y), **weights)
    assert everything(short) == everything(long)
    return loss


@pytest.fixture
def only_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step that goes the long way fail."""

    def run(*_: Any) -> None:
        raise AssertionError("it went the long way")

    monkeypatch.setattr(NativeExecutor, "run", run)


TARGETS = [
    ("squared_error", Y),
    ("squared_error", Y[:, None]),
    ("squared_error", Y.astype("float32")),
    ("squared_error", LABELS.astype("int32")),
    ("cross_entropy", LABELS),
    ("binary_cross_entropy", LABELS % 2),
    ("binary_cross_entropy", np.array([0, 1, 0.5, 1, 0, 0.25])[:, None]),
    ("poisson", LABELS),
]


@pytest.mark.parametrize(("loss", "y"), TARGETS)
@pytest.mark.parametrize("x", [X, X.astype("float32"), np.asfortranarray(X)[:, :3].round()])
def test_it_is_the_step_on_lists(loss: str, x: Any, y: Any) -> None:
    short, long = twins(loss)
    for _ in range(3):
        same(short, long, x, y)


@pytest.mark.usefixtures("only_short")
@pytest.mark.parametrize(("loss", "y"), TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x", [X, X.astype("float32"), LABELS[:, None] * [1, 2, 3], WITH_GAPS])
def test_arrays_of_numbers_go_the_short_way(loss: str, dtype: str, x: Any, y: Any) -> None:
    assert math.isfinite(trainer(loss, dtype=dtype).step(x, y))


def halved(step: int) -> float:
    return 0.5**step


@pytest.mark.parametrize("name", ["sgd", "adam", "nadam", "adamw", "rprop"])
@pytest.mark.parametrize(
    "rate",
    [0.01, dr.Cosine(0.01, length=50), dr.Step(0.01, every=2, unit="epoch"), halved],
    ids=lambda rate: getattr(rate, "__name__", repr(rate)),
)
def test_scalars_that_were_computed_before_are_those_of_the_step(name: str, rate: Any) -> None:
    settings = {} if name == "rprop" else {"learning_rate": rate}
    optimizer = type(dr.optimizers.Optimizer.resolve(name))(**settings)
    short, long = twins(optimizer=optimizer)
    for _ in range(PAST_THE_TABLE):
        short.step(X, Y)
        long.step(X.tolist(), Y.tolist())
    assert everything(short) == everything(long)


def by_hand(made: dr.Trainer) -> None:
    made.network.parameters["0.weight"][1, 2] += 0.5
    made.network.state["2.running_variance"][:] = 2


class HalfAndStop(dr.Callback):
    def on_start(self, state: dr.State) -> None:
        state.rate_factor, state.stop = 0.5, "at once"


def unweighted_step(made: dr.Trainer) -> None:
    """Begin an epoch whose first batch has weight 0, and end the run after that."""
    run = NativeExecutor.run

    def once(self: Any, todo: Any, record: Any) -> None:
        run(self, todo._replace(steps=1), record)
        todo.interrupt.request()

    data: Any = {"X": X, "y": Y, "sample_weight": [0, 0, 0, 1, 1, 1]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NativeExecutor, "run", once)
        with pytest.raises(dr.TrainingInterrupted):
            made.run(**data, batch_size=3, shuffle=False, progress=False)


def freed(made: dr.Trainer) -> None:
    made.network.freeze("3")
    made.step(X, Y)
    made.network.unfreeze("3")


BETWEEN: dict[str, Callable[[dr.Trainer], Any]] = {
    "values set by hand": by_hand,
    "another vector": lambda made: setattr(made.network, "vector", made.network.vector[::-1]),
    "epochs": lambda made: made.run(X, Y, epochs=4, progress=False),
    "a callback's factor": lambda made: made.run(X, Y, callbacks=[HalfAndStop()], progress=False),
    "a step of weight 0": unweighted_step,
    "weights": lambda made: made.step(X, Y, sample_weight=[0, 0, 1, 2, 0, 0]),
    "a frozen parameter": lambda made: made.network.freeze("3.bias"),
    "a parameter that is freed": freed,
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_comes_between_two_steps_counts(what: str) -> None:
    schedule = dr.Step(0.05, every=3, unit="epoch")
    short, long = twins(optimizer=dr.Adam(schedule), penalty=dr.L2(0.1))
    for _ in range(2):
        same(short, long, X, Y)
        BETWEEN[what](short)
        BETWEEN[what](long)
    same(short, long, X, Y)


def test_weights_of_rows_and_of_classes_are_used() -> None:
    same(*twins(), X, Y, sample_weight=[1.0, 2.0, 3.0, 0.0, 1.0, 1.0])
    same(*twins("cross_entropy", class_weight=[1.0, 2.0, 3.0]), X, LABELS)


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_goes_on_as_the_original(twin: Callable[[dr.Trainer], dr.Trainer]) -> None:
    made = trainer()
    made.step(X, Y)
    other = twin(made)
    assert made.step(X, Y) == other.step(X, Y)
    assert everything(made) == everything(other)


def test_batches_may_change_their_length_and_dtype() -> None:
    short, long = twins()
    for x, y in [(X, Y), (X[:2], Y[:2]), (X.astype("float32"), Y), (X[:3], Y[:3, None]), (X, Y)]:
        same(short, long, x, y)


BAD = {
    "NaN in X": ("squared_error", X * [1, np.nan, 1], Y),
    "infinity in X": ("squared_error", X * [1, 1, np.inf], Y),
    "too large for float32": ("squared_error", X * 1e39, Y),
    "a masked cell": ("squared_error", np.ma.masked_array(X, mask=X > 1), Y),
    "a column too few": ("squared_error", X[:, :2], Y),
    "one axis": ("squared_error", X[0], Y[:1]),
    "no rows": ("squared_error", X[:0], Y[:0]),
    "too few rows for batch statistics": ("squared_error", X[:1], Y[:1]),
    "complex X": ("squared_error", X * 1j, Y),
    "a row too few in y": ("squared_error", X, Y[:5]),
    "y too wide": ("squared_error", X, np.stack([Y, Y], 1)),
    "y too deep": ("squared_error", X, Y[:, None, None]),
    "NaN in y": ("squared_error", X, Y * np.nan),
    "y too large for float32": ("squared_error", X, Y * 1e39),
    "a class too many": ("cross_entropy", X, LABELS * 0 + 3),
    "a negative class": ("cross_entropy", X, LABELS - 3),
    "half a class": ("cross_entropy", X, LABELS + 0.5),
    "no probability": ("binary_cross_entropy", X, LABELS * 0 + 2),
    "a negative probability": ("binary_cross_entropy", X, -np.abs(Y) / 10),
    "a negative count": ("poisson", X, LABELS - 3),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_a_batch_is_said_and_nothing_changes(case: str) -> None:
    loss, x, y = BAD[case]
    good = LABELS if loss == "cross_entropy" else LABELS % 2
    made, other = twins(loss, dtype="float32")
    made.step(X, good)  # what was in order once need not be again
    before = everything(made)
    with pytest.raises(dr.DeltaruleError) as short:
        made.step(x, y)
    assert everything(made) == before
    with pytest.raises(dr.DeltaruleError) as long:
        other._step_checked(x, y, None)
    assert (type(short.value), str(short.value)) == (type(long.value), str(long.value))
    made.step(X, good)
    assert made.steps == 2


def test_what_is_not_an_array_of_numbers_goes_the_long_way() -> None:
    short, long = twins("binary_cross_entropy")
    masked = np.ma.masked_array(X, mask=False)
    for x, y in [(masked, LABELS % 2), (X.astype("float16"), LABELS % 2 == 1), (X, LABELS % 2)]:
        same(short, long, x, y)
    swapped = X.astype(X.dtype.newbyteorder())
    unaligned = np.frombuffer(b"x" + X.tobytes(), dtype=np.uint8)[1:].view(X.dtype).reshape(6, 3)
    for x in (swapped, unaligned, X[:, ::-1], X[::-1]):
        same(short, long, x, LABELS % 2)


def test_a_step_that_diverges_changes_nothing() -> None:
    made = trainer()
    made.step(X, Y)
    before = everything(made)
    with pytest.raises(dr.DivergenceError, match="at step 2"):
        made.step(X, Y * 1e200)
    assert everything(made) == before


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_function_is_asked_for_the_rate_of_each_step_once_and_in_its_turn(engine: str) -> None:
    asked: list[int] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 0.1

    made = trainer(optimizer=dr.SGD(rate), engine=engine)
    for _ in range(3):
        made.step(X, Y)
    assert asked == [0, 1, 2]
    made = trainer(optimizer=dr.SGD(dr.WarmUp(2, rate)), engine=engine)
    asked.clear()
    for _ in range(4):
        made.step(X, Y)
    assert asked == [0, 0, 0, 1]


def test_a_schedule_of_ones_own_is_asked_in_its_turn_too() -> None:
    asked: list[float] = []

    class Own(dr.Schedule):
        def __call__(self, t: float, total: float) -> float:
            asked.append(t)
            return 0.1

    made = trainer(optimizer=dr.SGD(Own()))
    made.step(X, Y)
    assert asked == [0]


def test_a_check_of_targets_of_ones_own_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(dr.SquaredError, "check_targets", refused)
    with pytest.raises(ZeroDivisionError):
        trainer().step(X, Y)


def test_codes_that_are_none_are_refused() -> None:
    net = dr.Network([dr.Embedding((4,), size=2), dr.Dense(1)], inputs=1)
    made = dr.Trainer(net, "squared_error")
    made.step(np.array([[0], [3]]), np.zeros(2))
    with pytest.raises(dr.DeltaruleError, match=r"1\.5"):
        made.step(np.array([[0], [1.5]]), np.zeros(2))


def test_a_rate_that_cannot_be_used_is_an_error_of_its_own_step() -> None:
    made = trainer(optimizer=dr.SGD(dr.Exponential(1e-300, factor=1e100)))
    for _ in range(4):  # then no float holds 1e100^4
        made.step(X, Y)
    with pytest.raises(dr.DeltaruleError, match="at step 4 of Exponential"):
        made.step(X, Y)
    assert made.steps == 4


def test_ctrl_c_that_ends_the_step_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def dropped(*_: Any) -> None:
        press()

    made = trainer()
    monkeypatch.setattr(NativeExecutor, "step", dropped)
    with pytest.raises(dr.TrainingInterrupted, match="before step 0"):
        made.step(X, Y)
    assert made.steps == 0


def test_ctrl_c_after_the_step_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    step = NativeExecutor.step

    def pressed(*arguments: Any) -> Any:
        loss = step(*arguments)
        press()
        return loss

    made = trainer()
    monkeypatch.setattr(NativeExecutor, "step", pressed)
    with pytest.raises(dr.TrainingInterrupted, match="after step 1"):
        made.step(X, Y)
    assert made.steps == 1


def test_a_step_that_was_done_before_an_exception_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    step = NativeExecutor.step

    def raising(*arguments: Any) -> None:
        step(*arguments)
        raise ZeroDivisionError

    short, long = twins()
    with monkeypatch.context() as patch:
        patch.setattr(NativeExecutor, "step", raising)
        with pytest.raises(ZeroDivisionError):
            short.step(X, Y)
    long.step(X, Y)
    same(short, long, X, Y)
    assert short.steps == 2


def test_a_run_that_is_to_end_lets_no_other_step() -> None:
    """In a callback of a run that Ctrl-C ends, a step of another network is not made either."""
    other, seen = trainer(), []

    class Steps(dr.Callback):
        def on_epoch(self, state: dr.State) -> None:
            press()
            with pytest.raises(dr.TrainingInterrupted, match="before step 0"):
                other.step(X, Y)
            seen.append(other.steps)

    with pytest.raises(dr.TrainingInterrupted):
        trainer().run(X, Y, epochs=3, callbacks=[Steps()], progress=False)
    assert seen == [0]
