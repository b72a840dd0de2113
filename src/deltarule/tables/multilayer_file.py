"""Fitted multilayer estimators as model files: parameters and what was fitted, as JSON."""

from __future__ import annotations

import math
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from deltarule.base.errors import FileFormatError, InvalidTypeError, InvalidValueError
from deltarule.base.files import named
from deltarule.base.settings import describe, rebuild
from deltarule.base.types import Array
from deltarule.network.model_file import ModelFile, describing, save_networks
from deltarule.tables.multilayer_course import Course
from deltarule.tables.multilayer_fitting import Member

if TYPE_CHECKING:
    from pathlib import Path

KEY = "multilayer"
"""Where the header says what the estimator is."""
_OF_A_RUN = ("callbacks", "engine", "threads", "verbose")
_FITTED = ("n_features_in_", "n_outputs_", "out_activation_", "n_iter_", "n_layers_", "loss_")
_BY_STEPS = ("t_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
_COURSE = ("loss_curve", "validation_scores", "best_loss", "best_score", "no_improvement",
           "n_iter", "seen", "learning_rate", "stopped")  # fmt: skip
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def save_estimator(estimator: Any, path: str | PathLike[str] | BinaryIO) -> Path | None:
    """Write a fitted estimator to one safetensors file and return its path."""
    check_is_fitted(estimator)
    fitted = (*_FITTED, *(name for name in _BY_STEPS if hasattr(estimator, name)))
    about: dict[str, Any] = {
        "class": type(estimator).__name__,
        "parameters": _parameters(estimator),
        "fitted": {name: _json(getattr(estimator, name)) for name in fitted},
        "courses": [
            {name: _json(getattr(member.course, name)) for name in _COURSE}
            for member in estimator._members
        ],
    }
    if hasattr(estimator, "feature_names_in_"):
        about["feature_names"] = estimator.feature_names_in_.tolist()
    if hasattr(estimator, "classes_"):
        about["classes"] = _classes(estimator.classes_)
        about["multilabel"] = estimator._multilabel
    return save_networks(estimator.networks_, path, {KEY: about})


def _parameters(estimator: Any) -> dict[str, Any]:
    """Return the parameters as JSON values, without what belongs to a run."""
    found = estimator.get_params(deep=False)
    for name in _OF_A_RUN:
        del found[name]
    if isinstance(found["random_state"], np.random.RandomState):
        found["random_state"] = None
    if callable(found["scoring"]):
        found["scoring"] = None
    if found["dtype"] is not None:
        found["dtype"] = np.dtype(found["dtype"]).name
    if isinstance(found.get("class_weight"), dict):
        found["class_weight"] = [[_json(k), _json(v)] for k, v in found["class_weight"].items()]
    for name in ("hidden_layer_sizes", "activation"):
        if isinstance(found[name], np.ndarray):
            found[name] = found[name].tolist()
    return {name: describe(_json(value)) for name, value in found.items()}


def _json(value: Any) -> Any:
    """Return Python's own value for one of NumPy; numbers that are not finite by name."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(item) for item in value]
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _classes(classes: Array) -> dict[str, Any]:
    labels = classes.tolist()
    if not all(isinstance(label, (str, bool, int, float)) for label in labels):
        raise InvalidTypeError(
            "only labels that are text, numbers or booleans can be saved, got "
            f"{sorted({type(label).__name__ for label in labels})}"
        )
    return {"dtype": "object" if classes.dtype == object else classes.dtype.str, "labels": labels}


def estimator_of(file: ModelFile, path: object, classes: dict[str, type]) -> Any:
    """Return the fitted estimator of a file's content; ``path`` is named in messages.

    Raises
    ------
    OSError
        The content is that of no multilayer estimator.
    """
    if KEY not in file.about:
        raise FileFormatError(f"{named(path)} has no MLPClassifier and no MLPRegressor")
    with describing(path, "an estimator"):
        name = file.about[KEY]["class"]
        if isinstance(name, str) and name not in classes:
            raise FileFormatError(f"{named(path)} has a {name}, not a {' or '.join(classes)}")
        return _rebuilt(file, classes)


def _rebuilt(file: ModelFile, classes: dict[str, type]) -> Any:
    about = file.about[KEY]
    params = {name: _number(rebuild(value)) for name, value in about["parameters"].items()}
    if isinstance(params.get("class_weight"), tuple):
        params["class_weight"] = dict(params["class_weight"])
    estimator = classes[about["class"]](**params)
    estimator._validate_params()
    for name, value in about["fitted"].items():
        if name not in (*_FITTED, *_BY_STEPS):
            raise InvalidValueError(f"an estimator has no {name!r}")
        setattr(estimator, name, _number(value))
    if "feature_names" in about:
        estimator.feature_names_in_ = np.array(about["feature_names"], dtype=object)
        if len(estimator.feature_names_in_) != estimator.n_features_in_:
            raise InvalidValueError("feature_names has another length than n_features_in_")
    if "classes" in about:
        _restore_classes(estimator, about["classes"], multilabel=about["multilabel"])
    if len(about["courses"]) != len(file.networks):
        raise InvalidValueError("each network has one course")
    for network in file.networks:
        if (network.inputs, network.outputs) != (estimator.n_features_in_, estimator.n_outputs_):
            raise InvalidValueError(
                f"a network has {network.inputs} inputs and {network.outputs} outputs, the "
                f"estimator {estimator.n_features_in_} and {estimator.n_outputs_}"
            )
    estimator._members = [
        Member(network, _restored(estimator, course))
        for network, course in zip(file.networks, about["courses"], strict=True)
    ]
    estimator.networks_ = list(file.networks)
    estimator._no_improvement_count = estimator._members[0].course.no_improvement
    estimator.converged_ = estimator._members[0].course.stopped
    estimator._random_state = check_random_state(estimator.random_state)
    if not hasattr(estimator, "classes_"):
        estimator._width = estimator.n_outputs_
    if estimator._output().units != estimator.n_outputs_:
        raise InvalidValueError(f"n_outputs_={estimator.n_outputs_} does not fit the loss")
    return estimator


def _restore_classes(estimator: Any, described: dict[str, Any], *, multilabel: bool) -> None:
    dtype = np.dtype(described["dtype"])
    if dtype.kind not in "biufUO":
        raise InvalidValueError(f"labels cannot be of dtype {dtype}")
    labels = np.array(described["labels"], dtype=dtype)
    if labels.ndim != 1 or labels.tolist() != described["labels"]:
        raise InvalidValueError("the labels are not what they are said to be")
    several = np.repeat([[0], [1]], len(labels), axis=1)
    estimator._label_binarizer = LabelBinarizer().fit(several if multilabel else labels)
    estimator.classes_ = labels


def _restored(estimator: Any, described: dict[str, Any]) -> Course:
    course = Course(estimator, validates=described["validation_scores"] is not None)
    for name in _COURSE:
        setattr(course, name, _number(described[name]))
    return course
