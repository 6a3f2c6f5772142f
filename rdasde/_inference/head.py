"""The first rows of a stream, kept: what sums cannot say is asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._inference.density import bandwidth
from rdasde._inference.laws import weak_direction
from rdasde._inference.row_loop import Rows, add_products, terms_at
from rdasde._problems.row_terms import DensityModel, Moments, RowModel
from rdasde._problems.softmax_rows import margins

_PIECE = 256  # rows looked at, at a time
_TRIES = 60
_BANDWIDTHS = 3  # the last two hardly differ


class Linearization(NamedTuple):
    """Where gradients are linearized."""

    centre: Floats | None  # None where that is a running average
    parameters: Any  # of `row_terms`


class Terms(NamedTuple):
    """Of each kept row, and zeros up to a multiple of eight."""

    gradients: Floats
    roots: Floats  # one after another where a row has several
    bends: Floats  # what gradients are beyond their linearization


class Head:
    """Up to `size` rows, the first of a stream.

    A sample of rows that is independent of the later path: means over it estimate what is averaged over rows at any
    point, such as what a gradient is there beyond its linearization elsewhere. A copy shares the rows.
    """

    def __init__(self, model: RowModel, size: int, columns: int) -> None:
        self._model, self._taken = model, 0
        self.rows, self.response = np.empty((size, columns)), np.empty(size)
        self.has_separated = False  # whether `solution` found that the classes are
        self.is_concave = False  # or that a second derivative is negative, or not a number

    @property
    def _dimension(self) -> int:
        return self.rows.shape[1] * self._model.predictors

    def keep(self, x: Floats, y: Floats) -> None:
        """As many of these rows as there is room for."""
        n = min(len(x), len(self.rows) - self._taken)
        self.rows[self._taken : self._taken + n] = x[:n]
        self.response[self._taken : self._taken + n] = y[:n]
        self._taken += n

    def taken(self) -> tuple[Floats, Floats]:
        return self.rows[: self._taken], self.response[: self._taken]

    def terms(self, w: Floats, centre: Floats, parameters: Any) -> Terms:
        """Gradients at w, roots at `centre`, and what gradients are beyond their linearization there."""
        x, y = self.taken()
        d, several, lines = len(w), self._model.predictors, -(-len(x) // 8) * 8
        terms = Terms(np.zeros((lines, d)), np.zeros((lines * several, d)), np.zeros((lines, d)))
        for low in range(0, len(x), _PIECE):
            high = min(low + _PIECE, len(x))
            gradients, bends = terms.gradients[low:high], terms.bends[low:high]
            roots = terms.roots[low * several : high * several]
            moments = Moments(np.zeros(d), centre.copy(), np.zeros(d), gradients, roots, bends, np.zeros(d))
            terms_at(parameters, Rows(x[low:high], y[low:high], 0, 0), w, moments)
        return terms

    def bends_little(self, w: Floats, estimate: Floats, parameters: Any) -> bool:
        """Whether the mean curvature along the way from one to the other changes by less than a factor of two."""
        way = estimate - w
        with np.errstate(over="ignore", invalid="ignore"):
            before, after = (
                float(np.sum((self.terms(place, place, smooth(parameters)).roots @ way) ** 2))
                for place in (w, estimate)
            )
        return 0.5 * before < after < 2.0 * before

    def bandwidth(self, w: Floats) -> float:
        """That of the kernel of a `DensityModel`, for residuals at w."""
        assert isinstance(self._model.parameters, DensityModel)
        x, y = self.taken()
        return bandwidth(y - x @ w, self._model.parameters.level)

    def is_separated(self, w: Floats) -> bool:
        """Whether w tells the labels apart without an error."""
        x, y = self.taken()
        if self._model.classes:
            return bool(np.all(margins(x, y, w) > 0.0))
        return self._model.is_binary and bool(np.all((2.0 * y - 1.0) * (x @ w) > 0.0))

    def loses_nothing(self, step: Floats) -> bool:
        """Whether no row of several classes is worse off however far w goes this way: some class is told apart."""
        x, y = self.taken()
        if not self._model.classes:
            return False
        along = margins(x, y, step)
        return bool(np.min(along) >= -1e-6 * np.max(np.abs(along)))

    def solution(self) -> Linearization | None:
        """Where the mean gradient over the kept rows is zero; None where Newton's method does not get there.

        Where it jumps, that of the smoothed loss.
        """
        n, d = self._taken, self._dimension
        self.has_separated = self.is_concave = False
        if n < 2 * d:
            return None
        parameters = self._model.parameters
        for start in self._starts():
            if not isinstance(parameters, DensityModel):
                w = self._zero(start, parameters)
            else:  # a bandwidth needs residuals, and they a place
                w, x, y = start, *self.taken()
                quarters = np.quantile(y - x @ start, [0.25, 0.75])
                parameters = parameters._replace(bandwidth=float(np.diff(quarters)[0]))
                for turn in range(_BANDWIDTHS):
                    if turn > 0 and w is not None:
                        parameters = parameters._replace(bandwidth=self.bandwidth(w))
                    w = self._zero(w, parameters.smooth) if w is not None and parameters.bandwidth > 0.0 else None
            if w is not None:
                return Linearization(w, parameters)
        return None

    def _starts(self) -> Iterator[Floats]:
        """Where Newton's method may begin: least squares where y is a number like the score, and zero."""
        if self._model.is_real:
            x, y = self.taken()
            yield np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)
        yield np.zeros(self._dimension)

    def _zero(self, w: Floats, parameters: Any) -> Floats | None:
        """Of the mean gradient, from w on.

        The step is halved until the mean gradient is shorter: Newton's direction always shortens it at first.
        """
        n = self._taken
        gradient, hessian = self._mean(w, parameters)
        last: Floats | None = None
        for _ in range(_TRIES):
            self.has_separated = self.is_separated(w)
            self.is_concave = not np.all(np.isfinite(hessian))
            if self.has_separated or self.is_concave:
                return None
            if weak_direction(hessian):
                self.has_separated = last is not None and self.loses_nothing(-last)
                return None
            step = np.asarray(np.linalg.solve(hessian, gradient), dtype=np.float64)
            # a millionth of the standard error that the information gives: this step is the last one to change anything
            if float(step @ gradient) * n <= 1e-12:
                return w - step
            length, size = 1.0, float(gradient @ gradient)
            while length > 1e-8:
                after = self._mean(w - length * step, parameters)
                if float(after[0] @ after[0]) < size:
                    break
                length *= 0.5
            else:
                return None
            w, last = w - length * step, step
            gradient, hessian = after
        return None

    def _mean(self, w: Floats, parameters: Any) -> tuple[Floats, Floats]:
        with np.errstate(over="ignore", invalid="ignore"):  # far away; what is not finite is no shorter
            terms = self.terms(w, w, parameters)
            return np.sum(terms.gradients, axis=0) / self._taken, products(terms.roots) / self._taken


def smooth(parameters: Any) -> Any:
    """Parameters of the same loss, or of the smoothed one where its derivative jumps."""
    return parameters.smooth if isinstance(parameters, DensityModel) else parameters


def products(rows: Floats) -> NDArray[np.float64]:
    """``rows'rows``; the number of rows is a multiple of eight."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    add_products(rows, total)
    return np.triu(total) + np.triu(total, 1).T
