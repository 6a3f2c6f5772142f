"""The l1 penalty: the soft-threshold."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, implements, one_row
from rdasde._compiled.normal import cdf, positive_part, standardized
from rdasde._regularizers.base import Fluctuation, GaussianMoments, NDArrayBool, Regularizer, checked_state, mirror


@Kernel
def _soft_threshold_moments(mean: Floats, std: Floats, threshold: Floats, out: Floats) -> None:
    """`soft_threshold_moments` of flat arrays into the rows of `out` (5, ...)."""
    for i in range(mean.size):
        m, s, g = mean[i], std[i], threshold[i]
        if np.isnan(m) or np.isnan(s):
            out[:, i] = np.nan
            continue
        right, right_variance, above, right_density = positive_part(m - g, s)
        left, left_variance, below, left_density = positive_part(-m - g, s)
        out[0, i] = right - left
        out[1, i] = right_variance + left_variance + 2.0 * right * left
        out[2, i] = above + below
        out[3, i] = right_density - left_density
        # both tails from the side where they are small: 1 - P(right) - P(left) would cancel
        far = abs(m)
        out[4, i] = cdf(standardized(g - far, s)) - cdf(standardized(-g - far, s))
        if s <= 0.0 and far <= g:
            out[4, i] = 1.0


def soft_threshold_moments(mean: Floats, std: Floats, threshold: Floats) -> GaussianMoments:
    """Of ``S(V, g) = max(V - g, 0) - max(-V - g, 0)``: never both parts at once (theory, section 4)."""
    shape = np.broadcast_shapes(np.shape(mean), np.shape(std), np.shape(threshold))
    flat = [np.broadcast_to(np.asarray(x, dtype=np.float64), shape).ravel() for x in (mean, std, threshold)]
    flat = [x if x.flags.writeable else x.copy() for x in flat]
    out = np.empty((5, flat[0].size))
    _soft_threshold_moments(flat[0], flat[1], flat[2], out)
    return GaussianMoments(*out.reshape(5, *shape))


class L1Parameters(NamedTuple):
    weights: Floats  # (1,): the same for every coordinate, or (d,)


@implements(mirror, L1Parameters)
def _(regularizer, v, threshold, w):
    weights = regularizer.weights
    # not max(excess, 0): a NaN must stay one
    if weights.size == 1:
        flat, flat_w = one_row(v), one_row(w)
        for i in range(flat.size):
            excess = abs(flat[i]) - threshold * weights[0]
            flat_w[i] = np.copysign(0.0 if excess <= 0.0 else excess, flat[i])
    else:
        for j in range(v.shape[0]):
            for lane in range(v.shape[1]):
                excess = abs(v[j, lane]) - threshold * weights[j]
                w[j, lane] = np.copysign(0.0 if excess <= 0.0 else excess, v[j, lane])


class L1(Regularizer):
    """``P(w) = sum_j weights_j |w_j|``, whose mirror map is the soft-threshold.

    ``prox(v, g)_j = sign(v_j) max(|v_j| - weights_j g, 0)``.

    Parameters
    ----------
    weights : array_like of shape (d,), optional
        Nonnegative; 0 leaves a coordinate unpenalized. All 1 when not given.

    Raises
    ------
    ValueError, TypeError
        If a weight is negative or not finite, or `weights` is not one-dimensional.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.L1().prox([2.0, 0.3, -1.5], 0.5)
    array([ 1.5,  0. , -1. ])
    >>> rs.L1(weights=[0.0, 1.0, 1.0]).prox([2.0, 0.3, -1.5], 0.5)
    array([ 2.,  0., -1.])
    """

    slope_is_indicator = True
    has_constant_slope = True
    has_fluctuation = True

    def __init__(self, weights: ArrayLike | None = None) -> None:
        if weights is None:
            self.weights: Floats | None = None
            self.parameters: L1Parameters = L1Parameters(np.ones(1))
            return
        own = _check.array("weights", weights, (None,), mend="give one weight >= 0 for each coordinate")
        if own.min() < 0.0:
            raise _check.bad(
                "weights", f"{own.min():g} somewhere", "numbers >= 0", "give 0 for an unpenalized coordinate"
            )
        self.weights, self.parameters = _check.sealed(own), L1Parameters(own)

    def check_dimension(self, dimension: int) -> None:
        if self.weights is not None and len(self.weights) != dimension:
            raise _check.bad(
                "weights of L1",
                f"of length {len(self.weights)}",
                f"of length {dimension}, the problem's dimension",
                "give one weight for each coordinate",
            )

    def span(self, least: int) -> int:
        return least if self.weights is None else len(self.weights)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        v, threshold = checked_state(v, threshold, None if self.weights is None else len(self.weights))
        excess = np.abs(v) - threshold * self.parameters.weights
        return np.copysign(np.where(excess <= 0.0, 0.0, excess), v)

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        return np.where(np.abs(np.asarray(v)) > np.asarray(threshold) * self.parameters.weights, 1.0, 0.0)

    def subgradient(self, w: Floats) -> Floats:
        return self.parameters.weights * np.sign(w)

    def kink_weights(self, dimension: int) -> Floats | None:
        return np.broadcast_to(self.parameters.weights, (dimension,)).copy()

    def dead_zone(self, threshold: Floats) -> tuple[Floats, Floats] | None:
        return (-threshold, threshold) if self.weights is None else None

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: ArrayLike) -> GaussianMoments:
        return soft_threshold_moments(mean, std, np.asarray(threshold) * self.parameters.weights)

    def fluctuation(self, flow: Floats, zero: NDArrayBool, tuning: Floats) -> Fluctuation:
        reach = tuning[:, None] * np.broadcast_to(self.parameters.weights, flow.shape)
        return Fluctuation(np.ones_like(flow), np.where(zero, 0.0, np.sign(flow) * reach), np.where(zero, reach, 0.0))

    def settings(self) -> dict[str, Any]:
        return {} if self.weights is None else {"weights": self.weights.tolist()}

    def __repr__(self) -> str:
        return "L1()" if self.weights is None else f"L1(<{len(self.weights)} weights>)"
