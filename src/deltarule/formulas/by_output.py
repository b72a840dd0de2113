"""Metrics where every output has weights of its own, (n, outputs): as for targets partly unknown.

Each output is measured as if it were the only one, with its column of weights. Averages and counts
are then put together over all outputs; of other metrics the mean is taken over the outputs for
which they are defined. With the same weights in all columns that is the metric with weights (n,).
"""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.types import Array
from deltarule.formulas.metrics import MAPE, Average, LogLoss, Metric, OfCounts


class ByOutput(NamedTuple):
    """What is kept of some examples: for each output a tally, and the sum of its weights."""

    tallies: list[Any]
    weights: Array


def tally(metric: Metric, y: Array, a: Array, w: Array | None) -> Any:
    """Return what a metric keeps of some examples."""
    if w is None or w.ndim == 1:
        return metric.tally(y, a, w)
    columns = zip(y.reshape(a.shape).T, a.T, w.T, strict=True)
    tallies = [metric.tally(t[:, None], p[:, None], v) for t, p, v in columns]
    return ByOutput(tallies, w.sum(axis=0))


def merge(metric: Metric, one: Any, other: Any) -> Any:
    """Return the tally of the examples of both."""
    if not isinstance(one, ByOutput):
        return metric.merge(one, other)
    tallies = list(map(metric.merge, one.tallies, other.tallies))
    return ByOutput(tallies, one.weights + other.weights)


def finish(metric: Metric, tally: Any) -> float:
    """Return the metric of a tally."""
    if not isinstance(tally, ByOutput):
        return metric.finish(tally)
    if isinstance(metric, (Average, MAPE)):
        value = metric.finish(reduce(metric.merge, tally.tallies))
        return value * len(tally.tallies) if isinstance(metric, LogLoss) else value
    if isinstance(metric, OfCounts):
        return metric.finish(np.hstack(tally.tallies))
    values = []
    why = InvalidValueError(f"all weights are 0, so there is no {metric.name!r} of these rows")
    for part, weight in zip(tally.tallies, tally.weights, strict=True):
        try:
            if not weight:
                continue
            values.append(metric.finish(part))
        except InvalidValueError as error:  # there is no such figure of this output
            why = error
    if not values:
        raise why
    return float(np.mean(values))
