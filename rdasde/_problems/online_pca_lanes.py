"""Online principal component analysis in lanes: what the compiled loops call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._compiled.lanes import dot, multiply, row_dot
from rdasde._compiled.random import normals, row_numbers
from rdasde._compiled.scratch import ROW, Layout, even
from rdasde._problems.base import add_gradient, drift, hessian_product, noise
from rdasde._problems.covariance import SPARE, color, correlate

SQRT2 = float(np.sqrt(2.0))


class GaussianParameters(NamedTuple):
    covariance: NamedTuple
    normalized: bool  # Krasulina's rule


class RowParameters(NamedTuple):
    rows: Floats  # (n, d)
    gram: Floats  # Z'Z / n
    normalized: bool


@compilable
def _per_norm(normalized, w, norm, level):
    """level / N; where Krasulina's w = 0, an absorbing state, 0. `norm` (lanes,) is scratch."""
    if normalized:
        dot(w, w, norm)
        for lane in range(level.size):
            level[lane] = level[lane] / norm[lane] if norm[lane] > 0.0 else 0.0


@compilable
def _drift(normalized, w, scratch, out):
    """`out` = A w on entry, -(A w - r w) on return."""
    level = scratch.level
    dot(w, out, level)
    _per_norm(normalized, w, scratch.norm, level)
    for j in range(w.shape[0]):
        for lane in range(level.size):
            out[j, lane] = fma(level[lane], w[j, lane], -out[j, lane])


@compilable
def _slopes(normalized, w, u, image, scratch):
    """r into `level`, its derivative along u into `slope` of the scratch, from ``image = A w``.

    The derivative is ``(2 / N)(u'Aw - r w'u)``, the last term Krasulina's.
    """
    level, slope, norm = scratch.level, scratch.slope, scratch.norm
    dot(w, image, level)
    dot(u, image, slope)
    _per_norm(normalized, w, norm, level)
    if normalized:
        dot(w, u, norm)
        for lane in range(level.size):
            slope[lane] = fma(-level[lane], norm[lane], slope[lane])
        _per_norm(normalized, w, norm, slope)
    for lane in range(level.size):
        slope[lane] *= 2.0


@compilable
def _hessian_product(w, u, scratch, out):
    """`out` = A u on entry, -(A u - r u - w slope) on return."""
    level, slope = scratch.level, scratch.slope
    for j in range(w.shape[0]):
        for lane in range(level.size):
            out[j, lane] = fma(slope[lane], w[j, lane], fma(level[lane], u[j, lane], -out[j, lane]))


class GaussianScratch(NamedTuple):
    sample: Floats  # (d made even, lanes)
    normals: Floats  # (d + 1 made even, lanes)
    image: Floats  # (d, lanes)
    spare: Floats  # (SPARE, lanes)
    score: Floats  # (lanes,), as all below
    level: Floats
    slope: Floats
    norm: Floats


def gaussian_layout(dimension: int) -> Layout:
    """The scratch of a problem of this dimension on Gaussian data."""
    rows = dict.fromkeys(("score", "level", "slope", "norm"), ROW)
    sample, draws = even(dimension), even(dimension + 1)
    return Layout(GaussianScratch, sample=sample, normals=draws, image=dimension, spare=SPARE, **rows)


@implements(add_gradient, GaussianParameters)
def _(problem, w, streams, scratch, out):
    # grad f = -(z y - w y^2 / N)
    d = w.shape[0]
    z, y, level, norm = scratch.sample, scratch.score, scratch.level, scratch.norm
    normals(streams, z)
    color(problem.covariance, z[:d], scratch.spare)
    dot(z[:d], w, y)
    for lane in range(y.size):
        level[lane] = y[lane] * y[lane]
    _per_norm(problem.normalized, w, norm, level)
    for j in range(d):
        for lane in range(y.size):
            out[j, lane] += fma(-z[j, lane], y[lane], level[lane] * w[j, lane])


@implements(drift, GaussianParameters)
def _(problem, w, scratch, out):
    correlate(problem.covariance, w, scratch.spare, out)
    _drift(problem.normalized, w, scratch, out)


@implements(hessian_product, GaussianParameters)
def _(problem, w, u, scratch, out):
    correlate(problem.covariance, w, scratch.spare, out)
    _slopes(problem.normalized, w, u, out, scratch)
    correlate(problem.covariance, u, scratch.spare, out)
    _hessian_product(w, u, scratch, out)


@implements(noise, GaussianParameters)
def _(problem, w, streams, scratch, out):
    # sqrt(q) (L xi - Aw (w'L xi) / q) + sqrt(2) (Aw - r w) eta
    d = w.shape[0]
    xi, image = scratch.normals, scratch.image
    q, level, inner, norm = scratch.score, scratch.level, scratch.slope, scratch.norm
    normals(streams, xi)
    color(problem.covariance, xi[:d], scratch.spare)
    correlate(problem.covariance, w, scratch.spare, image)
    dot(w, image, q)
    level[:] = q
    _per_norm(problem.normalized, w, norm, level)
    dot(w, xi[:d], inner)
    for lane in range(q.size):
        # rounding can leave q < 0 where A w = 0
        scale = np.sqrt(q[lane]) if q[lane] > 0.0 else 0.0
        eta = SQRT2 * xi[d, lane]
        inner[lane] = eta - (inner[lane] / scale if scale > 0.0 else 0.0)
        level[lane] = -level[lane] * eta
        q[lane] = scale
    for j in range(d):
        for lane in range(q.size):
            along = fma(inner[lane], image[j, lane], level[lane] * w[j, lane])
            out[j, lane] = fma(q[lane], xi[j, lane], along)


@implements(add_gradient, RowParameters)
def _(problem, w, streams, scratch, out):
    d, lanes = w.shape
    drawn = scratch.drawn
    row_numbers(streams, problem.rows.shape[0], drawn)
    for lane in range(lanes):
        z = problem.rows[int(drawn[lane])]
        y, norm = 0.0, 0.0
        for j in range(d):
            y = fma(z[j], w[j, lane], y)
            norm = fma(w[j, lane], w[j, lane], norm)
        level = y * y
        if problem.normalized:
            level = level / norm if norm > 0.0 else 0.0
        for j in range(d):
            out[j, lane] += fma(-z[j], y, level * w[j, lane])


@implements(drift, RowParameters)
def _(problem, w, scratch, out):
    multiply(problem.gram, w, out)
    _drift(problem.normalized, w, scratch, out)


@implements(hessian_product, RowParameters)
def _(problem, w, u, scratch, out):
    multiply(problem.gram, w, out)
    _slopes(problem.normalized, w, u, out, scratch)
    multiply(problem.gram, u, out)
    _hessian_product(w, u, scratch, out)


@implements(noise, RowParameters)
def _(problem, w, streams, scratch, out):
    # n^-1/2 sum_i g_i (xi_i - mean xi) = n^-1/2 (sum_i z_i y_i xi_i - w sum_i y_i^2 xi_i / N + G sum_i xi_i)
    d, lanes = w.shape
    n = problem.rows.shape[0]
    xi, gradient = scratch.normals, scratch.gradient
    y, total, level, norm = scratch.residual, scratch.total, scratch.level, scratch.norm
    drift(problem, w, scratch, gradient)
    out[:] = 0.0
    total[:] = 0.0
    level[:] = 0.0
    for start in range(0, n, xi.shape[0]):
        normals(streams, xi)
        for i in range(start, min(start + xi.shape[0], n)):
            row_dot(problem.rows[i], w, y)
            for lane in range(lanes):
                total[lane] += xi[i - start, lane]
                product = y[lane] * xi[i - start, lane]
                level[lane] = fma(product, y[lane], level[lane])
                y[lane] = product
            for j in range(d):
                z = problem.rows[i, j]
                for lane in range(lanes):
                    out[j, lane] = fma(z, y[lane], out[j, lane])
    _per_norm(problem.normalized, w, norm, level)
    scale = 1.0 / np.sqrt(float(n))
    for j in range(d):
        for lane in range(lanes):
            rest_of_it = fma(gradient[j, lane], total[lane], -level[lane] * w[j, lane])
            out[j, lane] = scale * (out[j, lane] + rest_of_it)
