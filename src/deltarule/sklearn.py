"""Estimators with the API of scikit-learn."""

from __future__ import annotations

from os import PathLike
from typing import Any, BinaryIO

from deltarule.base.errors import missing_extra
from deltarule.network.model_file import load_networks

try:
    from deltarule.tables import multilayer_file, tabular_file
    from deltarule.tables.multilayer_classifier import MLPClassifier
    from deltarule.tables.multilayer_regressor import MLPRegressor
    from deltarule.tables.tabular_classifier import TabularClassifier
    from deltarule.tables.tabular_regressor import TabularRegressor
except ModuleNotFoundError as error:
    if (error.name or "").startswith("deltarule"):
        raise
    raise missing_extra("deltarule.sklearn", "sklearn") from None

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor", "load"]


def load(path: str | PathLike[str] | BinaryIO) -> Any:
    """Return the estimator of a file that an estimator, or ``deltarule train``, wrote.

    No code of the file is run.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file has no estimator, is damaged, or comes from a newer version.
    """
    file = load_networks(path)
    if multilayer_file.KEY in file.about:
        classes = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}
        return multilayer_file.estimator_of(file, path, classes)
    classes = {"TabularClassifier": TabularClassifier, "TabularRegressor": TabularRegressor}
    return tabular_file.estimator_of(file, path, classes)
