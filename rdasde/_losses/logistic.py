"""The logistic loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import compilable, implements
from rdasde._losses.base import Loss, derivative, second_derivative


class LogisticParameters(NamedTuple):
    unused: float


@compilable
def logistic(score):
    """``p = 1 / (1 + exp(-score))`` and its derivative.

    Not by the odd function ``p - 1/2`` that quadrature and samples of `LogisticRegression` are made of: ``1/2 + t``
    has lost all digits of a small p, and its derivative ``1/4 - t^2`` with it, which here must stay positive: its root
    is taken. (Arrays outside compiled code go through SciPy's `expit`.)
    """
    tail = np.exp(-abs(score))
    small = tail / (1.0 + tail)
    return (1.0 - small if score > 0.0 else small), small * (1.0 - small)


@implements(derivative, LogisticParameters)
def _(loss, eta, y):
    return logistic(eta)[0] - y


@implements(second_derivative, LogisticParameters)
def _(loss, eta, y):
    return logistic(eta)[1]


class LogisticLoss(Loss):
    """``l(eta, y) = log(1 + e^eta) - y eta``, y in {0, 1}: logistic regression, ``P(Y = 1) = 1 / (1 + e^-eta)``."""

    is_likelihood = True
    response = "label"
    largest_curvature = 0.25
    parameters = LogisticParameters(0.0)

    def mean_response(self, eta: Floats) -> Floats:
        """``P(Y = 1)``."""
        from scipy.special import expit

        return np.asarray(expit(eta))
