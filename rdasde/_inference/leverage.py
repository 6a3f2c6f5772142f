"""How much single rows decide: their leverage, and how many rows a coefficient rests on.

A row pulls the estimate towards itself, so that its gradient there is too small, by the factor ``1 - h`` where h is its
leverage ``r_k' H^-1 r_k / m``. Gradients divided by it make the sandwich right for few rows (HC3; MacKinnon & White
1985; Long & Ervin 2000). Where a column has few large entries no correction helps: ``a_k = H^-1 r_k`` is what row k
weighs in a coefficient, and ``(sum a_k^2)^2 / sum a_k^4`` the number of equal rows that are worth as much
(Satterthwaite's degrees of freedom of the sandwich).
"""

from __future__ import annotations

import numpy as np

from rdasde._check import Floats

_MOST = 0.95  # a leverage above counts as this: the gradient of such a row says nothing
_FEW, _SHARE = 20.0, 6.0  # rows that are few, and the share of all above which they are not (3 for normal columns)


class Leverage:
    """Of rows by their roots r_k, ``H = mean of r_k r_k'``; `distinct` of them are different."""

    def __init__(self, inverse: Floats, distinct: int) -> None:
        self._inverse, self._distinct = inverse, distinct
        self._squares, self._fourth = np.zeros((2, len(inverse)))
        self._rows = 0

    def factors(self, roots: Floats) -> Floats:
        """``1 / (1 - h)`` for each row; what they weigh is added up."""
        weights = roots @ self._inverse
        squares = weights**2
        self._squares += np.sum(squares, axis=0)
        self._fourth += np.sum(squares**2, axis=0)
        self._rows += len(roots)
        own = np.sum(weights * roots, axis=1) / self._distinct
        factors: Floats = 1.0 / (1.0 - np.minimum(own, _MOST))
        return factors

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
