"""Principal components of many columns that move together."""

from __future__ import annotations

import numpy as np

from deltarule.base.types import Array


def principal_components(X: Array) -> tuple[Array, Array] | None:
    """Return weights (inputs, k) and bias (k,) that whiten the columns, or None.

    None unless the first eighth of the principal components, of 32 columns or more, holds 98 % of
    the variance. The k components are those with more than a millionth of it; they get the variance
    ``v / (v + 1e-6 * total)``, so that the last ones are not blown up.
    """
    if X.shape[1] < 32:
        return None
    rows = X[:: -(-len(X) // 1000)].astype(np.float64)
    rows -= rows.mean(axis=0)
    variances, directions = _principal_axes(rows)
    total = variances.sum()
    if variances[: len(variances) // 8].sum() < 0.98 * total or total == 0:
        return None
    kept = variances > 1e-6 * total
    weights = directions[:, kept] / np.sqrt(variances[kept] + 1e-6 * total)
    centre = X[:: -(-len(X) // 1000)].mean(axis=0, dtype=np.float64)
    return weights, -centre @ weights


def _principal_axes(rows: Array) -> tuple[Array, Array]:
    """Return variances (k,), the largest first, and directions (columns, k) of centred rows.

    By the smaller of the two Gram matrices: the singular value decomposition of columns of which
    some are equal, as two spellings of a category are, does not converge in every LAPACK.
    """
    wide = rows.shape[0] < rows.shape[1]
    values, vectors = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    if wide:
        lengths = np.sqrt(values)
        vectors = rows.T @ vectors / np.where(lengths > 0, lengths, 1.0)
    return values / len(rows), vectors
