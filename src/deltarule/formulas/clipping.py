"""Clipping: limits on the gradient (data plus penalty) before the optimizer uses it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from deltarule.base.errors import missing_formula
from deltarule.base.settings import Setting, check_number, setting
from deltarule.base.types import Array


@setting
class Clip(Setting):
    """Base of the ways to clip."""

    family: ClassVar[str] = "clip"
    meanings: ClassVar[Mapping[str, str]] = {
        "none": "write None",
        "agc": "the nearest is 'clip_norm'",
        "adaptive": "the nearest is 'clip_norm'",
    }

    def apply(self, gradients: Sequence[Array]) -> None:
        """Clip the gradients of all parameters that are trained, in place."""
        raise missing_formula(self, "apply")


@setting
class ClipValue(Clip):
    """Clip every component to ``[-limit, limit]``."""

    name: ClassVar[str] = "clip_value"
    aliases: ClassVar[tuple[str, ...]] = (
        "value",
        "clip_by_value",
        "clip_grad_value",
    )
    limit: float = 0.5

    def __post_init__(self) -> None:
        check_number("limit", self.limit, above=0)

    def apply(self, gradients: Sequence[Array]) -> None:
        for g in gradients:
            np.clip(g, -self.limit, self.limit, out=g)


@setting
class ClipNorm(Clip):
    """Scale the gradient of all parameters together to norm ``limit`` if its norm is larger.

    ``g = g * min(1, limit / ||g||)``; the direction is kept. PyTorch divides by ``||g|| + 1e-6``.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks"
    (2013).
    """

    name: ClassVar[str] = "clip_norm"
    aliases: ClassVar[tuple[str, ...]] = (
        "norm",
        "global_norm",
        "clip_by_norm",
        "clip_by_global_norm",
        "clip_grad_norm",
        "gradient_norm",
    )
    limit: float = 1.0

    def __post_init__(self) -> None:
        check_number("limit", self.limit, above=0)

    def apply(self, gradients: Sequence[Array]) -> None:
        norm = norm_of(gradients)
        if norm > self.limit:
            for g in gradients:
                g *= self.limit / norm


def norm_of(gradients: Sequence[Array]) -> float:
    """Return the norm of all gradients together, without overflow or underflow on the way."""
    squares = sum(map(sum_of_squares, gradients))
    if _SMALL < squares < _LARGE:
        return math.sqrt(squares)
    largest = max((float(np.abs(g).max(initial=0)) for g in gradients), default=0.0)
    if not 0 < largest < math.inf:
        return largest
    unit = 2.0 ** min(math.frexp(largest)[1], 1023)
    return unit * math.sqrt(sum(sum_of_squares(g.astype(np.float64) / unit) for g in gradients))


def sum_of_squares(g: Array) -> float:
    """Return the sum of squares of an array, accumulated in float64."""
    wide = g.ravel().astype(np.float64, copy=False)
    return float(wide @ wide)


_SMALL, _LARGE = 1e-280, 1e300
"""Sums of squares between these bounds have lost nothing that counts."""
