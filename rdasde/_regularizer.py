"""Regularizers and their mirror maps.

The mirror map of ``g P + |w|^2 / 2`` is the proximal operator of ``g P``. A regularizer here is everything the
toolkit needs of one: the map on arrays and in lanes, its Jacobian, its Gaussian moments (for the closure) and
its first-order behaviour around the mean flow (for the fluctuation limit).
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._jit import generic, implements


@generic
def mirror(regularizer, v, threshold, w):
    """The mirror map of `v` into `w`, both (d, lanes)."""


class GaussianMoments(NamedTuple):
    """Of ``W = prox(V, g)``, ``V_j ~ N(m_j, s_j^2)``, by coordinate."""

    mean: Floats  # E W
    variance: Floats  # Var W
    slope: Floats  # E prox'(V)
    curvature: Floats  # E prox''(V), in the sense of distributions
    zero: Floats  # P(W = 0)


class Fluctuation(NamedTuple):
    """``D_t(U)_j = slope_j S(U_j - shift_j, kink_j)``, each (time, coordinate): theory of the limit around the flow."""

    slope: Floats
    shift: Floats
    kink: Floats


class Regularizer:
    """A mirror map. Concrete ones: `rdasde.L1`."""

    separable: bool = True
    identity_at_zero: bool = True  # whether prox(v, 0) = v
    has_fluctuation: bool = False  # whether `fluctuation` is known
    needs_schedule: bool = True
    parameters: NamedTuple
    _kinds: ClassVar[dict[str, type[Regularizer]]] = {}

    def __init_subclass__(cls) -> None:
        Regularizer._kinds[cls.__name__] = cls

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        """The proximal operator of ``threshold * P`` at `v` (..., d); `threshold` a scalar or broadcastable."""
        raise NotImplementedError

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        """The derivative of each coordinate of `prox` in its own argument, same shape as `v`."""
        raise NotImplementedError

    def scale(self, dimension: int) -> Floats:
        """How far a unit of threshold reaches, by coordinate: where ``|v_j| <= threshold * scale_j``, w_j is 0."""
        raise NotImplementedError

    def span(self, least: int) -> int:
        """The number of coordinates `prox` wants, where only the first `least` matter."""
        return least

    def check_dimension(self, dimension: int) -> None:
        """ValueError where the regularizer does not fit a problem of this dimension."""

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: float) -> GaussianMoments:
        """Moments of the mapped Gaussian, in closed form."""
        raise NotImplementedError

    def fluctuation(self, signs: Floats, zero: NDArrayBool, tuning: Floats) -> Fluctuation:
        """The map D_t for the square-root tuning: `signs` of w(t) (time, d), `zero` (d,), ``c t**mu`` (time,)."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, in JSON's types."""
        return {}

    def to_json(self) -> str:
        """What `from_json` needs to build the same map again."""
        return json.dumps({"kind": type(self).__name__, **self.settings()})

    @staticmethod
    def from_json(text: str) -> Regularizer:
        """The regularizer written by `to_json`."""
        settings = json.loads(text)
        return Regularizer._kinds[settings.pop("kind")](**settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regularizer) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())


NDArrayBool = np.ndarray[Any, np.dtype[np.bool_]]


class UnregularizedParameters(NamedTuple):
    unused: float


@implements(mirror, UnregularizedParameters)
def _(regularizer, v, threshold, w):
    for j in range(v.shape[0]):
        for lane in range(v.shape[1]):
            w[j, lane] = v[j, lane]


class Unregularized(Regularizer):
    """No regularizer: the mirror map is the identity, the algorithm is SGD."""

    has_fluctuation = True
    needs_schedule = False
    parameters: UnregularizedParameters = UnregularizedParameters(0.0)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        return np.array(v, dtype=np.float64)

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        return np.ones(np.shape(v))

    def scale(self, dimension: int) -> Floats:
        return np.zeros(dimension)

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: float) -> GaussianMoments:
        nothing = np.zeros_like(mean)
        return GaussianMoments(mean, std**2, np.ones_like(mean), nothing, nothing)

    def fluctuation(self, signs: Floats, zero: NDArrayBool, tuning: Floats) -> Fluctuation:
        nothing = np.zeros_like(signs)
        return Fluctuation(np.ones_like(signs), nothing, nothing)

    def __repr__(self) -> str:
        return "None"


class L1Parameters(NamedTuple):
    weights: Floats  # (1,): the same for every coordinate, or (d,)


@implements(mirror, L1Parameters)
def _(regularizer, v, threshold, w):
    weights = regularizer.weights
    common = weights.size == 1
    for j in range(v.shape[0]):
        g = threshold * (weights[0] if common else weights[j])
        for lane in range(v.shape[1]):
            excess = abs(v[j, lane]) - g
            # not max(excess, 0): a NaN must stay one
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

    def scale(self, dimension: int) -> Floats:
        return np.broadcast_to(self.parameters.weights, (dimension,)).copy()

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: float) -> GaussianMoments:
        from scipy.special import ndtr

        g = threshold * self.parameters.weights
        safe = np.where(std > 0.0, std, 1.0)
        with np.errstate(over="ignore"):
            a, b = (mean - g) / safe, (-mean - g) / safe
            # a coordinate that does not move yet has prox' = 1{|m| > g}, and 1 where m = g = 0: the start at zero
            still = std <= 0.0
            a = np.where(still, np.where((mean > g) | ((mean == 0.0) & (g == 0.0)), np.inf, -np.inf), a)
            b = np.where(still, np.where(mean < -g, np.inf, -np.inf), b)
            density_a = np.where(still, 0.0, np.exp(-0.5 * a**2) * _INVERSE_SQRT_2PI)
            density_b = np.where(still, 0.0, np.exp(-0.5 * b**2) * _INVERSE_SQRT_2PI)
        above, below = ndtr(a), ndtr(b)
        first = (mean - g) * above + std * density_a + (mean + g) * below - std * density_b
        second = (
            ((mean - g) ** 2 + std**2) * above
            + (mean - g) * std * density_a
            + ((mean + g) ** 2 + std**2) * below
            - (mean + g) * std * density_b
        )
        variance = np.maximum(second - first**2, 0.0)
        # P(W = 0) from the complements: 1 - above - below would cancel
        zero = np.where(g > 0.0, np.maximum(ndtr(-a) - below, 0.0), 0.0)
        zero = np.where(still & (np.abs(mean) <= g), 1.0, zero)
        return GaussianMoments(first, variance, above + below, (density_a - density_b) / safe, zero)

    def fluctuation(self, signs: Floats, zero: NDArrayBool, tuning: Floats) -> Fluctuation:
        reach = tuning[:, None] * self.scale(signs.shape[1])
        return Fluctuation(np.ones_like(signs), np.where(zero, 0.0, signs * reach), np.where(zero, reach, 0.0))

    def settings(self) -> dict[str, Any]:
        return {} if self.weights is None else {"weights": self.weights.tolist()}

    def __repr__(self) -> str:
        return "L1()" if self.weights is None else f"L1(<{len(self.weights)} weights>)"


_INVERSE_SQRT_2PI = float(1.0 / np.sqrt(2.0 * np.pi))
