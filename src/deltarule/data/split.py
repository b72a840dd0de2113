"""Random parts of a data set."""

from __future__ import annotations

import numpy as np

from deltarule.base.errors import InvalidValueError
from deltarule.base.random import Purpose, permutation
from deltarule.base.types import Array


def split_rows(
    n: int, fraction: float, labels: Array | None = None, *, seed: int = 0
) -> tuple[Array, Array]:
    """Return the rows kept and the rows held out, both ascending.

    The rows are drawn at random; with ``labels`` (n,) every class gives its share of them, to
    within one row.
    """
    if not 0 < fraction < 1:
        raise InvalidValueError(f"a validation fraction must lie between 0 and 1, got {fraction:g}")
    order = permutation(seed, Purpose.SPLIT, n)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    # Every 1/fraction-th row of an order sorted by class: each class in proportion.
    share = np.floor(np.arange(n + 1) * fraction + 0.5)
    held = np.diff(share) > 0
    if held.all() or not held.any():
        raise InvalidValueError(
            f"a validation fraction of {fraction:g} of {n} rows leaves no rows on one side"
        )
    return np.sort(order[~held]), np.sort(order[held])
