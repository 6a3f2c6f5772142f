"""Linear regression: Gaussian design with known covariance, or the rows of a data set."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check, _frames
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._problems.base import Diagonals, Expectations, Problem, gaussian_instability
from rdasde._problems.covariance import Covariance, Dense, Diagonal, as_covariance
from rdasde._problems.linear_regression_lanes import GaussianAlong, GaussianParameters, RowParameters, gaussian_layout
from rdasde._problems.row_terms import LinearModel, RowModel
from rdasde._problems.rows import RowNoise, RowSample, mean_square_growth, row_layout, row_sample


@Kernel
def _leveled(level: float, hessian: Floats, gradient: Floats, out: Floats) -> None:
    """``level H + g g'`` in one pass."""
    for i in range(gradient.size):
        for j in range(gradient.size):
            out[i, j] = level * hessian[i, j] + gradient[i] * gradient[j]


class LinearRegression(Problem):
    """Linear regression with a Gaussian design: ``Y = X'coef + noise_std eps``, ``X ~ N(0, H)``.

    ``f(w; Z) = (Y - X'w)^2 / 2``; with ``e = w - coef``: mean gradient ``H e``, Hessian ``H``, noise covariance
    ``(e'He + noise_std^2) H + H e e' H``.

    Parameters
    ----------
    coef : array_like of shape (d,)
        The minimizer w*.
    covariance : None, array_like of shape (d,) or (d, d), or `rdasde.AR1`
        H: identity, variances, a positive semi-definite matrix, or structured.
    noise_std : float
        Standard deviation of the response noise, >= 0.

    Raises
    ------
    ValueError, TypeError
        If an array is not finite or of the wrong shape, the covariance is asymmetric or indefinite, or
        `noise_std` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0], rs.AR1(2, 0.5))
    >>> problem.mean_gradient([0.0, 0.0])
    array([-0.5 , -0.25])
    >>> X = np.random.default_rng(0).standard_normal((100, 2))
    >>> rs.LinearRegression.from_data(X, X @ [0.5, 0.0]).minimizer.round(3) + 0.0
    array([0.5, 0. ])
    """

    is_quadratic = True
    row_model = RowModel(LinearModel(0.0), lambda second: LinearRegression(np.zeros(len(second)), second))
    is_gaussian_least_squares = True

    def __init__(
        self, coef: ArrayLike, covariance: ArrayLike | Covariance | None = None, noise_std: float = 1.0
    ) -> None:
        coef = _check.array("coef", coef, (None,), mend="give one number for each coordinate")
        self.coef, self.dimension = _check.sealed(coef), len(coef)
        self.covariance = as_covariance(covariance, self.dimension)
        self.noise_std = _check.number("noise_std", noise_std, least=0.0, mend="give for example noise_std=1.0")
        self.minimizer: Floats | None = self.coef
        self.parameters: NamedTuple = GaussianParameters(
            coef, self.covariance.multiply(coef), self.noise_std, self.covariance.parameters
        )
        self.scratch = gaussian_layout(self.dimension)

    @staticmethod
    @_check.of_rows
    def from_data(X: ArrayLike, y: ArrayLike, *, replacement: bool = True) -> LinearRegression:
        """Linear regression on a finite population: rows of ``(X, y)`` drawn uniformly with replacement.

        ``H = X'X/n``, ``G = X'(Xw - y)/n``, ``Sigma(w) = X'diag(r^2)X/n - GG'`` with ``r = Xw - y``. There is no
        intercept: center `X` and `y` first, or add a column of ones.

        Parameters
        ----------
        X : array_like of shape (n, d)
        y : array_like of shape (n,)
        replacement : bool
            Whether rows are drawn with replacement; False: epoch by epoch, each row once, in a new random order, in
            `simulate` alone (a mini-batch is the next rows of the epoch). Takes 4 bytes for each row and run at work.

        Raises
        ------
        ValueError, TypeError
            If an array is not finite or the shapes do not match.
        """
        return _RowRegression(X, y, replacement)

    def mean_gradient(self, w: ArrayLike) -> Floats:
        return self.covariance.multiply(self._point(w) - self.coef)

    def hessian(self, w: ArrayLike) -> Floats:
        self._point(w)
        return self.covariance.matrix.copy()

    def noise_covariance(self, w: ArrayLike) -> Floats:
        error = self._point(w) - self.coef
        gradient = self.covariance.multiply(error)
        level = float(error @ gradient) + self.noise_std**2
        return level * self.covariance.matrix + np.outer(gradient, gradient)

    def along(self, points: Floats) -> NamedTuple:
        error = points - self.coef
        gradient = np.ascontiguousarray(self.covariance.multiply(error.T).T)
        level = np.sqrt(np.einsum("ij,ij->i", error, gradient) + self.noise_std**2)
        return GaussianAlong(self.covariance.parameters, level, gradient)

    def default_start(self) -> Floats:
        return np.zeros(self.dimension)

    def flow(self, start: Floats, times: Floats) -> Floats:
        """``w* + exp(-tH)(w_0 - w*)``."""
        minimizer = np.zeros(self.dimension) if self.minimizer is None else self.minimizer
        modes = self.covariance.modes(start - minimizer)
        return minimizer + modes.together(np.exp(-np.outer(times, modes.values)) * modes.components)

    def fastest_rate(self) -> float:
        return self.covariance.largest

    def typical_rate(self) -> float:
        return self.covariance.longest_row

    def trace(self) -> float:
        return self.covariance.trace

    def instability(self, step_size: float, batch_size: int) -> str | None:
        return gaussian_instability(step_size * self.covariance.eigenvalues(), batch_size, "eigenvalue")

    def noise_factor(self, w: Floats) -> Floats:
        error = w - self.coef
        gradient = self.covariance.multiply(error)
        level = np.sqrt(float(error @ gradient) + self.noise_std**2)
        return np.column_stack([level * self.covariance.factor, gradient])

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        error = mean - self.coef
        gradient = self.covariance.multiply(error[:, None])[:, 0]
        cross = np.ascontiguousarray(self.covariance.multiply(covariance).T)
        level = float(error @ gradient) + float(np.trace(cross)) + self.noise_std**2
        noise = np.empty_like(covariance)
        _leveled(level, self.covariance.matrix, gradient, noise)
        matrix = self.covariance.matrix if isinstance(self.covariance, Dense) else None
        return Expectations(gradient, self.covariance.multiply, noise, share=1.0, cross=cross, matrix=matrix)

    @property
    def decouples(self) -> bool:  # type: ignore[override]
        """Whether the covariance is diagonal."""
        return isinstance(self.covariance, Diagonal)

    def diagonal_expectations(self, mean: Floats, variance: Floats) -> Diagonals:
        assert isinstance(self.covariance, Diagonal)
        h, error = self.covariance.parameters.variance, mean - self.coef
        second = h * (error**2 + variance)
        return Diagonals(h * error, h, h * (float(second.sum()) + self.noise_std**2 + second))

    def __repr__(self) -> str:
        return (
            f"LinearRegression(<coef, d={self.dimension}>, covariance={self.covariance!r}, "
            f"noise_std={self.noise_std:g})"
        )


class _RowRegression(RowNoise, LinearRegression):
    """`LinearRegression.from_data`."""

    is_gaussian_least_squares = False

    def __init__(self, X: ArrayLike, y: ArrayLike, replacement: bool = True) -> None:
        X, y = _frames.pair(X, y)
        self.rows = _check.design("X", X)
        n, d = self.rows.shape
        self.response = _check.array("y", y, (n,), mend="give one response for each row of X")
        _check.can_be_squared("y", self.response)
        self.dimension = d
        self.covariance = Dense(self.rows.T @ self.rows / n)
        target = self._target = self.rows.T @ self.response / n
        self.coef = _check.sealed(
            np.asarray(np.linalg.lstsq(self.rows, self.response, rcond=None)[0], dtype=np.float64)
        )
        self.noise_std = float(np.std(self.rows @ self.coef - self.response))
        self.minimizer = self.coef
        self.parameters = RowParameters(self.rows, self.response, self.covariance.dense(), target)
        self.scratch = row_layout(d)
        self._draw(replacement)

    def along(self, points: Floats) -> NamedTuple:
        return Problem.along(self, points)

    def _residuals(self, w: Floats) -> Floats:
        return self.rows @ w - self.response

    def mean_gradient(self, w: ArrayLike) -> Floats:
        return self.rows.T @ self._residuals(self._point(w)) / len(self.rows)

    def row_gradients(self, w: Floats) -> Floats:
        return self.rows * self._residuals(w)[:, None]

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        sample, hessian = self.sample, self.covariance.dense()
        gradient = hessian @ mean - self._target
        spread = np.einsum("ij,ij->i", sample.rows @ covariance, sample.rows)
        squares = sample.grams(((sample.rows @ mean - sample.response) ** 2 + spread)[None])[0]
        noise = squares - np.outer(gradient, gradient)
        return Expectations.formed(gradient, hessian, noise, share=-1.0, cross=covariance @ hessian)

    @functools.cached_property
    def sample(self) -> RowSample:
        """What the noise is averaged over."""

        def weights(rows: Floats, response: Floats) -> Floats:
            return np.asarray((rows @ self.coef - response) ** 2)[None]

        return row_sample(self.rows, self.response, self.covariance.dense(), weights)

    def instability(self, step_size: float, batch_size: int) -> str | None:
        return mean_square_growth(self.rows, np.ones(len(self.rows)), step_size, batch_size)

    def __repr__(self) -> str:
        n, d = self.rows.shape
        return f"LinearRegression.from_data(<n={n}, d={d}>{self._drawing})"
