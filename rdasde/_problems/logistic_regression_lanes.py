"""Logistic regression in lanes: what the compiled loops call."""

from __future__ import annotations

from typing import NamedTuple

from rdasde._check import Floats
from rdasde._compiled.jit import fma, implements
from rdasde._compiled.lanes import add_row, dot, project, row_dot
from rdasde._compiled.random import normals, row_numbers, uniforms
from rdasde._compiled.scratch import ROW, Layout, even
from rdasde._problems.base import add_gradient, drift, hessian_product, noise
from rdasde._problems.covariance import SPARE, color, correlate
from rdasde._problems.logistic_means import centred_logistic, noise_weights, slope_means
from rdasde._problems.rows import residual_noise, row_residual


class GaussianParameters(NamedTuple):
    coef: Floats
    image: Floats  # H coef
    variance: float  # coef'H coef
    curvature: float  # E p'(X'coef)
    covariance: NamedTuple


class GaussianScratch(NamedTuple):
    normals: Floats  # (d made even, lanes)
    image: Floats  # (d, lanes)
    spare: Floats  # (SPARE, lanes)
    residual: Floats  # (lanes,), as all below
    star: Floats
    uniform: Floats
    q: Floats
    c: Floats
    inner: Floats
    curvature: Floats
    third: Floats


def gaussian_layout(dimension: int) -> Layout:
    """The scratch of a problem of this dimension on a Gaussian design."""
    rows = dict.fromkeys(("residual", "star", "uniform", "q", "c", "inner", "curvature", "third"), ROW)
    return Layout(GaussianScratch, normals=even(dimension), image=dimension, spare=SPARE, **rows)


@implements(add_gradient, GaussianParameters)
def _(problem, w, streams, scratch, out):
    # grad f = x (p(x'w) - Y), P(Y = 1) = p(x'coef)
    d = w.shape[0]
    x, residual, star, uniform = scratch.normals, scratch.residual, scratch.star, scratch.uniform
    normals(streams, x)
    uniforms(streams, uniform)
    color(problem.covariance, x[:d], scratch.spare)
    dot(x[:d], w, residual)
    project(problem.coef, x[:d], star)
    for lane in range(residual.size):
        label = 0.5 if uniform[lane] - 0.5 < centred_logistic(star[lane]) else -0.5
        residual[lane] = centred_logistic(residual[lane]) - label
    for j in range(d):
        for lane in range(residual.size):
            out[j, lane] = fma(x[j, lane], residual[lane], out[j, lane])


@implements(drift, GaussianParameters)
def _(problem, w, scratch, out):
    # E p'(s) H w - E p'(s*) H coef
    curvature = scratch.curvature
    correlate(problem.covariance, w, scratch.spare, out)
    dot(w, out, curvature)
    for lane in range(curvature.size):
        curvature[lane] = slope_means(max(curvature[lane], 0.0))[0]
    for j in range(w.shape[0]):
        target = problem.curvature * problem.image[j]
        for lane in range(curvature.size):
            out[j, lane] = fma(curvature[lane], out[j, lane], -target)


@implements(hessian_product, GaussianParameters)
def _(problem, w, u, scratch, out):
    # a H u + b H w (w'H u) = H (a u + b (u'H w) w)
    curvature, third, mixed = scratch.curvature, scratch.third, scratch.image
    correlate(problem.covariance, w, scratch.spare, out)
    dot(w, out, curvature)
    dot(u, out, third)
    for lane in range(curvature.size):
        a, b = slope_means(max(curvature[lane], 0.0))
        curvature[lane] = a
        third[lane] *= b
    for j in range(w.shape[0]):
        for lane in range(curvature.size):
            mixed[j, lane] = fma(curvature[lane], u[j, lane], third[lane] * w[j, lane])
    correlate(problem.covariance, mixed, scratch.spare, out)


@implements(noise, GaussianParameters)
def _(problem, w, streams, scratch, out):
    d = w.shape[0]
    xi, image = scratch.normals, scratch.image
    q, c, inner, inner_star = scratch.q, scratch.c, scratch.inner, scratch.star
    normals(streams, xi)
    color(problem.covariance, xi[:d], scratch.spare)
    correlate(problem.covariance, w, scratch.spare, image)
    dot(w, image, q)
    project(problem.image, w, c)
    dot(w, xi[:d], inner)
    project(problem.coef, xi[:d], inner_star)
    for lane in range(q.size):
        level, star, own = noise_weights(
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
        out[lane] = centred_logistic(out[lane]) - problem.labels[i]


@implements(add_gradient, RowParameters)
def _(problem, w, streams, scratch, out):
    d, lanes = w.shape
    drawn = scratch.drawn
    row_numbers(streams, problem.labels.size, drawn)
    for lane in range(lanes):
        i = int(drawn[lane])
        s = 0.0
        for j in range(d):
            s = fma(problem.rows[i, j], w[j, lane], s)
        residual = centred_logistic(s) - problem.labels[i]
        for j in range(d):
            out[j, lane] = fma(problem.rows[i, j], residual, out[j, lane])


@implements(drift, RowParameters)
def _(problem, w, scratch, out):
    residual = scratch.residual
    share = 1.0 / problem.labels.size
    out[:] = 0.0
    for i in range(problem.labels.size):
        row_residual(problem, i, w, residual)
        for lane in range(residual.size):
            residual[lane] *= share
        add_row(problem.rows[i], residual, out)


@implements(hessian_product, RowParameters)
def _(problem, w, u, scratch, out):
    s, product = scratch.level, scratch.slope
    share = 1.0 / problem.labels.size
    out[:] = 0.0
    for i in range(problem.labels.size):
        row_dot(problem.rows[i], w, s)
        row_dot(problem.rows[i], u, product)
        for lane in range(s.size):
            odd = centred_logistic(s[lane])
            product[lane] *= share * (0.25 - odd * odd)
        add_row(problem.rows[i], product, out)


@implements(noise, RowParameters)
def _(problem, w, streams, scratch, out):
    residual_noise(problem, w, streams, scratch, out)
