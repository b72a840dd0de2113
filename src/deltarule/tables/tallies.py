"""The scores of predictions, from how often each row counts: many resamplings in one product."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deltarule.base.types import Array

Outputs = Array
"""Probabilities (n, classes), or predicted numbers (n,)."""
Tally = Callable[[Array], Array]
"""From counts of rows (replicates, n) to a score for each replicate."""


def _mean_of(each: Array) -> Tally:
    return lambda counts: counts @ each / counts.sum(axis=1)


def _accuracy(y: Array, p: Outputs) -> Tally:
    return _mean_of((p.argmax(axis=1) == y).astype(np.float64))


def _balanced_accuracy(y: Array, p: Outputs) -> Tally | None:
    present = np.unique(y)
    if len(present) < 2:
        return None
    belongs = (y[:, None] == present).astype(np.float64)
    hit = belongs * (p.argmax(axis=1) == y)[:, None]

    def tally(counts: Array) -> Array:
        total = counts @ belongs
        recall = counts @ hit / np.where(total > 0, total, 1)
        return recall.sum(axis=1) / (total > 0).sum(axis=1)  # recall is 0 where there is no row

    return tally


def _log_loss(y: Array, p: Outputs) -> Tally:
    least = float(np.finfo(np.float32).eps)
    return _mean_of(-np.log(np.maximum(p[np.arange(len(y)), y].astype(np.float64), least)))


def _roc_auc(y: Array, p: Outputs) -> Tally | None:
    """One class against the others, mean over the classes that occur; of two classes, once."""
    present = np.unique(y)
    if len(present) < 2:
        return None
    chosen = present[1:] if len(present) == 2 and p.shape[1] == 2 else present
    areas = [_area(y == k, p[:, k]) for k in chosen]

    def tally(counts: Array) -> Array:
        found = np.stack([area(counts) for area in areas])
        known = np.isfinite(found)
        some = known.sum(axis=0)
        total = np.where(known, found, 0).sum(axis=0)
        return np.where(some > 0, total / np.maximum(some, 1), np.nan)

    return tally


def _area(positive: Array, score: Array) -> Tally:
    """Return the area under the ROC curve by trapezia over distinct scores."""
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) != 0))
    ordered = positive[order]

    def tally(counts: Array) -> Array:
        counts = counts[:, order]
        hits = np.add.reduceat(counts * ordered, starts, axis=1)
        misses = np.add.reduceat(counts * ~ordered, starts, axis=1)
        above = np.cumsum(hits, axis=1) - hits / 2
        pairs = hits.sum(axis=1) * misses.sum(axis=1)
        return np.where(pairs > 0, (misses * above).sum(axis=1) / np.maximum(pairs, 1), np.nan)

    return tally


def _r2(y: Array, a: Outputs) -> Tally | None:
    if (y == y[0]).all():
        return None
    t = y - y.mean()
    table = np.stack([np.ones_like(t), t, t**2, (y - a) ** 2], axis=1)

    def tally(counts: Array) -> Array:
        n, first, second, rest = (counts @ table).T
        spread = second - first**2 / n
        # A sample of rows that are all alike has no variance.
        alike = spread <= 1e-12 * second
        return np.where(alike, np.nan, 1 - rest / np.where(alike, 1, spread))

    return tally


def _mae(y: Array, a: Outputs) -> Tally:
    return _mean_of(np.abs(y - a))


def _rmse(y: Array, a: Outputs) -> Tally:
    mean = _mean_of((y - a) ** 2)
    return lambda counts: np.sqrt(mean(counts))


_Measure = tuple[str, Callable[[Array, Outputs], Tally | None]]
MEASURES: dict[str, dict[str, _Measure]] = {
    "classification": {
        "accuracy": ("max", _accuracy),
        "balanced_accuracy": ("max", _balanced_accuracy),
        "roc_auc": ("max", _roc_auc),
        "log_loss": ("min", _log_loss),
    },
    "regression": {"r2": ("max", _r2), "mae": ("min", _mae), "rmse": ("min", _rmse)},
}
