"""A loss of a linear predictor on a Gaussian design, in lanes: what the compiled loops call."""

from __future__ import annotations

from typing import NamedTuple

from rdasde._check import Floats
from rdasde._compiled.jit import fma, implements
from rdasde._compiled.lanes import dot, project
from rdasde._compiled.random import normals
from rdasde._compiled.scratch import ROW, Layout, even
from rdasde._losses.base import derivative
from rdasde._problems.base import add_gradient, drift, hessian_product, noise
from rdasde._problems.covariance import SPARE, color, correlate
from rdasde._problems.design_means import bend, pull, scatter
from rdasde._problems.logistic_means import factored
from rdasde._problems.responses import respond


class DesignParameters(NamedTuple):
    coef: Floats
    image: Floats  # H coef
    variance: float  # coef'H coef
    covariance: NamedTuple
    loss: NamedTuple
    responses: NamedTuple
    law: NamedTuple


class DesignScratch(NamedTuple):
    normals: Floats  # (d + 1 made even, lanes)
    image: Floats  # (d, lanes)
    spare: Floats  # (SPARE, lanes)
    residual: Floats  # (lanes,), as all below
    star: Floats
    uniform: Floats
    q: Floats
    c: Floats
    inner: Floats


def design_layout(dimension: int) -> Layout:
    """The scratch of a problem of this dimension."""
    rows = dict.fromkeys(("residual", "star", "uniform", "q", "c", "inner"), ROW)
    return Layout(DesignScratch, normals=even(dimension + 1), image=dimension, spare=SPARE, **rows)


@implements(add_gradient, DesignParameters)
def _(problem, w, streams, scratch, out):
    # grad f = x l'(x'w, Y)
    d = w.shape[0]
    x, residual, star = scratch.normals, scratch.residual, scratch.star
    normals(streams, x)
    color(problem.covariance, x[:d], scratch.spare)
    dot(x[:d], w, residual)
    project(problem.coef, x[:d], star)
    respond(problem.responses, x[d], streams, scratch.uniform, star)
    for lane in range(residual.size):
        residual[lane] = derivative(problem.loss, residual[lane], star[lane])
    for j in range(d):
        for lane in range(residual.size):
            out[j, lane] = fma(x[j, lane], residual[lane], out[j, lane])


@implements(drift, DesignParameters)
def _(problem, w, scratch, out):
    # A H w + A* H coef
    q, c = scratch.q, scratch.c
    correlate(problem.covariance, w, scratch.spare, out)
    dot(w, out, q)
    project(problem.image, w, c)
    for lane in range(q.size):
        q[lane], c[lane] = pull(problem.law, max(q[lane], 0.0), c[lane], problem.variance)
    for j in range(w.shape[0]):
        target = problem.image[j]
        for lane in range(q.size):
            out[j, lane] = fma(q[lane], out[j, lane], c[lane] * target)


@implements(hessian_product, DesignParameters)
def _(problem, w, u, scratch, out):
    # a H u + B K B'u = H (a u + x w + y coef)
    q, c, along, along_star, mixed = scratch.q, scratch.c, scratch.inner, scratch.star, scratch.image
    correlate(problem.covariance, w, scratch.spare, out)
    dot(w, out, q)
    project(problem.image, w, c)
    dot(u, out, along)
    project(problem.image, u, along_star)
    for lane in range(q.size):
        level, star, cross, own = bend(problem.law, max(q[lane], 0.0), c[lane], problem.variance)
        q[lane] = level
        c[lane] = fma(star, along_star[lane], cross * along[lane])
        along[lane] = fma(own, along[lane], cross * along_star[lane])
    for j in range(w.shape[0]):
        target = problem.coef[j]
        for lane in range(q.size):
            pulled = fma(along[lane], w[j, lane], c[lane] * target)
            mixed[j, lane] = fma(q[lane], u[j, lane], pulled)
    correlate(problem.covariance, mixed, scratch.spare, out)


@implements(noise, DesignParameters)
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
        own, star = max(q[lane], 0.0), problem.variance
        moments = scatter(problem.law, own, c[lane], star)
        q[lane], inner_star[lane], inner[lane] = factored(moments, own, c[lane], star, inner[lane], inner_star[lane])
    for j in range(d):
        target = problem.image[j]
        for lane in range(q.size):
            along = fma(inner[lane], image[j, lane], inner_star[lane] * target)
            out[j, lane] = fma(q[lane], xi[j, lane], along)
