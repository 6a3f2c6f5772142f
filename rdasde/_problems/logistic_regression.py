"""Logistic regression: Gaussian design with known covariance, or the rows of a data set.

For the Gaussian design every mean is one of a function of ``s = X'w`` and ``s* = X'coef``, jointly normal, and Stein's
lemma brings what depends on them to four numbers: no Monte Carlo, no sums over d. With ``p = 1 / (1 + e^-s)`` and
``t = p - 1/2``, an odd function, ``t^2 = 1/4 - p'`` and ``p''' = p'(1 - 6 p')``. The means are taken by the trapezoidal
rule, which for functions analytic in a strip converges geometrically (Trefethen & Weideman, SIAM Review 56, 2014):
p has its poles at +-i pi, so that a step h costs an error of about ``exp(-2 pi^2 / h)``. Gauss-Hermite rules are slow
here: their error is ``exp(-c sqrt(nodes / q))`` for s of variance q.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._compiled.random import LANES, integers, normals, uniforms
from rdasde._problems.base import (
    Expectations,
    Problem,
    add_gradient,
    drift,
    gaussian_instability,
    hessian_product,
    noise,
)
from rdasde._problems.covariance import SPARE, Covariance, Dense, as_covariance, color, correlate, dot, project
from rdasde._problems.row_terms import LogisticModel, RowModel
from rdasde._problems.rows import CHUNK, RowNoise, add_row, residual_noise, row_dot, row_residual

_NODES = 56  # on each side of 0, for means of functions of s
_REACH = 8.3  # standard deviations that matter
_DECAY = 36.0  # where p' is below 3e-16
_JOINT_REACH, _JOINT_STEP, _JOINT_NODES = 6.5, 0.8, 84  # the same for means of functions of s and s*
_DENSITY = float(1.0 / np.sqrt(2.0 * np.pi))


@compilable
def _odd(s):
    """t(s) = p(s) - 1/2, without overflow."""
    e = np.exp(-abs(s))
    return np.copysign(0.5 * (1.0 - e) / (1.0 + e), s)


@compilable
def _slopes(q):
    """E p'(s) and E p'''(s) for s ~ N(0, q); to 1e-10 for every q >= 0."""
    width = np.sqrt(q)
    reach = min(_REACH, _DECAY / width) if width > 0.0 else _REACH
    h = reach / _NODES
    # exp(-s) and the normal density at equally spaced points, by multiplication
    ratio = np.exp(-h * width)
    square = np.exp(-h * h)
    factor = np.exp(-0.5 * h * h)
    e, weight = 1.0, 1.0
    first, third = 0.125, -0.0625  # half of the values at 0
    for _ in range(_NODES):
        e *= ratio
        weight *= factor
        factor *= square
        slope = e / ((1.0 + e) * (1.0 + e))
        first = fma(weight, slope, first)
        third = fma(weight, slope * (1.0 - 6.0 * slope), third)
    scale = 2.0 * h * _DENSITY
    return scale * first, scale * third


@compilable
def _joint(q, c, q_star):
    """E t t*, E p' p*', E t p*'', E p'' t* for s, s* of variances q, q* and covariance c; to 3e-8 for q, q* <= 100.

    A product rule in ``s* = sqrt(q*) z_1``, ``s = (c / sqrt(q*)) z_1 + rho z_2``; the products are even, so half of the
    plane is enough. 171 points where q, q* <= 1, growing like
    sqrt(q q*) to 14196; beyond that accuracy falls.
    """
    star = np.sqrt(q_star)
    along = c / star if star > 0.0 else 0.0
    rho = np.sqrt(max(q - along * along, 0.0))
    count = min(int(np.ceil(_JOINT_REACH * max(1.0, star, abs(along)) / _JOINT_STEP)), _JOINT_NODES)
    across = min(int(np.ceil(_JOINT_REACH * max(1.0, rho) / _JOINT_STEP)), _JOINT_NODES)
    h, k = _JOINT_REACH / count, _JOINT_REACH / across
    # the normal density from its left edge on, by multiplication
    edge, rise, square = np.exp(-0.5 * _JOINT_REACH * _JOINT_REACH), np.exp((across - 0.5) * k * k), np.exp(-k * k)
    tt, pp, tp, pt = 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        z1 = (i + 0.5) * h
        odd_star = _odd(star * z1)
        slope_star = 0.25 - odd_star * odd_star
        second_star = -2.0 * odd_star * slope_star
        odd_sum, slope_sum, second_sum = 0.0, 0.0, 0.0
        weight, factor = edge, rise
        for j in range(-across, across + 1):
            odd = _odd(fma(rho, j * k, along * z1))
            slope = 0.25 - odd * odd
            odd_sum = fma(weight, odd, odd_sum)
            slope_sum = fma(weight, slope, slope_sum)
            second_sum = fma(weight, -2.0 * odd * slope, second_sum)
            weight *= factor
            factor *= square
        weight = np.exp(-0.5 * z1 * z1)
        tt = fma(weight * odd_star, odd_sum, tt)
        pp = fma(weight * slope_star, slope_sum, pp)
        tp = fma(weight * second_star, odd_sum, tp)
        pt = fma(weight * odd_star, second_sum, pt)
    scale = 2.0 * h * k * _DENSITY * _DENSITY
    return scale * tt, scale * pp, scale * tp, scale * pt


@compilable
def _noise_moments(q, c, q_star, curvature_star):
    """tau, K_**, K_*w, K_ww in ``Sigma = tau H + B K B'``, ``B = (H coef, H w)``.

    With ``h = E[(p - Y)^2 | X] = p^2 - 2 p p* + p*``, by Stein's lemma twice, ``E[h XX'] = (E h) H + B (E h'') B'``,
    where h'' is the matrix of second derivatives in (s*, s).
    """
    curvature, third = _slopes(q)
    tt, pp, tp, pt = _joint(q, c, q_star)
    tau = 0.5 - curvature - 2.0 * tt
    star = -2.0 * tp - curvature_star * curvature_star
    cross = -2.0 * pp + curvature_star * curvature
    own = -third - 2.0 * pt - curvature * curvature
    return tau, star, cross, own


@compilable
def _noise_weights(q, c, q_star, curvature_star, inner, inner_star):
    """sqrt(tau), f*, f such that ``sqrt(tau) L xi + f* H coef + f H w`` has the covariance Sigma.

    Both f are linear in `inner` = w'L xi and `inner_star` = coef'L xi. With an orthonormal basis Q,
    ``(L'coef, L'w) = Q R``, the noise is ``L (sqrt(tau) (I - QQ') + Q S Q') xi`` with ``S S' = tau I + R K R'``, two by
    two. Where w and coef are parallel the second direction drops out.
    """
    tau, star, cross, own = _noise_moments(q, c, q_star, curvature_star)
    level = np.sqrt(max(tau, 0.0))
    size = np.sqrt(q_star)
    per_size = 1.0 / size if size > 0.0 else 0.0
    along = c * per_size
    rest = q - along * along
    rho = np.sqrt(rest) if rest > 1e-14 * q else 0.0
    per_rho = 1.0 / rho if rho > 0.0 else 0.0
    # S lower triangular
    s11 = np.sqrt(max(tau + size * size * star + 2.0 * size * along * cross + along * along * own, 0.0))
    s21 = rho * (size * cross + along * own) / s11 if s11 > 0.0 else 0.0
    s22 = np.sqrt(max(tau + rho * rho * own - s21 * s21, 0.0))
    beta = along * per_size
    first = inner_star * per_size
    second = (inner - beta * inner_star) * per_rho
    f_first = (s11 - level) * first
    f_second = (s21 * first + (s22 - level) * second) * per_rho
    return level, f_first * per_size - beta * f_second, f_second


class GaussianParameters(NamedTuple):
    coef: Floats
    image: Floats  # H coef
    variance: float  # coef'H coef
    curvature: float  # E p'(X'coef)
    covariance: NamedTuple


@implements(add_gradient, GaussianParameters)
def _(problem, w, streams, scratch, out):
    # grad f = x (p(x'w) - Y), P(Y = 1) = p(x'coef)
    d = w.shape[0]
    even = d + d % 2
    x, residual, star, uniform = scratch[:even], scratch[even], scratch[even + 1], scratch[even + 2]
    normals(streams, x)
    uniforms(streams, uniform)
    color(problem.covariance, x[:d], scratch[even + 3 : even + 3 + SPARE])
    dot(x[:d], w, residual)
    project(problem.coef, x[:d], star)
    for lane in range(residual.size):
        label = 0.5 if uniform[lane] - 0.5 < _odd(star[lane]) else -0.5
        residual[lane] = _odd(residual[lane]) - label
    for j in range(d):
        for lane in range(residual.size):
            out[j, lane] = fma(x[j, lane], residual[lane], out[j, lane])


@implements(drift, GaussianParameters)
def _(problem, w, out):
    # E p'(s) H w - E p'(s*) H coef
    curvature = np.empty(LANES)  # `drift` is handed no scratch
    correlate(problem.covariance, w, out)
    dot(w, out, curvature)
    for lane in range(curvature.size):
        curvature[lane] = _slopes(max(curvature[lane], 0.0))[0]
    for j in range(w.shape[0]):
        target = problem.curvature * problem.image[j]
        for lane in range(curvature.size):
            out[j, lane] = fma(curvature[lane], out[j, lane], -target)


@implements(hessian_product, GaussianParameters)
def _(problem, w, u, out):
    # a H u + b H w (w'H u) = H (a u + b (u'H w) w)
    row, mixed = np.empty((2, LANES)), np.empty_like(w)
    curvature, third = row[0], row[1]
    correlate(problem.covariance, w, out)
    dot(w, out, curvature)
    dot(u, out, third)
    for lane in range(curvature.size):
        a, b = _slopes(max(curvature[lane], 0.0))
        curvature[lane] = a
        third[lane] *= b
    for j in range(w.shape[0]):
        for lane in range(curvature.size):
            mixed[j, lane] = fma(curvature[lane], u[j, lane], third[lane] * w[j, lane])
    correlate(problem.covariance, mixed, out)


@implements(noise, GaussianParameters)
def _(problem, w, streams, scratch, out):
    d = w.shape[0]
    even = d + d % 2
    xi, image, rest = scratch[:even], scratch[even : even + d], scratch[even + d :]
    q, c, inner, inner_star = rest[0], rest[1], rest[2], rest[3]
    normals(streams, xi)
    color(problem.covariance, xi[:d], rest[4 : 4 + SPARE])
    correlate(problem.covariance, w, image)
    dot(w, image, q)
    project(problem.image, w, c)
    dot(w, xi[:d], inner)
    project(problem.coef, xi[:d], inner_star)
    for lane in range(q.size):
        level, star, own = _noise_weights(
            max(q[lane], 0.0), c[lane], problem.variance, problem.curvature, inner[lane], inner_star[lane]
        )
        q[lane], inner_star[lane], inner[lane] = level, star, own
    for j in range(d):
        target = problem.image[j]
        for lane in range(q.size):
            along = fma(inner[lane], image[j, lane], inner_star[lane] * target)
            out[j, lane] = fma(q[lane], xi[j, lane], along)


class RowParameters(NamedTuple):
    rows: Floats  # (n, d)
    labels: Floats  # (n,), less 1/2


@implements(row_residual, RowParameters)
def _(problem, i, w, out):
    row_dot(problem.rows[i], w, out)
    for lane in range(out.size):
        out[lane] = _odd(out[lane]) - problem.labels[i]


@implements(add_gradient, RowParameters)
def _(problem, w, streams, scratch, out):
    d, lanes = w.shape
    drawn = scratch[0]
    integers(streams, problem.labels.size, drawn)
    for lane in range(lanes):
        i = int(drawn[lane])
        s = 0.0
        for j in range(d):
            s = fma(problem.rows[i, j], w[j, lane], s)
        residual = _odd(s) - problem.labels[i]
        for j in range(d):
            out[j, lane] = fma(problem.rows[i, j], residual, out[j, lane])


@implements(drift, RowParameters)
def _(problem, w, out):
    residual = np.empty(LANES)
    share = 1.0 / problem.labels.size
    out[:] = 0.0
    for i in range(problem.labels.size):
        row_residual(problem, i, w, residual)
        for lane in range(residual.size):
            residual[lane] *= share
        add_row(problem.rows[i], residual, out)


@implements(hessian_product, RowParameters)
def _(problem, w, u, out):
    row = np.empty((2, LANES))
    s, product = row[0], row[1]
    share = 1.0 / problem.labels.size
    out[:] = 0.0
    for i in range(problem.labels.size):
        row_dot(problem.rows[i], w, s)
        row_dot(problem.rows[i], u, product)
        for lane in range(s.size):
            odd = _odd(s[lane])
            product[lane] *= share * (0.25 - odd * odd)
        add_row(problem.rows[i], product, out)


@implements(noise, RowParameters)
def _(problem, w, streams, scratch, out):
    residual_noise(problem, w, streams, scratch, out)


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
    """

    row_model = RowModel(
        LogisticModel(0.0),
        lambda second: LogisticRegression(np.zeros(len(second)), second),
        is_binary=True,
        is_linearized=True,
    )

    def __init__(self, coef: ArrayLike, covariance: ArrayLike | Covariance | None = None) -> None:
        self.coef = _check.array("coef", coef, (None,), mend="give one number for each coordinate")
        self.dimension = len(self.coef)
        self.covariance = as_covariance(covariance, self.dimension)
        self.minimizer: Floats | None = self.coef.copy()
        image = self.covariance.multiply(self.coef)
        self._variance = max(float(self.coef @ image), 0.0)
        self._curvature = float(_slopes(self._variance)[0])
        self.parameters: NamedTuple = GaussianParameters(
            self.coef, image, self._variance, self._curvature, self.covariance.parameters
        )
        self.scratch_rows = 2 * self.dimension + 5 + SPARE

    @staticmethod
    def from_data(X: ArrayLike, y: ArrayLike) -> LogisticRegression:
        """Logistic regression on a finite population: rows of ``(X, y)`` drawn uniformly with replacement.

        ``G = X'(p - y)/n``, ``H = X'diag(p (1 - p)) X/n``, ``Sigma(w) = X'diag((p - y)^2) X/n - GG'``. There is no
        intercept: add a column of ones for one. The attribute `minimizer`, by Newton's method, is None where the
        classes can be separated, for then there is none.

        Parameters
        ----------
        X : array_like of shape (n, d)
        y : array_like of shape (n,)
            Labels, 0 or 1.

        Raises
        ------
        ValueError, TypeError
            If an array is not finite, the shapes do not match, or a label is neither 0 nor 1.
        """
        return _RowLogistic(X, y)

    def _images(self, w: Floats) -> tuple[Floats, Floats, float, float]:
        """``H coef``, ``H w``, ``w'H w``, ``coef'H w``."""
        image, star = self.covariance.multiply(w), self.covariance.multiply(self.coef)
        return star, image, max(float(w @ image), 0.0), float(self.coef @ image)

    def mean_gradient(self, w: ArrayLike) -> Floats:
        star, image, q, _ = self._images(self._point(w))
        return _slopes(q)[0] * image - self._curvature * star

    def hessian(self, w: ArrayLike) -> Floats:
        _, image, q, _ = self._images(self._point(w))
        curvature, third = _slopes(q)
        return curvature * self._dense + third * np.outer(image, image)

    def noise_covariance(self, w: ArrayLike) -> Floats:
        star, image, q, c = self._images(self._point(w))
        tau, k_star, k_cross, k_own = _noise_moments(q, c, self._variance, self._curvature)
        both = np.column_stack([star, image])
        return tau * self._dense + both @ np.array([[k_star, k_cross], [k_cross, k_own]]) @ both.T

    def noise_factor(self, w: Floats) -> Floats:
        star, image, q, c = self._images(w)
        inner, inner_star = w @ self._root, self.coef @ self._root
        level, f_star, f_own = _noise_weights(q, c, self._variance, self._curvature, inner, inner_star)
        return level * self._root + np.outer(star, f_star) + np.outer(image, f_own)

    @functools.cached_property
    def _dense(self) -> Floats:
        return self.covariance.dense()

    @functools.cached_property
    def _root(self) -> Floats:
        return self.covariance.root()

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """The closed forms at the mean variance of ``s = X'W``, to first order in Cov W around it.

        With ``q = E W'HW``, ``a = E p'(s)``, ``b = E p'''(s)`` for ``s ~ N(0, q)`` (so that ``da/dq = b/2``):
        ``E G = H (a m + b Cov(W) H m) - E p'(s*) H coef``, ``E H = a H + b H M H``, ``M = E WW'``; in Sigma
        ``H w w' H`` becomes ``H M H``.
        """
        star, image, q, c = self._images(mean)
        spread = self.covariance.multiply(covariance)
        q += max(float(np.trace(spread)), 0.0)
        curvature, third = _slopes(q)
        gradient = curvature * image + third * (spread @ image) - self._curvature * star
        # H M H
        second = self.covariance.multiply(np.ascontiguousarray(spread.T)) + np.outer(image, image)

        def hessian(x: Floats) -> Floats:
            return curvature * self.covariance.multiply(x) + third * (second @ x)

        tau, k_star, k_cross, k_own = _noise_moments(q, c, self._variance, self._curvature)
        cross = np.outer(star, image)
        noise = tau * self._dense + k_star * np.outer(star, star) + k_cross * (cross + cross.T) + k_own * second
        return Expectations(gradient, hessian, noise)

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

    def __init__(self, X: ArrayLike, y: ArrayLike) -> None:
        self.rows = _check.array("X", X, (None, None), mend="give one row for each observation")
        n, d = self.rows.shape
        labels = np.asarray(y) + 0.0 if np.asarray(y).dtype == bool else y
        self.labels = _check.array("y", labels, (n,), mend="give one label for each row of X")
        strange = self.labels[(self.labels != 0.0) & (self.labels != 1.0)]
        if strange.size:
            raise _check.bad(
                "y", f"{strange[0]:g} somewhere", "0 or 1 everywhere", "pass (y == positive).astype(float)"
            )
        self.dimension = d
        self.covariance = Dense(self.rows.T @ self.rows / n)
        self.minimizer = _maximum_likelihood(self.rows, self.labels)
        self.parameters = RowParameters(self.rows, self.labels - 0.5)
        self.scratch_rows = CHUNK + 2 + d

    def _probabilities(self, w: Floats) -> Floats:
        from scipy.special import expit

        return np.asarray(expit(self.rows @ w))

    def mean_gradient(self, w: ArrayLike) -> Floats:
        return self.rows.T @ (self._probabilities(self._point(w)) - self.labels) / len(self.rows)

    def hessian(self, w: ArrayLike) -> Floats:
        p = self._probabilities(self._point(w))
        return (self.rows.T * (p * (1.0 - p))) @ self.rows / len(self.rows)

    def row_gradients(self, w: Floats) -> Floats:
        return self.rows * (self._probabilities(w) - self.labels)[:, None]

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """Row by row: ``x_i'W`` as if normal, its functions by Gauss-Hermite quadrature."""
        from scipy.special import expit

        n = len(self.rows)
        deviation = np.sqrt(np.maximum(np.einsum("ij,ij->i", self.rows @ covariance, self.rows), 0.0))
        nodes, weights = _hermite_rule()
        p = expit((self.rows @ mean)[:, None] + deviation[:, None] * nodes)
        curvature = (self.rows.T * ((p * (1.0 - p)) @ weights)) @ self.rows / n
        gradient = self.rows.T @ (p @ weights - self.labels) / n
        squares = (p - self.labels[:, None]) ** 2 @ weights
        noise = (self.rows.T * squares) @ self.rows / n - np.outer(gradient, gradient)
        noise -= curvature @ covariance @ curvature
        return Expectations(gradient, lambda x: curvature @ x, noise)

    def __repr__(self) -> str:
        n, d = self.rows.shape
        return f"LogisticRegression.from_data(<n={n}, d={d}>)"


@functools.cache
def _hermite_rule() -> tuple[Floats, Floats]:
    """Nodes and weights for means over a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    return nodes, weights / weights.sum()


def _maximum_likelihood(rows: Floats, labels: Floats) -> Floats | None:
    """The minimizer of shortest length by Newton's method, None where there is none.

    Where the classes can be separated, even if not strictly, the loss has no minimum: Newton's steps then go on
    changing some ``x_i'w`` by about 1 for ever. Where there is a minimum they shrink quadratically.
    """
    from scipy.special import expit

    left, size, right = np.linalg.svd(rows, full_matrices=False)
    rank = int(np.count_nonzero(size > 1e-12 * size[0])) if size[0] > 0.0 else 0
    basis = left[:, :rank] * np.sqrt(len(rows))

    def loss(margins: Floats) -> float:
        return float(np.sum(np.logaddexp(0.0, margins) - labels * margins))

    margins = np.zeros(len(rows))
    for _ in range(60):
        p = expit(margins)
        curvature = (basis.T * (p * (1.0 - p))) @ basis
        try:
            step = basis @ np.linalg.solve(curvature, basis.T @ (labels - p))
        except np.linalg.LinAlgError:
            return None
        if not np.all(np.isfinite(step)):
            return None
        if np.abs(step).max() <= 1e-9 * (1.0 + np.abs(margins).max()):
            scaled = left[:, :rank].T @ (margins + step) / size[:rank]
            return np.asarray(scaled @ right[:rank])
        before = loss(margins)
        while loss(margins + step) > before * (1.0 + 1e-12) and np.abs(step).max() > 1e-9:
            step = 0.5 * step
        margins = margins + step
    return None
