"""The same bits for batches of 1 to 70 rows on any number of threads, more than rows included.

Small networks use one thread, since more would not gain. Here one multiplication repays a
thread, so that all that are asked for take part: with as many as rows every tile has a single row.
"""

import itertools

import pytest

import deltarule as dr
from deltarule.engines import native
from deltarule.plan import compile_network
from native_cases import OPTIMIZERS, STACKS
from problems import FEW, SOAK, bits, examples

D = dr.Dense
BATCHES = range(1, 71)
# Layers that are cut by panels where a batch has few rows, and what must not wait there.
WIDE = {
    "wide": [D(150, "relu"), D(130, "tanh"), D(3)],
    "wide, elu after a residual": [D(140), dr.Residual([D(140, "elu"), D(140)]), D(3)],
    "wide, constrained": [D(150, "relu", constraint=dr.MaxNorm(0.8)), D(150, "relu"), D(3)],
    "wide, penalised": [D(150, "relu", penalty=dr.L1(1e-3)), D(150, "relu"), D(3)],
}
ALL = STACKS | WIDE
SETTINGS = ({}, {"clip": dr.ClipNorm(0.1)}, {"penalty": dr.L2(1e-2)}, {"clip": dr.ClipValue(0.01)})


@pytest.fixture(autouse=True)
def threads_for_the_least_work(monkeypatch):
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1.0)


def assert_same_bits(stack, optimizer, batch_size, settings):
    layers = ALL[stack]
    inputs = 60 if stack in WIDE else 7
    if batch_size == 1 and compile_network(dr.Network(layers, inputs=inputs)).couples_rows:
        batch_size = 2  # batch statistics need two rows
    X, y = examples("squared_error", 3, n=2 * batch_size, inputs=inputs)
    runs = {
        threads: bits(
            layers, X, y, threads, batch_size=batch_size, epochs=1, optimizer=optimizer,
            dtype="float32", **settings,
        )
        for threads in sorted({1, 2, 3, batch_size, batch_size + 1, 64})
    }  # fmt: skip
    differ = [threads for threads, run in runs.items() if run != runs[1]]
    assert not differ, f"{stack}, {optimizer}, {batch_size} rows: other bits on {differ} threads"


# Each batch size with some stack, each stack with some optimizer.
CASES = [
    (list(ALL)[b % len(ALL)], OPTIMIZERS[b % len(OPTIMIZERS)], b, SETTINGS[b // len(ALL) % 4])
    for b in BATCHES
] + [
    (stack, OPTIMIZERS[i % len(OPTIMIZERS)], b, {})
    for i, (stack, b) in enumerate(itertools.product(WIDE, (1, 2, 8, 32)))
]


@pytest.mark.parametrize(
    ("stack", "optimizer", "batch_size", "settings"), CASES[:: 5 if FEW else 1]
)
def test_threads_change_no_bit(stack, optimizer, batch_size, settings):
    assert_same_bits(stack, optimizer, batch_size, settings)


if SOAK:

    @pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:40])
    @pytest.mark.parametrize("stack", ALL)
    def test_threads_change_no_bit_of_any_combination(stack, optimizer):
        for i, batch_size in enumerate(BATCHES):
            assert_same_bits(stack, optimizer, batch_size, SETTINGS[i % len(SETTINGS)])


def test_as_many_threads_as_rows_learn_what_one_learns():
    """As on a machine of 32 cores, where the first layer once summed one row of each tile."""
    X, y = examples("cross_entropy", 10, n=320, inputs=784)
    layers = [D(256, "relu"), D(10, "softmax")]
    settings = {"loss": "cross_entropy", "batch_size": 32, "epochs": 3, "optimizer": dr.Adam()}
    expected = bits(layers, X, y, 1, **settings)
    for threads in (31, 32, 33, 64):
        assert bits(layers, X, y, threads, **settings) == expected
