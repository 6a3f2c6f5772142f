"""The Poisson loss."""

from __future__ import annotations

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._losses.base import GaussianMeans, Loss
from rdasde._losses.formulas import POISSON, LossParameters


class PoissonLoss(Loss):
    """``l(eta, y) = e^eta - y eta``, y in {0, 1, 2, ...}: Poisson regression with the logarithmic link.

    Its curvature ``e^eta`` has no bound: steps must be small where the mean count is large.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> rs.PoissonLoss().derivative(0.0, [0.0, 3.0])
    array([ 1., -2.])
    >>> rs.PoissonLoss().mean_response(np.array([0.0, 1.0])).round(2)
    array([1.  , 2.72])
    """

    is_likelihood = True
    response = "count"
    parameters = LossParameters(POISSON)

    def gaussian_means(self, mean: Floats, std: Floats, y: Floats) -> GaussianMeans:
        count = np.exp(mean + 0.5 * std**2)
        return GaussianMeans(count - y, count, np.exp(2.0 * (mean + std**2)) - 2.0 * y * count + y**2)

    def mean_response(self, eta: Floats) -> Floats:
        """The mean count ``e^eta``."""
        return np.asarray(np.exp(_check.reals("eta", eta)))
