"""A run is cut into calls of an engine; neither what is learnt nor what is reported shows it."""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr
from deltarule.training import pace

ENGINES = [name for name, state in dr.engines().items() if state.startswith("available")]
RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((7, 3)), RNG.standard_normal(7)


def network() -> dr.Network:
    return dr.Network([dr.Dense(4, "tanh"), dr.Dense(1)], inputs=3, seed=1, dtype="float64")


def counted(trainer: dr.Trainer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the steps of each call."""
    calls: list[int] = []
    run = trainer._executor.run
    monkeypatch.setattr(
        trainer._executor,
        "run",
        lambda call, record: (calls.append(call.steps), run(call, record))[1],
    )
    return calls


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "schedule", [0.05, dr.Linear(0.1), dr.Step(0.1, every=5, unit="epoch")], ids=repr
)
def test_the_cut_changes_no_bit(
    engine: str, schedule: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for steps_per_call in (1, 6, 1 << 13):
        monkeypatch.setattr(pace, "STEPS_PER_CALL", steps_per_call)
        net = network()
        trainer = dr.Trainer(
            net, "squared_error", dr.Adam(schedule), penalty=dr.L2(0.01), engine=engine
        )
        calls = counted(trainer, monkeypatch)
        history = trainer.run(X, Y, epochs=20, batch_size=4)  # two steps per epoch
        assert (trainer.epochs, trainer.steps, history.steps) == (20, 40, 40)
        results.append((sum(calls), net.vector.tobytes(), dict(history)))
        if steps_per_call == 1:
            assert calls == [2] * 20
    assert results[0] == results[1] == results[2]
    assert len(results[0][2]["loss"]) == 20


def test_calls_grow_where_they_are_short_and_not_beyond_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has its fixed cost: 10,000 tiny epochs need few calls."""
    trainer = dr.Trainer(network(), "squared_error")
    calls = counted(trainer, monkeypatch)
    monkeypatch.setattr(pace, "SECONDS_PER_CALL", 1e9)
    trainer.run(X, Y, epochs=10_000, batch_size=None)
    assert calls == [1, 64, 64**2, 10_000 - 1 - 64 - 64**2]
    calls.clear()
    monkeypatch.setattr(pace, "SECONDS_PER_CALL", 0.0)
    trainer.run(X, Y, epochs=5, batch_size=None)
    assert calls == [1] * 5


@pytest.mark.parametrize("engine", ENGINES)
def test_the_gradient_norm_is_the_root_mean_square_over_the_steps(engine: str) -> None:
    net, twin = network(), network()
    trainer = dr.Trainer(net, "squared_error", dr.SGD(0.05), engine=engine)
    history = trainer.run(X, Y, epochs=2, batch_size=3, shuffle=False)
    stepper = dr.Trainer(twin, "squared_error", dr.SGD(0.05), engine=engine)
    for epoch in range(2):
        squares: dict[str, list[float]] = {name: [] for name in net.parameters}
        for first in (0, 3, 6):
            x, y = X[first : first + 3], Y[first : first + 3]
            trace = dr.backpropagate(twin, x, y, dr.SquaredError())
            for name, gradient in trace.gradients.items():
                squares[name].append(float((gradient**2).sum()))
            stepper.step(x, y)
        for name, found in squares.items():
            # Sums of at most 12 squares, then three steps of drift: a few dozen roundings.
            np.testing.assert_allclose(
                history[f"gradient_norm.{name}"][epoch],
                np.sqrt(np.mean(found)),
                rtol=64 * np.finfo(np.float64).eps,
            )


@pytest.mark.parametrize("engine", ENGINES)
def test_an_epoch_in_which_nothing_had_weight_has_loss_0(engine: str) -> None:
    trainer = dr.Trainer(network(), "squared_error", engine=engine)
    history = trainer.run(
        X[:3], Y[:3], batch_size=2, drop_last=True, shuffle=False, sample_weight=[0, 0, 1]
    )
    assert history["loss"] == [0.0]
    assert history["gradient_norm.0.weight"] == [0.0]


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adagrad", "adam", "adamw", "nadam", "lion"])
def test_a_table_of_scalars_has_those_of_each_step(name: str) -> None:
    optimizer = dr.optimizers.Optimizer.resolve(name)
    t, eta = np.arange(1.0, 6.0), np.array([0.5, 0.25, 0.125, 1.0, 2.0])
    table = optimizer.scalars(t, eta)
    assert table.shape == (5, len(optimizer.scalar_names))
    assert table.dtype == np.float64
    for i in range(5):
        np.testing.assert_array_equal(
            table[i : i + 1], optimizer.scalars(t[i : i + 1], eta[i : i + 1])
        )
