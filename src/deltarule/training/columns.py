"""What a history reports of a run: from records, outputs and validation to named columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value, unknown_name
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
    training : Dataset
    seen : Seen or None
        What the metrics have seen of the epoch in progress; None where there are no metrics.

    ``unit``: the rows whose outputs metrics take together.
    """

    def __init__(
        self,
        plan: Plan,
        metrics: Mapping[str, Metric],
        training: Dataset,
        held_out: Dataset | None,
        *,
        asked: bool,
        unit: int,
    ) -> None:
        self._plan, self._metrics = plan, metrics
        self.training, self._held_out = training, held_out
        self._asked = asked  # whether somebody may ask for scores
        self._scores: dict[bool, _Scores] = {}
        self.names = column_names(plan, metrics, held_out is not None)
        self.seen = Seen(plan, metrics, unit) if metrics else None

    @property
    def each_epoch(self) -> bool:
        """Whether something is to be measured after each epoch."""
        return self.seen is not None or self._held_out is not None

    def fingerprints(self) -> dict[str, str | None]:
        """Return the fingerprints of the training and the validation data."""
        from deltarule.data.fingerprint import fingerprint  # which only checkpoints need

        parts = {"training": self.training, "validation": self._held_out}
        return {
            name: None if data is None else fingerprint(data, self._plan.dtype)
            for name, data in parts.items()
        }

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
        if record.columns:
            columns |= {name: values[:count] for name, values in record.columns.items()}
        else:
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
        data = self._held_out if held_out else self.training
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
    """The metrics of the outputs that training has made in an epoch so far.

    Outputs are kept until those of a unit of rows are there, or the epoch ends; then they are taken
    together, in the order of the rows. So it does not matter in how many calls they came.
    """

    def __init__(self, plan: Plan, metrics: Mapping[str, Metric], unit: int) -> None:
        assert plan.loss is not None
        self._targets, self._metrics, self._unit = plan.loss.metric_targets, metrics, unit
        self._outputs, self._dtype = plan.outputs, plan.dtype
        self._tallies: dict[str, Any] = {}
        self._waiting: list[tuple[Dataset, Array, Array]] = []

    def saw(self, data: Dataset, rows: Array | None, outputs: Array) -> None:
        """Take the outputs of some examples; None: of all, as they are."""
        if rows is None:
            self._take(data.y, data.weights, outputs)
            return
        self._waiting.append((data, rows, outputs))
        if sum(len(rows) for _, rows, _ in self._waiting) >= self._unit:
            self._take_waiting()

    def _take_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        rows = np.concatenate([rows for _, rows, _ in waiting])
        by_row = np.argsort(rows, kind="stable")
        y, outputs = (
            np.concatenate(parts)[by_row]
            for parts in ([data.y[rows] for data, rows, _ in waiting], [a for _, _, a in waiting])
        )
        weights = [data.weights[rows] for data, rows, _ in waiting if data.weights is not None]
        self._take(y, np.concatenate(weights)[by_row] if weights else None, outputs)

    def _take(self, y: Array, weights: Array | None, outputs: Array) -> None:
        y = self._targets(y)
        for name, metric in self._metrics.items():
            with naming(_TRAINING):
                tally = by_output.tally(metric, y, outputs, weights)
            if name in self._tallies:
                tally = by_output.merge(metric, self._tallies[name], tally)
            self._tallies[name] = tally

    def finish(self) -> dict[str, float]:
        """Return the metrics by name, and begin anew."""
        self._take_waiting()
        tallies, self._tallies = self._tallies, {}
        with naming(_TRAINING):
            return {
                name: one_number(name, by_output.finish(self._metrics[name], tally))
                for name, tally in tallies.items()
            }

    def get_state(self) -> dict[str, Any]:
        """Return what there is of an epoch in progress, for a checkpoint."""
        waiting = [{"rows": rows, "outputs": outputs} for _, rows, outputs in self._waiting]
        return {"tallies": self._tallies, "waiting": waiting}

    def set_state(self, saved: Mapping[str, Any], data: Dataset) -> None:
        """Take what :meth:`get_state` returned, of the same examples; raise if it cannot be."""
        tallies, waiting = saved["tallies"], saved["waiting"]
        if tallies:
            outputs = np.zeros((1, self._outputs), dtype=self._dtype)
            weights = None if data.weights is None else np.ones_like(data.weights[:1])
            for name, metric in self._metrics.items():
                one = by_output.tally(metric, self._targets(data.y[:1]), outputs, weights)
                if not _alike(tallies[name], one):
                    raise InvalidValueError(f"{name!r} has no such tally")
        for part in waiting:
            rows, outputs = part["rows"], part["outputs"]
            if not (
                (rows.ndim, rows.dtype, outputs.dtype) == (1, np.int64, self._dtype)
                and outputs.shape == (len(rows), self._outputs)
                and ((rows >= 0) & (rows < len(data))).all()
            ):
                raise InvalidValueError("its outputs do not fit the data")
        self._tallies = {name: tallies[name] for name in self._metrics} if tallies else {}
        self._waiting = [(data, part["rows"], part["outputs"]) for part in waiting]


def _alike(found: Any, other: Any, *, rows: bool = False) -> bool:
    """Return whether two tallies are built alike. ``rows``: of arrays with any number of rows."""
    if isinstance(other, np.ndarray) and isinstance(found, np.ndarray):
        same = found.shape[1:] == other.shape[1:] if rows else found.shape == other.shape
        return same and found.ndim == other.ndim and found.dtype == other.dtype
    if type(found) is not type(other):
        return False
    if isinstance(other, list):
        return bool(found) and all(_alike(part, other[0], rows=True) for part in found)
    if isinstance(other, tuple):
        pairs = zip(found, other, strict=False)
        return len(found) == len(other) and all(_alike(*pair, rows=rows) for pair in pairs)
    return True


def column_names(plan: Plan, metrics: Mapping[str, Metric], validation: bool) -> tuple[str, ...]:
    """Return the names of the columns of a history."""
    measured = (*with_penalty(plan, 0.0, 0.0), *metrics)
    held_out = tuple(f"val_{name}" for name in measured) if validation else ()
    norms = tuple(f"gradient_norm.{parameter.name}" for parameter in plan.parameters)
    reported = ("learning_rate",) if plan.optimizer is None else plan.optimizer.reported
    return (*measured, *held_out, *reported, *norms)


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
