"""Expectations of online PCA over a Gaussian W: sums of products of vectors, each matrix passed through once."""

from __future__ import annotations

from typing import NamedTuple

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel


class Rate(NamedTuple):
    """The mean of ``q / N``."""

    value: float
    slope: Floats  # its gradient at the mean of W
    scale: float  # of its second derivative
    norm: float  # E N


class Vectors(NamedTuple):
    """The mean m of W, ``c = Cov(W) s``, and both through A."""

    mean: Floats
    along: Floats
    image: Floats
    along_image: Floats


class Matrices(NamedTuple):
    """A, Cov W, ``A Cov W`` and its transpose: what is read is a row of each."""

    population: Floats
    covariance: Floats
    spread: Floats
    back: Floats


@Kernel
def hessian_means(
    rate: Rate, shift: float, vectors: Vectors, matrices: Matrices, hessian: Floats, cross: Floats
) -> None:
    """``E H = r I + m s' + scale spread' - shift Cov W - A``, spread being ``A Cov W``, and ``Cov(W) E H'``.

    The latter without the second derivative of q / N, which is of the order of Cov W.
    """
    r, slope, scale, _ = rate
    population, covariance, _, back = matrices
    mean, along = vectors.mean, vectors.along
    d = mean.size
    for i in range(d):
        m, c = mean[i], along[i]
        for j in range(d):
            hessian[i, j] = m * slope[j] + scale * back[i, j] - shift * covariance[i, j] - population[i, j]
            cross[i, j] = r * covariance[i, j] + c * mean[j] - back[i, j]
        hessian[i, i] += r


@Kernel
def noise_means(rate: Rate, vectors: Vectors, trace: float, matrices: Matrices, turned: Floats, out: Floats) -> None:
    """``q A + A M A - 2 (X + X') + 2 r^2 M + 4 r (m c' + c m') + 2 (s'c) mm'``, ``X = Am c' + Ac m' + r A M``.

    `turned` is ``A Cov(W) A``.
    """
    r, slope = rate.value, rate.slope
    mean, along, image, along_image = vectors
    population, covariance, spread, back = matrices
    d = mean.size
    bend = 0.0
    for j in range(d):
        bend += slope[j] * along[j]
    for i in range(d):
        m, c, a, b = mean[i], along[i], image[i], along_image[i]
        for j in range(d):
            moved = a * mean[j] + m * image[j] + spread[i, j] + back[i, j]
            cross = a * along[j] + c * image[j] + b * mean[j] + m * along_image[j] + r * moved
            own = m * mean[j]
            last = r * r * (own + covariance[i, j]) + 2.0 * r * (m * along[j] + c * mean[j]) + bend * own
            out[i, j] = trace * population[i, j] + a * image[j] + turned[i, j] - 2.0 * cross + 2.0 * last
