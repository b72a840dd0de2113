"""What TabularClassifier and TabularRegressor share: a frame in, a table model out."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from deltarule.base.errors import InvalidValueError, TrainingInterrupted, missing_extra
from deltarule.base.log import warn
from deltarule.base.settings import check_choice, check_integer, check_number, describe
from deltarule.base.types import Array
from deltarule.network.model_file import load_networks
from deltarule.network.network import Network
from deltarule.tables.columns import Columns
from deltarule.tables.fitting import Fitted, Rows, fit_networks, in_folds, in_two
from deltarule.tables.importances import Importances, accuracy, permutation_importances, r2
from deltarule.tables.model import TableModel
from deltarule.tables.recipe import Recipe, Running, Task
from deltarule.tables.tabular_file import estimator_of
from deltarule.tables.target import Target
from deltarule.training.callbacks import check_callbacks
from deltarule.training.evaluation import resolve_metrics

try:
    from sklearn.base import BaseEstimator
    from sklearn.utils.validation import check_is_fitted

    from deltarule.tables.given import (
        given_frame,
        given_seed,
        given_weights,
        is_named,
        rows_of,
        taken,
    )
except ImportError:
    raise missing_extra("deltarule.sklearn", "sklearn") from None

if TYPE_CHECKING:
    from pathlib import Path


class Tabular(BaseEstimator):  # type: ignore[misc]
    """What both estimators are: a frame in, a table model out."""

    recipe: Any
    kinds: Any
    folds: Any
    validation_fraction: Any
    metric: Any
    time_limit: Any
    callbacks: Any
    engine: Any
    threads: Any
    progress: Any
    on_interrupt: Any
    random_state: Any

    model_: TableModel
    n_features_in_: int
    _checkpoints: Path | None = None  # a folder for those of the next fit

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Find the columns, train the networks, and return self.

        Parameters
        ----------
        X : frame of pandas, polars or pyarrow, array, list of rows, dict of columns, scipy.sparse
            Any columns: numbers, text, dates, booleans; cells may be missing.
        y : array-like (n,), of a regression also (n, outputs)
            Every row needs a target.
        sample_weight : array-like (n,), optional
            Weights >= 0; a row of weight 0 is left out.
        X_val, y_val : optional
            Rows that decide which epoch is kept, in the place of rows held out of X.

        Raises
        ------
        ValueError, TypeError
            Bad input; what was fitted before is unchanged.
        """
        recipe, running, seed = Recipe.resolve(self.recipe), self._running(), self._checked()
        frame, target, encoded, weights = self._given(X, y, sample_weight)
        columns = Columns(self.kinds, codes_above=recipe.codes_above).fit(frame)
        if not columns.width:
            raise InvalidValueError(
                "no column of X is of use: all are constant, empty, identifiers or left out"
            )
        by_class = self._class_weights(target, encoded, weights)
        rows = Rows(columns.transform(frame), encoded, _weighted(weights, by_class, encoded))
        validation = self._validation(columns, target, by_class, X_val, y_val)
        fitted = fit_networks(
            recipe,
            Task(
                len(rows),
                columns.width,
                encoded.shape[1] if target.classes is None else len(target.classes),
                target.classes is not None,
                tuple(columns.code_columns),
            ),
            rows,
            self._parts(recipe, rows, target, seed, validation),
            validation=validation,
            seed=seed,
            running=running,
            time_limit=self.time_limit,
        )
        about = {"estimator": self._describe(named=is_named(X)), "recipe": describe(recipe)}
        self._adopt(TableModel(columns, target, fitted.networks, about))
        self.histories_ = fitted.histories
        self.validation_score_ = _score(fitted, target)
        if fitted.interrupted:
            count = len(fitted.networks)
            message = (
                f"training interrupted; this {type(self).__name__} is fitted, with what "
                f"{count} network{'s have' if count > 1 else ' has'} learnt"
            )
            if self.on_interrupt == "raise":
                raise TrainingInterrupted(message, history=fitted.histories[-1])
            warn(message)
        return self

    def predict(self, X: Any) -> Array:
        """Return the label (n,), or the value (n,) or (n, outputs), of each row."""
        return self._model().predict(given_frame(self, X, fitting=False))

    def feature_importances(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        repeats: int = 5,
        metric: str = "score",
        rows: int | None = 10_000,
    ) -> Importances:
        """Return by how much the score falls when the cells of a column are shuffled.

        Parameters
        ----------
        X, y, sample_weight
            Rows that were not trained on tell what the model needs of new rows.
        repeats : int
            Shuffles of each column; their spread is given too.
        metric : "score" or "loss"
            Accuracy or R2; the loss also sees changes that turn no label.
        rows : int, optional
            At most so many rows are used, drawn at random; None takes all.

        Returns
        -------
        Importances
            ``names``, ``mean``, ``spread`` and ``values`` of the columns of X; printed, a table.
        """
        model = self._model()
        frame = given_frame(self, X, fitting=False)
        _, encoded = self._given_target(y, model.target)
        _check_lengths(rows_of(frame), encoded)
        return permutation_importances(
            model,
            frame,
            encoded,
            given_weights(sample_weight, len(encoded)),
            repeats=repeats,
            metric=metric,
            rows=rows,
            seed=given_seed(self.random_state),
        )

    def save(self, path: str | PathLike[str] | BinaryIO) -> Path | None:
        """Write the fitted estimator to one safetensors file and return its path.

        It holds networks, columns, target, recipe and parameters, no pickle. Callbacks, engine,
        threads and progress belong to a run and are not written. The same model is the same bytes.

        Raises
        ------
        OSError
            The file cannot be written; an existing one of that name is unchanged.
        """
        return self._model().save(path)

    @classmethod
    def load(cls, path: str | PathLike[str] | BinaryIO) -> Self:
        """Return the estimator of a file that :meth:`save` wrote; no code of the file is run.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        OSError
            The file has none, is damaged, or comes from a newer version.
        """
        found: Self = estimator_of(load_networks(path), path, {cls.__name__: cls})
        return found

    @property
    def networks_(self) -> tuple[Network, ...]:
        """The trained networks, whose outputs are averaged."""
        return self._model().networks

    @property
    def columns_(self) -> Columns:
        """What the columns are, and how they become numbers."""
        return self._model().columns

    def _model(self) -> TableModel:
        check_is_fitted(self, "model_")
        return self.model_

    def _checked(self) -> int:
        """Return the seed; raise where a parameter is impossible."""
        if self.folds is not None:
            check_integer("folds", self.folds)
        check_number("validation_fraction", self.validation_fraction, above=0, below=1)
        if self.time_limit is not None:
            check_number("time_limit", self.time_limit, above=0)
        check_choice("on_interrupt", self.on_interrupt, "return", "raise")
        return given_seed(self.random_state)

    def _running(self) -> Running:
        """Return how the networks are trained, whatever the recipe."""
        metrics: tuple[Any, ...] = () if self.metric == "loss" else (self.metric,)
        name = next(iter(resolve_metrics(metrics)), "loss")
        return Running(
            monitor=f"val_{name}",
            metrics=metrics,
            callbacks=tuple(check_callbacks(self.callbacks)),
            engine=self.engine,
            threads=self.threads,
            progress=self.progress,
            checkpoints=self._checkpoints,
        )

    def _given(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Target, Array, Array]:
        """Return table, target, encoded targets and weights, without the rows of weight 0."""
        frame = given_frame(self, X, fitting=True)
        target, encoded = self._given_target(y)
        _check_lengths(rows_of(frame), encoded)
        weights = given_weights(sample_weight, len(encoded))
        if not weights.all():
            kept = np.flatnonzero(weights)
            frame, weights = taken(frame, kept), weights[kept]
            target, encoded = self._given_target(taken(y, kept))
        if len(weights) < 2:
            raise InvalidValueError(
                "a table needs at least 2 rows, one to train on and one to validate; n_samples=1"
            )
        return frame, target, encoded, weights

    def _validation(
        self, columns: Columns, target: Target, by_class: Array | None, X_val: Any, y_val: Any
    ) -> Rows | None:
        if (X_val is None) != (y_val is None):
            raise InvalidValueError("X_val and y_val belong together; one of them is missing")
        if X_val is None:
            return None
        _, encoded = self._given_target(y_val, target)
        X = columns.transform(given_frame(self, X_val, fitting=True))
        _check_lengths(len(X), encoded, "_val")
        return Rows(X, encoded, _weighted(np.ones(len(X)), by_class, encoded))

    def _parts(
        self, recipe: Recipe, rows: Rows, target: Target, seed: int, validation: Rows | None
    ) -> list[tuple[Array, Array]]:
        """Return for each network the rows that it is trained on and those held out."""
        n = len(rows)
        folds = self.folds or recipe.folds(n)
        if validation is not None:
            return [(np.arange(n), np.arange(0))] * folds
        labels = None if target.classes is None else rows.y
        if folds == 1:
            fraction = min(max(self.validation_fraction, 1 / n), 1 - 1 / n)
            return [in_two(n, fraction, labels, seed)]
        return list(in_folds(n, min(folds, n), labels, seed))

    def _adopt(self, model: TableModel) -> None:
        """Set the fitted attributes."""
        names = tuple(column.name for column in model.columns.columns)
        self.model_ = model
        self.n_features_in_ = len(names)
        if model.about["estimator"]["named"]:
            self.feature_names_in_ = np.array(names, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _describe(self, *, named: bool) -> dict[str, Any]:
        """Return the class and the parameters that a file keeps, as JSON values."""
        params = {
            name: getattr(self, name)
            for name in ("kinds", "folds", "validation_fraction", "metric", "time_limit")
        }
        params["metric"] = self.metric if isinstance(self.metric, str) else "loss"
        params["kinds"] = None if self.kinds is None else dict(self.kinds)
        params["random_state"] = None
        if isinstance(self.random_state, (int, np.integer)):
            params["random_state"] = int(self.random_state)
        return {"class": type(self).__name__, "named": named, "parameters": params}

    def _given_target(self, y: Any, known: Target | None = None) -> tuple[Target, Array]:
        raise NotImplementedError

    def _class_weights(self, target: Target, encoded: Array, weights: Array) -> Array | None:
        """Return a factor for each class, or None."""
        return None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.sparse = True
        return tags


def _score(fitted: Fitted, target: Target) -> float | None:
    unseen = fitted.unseen
    if not len(unseen):
        return None
    measure = r2 if target.classes is None else accuracy
    return measure(fitted.outputs, unseen.y, unseen.weights.astype(np.float64))


def _weighted(weights: Array, by_class: Array | None, encoded: Array) -> Array:
    found: Array = (weights if by_class is None else weights * by_class[encoded]).astype(np.float32)
    return found


def _check_lengths(rows: int, encoded: Array, which: str = "") -> None:
    if rows != len(encoded):
        raise InvalidValueError(
            f"X{which} and y{which} must have the same number of rows, got {rows} and "
            f"{len(encoded)}"
        )
