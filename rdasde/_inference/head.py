"""The first rows of a stream, kept: what sums cannot say is asked of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._inference.laws import weak_direction
from rdasde._inference.row_loop import Rows, add_products, terms_at
from rdasde._problems.row_terms import Moments, RowModel

_PIECE = 256  # rows looked at, at a time
_TRIES = 60


class Head:
    """Up to `size` rows, the first of a stream.

    A sample of rows that is independent of the later path: means over it estimate what is averaged over rows at any
    point, such as what a gradient is there beyond its linearization elsewhere.
    """

    def __init__(self, model: RowModel, size: int, dimension: int) -> None:
        self._model, self._taken = model, 0
        self.rows, self.response = np.empty((size, dimension)), np.empty(size)
        self.has_separated = False  # whether `solution` found that the classes are

    def keep(self, x: Floats, y: Floats) -> None:
        """As many of these rows as there is room for."""
        n = min(len(x), len(self.rows) - self._taken)
        self.rows[self._taken : self._taken + n] = x[:n]
        self.response[self._taken : self._taken + n] = y[:n]
        self._taken += n

    def taken(self) -> tuple[Floats, Floats]:
        return self.rows[: self._taken], self.response[: self._taken]

    def terms(self, w: Floats, centre: Floats) -> tuple[Floats, Floats, Floats]:
        """Of each row the gradient at w, its root at `centre`, and what the gradient is beyond its linearization."""
        x, y = self.taken()
        d = len(w)
        gradients, roots, bends = np.zeros((3, -(-len(x) // 8) * 8, d))
        for low in range(0, len(x), _PIECE):
            high = min(low + _PIECE, len(x))
            part = (gradients[low:high], roots[low:high], bends[low:high], np.zeros(d))
            moments = Moments(np.zeros(d), centre.copy(), np.zeros(d), *part)
            terms_at(self._model.parameters, Rows(x[low:high], y[low:high], 0, 0), w, moments)
        return gradients, roots, bends

    def is_separated(self, w: Floats) -> bool:
        """Whether w tells the labels apart without an error."""
        x, y = self.taken()
        return self._model.is_binary and bool(np.all((2.0 * y - 1.0) * (x @ w) > 0.0))

    def solution(self) -> Floats | None:
        """Where the mean gradient over the kept rows is zero; None where Newton's method does not get there.

        The step is halved until the mean gradient is shorter: Newton's direction always shortens it at first.
        """
        n, d = self._taken, self.rows.shape[1]
        if n < 2 * d:
            return None
        w = np.zeros(d)
        gradient, hessian = self._mean(w)
        for _ in range(_TRIES):
            self.has_separated = self.is_separated(w)
            if self.has_separated or not np.all(np.isfinite(hessian)) or weak_direction(hessian):
                return None
            step = np.linalg.solve(hessian, gradient)
            # a millionth of the standard error that the information gives: this step is the last one to change anything
            if float(step @ gradient) * n <= 1e-12:
                return w - step
            length, size = 1.0, float(gradient @ gradient)
            while length > 1e-8:
                after = self._mean(w - length * step)
                if float(after[0] @ after[0]) < size:
                    break
                length *= 0.5
            else:
                return None
            w = w - length * step
            gradient, hessian = after
        return None

    def _mean(self, w: Floats) -> tuple[Floats, Floats]:
        gradients, roots, _ = self.terms(w, w)
        return np.sum(gradients, axis=0) / self._taken, products(roots) / self._taken


def products(rows: Floats) -> NDArray[np.float64]:
    """``rows'rows``; the number of rows is a multiple of eight."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    add_products(rows, total)
    return np.triu(total) + np.triu(total, 1).T
