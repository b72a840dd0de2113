"""The classifier of raw tables, with the API of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from deltarule.base.errors import InvalidTypeError, InvalidValueError, describe_value
from deltarule.base.settings import check_number
from deltarule.base.types import Array
from deltarule.tables.given import given_frame, given_labels
from deltarule.tables.tabular_base import Tabular
from deltarule.tables.target import Target


class TabularClassifier(ClassifierMixin, Tabular):  # type: ignore[misc]
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


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
