"""The check loss of quantile regression."""

from __future__ import annotations

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._losses.base import GaussianMeans, Loss
from rdasde._losses.formulas import DENSITY, QUANTILE, SMOOTHED_QUANTILE, LossParameters
from rdasde._normal import normal_cdf, normal_density, standardized


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

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.QuantileLoss(0.9).derivative([-1.0, 1.0], 0.0).round(2)  # too low weighs nine times as much
    array([-0.9,  0.1])
    >>> rs.QuantileLoss(0.9, bandwidth=0.5).derivative([-1.0, 1.0], 0.0).round(2)
    array([-0.88,  0.08])
    """

    is_shift = True

    def __init__(self, level: float, bandwidth: float | None = None) -> None:
        self.level = _check.level(level)
        self.bandwidth = None
        self.is_smooth = bandwidth is not None
        self.parameters = LossParameters(QUANTILE, self.level)
        self.kinks = (0.0,) if bandwidth is None else ()
        if bandwidth is not None:
            self.bandwidth = _check.number("bandwidth", bandwidth, above=0.0, mend="leave it out for the loss itself")
            self.width = self.bandwidth
            self.largest_curvature = DENSITY / self.bandwidth
            self.parameters = LossParameters(SMOOTHED_QUANTILE, self.level, self.bandwidth)

    def gaussian_means(self, mean: Floats, std: Floats, y: Floats) -> GaussianMeans:
        """By the normal distribution function, of two variables where the loss is smoothed (Owen 1956)."""
        from scipy.special import owens_t

        bandwidth = self.bandwidth or 0.0
        width = np.sqrt(std**2 + bandwidth**2)
        place = standardized(mean - y, width)
        above = np.where(width > 0.0, normal_cdf(place), mean > y)
        second = np.where(width > 0.0, normal_density(place) / np.where(width > 0.0, width, 1.0), 0.0)
        both = above
        if bandwidth > 0.0:
            both = above - 2.0 * owens_t(place, bandwidth / np.sqrt(bandwidth**2 + 2.0 * std**2))
        return GaussianMeans(above - self.level, second, both - 2.0 * self.level * above + self.level**2)

    def __repr__(self) -> str:
        smoothing = "" if self.bandwidth is None else f", bandwidth={self.bandwidth:g}"
        return f"QuantileLoss({self.level:g}{smoothing})"
