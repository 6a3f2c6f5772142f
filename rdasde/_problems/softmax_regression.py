"""Softmax regression over the rows of a data set: several classes."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check, _frames
from rdasde._check import Floats
from rdasde._problems.base import Expectations
from rdasde._problems.row_minimizer import damped, whitening
from rdasde._problems.rows import RowNoise, RowSample, grams, mean_square_growth, parts, row_sample
from rdasde._problems.softmax_means import softmax_means
from rdasde._problems.softmax_regression_lanes import SoftmaxParameters, softmax_layout
from rdasde._problems.softmax_rows import first_labels, softmax_rows

_STEPS, _POLISH = 60, 2  # of Newton's method; after the first step that hardly moves
_CLOSE = 1e-10  # in units of the scores
_ROW_BOUND = float(np.sqrt(0.125))  # of the length of a row of diag p - pp'


class SoftmaxRegression(RowNoise):
    """Softmax regression: K classes, ``P(Y = k | x)`` proportional to ``exp(x'w_k)``. Made by `from_data`.

    ``f(w; x, y) = log sum_k exp(x'w_k) - x'w_y``. The coordinates are those of the classes one after the other,
    ``w_0`` first: ``w.reshape(K, p)`` has a row for each class. With p the probabilities of a row and e its indicator,
    its gradient is ``(p - e) (x) x``, and its Hessian ``(diag p - pp') (x) xx'`` (Kronecker products).

    Attributes
    ----------
    classes : int
        K.
    minimizer : ndarray of shape (K p,) or None
        Of shortest length, so that its classes add up to 0: nothing changes where one vector is added to all of them.
        None where classes can be separated. By Newton's method, when first asked for.

    Notes
    -----
    `fit` has the coefficients of classes 1 to K - 1 against class 0, ``w_k - w_0``.

    In the closure the scores of a row are taken as normal, and functions of them are averaged over 2 K points that
    have its covariance, exactly up to third order.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> X = np.random.default_rng(0).standard_normal((100, 2))
    >>> problem = rs.SoftmaxRegression.from_data(X, np.arange(100) % 3)
    >>> problem.classes, problem.dimension, problem.minimizer.reshape(3, 2).shape
    (3, 6, (3, 2))
    """

    row_model = softmax_rows(2)._replace(by_classes=softmax_rows)

    def __init__(self, X: ArrayLike, y: ArrayLike, replacement: bool = True) -> None:
        X, y = _frames.pair(X, y)
        self.rows = _check.design("X", X)
        self.labels = _labels(y, len(self.rows))
        self.classes = int(self.labels.max()) + 1
        self.dimension = self.classes * self.rows.shape[1]
        self.parameters = SoftmaxParameters(self.rows, self.labels, self.classes)
        self.scratch = softmax_layout(self.rows.shape[1], self.classes)
        self._draw(replacement)

    @staticmethod
    @_check.of_rows
    def from_data(X: ArrayLike, y: ArrayLike, *, replacement: bool = True) -> SoftmaxRegression:
        """Softmax regression on a finite population: rows of ``(X, y)`` drawn uniformly with replacement.

        There is no intercept: add a column of ones for one.

        Parameters
        ----------
        X : array_like of shape (n, p)
        y : array_like of shape (n,)
            Labels 0, 1, ..., K - 1, each of them at least once.
        replacement : bool
            Whether rows are drawn with replacement; False: epoch by epoch, each row once, in a new random order, in
            `simulate` alone (a mini-batch is the next rows of the epoch). Takes 4 bytes for each row and run at work.

        Raises
        ------
        ValueError, TypeError
            If an array is not finite, the shapes do not match, or the labels are not 0 to K - 1.

        Examples
        --------
        >>> import numpy as np
        >>> import rdasde as rs
        >>> X = np.random.default_rng(0).standard_normal((300, 2))
        >>> y = (X + 0.8 * np.random.default_rng(1).standard_normal((300, 2)) > 0.5).sum(axis=1)
        >>> problem = rs.SoftmaxRegression.from_data(X, y)
        >>> problem.classes, problem.dimension
        (3, 6)
        >>> runs = rs.simulate(problem, rs.RDA(0.1), horizon=20.0, times=3, replicates=16, seed=0)
        >>> runs.primal.shape
        (16, 3, 6)
        """
        return SoftmaxRegression(X, y, replacement)

    def _scores(self, w: Floats) -> Floats:
        return self.rows @ w.reshape(self.classes, -1).T

    def _residuals(self, w: Floats) -> Floats:
        """``p - e`` of every row, (n, K)."""
        residuals = _softmax(self._scores(w))
        residuals[np.arange(len(residuals)), self.labels] -= 1.0
        return residuals

    def expectation_cost(self) -> float:
        return 0.5 * self.classes**2 * super().expectation_cost()

    def drift_cost(self) -> float:
        return self.classes * super().drift_cost()

    def mean_gradient(self, w: ArrayLike) -> Floats:
        return (self._residuals(self._point(w)).T @ self.rows).ravel() / len(self.rows)

    def row_gradients(self, w: Floats) -> Floats:
        gradients = self._residuals(w)[:, :, None] * self.rows[:, None, :]
        return gradients.reshape(len(self.rows), self.dimension)

    def hessian(self, w: ArrayLike) -> Floats:
        return self._summed(_curvatures(_softmax(self._scores(self._point(w)))))

    def noise_covariance(self, w: ArrayLike) -> Floats:
        residuals = self._residuals(self._point(w))
        gradient = (residuals.T @ self.rows).ravel() / len(self.rows)
        return self._summed(residuals[:, :, None] * residuals[:, None, :]) - np.outer(gradient, gradient)

    def _summed(self, weights: Floats) -> Floats:
        """``sum_i weights_i (x) x_i x_i' / n`` for symmetric `weights` (n, K, K)."""
        lower = np.tril_indices(self.classes)
        return self._filled(grams(self.rows, np.ascontiguousarray(weights[:, lower[0], lower[1]].T)))

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """Row by row: scores as if normal; of very many rows by a sample, as `LossRows` has them."""
        sample, k = self.sample, self.classes
        (n, p), x = sample.rows.shape, sample.rows
        scores, tensor = x @ mean.reshape(k, p).T, covariance.reshape(k, p, k, p)
        pairs = np.concatenate([tensor[i, :, j] for i in range(k) for j in range(i + 1)], axis=1)
        spread = np.empty((pairs.shape[1] // p, n))
        for part in parts(n, pairs.shape[1]):
            moved = (x[part] @ pairs).reshape(-1, len(spread), p)
            np.einsum("ikj,ij->ki", moved, x[part], out=spread[:, part])
        residual, weights = np.empty((n, k)), np.empty((2, len(spread), n))
        softmax_means(scores, spread, sample.response, residual, weights)
        if n == len(self.rows):
            gradient = (residual.T @ x).ravel() / n
        else:
            residual -= _softmax(scores)
            residual[np.arange(n), sample.response.astype(np.int64)] += 1.0
            gradient = self.mean_gradient(mean) + (residual.T @ x).ravel() / n
        curvature, squares = np.split(sample.grams(weights.reshape(-1, n)), 2)
        curvature, noise = self._filled(curvature), self._filled(squares) - np.outer(gradient, gradient)
        return Expectations.formed(gradient, curvature, noise, share=-1.0, cross=covariance @ curvature)

    @functools.cached_property
    def sample(self) -> RowSample:
        """What expectations beyond the mean gradient are taken over."""
        return row_sample(self.rows, self.labels.astype(np.float64), self._gram, self._settled_weights)

    def _settled_weights(self, rows: Floats, labels: Floats) -> Floats:
        """Weights of `softmax_means` of rows at the minimizer, or where there is none at zero."""
        at = np.zeros(self.dimension) if self.minimizer is None else self.minimizer
        (n, p), k = rows.shape, self.classes
        residual, weights = np.empty((n, k)), np.empty((2, k * (k + 1) // 2, n))
        softmax_means(rows @ at.reshape(k, p).T, np.zeros(weights.shape[1:]), labels, residual, weights)
        return weights.reshape(-1, n)

    def _filled(self, halves: Floats) -> Floats:
        """The matrix (K p, K p) of which `halves` (pair, p, p) are the lower half of blocks."""
        k, p = self.classes, self.rows.shape[1]
        out, pair = np.empty((k, p, k, p)), 0
        for i in range(k):
            for j in range(i + 1):
                out[i, :, j] = out[j, :, i] = halves[pair]  # a symmetric matrix
                pair += 1
        return out.reshape(k * p, k * p)

    @functools.cached_property
    def minimizer(self) -> Floats | None:  # type: ignore[override]
        _n, basis, place = len(self.rows), whitening(self.rows), np.zeros(self.dimension)
        if not basis.size:
            return place
        wide = np.kron(np.eye(self.classes), basis)

        def slope_along(w: Floats, step: Floats, length: float) -> float:
            return float(self.mean_gradient(w + length * step) @ step)

        polished = 0
        for _ in range(_STEPS):
            gradient = wide.T @ self.mean_gradient(place)
            hessian = wide.T @ self.hessian(place) @ wide
            newton, _, rank, _ = np.linalg.lstsq(hessian, gradient, rcond=1e-12)
            if rank < (self.classes - 1) * basis.shape[1]:  # it falls for ever where it no longer bends
                return None
            step = -wide @ newton
            change, size = np.abs(self._scores(step)).max(), np.abs(self._scores(place)).max()
            if not np.isfinite(change):
                return None
            if polished or change <= _CLOSE * (1.0 + size):
                polished, place = polished + 1, place + step
                if polished > _POLISH:
                    return place
                continue
            place = place + damped(functools.partial(slope_along, place, step), slope_along(place, step, 0.0)) * step
        return None

    def default_start(self) -> Floats:
        return np.zeros(self.dimension)

    @functools.cached_property
    def _gram(self) -> Floats:
        return self.rows.T @ self.rows / len(self.rows)

    def fastest_rate(self) -> float:
        """A bound, from ``diag p - pp' <= 1/2``."""
        return float(np.linalg.eigvalsh(self._gram)[-1]) / 2.0

    def typical_rate(self) -> float:
        """A bound, of rows of ``diag p - pp'``."""
        return _ROW_BOUND * float(np.linalg.norm(self._gram, axis=1).max())

    def trace(self) -> float:
        """A bound, from that of ``diag p - pp'``."""
        return (1.0 - 1.0 / self.classes) * float(np.trace(self._gram))

    def instability(self, step_size: float, batch_size: int) -> str | None:
        """The mean-square condition of linear regression with half the Hessian, as ``diag p - pp' <= 1/2``."""
        return mean_square_growth(self.rows, np.full(len(self.rows), 0.5), step_size, batch_size)

    def __repr__(self) -> str:
        n, p = self.rows.shape
        return f"SoftmaxRegression.from_data(<n={n}, p={p}, classes={self.classes}>{self._drawing})"


def _labels(y: ArrayLike, count: int) -> NDArray[np.int64]:
    labels = _check.array("y", y, (count,), mend="give one label for each row of X")
    first_labels("y", labels)
    return labels.astype(np.int64)


def _softmax(scores: Floats) -> Floats:
    from scipy.special import softmax

    return np.asarray(softmax(scores, axis=1))


def _curvatures(p: Floats) -> Floats:
    """``diag p - pp'``, (n, K, K)."""
    out = -p[:, :, None] * p[:, None, :]
    index = np.arange(p.shape[1])
    out[:, index, index] += p
    return out
