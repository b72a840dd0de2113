"""Constraints: a projection of a layer's weights after each update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from deltarule.base.errors import missing_formula
from deltarule.base.settings import Setting, check_number, setting
from deltarule.base.types import Array


@setting
class Constraint(Setting):
    """Base of the constraints."""

    family: ClassVar[str] = "constraint"
    meanings: ClassVar[Mapping[str, str]] = {
        "unitnorm": "the nearest is MaxNorm(1.0)",
        "nonneg": "derive a class from Constraint",
        "nonnegative": "derive a class from Constraint",
        "none": "write None",
        "l2": "it is a penalty: penalty=L2(1e-4)",
        "norm": "write MaxNorm(3.0)",
    }

    def apply(self, W: Array) -> None:
        """Project ``W`` (n_in, n_out) in place."""
        raise missing_formula(self, "apply")


@setting
class MaxNorm(Constraint):
    """Shrink each unit's incoming weights (a column of W) to norm ``limit`` if it is larger.

    ``w = w * min(1, limit / ||w||)``.

    Source: Srebro and Shraibman, "Rank, trace-norm and max-norm" (2005); with dropout: Srivastava
    et al. (2014).
    """

    name: ClassVar[str] = "max_norm"
    aliases: ClassVar[tuple[str, ...]] = ("max_norm_constraint",)
    limit: float = 3.0

    def __post_init__(self) -> None:
        check_number("limit", self.limit, above=0)

    def apply(self, W: Array) -> None:
        norm = _column_norms(W)
        W *= np.where(norm > self.limit, self.limit / np.maximum(norm, self.limit), 1.0)


def _column_norms(W: Array) -> Array:
    """Return the norm of each column, without overflow or underflow on the way."""
    limits = np.finfo(W.dtype)
    with np.errstate(over="ignore", under="ignore"):
        squares = (W * W).sum(axis=0)
    norms: Array = np.sqrt(squares)
    (odd,) = np.nonzero(~((squares > limits.tiny / limits.eps**2) & (squares < limits.max)))
    if len(odd):
        columns = W[:, odd]
        largest = np.abs(columns).max(axis=0, initial=0)
        unit = np.where(largest > 0, largest, W.dtype.type(1))
        norms[odd] = unit * np.sqrt(((columns / unit) ** 2).sum(axis=0))
    return norms
