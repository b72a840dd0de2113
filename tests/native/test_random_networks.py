"""Native against reference on networks, data and settings that nobody thought of.

The same examples at every run, fewer of them under sanitizers; in ``make soak`` many, and new ones.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

import deltarule as dr
from agreement import BluntError, Problem, assert_agree
from deltarule.engines import native
from members import own
from problems import FEW, SOAK, TARGETS, examples

# One less and one more than a panel, two vectors wide, and than half of it: float and double,
# 16, 32 and 64 bytes.
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33]
# Around the 4, 6 and 12 rows of a register tile and the 4 of a step that keeps no transposed copy.
ROWS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 25]
FUNCTIONS = [name for name in own("activation") if name != "exp"]  # exp of exp leaves all ranges

widths = st.sampled_from(WIDTHS)
functions = st.sampled_from(FUNCTIONS)
factors = st.sampled_from([1.0, 1.0, 1.0, 0.0, 0.5, 2.0])
rates = st.sampled_from([1e-3, 5e-3])
penalties = st.sampled_from([None, None, dr.L2(0.01), dr.L1(0.01), dr.ElasticNet(0.01, 0.1)])
constraints = st.sampled_from([None, None, dr.MaxNorm(0.5), dr.MaxNorm(2.0)])

layers = st.one_of(
    st.builds(
        dr.Dense, widths, functions, bias=st.booleans(), learning_rate_factor=factors,
        penalty=penalties, constraint=constraints,
    ),
    st.builds(dr.Activation, functions),
    st.builds(
        dr.BatchNorm, st.just(1e-3), st.sampled_from([0.1, 0.5]), learning_rate_factor=factors
    ),
    st.builds(dr.LayerNorm, st.just(1e-3), learning_rate_factor=factors),
    st.builds(dr.Scale, st.sampled_from([0.5, 1.0]), learning_rate_factor=factors),
    st.builds(dr.Dropout, st.sampled_from([0.0, 0.1, 0.5])),
)  # fmt: skip
stacks = st.lists(
    st.recursive(
        layers,
        lambda inner: st.builds(dr.Residual, st.lists(inner, min_size=1, max_size=3)),
        max_leaves=4,
    ),
    max_size=4,
)
reductions = st.sampled_from(["mean", "sum"])
losses = st.one_of(
    st.tuples(
        st.sampled_from(
            [dr.SquaredError(), dr.SquaredError(reduction="sum"), dr.MeanSquaredError(),
             dr.MeanAbsoluteError(), dr.Huber(0.5), dr.Quantile(0.3)]
        ),
        st.sampled_from(["identity", "tanh", "softplus", "softmax"]),
    ),
    st.tuples(st.builds(dr.Poisson, reduction=reductions), st.sampled_from(["exp", "softplus"])),
    st.tuples(st.builds(dr.BinaryCrossEntropy, reduction=reductions), st.just("sigmoid")),
    st.tuples(
        st.builds(dr.CrossEntropy, st.sampled_from([0.0, 0.1]), reduction=reductions),
        st.just("softmax"),
    ),
)  # fmt: skip
optimizers = st.one_of(
    st.builds(dr.SGD, rates, st.sampled_from([0.0, 0.9])),
    st.builds(dr.SGD, rates, st.just(0.9), st.just(True)),
    st.builds(
        dr.RMSprop, rates, epsilon=st.just(1e-4), momentum=st.sampled_from([0.0, 0.9]),
        centered=st.booleans(),
    ),
    st.builds(dr.Adagrad, rates),
    st.builds(dr.Adam, rates, epsilon=st.just(1e-4), amsgrad=st.booleans()),
    st.builds(dr.AdamW, rates, epsilon=st.just(1e-4), weight_decay=st.just(0.1)),
    st.builds(dr.NAdam, rates, epsilon=st.just(1e-4)),
    st.builds(dr.Adan, rates, epsilon=st.just(1e-4), weight_decay=st.sampled_from([0.0, 0.1])),
    st.builds(dr.Lion, st.just(1e-4), weight_decay=st.sampled_from([0.0, 0.1])),
    st.builds(dr.Rprop),
)  # fmt: skip


@st.composite
def problems(draw):
    """Return a whole problem, of up to four layers and residuals inside residuals."""
    loss, output = draw(losses)
    outputs = draw(widths.filter(lambda k: k > 1) if output == "softmax" else widths)
    end = [dr.Dense(outputs, output)]
    if draw(st.booleans()):
        end = [dr.Dense(outputs), dr.Activation(output)]
    stack = [*draw(stacks), *end]
    batch_size, drop_last = draw(st.sampled_from(ROWS)), draw(st.booleans())
    n = batch_size * draw(st.integers(1, 3)) + draw(st.integers(0, batch_size - 1))
    if "BatchNorm" in repr(stack):  # which refuses a batch of one row
        assume(batch_size > 1)
        drop_last = drop_last or n % batch_size == 1
    dtype, seed = draw(st.sampled_from(["float32", "float64"])), draw(st.integers(0, 2**20))
    X, y = examples(loss, outputs, n=n, inputs=draw(widths), seed=seed, dtype=dtype)
    weight = np.random.default_rng(seed).uniform(0.1, 2, n) if draw(st.booleans()) else None
    return Problem(
        stack, X, y, loss, draw(optimizers), batch_size=batch_size, drop_last=drop_last,
        shuffle=draw(st.sampled_from([True, False])), dtype=dtype, sample_weight=weight,
        settings=dict(
            penalty=draw(penalties),
            constraint=draw(constraints),
            clip=draw(st.sampled_from([None, None, dr.ClipNorm(0.1), dr.ClipValue(0.01)])),
        ),
    )  # fmt: skip


def tried(count):
    return settings(
        max_examples=max(4, count // 10) if FEW else 50 * count if SOAK else count,
        deadline=None,
        derandomize=not SOAK,
        print_blob=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def check(problem, steps):
    note(repr(problem))
    try:
        assert_agree(problem, steps, sharp=0.5)
    except (dr.DivergenceError, BluntError):
        assume(False)


@tried(300)
@given(problems())
def test_one_step(problem):
    check(problem, 1)


@tried(10)
@given(problems())
def test_two_hundred_steps(problem):
    check(problem, 200)


@pytest.mark.parametrize("target", TARGETS)
def test_no_rows_are_refused(target, monkeypatch):
    monkeypatch.setenv("DELTARULE_TARGET", target)
    net = dr.Network([dr.Dense(2)], inputs=3)
    trainer = dr.Trainer(net, loss="squared_error", engine="native")
    X, y = np.zeros((0, 3)), np.zeros((0, 2))
    with pytest.raises(ValueError, match=r"row|example|empty"):
        trainer.run(X, y, progress=False)
    with pytest.raises(ValueError, match=r"row|example|empty"):
        trainer.step(X, y)
    with pytest.raises(ValueError, match=r"row|example|empty"):
        dr.evaluate(net, X, y, loss="squared_error", engine="native")
    # Below the checks of the library the core refuses them too.
    with pytest.raises(ValueError, match=r"shape|rows"):
        trainer._executor._core.forward(
            x=np.zeros((0, 3), np.float32), y=None, weights=None, parameters=net.vector,
            running=net.state_vector, out=np.zeros((0, 2), np.float32),
        )  # fmt: skip
    assert native.core().target() == target
