"""Users' data, checked once and kept in its own type."""

from deltarule.data.arrays import Dataset, as_matrix, as_targets, check_finite, fits
from deltarule.data.frames import check_feature_names, check_names
from deltarule.data.numbers import numeric
from deltarule.data.split import split_rows
from deltarule.data.weights import as_weights, balanced_weights, check_some_weight, class_weights

__all__ = [
    "Dataset",
    "as_matrix",
    "as_targets",
    "as_weights",
    "balanced_weights",
    "check_feature_names",
    "check_finite",
    "check_names",
    "check_some_weight",
    "class_weights",
    "fits",
    "numeric",
    "split_rows",
]
