"""What tests of exported models share: the programs that run them, and how far they may be off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import deltarule as dr
from agreement import DRAWS, FACTOR, FEWEST_TERMS, perturbed
from deltarule.plan import compile_network
from oracles import oracle

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
