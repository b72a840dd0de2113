"""precision="bfloat16": products of rounded numbers, summed in float32.

The sums of such products are chains of additions in one order, and each product is exact: so the
processor's own instruction, its emulation and all vector targets must have the same bits.
"""

from __future__ import annotations

import numpy as np
import pytest

import deltarule as dr
from deltarule.base.rounding import to_bfloat16
from deltarule.engines import native
from native_cases import STACKS
from oracles import oracle
from problems import FEW, bits, examples, trained

EPS = float(np.finfo(np.float32).eps)
ALL_TARGETS = native.core().targets() if native.core() is not None else []
D = dr.Dense


@pytest.fixture
def many_threads(monkeypatch):
    """One multiplication repays a thread, so that all that are asked for take part."""
    monkeypatch.setattr(native, "WORK_PER_THREAD", 1.0)


# ------------------------------------------------------------------------------------- rounding


def float32_numbers() -> np.ndarray:
    """Each upper half that a float32 may have, before lower halves around its ties."""
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = np.uint32([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
    return (upper[:, None] | lower).ravel().view(np.float32)


def test_each_number_is_rounded_to_the_nearest_with_ties_to_even():
    x = float32_numbers()
    rounded = to_bfloat16(x)
    assert (np.isnan(rounded) == np.isnan(x)).all()
    x, rounded = x[np.isfinite(rounded)].astype(float), rounded[np.isfinite(rounded)].astype(float)
    upper = np.float32(rounded).view(np.uint32)
    assert not (upper & 0xFFFF).any()
    for neighbour in (upper + np.uint32(1 << 16), upper - np.uint32(1 << 16)):
        with np.errstate(invalid="ignore"):
            other = neighbour.view(np.float32).astype(float)
            nearer = np.abs(x - rounded) - np.abs(x - other)
        assert not (nearer > 0).any()
        ties = nearer == 0
        assert not (upper[ties] >> 16 & 1).any()


def test_pytorch_rounds_alike():
    torch = oracle("torch")
    x = float32_numbers()
    expected = torch.from_numpy(x).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(to_bfloat16(x), expected)


# ---------------------------------------------------------------------------- one step, by hand


class Step:
    """One step of SGD with rate 1 on a network whose sums up to the last delta are exact.

    The inputs have 10 significant bits, so rounding matters, and the weights 2: every sum is a
    multiple of 2^-4 below 2^20. What the gradient's sums are made of is then known to the bit.
    """

    def __init__(self, inputs, hidden, rows, bias=True):
        rng = np.random.default_rng(rows * 1000 + hidden)
        self.X = rng.integers(-700, 701, (rows, inputs)).astype(np.float32)
        self.y = rng.integers(-9, 10, (rows, 3)).astype(np.float32)
        self.net = dr.Network(
            [D(hidden, "relu", bias=bias), D(3, bias=bias)], inputs=inputs, dtype="float32", seed=0
        )
        self.net.vector[:] = rng.integers(-2, 3, len(self.net.vector)) / 4
        self.start = {name: p.astype(float) for name, p in self.net.parameters.items()}

    def expected(self):
        """The parameters after the step, and how far sums in float32 may be from them."""
        start, bias = self.start, "0.bias" in self.start
        W1, W2 = start["0.weight"], start["1.weight"]
        x = to_bfloat16(self.X).astype(float)
        z1 = x @ W1 + (start["0.bias"] if bias else 0)
        a1 = to_bfloat16(np.float32(np.maximum(z1, 0))).astype(float)
        delta2 = a1 @ W2 + (start["1.bias"] if bias else 0) - self.y
        d2 = to_bfloat16(np.float32(delta2)).astype(float)
        delta1 = (d2 @ W2.T) * (z1 > 0)
        d1 = to_bfloat16(np.float32(delta1)).astype(float)
        terms = {"0.weight": (x, d1), "1.weight": (a1, d2)}
        if bias:  # whose sums are no products: nothing is rounded to bfloat16
            ones = np.ones((len(x), 1))
            terms |= {"0.bias": (ones, delta1), "1.bias": (ones, delta2)}
        found = {}
        for name, (a, d) in terms.items():
            new = start[name] - (a.T @ d).reshape(start[name].shape)
            size = (np.abs(a).T @ np.abs(d)).reshape(new.shape)
            found[name] = new, len(x) * EPS * size + EPS * np.abs(new)
        return found, float((0.5 * delta2**2).sum())

    def run(self, engine, **settings):
        return dr.Trainer(
            self.net, dr.SquaredError(reduction="sum"), dr.SGD(1.0), engine=engine,
            precision="bfloat16", **settings,
        ).step(self.X, self.y)  # fmt: skip


SIZES = [
    (inputs, hidden, rows)
    for inputs, hidden in [(1, 1), (2, 3), (5, 8), (16, 17), (31, 32), (33, 31)]
    for rows in (1, 2, 3, 7, 16, 17, 64, 65)
]


@pytest.mark.parametrize(("inputs", "hidden", "rows"), SIZES)
def test_a_step_is_the_one_that_was_computed_by_hand(inputs, hidden, rows, monkeypatch):
    found = {}
    for engine in ("reference", *ALL_TARGETS):
        if engine != "reference":
            monkeypatch.setenv("DELTARULE_TARGET", engine)
        step = Step(inputs, hidden, rows, bias=rows % 2 == 0)
        expected, loss = step.expected()
        reported = step.run("reference" if engine == "reference" else "native")
        assert reported == pytest.approx(loss, rel=3 * rows * EPS), engine
        for name, (new, tolerance) in expected.items():
            difference = np.abs(step.net.parameters[name] - new)
            assert (difference <= tolerance).all(), (engine, name)
        found[engine] = step.net.vector.tobytes()
    del found["reference"]
    assert len(set(found.values())) == 1, "targets differ in a bit"


def test_many_blocks_of_every_product(monkeypatch):
    """More inputs, units and rows than one pass over a panel takes."""
    for name in ALL_TARGETS[:: 2 if FEW else 1]:
        monkeypatch.setenv("DELTARULE_TARGET", name)
        step = Step(1100, 530, 300)
        # (1100 inputs of 10 bits leave no room for two more layers of exact sums.)
        step.X = np.sign(step.X) * (np.abs(step.X) % 3)
        expected, _ = step.expected()
        step.run("native")
        for parameter, (new, tolerance) in expected.items():
            assert (np.abs(step.net.parameters[parameter] - new) <= tolerance).all(), parameter


# ------------------------------------------------------------------------------- the same bits


@pytest.mark.skipif(
    "avx512_bf16" not in ALL_TARGETS, reason="this processor has no instruction to compare with"
)
@pytest.mark.parametrize("stack", STACKS)
def test_the_processors_instruction_is_what_the_emulation_computes(stack, monkeypatch):
    X, y = examples("squared_error", 3, n=50)
    found = []
    for name in ("avx512_bf16", "avx512"):
        monkeypatch.setenv("DELTARULE_TARGET", name)
        found.append(
            bits(
                STACKS[stack], X, y, 1, optimizer=dr.AdamW(0.01), clip=dr.ClipNorm(1.0), epochs=3,
                dtype="float32", precision="bfloat16",
            )
        )  # fmt: skip
    assert found[0] == found[1]


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("rows", range(1, 71, 4 if FEW else 1))
def test_threads_change_no_bit(rows, monkeypatch):
    monkeypatch.setenv("DELTARULE_TARGET", ALL_TARGETS[rows % len(ALL_TARGETS)])
    layers = [D(70, "relu"), dr.Dropout(0.2), dr.Residual([D(70, "tanh"), D(70)]), D(3)]
    X, y = examples("squared_error", 3, n=2 * rows, inputs=9)
    runs = {
        threads: bits(
            layers, X, y, threads, batch_size=rows, optimizer=dr.Adam(0.01), dtype="float32",
            precision="bfloat16", constraint=dr.MaxNorm(2.0),
        )
        for threads in sorted({1, 2, 3, rows, rows + 1, 64})
    }  # fmt: skip
    assert all(run == runs[1] for run in runs.values())


def test_a_batch_in_chunks_is_the_whole_batch():
    """Full batches beyond 32 MB are cut; the sums go on where they stopped."""
    step = Step(40, 300, 9000)
    step.X[...] = np.sign(step.X)
    expected, _ = step.expected()
    step.run("native", threads=2)
    for name, (new, tolerance) in expected.items():
        assert (np.abs(step.net.parameters[name] - new) <= tolerance).all(), name


# --------------------------------------------------------------------------------------- in use


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_the_plain_way_is_not_changed_and_the_rounded_one_is_another(engine):
    X, y = examples("squared_error", 3)
    plain, asked, rounded = (
        trained(engine, [D(20, "tanh"), D(3)], X, y, dtype="float32", **settings)[0].vector
        for settings in ({}, {"precision": "float32"}, {"precision": "bfloat16"})
    )
    assert plain.tobytes() == asked.tobytes()
    assert plain.tobytes() != rounded.tobytes()
    # Each product is off by a few 2^-9 of itself, and so is what training moves.
    moved = np.abs(plain - dr.Network([D(20, "tanh"), D(3)], inputs=7, seed=1).vector).max()
    assert np.abs(plain - rounded).max() < 8 * 2.0**-8 * moved


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_digits_are_learnt_as_well(engine):
    digits = oracle("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    X, y = digits.data[order] / 16, digits.target[order]
    scores = {}
    for precision in (None, "bfloat16"):
        net = dr.Network([D(64, "relu"), D(10, "softmax")], inputs=64, dtype="float32", seed=0)
        dr.train(
            net, X[:1400], y[:1400], loss="cross_entropy", epochs=15, engine=engine,
            precision=precision, progress=False,
        )  # fmt: skip
        scores[precision] = np.mean(net.predict(X[1400:]).argmax(axis=1) == y[1400:])
    assert scores[None] > 0.9
    # Two scores of n rows differ by chance by some standard errors sqrt(2 p (1 - p) / n).
    p, n = scores[None], len(X) - 1400
    assert abs(scores["bfloat16"] - p) < 3 * np.sqrt(2 * p * (1 - p) / n)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_steps_and_runs_are_one_course(engine):
    X, y = examples("squared_error", 3, n=20, dtype=np.float32)
    one, other = (
        dr.Trainer(
            dr.Network([D(9, "relu"), D(3)], inputs=7, dtype="float32", seed=0),
            "squared_error", engine=engine, precision="bfloat16",
        )
        for _ in range(2)
    )  # fmt: skip
    one.run(X, y, batch_size=10, shuffle=False, progress=False)
    for rows in (slice(0, 10), slice(10, 20)):
        other.step(X[rows], y[rows])
    assert one.network.vector.tobytes() == other.network.vector.tobytes()


def test_restarts_round_too():
    X, y = examples("squared_error", 3, dtype=np.float32)
    layers = [D(9, "relu"), D(3)]
    net = dr.Network(layers, inputs=7, dtype="float32", seed=0)
    alone = dr.Network(layers, inputs=7, dtype="float32", seed=0)
    settings = dict(loss="squared_error", epochs=2, progress=False, precision="bfloat16")
    found = dr.restart(net, X, y, restarts=1, **settings)
    dr.train(alone, X, y, **settings)
    assert found.best == 0
    assert net.vector.tobytes() == alone.vector.tobytes()


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_what_overflows_when_rounded_is_a_divergence(engine):
    net = dr.Network([D(2), D(1)], inputs=1, dtype="float32", seed=0)
    net.vector[:] = 1
    largest = float(np.finfo(np.float32).max)  # nearer to infinity than to another bfloat16
    trainer = dr.Trainer(net, "squared_error", engine=engine, precision="bfloat16")
    with pytest.raises(dr.DivergenceError, match="'0' is not finite"):
        trainer.step([[largest]], [[0.0]])
    assert (net.vector == 1).all()


@pytest.mark.parametrize(
    ("precision", "dtype", "said"),
    [
        ("bfloat16", "float64", 'dtype="float32"'),
        ("float32", "float64", 'dtype="float32"'),
        ("float64", "float32", 'dtype="float64"'),
        ("half", "float32", "'bfloat16'"),
    ],
)
def test_a_precision_that_does_not_fit_is_refused(precision, dtype, said):
    net = dr.Network([D(1)], inputs=1, dtype=dtype)
    with pytest.raises(ValueError, match=said):
        dr.Trainer(net, "squared_error", precision=precision)


def test_a_precision_of_another_type_is_refused():
    net = dr.Network([D(1)], inputs=1, dtype="float32")
    with pytest.raises(TypeError, match="precision"):
        dr.Trainer(net, "squared_error", precision=16)
