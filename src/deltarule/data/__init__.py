"""Data as users have it, checked once and kept in its own type."""

from deltarule.data.arrays import (
    Dataset,
    as_matrix,
    as_targets,
    as_weights,
    balanced_weights,
    class_weights,
)
from deltarule.data.split import split_rows

__all__ = [
    "Dataset",
    "as_matrix",
    "as_targets",
    "as_weights",
    "balanced_weights",
    "class_weights",
    "split_rows",
]
