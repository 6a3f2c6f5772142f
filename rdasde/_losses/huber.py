"""Huber's loss."""

from __future__ import annotations

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._losses.base import GaussianMeans, Loss
from rdasde._losses.formulas import HUBER, LossParameters
from rdasde._normal import normal_cdf, normal_density, standardized


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
        delta, residual = self.delta, mean - y
        low, high = standardized(-delta - residual, std), standardized(delta - residual, std)
        below, above, density_low, density_high = *map(normal_cdf, (low, -high)), *map(normal_density, (low, high))
        inside = np.where(std > 0.0, normal_cdf(high) - below, np.abs(residual) <= delta)
        cut, moved = density_low - density_high, std * (low * density_low - high * density_high)
        linear = residual * inside + std * cut
        square = (residual**2 + std**2) * inside + std * (2.0 * residual * cut + moved)
        wide = std > delta
        if wide.any():
            nodes, weights = np.polynomial.legendre.leggauss(16)
            scale = std[wide, None]
            density = weights * normal_density((delta * nodes - residual[wide, None]) / scale) * delta / scale
            inside[wide], linear[wide], square[wide] = (density @ (delta * nodes) ** power for power in range(3))
        return GaussianMeans(delta * (above - below) + linear, inside, delta**2 * (above + below) + square)

    def __repr__(self) -> str:
        return f"HuberLoss(delta={self.delta:g})"
