"""The squared loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import implements
from rdasde._losses.base import GaussianMeans, Loss, derivative, second_derivative


class SquaredParameters(NamedTuple):
    unused: float


@implements(derivative, SquaredParameters)
def _(loss, eta, y):
    return eta - y


@implements(second_derivative, SquaredParameters)
def _(loss, eta, y):
    return 1.0


class SquaredLoss(Loss):
    """``l(eta, y) = (y - eta)^2 / 2``: least squares."""

    is_quadratic = True
    is_shift = True
    largest_curvature = 1.0
    parameters = SquaredParameters(0.0)

    def gaussian_means(self, mean: Floats, std: Floats, y: Floats) -> GaussianMeans:
        residual = mean - y
        return GaussianMeans(residual, np.ones_like(mean), residual**2 + std**2)
