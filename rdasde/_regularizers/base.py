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

from rdasde._check import Floats
from rdasde._compiled.jit import generic, implements


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


class PositivePart(NamedTuple):
    """Of ``max(X, 0)``, ``X ~ N(m, s^2)``."""

    mean: Floats
    variance: Floats
    probability: Floats  # P(X > 0), half where X is surely 0
    density: Floats  # of X at 0


def positive_part(mean: Floats, std: Floats) -> PositivePart:
    """What piecewise linear mirror maps have their Gaussian moments from.

    With ``a = m / s``: ``E = m Phi(a) + s phi(a)`` and
    ``Var / s^2 = Phi(a) + a^2 Phi(a) Phi(-a) + a phi(a) (Phi(-a) - Phi(a)) - phi(a)^2``: the textbook's second moment
    minus the squared mean, rearranged so that nothing cancels where m is much larger than s.
    """
    a = standardized(mean, std)
    above, below = normal_cdf(a), normal_cdf(-a)
    density = np.where(std > 0.0, normal_density(a), 0.0)
    first = np.maximum(mean * above + std * density, 0.0)
    variance = std**2 * (above + a**2 * above * below + a * density * (below - above) - density**2)
    return PositivePart(first, np.maximum(variance, 0.0), above, density / np.where(std > 0.0, std, 1.0))


def standardized(x: Floats, std: Floats) -> Floats:
    """``x / std`` kept within [-40, 40], beyond which the normal law has nothing; the limit of it where std is 0."""
    with np.errstate(over="ignore"):
        return np.clip(np.where(std > 0.0, x / np.where(std > 0.0, std, 1.0), 40.0 * np.sign(x)), -40.0, 40.0)


def normal_cdf(x: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(x))


def normal_density(x: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi))


class Regularizer:
    """A mirror map. Concrete ones stand in modules of their own, for example `rdasde.L1`."""

    separable: bool = True
    identity_at_zero: bool = True  # whether prox(v, 0) = v
    has_moments: bool = True  # whether `gaussian_moments` is known
    has_fluctuation: bool = False  # whether `fluctuation` is known
    has_constant_slope: bool = False  # whether every coordinate that is not zero has one and the same slope
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

    def subgradient(self, w: Floats) -> Floats:
        """The gradient of P in the coordinates (or groups) of `w` (d,) that are not zero, 0 in the others.

        At a settled primal state the dual one is ``w + threshold * subgradient(w)`` there.
        """
        return np.zeros_like(w)

    def dead_zone(self, threshold: Floats) -> tuple[Floats, Floats] | None:
        """The interval of v_j that the map sends to 0, where it is one and the same for every coordinate."""
        return None

    def span(self, least: int) -> int:
        """The number of coordinates `prox` wants, where only the first `least` matter."""
        return least

    def check_dimension(self, dimension: int) -> None:
        """ValueError where the regularizer does not fit a problem of this dimension."""

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: ArrayLike) -> GaussianMoments:
        """Moments of the mapped Gaussian; `mean`, `std` (..., d), `threshold` a scalar or broadcastable."""
        raise NotImplementedError

    def fluctuation(self, flow: Floats, zero: NDArrayBool, tuning: Floats) -> Fluctuation:
        """The map D_t for the square-root tuning.

        `flow` is w(t) (time, d), exactly 0 where it counts as zero; `zero` (d,) marks the coordinates that are zero
        throughout; `tuning` is ``c t**mu`` (time,).
        """
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
        import rdasde

        settings = json.loads(text)
        name = settings.pop("kind")
        # one of the package's own may not have been imported yet: its public name does that
        kind = Regularizer._kinds.get(name) or getattr(rdasde, name, None)
        if not (isinstance(kind, type) and issubclass(kind, Regularizer)):
            raise ValueError(f"The regularizer is of kind {name!r}, which is not known here: pass regularizer=.")
        return kind._from_settings(settings)

    @classmethod
    def _from_settings(cls, settings: dict[str, Any]) -> Regularizer:
        return cls(**settings)

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
    has_constant_slope = True
    needs_schedule = False
    parameters: UnregularizedParameters = UnregularizedParameters(0.0)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        return np.array(v, dtype=np.float64)

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        return np.ones(np.shape(v))

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: ArrayLike) -> GaussianMoments:
        nothing = np.zeros_like(mean)
        return GaussianMoments(mean, std**2, np.ones_like(mean), nothing, nothing)

    def fluctuation(self, flow: Floats, zero: NDArrayBool, tuning: Floats) -> Fluctuation:
        nothing = np.zeros_like(flow)
        return Fluctuation(np.ones_like(flow), nothing, nothing)

    def __repr__(self) -> str:
        return "None"
