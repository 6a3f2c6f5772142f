"""The squared hinge loss."""

from __future__ import annotations

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._losses.base import GaussianMeans, Loss
from rdasde._losses.formulas import SQUARED_HINGE, LossParameters
from rdasde._normal import positive_part


class SquaredHingeLoss(Loss):
    """``l(eta, y) = max(1 - s eta, 0)^2 / 2``, ``s = 2 y - 1``, y in {0, 1}: a support vector machine's, squared.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.SquaredHingeLoss().derivative([0.5, 2.0], 1.0)  # beyond the margin nothing is to be gained
    array([-0.5,  0. ])
    """

    response = "label"
    is_bent = True
    largest_curvature = 1.0
    parameters = LossParameters(SQUARED_HINGE)

    def gaussian_means(self, mean: Floats, std: Floats, y: Floats) -> GaussianMeans:
        side = 2.0 * y - 1.0
        missing = positive_part(1.0 - side * mean, std)
        return GaussianMeans(-side * missing.mean, missing.probability, missing.variance + missing.mean**2)

    def mean_response(self, eta: Floats) -> Floats:
        """The label that eta speaks for, 0 or 1."""
        return np.asarray(np.where(_check.reals("eta", eta) > 0.0, 1.0, 0.0))
