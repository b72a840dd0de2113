"""Time to a given error on smooth regression: Levenberg-Marquardt beside Adam, L-BFGS and SciPy.

    OPENBLAS_NUM_THREADS=1 python benchmarks/full_batch.py [--seeds 5] [--limit 20]

Every method starts from the same weights and trains on the same rows until the mean squared error
on them is below the target, a part of the targets' variance. Methods take turns, seed by seed; the
table has the median over seeds of the seconds, and how often the target was reached within the
limit. Adam (float32, where it is fastest) gets the best of several rates and batch sizes for each
problem, chosen by the shortest median; what was spent on trying the others is not counted. SciPy's
`least_squares` gets residuals and Jacobian from the reference engine.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares

import deltarule as dr
from deltarule.engines.reference.jacobian import jacobian
from deltarule.engines.reference.passes import Context
from deltarule.plan import compile_network

RATES, BATCHES = (1e-3, 3e-3, 1e-2, 3e-2), (32, None)


class Problem(NamedTuple):
    """A smooth function on a cube, and a network for it."""

    name: str
    inputs: int
    rows: int
    hidden: tuple[int, ...]
    target: float
    function: Callable[[np.ndarray], np.ndarray]

    def network(self, seed: int, dtype: str) -> dr.Network:
        layers = [dr.Dense(units, "tanh") for units in self.hidden]
        net = dr.Network([*layers, dr.Dense(1)], self.inputs, seed=seed, dtype="float32")
        return net.copy(dtype=dtype)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        X = np.random.default_rng(0).uniform(-1, 1, (self.rows, self.inputs))
        y = self.function(X)
        return X, ((y - y.mean()) / y.std())[:, None]


def wave(X: np.ndarray) -> np.ndarray:
    return np.sin(3 * X[:, 0])


def product_of_waves(X: np.ndarray) -> np.ndarray:
    return np.sin(3 * X[:, 0]) * np.cos(2 * X[:, 1])


def bump(X: np.ndarray) -> np.ndarray:
    return np.exp(-(X**2).sum(axis=1)) + X[:, 0] * X[:, 1]


PROBLEMS = [
    Problem("sin 3x", 1, 100, (3,), 1e-4, wave),
    Problem("sin 3x, to 1e-7", 1, 100, (6,), 1e-7, wave),
    Problem("sin 3x cos 2y", 2, 400, (20,), 1e-5, product_of_waves),
    Problem("sin 3x cos 2y, two layers", 2, 400, (15, 15), 1e-6, product_of_waves),
    Problem("bump in 5 dimensions", 5, 1000, (20, 20), 1e-5, bump),
    Problem("bump in 5 dimensions, wide", 5, 2000, (40, 40), 1e-5, bump),
]


class Reached(dr.Callback):
    """Ends a run at a loss, or after some seconds."""

    def __init__(self, target: float, limit: float) -> None:
        self.target, self.limit = target, limit
        self.seconds = math.inf

    def on_start(self, state: dr.State) -> None:
        self.start = time.perf_counter()

    def on_epoch(self, state: dr.State) -> None:
        now = time.perf_counter() - self.start
        if state.history.latest("loss") <= self.target:
            self.seconds, state.stop = now, "reached"
        elif now > self.limit:
            state.stop = "too long"

    def epochs_at_once(self, state: dr.State) -> int:
        return self.together(state)

    def together(self, state: dr.State) -> int:
        return 1


class InTwentieths(Reached):
    """Looks after another twentieth of the epochs so far, so that looking costs next to nothing."""

    def together(self, state: dr.State) -> int:
        return 1 + state.epoch // 20


def by_deltarule(problem: Problem, seed: int, limit: float, **settings: Any) -> float:
    X, y = problem.data()
    adam = isinstance(settings["optimizer"], dr.Adam)
    net = problem.network(seed, "float32" if adam else "float64")
    reached = (InTwentieths if adam else Reached)(problem.target, limit)
    dr.train(net, X, y, loss="mse", epochs=1 << 40, callbacks=[reached], progress=False, **settings)
    return reached.seconds


def by_scipy(problem: Problem, seed: int, limit: float) -> float:
    X, y = problem.data()
    net = problem.network(seed, "float64")
    plan, parameters = compile_network(net), list(net.parameters.values())
    seen: dict[str, Any] = {"vector": None}
    start = time.perf_counter()

    class Over(Exception):  # noqa: N818
        pass

    def at(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not np.array_equal(seen["vector"], vector):
            net.vector = vector
            a, J = jacobian(plan, X, Context(parameters, [], training=True))
            seen.update(vector=vector.copy(), found=((a - y).ravel(), J[:, 0]))
            now, r = time.perf_counter() - start, seen["found"][0]
            if r @ r / len(r) <= problem.target or now > limit:
                raise Over(now if now <= limit else math.inf)
        return seen["found"]

    try:
        least_squares(
            lambda v: at(v)[0], net.vector.copy(), lambda v: at(v)[1],
            method="lm" if problem.rows >= len(net.vector) else "trf",
            ftol=1e-15, xtol=1e-15, gtol=1e-15, max_nfev=1 << 30,
        )  # fmt: skip
    except Over as over:
        return float(over.args[0])
    return math.inf


def methods() -> dict[str, Callable[[Problem, int, float], float]]:
    def ours(optimizer: dr.Optimizer, batch_size: int | None = None) -> Callable[..., float]:
        def run(problem: Problem, seed: int, limit: float) -> float:
            return by_deltarule(problem, seed, limit, optimizer=optimizer, batch_size=batch_size)

        return run

    found = {
        "Levenberg-Marquardt": ours(dr.LevenbergMarquardt(loss_tolerance=0)),
        "L-BFGS": ours(dr.LBFGS(loss_tolerance=0, gradient_tolerance=0)),
        "least_squares": by_scipy,
    }
    for rate, batch in product(RATES, BATCHES):
        found[f"Adam {rate:g}, {batch or 'all'}"] = ours(dr.Adam(rate), batch)
    return found


def shown(seconds: list[float]) -> str:
    median, count = statistics.median(seconds), sum(map(math.isfinite, seconds))
    text = f"{median:.3g} s" if math.isfinite(median) else "-"
    return text if count == len(seconds) else f"{text} ({count}/{len(seconds)})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=20.0)
    arguments = parser.parse_args()
    print(
        "| problem | parameters | rows | target | Levenberg-Marquardt | L-BFGS | least_squares "
        "| Adam | its rate, batch | Adam / LM |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for problem in PROBLEMS:
        seconds: dict[str, list[float]] = {name: [] for name in methods()}
        for seed in range(arguments.seeds):
            best = arguments.limit
            for name, run in methods().items():
                # Of Adam's settings none needs longer than the best of this seed to lose.
                limit = best if name.startswith("Adam") else arguments.limit
                seconds[name].append(run(problem, seed, limit))
                if name.startswith("Adam"):
                    best = min(best, 2 * seconds[name][-1])
        adam = min((n for n in seconds if n.startswith("Adam")), key=lambda n: rank(seconds[n]))
        ours, theirs = (statistics.median(seconds[n]) for n in ("Levenberg-Marquardt", adam))
        ratio = min(theirs, arguments.limit) / ours
        bound = f"{ratio:.1f}" if math.isfinite(theirs) else f"> {ratio:.0f}"
        if math.isinf(ours):
            bound = "-"
        print(
            f"| {problem.name} | {len(problem.network(0, 'float32').vector)} | {problem.rows} "
            f"| {problem.target:g} | {shown(seconds['Levenberg-Marquardt'])} "
            f"| {shown(seconds['L-BFGS'])} | {shown(seconds['least_squares'])} "
            f"| {shown(seconds[adam])} | {adam.removeprefix('Adam ')} | {bound} |",
            flush=True,
        )


def rank(seconds: list[float]) -> tuple[int, float]:
    """Order by how often the target was missed, then by the median of the seconds."""
    missed = sum(map(math.isinf, seconds))
    return missed, statistics.median(seconds)


if __name__ == "__main__":
    main()
