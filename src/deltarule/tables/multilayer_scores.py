"""How good a network is on validation data, by a scorer of scikit-learn or a metric of ours."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score, get_scorer, get_scorer_names, r2_score

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value, nearest
from deltarule.base.settings import members
from deltarule.base.types import Array
from deltarule.formulas.losses import Loss
from deltarule.formulas.metrics import Metric
from deltarule.network.network import Network
from deltarule.training.evaluation import evaluate


class Held(NamedTuple):
    """Validation data: as the estimator's users have them, and as the network takes them."""

    X: Array
    y: Array
    targets: Array
    weights: Array | None


def scorer_of(estimator: Any, held: Held, loss: Loss) -> Callable[[Network], float]:
    """Return the score of a network on validation data; higher is better.

    ``scoring`` of the estimator: None for accuracy or R2, "loss", the name of a scorer of
    scikit-learn or of a metric of ours, a metric, or a function ``(estimator, X, y)``. Losses and
    errors of ours count negative.
    """
    scoring = estimator.scoring
    judge = _Judge(estimator)
    weights = {} if held.weights is None else {"sample_weight": held.weights}
    if scoring is None:
        usual = accuracy_score if hasattr(estimator, "classes_") else r2_score

        def score(network: Network) -> float:
            predicted = judge.of(network)._predict(held.X)
            if predicted.dtype.kind == "f" and not np.isfinite(predicted).all():
                return float("nan")
            return float(usual(held.y, predicted, **weights))

        return score
    metric = _metric_of(scoring)
    if (isinstance(scoring, str) and scoring == "loss") or metric is not None:
        chosen = () if metric is None else (metric,)

        def measure(network: Network) -> float:
            found = evaluate(
                network,
                held.X,
                held.targets,
                loss,
                metrics=chosen,
                sample_weight=held.weights,
                engine=estimator.engine,
                threads=estimator.threads,
            )
            *_, value = found.values()
            return value if metric is not None and metric.best == "max" else -value

        return measure
    found = get_scorer(scoring) if isinstance(scoring, str) else scoring
    if weights and not _takes_weights(found):
        weights = {}

    def ask(network: Network) -> float:
        return float(found(judge.of(network), held.X, held.y, **weights))

    return ask


class _Judge:
    """An estimator that predicts by the network in hand, and takes arrays without names."""

    def __init__(self, estimator: Any) -> None:
        self._twin = copy.copy(estimator)
        self._twin.__dict__.pop("feature_names_in_", None)

    def of(self, network: Network) -> Any:
        self._twin.networks_ = [network]
        return self._twin


def _metric_of(scoring: Any) -> Metric | None:
    """Return the metric of ours that is meant; None for a scorer of scikit-learn or the loss."""
    if isinstance(scoring, Metric):
        return scoring
    if not isinstance(scoring, str):
        if callable(scoring):
            return None
        raise InvalidTypeError(
            "scoring must be the name of a scorer or metric, a metric, 'loss' or a function "
            f"(estimator, X, y) -> number, got {describe_value(scoring)}"
        )
    if scoring == "loss" or scoring in get_scorer_names():
        return None
    if scoring in members("metric"):
        return Metric.resolve(scoring)
    known = ["loss", *get_scorer_names(), *members("metric")]
    near = nearest(scoring, known)
    hint = f"; did you mean {near!r}?" if near else ""
    raise InvalidValueError(
        f"scoring: no scorer of scikit-learn and no metric is called {scoring!r}{hint}"
    )


def _takes_weights(scorer: Any) -> bool:
    if hasattr(scorer, "_score_func"):
        return True
    return "sample_weight" in inspect.signature(scorer).parameters
