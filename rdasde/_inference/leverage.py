"""How much single rows decide: their leverage, and how many rows a coefficient rests on.

A row pulls the estimate towards itself, so that its gradient there is too small, by the factor ``1 - h`` where h is its
leverage ``r_k' H^-1 r_k / m``. Gradients divided by it make the sandwich right for few rows (HC3; MacKinnon & White
1985; Long & Ervin 2000). Where a row has several roots, the columns of R_k, its gradient is too small by the matrix
``I - R_k R_k' H^-1 / m``. Where a column has few large entries no correction helps: ``a_k = H^-1 r_k`` is what row k
weighs in a coefficient, and ``(sum a_k^2)^2 / sum a_k^4`` the number of equal rows that are worth as much
(Satterthwaite's degrees of freedom of the sandwich).
"""

from __future__ import annotations

import numpy as np

from rdasde._check import Floats

_MOST = 0.95  # a leverage above counts as this: the gradient of such a row says nothing
_FEW, _SHARE = 20.0, 6.0  # rows that are few, and the share of all above which they are not (3 for normal columns)


class Leverage:
    """Of rows by their roots r_k, ``H = mean of r_k r_k'``, `several` a row; `distinct` rows are different."""

    def __init__(self, inverse: Floats, distinct: int, several: int = 1) -> None:
        self._inverse, self._distinct, self._several = inverse, distinct, several
        self._squares, self._fourth = np.zeros((2, len(inverse)))
        self._rows = 0

    def without(self, roots: Floats, gradients: Floats) -> Floats:
        """Gradients of rows had these not pulled the estimate; what rows weigh is added up."""
        weights = roots @ self._inverse
        squares = np.sum((weights**2).reshape(len(gradients), self._several, -1), axis=1)
        self._squares += np.sum(squares, axis=0)
        self._fourth += np.sum(squares**2, axis=0)
        self._rows += len(gradients)
        if self._several == 1:
            own = np.sum(weights * roots, axis=1) / self._distinct
            alone: Floats = (1.0 / (1.0 - np.minimum(own, _MOST)))[:, None] * gradients
            return alone
        shape = len(gradients), self._several, gradients.shape[1]
        weights, roots = weights.reshape(shape), roots.reshape(shape)
        values, vectors = np.linalg.eigh(np.einsum("kid,kjd->kij", weights, roots) / self._distinct)
        # (I - R R'M)^-1 g = g + R (I - R'M R)^-1 R'M g
        pulls = np.einsum("kij,kid,kd->kj", vectors, weights, gradients) / (1.0 - np.minimum(values, _MOST))
        moved: Floats = np.einsum("kid,kij,kj->kd", roots, vectors, pulls) / self._distinct
        return gradients + moved

    def note(self) -> str:
        """What is to be said where some coefficient rests on few rows of many."""
        worth = float(np.min(self._squares**2 / np.where(self._fourth > 0.0, self._fourth, np.inf), initial=np.inf))
        worth *= self._distinct / max(self._rows, self._distinct)
        if worth >= min(_FEW, self._distinct / _SHARE):
            return ""
        return (
            f"Some coefficient rests on about {worth:.0f} of {self._distinct} rows, where its column has entries that "
            "are large beside the others: its standard error is rough."
        )
