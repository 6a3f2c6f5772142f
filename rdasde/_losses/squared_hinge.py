"""The squared hinge loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import implements
from rdasde._losses.base import GaussianMeans, Loss, derivative, second_derivative
from rdasde._normal import positive_part


class SquaredHingeParameters(NamedTuple):
    unused: float


@implements(derivative, SquaredHingeParameters)
def _(loss, eta, y):
    side = 2.0 * y - 1.0
    missing = 1.0 - side * eta
    return 0.0 if missing <= 0.0 else -side * missing


@implements(second_derivative, SquaredHingeParameters)
def _(loss, eta, y):
    return 1.0 if (2.0 * y - 1.0) * eta < 1.0 else 0.0


class SquaredHingeLoss(Loss):
    """``l(eta, y) = max(1 - s eta, 0)^2 / 2``, ``s = 2 y - 1``, y in {0, 1}: a support vector machine's, squared."""

    response = "label"
    is_bent = True
    largest_curvature = 1.0
    parameters = SquaredHingeParameters(0.0)

    def gaussian_means(self, mean: Floats, std: Floats, y: Floats) -> GaussianMeans:
        side = 2.0 * y - 1.0
        missing = positive_part(1.0 - side * mean, std)
        return GaussianMeans(-side * missing.mean, missing.probability, missing.variance + missing.mean**2)

    def mean_response(self, eta: Floats) -> Floats:
        """The label that eta speaks for, 0 or 1."""
        return np.asarray(np.where(eta > 0.0, 1.0, 0.0))
