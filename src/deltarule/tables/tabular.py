"""TabularClassifier and TabularRegressor: scikit-learn's API for tables as people have them."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from deltarule.base.errors import (
    FileFormatError,
    InvalidTypeError,
    InvalidValueError,
    TrainingInterrupted,
    describe_value,
    missing_extra,
)
from deltarule.base.log import warn
from deltarule.base.settings import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    describe,
    rebuild,
)
from deltarule.base.types import Array
from deltarule.network.model_file import ModelFile, describing, load_networks
from deltarule.network.network import Network
from deltarule.tables.columns import Columns
from deltarule.tables.fitting import Fitted, Rows, fit_networks, in_folds, in_two
from deltarule.tables.importances import Importances, accuracy, permutation_importances, r2
from deltarule.tables.model import TableModel
from deltarule.tables.recipe import Recipe, Running, Task
from deltarule.tables.target import Target
from deltarule.training.callbacks import check_callbacks
from deltarule.training.evaluation import resolve_metrics

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.validation import check_is_fitted

    from deltarule.tables.given import (
        given_frame,
        given_labels,
        given_seed,
        given_values,
        given_weights,
        is_named,
        rows_of,
        taken,
    )
except ImportError:
    raise missing_extra("deltarule.sklearn", "sklearn") from None

if TYPE_CHECKING:
    from pathlib import Path


class _Tabular(BaseEstimator):  # type: ignore[misc]
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
        found = estimator_of(load_networks(path), path)
        if not isinstance(found, cls):
            raise FileFormatError(
                f"{_shown(path)} has a {type(found).__name__}, not a {cls.__name__}"
            )
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


class TabularClassifier(ClassifierMixin, _Tabular):  # type: ignore[misc]
    """Classes from a table as people have it: text, dates, gaps and all.

    Columns are found and become numbers (:class:`~deltarule.tables.columns.Columns`), a recipe says
    how networks are built and trained (:class:`~deltarule.tables.recipe.Plain`), and of each
    network the epoch is kept that is best on rows that it was not trained on. Probabilities are the
    mean over the networks.

    Parameters
    ----------
    recipe : name or Recipe
        "plain" by default.
    kinds : dict of column name to kind, optional
        What a column is, where that is not to be found out: "number", "category", "date", "left
        out", ...
    folds : int, optional
        Networks, each with another part of the rows held out; by default the recipe decides (5 for
        small tables, 1 for large ones).
    validation_fraction : float
        Share of the rows that is held out where there is one network; every class is trained on.
    metric : str or Metric
        What decides which epoch is best, on the rows held out: "loss", "accuracy",
        "balanced_accuracy", "roc_auc", "f1", ...
    class_weight : dict of label to weight, "balanced" or None
        Multiplies the sample weights, also of the rows held out. "balanced" gives every class the
        same total.
    time_limit : float, optional
        Seconds for training; looked at after each epoch. What is best so far is kept. Results then
        depend on the machine.
    callbacks : list of Callback, optional
        As in :func:`deltarule.train`; they see one network after the other.
    engine, threads, progress
        As in :func:`deltarule.train`.
    on_interrupt : "return" or "raise"
        After Ctrl-C the estimator is fitted with what it has learnt. Then `fit` returns, or raises
        TrainingInterrupted.
    random_state : int, RandomState or None
        The same number gives the same model.

    Attributes
    ----------
    classes_ : array (classes,)
    model_ : TableModel
        Columns, target and networks; it predicts without scikit-learn.
    networks_ : tuple of Network
    columns_ : Columns
    histories_ : tuple of History
        One for each network.
    validation_score_ : float or None
        Accuracy on the rows held out, each predicted by the networks that were not trained on it;
        with the weights. These rows also chose the epochs, so it flatters a little. Not kept in
        files.
    n_features_in_ : int
    feature_names_in_ : array of str
        Where X had names.

    Examples
    --------
    >>> from deltarule.sklearn import TabularClassifier
    >>> frame = {"size": [1.0, 1.5, None, 4.0, 4.5, 5.0] * 5, "colour": ["red", "blue"] * 15}
    >>> label = ["small", "small", "small", "large", "large", "large"] * 5
    >>> model = TabularClassifier().fit(frame, label)
    >>> model.predict({"size": [1.2, 4.8], "colour": ["red", "green"]}).tolist()
    ['small', 'large']
    """

    def __init__(
        self,
        recipe: Any = "plain",
        *,
        kinds: Any = None,
        folds: Any = None,
        validation_fraction: Any = 0.2,
        metric: Any = "loss",
        class_weight: Any = None,
        time_limit: Any = None,
        callbacks: Any = None,
        engine: Any = "auto",
        threads: Any = None,
        progress: Any = "auto",
        on_interrupt: Any = "return",
        random_state: Any = 0,
    ) -> None:
        self.recipe = recipe
        self.kinds = kinds
        self.folds = folds
        self.validation_fraction = validation_fraction
        self.metric = metric
        self.class_weight = class_weight
        self.time_limit = time_limit
        self.callbacks = callbacks
        self.engine = engine
        self.threads = threads
        self.progress = progress
        self.on_interrupt = on_interrupt
        self.random_state = random_state

    @property
    def classes_(self) -> Array:
        """The labels in ascending order."""
        classes = self._model().target.classes
        assert classes is not None
        return classes

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class (n, classes), in the order of ``classes_``."""
        return self._model().probabilities(given_frame(self, X, fitting=False))

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of the probabilities (n, classes)."""
        with np.errstate(divide="ignore"):
            found: Array = np.log(self.predict_proba(X))
        return found

    def _given_target(self, y: Any, known: Target | None = None) -> tuple[Target, Array]:
        return given_labels(y, None if known is None else known.classes)

    def _class_weights(self, target: Target, encoded: Array, weights: Array) -> Array | None:
        assert target.classes is not None
        if self.class_weight is None:
            return None
        if self.class_weight == "balanced":
            totals = np.bincount(encoded, weights, minlength=len(target.classes))
            return totals.sum() / (len(totals) * totals)
        if not isinstance(self.class_weight, Mapping):
            raise InvalidTypeError(
                "class_weight must be a dict of label to weight, 'balanced' or None, got "
                f"{describe_value(self.class_weight)}"
            )
        labels = target.classes.tolist()
        if unknown := [label for label in self.class_weight if label not in labels]:
            raise InvalidValueError(
                f"class_weight has {describe_value(unknown[0])}, which is none of the classes "
                f"{describe_value(labels)}"
            )
        found = [
            check_number(f"the class weight of {label!r}", self.class_weight.get(label, 1), above=0)
            for label in labels
        ]
        return np.array(found)

    def _describe(self, *, named: bool) -> dict[str, Any]:
        described = super()._describe(named=named)
        kept = self.class_weight
        if isinstance(kept, Mapping):
            kept = [[_plain(label), float(weight)] for label, weight in kept.items()]
        described["parameters"]["class_weight"] = kept
        return described


class TabularRegressor(RegressorMixin, _Tabular):  # type: ignore[misc]
    """Values from a table as people have it: text, dates, gaps and all.

    Everything is as with :class:`TabularClassifier`; targets are standardised for training, and
    what is predicted has the targets' own scale. y may have several columns (n, outputs).

    Parameters
    ----------
    metric : str or Metric
        What decides which epoch is best: "loss" (the mean squared error), "mae", "r2", ... in
        units of the target's standard deviation.
    within_range : bool
        Whether predictions stay between the smallest and the largest value of y; True by default.
    recipe, kinds, folds, validation_fraction, time_limit, callbacks, engine, threads, progress,
    on_interrupt, random_state
        As with :class:`TabularClassifier`.

    Examples
    --------
    >>> from deltarule.sklearn import TabularRegressor
    >>> frame = {"size": [float(i) for i in range(40)], "unit": ["m", "cm"] * 20}
    >>> price = [3.0 * size + 10 for size in frame["size"]]
    >>> model = TabularRegressor().fit(frame, price)
    >>> abs(float(model.predict({"size": [20.0], "unit": ["m"]})[0]) - 70) < 5
    True
    """

    def __init__(
        self,
        recipe: Any = "plain",
        *,
        kinds: Any = None,
        folds: Any = None,
        validation_fraction: Any = 0.2,
        metric: Any = "loss",
        within_range: Any = True,
        time_limit: Any = None,
        callbacks: Any = None,
        engine: Any = "auto",
        threads: Any = None,
        progress: Any = "auto",
        on_interrupt: Any = "return",
        random_state: Any = 0,
    ) -> None:
        self.recipe = recipe
        self.kinds = kinds
        self.folds = folds
        self.validation_fraction = validation_fraction
        self.metric = metric
        self.within_range = within_range
        self.time_limit = time_limit
        self.callbacks = callbacks
        self.engine = engine
        self.threads = threads
        self.progress = progress
        self.on_interrupt = on_interrupt
        self.random_state = random_state

    def _checked(self) -> int:
        check_flag("within_range", self.within_range)
        return super()._checked()

    def _describe(self, *, named: bool) -> dict[str, Any]:
        described = super()._describe(named=named)
        described["parameters"]["within_range"] = bool(self.within_range)
        return described

    def _given_target(self, y: Any, known: Target | None = None) -> tuple[Target, Array]:
        target, encoded = given_values(y, known)
        if not self.within_range:
            target.bounds = None
        return target, encoded

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


_CLASSES: dict[str, type[TabularClassifier | TabularRegressor]] = {
    "TabularClassifier": TabularClassifier,
    "TabularRegressor": TabularRegressor,
}


def estimator_of(file: ModelFile, path: object) -> TabularClassifier | TabularRegressor:
    """Return the fitted estimator of a file's content; ``path`` is named in messages.

    Raises
    ------
    OSError
        The content is that of no table model.
    """
    model = TableModel.from_file(file, path)
    with describing(path, "an estimator"):
        described = model.about["estimator"]
        made = _CLASSES[described["class"]]
        if (made is TabularClassifier) is not (model.target.task == "classification"):
            raise InvalidValueError(f"a {described['class']} has no {model.target.task}")
        params = dict(described["parameters"])
        if isinstance(params.get("class_weight"), list):
            params["class_weight"] = dict(params["class_weight"])
        estimator = made(rebuild(model.about["recipe"]), **params)
        Recipe.resolve(estimator.recipe)
        estimator._checked()
        check_flag("named", described["named"])
        estimator._adopt(model)
    return estimator


def _score(fitted: Fitted, target: Target) -> float | None:
    unseen = fitted.unseen
    if not len(unseen):
        return None
    measure = r2 if target.classes is None else accuracy
    return measure(fitted.outputs, unseen.y, unseen.weights.astype(np.float64))


def _shown(path: object) -> str:
    from deltarule.base.files import shown

    return shown(path) if isinstance(path, (str, PathLike)) else "the file"


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def _weighted(weights: Array, by_class: Array | None, encoded: Array) -> Array:
    found: Array = (weights if by_class is None else weights * by_class[encoded]).astype(np.float32)
    return found


def _check_lengths(rows: int, encoded: Array, which: str = "") -> None:
    if rows != len(encoded):
        raise InvalidValueError(
            f"X{which} and y{which} must have the same number of rows, got {rows} and "
            f"{len(encoded)}"
        )
