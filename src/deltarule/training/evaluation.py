"""Evaluation: losses and metrics of a network on given data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError
from deltarule.base.settings import check_integer, check_sequence
from deltarule.base.types import Array
from deltarule.base.words import helpful
from deltarule.data import Dataset
from deltarule.engines import Executor, select_engine
from deltarule.formulas import by_output
from deltarule.formulas.losses import Loss
from deltarule.formulas.metric_arguments import one_number
from deltarule.formulas.metrics import Metric, check_metrics, resolve_metric
from deltarule.formulas.optimizers import reported_columns
from deltarule.network.network import Network
from deltarule.plan import LossLike, PenaltyLike, Plan, compile_network

_RESERVED = ("loss", "data_loss", "penalty")


@helpful
def evaluate(
    network: Network,
    X: Any,
    y: Any,
    loss: LossLike,
    *,
    metrics: Iterable[Any] | None = (),
    penalty: PenaltyLike = None,
    sample_weight: Any = None,
    engine: str = "auto",
    threads: int | None = None,
) -> dict[str, float]:
    """Return the loss and metrics of a network on data, as a dictionary.

    Dropout is off and BatchNorm uses its running statistics. With a penalty (or layers that have
    one of their own), "loss" is the sum of "data_loss" and "penalty", which are given too. NaN in
    the data is refused.

    Parameters
    ----------
    network, X, y, loss, metrics, penalty, sample_weight, engine, threads
        As in :func:`deltarule.train`.

    Examples
    --------
    >>> import numpy as np, deltarule as dr
    >>> net = dr.Network([dr.Dense(1)], inputs=1, weight_initializer="zeros")
    >>> dr.evaluate(net, [[1.0], [2.0]], [1.0, 3.0], "squared_error", metrics=["mae"])
    {'loss': 2.5, 'mae': 2.0}
    """
    plan = compile_network(network, loss=Loss.resolve(loss), penalty=penalty)
    if threads is not None:
        check_integer("threads", threads)
    executor = select_engine(engine, plan).executor(plan, network, threads=threads)
    data = plan.expected.examples(X, y, sample_weight, names=network.feature_names)
    by_name = resolve_metrics(metrics)
    check_metrics_fit(plan, data, by_name)
    return evaluate_dataset(plan, executor, network.vector, data, by_name)


def evaluate_dataset(
    plan: Plan,
    executor: Executor,
    vector: Array,
    data: Dataset,
    metrics: Mapping[str, Metric],
    part: str = "the data",
) -> dict[str, float]:
    """Return the loss, its parts and the metrics of checked data; errors name the part."""
    assert plan.loss is not None
    outputs = np.empty((len(data), plan.outputs), dtype=plan.dtype) if metrics else None
    data_loss, total = executor.evaluate(data, outputs)
    if not total:
        raise InvalidValueError(f"no row of {part} has weight; at least one example must count")
    if plan.loss.reduction == "mean":
        data_loss /= total
    result = dict(with_penalty(plan, data_loss, plan.penalty(vector, total)))
    if outputs is not None:
        result |= measure(plan, metrics, data, outputs, part)
    return result


def with_penalty(plan: Plan, data_loss: Any, penalty: Any) -> dict[str, Any]:
    """Return "loss", and its two parts by name where the plan has a penalty."""
    if not plan.has_penalty:
        return {"loss": data_loss}
    return {"loss": data_loss + penalty, "data_loss": data_loss, "penalty": penalty}


def check_metrics_fit(plan: Plan, data: Dataset, metrics: Mapping[str, Metric]) -> None:
    """Raise where a metric does not fit the targets."""
    assert plan.loss is not None
    y = plan.loss.metric_targets(data.y)
    check_metrics(metrics, y, plan.outputs, classifies=plan.loss.classifies)


def measure(
    plan: Plan, metrics: Mapping[str, Metric], data: Dataset, outputs: Array, part: str
) -> dict[str, float]:
    """Return the metrics by name, for the outputs (n, outputs) of all examples."""
    assert plan.loss is not None
    y = plan.loss.metric_targets(data.y)
    result = {}
    with naming(part):
        for name, metric in metrics.items():
            tally = by_output.tally(metric, y, outputs, data.weights)
            result[name] = one_number(name, by_output.finish(metric, tally))
    return result


@contextmanager
def naming(part: str) -> Iterator[None]:
    """Say in the errors of metrics which part of the data they are about."""
    try:
        yield
    except (InvalidValueError, InvalidTypeError) as error:
        raise type(error)(f"{error} (measured on {part})") from None


def resolve_metrics(metrics: Iterable[Any] | None) -> dict[str, Metric]:
    """Return metrics by name for a list of names, metrics and functions."""
    if metrics is None:
        return {}
    result: dict[str, Metric] = {}
    for name, metric in map(resolve_metric, check_sequence("metrics", metrics, "names")):
        taken = name in result or name in _RESERVED or name in reported_columns()
        if taken or name.startswith(("val_", "gradient_norm.")):
            raise InvalidValueError(
                f"a metric cannot be called {name!r}: the history has another column of that "
                "name; give the function a name of its own"
            )
        result[name] = metric
    return result
