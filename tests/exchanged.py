"""What tests of exported models share: the programs that run them, and how far they may be off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import deltarule as dr
from agreement import DRAWS, FACTOR, FEWEST_TERMS, perturbed
from deltarule.plan import compile_network
from native_cases import STACKS
from oracles import oracle

WIDTH = 5
CODES = [dr.Embedding((4, 3), size=2, columns=(1, 3)), dr.Dense(2, "tanh")]
NETWORKS = {
    **STACKS,
    "embedding": CODES,
    "codes alone": [dr.Embedding((4,) * WIDTH, size=3), dr.Dense(2)],
}


RUNTIMES = ("onnxruntime", "reference evaluator")


def runner(model: Any, runtime: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function from inputs to outputs, both by name."""
    names = [output.name for output in model.graph.output]
    if runtime == "onnxruntime":
        library = oracle("onnxruntime")
        options = library.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # its warnings go to stderr: of constants it folds
        session = library.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True))
    evaluator = oracle("onnx.reference").ReferenceEvaluator(model)
    return lambda inputs: dict(zip(names, evaluator.run(None, inputs), strict=True))


def prediction(net: dr.Network, X: np.ndarray) -> tuple[np.ndarray, float]:
    """Return what a network predicts, and by how much another program's sums may be off."""
    expected = net.predict(X, engine="reference")
    terms = max(*compile_network(net).widths, FEWEST_TERMS)
    spread = 0.0
    for seed in range(DRAWS):
        with perturbed(terms, net.dtype.name, seed):
            drawn = net.predict(X, engine="reference")
        spread = max(spread, float(np.abs(drawn - expected).max()))
    rounding = 4 * float(np.finfo(net.dtype).eps) * float(np.abs(expected).max())
    return expected, FACTOR * spread + rounding


def network(name: str, dtype: str) -> dr.Network:
    """Return a network whose every number is its own, running statistics included."""
    net = dr.Network(NETWORKS[name], inputs=WIDTH, seed=2, dtype=dtype)
    rng = np.random.default_rng(3)
    net.vector += 0.1 * rng.normal(size=net.vector.shape)
    net.state_vector += rng.uniform(0.1, 0.5, size=net.state_vector.shape)
    return net


def rows(net: dr.Network, n: int = 11) -> np.ndarray:
    """Return rows that a network takes, codes where it reads codes."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(n, net.inputs)).astype(net.dtype)
    if isinstance(net.layers[0], dr.Embedding):
        for column, count in zip(net.layers[0].columns, net.layers[0].categories, strict=True):
            X[:, column] = rng.integers(0, count, n)
    return X
