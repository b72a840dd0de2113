"""What comes back from a memory map or from foreign buffers trains like the original."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import deltarule as dr

X = np.linspace(-1, 1, 24).reshape(8, 3)
Y = X.sum(axis=1)


def through_a_memory_map(value: Any, folder: Path) -> Any:
    """Return what a process of joblib.Parallel is handed: arrays that are mapped, read-only."""
    joblib.dump(value, folder / "value")
    return joblib.load(folder / "value", mmap_mode="r")


def through_read_only_buffers(value: Any, folder: Path) -> Any:
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(content, buffers=[bytes(buffer.raw()) for buffer in buffers])


def through_unaligned_buffers(value: Any, folder: Path) -> Any:
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    shifted = [memoryview(bytearray(1) + bytes(buffer.raw()))[1:] for buffer in buffers]
    return pickle.loads(content, buffers=shifted)


WAYS = [through_a_memory_map, through_read_only_buffers, through_unaligned_buffers]
Way = Callable[[Any, Path], Any]


def network() -> dr.Network:
    return dr.Network([dr.Dense(5), dr.BatchNorm(), dr.Dense(1)], inputs=3, seed=0)


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("way", WAYS)
def test_a_network_predicts_trains_and_takes_values(way: Way, engine: str, tmp_path: Path) -> None:
    net = network()
    twin = way(net, tmp_path)
    np.testing.assert_array_equal(twin.predict(X, engine=engine), net.predict(X, engine=engine))
    for each in (net, twin):
        dr.train(each, X, Y, loss="squared_error", epochs=2, engine=engine)
    np.testing.assert_array_equal(twin.vector, net.vector)
    np.testing.assert_array_equal(twin.state_vector, net.state_vector)
    twin.parameters["0.bias"] = np.ones(5)
    twin.parameters["0.bias"][0] = 2
    twin.initialize(3)
    twin.vector = np.zeros(len(net.vector))
    assert not twin.vector.any()


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("way", WAYS)
def test_a_trainer_goes_on_with_the_same_bits(way: Way, engine: str, tmp_path: Path) -> None:
    trainer = dr.Trainer(network(), "squared_error", engine=engine)
    trainer.run(X, Y, epochs=2)
    twin = way(trainer, tmp_path)
    for each in (trainer, twin):
        each.run(X, Y, epochs=2)
        each.step(X, Y)
    np.testing.assert_array_equal(twin.network.vector, trainer.network.vector)


@pytest.mark.parametrize("way", [through_a_memory_map, through_read_only_buffers])
def test_a_trace_and_its_network_can_be_used(way: Way, tmp_path: Path) -> None:
    trace = dr.backpropagate(network(), X, Y, "squared_error")
    twin = way(trace, tmp_path)
    assert str(twin) == str(trace)
    dr.train(twin.network, X, Y, loss="squared_error", epochs=1)


def test_a_history_reads_the_same(tmp_path: Path) -> None:
    history = dr.train(network(), X, Y, loss="squared_error", epochs=3)
    for way in (through_a_memory_map, through_read_only_buffers):
        assert dict(way(history, tmp_path)) == dict(history)


def test_two_networks_from_one_buffer_are_two(tmp_path: Path) -> None:
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(network(), protocol=5, buffer_callback=buffers.append)
    shared = [bytearray(buffer.raw()) for buffer in buffers]
    one, other = (pickle.loads(content, buffers=shared) for _ in range(2))
    one.vector = np.zeros(len(one.vector))
    assert other.vector.any()
