"""The native engine does what the reference engine does, for everything a plan can say."""

import numpy as np
import pytest

import deltarule as dr
from agreement import Problem, assert_agree
from members import assert_complete, members
from native_cases import ACTIVATIONS, LOSSES, OPTIMIZERS, STACKS
from problems import examples, trained

D = dr.Dense


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    layers = [D(20, activation), dr.Activation(activation), D(9, activation), D(3)]
    if activation == "exp":  # exp of exp of exp is beyond any range
        layers = [D(20, "exp"), D(9, "tanh"), dr.Activation("exp"), D(3)]
    optimizer = dr.SGD(1e-3, momentum=0.9)  # 200 steps of them stay where 1e-2 would diverge
    assert_agree(Problem(layers, *examples("squared_error", 3), optimizer=optimizer))


@pytest.mark.parametrize("function", members("activation"), ids=repr)
def test_settings_of_activations_reach_the_core(function):
    if function.name in ("exp", "softmax"):
        return
    layers = [D(20, function), dr.Activation(function), D(3)]
    assert_agree(Problem(layers, *examples("squared_error", 3), optimizer=dr.SGD(1e-3)), steps=3)


def test_every_loss_is_compared():
    names = {loss if isinstance(loss, str) else loss.name for loss, _ in LOSSES}
    assert_complete("loss", names, "comparison of both engines")


@pytest.mark.parametrize(("loss", "output"), LOSSES)
@pytest.mark.parametrize("layer", ["fused", "apart and weighted"])
def test_losses(loss, output, layer):
    X, y = examples(loss, 19)
    if layer == "fused":
        assert_agree(Problem([D(20, "tanh"), D(19, output)], X, y, loss))
        return
    weights = np.random.default_rng(5).uniform(0, 2, len(X))
    end = [D(19), dr.Activation(output)]
    assert_agree(Problem([D(20, "tanh"), *end], X, y, loss, sample_weight=weights))
    assert_agree(Problem([D(20, "tanh"), *end], X, y, loss), steps=6)
    assert_agree(
        Problem([D(20, "tanh"), D(19, output)], X, y, loss, sample_weight=weights), steps=6
    )


@pytest.mark.parametrize("loss", ["cross_entropy", dr.CrossEntropy(label_smoothing=0.2)], ids=str)
def test_soft_targets(loss):
    X, _ = examples("cross_entropy", 5)
    y = np.random.default_rng(1).dirichlet(np.ones(5), len(X))
    assert_agree(Problem([D(6, "tanh"), D(5, "softmax")], X, y, loss))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:40])
@pytest.mark.parametrize(("batch_size", "steps"), [(10, 200), (1, 6)])
def test_optimizers(optimizer, batch_size, steps):
    X, y = examples("squared_error", 19)
    problem = Problem([D(20, "tanh"), D(19)], X, y, optimizer=optimizer, batch_size=batch_size)
    assert_agree(problem, steps)


@pytest.mark.parametrize(
    "settings",
    [
        {"penalty": dr.L2(0.1)},
        {"penalty": dr.L1(0.1)},
        {"penalty": dr.ElasticNet(0.1, 0.2)},
        {"penalty": dr.ElasticNet(1.0, 2.0, over_batch=True)},
        {"clip": dr.ClipNorm(0.1)},
        {"clip": dr.ClipValue(0.01)},
        {"constraint": dr.MaxNorm(0.5)},
        {"penalty": dr.L2(0.1), "clip": dr.ClipNorm(0.1), "constraint": dr.MaxNorm(0.5)},
    ],
    ids=str,
)
@pytest.mark.parametrize(("batch_size", "steps"), [(10, 200), (1, 6)])
def test_penalties_clipping_and_constraints(settings, batch_size, steps):
    X, y = examples("squared_error", 19)
    layers = [D(20, "tanh"), D(18, "tanh", learning_rate_factor=0), D(19)]
    assert_agree(Problem(layers, X, y, batch_size=batch_size, settings=settings), steps)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize(("batch_size", "steps"), [(10, 200), (1, 6), (5, 6), (37, 6)])
def test_layers(name, batch_size, steps):
    if batch_size == 1 and "BatchNorm" in repr(STACKS[name]):
        batch_size = 2  # which leaves a last batch of one row
    problem = Problem(
        STACKS[name], *examples("squared_error", 3), batch_size=batch_size,
        drop_last=batch_size == 2, optimizer=dr.SGD(2e-3, momentum=0.9),
    )  # fmt: skip
    assert_agree(problem, steps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_deep_network(dtype):
    X, y = examples("cross_entropy", 5, n=100, dtype=dtype)
    layers = [D(20, "tanh"), dr.BatchNorm(), dr.Dropout(0.1), D(17, "gelu"), D(5, "softmax")]
    assert_agree(Problem(layers, X, y, "cross_entropy", dr.SGD(0.05), dtype=dtype))


SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_widths_around_the_edges_of_tiles(size, dtype):
    X, y = examples("squared_error", size, inputs=size, dtype=dtype)
    layers = [D(size, "tanh"), D(size + 1, "tanh"), D(size)]
    assert_agree(Problem(layers, X, y, dtype=dtype, batch_size=7), steps=6)


@pytest.mark.parametrize("rows", [*SIZES, 127, 128, 129, 255, 256, 257, 600])
def test_batches_around_the_edges_of_tiles(rows):
    X, y = examples("squared_error", 3, n=rows + 2)
    assert_agree(Problem([D(18, "tanh"), D(17, "tanh"), D(3)], X, y, batch_size=rows), steps=3)


@pytest.mark.parametrize("width", [255, 256, 257, 520])
def test_depths_around_the_block_of_a_product(width):
    X, y = examples("squared_error", 2, inputs=width)
    layers = [D(width, "tanh"), D(width, "tanh"), D(2)]
    assert_agree(Problem(layers, X, y, batch_size=20), steps=3)


def test_a_layer_of_more_than_a_million_weights():
    """It keeps no transposed copy: the backward product transposes on the way."""
    X, y = examples("squared_error", 3, n=24, inputs=5)
    layers = [D(1027, "relu"), D(1031, "tanh"), D(3)]
    assert_agree(Problem(layers, X, y, batch_size=20, optimizer=dr.SGD(1e-3)), steps=2)


def test_data_types_and_strides():
    rng = np.random.default_rng(0)
    y = rng.normal(size=30)
    whole = rng.integers(0, 5, (60, 6))
    for X in (
        whole[::2].astype(np.float32), whole[::2].astype(np.uint8), whole[::2].astype(np.int16),
        whole[::2] > 2, np.asfortranarray(whole[:30].astype(float)), whole[:30, ::-1].astype(float),
        whole.astype(float)[::2, :], whole.astype(float)[30:, ::2],
    ):  # fmt: skip
        assert_agree(Problem([D(4, "tanh"), D(1)], X, y), steps=6)


def test_data_that_are_not_aligned(target):
    """As in a packed record, or read from the middle of a file."""
    X, y = examples("squared_error", 2, n=30)
    order, weights = np.random.default_rng(0).permutation(30), np.ones(30)

    def shifted(array):
        found = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(array.dtype)
        assert not found.flags.aligned
        return found.reshape(array.shape)

    packed = np.zeros(30, dtype=[("flag", "u1"), ("x", X.dtype, X.shape[1])])
    packed["x"] = X
    for x in (shifted(X), packed["x"]):
        vectors = []
        for data in ((X, y, order, weights), (x, *map(shifted, (y, order, weights)))):
            net = dr.Network([D(9, "tanh"), D(2)], inputs=7, dtype="float64")
            trainer = dr.Trainer(net, loss="squared_error", engine="native")
            trainer.run(*data[:2], shuffle=data[2], sample_weight=data[3], progress=False)
            dr.evaluate(
                net, *data[:2], loss="squared_error", sample_weight=data[3], engine="native"
            )
            net.predict(data[0], engine="native")
            vectors.append(net.vector)
        np.testing.assert_array_equal(*vectors)


def test_orders_and_partial_batches(target):
    X, y = examples("squared_error", 2, n=53)
    order = np.random.default_rng(0).permutation(53)
    for shuffle in (True, False, order):
        for drop_last in (True, False):
            nets = []
            for engine in ("reference", "native"):
                net = dr.Network([D(9, "tanh"), D(2)], inputs=7, dtype="float64")
                trainer = dr.Trainer(net, loss="squared_error", optimizer="adam", engine=engine)
                trainer.run(
                    X,
                    y,
                    epochs=3,
                    batch_size=10,
                    shuffle=shuffle,
                    drop_last=drop_last,
                    progress=False,
                )
                nets.append(net.vector)
            np.testing.assert_allclose(*nets, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [2, 255, 256, 257, 5000])
def test_epochs_have_the_same_order(n, target):
    """Which example comes last is seen in a network that remembers only the last one."""
    X = np.arange(n, dtype=float)[:, None] / n
    for seed in (0, 2**40 + 7):
        vectors = []
        for engine in ("reference", "native"):
            net = dr.Network([D(1)], inputs=1, dtype="float64")
            trainer = dr.Trainer(
                net, loss="squared_error", optimizer=dr.SGD(0.3), engine=engine, seed=seed
            )
            trainer.run(
                X, 3 * X[:, 0] + np.sin(9 * X[:, 0]), epochs=2, batch_size=1, progress=False
            )
            vectors.append(net.vector)
        np.testing.assert_allclose(*vectors, rtol=1e-12)


def test_evaluate_agrees(target):
    X, y = examples("cross_entropy", 5, n=300)
    layers = [D(20), dr.BatchNorm(), dr.Dropout(0.5), D(5, "softmax")]
    net, _, _ = trained("native", layers, X, y, loss="cross_entropy", batch_size=50)
    weights = np.random.default_rng(0).uniform(0, 1, 300)
    found = [
        dr.evaluate(
            net, X, y, loss="cross_entropy", metrics=["accuracy"], sample_weight=weights, engine=e
        )
        for e in ("reference", "native")
    ]
    assert found[0].keys() == found[1].keys()
    for key in found[0]:
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-12)


def test_what_python_defines_runs_in_the_reference_engine():
    class Mine(dr.activations.Tanh):
        pass

    net = dr.Network([D(3, Mine()), D(1)], inputs=2)
    with pytest.raises(ValueError, match="Mine is written in Python"):
        dr.Trainer(net, loss="squared_error", engine="native")
    assert dr.Trainer(net, loss="squared_error").engine.name == "reference"


@pytest.mark.parametrize(
    ("setting", "base"),
    [("clip", dr.ClipNorm), ("clip", dr.ClipValue), ("penalty", dr.L2), ("constraint", dr.MaxNorm)],
)
def test_a_setting_derived_in_python_is_not_taken_for_its_base(setting, base):
    class Mine(base):
        name = f"mine, {base.__name__}"

    net = dr.Network([D(1)], inputs=2)
    settings = {"loss": "squared_error", setting: Mine(0.5)}
    if setting == "constraint":
        net = dr.Network([D(1, constraint=Mine(0.5))], inputs=2)
        del settings[setting]
    with pytest.raises(ValueError, match=rf"the {setting}\w* Mine is written in Python"):
        dr.Trainer(net, engine="native", **settings)
    trainer = dr.Trainer(net, **settings)
    assert trainer.engine.name == "reference"
    assert np.isfinite(trainer.step(np.ones((3, 2)), np.ones(3)))
