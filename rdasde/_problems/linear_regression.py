"""Linear regression: Gaussian design with known covariance, or the rows of a data set."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable, fma, implements, one_row
from rdasde._compiled.random import LANES, integers, normals
from rdasde._problems.base import (
    Expectations,
    Problem,
    add_gradient,
    drift,
    gaussian_instability,
    hessian_along,
    hessian_product,
    noise,
    noise_along,
)
from rdasde._problems.covariance import SPARE, Covariance, Dense, Diagonal, as_covariance, color, correlate, multiply
from rdasde._problems.row_terms import LinearModel, RowModel
from rdasde._problems.rows import CHUNK, RowNoise, residual_noise, row_dot, row_residual


class GaussianParameters(NamedTuple):
    coef: Floats
    target: Floats  # H coef
    noise_std: float
    covariance: NamedTuple


@compilable
def _residual(x, w, coef, out):
    """out += x'(w - coef), summed four coordinates at a time."""
    d = coef.size
    whole = d - d % 4
    flat, flat_w = one_row(x), one_row(w)
    row = np.uint64(LANES)
    for j in range(0, whole, 4):
        c0, c1, c2, c3 = coef[j], coef[j + 1], coef[j + 2], coef[j + 3]
        i0 = np.uint64(j) * row
        i1, i2, i3 = i0 + row, i0 + row + row, i0 + row + row + row
        for lane in range(row):  # unsigned, constant strides: see random._word_pairs
            left = fma(flat[i0 + lane], flat_w[i0 + lane] - c0, flat[i1 + lane] * (flat_w[i1 + lane] - c1))
            right = fma(flat[i2 + lane], flat_w[i2 + lane] - c2, flat[i3 + lane] * (flat_w[i3 + lane] - c3))
            out[lane] += left + right
    for j in range(whole, d):
        c0 = coef[j]
        for lane in range(out.size):
            out[lane] = fma(x[j, lane], w[j, lane] - c0, out[lane])


@implements(add_gradient, GaussianParameters)
def _(problem, w, streams, scratch, out):
    # grad f = x (x'(w - coef) - noise_std eps)
    d = w.shape[0]
    even = d + 1 + (d + 1) % 2
    x = scratch[:even]
    residual = scratch[even]
    normals(streams, x)
    for lane in range(residual.size):
        residual[lane] = -problem.noise_std * x[d, lane]
    color(problem.covariance, x[:d], scratch[even + 1 : even + 1 + SPARE])
    _residual(x, w, problem.coef, residual)
    for j in range(d):
        for lane in range(residual.size):
            out[j, lane] = fma(x[j, lane], residual[lane], out[j, lane])


@implements(drift, GaussianParameters)
def _(problem, w, out):
    correlate(problem.covariance, w, out)
    flat, lanes = one_row(out), np.uint64(LANES)
    for j in range(w.shape[0]):
        target, row = problem.target[j], np.uint64(j) * lanes
        for lane in range(lanes):
            flat[row + lane] -= target


@implements(hessian_product, GaussianParameters)
def _(problem, w, u, out):
    correlate(problem.covariance, u, out)


@implements(noise, GaussianParameters)
def _(problem, w, streams, scratch, out):
    # sqrt(e'He + noise_std^2) L xi + (He) eta
    d = w.shape[0]
    even = d + 1 + (d + 1) % 2
    xi = scratch[:even]
    level = scratch[even]
    normals(streams, xi)
    drift(problem, w, out)
    for lane in range(level.size):
        level[lane] = problem.noise_std * problem.noise_std
    _residual(out, w, problem.coef, level)
    color(problem.covariance, xi[:d], scratch[even + 1 : even + 1 + SPARE])
    for lane in range(level.size):
        level[lane] = np.sqrt(level[lane])
    flat, flat_xi, flat_level, lanes = one_row(out), one_row(xi), one_row(level), np.uint64(LANES)
    last = np.uint64(d) * lanes
    for j in range(d):
        row = np.uint64(j) * lanes
        for lane in range(lanes):
            i = row + lane
            flat[i] = fma(flat[i], flat_xi[last + lane], flat_level[lane] * flat_xi[i])


class GaussianAlong(NamedTuple):
    covariance: NamedTuple
    level: Floats  # (time,): sqrt(e'He + noise_std^2)
    gradient: Floats  # (time, d): He


@implements(noise_along, GaussianAlong)
def _(along, k, spare, streams, scratch, out):
    d = out.shape[0]
    even = d + 1 + (d + 1) % 2
    xi = scratch[:even]
    normals(streams, xi)
    color(along.covariance, xi[:d], scratch[even + 1 : even + 1 + SPARE])
    flat, flat_xi, lanes = one_row(out), one_row(xi), np.uint64(out.shape[1])
    level, last = along.level[k], np.uint64(d) * lanes
    for i in range(flat.size):
        flat[i] = level * flat_xi[i]
    for j in range(d):
        slope, row = along.gradient[k, j], np.uint64(j) * lanes
        if slope != 0.0:
            for lane in range(lanes):
                flat[row + lane] = fma(slope, flat_xi[last + lane], flat[row + lane])


@implements(hessian_along, GaussianAlong)
def _(along, k, spare, u, out):
    correlate(along.covariance, u, out)


@Kernel
def _add_level(level, hessian, gradient, out):
    """``out += level H + g g'`` in one pass."""
    for i in range(gradient.size):
        for j in range(gradient.size):
            out[i, j] += level * hessian[i, j] + gradient[i] * gradient[j]


class RowParameters(NamedTuple):
    rows: Floats  # (n, d)
    response: Floats  # (n,)
    gram: Floats  # X'X / n
    target: Floats  # X'y / n


@implements(row_residual, RowParameters)
def _(problem, i, w, out):
    row_dot(problem.rows[i], w, out)
    for lane in range(out.size):
        out[lane] -= problem.response[i]


@implements(add_gradient, RowParameters)
def _(problem, w, streams, scratch, out):
    d, lanes = w.shape
    n = problem.response.size
    drawn = scratch[0]
    integers(streams, n, drawn)
    for lane in range(lanes):
        i = int(drawn[lane])
        residual = -problem.response[i]
        for j in range(d):
            residual = fma(problem.rows[i, j], w[j, lane], residual)
        for j in range(d):
            out[j, lane] = fma(problem.rows[i, j], residual, out[j, lane])


@implements(drift, RowParameters)
def _(problem, w, out):
    multiply(problem.gram, w, out)
    for j in range(w.shape[0]):
        target = problem.target[j]
        for lane in range(w.shape[1]):
            out[j, lane] -= target


@implements(hessian_product, RowParameters)
def _(problem, w, u, out):
    multiply(problem.gram, u, out)


@implements(noise, RowParameters)
def _(problem, w, streams, scratch, out):
    residual_noise(problem, w, streams, scratch, out)


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
    """

    is_quadratic = True
    row_model = RowModel(LinearModel(0.0), lambda second: LinearRegression(np.zeros(len(second)), second))

    def __init__(
        self, coef: ArrayLike, covariance: ArrayLike | Covariance | None = None, noise_std: float = 1.0
    ) -> None:
        self.coef = _check.array("coef", coef, (None,), mend="give one number for each coordinate")
        self.dimension = len(self.coef)
        self.covariance = as_covariance(covariance, self.dimension)
        self.noise_std = _check.number("noise_std", noise_std, least=0.0, mend="give for example noise_std=1.0")
        self.minimizer: Floats | None = self.coef.copy()
        self.parameters: NamedTuple = GaussianParameters(
            self.coef, self.covariance.multiply(self.coef), self.noise_std, self.covariance.parameters
        )
        self.scratch_rows = self.dimension + 3 + SPARE

    @staticmethod
    def from_data(X: ArrayLike, y: ArrayLike) -> LinearRegression:
        """Linear regression on a finite population: rows of ``(X, y)`` drawn uniformly with replacement.

        ``H = X'X/n``, ``G = X'(Xw - y)/n``, ``Sigma(w) = X'diag(r^2)X/n - GG'`` with ``r = Xw - y``. There is no
        intercept: center `X` and `y` first, or add a column of ones.

        Parameters
        ----------
        X : array_like of shape (n, d)
        y : array_like of shape (n,)

        Raises
        ------
        ValueError, TypeError
            If an array is not finite or the shapes do not match.
        """
        return _RowRegression(X, y)

    def mean_gradient(self, w: ArrayLike) -> Floats:
        return self.covariance.multiply(self._point(w) - self.coef)

    def hessian(self, w: ArrayLike) -> Floats:
        self._point(w)
        return self._hessian.copy()

    def noise_covariance(self, w: ArrayLike) -> Floats:
        error = self._point(w) - self.coef
        gradient = self.covariance.multiply(error)
        level = float(error @ gradient) + self.noise_std**2
        return level * self._hessian + np.outer(gradient, gradient)

    def along(self, points: Floats) -> NamedTuple:
        error = points - self.coef
        gradient = np.ascontiguousarray(self.covariance.multiply(error.T).T)
        level = np.sqrt(np.einsum("ij,ij->i", error, gradient) + self.noise_std**2)
        return GaussianAlong(self.covariance.parameters, level, gradient)

    def default_start(self) -> Floats:
        return np.zeros(self.dimension)

    @functools.cached_property
    def _eigen(self) -> tuple[Floats, Floats]:
        values, vectors = np.linalg.eigh(self.covariance.dense())
        return np.maximum(values, 0.0), vectors

    def flow(self, start: Floats, times: Floats) -> Floats:
        """``w* + exp(-tH)(w_0 - w*)``."""
        minimizer = np.zeros(self.dimension) if self.minimizer is None else self.minimizer
        error = start - minimizer
        if isinstance(self.covariance, Diagonal):
            return minimizer + np.exp(-np.outer(times, self.covariance.parameters.variance)) * error
        values, vectors = self._eigen
        return minimizer + (np.exp(-np.outer(times, values)) * (vectors.T @ error)) @ vectors.T

    def fastest_rate(self) -> float:
        return self.covariance.largest

    def typical_rate(self) -> float:
        return float(np.linalg.norm(self._hessian, axis=1).max())

    def trace(self) -> float:
        return self.covariance.trace

    def instability(self, step_size: float, batch_size: int) -> str | None:
        return gaussian_instability(step_size * self.covariance.eigenvalues(), batch_size, "eigenvalue")

    def noise_factor(self, w: Floats) -> Floats:
        error = w - self.coef
        gradient = self.covariance.multiply(error)
        level = np.sqrt(float(error @ gradient) + self.noise_std**2)
        return np.column_stack([level * self._root, gradient])

    @functools.cached_property
    def _root(self) -> Floats:
        return self.covariance.root()

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        error = mean - self.coef
        gradient = self.covariance.multiply(error[:, None])[:, 0]
        spread = self.covariance.multiply(covariance)
        level = float(error @ gradient) + float(np.trace(spread)) + self.noise_std**2
        sigma = self.covariance.multiply(spread.T)
        _add_level(level, self._hessian, gradient, sigma)
        return Expectations(gradient, self.covariance.multiply, sigma)

    @functools.cached_property
    def _hessian(self) -> Floats:
        return self.covariance.dense()

    def __repr__(self) -> str:
        return (
            f"LinearRegression(<coef, d={self.dimension}>, covariance={self.covariance!r}, "
            f"noise_std={self.noise_std:g})"
        )


class _RowRegression(RowNoise, LinearRegression):
    """`LinearRegression.from_data`."""

    def __init__(self, X: ArrayLike, y: ArrayLike) -> None:
        self.rows = _check.array("X", X, (None, None), mend="give one row for each observation")
        n, d = self.rows.shape
        self.response = _check.array("y", y, (n,), mend="give one response for each row of X")
        self.dimension = d
        self.covariance = Dense(self.rows.T @ self.rows / n)
        target = self.rows.T @ self.response / n
        self.coef = np.linalg.lstsq(self.rows, self.response, rcond=None)[0]
        self.noise_std = float(np.std(self.rows @ self.coef - self.response))
        self.minimizer = self.coef.copy()
        self.parameters = RowParameters(self.rows, self.response, self.covariance.dense(), target)
        self.scratch_rows = CHUNK + 2 + d

    def along(self, points: Floats) -> NamedTuple:
        return Problem.along(self, points)

    def _residuals(self, w: Floats) -> Floats:
        return self.rows @ w - self.response

    def mean_gradient(self, w: ArrayLike) -> Floats:
        return self.rows.T @ self._residuals(self._point(w)) / len(self.rows)

    def row_gradients(self, w: Floats) -> Floats:
        return self.rows * self._residuals(w)[:, None]

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        n = len(self.rows)
        residuals = self._residuals(mean)
        gradient = self.rows.T @ residuals / n
        squares = residuals**2 + np.einsum("ij,ij->i", self.rows @ covariance, self.rows)
        hessian = self.covariance.dense()
        sigma = (self.rows.T * squares) @ self.rows / n - np.outer(gradient, gradient) - hessian @ covariance @ hessian
        return Expectations(gradient, self.covariance.multiply, sigma)

    def instability(self, step_size: float, batch_size: int) -> str | None:
        # the mean square follows C -> C - gamma (HC + CH) + gamma^2 (E[xx'Cxx'] / b + (1 - 1/b) HCH):
        # stable iff the spectral radius of this positive map is below 1
        n, d = self.rows.shape
        if n * d * d > 2_000_000:
            bound = step_size * self.covariance.trace
            return (
                f"step_size * trace of the Hessian is {bound:.3g}, not below 2 b" if bound >= 2 * batch_size else None
            )
        hessian = self.covariance.dense()
        moment, growth = np.eye(d), 0.0
        for _ in range(300):
            product = hessian @ moment
            fourth = (self.rows.T * np.einsum("ij,ij->i", self.rows @ moment, self.rows)) @ self.rows / n
            image = moment - step_size * (product + product.T)
            image += step_size**2 * (fourth / batch_size + (1.0 - 1.0 / batch_size) * product @ hessian)
            growth = float(np.linalg.norm(image) / np.linalg.norm(moment))
            moment = image / np.linalg.norm(image)
        # a flat direction keeps the radius at 1 exactly
        return f"the mean square grows by the factor {growth:.4g} a step" if growth > 1.0 + 1e-6 else None

    def __repr__(self) -> str:
        n, d = self.rows.shape
        return f"LinearRegression.from_data(<n={n}, d={d}>)"
