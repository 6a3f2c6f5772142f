"""Expectations of online PCA over a Gaussian W: sums of products of vectors, each matrix passed through once."""

from __future__ import annotations

from typing import NamedTuple

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel

_TILE = 32  # rows and columns worked on at once where a matrix meets its transpose


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
    """A, Cov W, ``A E WW'``, and A times the transpose of that."""

    population: Floats
    covariance: Floats
    moved: Floats
    turned: Floats


@Kernel
def hessian_means(mean: Floats, rate: Rate, shift: float, spread: Floats, matrices: Matrices, out: Floats) -> None:
    """``r I + m s' + scale spread' - shift Cov W - A``, spread being ``A Cov W``."""
    r, slope, scale, _ = rate
    population, covariance = matrices.population, matrices.covariance
    d = mean.size
    for top in range(0, d, _TILE):
        for left in range(0, d, _TILE):
            for i in range(top, min(top + _TILE, d)):
                for j in range(left, min(left + _TILE, d)):
                    bent = scale * spread[j, i] - shift * covariance[i, j]
                    out[i, j] = mean[i] * slope[j] + bent - population[i, j]
    for i in range(d):
        out[i, i] += r


@Kernel
def noise_means(rate: Rate, vectors: Vectors, trace: float, matrices: Matrices, out: Floats) -> None:
    """``q A + A M A - 2 (X + X') + 2 r^2 M + 4 r (m c' + c m') + 2 (s'c) mm'``, ``X = Am c' + Ac m' + r A M``."""
    r, slope = rate.value, rate.slope
    mean, along, image, along_image = vectors
    population, covariance, moved, turned = matrices
    d = mean.size
    bend = 0.0
    for j in range(d):
        bend += slope[j] * along[j]
    for top in range(0, d, _TILE):
        for left in range(0, d, _TILE):
            for i in range(top, min(top + _TILE, d)):
                for j in range(left, min(left + _TILE, d)):
                    cross = image[i] * along[j] + image[j] * along[i] + r * (moved[i, j] + moved[j, i])
                    cross += along_image[i] * mean[j] + along_image[j] * mean[i]
                    own, mixed = mean[i] * mean[j], mean[i] * along[j] + mean[j] * along[i]
                    last = r * r * (own + covariance[i, j]) + 2.0 * r * mixed + bend * own
                    out[i, j] = trace * population[i, j] + turned[i, j] - 2.0 * cross + 2.0 * last
