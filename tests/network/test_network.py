"""A network is one flat vector with named views, and files keep all of it."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import safetensors.numpy

import deltarule as dr
from deltarule.base.settings import describe


def everything(dtype: str = "float32") -> dr.Network:
    """Return a network with every kind of layer, whose running statistics have moved."""
    net = dr.Network(
        [
            dr.Dense(8, dr.activations.LeakyReLU(0.2), penalty=dr.L1(1e-3)),
            dr.Dropout(0.1),
            dr.Residual([dr.Dense(6), dr.BatchNorm(), dr.Activation("relu"), dr.Dense(5)]),
            dr.LayerNorm(),
            dr.Dense(3, "softmax", constraint=dr.MaxNorm(2.0), learning_rate_factor=0.5),
        ],
        inputs=4,
        seed=7,
        dtype=dtype,
    )
    rng = np.random.default_rng(0)
    dr.train(
        net,
        rng.standard_normal((20, 4)),
        rng.integers(0, 3, 20),
        loss="cross_entropy",
        epochs=3,
    )
    return net.freeze("0.bias")


X = np.random.default_rng(1).standard_normal((9, 4))


def test_parameters_are_named_by_dotted_paths_in_the_order_of_the_vector() -> None:
    net = everything()
    assert list(net.parameters) == [
        "0.weight",
        "0.bias",
        "2.0.weight",
        "2.0.bias",
        "2.1.scale",
        "2.1.shift",
        "2.3.weight",
        "2.3.bias",
        "2.projection.weight",
        "3.scale",
        "3.shift",
        "4.weight",
        "4.bias",
    ]
    flat = np.concatenate([view.ravel() for view in net.parameters.values()])
    np.testing.assert_array_equal(flat, net.vector)
    assert list(net.state) == ["2.1.running_mean", "2.1.running_variance"]


def test_views_share_the_memory_of_the_vector() -> None:
    net = everything()
    net.parameters["0.weight"][1, 2] = 42
    assert net.vector[1 * 8 + 2] == 42
    net.parameters["0.bias"] = np.arange(8)
    assert net.vector[32:40].tolist() == list(range(8))
    net.vector = np.zeros(len(net.vector))
    assert not net.parameters["4.weight"].any()


@pytest.mark.parametrize(
    "twin_of",
    [
        dr.Network.copy,
        copy.copy,
        copy.deepcopy,
        lambda net: pickle.loads(pickle.dumps(net)),
    ],
    ids=["copy", "copy.copy", "deepcopy", "pickle"],
)
def test_copies_are_independent_and_keep_their_views(twin_of: object) -> None:
    net = everything()
    twin = twin_of(net)  # type: ignore[operator]
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))
    assert twin.learning_rate_factors == net.learning_rate_factors
    before = net.vector.copy()
    twin.parameters["0.weight"] = np.full((4, 8), 3.0)
    twin.unfreeze("0.bias")
    assert (twin.vector[:32] == 3).all()
    np.testing.assert_array_equal(net.vector, before)
    assert net.learning_rate_factors["0.bias"] == 0


def test_a_copy_in_another_dtype_has_the_same_values() -> None:
    net = everything("float32")
    twin = net.copy(dtype="float64")
    assert twin.vector.dtype == np.float64
    np.testing.assert_array_equal(twin.vector.astype(np.float32), net.vector)


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    first, again, other = (
        dr.Network([dr.Dense(5, "tanh"), dr.Dense(2)], inputs=3, seed=seed) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first.vector, again.vector)
    assert (first.parameters["0.weight"] != other.parameters["0.weight"]).all()


def test_initial_weights_do_not_depend_on_the_dtype() -> None:
    wide, narrow = (
        dr.Network([dr.Dense(5, "relu")], inputs=3, dtype=dtype) for dtype in ("float64", "float32")
    )
    np.testing.assert_array_equal(wide.vector.astype(np.float32), narrow.vector)


def test_the_default_initializer_follows_the_activation_behind_the_layer() -> None:
    net = dr.Network(
        [
            dr.Dense(400),
            dr.BatchNorm(),
            dr.Activation("relu"),
            dr.Dense(400, "selu"),
            dr.Dense(400, "tanh"),
            dr.Dense(400, "relu", weight_initializer="lecun_normal"),
        ],
        inputs=400,
    )
    deviations = [net.parameters[f"{i}.weight"].std() * np.sqrt(400) for i in (0, 3, 4, 5)]
    # Of 160,000 numbers the standard deviation is known to 1/sqrt(2 * 160,000) = 0.2%: 4 of those.
    np.testing.assert_allclose(deviations, [np.sqrt(2), 1, 1, 1], rtol=0.008)


def test_a_network_wide_initializer_yields_to_the_layers_own() -> None:
    net = dr.Network(
        [dr.Dense(3), dr.Dense(2, weight_initializer=dr.initializers.Constant(5.0))],
        inputs=2,
        weight_initializer="zeros",
    )
    assert not net.parameters["0.weight"].any()
    assert (net.parameters["1.weight"] == 5).all()


@pytest.mark.parametrize("wide", [None, "glorot_uniform"])
@pytest.mark.parametrize("saved", [False, True])
def test_another_seed_draws_what_a_new_network_of_that_seed_has(
    tmp_path: Path, saved: bool, wide: str | None
) -> None:
    def network(seed: int) -> dr.Network:
        inner = [dr.Dense(6, bias_initializer="normal"), dr.BatchNorm(), dr.Dense(5)]
        layers = [dr.Dense(5, "relu"), dr.Residual(inner), dr.LayerNorm(), dr.Dense(2)]
        return dr.Network(layers, inputs=4, seed=seed, weight_initializer=wide)

    net, twin = network(3), network(8)
    if saved:
        net = dr.load(net.save(tmp_path / "net.safetensors"))
    net.vector[:] += 1
    net.state_vector[:] += 1
    assert net.initialize(8) is net
    np.testing.assert_array_equal(net.vector, twin.vector)
    np.testing.assert_array_equal(net.state_vector, twin.state_vector)
    assert net.seed == 8
    with pytest.raises(ValueError, match="seed must be"):
        net.initialize(-1)


def test_another_seed_leaves_what_is_frozen() -> None:
    net = everything().freeze("0.weight", "2.1.scale")
    before = net.copy()
    net.initialize(99)
    for name in ("0.weight", "0.bias", "2.1.scale"):  # the bias is frozen from the start
        np.testing.assert_array_equal(net.parameters[name], before.parameters[name])
    for name in ("2.0.weight", "2.1.shift", "4.weight"):
        assert not (net.parameters[name] == before.parameters[name]).any()
    assert not net.state["2.1.running_mean"].any()  # BatchNorm's shift is still free
    net = before.copy().freeze("2.1").initialize(99)
    np.testing.assert_array_equal(net.state_vector, before.state_vector)
    assert before.state_vector.any()


def test_a_file_without_the_networks_own_initializer_still_loads(tmp_path: Path) -> None:
    path = dr.Network([dr.Dense(2)], inputs=3).save(tmp_path / "net.safetensors")
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    description = json.loads(metadata["network"])
    del description["weight_initializer"]
    metadata["network"] = json.dumps(description)
    path.write_bytes(safetensors.numpy.save(arrays, metadata=metadata))
    assert dr.load(path).weight_initializer is None


def records_of(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of each key in JSON values."""
    items = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[arg-type]
    for key, item in items:
        if isinstance(value, dict):
            yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from records_of(item, (*path, key))


def test_a_file_that_lacks_any_key_is_refused(tmp_path: Path) -> None:
    """A default in its place would be another network: the identity, where an activation stood."""
    layers = [
        dr.Dense(4, dr.activations.ELU(0.5), penalty=dr.ElasticNet(), constraint=dr.MaxNorm()),
        dr.Residual([dr.Dense(4, weight_initializer=dr.initializers.Normal(0.1))]),
        dr.Activation("relu"), dr.BatchNorm(), dr.LayerNorm(), dr.Dropout(0.1), dr.Scale(),
        dr.Dense(2, "softmax"),
    ]  # fmt: skip
    net = dr.Network(
        [dr.Embedding((3,), 2, columns=(1,)), *layers], inputs=3, weight_initializer="he_normal"
    )
    path = net.save(tmp_path / "net.safetensors")
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    whole = json.loads(metadata["network"])
    # What earlier versions did not write.
    paths = [p for p in records_of(whole) if p not in (("weight_initializer",), ("feature_names",))]
    assert len(paths) > 60
    for place in paths:
        description = json.loads(metadata["network"])
        record = description
        for key in place[:-1]:
            record = record[key]
        del record[place[-1]]
        changed = metadata | {"network": json.dumps(description)}
        path.write_bytes(safetensors.numpy.save(arrays, metadata=changed))
        with pytest.raises(dr.FileFormatError, match="does not describe a network"):
            dr.load(path)


def test_prediction_does_not_depend_on_the_size_of_blocks() -> None:
    net = everything("float64")
    whole = net.predict(X)
    for batch_size in (1, 4, 9, 100):
        # A row's sums run over the same k terms; only BLAS may order them differently.
        np.testing.assert_allclose(net.predict(X, batch_size=batch_size), whole, rtol=1e-13)


def test_summary_and_repr_name_layers_shapes_and_counts() -> None:
    net = everything()
    summary = net.summary()
    for text in ("projection.weight 8x5", "BatchNorm", "Dense(3, softmax)"):
        assert text in summary
    assert f"{len(net.vector):,} parameters" in summary
    assert repr(net).startswith("Network(4 -> Dense(8, leaky_relu) -> Dropout(0.1) -> Residual(")


# ------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_network_comes_back_whole(tmp_path: Path, dtype: str) -> None:
    net = everything(dtype)
    path = net.save(tmp_path / "net.safetensors")
    twin = dr.load(path)
    assert twin.layers == net.layers
    assert (twin.inputs, twin.seed, twin.dtype) == (net.inputs, net.seed, net.dtype)
    assert twin.learning_rate_factors == net.learning_rate_factors
    np.testing.assert_array_equal(twin.vector, net.vector)
    np.testing.assert_array_equal(twin.state_vector, net.state_vector)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


def test_sizes_from_numpy_are_saved_as_plain_numbers(tmp_path: Path) -> None:
    net = dr.Network([dr.Dense(np.int64(3)), dr.Dropout(np.float32(0.25))], inputs=np.int32(4))
    twin = dr.load(net.save(tmp_path / "net.safetensors"))
    assert twin.layers == (dr.Dense(3), dr.Dropout(0.25))


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_saving_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to("net.safetensors")
    everything().save(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert not (tmp_path / "net.safetensors").is_symlink()
    dr.load(tmp_path / "net.safetensors")


def test_the_header_states_schema_architecture_and_orientation(tmp_path: Path) -> None:
    path = everything().save(tmp_path / "net.safetensors")
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        assert file.get_tensor("0.weight").shape == (4, 8)
    assert metadata["format"] == "deltarule"
    assert metadata["schema"] == "1"
    assert metadata["orientation"] == "W is (n_in, n_out): z = a_prev @ W + b"
    described = json.loads(metadata["network"])
    assert described["layers"][0]["activation"] == {
        "activation": "leaky_relu",
        "negative_slope": 0.2,
    }


@dataclass(frozen=True)
class Sine(dr.activations.ActivationFunction):
    name: ClassVar[str] = "test_sine"
    frequency: float = 1.0

    def __call__(self, z: np.ndarray) -> np.ndarray:
        return np.sin(self.frequency * z)

    def derivative(self, z: np.ndarray, a: np.ndarray) -> np.ndarray:
        return self.frequency * np.cos(self.frequency * z)


def test_an_activation_of_ones_own_trains_and_is_saved_by_name(tmp_path: Path) -> None:
    net = dr.Network([dr.Dense(6, Sine(2.0)), dr.Dense(1)], inputs=4, dtype="float64")
    assert dr.check_gradients(net, X, X[:, 0], "squared_error")
    history = dr.train(net, X, X[:, 0], loss="squared_error", epochs=20)
    assert history["loss"][-1] < history["loss"][0]
    twin = dr.load(net.save(tmp_path / "net.safetensors"))
    assert twin.layers[0] == dr.Dense(6, Sine(2.0))
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


@dataclass(frozen=True)
class Shift(dr.CustomLayer):
    """Adds a number to each column; ``fault`` breaks it in one of the usual ways."""

    name: ClassVar[str] = "test_shift"
    fault: str = ""

    def parameters(self, inputs: int) -> tuple[dr.layers.ParameterSpec, ...]:
        return (dr.layers.ParameterSpec("by", (inputs,), dr.initializers.Zeros(), False),)

    def forward(self, x, parameters, training):  # type: ignore[no-untyped-def]
        y = x + parameters["by"]
        faults = {"no cache": y, "wrong width": (y[:, :1], None)}
        return faults.get(self.fault, (y, None))

    def backward(self, gradient, cache, parameters):  # type: ignore[no-untyped-def]
        right = {"by": gradient.sum(axis=0)}
        faults = {"no gradient": {}, "not summed over rows": {"by": gradient}}
        return gradient, faults.get(self.fault, right)


def test_a_layer_of_ones_own_trains_and_its_gradients_are_right() -> None:
    net = dr.Network([Shift(), dr.Dense(1)], inputs=4, dtype="float64")
    assert dr.check_gradients(net, X, X[:, 0], "squared_error")
    dr.train(net, X, X[:, 0], loss="squared_error", epochs=2)
    assert net.parameters["0.by"].any()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no cache", r"forward must return \(output, cache\), got ndarray"),
        ("wrong width", r"forward must return shape \(9, 4\).* got shape \(9, 1\)"),
        ("no gradient", "backward must return a gradient of 'by', got none"),
        ("not summed over rows", r"backward of 'by' must return shape \(4,\).* got shape \(9, 4\)"),
    ],
)
def test_a_faulty_layer_of_ones_own_is_named(fault: str, message: str) -> None:
    net = dr.Network([Shift(fault), dr.Dense(1)], inputs=4)
    with pytest.raises(ValueError, match=rf"layer '0' \(Shift\): {message}"):
        dr.train(net, X, X[:, 0], loss="squared_error")


def test_an_unnamed_activation_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Nameless(Sine):
        pass

    Nameless.name = ""
    net = dr.Network([dr.Dense(2, Nameless())], inputs=4)
    with pytest.raises(TypeError, match="class attribute `name`"):
        net.save(tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def rewritten(path: Path, **changes: str) -> Path:
    """Rewrite a file with other metadata; a value of "" removes the key."""
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = {**file.metadata(), **changes}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    kept = {key: value for key, value in metadata.items() if value}
    safetensors.numpy.save_file(arrays, path, kept)
    return path


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    def saved(name: str) -> Path:
        return dr.Network([dr.Dense(2, "relu")], inputs=3).save(folder / f"{name}.safetensors")

    def described(name: str, **changes: object) -> Path:
        path = saved(name)
        with safetensors.safe_open(path, framework="numpy") as file:
            network = json.loads(file.metadata()["network"])
        return rewritten(path, network=json.dumps({**network, **changes}))

    truncated, garbage, empty = saved("truncated"), folder / "garbage", folder / "empty"
    truncated.write_bytes(truncated.read_bytes()[:-5])
    garbage.write_bytes(os.urandom(500))
    empty.touch()
    foreign, extra = folder / "foreign", saved("extra")
    safetensors.numpy.save_file({"w": np.zeros(2)}, foreign)
    with safetensors.safe_open(extra, framework="numpy") as file:
        metadata = file.metadata()
    safetensors.numpy.save_file({"0.weight": np.zeros((3, 2), np.float32)}, extra, metadata)
    shape = saved("shape")
    arrays = {"0.weight": np.zeros((2, 3), np.float32), "0.bias": np.zeros(2, np.float32)}
    safetensors.numpy.save_file(arrays, shape, metadata)
    layer = {"layer": "dense", "units": 2, "activation": {"activation": "warp"}}
    return {
        "truncated": (truncated, "not a whole safetensors file"),
        "garbage": (garbage, "not a whole safetensors file"),
        "empty": (empty, "not a whole safetensors file"),
        "foreign": (foreign, "not a network written by deltarule"),
        "newer": (rewritten(saved("newer"), schema="99"), "has schema 99.*install a newer one"),
        "no schema": (rewritten(saved("no-schema"), schema=""), "no schema version"),
        "no network": (rewritten(saved("no-network"), network=""), "does not describe a network"),
        "not JSON": (rewritten(saved("not-json"), network="{"), "does not describe a network"),
        "a list": (rewritten(saved("list"), network="[]"), "does not describe a network"),
        "unknown activation": (described("unknown", layers=[layer]), "unknown activation 'warp'"),
        "no layers": (described("no-layers", layers=[]), "at least one layer"),
        "negative inputs": (described("negative", inputs=-3), "inputs must be"),
        "immense layers": (
            described("immense", layers=[{**layer, "activation": None} | {"units": 10**12}]),
            "does not describe|should be",
        ),
        "beyond any integer": (
            described("beyond", layers=[describe(dr.Dense(2, "relu")) | {"units": 10**30}]),
            "does not describe",
        ),
        "deep JSON": (rewritten(saved("deep"), network="[" * 100_000), "does not describe a"),
        "long schema": (rewritten(saved("long"), schema="9" * 5000), "no schema version"),
        "missing array": (extra, "missing 0.bias"),
        "wrong shape": (shape, r"0.weight should be F32 \(3, 2\)"),
        "a folder": (folder, "is a folder"),
    }


def test_bad_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    for name, (path, message) in bad_files(tmp_path).items():
        with pytest.raises(OSError, match=message) as caught:
            dr.load(path)
        assert isinstance(caught.value, dr.FileFormatError), name
        assert str(path) in str(caught.value), name


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent"):
        dr.load(tmp_path / "absent.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_saving_where_it_cannot_raises_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = everything()
    with pytest.raises(OSError, match=r"cannot write .*: there is no folder .*missing"):
        net.save(tmp_path / "missing" / "net.safetensors")

    path = net.save(tmp_path / "net.safetensors")
    old = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    net.vector = np.zeros(len(net.vector))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        net.save(path)
    assert caught.value.errno == 28
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_saved_file_has_the_usual_permissions(tmp_path: Path) -> None:
    path = everything().save(tmp_path / "net.safetensors")
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_memory_of_a_prediction_does_not_grow_with_the_rows() -> None:
    """Beside the result it is that of a block: NumPy reports its allocations to tracemalloc."""
    net = dr.Network([dr.Dense(512, "tanh"), dr.Dense(512, "tanh"), dr.Dense(1)], inputs=8)
    peaks = []
    for rows in (20_000, 80_000):
        many = np.zeros((rows, 8), dtype=np.float32)
        tracemalloc.start()
        net.predict(many, engine="reference")
        peaks.append(tracemalloc.get_traced_memory()[1] - 4 * rows)
        tracemalloc.stop()
    all_activations = 80_000 * 512 * 4
    assert peaks[1] <= 1.05 * peaks[0] < all_activations / 4


def test_running_statistics_are_assigned_by_name_or_all_at_once() -> None:
    net = dr.Network([dr.Dense(2), dr.BatchNorm()], inputs=3)
    values = {
        name: np.full(array.shape, i + 1.5) for i, (name, array) in enumerate(net.state.items())
    }
    net.state = values
    assert {name: array.tolist() for name, array in net.state.items()} == {
        name: value.tolist() for name, value in values.items()
    }
    net.state_vector = np.arange(len(net.state_vector))
    assert net.state_vector.tolist() == list(range(len(net.state_vector)))
    with pytest.raises(ValueError, match="state takes a mapping with exactly these names: 1"):
        net.state = {"0.mean": np.zeros(2)}
    with pytest.raises(ValueError, match=r"'state_vector' has shape \(4,\), got .*\(3,\)"):
        net.state_vector = np.zeros(3)


def test_what_is_frozen_must_be_named() -> None:
    with pytest.raises(ValueError, match=r"name the parameters or layers, for instance '0'"):
        dr.Network([dr.Dense(2)], inputs=3).freeze()


@pytest.mark.parametrize("dtype", ["floaty", "int32", object()])
def test_a_dtype_that_is_none_or_another_is_refused(dtype: object) -> None:
    with pytest.raises(TypeError, match='dtype must be "float32" or "float64", got'):
        dr.Network([dr.Dense(2)], inputs=3, dtype=dtype)  # type: ignore[arg-type]


def test_an_addition_stands_only_within_a_residual() -> None:
    from deltarule.network.layers import Add

    with pytest.raises(ValueError, match=r"layer '1': Add is a part of Residual"):
        dr.Network([dr.Dense(2), Add()], inputs=3).predict(np.ones((1, 3)))


@pytest.mark.parametrize(
    "call",
    [lambda x: dr.save(x, "x"), lambda x: dr.Trainer(x, "squared_error")],
    ids=["save", "train"],
)
def test_something_else_than_a_network_is_refused(call: object) -> None:
    with pytest.raises(TypeError, match=r"deltarule\.Network, got (list|\[)"):
        call([dr.Dense(1)])  # type: ignore[operator]
