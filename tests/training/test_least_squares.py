"""Minima of least squares: NIST's certified values, and those that SciPy finds.

Certified values, data and starts: NIST/ITL, Statistical Reference Datasets, nonlinear regression
(DanWood, Rat42, MGH17, Lanczos3; https://www.itl.nist.gov/div898/strd/). Each model is a network:
a sum of exponentials is a layer of exponential units and a linear one, a logistic curve a sigmoid
unit and its weight, a power of x the exponential of a line in log x.
"""

import numpy as np
import pytest

import deltarule as dr
from deltarule.engines.reference.jacobian import jacobian
from deltarule.engines.reference.passes import Context
from deltarule.plan import compile_network

optimize = pytest.importorskip("scipy.optimize")

EXACT = dr.LevenbergMarquardt(loss_tolerance=0, step_tolerance=1e-12, gradient_tolerance=1e-12)
SUM = dr.SquaredError(reduction="sum")

TEMPERATURE = np.array([1.309, 1.471, 1.490, 1.565, 1.611, 1.680])
ENERGY = np.array([2.138, 3.421, 3.597, 4.340, 4.882, 5.660])
GROWING_TIME = np.array([9.0, 14, 21, 28, 42, 57, 63, 70, 79])
PASTURE_YIELD = np.array([8.93, 10.80, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08])
OSBORNE = np.array([
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685,
    0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448,
    0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406,
])  # fmt: skip
LANCZOS = np.array([
    2.5134, 2.0443, 1.6684, 1.3664, 1.1232, 0.9269, 0.7679, 0.6389, 0.5338, 0.4479, 0.3776, 0.3197,
    0.2720, 0.2325, 0.1997, 0.1723, 0.1493, 0.1301, 0.1138, 0.1000, 0.0883, 0.0783, 0.0698, 0.0624,
])  # fmt: skip

CERTIFIED = {
    "DanWood: b1 x^b2": (
        [dr.Dense(1, "exp")], np.log(TEMPERATURE), ENERGY,
        [[5, np.log(1)], [4, np.log(0.7)]],
        [3.8604055871, np.log(7.6886226176e-01)], 4.3173084083e-03,
    ),
    "Rat42: b1 / (1 + exp(b2 - b3 x))": (
        [dr.Dense(1, "sigmoid"), dr.Dense(1, bias=False)], GROWING_TIME, PASTURE_YIELD,
        [[0.1, -1, 100], [0.07, -2.5, 75]],
        [6.7359200066e-02, -2.6180768402, 7.2462237576e01], 8.0565229338,
    ),
    "MGH17: b1 + b2 exp(-b4 x) + b3 exp(-b5 x)": (
        [dr.Dense(2, "exp", bias=False), dr.Dense(1)], 10.0 * np.arange(33), OSBORNE,
        [[-1, -2, 150, -100, 50], [-0.01, -0.02, 1.5, -1, 0.5]],
        [-1.2867534640e-02, -2.2122699662e-02, 1.9358469127, -1.4646871366, 3.7541005211e-01],
        5.4648946975e-05,
    ),
    "Lanczos3: b1 exp(-b2 x) + b3 exp(-b4 x) + b5 exp(-b6 x)": (
        [dr.Dense(3, "exp", bias=False), dr.Dense(1, bias=False)], 0.05 * np.arange(24), LANCZOS,
        [[-0.3, -5.5, -7.6, 1.2, 5.6, 6.5], [-0.7, -4.2, -6.3, 0.5, 3.6, 4.0]],
        [-9.5498101505e-01, -2.9515951832, -4.9863565084,
         8.6816414977e-02, 8.4400777463e-01, 1.5825685901], 1.6117193594e-08,
    ),
}  # fmt: skip


@pytest.mark.parametrize("start", [0, 1], ids=["far start", "near start"])
@pytest.mark.parametrize("name", CERTIFIED)
def test_the_certified_minimum_is_found(name, start):
    """To six digits of each parameter; the sum of squares, which is flat there, to nine."""
    layers, x, y, starts, certified, squares = CERTIFIED[name]
    network = dr.Network(layers, 1, dtype="float64")
    network.vector = starts[start]
    history = dr.train(
        network, x[:, None], y, loss=SUM, optimizer=EXACT, epochs=2000, batch_size=None,
        progress=False,
    )  # fmt: skip
    np.testing.assert_allclose(network.vector, certified, rtol=1e-6)
    assert 2 * history["loss"][-1] == pytest.approx(squares, rel=1e-9)


# ------------------------------------------------------------------------------ SciPy's

RNG = np.random.default_rng(3)
LINE = np.linspace(-1, 1, 40)[:, None]
PLANE = RNG.uniform(-1, 1, (80, 2))
NOISE = RNG.normal(size=(80, 2))
BUMP = np.exp(-4 * LINE**2)
WAVES = np.stack([np.sin(2 * PLANE[:, 0]), PLANE[:, 0] * PLANE[:, 1]], axis=1) + 0.1 * NOISE

PROBLEMS = {
    "a line": ([dr.Dense(1)], LINE, BUMP, {}),
    "a logistic curve": ([dr.Dense(1, "sigmoid")], LINE, 0.5 + 0.3 * LINE, {}),
    "a hidden layer": ([dr.Dense(2, "tanh"), dr.Dense(1)], LINE, BUMP, {}),
    "two outputs and a penalty": (
        [dr.Dense(3, "tanh"), dr.Dense(2)], PLANE, WAVES, {"penalty": dr.L2(0.1)},
    ),
    "weights of cells, and two hidden layers": (
        [dr.Dense(3, "sigmoid"), dr.Dense(2, "tanh"), dr.Dense(2)], PLANE, WAVES,
        {"penalty": dr.L2(0.1), "sample_weight": np.where(NOISE > 0, 2.0, 0.5)},
    ),
}  # fmt: skip


def scipys_minimum(network, X, Y, penalty=None, sample_weight=None):
    """Return what ``least_squares`` makes of the residuals, with ``sqrt(s) W`` of the penalty."""
    twin = network.copy()
    plan = compile_network(twin)
    roots = np.sqrt(np.ones_like(Y) if sample_weight is None else sample_weight)
    strengths = np.concatenate([
        np.full(p.size, penalty.strength if penalty and p.is_weight else 0.0)
        for p in plan.parameters
    ])  # fmt: skip

    def parts(vector):
        twin.vector = vector
        context = Context(list(twin.parameters.values()), [], training=True)
        a, J = jacobian(plan, X, context)
        return roots * (a - Y), roots[:, :, None] * J

    def residuals(vector):
        return np.concatenate([parts(vector)[0].ravel(), np.sqrt(strengths) * vector])

    def slopes(vector):
        J = parts(vector)[1].reshape(-1, len(vector))
        return np.concatenate([J, np.diag(np.sqrt(strengths))])

    tight = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15)
    return optimize.least_squares(
        residuals, network.vector.copy(), slopes, method="lm", max_nfev=5000, **tight
    )


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_is_the_minimum_that_scipy_finds(name):
    """From a point in its basin: far from any, two methods may go to different minima."""
    layers, X, Y, settings = PROBLEMS[name]
    network = dr.Network(layers, X.shape[1], seed=2, dtype="float64")
    trainer = dr.Trainer(network, SUM, EXACT, penalty=settings.get("penalty"))
    passed = {"batch_size": None, "progress": False, "sample_weight": settings.get("sample_weight")}
    trainer.run(X, Y, epochs=20, **passed)
    theirs = scipys_minimum(network, X, Y, **settings)
    history = trainer.run(X, Y, epochs=2000, **passed)
    assert history["loss"][-1] == pytest.approx(theirs.cost, rel=1e-9)
    np.testing.assert_allclose(network.vector, theirs.x, rtol=1e-5, atol=1e-9)
