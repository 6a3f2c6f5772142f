"""The squared hinge loss."""

from __future__ import annotations

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._compiled.normal import positive_part
from rdasde._losses.base import GaussianMeans, Loss
from rdasde._losses.formulas import SQUARED_HINGE, LossParameters


@Kernel
def _hinge_means(mean: Floats, std: Floats, y: Floats, first: Floats, rest: Floats) -> None:
    """``E l'`` into `first`, ``E l''`` and ``E l'^2`` into the rows of `rest`."""
    for i in range(mean.size):
        side = 2.0 * y[i] - 1.0
        missing, variance, probability, _ = positive_part(1.0 - side * mean[i], std[i])
        first[i] = -side * missing
        rest[0, i] = probability
        rest[1, i] = variance + missing * missing


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
        first, rest = np.empty_like(mean), np.empty((2, *mean.shape))
        _hinge_means(mean, std, y, first, rest)
        return GaussianMeans(first, rest[0], rest[1])

    def mean_response(self, eta: Floats) -> Floats:
        """The label that eta speaks for, 0 or 1."""
        return np.asarray(np.where(_check.reals("eta", eta) > 0.0, 1.0, 0.0))
