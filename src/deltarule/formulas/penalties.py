"""Penalties on the weights: added to the loss once per step, whatever the batch size.

They act on weights only, not on biases, scales or shifts. A layer's own ``penalty`` replaces the
one given for the whole network. With ``over_batch=True`` a penalty is divided by the total weight
of the batch (its number of rows, where rows have no weights), as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

import numpy as np

from deltarule.base.errors import missing_formula
from deltarule.base.settings import Setting, check_flag, check_number, setting
from deltarule.base.types import Array


@setting
class Penalty(Setting):
    """Base of the penalties.

    Parameters
    ----------
    over_batch : bool
        Whether the engines divide value and gradient by the total weight of the batch.
    """

    family: ClassVar[str] = "penalty"
    pairs: ClassVar[tuple[tuple[str, ...], ...]] = (("value", "gradient", "coefficients"),)
    meanings: ClassVar[Mapping[str, str]] = {
        "weightdecay": "write L2(strength), or the optimizer AdamW(weight_decay=...)",
        "dropout": "it is a layer: Dropout(0.5)",
        "none": "write None",
        "regularization": "write 'l2'",
        "maxnorm": "it is a constraint: constraint=MaxNorm(3.0)",
    }
    has_kink: ClassVar[bool] = False

    over_batch: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_flag("over_batch", self.over_batch)

    @property
    def coefficients(self) -> tuple[float, float]:
        """The strengths ``(l1, l2)`` of the absolute and the squared term."""
        raise missing_formula(self, "coefficients")

    def value(self, W: Array) -> float:
        """Return ``l1 * sum|W| + l2/2 * sum W^2``, summed in float64."""
        l1, l2 = self.coefficients
        wide = W.astype(np.float64, copy=False).ravel()
        return float(l1 * np.abs(wide).sum() + 0.5 * l2 * (wide @ wide))

    def gradient(self, W: Array) -> Array:
        """Return ``l1 * sign(W) + l2 * W``; same shape as ``W``."""
        l1, l2 = self.coefficients
        if not l1:
            return l2 * W
        return l1 * np.sign(W) + l2 * W


@setting
class L2(Penalty):
    """``strength / 2 * sum(W^2)``, gradient ``strength * W``: keeps weights small.

    PyTorch's ``weight_decay`` adds the same gradient, but after clipping, to biases too, and not
    to the loss.

    Source: Hoerl and Kennard, "Ridge regression" (1970); Krogh and Hertz, "A simple weight decay
    can improve generalization" (1992).
    """

    name: ClassVar[str] = "l2"
    aliases: ClassVar[tuple[str, ...]] = (
        "ridge",
        "tikhonov",
        "l2_penalty",
        "squared_l2",
    )
    strength: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("strength", self.strength, at_least=0)

    @property
    def coefficients(self) -> tuple[float, float]:
        return 0.0, float(self.strength)


@setting
class L1(Penalty):
    """``strength * sum|W|``, gradient ``strength * sign(W)``: pushes useless weights to 0.

    Source: Tibshirani, "Regression shrinkage and selection via the lasso" (1996).
    """

    name: ClassVar[str] = "l1"
    aliases: ClassVar[tuple[str, ...]] = (
        "lasso",
        "l1_penalty",
    )
    has_kink: ClassVar[bool] = True
    strength: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("strength", self.strength, at_least=0)

    @property
    def coefficients(self) -> tuple[float, float]:
        return float(self.strength), 0.0


@setting
class ElasticNet(Penalty):
    """``l1 * sum|W| + l2 / 2 * sum(W^2)``.

    Source: Zou and Hastie, "Regularization and variable selection via the elastic net" (2005).
    """

    name: ClassVar[str] = "elastic_net"
    aliases: ClassVar[tuple[str, ...]] = (
        "elastic",
        "l1_l2",
        "l1l2",
    )
    has_kink: ClassVar[bool] = True
    l1: float = 1e-4
    l2: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("l1", self.l1, at_least=0)
        check_number("l2", self.l2, at_least=0)

    @property
    def coefficients(self) -> tuple[float, float]:
        return float(self.l1), float(self.l2)
