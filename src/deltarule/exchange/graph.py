"""A graph of ONNX's core operators, written as the formulas are: ``z * sigmoid(z)``.

A :class:`Value` is an array that exists only when the graph runs. Arithmetic and the functions of
this module append an operator to the graph and return the value of its output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from deltarule.base.errors import InvalidValueError, missing_extra
from deltarule.base.types import Array

Operand: TypeAlias = "Value | Array | float"

MOST_BYTES = (1 << 31) - (1 << 20)
"""A file of protocol buffers has less than 2 GiB."""


def onnx_library() -> Any:
    """Return the module ``onnx``, or raise the error that names the extra."""
    try:
        import onnx
    except ImportError:
        raise missing_extra("export to ONNX", "onnx") from None
    return onnx


class Value:
    """An array of the graph, by its name. Operators broadcast as NumPy's do."""

    __slots__ = ("graph", "name")

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name

    def __add__(self, other: Operand) -> Value:
        return self.graph.call("Add", self, other)

    def __radd__(self, other: Operand) -> Value:
        return self.graph.call("Add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.graph.call("Sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.graph.call("Sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.graph.call("Mul", self, other)

    def __rmul__(self, other: Operand) -> Value:
        return self.graph.call("Mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.graph.call("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.graph.call("Div", other, self)

    def __neg__(self) -> Value:
        return self.graph.call("Neg", self)

    def __abs__(self) -> Value:
        return self.graph.call("Abs", self)

    def __gt__(self, other: Operand) -> Value:  # type: ignore[misc]
        return self.graph.call("Greater", self, other)

    def __lt__(self, other: Operand) -> Value:  # type: ignore[misc]
        return self.graph.call("Less", self, other)

    def __and__(self, other: Value) -> Value:
        return self.graph.call("And", self, other)

    def __or__(self, other: Value) -> Value:
        return self.graph.call("Or", self, other)

    def __invert__(self) -> Value:
        return self.graph.call("Not", self)

    def equals(self, other: Operand) -> Value:
        """Return where the two are the same; of text since opset 19."""
        return self.graph.call("Equal", self, other)


class Graph:
    """Operators, constants, inputs and outputs, in the order in which they are named.

    Attributes
    ----------
    dtype : numpy.dtype
        float32 or float64: of the numbers that formulas are written with.
    opset : int
        The lowest version of the operators in which all that are used exist.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self._onnx = onnx_library()
        self.dtype = dtype
        self.opset = 13
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._names: set[str] = set()
        self._scope = ""
        self._bytes = 0

    @contextmanager
    def using(self, kind: Any) -> Iterator[None]:
        """Write formulas in another type of numbers for a while."""
        before, self.dtype = self.dtype, np.dtype(kind)
        try:
            yield
        finally:
            self.dtype = before

    def within(self, scope: str) -> None:
        """Name the operators that follow after a part of the network: "2.1/Add"."""
        self._scope = f"{scope}/" if scope else ""

    def input(self, name: str, kind: Any, columns: int | None = None) -> Value:
        """Add an input (rows, columns) of a NumPy type; the number of rows is free."""
        self._inputs.append(self._declared(self._unused(name), kind, columns))
        return Value(self, self._inputs[-1].name)

    def output(self, name: str, value: Value, kind: Any, columns: int | None) -> None:
        """Add an output; ``columns=None`` makes it (rows,)."""
        name = self._unused(name)
        self._nodes.append(self._onnx.helper.make_node("Identity", [value.name], [name], name=name))
        self._outputs.append(self._declared(name, kind, columns))

    def constant(self, name: str, array: Array) -> Value:
        """Add an array that is part of the file."""
        self._bytes += array.nbytes if array.dtype.kind != "O" else 0
        if self._bytes > MOST_BYTES:
            raise InvalidValueError(
                "the network is too large for an ONNX file, which has less than 2 GiB; "
                "export a smaller one, or one of dtype float32"
            )
        name = self._unused(name)
        self._constants[name] = self._onnx.numpy_helper.from_array(
            np.ascontiguousarray(array).reshape(array.shape), name
        )
        return Value(self, name)

    def call(self, operator: str, *inputs: Operand, **attributes: Any) -> Value:
        """Append one operator; return its output."""
        names = [self._operand(given).name for given in inputs]
        name = self._unused(f"{self._scope}{operator}")
        self._nodes.append(
            self._onnx.helper.make_node(operator, names, [name], name=name, **attributes)
        )
        return Value(self, name)

    def cast(self, value: Value, kind: Any) -> Value:
        """Append a conversion to a NumPy type."""
        to = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        return self.call("Cast", value, to=int(to))

    def needs(self, opset: int) -> None:
        """Note that an operator in use exists since this version only."""
        self.opset = max(self.opset, opset)

    def model(self, doc: str, metadata: Mapping[str, str]) -> Any:
        """Return the finished model, an ``onnx.ModelProto``."""
        import deltarule

        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, "deltarule", self._inputs, self._outputs, list(self._constants.values())
        )
        versions = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph,
            opset_imports=versions,
            ir_version=helper.find_min_ir_version_for(versions),
            producer_name="deltarule",
            producer_version=deltarule.__version__,
            doc_string=doc,
        )
        helper.set_model_props(model, dict(metadata))
        return model

    def _declared(self, name: str, kind: Any, columns: int | None) -> Any:
        helper = self._onnx.helper
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        shape = ("rows",) if columns is None else ("rows", columns)
        return helper.make_tensor_value_info(name, dtype, shape)

    def _operand(self, given: Operand) -> Value:
        if isinstance(given, Value):
            return given
        if isinstance(given, (int, float)):
            array = np.array(given, dtype=self.dtype)
            name = f"{self.dtype.name} {array.item()!r}"
            return Value(self, name) if name in self._constants else self.constant(name, array)
        return self.constant(f"{self._scope}constant", given)

    def _unused(self, name: str) -> str:
        found, count = name, 1
        while found in self._names:
            count += 1
            found = f"{name}_{count}"
        self._names.add(found)
        return found


def where(condition: Value, yes: Operand, no: Operand) -> Value:
    """``yes`` where a condition holds, else ``no``."""
    return condition.graph.call("Where", condition, yes, no)


def maximum(x: Value, y: Operand) -> Value:
    """The larger of the two."""
    return x.graph.call("Max", x, y)


def minimum(x: Value, y: Operand) -> Value:
    """The smaller of the two."""
    return x.graph.call("Min", x, y)


def clip(x: Value, low: float, high: float) -> Value:
    """``x``, but at least ``low`` and at most ``high``."""
    return x.graph.call("Clip", x, low, high)


def exp(x: Value) -> Value:
    """``e^x``."""
    return x.graph.call("Exp", x)


def tanh(x: Value) -> Value:
    """``tanh x``."""
    return x.graph.call("Tanh", x)


def sigmoid(x: Value) -> Value:
    """``1 / (1 + e^-x)``."""
    return x.graph.call("Sigmoid", x)


def sqrt(x: Value) -> Value:
    """The square root."""
    return x.graph.call("Sqrt", x)


def floor(x: Value) -> Value:
    """The largest whole number that is not above ``x``."""
    return x.graph.call("Floor", x)


def expm1(x: Value) -> Value:
    """``e^x - 1 = 2 t / (1 - t)`` with ``t = tanh(x / 2)``, for ``x <= 0``; exact near 0."""
    t = tanh(0.5 * x)
    return 2 * t / (1 - t)


def log1p(x: Value) -> Value:
    """``log(1 + x)`` for ``x >= 0``, exact near 0: what rounding takes from ``1 + x`` is put back.

    Source: Kahan, "Branch cuts for complex elementary functions" (1987), and HP-15C handbook.
    """
    u = 1 + x
    difference = u - 1
    lost = difference.equals(0.0)
    return where(lost, x, x.graph.call("Log", u) * x / where(lost, 1.0, difference))


def mean_of_row(x: Value) -> Value:
    """The mean over the columns, (rows, 1)."""
    return x.graph.call("ReduceMean", x, axes=[1], keepdims=1)


def sum_of_row(x: Value) -> Value:
    """The sum over the columns, (rows, 1)."""
    return x.graph.call("ReduceSum", x, np.array([1]), keepdims=1)


def is_nan(x: Value) -> Value:
    """Where ``x`` is no number."""
    return x.graph.call("IsNaN", x)


def any_of_row(x: Value) -> Value:
    """Whether anything in a row is true, (rows, 1)."""
    return sum_of_row(x.graph.cast(x, np.float32)) > np.array(0.5, np.float32)


def columns_of(x: Value, columns: Sequence[int]) -> Value:
    """Some columns, in this order."""
    return x.graph.call("Gather", x, np.array(columns, dtype=np.int64), axis=1)


def side_by_side(parts: Sequence[Value]) -> Value:
    """Columns beside columns."""
    return parts[0] if len(parts) == 1 else parts[0].graph.call("Concat", *parts, axis=1)
