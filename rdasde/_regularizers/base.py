"""Regularizers and their mirror maps.

The mirror map of ``g P + |w|^2 / 2`` is the proximal operator of ``g P``. A regularizer here is everything the
toolkit needs of one: the map on arrays and in lanes, its Jacobian, its Gaussian moments (for the closure) and
its first-order behaviour around the mean flow (for the fluctuation limit).
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import generic
from rdasde._html import card

NDArrayBool = np.ndarray[Any, np.dtype[np.bool_]]


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


def checked_state(v: ArrayLike, threshold: ArrayLike, length: int | None = None) -> tuple[Floats, Floats]:
    """The arguments of a mirror map: states (..., d), of `length` coordinates if it has so many, and thresholds."""
    v, threshold = _check.reals("v", v), _check.reals("threshold", threshold)
    if length is not None and v.shape[-1:] != (length,):
        accepted = f"one of shape (..., {length})"
        raise _check.bad("v", f"an array of shape {v.shape}", accepted, "give one number for each coordinate")
    try:
        np.broadcast_shapes(v.shape, threshold.shape)
    except ValueError:
        accepted = f"a number, or one for each state of v, of shape {v.shape}"
        got = f"an array of shape {threshold.shape}"
        raise _check.bad("threshold", got, accepted, "give for example threshold=0.1") from None
    return v, threshold


class Regularizer:
    """A mirror map. Concrete ones stand in modules of their own, for example `rdasde.L1`.

    Attributes
    ----------
    separable : bool
        Whether each coordinate of the image depends on that coordinate of the argument alone.
    needs_schedule : bool
        Whether the map uses its threshold.
    is_identity : bool
        Whether the map is the identity whatever the threshold.
    identity_at_zero : bool
        Whether ``prox(v, 0) = v``.
    slope_is_indicator : bool
        Whether the slope ``d prox_j / d v_j`` is 1 where ``w_j != 0`` and 0 elsewhere, kinks apart.
    has_constant_slope : bool
        Whether, at a given threshold, the slope is one number on the whole support, which in every coordinate reaches
        to both sides of 0.
    has_moments : bool
        Whether `gaussian_moments` is known.
    has_fluctuation : bool
        Whether `fluctuation` is known.
    has_value : bool
        Whether P in its domain follows from `subgradient`, ``P(w) = subgradient(w / 2)'w``: along a ray from 0, where P
        is 0, its slope is linear.
    parameters : NamedTuple
        What compiled code is handed.

    Examples
    --------
    >>> import rdasde as rs
    >>> isinstance(rs.L1(), rs.Regularizer), rs.L1().separable, rs.GroupLasso([0, 0]).separable
    (True, True, False)
    >>> rs.L1().dead_zone(0.5)
    (-0.5, 0.5)
    """

    separable: bool = True
    needs_schedule: bool = True
    is_identity: bool = False
    identity_at_zero: bool = True
    slope_is_indicator: bool = False
    has_constant_slope: bool = False
    has_moments: bool = True
    has_fluctuation: bool = False
    has_value: bool = True
    parameters: NamedTuple
    kinds: ClassVar[dict[str, type[Regularizer]]] = {}  # all that have been defined so far, by name

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        _check.not_base(cls, Regularizer, "a mirror map", "rs.L1()")
        return super().__new__(cls)

    def __init_subclass__(cls) -> None:
        Regularizer.kinds[cls.__name__] = cls

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

    def kink_weights(self, dimension: int) -> Floats | None:
        """``k`` (d,) where ``P(w) = sum_j k_j |w_j|`` and what has no kink; None where P is not of this kind."""
        return None

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

    def _repr_html_(self) -> str:
        threshold = "used" if self.needs_schedule else "not used"
        return card(
            repr(self), {"acts on": "single coordinates" if self.separable else "groups", "threshold": threshold}
        )

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, in JSON's types."""
        return {}

    def to_json(self) -> str:
        """What `kinds.from_json` needs to build the same map again."""
        return json.dumps({"kind": type(self).__name__, **self.settings()})

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Regularizer:
        """The map with these `settings`."""
        return cls(**settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regularizer) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())
