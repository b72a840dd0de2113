"""Networks and fitted models as ONNX files, which many programs and languages run.

Only operators of the standard domain ``ai.onnx`` are used, none of ``ai.onnx.ml`` and none that one
runtime alone knows.
"""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

from deltarule.base.errors import InvalidTypeError, describe_value
from deltarule.exchange.graph import Graph
from deltarule.exchange.operators import append_network
from deltarule.network.network import Network


def to_onnx(source: Network, path: str | PathLike[str] | None = None) -> Any:
    """Return a network as an ONNX model, and write it to a file where a path is given.

    The model computes what ``predict`` does: dropout is left out, BatchNorm uses its running
    statistics. It has one input ``X`` (rows, inputs) and one output ``Y`` (rows, outputs), both of
    the network's dtype, for any number of rows. Its operators are those of opset 13 in the domain
    ``ai.onnx``. The same network gives the same bytes.

    Parameters
    ----------
    source : Network
        Of built-in layers and activations.
    path : str or Path, optional
        For instance ``"digits.onnx"``; written whole or not at all.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    TypeError
        A layer or an activation has formulas of its own in Python; the message names it.
    ValueError
        The arrays take 2 GiB or more, which no ONNX file can hold.
    ImportError
        ``onnx`` is not installed (``pip install 'deltarule[onnx]'``).
    OSError
        The file cannot be written; an existing one is unchanged.

    Notes
    -----
    A code of an Embedding that is out of range is an error in ``predict``. A graph cannot raise:
    there it gives NaN in its row.

    Source: `ONNX operators <https://onnx.ai/onnx/operators/>`_.

    Examples
    --------
    >>> import deltarule as dr
    >>> from deltarule.exchange import to_onnx
    >>> net = dr.Network([dr.Dense(3, "relu"), dr.Dense(2, "softmax")], inputs=4)
    >>> model = to_onnx(net)
    >>> [node.op_type for node in model.graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Softmax', 'Identity']
    """
    if not isinstance(source, Network):
        raise InvalidTypeError(f"to_onnx takes a deltarule.Network, got {describe_value(source)}")
    graph = Graph(source.dtype)
    X = graph.input("X", graph.dtype, source.inputs)
    graph.output("Y", append_network(graph, source, X), graph.dtype, source.outputs)
    metadata = {}
    if source.feature_names is not None:
        metadata["feature_names"] = json.dumps(source.feature_names)
    model = graph.model(repr(source), metadata)
    if path is not None:
        from deltarule.base.files import write_atomically

        write_atomically(path, model.SerializeToString(deterministic=True))
    return model
