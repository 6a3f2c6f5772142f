"""Logistic regression: Gaussian design with known covariance, or the rows of a data set."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check, _frames
from rdasde._check import Floats
from rdasde._losses.logistic import LogisticLoss
from rdasde._problems.base import Expectations, Problem, gaussian_instability
from rdasde._problems.covariance import Covariance, Dense, as_covariance
from rdasde._problems.design_means import Images, Numbers, spread_means
from rdasde._problems.logistic_means import (
    hermite_rules,
    noise_moments_of,
    noise_weights,
    row_means,
    slope_means,
    slope_means_of,
)
from rdasde._problems.logistic_regression_lanes import GaussianParameters, RowParameters, gaussian_layout
from rdasde._problems.maximum_likelihood import maximum_likelihood
from rdasde._problems.row_terms import LogisticModel, RowModel
from rdasde._problems.rows import RowNoise, RowSample, row_layout, row_sample


class LogisticRegression(Problem):
    """Logistic regression with a Gaussian design: ``P(Y = 1 | X) = p(X'coef)``, ``X ~ N(0, H)``, Y in {0, 1}.

    ``f(w; Z) = log(1 + e^{X'w}) - Y X'w``, gradient ``X (p(X'w) - Y)``, ``p(s) = 1 / (1 + e^-s)``. With ``s = X'w`` and
    ``s* = X'coef``, by Stein's lemma:

    * mean gradient ``E p'(s) H w - E p'(s*) H coef``;
    * Hessian ``E p'(s) H + E p'''(s) H w w' H``;
    * noise covariance ``tau H + B K B'``, ``B = (H coef, H w)``, with ``tau = 1/2 - E p'(s) - 2 E t t*``,
      ``K_** = -2 E t p*'' - (E p*')^2``, ``K_*w = -2 E p' p*' + E p' E p*'``,
      ``K_ww = -E p''' - 2 E p'' t* - (E p')^2``, where ``t = p - 1/2``.

    The first two are accurate to 1e-10, the numbers in the third to 3e-8 (for variances of s and s* up to 100).

    Parameters
    ----------
    coef : array_like of shape (d,)
        The minimizer w*.
    covariance : None, array_like of shape (d,) or (d, d), or `rdasde.AR1`
        H: identity, variances, a positive semi-definite matrix, or structured.

    Raises
    ------
    ValueError, TypeError
        If an array is not finite or of the wrong shape, or the covariance is asymmetric or indefinite.

    Notes
    -----
    The noise of the diffusion takes a two-dimensional quadrature a step and path, 171 points (about 2 microseconds)
    where s and s* have variances up to 1, more in proportion to their standard deviations; on a data set it takes a
    pass over all rows.

    `instability` is the mean-square condition of linear regression with the Hessian ``H / 4``, as ``p' <= 1/4``:
    that of this problem linearized where the loss is steepest, at 0. It errs on the safe side, and past it a run does
    not diverge: a gradient is never longer than ``||X||``.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> problem = rs.LogisticRegression([1.0, 0.0])
    >>> problem.mean_gradient([0.0, 0.0]).round(3) + 0.0
    array([-0.207,  0.   ])
    >>> X = np.random.default_rng(0).standard_normal((100, 2))
    >>> rows = rs.LogisticRegression.from_data(X, X[:, 0] > np.random.default_rng(1).logistic(size=100))
    >>> rows.minimizer.round(2)
    array([ 1.21, -0.21])
    """

    row_model = RowModel(
        LogisticModel(0.0),
        lambda second: LogisticRegression(np.zeros(len(second)), second),
        is_binary=True,
        is_linearized=True,
        largest_slope=0.25,
    )

    def __init__(self, coef: ArrayLike, covariance: ArrayLike | Covariance | None = None) -> None:
        coef = _check.array("coef", coef, (None,), mend="give one number for each coordinate")
        self.coef, self.dimension = _check.sealed(coef), len(coef)
        self.covariance = as_covariance(covariance, self.dimension)
        self.minimizer: Floats | None = self.coef
        image = self.covariance.multiply(coef)
        self._variance = max(float(coef @ image), 0.0)
        self._curvature = float(slope_means(self._variance)[0])
        self.parameters: NamedTuple = GaussianParameters(
            coef, image, self._variance, self._curvature, self.covariance.parameters
        )
        self.scratch = gaussian_layout(self.dimension)

    @staticmethod
    @_check.of_rows
    def from_data(X: ArrayLike, y: ArrayLike, *, replacement: bool = True) -> LogisticRegression:
        """Logistic regression on a finite population: rows of ``(X, y)`` drawn uniformly with replacement.

        ``G = X'(p - y)/n``, ``H = X'diag(p (1 - p)) X/n``, ``Sigma(w) = X'diag((p - y)^2) X/n - GG'``. There is no
        intercept: add a column of ones for one. The attribute `minimizer`, by Newton's method, is None where the
        classes can be separated, for then there is none.

        Parameters
        ----------
        X : array_like of shape (n, d)
        y : array_like of shape (n,)
            Labels, 0 or 1.
        replacement : bool
            Whether rows are drawn with replacement; False: epoch by epoch, each row once, in a new random order, in
            `simulate` alone (a mini-batch is the next rows of the epoch). Takes 4 bytes for each row and run at work.

        Raises
        ------
        ValueError, TypeError
            If an array is not finite, the shapes do not match, or a label is neither 0 nor 1.
        """
        return _RowLogistic(X, y, replacement)

    def _images(self, w: Floats) -> tuple[Floats, Floats, float, float]:
        """``H coef``, ``H w``, ``w'H w``, ``coef'H w``."""
        image, star = self.covariance.multiply(w), self.covariance.multiply(self.coef)
        return star, image, max(float(w @ image), 0.0), float(self.coef @ image)

    def mean_gradient(self, w: ArrayLike) -> Floats:
        star, image, q, _ = self._images(self._point(w))
        return slope_means_of(q)[0] * image - self._curvature * star

    def hessian(self, w: ArrayLike) -> Floats:
        _, image, q, _ = self._images(self._point(w))
        curvature, third = slope_means_of(q)
        return curvature * self.covariance.matrix + third * np.outer(image, image)

    def noise_covariance(self, w: ArrayLike) -> Floats:
        star, image, q, c = self._images(self._point(w))
        tau, k_star, k_cross, k_own = noise_moments_of(q, c, self._variance, self._curvature)
        both = np.column_stack([star, image])
        return tau * self.covariance.matrix + both @ np.array([[k_star, k_cross], [k_cross, k_own]]) @ both.T

    def noise_factor(self, w: Floats) -> Floats:
        star, image, q, c = self._images(w)
        inner, inner_star = w @ self.covariance.factor, self.coef @ self.covariance.factor
        level, f_star, f_own = noise_weights(q, c, self._variance, self._curvature, inner, inner_star)
        return level * self.covariance.factor + np.outer(star, f_star) + np.outer(image, f_own)

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """The closed forms at the mean variance of ``s = X'W``, to first order in Cov W around it.

        With ``q = E W'HW``, ``a = E p'(s)``, ``b = E p'''(s)`` for ``s ~ N(0, q)`` (so that ``da/dq = b/2``):
        ``E G = H (a m + b Cov(W) H m) - E p'(s*) H coef``, ``E H = a H + b H M H``, ``M = E WW'``; in Sigma
        ``H w w' H`` becomes ``H M H``.
        """
        star, image = self.covariance.multiply(np.column_stack([self.coef, mean])).T
        spread = self.covariance.multiply(covariance)
        q, c = max(float(mean @ image), 0.0) + max(float(np.trace(spread)), 0.0), float(self.coef @ image)
        curvature, third = slope_means_of(q)
        gradient = curvature * image + third * (spread @ image) - self._curvature * star
        cross = np.ascontiguousarray(spread.T)
        turned = self.covariance.multiply(cross)
        hessian, noise = np.empty_like(covariance), np.empty_like(covariance)
        numbers = Numbers(*noise_moments_of(q, c, self._variance, self._curvature))
        bend = Numbers(curvature, 0.0, 0.0, third)
        spread_means(self.covariance.matrix, turned, Images(star, image), bend, numbers, (hessian, noise))
        # E H without b H Cov W H, which is of the order of Cov W
        cross *= curvature
        cross += np.outer(third * (covariance @ image), image)
        return Expectations.formed(gradient, hessian, noise, cross=cross)

    def default_start(self) -> Floats:
        return np.zeros(self.dimension)

    def fastest_rate(self) -> float:
        """A bound, from ``p' <= 1/4``."""
        return self.covariance.largest / 4.0

    def trace(self) -> float:
        """A bound, from ``p' <= 1/4``."""
        return self.covariance.trace / 4.0

    def instability(self, step_size: float, batch_size: int) -> str | None:
        return gaussian_instability(step_size * self.covariance.eigenvalues() / 4.0, batch_size, "eigenvalue / 4")

    def __repr__(self) -> str:
        return f"LogisticRegression(<coef, d={self.dimension}>, covariance={self.covariance!r})"


class _RowLogistic(RowNoise, LogisticRegression):
    """`LogisticRegression.from_data`."""

    def __init__(self, X: ArrayLike, y: ArrayLike, replacement: bool = True) -> None:
        X, y = _frames.pair(X, y)
        self.rows = _check.design("X", X)
        n, d = self.rows.shape
        self.labels = LogisticLoss().check_responses(y, n)
        self.dimension = d
        self.covariance = Dense(self.rows.T @ self.rows / n)
        self.minimizer = maximum_likelihood(self.rows, self.labels)
        self.parameters = RowParameters(self.rows, self.labels - 0.5)
        self.scratch = row_layout(d)
        self._draw(replacement)

    def _probabilities(self, w: Floats, part: slice = slice(None)) -> Floats:
        from scipy.special import expit

        return np.asarray(expit(self.rows[part] @ w))

    def mean_gradient(self, w: ArrayLike) -> Floats:
        w = self._point(w)
        total = np.zeros(self.dimension)
        for part in self.parts():
            total += (self._probabilities(w, part) - self.labels[part]) @ self.rows[part]
        return total / len(self.rows)

    def hessian(self, w: ArrayLike) -> Floats:
        p = self._probabilities(self._point(w))
        return (self.rows.T * (p * (1.0 - p))) @ self.rows / len(self.rows)

    def row_gradients(self, w: Floats) -> Floats:
        return self.rows * (self._probabilities(w) - self.labels)[:, None]

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """Row by row: ``x_i'W`` as if normal, its functions by Gauss-Hermite quadrature.

        Of very many rows, E G has the mean gradient at the mean from all of them, and from a sample (`RowSample`) what
        the spread of W adds to it; so have the others what they are.
        """
        sample, n = self.sample, len(self.sample.rows)
        score = sample.rows @ mean
        means = np.empty((3, n))
        variance = np.einsum("ij,ij->i", sample.rows @ covariance, sample.rows)
        row_means(hermite_rules(), score, variance, sample.response, means)
        gradient = self.mean_gradient(mean) + means[0] @ sample.rows / n
        curvature, squares = sample.grams(means[1:])
        noise = squares - np.outer(gradient, gradient)
        return Expectations.formed(gradient, curvature, noise, share=-1.0, cross=covariance @ curvature)

    @functools.cached_property
    def sample(self) -> RowSample:
        """What expectations beyond the mean gradient are taken over."""
        return row_sample(self.rows, self.labels, self.covariance.matrix, self._settled_weights)

    def _settled_weights(self, rows: Floats, labels: Floats) -> Floats:
        """p' and (p - y)^2 of rows at the minimizer, or where there is none at zero."""
        means = np.empty((3, len(rows)))
        at = np.zeros(self.dimension) if self.minimizer is None else self.minimizer
        row_means(hermite_rules(), rows @ at, np.zeros(len(rows)), labels, means)
        return means[1:]

    def __repr__(self) -> str:
        n, d = self.rows.shape
        return f"LogisticRegression.from_data(<n={n}, d={d}>{self._drawing})"
