"""No regularizer: the mirror map is the identity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import implements
from rdasde._regularizers.base import Fluctuation, GaussianMoments, NDArrayBool, Regularizer, mirror


class UnregularizedParameters(NamedTuple):
    unused: float


@implements(mirror, UnregularizedParameters)
def _(regularizer, v, threshold, w):
    for j in range(v.shape[0]):
        for lane in range(v.shape[1]):
            w[j, lane] = v[j, lane]


class Unregularized(Regularizer):
    """No regularizer: the mirror map is the identity, the algorithm is SGD."""

    needs_schedule = False
    is_identity = True
    slope_is_indicator = True
    has_constant_slope = True
    has_fluctuation = True
    parameters: UnregularizedParameters = UnregularizedParameters(0.0)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        return np.array(_check.reals("v", v))

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        return np.ones(np.shape(v))

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: ArrayLike) -> GaussianMoments:
        nothing = np.zeros_like(mean)
        zero = np.where((mean == 0.0) & (std <= 0.0), 1.0, 0.0)  # as at a start
        return GaussianMoments(mean, std**2, np.ones_like(mean), nothing, zero)

    def fluctuation(self, flow: Floats, zero: NDArrayBool, tuning: Floats) -> Fluctuation:
        nothing = np.zeros_like(flow)
        return Fluctuation(np.ones_like(flow), nothing, nothing)

    def __repr__(self) -> str:
        return "None"
