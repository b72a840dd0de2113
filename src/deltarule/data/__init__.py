"""Users' data, checked once and kept in its own type."""

from deltarule.data.arrays import (
    Dataset,
    as_matrix,
    as_targets,
    as_weights,
    balanced_weights,
    check_some_weight,
    class_weights,
    numeric,
)
from deltarule.data.split import split_rows

__all__ = [
    "Dataset",
    "as_matrix",
    "as_targets",
    "as_weights",
    "balanced_weights",
    "check_some_weight",
    "class_weights",
    "numeric",
    "split_rows",
]
