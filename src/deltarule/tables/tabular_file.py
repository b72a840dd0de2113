"""The estimator of a table model's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deltarule.base.errors import FileFormatError, InvalidValueError
from deltarule.base.files import named
from deltarule.base.settings import check_flag, rebuild
from deltarule.network.model_file import ModelFile, describing
from deltarule.tables.model import TableModel
from deltarule.tables.recipe import Recipe


def estimator_of(file: ModelFile, path: Any, classes: Mapping[str, type]) -> Any:
    """Return the fitted estimator of a file's content; ``path`` is named in messages.

    ``classes``: the estimators that it may be, by name.

    Raises
    ------
    OSError
        The content is that of no table model, or of another estimator.
    """
    model = TableModel.from_file(file, path)
    with describing(path, "an estimator"):
        described = model.about["estimator"]
        name = described["class"]
        if name in ("TabularClassifier", "TabularRegressor") and name not in classes:
            raise FileFormatError(f"{named(path)} has a {name}, not a {' or '.join(classes)}")
        if (name == "TabularClassifier") is not (model.target.task == "classification"):
            raise InvalidValueError(f"a {name} has no {model.target.task}")
        params = dict(described["parameters"])
        if isinstance(params.get("class_weight"), list):
            params["class_weight"] = dict(params["class_weight"])
        estimator = classes[name](rebuild(model.about["recipe"]), **params)
        Recipe.resolve(estimator.recipe)
        estimator._checked()
        check_flag("named", described["named"])
        estimator._adopt(model)
    return estimator
