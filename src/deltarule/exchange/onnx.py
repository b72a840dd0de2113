"""Networks and fitted models as ONNX files, which many programs and languages run.

Only operators of the standard domain ``ai.onnx`` are used, none of ``ai.onnx.ml`` and none that one
runtime alone knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, describe_value
from deltarule.base.types import Array
from deltarule.exchange.graph import Graph, Value, side_by_side, sum_of_row
from deltarule.exchange.operators import append_network
from deltarule.exchange.preprocessing import append_columns, inputs_of, ports
from deltarule.network.network import Network
from deltarule.tables.model import TableModel
from deltarule.tables.target import Target


def to_onnx(source: Any, path: str | PathLike[str] | None = None) -> Any:
    """Return a network or a model of a table as an ONNX model; write it to a file, given a path.

    Its operators are those of the standard domain ``ai.onnx``, at opset 13; a model with text among
    its inputs needs opset 19, with words of a text 20. The number of rows is free. The same source
    gives the same bytes.

    **A network** computes what ``predict`` does: dropout is left out, BatchNorm uses its running
    statistics. Its input is ``X`` (rows, inputs), its output ``Y`` (rows, outputs), both of the
    network's dtype.

    **A model of a table** (a ``TableModel``, a fitted ``TabularClassifier`` or
    ``TabularRegressor``) takes raw cells: one input (rows, 1) for each column that it uses, by the
    column's name. Numbers are float64, NaN for missing; dates are days since 1970-01-01. Categories
    and texts are text, empty for missing.
    Several networks are averaged. A classifier gives ``label`` (rows,) and ``probabilities``
    (rows, classes), a regressor ``value``. The model's metadata say what each input is.

    **A fitted** ``MLPClassifier`` **or** ``MLPRegressor`` of ``deltarule.sklearn`` has the input
    ``X`` of a network and the outputs of a model of a table; of a multilabel classifier, ``label``
    is (rows, labels) of 0 and 1.

    Parameters
    ----------
    source : Network, TableModel, or fitted estimator of ``deltarule.sklearn``
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
    table = _table_model(source)
    if table is not None:
        model = _of_table(table)
    elif isinstance(source, Network):
        model = _of_network(source)
    elif isinstance(getattr(source, "networks_", None), list):
        model = _of_perceptron(source)
    else:
        raise InvalidTypeError(
            "to_onnx takes a deltarule.Network, a TableModel or a fitted estimator of "
            f"deltarule.sklearn, got {describe_value(source)}"
        )
    if path is not None:
        from deltarule.base.files import write_atomically

        write_atomically(path, model.SerializeToString(deterministic=True))
    return model


def onnx_inputs(source: Any, frame: Any) -> dict[str, Array]:
    """Return the cells of a frame as the inputs of a table model's ONNX file, by name.

    What a program that runs the file must hand to it; here for Python.

    Parameters
    ----------
    source : TableModel, or fitted TabularClassifier or TabularRegressor
    frame : any frame with the columns of the model

    Returns
    -------
    dict of str to array (rows, 1)
        Numbers as float64, text as object arrays of str.
    """
    table = _table_model(source)
    if table is None:
        raise InvalidTypeError(
            "onnx_inputs takes a TableModel or a fitted TabularClassifier or TabularRegressor, got "
            f"{describe_value(source)}"
        )
    return inputs_of(table.columns, frame)


def _table_model(source: Any) -> TableModel | None:
    found = getattr(source, "model_", source)
    return found if isinstance(found, TableModel) else None


def _of_network(network: Network) -> Any:
    graph = Graph(network.dtype)
    X = graph.input("X", graph.dtype, network.inputs)
    graph.output("Y", append_network(graph, network, X), graph.dtype, network.outputs)
    metadata = {}
    if network.feature_names is not None:
        metadata["feature_names"] = json.dumps(network.feature_names)
    return graph.model(repr(network), metadata)


def _of_table(model: TableModel) -> Any:
    graph = Graph(np.dtype(np.float32))
    X = append_columns(graph, model.columns)
    outputs = _mean_output(graph, model.networks, X)
    with graph.using(np.float64):
        _append_target(graph, model.target, outputs)
    inputs = [port._asdict() for own in ports(model.columns) for port in own]
    metadata = {"inputs": json.dumps(inputs), "target": json.dumps(model.target.describe())}
    return graph.model(repr(model), metadata)


def _of_perceptron(estimator: Any) -> Any:
    networks = estimator.networks_
    graph = Graph(networks[0].dtype)
    X = graph.input("X", graph.dtype, networks[0].inputs)
    outputs = _mean_output(graph, networks, X)
    classes = getattr(estimator, "classes_", None)
    metadata = {}
    with graph.using(np.float64):
        if classes is None:
            units = networks[0].outputs
            values = outputs if units > 1 else graph.call("Reshape", outputs, np.array([-1]))
            graph.output("value", values, np.float64, units if units > 1 else None)
        elif networks[0].outputs == 1 or _is_multilabel(estimator):
            _append_thresholds(graph, estimator, outputs)
        else:
            _append_classes(graph, classes, outputs)
    if hasattr(estimator, "feature_names_in_"):
        metadata["feature_names"] = json.dumps([str(n) for n in estimator.feature_names_in_])
    return graph.model(f"{type(estimator).__name__} of {networks[0]!r}", metadata)


def _is_multilabel(estimator: Any) -> bool:
    return bool(estimator._multilabel)


def _append_thresholds(graph: Graph, estimator: Any, outputs: Value) -> None:
    """Append labels that are 1, or the second class, where a probability is above a half."""
    above = graph.cast(outputs > 0.5, np.int64)
    if _is_multilabel(estimator):
        units = estimator.networks_[0].outputs
        graph.output("label", above, np.int64, units)
        graph.output("probabilities", outputs, np.float64, units)
        return
    best = graph.call("Reshape", above, np.array([-1]))
    _append_label(graph, estimator.classes_, best)
    both = side_by_side([1 - outputs, outputs])
    graph.output("probabilities", both, np.float64, 2)


def _append_label(graph: Graph, classes: Array, best: Value) -> None:
    label = graph.call("Gather", classes, best, axis=0)
    graph.output("label", label, classes.dtype, None)


def _append_classes(graph: Graph, classes: Array, outputs: Value) -> None:
    """Append the most probable class, and probabilities that sum to 1."""
    _append_label(graph, classes, graph.call("ArgMax", outputs, axis=1, keepdims=0))
    graph.output("probabilities", outputs / sum_of_row(outputs), np.float64, len(classes))


def _mean_output(graph: Graph, networks: Sequence[Network], X: Value) -> Value:
    """Append networks; return the mean of their outputs, float64."""
    several = len(networks) > 1
    total: Value | None = None
    for i, network in enumerate(networks):
        prefix = f"network {i}/" if several else ""
        with graph.using(network.dtype):
            x = X if network.dtype == np.float32 else graph.cast(X, network.dtype)
            y = graph.cast(append_network(graph, network, x, prefix), np.float64)
        total = y if total is None else total + y
    assert total is not None
    with graph.using(np.float64):
        return total / len(networks) if several else total


def _append_target(graph: Graph, target: Target, outputs: Value) -> None:
    """Append the outputs of the graph: labels and probabilities, or values put back."""
    if target.classes is None:
        assert target.centre is not None
        assert target.scale is not None
        values = outputs * target.scale + target.centre
        if target.bounds is not None:
            lowest, highest = target.bounds
            values = graph.call("Min", graph.call("Max", values, lowest), highest)
        if target.single:
            values = graph.call("Reshape", values, np.array([-1]))
        graph.output("value", values, np.float64, None if target.single else len(target.scale))
        return
    _append_classes(graph, target.classes, outputs)
