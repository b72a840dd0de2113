"""What a history reports of a run: from records, outputs and validation to named columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidTypeError, describe_value, unknown_name
from deltarule.base.types import Array
from deltarule.data.arrays import Dataset
from deltarule.engines.protocol import Executor, Record
from deltarule.formulas import by_output
from deltarule.formulas.metric_arguments import one_number
from deltarule.formulas.metrics import Metric
from deltarule.network.network import Network
from deltarule.plan import Plan
from deltarule.training.evaluation import evaluate_dataset, naming, with_penalty
from deltarule.training.watching import is_of_network

_TINY = float(np.finfo(np.float64).tiny)
"""Below every sum of weights that is not 0."""
_TRAINING = "the training data"


class Columns:
    """The columns of a history, epoch by epoch.

    Attributes
    ----------
    names : tuple of str
        Of all columns that the history will have.
    seen : Seen or None
        What the metrics have seen of the epoch in progress; None where there are no metrics.
    """

    def __init__(
        self,
        plan: Plan,
        metrics: Mapping[str, Metric],
        training: Dataset,
        held_out: Dataset | None,
        *,
        asked: bool,
    ) -> None:
        self._plan, self._metrics = plan, metrics
        self._training, self._held_out = training, held_out
        self._asked = asked  # whether somebody may ask for scores
        self._scores: dict[bool, _Scores] = {}
        self.names = column_names(plan, metrics, held_out is not None)
        self.seen = Seen(plan, metrics) if metrics else None

    @property
    def each_epoch(self) -> bool:
        """Whether something is to be measured after each epoch."""
        return self.seen is not None or self._held_out is not None

    def of_epochs(
        self, record: Record, rates: Array, executor: Executor, network: Network
    ) -> dict[str, Array]:
        """Return the columns of the finished epochs of a record.

        ``rates`` are those of the last step of each. With metrics or validation it is one epoch.
        """
        count = len(rates)
        columns = losses(self._plan, record, count)
        if self.seen is not None:
            columns |= {name: np.array([value]) for name, value in self.seen.finish().items()}
        if self._held_out is not None:
            values = self._measure(executor, network, held_out=True)
            columns |= {f"val_{name}": np.array([value]) for name, value in values.items()}
        columns["learning_rate"] = rates
        return columns | gradient_norms(self._plan, record, count)

    def score(self, column: str, executor: Executor, network: Network) -> float:
        """Return a loss or metric, by its column's name, of the network as it is now."""
        if not isinstance(column, str):
            raise InvalidTypeError(
                f"column must be the name of a loss or metric, got {describe_value(column)}"
            )
        held_out = column.startswith("val_")
        name = column.removeprefix("val_")
        known = (*with_penalty(self._plan, 0.0, 0.0), *self._metrics)
        if name not in known or (held_out and self._held_out is None):
            raise unknown_name(
                "column to score", column, [n for n in self.names if is_of_network(n)]
            )
        scores = self._scores.get(held_out)
        if scores is not None and scores.are_of(network):
            return scores.values[name]
        return self._measure(executor, network, held_out=held_out)[name]

    def _measure(self, executor: Executor, network: Network, *, held_out: bool) -> dict[str, float]:
        data = self._held_out if held_out else self._training
        assert data is not None
        part = "the validation data" if held_out else _TRAINING
        values = evaluate_dataset(self._plan, executor, network.vector, data, self._metrics, part)
        if self._asked:
            self._scores[held_out] = _Scores(values, _digest(network))
        return values

    def of_unfinished(self, sums: tuple[Array, ...] | None) -> dict[str, float]:
        """Return the losses of an epoch that was cut short, from its sums; empty without one."""
        if sums is None:
            return {}
        return losses_of(self._plan, sums)


class _Scores(NamedTuple):
    """What a network scored when its values had this digest: a copy would take their memory."""

    values: dict[str, float]
    digest: bytes

    def are_of(self, network: Network) -> bool:
        return _digest(network) == self.digest


def _digest(network: Network) -> bytes:
    from hashlib import blake2b  # which only callbacks that ask for scores need

    found = blake2b(network.vector.data, digest_size=16)
    found.update(network.state_vector.data)
    return found.digest()


class Seen:
    """The metrics of the outputs that training has made in an epoch so far."""

    def __init__(self, plan: Plan, metrics: Mapping[str, Metric]) -> None:
        assert plan.loss is not None
        self._targets, self._metrics = plan.loss.metric_targets, metrics
        self._tallies: dict[str, Any] = {}

    def saw(self, data: Dataset, outputs: Array) -> None:
        """Take the outputs of some examples."""
        y = self._targets(data.y)
        for name, metric in self._metrics.items():
            with naming(_TRAINING):
                tally = by_output.tally(metric, y, outputs, data.weights)
            if name in self._tallies:
                tally = by_output.merge(metric, self._tallies[name], tally)
            self._tallies[name] = tally

    def finish(self) -> dict[str, float]:
        """Return the metrics by name, and begin anew."""
        tallies, self._tallies = self._tallies, {}
        with naming(_TRAINING):
            return {
                name: one_number(name, by_output.finish(self._metrics[name], tally))
                for name, tally in tallies.items()
            }


def column_names(plan: Plan, metrics: Mapping[str, Metric], validation: bool) -> tuple[str, ...]:
    """Return the names of the columns of a history."""
    measured = (*with_penalty(plan, 0.0, 0.0), *metrics)
    held_out = tuple(f"val_{name}" for name in measured) if validation else ()
    norms = tuple(f"gradient_norm.{parameter.name}" for parameter in plan.parameters)
    return (*measured, *held_out, "learning_rate", *norms)


def losses(plan: Plan, record: Record, count: int) -> dict[str, Array]:
    """Return the losses of the first ``count`` epochs of a record."""
    sums = (a[:count] for a in record.sums)
    return _losses(plan, *sums, maximum=np.maximum)


def losses_of(plan: Plan, sums: tuple[Any, ...]) -> dict[str, float]:
    """Return the losses of one epoch, or what there is of it, from its row of sums."""
    return {name: float(value) for name, value in _losses(plan, *sums, maximum=max).items()}


def _losses(
    plan: Plan,
    loss_sum: Any,
    weight_sum: Any,
    penalty_sum: Any,
    gradient_squares: Any,
    updates: Any,
    *,
    maximum: Callable[[Any, Any], Any],
) -> dict[str, Any]:
    assert plan.loss is not None
    data_loss = loss_sum
    if plan.loss.reduction == "mean":
        data_loss = data_loss / maximum(weight_sum, _TINY)  # 0 where nothing had weight
    return with_penalty(plan, data_loss, penalty_sum / maximum(updates, 1))


def gradient_norms(plan: Plan, record: Record, count: int) -> dict[str, Array]:
    """Return the root mean square of each parameter's gradient norm over an epoch's steps."""
    squares = record.gradient_squares[:count].T  # (parameters, epochs), as the columns need it
    norms = np.empty(squares.shape)
    np.divide(squares, np.maximum(record.updates[:count], 1), out=norms)
    np.sqrt(norms, out=norms)
    return {
        f"gradient_norm.{parameter.name}": norm
        for parameter, norm in zip(plan.parameters, norms, strict=True)
    }
