"""The l1 penalty: the soft-threshold."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import implements, one_row
from rdasde._normal import normal_cdf, positive_part, standardized
from rdasde._regularizers.base import Fluctuation, GaussianMoments, NDArrayBool, Regularizer, mirror


def soft_threshold_moments(mean: Floats, std: Floats, threshold: Floats) -> GaussianMoments:
    """Of ``S(V, g) = max(V - g, 0) - max(-V - g, 0)``: never both parts at once (theory, section 4)."""
    right, left = positive_part(mean - threshold, std), positive_part(-mean - threshold, std)
    # both tails from the side where they are small: 1 - P(right) - P(left) would cancel
    far = np.abs(mean)
    zero = normal_cdf(standardized(threshold - far, std)) - normal_cdf(standardized(-threshold - far, std))
    return GaussianMoments(
        right.mean - left.mean,
        right.variance + left.variance + 2.0 * right.mean * left.mean,
        right.probability + left.probability,
        right.density - left.density,
        np.where((std <= 0.0) & (far <= threshold), 1.0, zero),
    )


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
    """

    slope_is_indicator = True
    has_constant_slope = True
    has_fluctuation = True

    def __init__(self, weights: ArrayLike | None = None) -> None:
        if weights is None:
            self.weights: Floats | None = None
            self.parameters: L1Parameters = L1Parameters(np.ones(1))
            return
        self.weights = _check.array("weights", weights, (None,), mend="give one weight >= 0 for each coordinate")
        if self.weights.min() < 0.0:
            raise _check.bad(
                "weights", f"{self.weights.min():g} somewhere", "numbers >= 0", "give 0 for an unpenalized coordinate"
            )
        self.parameters = L1Parameters(self.weights)

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
        v = np.asarray(v, dtype=np.float64)
        excess = np.abs(v) - np.asarray(threshold) * self.parameters.weights
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
