"""Ridge regression, solved exactly, of the strength that generalised cross-validation finds."""

from __future__ import annotations

import numpy as np

from deltarule.base.types import Array

_STRENGTHS = np.logspace(-6, 3, 19)


def ridge(X: Array, Y: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Return the weights (p, k) and the bias (k,) of a ridge regression of Y (n, k) on X (n, p).

    ::

        W = argmin sum_i v_i ||Y_i - Z_i W||^2 + s ||W||^2,     Z = the standardised columns of X

    with ``v_i`` the weights of the rows, of mean 1, and ``s`` the strength of least generalised
    cross-validation among 19 from 1e-6 n to 1e3 n. By the smaller of the two Gram matrices.

    Source: Golub, Heath and Wahba, "Generalized cross-validation as a method for choosing a good
    ridge parameter" (1979).
    """
    n = len(X)
    share = np.full(n, 1 / n) if weights is None else weights / weights.sum(dtype=np.float64)
    centre, middle = share @ X, share @ Y
    Z = X - centre
    spread = np.sqrt(share @ np.square(Z))
    flat = spread <= 1e-6 * np.maximum(np.abs(centre), 1e-30)
    scale = np.where(flat, 0, 1 / np.where(flat, 1, spread))
    root = np.sqrt(share * n)[:, None]
    Z *= scale
    Z *= root
    T = (Y - middle) * root
    wide = Z.shape[1] > n
    squares, vectors = np.linalg.eigh(Z @ Z.T if wide else Z.T @ Z)
    squares = np.maximum(squares, 0)
    turned = vectors.T @ (T if wide else Z.T @ T)
    best = (np.inf, turned)
    for strength in n * _STRENGTHS:
        shrunk = turned / (squares + strength)[:, None]
        freedom = 1 + (squares / (squares + strength)).sum()
        fitted = Z @ (Z.T @ (vectors @ shrunk)) if wide else Z @ (vectors @ shrunk)
        figure = np.square(T - fitted).sum() / max(n - freedom, 0.5) ** 2
        if figure < best[0]:
            best = (figure, shrunk)
    W = vectors @ best[1]
    W = (Z.T @ W if wide else W) * scale[:, None]
    return W, middle - centre @ W
