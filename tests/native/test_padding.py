"""Matrices lie in panels two vectors wide; the lanes past their last column are seen nowhere.

Every way is tried of getting something other than zero into them: what an earlier call left in the
same memory, functions whose value at 0 is not 0, and infinities, which times 0 are NaN.
"""

import numpy as np
import pytest

import deltarule as dr
from agreement import Problem, assert_agree
from native_cases import LOSSES, OPTIMIZERS, STACKS
from pairwise import pairwise
from problems import TARGETS, examples

D = dr.Dense
ODD = [1, 3, 5, 9, 17, 33]
DTYPES = ["float32", "float64"]


def executor_of(layers, X, loss, optimizer, dtype, precision):
    net = dr.Network(layers, inputs=X.shape[1], seed=1, dtype=dtype)
    trainer = dr.Trainer(
        net, loss=loss, optimizer=optimizer, engine="native", threads=1, seed=3,
        penalty=dr.ElasticNet(0.01, 0.1), clip=dr.ClipNorm(0.1), constraint=dr.MaxNorm(1.0),
        precision=precision,
    )  # fmt: skip
    return net, trainer


def course(layers, X, y, *, loss="squared_error", optimizer=None, dtype, poison, precision=None):
    """Train where the memory of tiles is fresh, or where a prediction has filled it with NaN."""
    optimizer = optimizer or dr.SGD(1e-3, momentum=0.9)
    net, trainer = executor_of(layers, X, loss, optimizer, dtype, precision)
    if poison:
        left = np.full((256, X.shape[1]), np.nan, dtype=dtype)  # as many rows as a tile takes
        assert np.isnan(trainer._executor.predict(left, None)).all()
    history = trainer.run(X, y, batch_size=13, epochs=2, progress=False)
    return (
        net.vector.tobytes(), net.state_vector.tobytes(),
        trainer._executor.optimizer_state.tobytes(),
        *(np.array(history[name]).tobytes() for name in history),
        trainer._executor.predict(X, None).tobytes(),
    )  # fmt: skip


@pairwise(name=STACKS, dtype=DTYPES, target=TARGETS)
def test_what_a_prediction_left_in_memory_changes_no_layer(name, dtype, target):
    X, y = examples("squared_error", 3)
    runs = [course(STACKS[name], X, y, dtype=dtype, poison=poison) for poison in (False, True)]
    assert runs[0] == runs[1]


@pairwise(width=ODD, inputs=[1, 4, 7, 33], target=TARGETS)
def test_what_a_prediction_left_in_memory_changes_no_rounded_product(width, inputs, target):
    X, y = examples("squared_error", 3, inputs=inputs)
    layers = [D(width, "softplus"), D(width + 1, "sigmoid"), D(3)]
    runs = [
        course(layers, X, y, dtype="float32", poison=p, precision="bfloat16") for p in (False, True)
    ]
    assert runs[0] == runs[1]


@pairwise(width=ODD, target=TARGETS)
def test_infinity_in_a_rounded_product_is_found_where_it_is(width, target):
    """The sigmoid's loss is finite, and the gradient of what feeds it is not."""
    said = set()
    for engine in ("reference", "native"):
        layers = [D(3, "exp"), D(width, "sigmoid"), D(3)]
        net = dr.Network(layers, inputs=2, seed=1, dtype="float32")
        net.parameters["0.weight"][:] = 200
        net.parameters["1.weight"][:] = 1
        trainer = dr.Trainer(net, "squared_error", engine=engine, precision="bfloat16")
        with pytest.raises(dr.DivergenceError) as caught:
            trainer.step(np.ones((5, 2)), np.ones((5, 3)))
        said.add(str(caught.value))
    assert len(said) == 1
    assert "gradient" in said.pop()


@pairwise(loss__output=LOSSES, dtype=DTYPES, target=TARGETS)
def test_what_a_prediction_left_in_memory_changes_no_loss(loss, output, dtype, target):
    X, y = examples(loss, 3)
    layers = [D(5, "softplus"), D(3, output)]
    runs = [course(layers, X, y, loss=loss, dtype=dtype, poison=p) for p in (False, True)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("width", ODD)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:40])
def test_padding_adds_nothing_to_a_norm_or_penalty(optimizer, width):
    """Clipping by norm and penalties sum over whole panels of gradients and weights."""
    X, y = examples("squared_error", width)
    problem = Problem(
        [D(width, "softplus"), dr.LayerNorm(1e-3), D(width, "sigmoid"), D(width, "softplus")],
        X, y, optimizer=optimizer,
        settings={"penalty": dr.ElasticNet(0.01, 0.1), "clip": dr.ClipNorm(0.1)},
    )  # fmt: skip
    assert_agree(problem, steps=6, sharp=0.5)


AFTER_INFINITY = {
    "dense": [],
    "softmax": [dr.Activation("softmax")],
    "layer norm": [dr.LayerNorm()],
    "batch norm": [dr.BatchNorm()],
    "scale": [dr.Scale(2.0)],
    "dropout": [dr.Dropout(0.5)],
    "residual": [dr.Residual([D(4, "sigmoid"), dr.LayerNorm()])],
}


# Few rows read the weights as they are, without padding.
@pairwise(name=AFTER_INFINITY, width=ODD, rows=[3, 9], dtype=DTYPES, target=TARGETS)
def test_infinity_times_a_padding_of_zero_is_seen_nowhere(name, width, rows, dtype, target):
    """An infinite feature saturates every unit; in the padding inf * 0 is NaN."""
    layers = [D(width, "sigmoid"), *AFTER_INFINITY[name], D(width, "softplus"), D(3)]
    net = dr.Network(layers, inputs=7, seed=1, dtype=dtype)
    X = np.random.default_rng(0).normal(size=(rows, 7)).astype(dtype)
    X[1, 2], X[2, 3] = np.inf, -np.inf
    with np.errstate(all="ignore"):
        expected = net.predict(X, engine="reference")
    found = net.predict(X, engine="native")
    assert np.isfinite(expected).all()
    # Sums of at most 33 terms of size 1, in four layers, and r = 1 / sqrt(1e-5) of a LayerNorm.
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * 33 * 316 * np.finfo(dtype).eps)
