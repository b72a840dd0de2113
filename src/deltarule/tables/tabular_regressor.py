"""The regressor of raw tables, with the API of scikit-learn."""

from __future__ import annotations

from typing import Any

from sklearn.base import RegressorMixin

from deltarule.base.settings import check_flag
from deltarule.base.types import Array
from deltarule.tables.given import given_values
from deltarule.tables.tabular_base import Tabular
from deltarule.tables.target import Target


class TabularRegressor(RegressorMixin, Tabular):  # type: ignore[misc]
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
