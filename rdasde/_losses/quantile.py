"""The check loss of quantile regression."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rdasde import _check
from rdasde._compiled.jit import implements
from rdasde._losses.base import Loss, derivative, second_derivative

_DENSITY = float(1.0 / np.sqrt(2.0 * np.pi))
_HALF = float(np.sqrt(0.5))


class QuantileParameters(NamedTuple):
    level: float


class SmoothedParameters(NamedTuple):
    level: float
    bandwidth: float


@implements(derivative, QuantileParameters)
def _(loss, eta, y):
    residual = y - eta
    # a NaN stays one
    return (0.0 if residual >= 0.0 else 1.0 if residual < 0.0 else residual) - loss.level


@implements(second_derivative, QuantileParameters)
def _(loss, eta, y):
    return 0.0


@implements(derivative, SmoothedParameters)
def _(loss, eta, y):
    return 0.5 * math.erfc(_HALF * (y - eta) / loss.bandwidth) - loss.level


@implements(second_derivative, SmoothedParameters)
def _(loss, eta, y):
    z = (eta - y) / loss.bandwidth
    return _DENSITY / loss.bandwidth * np.exp(-0.5 * z * z)


class QuantileLoss(Loss):
    """``l(eta, y) = (y - eta) (level - 1{y < eta})``: the check loss, whose minimizer is a conditional quantile.

    Parameters
    ----------
    level : float
        Which quantile, between 0 and 1: .5 for the median.
    bandwidth : float, optional
        Of convolution smoothing with a Gaussian kernel, in units of y: ``l' = Phi((eta - y) / bandwidth) - level``.
        Without, the loss itself, whose derivative jumps.

    References
    ----------
    Koenker & Bassett, Econometrica 46, 1978. Fernandes, Guerre & Horta, J. Business & Economic Statistics 39, 2021
    (convolution smoothing).
    """

    def __init__(self, level: float, bandwidth: float | None = None) -> None:
        self.level = _check.level(level)
        self.bandwidth = None
        self.is_smooth = bandwidth is not None
        self.parameters: NamedTuple = QuantileParameters(self.level)
        if bandwidth is not None:
            self.bandwidth = _check.number("bandwidth", bandwidth, above=0.0, mend="leave it out for the loss itself")
            self.largest_curvature = _DENSITY / self.bandwidth
            self.parameters = SmoothedParameters(self.level, self.bandwidth)

    def __repr__(self) -> str:
        smoothing = "" if self.bandwidth is None else f", bandwidth={self.bandwidth:g}"
        return f"QuantileLoss({self.level:g}{smoothing})"
