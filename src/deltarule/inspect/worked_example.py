"""A trace as a textbook prints a worked example."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deltarule.base.types import Array
from deltarule.inspect.trace import Trace
from deltarule.network.network import Network, describe_layer
from deltarule.plan import (
    ActivationOperation,
    AddOperation,
    BatchNormOperation,
    DenseOperation,
    DropoutOperation,
    LayerNormOperation,
    Operation,
)

_DIGITS = 6


def worked_example(trace: Trace) -> str:
    """Return forward pass, loss, backward pass and gradients of a trace as text.

    Each line gives the formula and beside it the numbers; rows are examples. Large arrays are
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
        target, source = slots[op.target], slots[op.source]
        yield _line(f"{target} = {_formula(trace.network, op, source, slots)}", _value(trace, op))


def _formula(network: Network, op: Operation, source: str, slots: dict[int, str]) -> str:
    match op:
        case DenseOperation():
            bias = "" if op.bias is None else f" + b[{op.path}]"
            return f"{source} @ W[{op.path}]{bias}"
        case ActivationOperation():
            return f"{op.function.name}({source})"
        case BatchNormOperation():
            return f"scale * normalised by column({source}) + shift"
        case LayerNormOperation():
            return f"scale * normalised by row({source}) + shift"
        case DropoutOperation():
            return f"dropout({source}, {op.rate:g})"
        case AddOperation():
            return f"{source} + {slots[op.other]}"
    layer = next(place.layer for place in network.placed if place.path == op.path)
    return f"{describe_layer(layer)}({source})"


def _loss(trace: Trace) -> Iterator[str]:
    loss = trace.plan.loss
    assert loss is not None
    yield _line("t", trace.targets)
    yield _line("l of each example", trace.losses)
    if trace.weights is not None:
        yield _line("w", trace.weights)
    w = "w " if trace.weights is not None else ""
    mean = f"sum({w}l) / {'sum(w)' if w else 'n'}" if loss.reduction == "mean" else f"sum({w}l)"
    if any(segment.penalty for segment in trace.plan.parameters):
        yield f"data loss = {mean} = {trace.data_loss:.{_DIGITS}f}"
        yield f"penalty = {trace.penalty:.{_DIGITS}f}"
        yield f"L = data loss + penalty = {trace.loss:.{_DIGITS}f}"
    else:
        yield f"L = {mean} = {trace.loss:.{_DIGITS}f}"


def _backward(trace: Trace) -> Iterator[str]:
    plan = trace.plan
    last = plan.operations[-1]
    readers: dict[int, list[Operation]] = {}
    for op in plan.operations:
        readers.setdefault(op.source, []).append(op)
        if isinstance(op, AddOperation):
            readers.setdefault(op.other, []).append(op)
    canonical_at = None
    if plan.canonical and isinstance(last, ActivationOperation):
        canonical_at = last.source
    for op in reversed(plan.operations):
        if not _shows_delta(trace, op):
            continue
        behind = readers.get(op.target, [])
        function = next((r for r in behind if isinstance(r, ActivationOperation)), None)
        if op.target == canonical_at or (plan.canonical and op is last):
            formula = "dL/dz_L of the loss and its output activation together"
        elif function is not None and len(behind) == 1:
            upstream = _upstream(trace, function, readers)
            derivative = function.function.name
            formula = f"{upstream} * {derivative}'(z[{op.path}])"
        else:
            formula = _upstream(trace, op, readers)
        yield _line(f"delta[{op.path}] = {formula}", trace.deltas[op.path])
        if function is not None and len(behind) == 1 and op.target != canonical_at:
            yield from _derivative(trace, function)


def _derivative(trace: Trace, op: ActivationOperation) -> Iterator[str]:
    if op.function.name in ("softmax", "identity"):
        return
    z, a = trace.preactivations[op.path], trace.activations[op.path]
    yield _line(f"    {op.function.name}'(z[{op.path}])", op.function.derivative(z, a))


def _shows_delta(trace: Trace, op: Operation) -> bool:
    """Whether the delta of a layer belongs to this operation: a Dense shows its own once."""
    return not isinstance(op, ActivationOperation) or _is_own_layer(trace, op)


def _is_own_layer(trace: Trace, op: Operation) -> bool:
    return not any(
        isinstance(other, DenseOperation) and other.path == op.path
        for other in trace.plan.operations
    )


def _upstream(trace: Trace, op: Operation, readers: dict[int, list[Operation]]) -> str:
    """Return how dL/d(output of op) comes about."""
    behind = readers.get(op.target, [])
    if not behind:
        return "dL/da of the loss"
    terms = []
    for reader in behind:
        match reader:
            case DenseOperation():
                terms.append(f"(delta[{reader.path}] @ W[{reader.path}].T)")
            case AddOperation():
                terms.append(f"delta[{reader.path}]")
            case _:
                terms.append(f"(delta[{reader.path}] back through layer {reader.path})")
    return " + ".join(terms)


def _gradients(trace: Trace) -> Iterator[str]:
    slots = _slot_names(trace)
    for op in trace.plan.operations:
        if isinstance(op, DenseOperation):
            weight = trace.plan.parameters[op.weight]
            penalty = f" + {weight.penalty.name} of W" if weight.penalty else ""
            yield _line(
                f"dL/dW[{op.path}] = {slots[op.source]}.T @ delta[{op.path}]{penalty}",
                trace.gradients[weight.name],
            )
            if op.bias is not None:
                yield _line(
                    f"dL/db[{op.path}] = sum of delta[{op.path}] over rows",
                    trace.gradients[trace.plan.parameters[op.bias].name],
                )
    dense = {f"{op.path}." for op in trace.plan.operations if isinstance(op, DenseOperation)}
    for name, gradient in trace.gradients.items():
        if not any(name.startswith(path) for path in dense):
            yield _line(f"dL/d {name}", gradient)


def _slot_names(trace: Trace) -> dict[int, str]:
    names = {0: "x"}
    for op in trace.plan.operations:
        kind = "z" if isinstance(op, DenseOperation) and _has_function(trace, op) else "a"
        names[op.target] = f"{kind}[{op.path}]"
    return names


def _has_function(trace: Trace, op: Operation) -> bool:
    return any(
        isinstance(other, ActivationOperation) and other.source == op.target
        for other in trace.plan.operations
    )


def _value(trace: Trace, op: Operation) -> Array:
    if isinstance(op, DenseOperation):
        return trace.preactivations[op.path]
    return trace.activations[op.path]


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
