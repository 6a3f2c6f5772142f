"""The elastic net: the soft-threshold, then a shrinkage."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import implements
from rdasde._regularizers.base import Fluctuation, GaussianMoments, NDArrayBool, Regularizer, checked_state, mirror
from rdasde._regularizers.l1 import soft_threshold_moments


class ElasticNetParameters(NamedTuple):
    l2: float


@implements(mirror, ElasticNetParameters)
def _(regularizer, v, threshold, w):
    shrink = 1.0 + threshold * regularizer.l2
    for j in range(v.shape[0]):
        for lane in range(v.shape[1]):
            excess = abs(v[j, lane]) - threshold
            w[j, lane] = np.copysign(0.0 if excess <= 0.0 else excess / shrink, v[j, lane])


class ElasticNet(Regularizer):
    """``P(w) = sum_j |w_j| + l2/2 sum_j w_j^2`` (Zou & Hastie 2005).

    ``prox(v, g)_j = sign(v_j) max(|v_j| - g, 0) / (1 + g l2)``.

    Parameters
    ----------
    l2 : float
        Nonnegative weight of the squared norm; 0 gives `L1`.

    Raises
    ------
    ValueError, TypeError
        If `l2` is negative or not one finite number.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.ElasticNet(l2=1.0).prox([3.0, 0.5, -2.0], 1.0)
    array([ 1. ,  0. , -0.5])
    """

    has_constant_slope = True
    has_fluctuation = True

    def __init__(self, l2: float) -> None:
        self.l2 = _check.number("l2", l2, least=0.0, mend="give the weight of the squared norm, for example l2=0.1")
        self.parameters: ElasticNetParameters = ElasticNetParameters(self.l2)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        v, g = checked_state(v, threshold)
        excess = np.abs(v) - g
        return np.copysign(np.where(excess <= 0.0, 0.0, excess / (1.0 + g * self.l2)), v)

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        g = np.asarray(threshold, dtype=np.float64)
        return np.where(np.abs(np.asarray(v)) > g, 1.0 / (1.0 + g * self.l2), 0.0)

    def subgradient(self, w: Floats) -> Floats:
        return np.sign(w) + self.l2 * w

    def kink_weights(self, dimension: int) -> Floats | None:
        return np.ones(dimension)

    def dead_zone(self, threshold: Floats) -> tuple[Floats, Floats] | None:
        return -threshold, threshold

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: ArrayLike) -> GaussianMoments:
        shrink = 1.0 / (1.0 + np.asarray(threshold) * self.l2)
        soft = soft_threshold_moments(mean, std, np.asarray(threshold))
        return GaussianMoments(
            shrink * soft.mean, shrink**2 * soft.variance, shrink * soft.slope, shrink * soft.curvature, soft.zero
        )

    def fluctuation(self, flow: Floats, zero: NDArrayBool, tuning: Floats) -> Fluctuation:
        # theory, section 2b: where w_j = 0 the shrinkage is of higher order
        reach = np.broadcast_to(tuning[:, None], flow.shape)
        shift = reach * (np.sign(flow) + self.l2 * flow)
        return Fluctuation(np.ones_like(flow), np.where(zero, 0.0, shift), np.where(zero, reach, 0.0))

    def settings(self) -> dict[str, Any]:
        return {"l2": self.l2}

    def __repr__(self) -> str:
        return f"ElasticNet(l2={self.l2:g})"
