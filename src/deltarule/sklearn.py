"""Estimators with the API of scikit-learn."""

from __future__ import annotations

from os import PathLike
from typing import Any, BinaryIO

from deltarule.network.model_file import load_networks
from deltarule.tables.multilayer import (
    MLPClassifier,
    MLPRegressor,
    is_multilayer,
    multilayer_of,
)
from deltarule.tables.tabular import TabularClassifier, TabularRegressor, estimator_of

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
    return multilayer_of(file, path) if is_multilayer(file) else estimator_of(file, path)
