"""The squared loss."""

from __future__ import annotations

import numpy as np

from rdasde._check import Floats
from rdasde._losses.base import GaussianMeans, Loss
from rdasde._losses.formulas import SQUARED, LossParameters


class SquaredLoss(Loss):
    """``l(eta, y) = (y - eta)^2 / 2``: least squares.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.SquaredLoss().derivative([1.0, 3.0], 2.0)
    array([-1.,  1.])
    """

    is_quadratic = True
    is_shift = True
    largest_curvature = 1.0
    parameters = LossParameters(SQUARED)

    def gaussian_means(self, mean: Floats, std: Floats, y: Floats) -> GaussianMeans:
        residual = mean - y
        return GaussianMeans(residual, np.ones_like(mean), residual**2 + std**2)
