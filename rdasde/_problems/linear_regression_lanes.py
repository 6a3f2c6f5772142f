"""Linear regression in lanes: what the compiled loops call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements, one_row
from rdasde._compiled.lanes import LANES, multiply, row_dot
from rdasde._compiled.random import normals, row_numbers
from rdasde._compiled.scratch import ROW, Layout, even
from rdasde._problems.base import add_gradient, drift, hessian_along, hessian_product, noise, noise_along
from rdasde._problems.covariance import SPARE, color, correlate
from rdasde._problems.rows import residual_noise, row_residual


class GaussianParameters(NamedTuple):
    coef: Floats
    target: Floats  # H coef
    noise_std: float
    covariance: NamedTuple


class GaussianScratch(NamedTuple):
    normals: Floats  # (d + 1 made even, lanes)
    level: Floats  # (lanes,)
    spare: Floats  # (SPARE, lanes)


def gaussian_layout(dimension: int) -> Layout:
    """The scratch of a problem of this dimension on a Gaussian design."""
    return Layout(GaussianScratch, normals=even(dimension + 1), level=ROW, spare=SPARE)


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
    x, residual = scratch.normals, scratch.level
    normals(streams, x)
    for lane in range(residual.size):
        residual[lane] = -problem.noise_std * x[d, lane]
    color(problem.covariance, x[:d], scratch.spare)
    _residual(x, w, problem.coef, residual)
    for j in range(d):
        for lane in range(residual.size):
            out[j, lane] = fma(x[j, lane], residual[lane], out[j, lane])


@implements(drift, GaussianParameters)
def _(problem, w, scratch, out):
    correlate(problem.covariance, w, scratch.spare, out)
    flat, lanes = one_row(out), np.uint64(LANES)
    for j in range(w.shape[0]):
        target, row = problem.target[j], np.uint64(j) * lanes
        for lane in range(lanes):
            flat[row + lane] -= target


@implements(hessian_product, GaussianParameters)
def _(problem, w, u, scratch, out):
    correlate(problem.covariance, u, scratch.spare, out)


@implements(noise, GaussianParameters)
def _(problem, w, streams, scratch, out):
    # sqrt(e'He + noise_std^2) L xi + (He) eta
    d = w.shape[0]
    xi, level = scratch.normals, scratch.level
    normals(streams, xi)
    drift(problem, w, scratch, out)
    for lane in range(level.size):
        level[lane] = problem.noise_std * problem.noise_std
    _residual(out, w, problem.coef, level)
    color(problem.covariance, xi[:d], scratch.spare)
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
    xi = scratch.normals
    normals(streams, xi)
    color(along.covariance, xi[:d], scratch.spare)
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
def _(along, k, spare, u, scratch, out):
    correlate(along.covariance, u, scratch.spare, out)


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
    drawn = scratch.drawn
    row_numbers(streams, n, drawn)
    for lane in range(lanes):
        i = int(drawn[lane])
        residual = -problem.response[i]
        for j in range(d):
            residual = fma(problem.rows[i, j], w[j, lane], residual)
        for j in range(d):
            out[j, lane] = fma(problem.rows[i, j], residual, out[j, lane])


@implements(drift, RowParameters)
def _(problem, w, scratch, out):
    multiply(problem.gram, w, out)
    for j in range(w.shape[0]):
        target = problem.target[j]
        for lane in range(w.shape[1]):
            out[j, lane] -= target


@implements(hessian_product, RowParameters)
def _(problem, w, u, scratch, out):
    multiply(problem.gram, u, out)


@implements(noise, RowParameters)
def _(problem, w, streams, scratch, out):
    residual_noise(problem, w, streams, scratch, out)
