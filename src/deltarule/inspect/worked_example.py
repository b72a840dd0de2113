"""A trace, printed like a worked example in a textbook."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deltarule.base.types import Array
from deltarule.formulas.activations import ActivationFunction
from deltarule.inspect.trace import Trace
from deltarule.plan import Operation

_DIGITS = 6


def worked_example(trace: Trace) -> str:
    """Return forward pass, loss, backward pass and gradients of a trace as text.

    Each line gives the formula, followed by the numbers; rows are examples. Large arrays are
    shortened in the middle.
    """
    sections = [
        f"{trace.network!r}",
        f"{trace.plan.loss}, {len(trace.inputs)} example(s)",
        "",
        "Forward",
        *_indented(_forward(trace)),
        "",
        "Loss",
        *_indented(_loss(trace)),
        "",
        "Backward (delta = dL/dz)",
        *_indented(_backward(trace)),
        "",
        "Gradients",
        *_indented(_gradients(trace)),
    ]
    return "\n".join(sections)


def _forward(trace: Trace) -> Iterator[str]:
    yield _line("x", trace.inputs)
    slots = _slot_names(trace)
    for op in trace.plan.operations:
        formula = op.layer.formula(op.path, [slots[source] for source in op.sources])
        yield _line(f"{slots[op.target]} = {formula}", _value(trace, op))


def _value(trace: Trace, op: Operation) -> Array:
    is_z = op.layer.preactivation == "output"
    return trace.preactivations[op.path] if is_z else trace.activations[op.path]


def _loss(trace: Trace) -> Iterator[str]:
    loss = trace.plan.loss
    assert loss is not None
    yield _line("t", trace.targets)
    if trace.weights is None:
        yield _line("l of each example", trace.losses)
        total, weight = "sum(l)", "n"
    elif trace.weights.ndim == 1:
        yield _line("l of each example", trace.losses)
        yield _line("w", trace.weights)
        total, weight = "sum(w l)", "sum(w)"
    else:
        yield _line("w", trace.weights)
        yield _line("l of each example, its outputs weighted", trace.losses)
        total, weight = "sum(l)", "sum(mean of w over outputs)"
    mean = f"{total} / {weight}" if loss.reduction == "mean" else total
    if any(segment.penalty for segment in trace.plan.parameters):
        yield f"data loss = {mean} = {trace.data_loss:.{_DIGITS}f}"
        yield f"penalty = {trace.penalty:.{_DIGITS}f}"
        yield f"L = data loss + penalty = {trace.loss:.{_DIGITS}f}"
    else:
        yield f"L = {mean} = {trace.loss:.{_DIGITS}f}"


def _backward(trace: Trace) -> Iterator[str]:
    plan = trace.plan
    z, a = plan.output_slots
    readers = _readers(trace)
    for op in reversed(plan.operations):
        behind = readers.get(op.target, [])
        reader = behind[0] if len(behind) == 1 else None
        function = None if reader is None else reader.function
        if op.function is not None and _is_part_of_a_layer(trace, op):
            continue  # its delta is that of the layer's z
        canonical = plan.canonical and (op.target in (z, a))
        if canonical:
            formula = "dL/dz_L of the loss and its output activation together"
        elif reader is not None and function is not None:
            formula = f"{_upstream(reader, readers)} * {function.name}'(z[{op.path}])"
        else:
            formula = _upstream(op, readers)
        yield _line(f"delta[{op.path}] = {formula}", trace.deltas[op.path])
        if reader is not None and function is not None and not canonical:
            yield from _derivative(trace, reader.path, function)


def _is_part_of_a_layer(trace: Trace, op: Operation) -> bool:
    """Whether the operation before it, with the z that it reads, belongs to the same layer."""
    return any(other.path == op.path and other is not op for other in trace.plan.operations)


def _readers(trace: Trace) -> dict[int, list[Operation]]:
    """Return the operations that read each slot."""
    readers: dict[int, list[Operation]] = {}
    for op in trace.plan.operations:
        for slot in op.sources:
            readers.setdefault(slot, []).append(op)
    return readers


def _upstream(op: Operation, readers: dict[int, list[Operation]]) -> str:
    """Return how dL/d(output of op) comes about."""
    behind = readers.get(op.target, [])
    if not behind:
        return "dL/da of the loss"
    return " + ".join(reader.layer.upstream(reader.path) for reader in behind)


def _derivative(trace: Trace, path: str, f: ActivationFunction) -> Iterator[str]:
    if f.name in ("softmax", "identity"):
        return
    z, a = trace.preactivations[path], trace.activations[path]
    yield _line(f"    {f.name}'(z[{path}])", f.derivative(z, a))


def _gradients(trace: Trace) -> Iterator[str]:
    slots = _slot_names(trace)
    for op in trace.plan.operations:
        formulas = op.layer.gradient_formulas(op.path, slots[op.source])
        for own, i in op.parameters.items():
            parameter = trace.plan.parameters[i]
            symbol, formula = formulas.get(own, ("", ""))
            penalty = f" + {parameter.penalty.name} of W" if parameter.penalty else ""
            label = f"{symbol} = {formula}{penalty}" if symbol else f"dL/d {parameter.name}"
            yield _line(label, trace.gradients[parameter.name])


def _slot_names(trace: Trace) -> dict[int, str]:
    names, readers = {0: "x"}, _readers(trace)
    for op in trace.plan.operations:
        has_function = any(reader.function for reader in readers.get(op.target, []))
        kind = "z" if op.layer.preactivation == "output" and has_function else "a"
        names[op.target] = f"{kind}[{op.path}]"
    return names


def _line(label: str, array: Array) -> str:
    with np.printoptions(precision=_DIGITS, suppress=True, threshold=40, edgeitems=3, linewidth=88):
        text = np.array2string(array, floatmode="maxprec_equal")
    if "\n" not in text:
        return f"{label} = {text}"
    rows = text.replace("\n", "\n    ")
    return f"{label} =\n    {rows}"


def _indented(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield "  " + line.replace("\n", "\n  ")
