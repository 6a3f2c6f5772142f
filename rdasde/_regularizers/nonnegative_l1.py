"""The l1 penalty on the nonnegative orthant: the one-sided soft-threshold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde._check import Floats
from rdasde._compiled.jit import implements
from rdasde._normal import normal_cdf, positive_part, standardized
from rdasde._regularizers.base import GaussianMoments, Regularizer, checked_state, mirror


class NonNegativeL1Parameters(NamedTuple):
    unused: float


@implements(mirror, NonNegativeL1Parameters)
def _(regularizer, v, threshold, w):
    for j in range(v.shape[0]):
        for lane in range(v.shape[1]):
            excess = v[j, lane] - threshold
            # not max(excess, 0): a NaN must stay one
            w[j, lane] = 0.0 if excess <= 0.0 else excess


class NonNegativeL1(Regularizer):
    """``P(w) = sum_j w_j`` where all ``w_j >= 0``, and infinite elsewhere.

    ``prox(v, g)_j = max(v_j - g, 0)``; without a threshold it still projects.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.NonNegativeL1().prox([2.0, 0.3, -1.5], 0.5)
    array([1.5, 0. , 0. ])
    """

    identity_at_zero = False
    slope_is_indicator = True
    parameters: NonNegativeL1Parameters = NonNegativeL1Parameters(0.0)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        v, threshold = checked_state(v, threshold)
        excess = v - threshold
        return np.where(excess <= 0.0, 0.0, excess)

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        return np.where(np.asarray(v) > np.asarray(threshold), 1.0, 0.0)

    def subgradient(self, w: Floats) -> Floats:
        return np.sign(w)

    def dead_zone(self, threshold: Floats) -> tuple[Floats, Floats] | None:
        return np.full_like(threshold, -np.inf), threshold

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: ArrayLike) -> GaussianMoments:
        g = np.asarray(threshold, dtype=np.float64)
        part = positive_part(mean - g, std)
        zero = normal_cdf(standardized(g - mean, std))
        zero = np.where((std <= 0.0) & (mean <= g), 1.0, zero)
        return GaussianMoments(part.mean, part.variance, part.probability, part.density, zero)

    def __repr__(self) -> str:
        return "NonNegativeL1()"
