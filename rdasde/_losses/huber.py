"""Huber's loss."""

from __future__ import annotations

import functools

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._compiled.normal import cdf, density, standardized
from rdasde._losses.base import GaussianMeans, Loss
from rdasde._losses.formulas import HUBER, LossParameters


@functools.cache
def _rule() -> tuple[Floats, Floats]:
    """Gauss's rule on [-1, 1]."""
    return np.polynomial.legendre.leggauss(16)


@Kernel
def _huber_means(
    delta: float, rule: tuple[Floats, Floats], mean: Floats, std: Floats, y: Floats, first: Floats, rest: Floats
) -> None:
    """``E l'`` into `first`, ``E l''`` and ``E l'^2`` into the rows of `rest`."""
    nodes, weights = rule
    for i in range(mean.size):
        residual, s = mean[i] - y[i], std[i]
        low, high = standardized(-delta - residual, s), standardized(delta - residual, s)
        below, above = cdf(low), cdf(-high)
        inside, linear, square = 0.0, 0.0, 0.0
        if s > delta:
            for k in range(nodes.size):
                weight = weights[k] * density((delta * nodes[k] - residual) / s) * delta / s
                inside += weight
                linear += weight * delta * nodes[k]
                square += weight * (delta * nodes[k]) ** 2
        else:
            at_low, at_high = density(low), density(high)
            cut, moved = at_low - at_high, s * (low * at_low - high * at_high)
            inside = cdf(high) - below if s > 0.0 else (1.0 if abs(residual) <= delta else 0.0)
            linear = residual * inside + s * cut
            square = (residual * residual + s * s) * inside + s * (2.0 * residual * cut + moved)
        first[i] = delta * (above - below) + linear
        rest[0, i] = inside
        rest[1, i] = delta * delta * (above + below) + square


class HuberLoss(Loss):
    """``l(eta, y) = r^2 / 2`` where ``|r| <= delta``, ``delta |r| - delta^2 / 2`` beyond, ``r = y - eta``.

    Parameters
    ----------
    delta : float
        Where it turns linear, in units of y. The default is 95 % efficient for normal residuals of standard deviation
        1 (Huber 1964).

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.HuberLoss(delta=1.345).derivative([0.5, 10.0], 0.0)  # of an outlier no more than delta
    array([0.5  , 1.345])
    """

    is_shift = True
    is_bent = True
    largest_curvature = 1.0

    def __init__(self, delta: float = 1.345) -> None:
        self.delta = _check.number("delta", delta, above=0.0, mend="give for example delta=1.345")
        self.kinks, self.width = (-self.delta, self.delta), self.delta
        self.parameters = LossParameters(HUBER, self.delta)

    def gaussian_means(self, mean: Floats, std: Floats, y: Floats) -> GaussianMeans:
        """By the moments of a normal residual that is cut off at ``-delta`` and ``delta``.

        Where it is wider than delta they would be differences of numbers that are nearly equal: Gauss's rule then.
        """
        first, rest = np.empty_like(mean), np.empty((2, *mean.shape))
        _huber_means(self.delta, _rule(), mean, std, y, first, rest)
        return GaussianMeans(first, rest[0], rest[1])

    def __repr__(self) -> str:
        return f"HuberLoss(delta={self.delta:g})"
