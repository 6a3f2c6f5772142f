"""The logistic loss."""

from __future__ import annotations

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._losses.base import Loss
from rdasde._losses.formulas import LOGISTIC, LossParameters
from rdasde._losses.formulas import logistic as logistic


class LogisticLoss(Loss):
    """``l(eta, y) = log(1 + e^eta) - y eta``, y in {0, 1}: logistic regression, ``P(Y = 1) = 1 / (1 + e^-eta)``.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> rs.LogisticLoss().derivative(0.0, [0.0, 1.0])
    array([ 0.5, -0.5])
    >>> rs.LogisticLoss().mean_response(np.array([-2.0, 0.0, 2.0])).round(2)
    array([0.12, 0.5 , 0.88])
    """

    is_likelihood = True
    response = "label"
    largest_curvature = 0.25
    parameters = LossParameters(LOGISTIC)

    def mean_response(self, eta: Floats) -> Floats:
        """``P(Y = 1)``."""
        from scipy.special import expit

        return np.asarray(expit(_check.reals("eta", eta)))
