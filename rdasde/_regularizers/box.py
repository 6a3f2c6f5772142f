"""A box: the projection onto an interval for each coordinate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import implements
from rdasde._normal import normal_cdf, normal_density, standardized
from rdasde._regularizers.base import GaussianMoments, Regularizer, mirror


class BoxParameters(NamedTuple):
    lower: Floats  # (1,): the same for every coordinate, or (d,)
    upper: Floats


@implements(mirror, BoxParameters)
def _(regularizer, v, threshold, w):
    lower, upper = regularizer.lower, regularizer.upper
    for j in range(v.shape[0]):
        low = lower[0] if lower.size == 1 else lower[j]
        high = upper[0] if upper.size == 1 else upper[j]
        for lane in range(v.shape[1]):
            x = v[j, lane]
            # comparisons are false for a NaN, which stays one
            x = low if x < low else x
            w[j, lane] = high if x > high else x


class Box(Regularizer):
    """``P(w) = 0`` where all ``lower_j <= w_j <= upper_j``, and infinite elsewhere: the projection onto the box.

    ``prox(v, g)_j = min(max(v_j, lower_j), upper_j)`` whatever the threshold, so that no schedule is needed.

    Parameters
    ----------
    lower, upper : float or array_like of shape (d,)
        Ends of the intervals, ``lower <= upper``; ``-inf`` and ``inf`` leave a side open.

    Raises
    ------
    ValueError, TypeError
        If an end is NaN or of a wrong shape or kind, an interval is empty, or the lengths differ.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.Box(-1.0, 1.0).prox([2.0, 0.3, -5.0], 0.0)
    array([ 1. ,  0.3, -1. ])
    >>> algorithm = rs.RDA(0.01, rs.Box([0.0, -1.0], float("inf")))  # no schedule
    """

    identity_at_zero = False
    needs_schedule = False

    def __init__(self, lower: ArrayLike, upper: ArrayLike) -> None:
        low, high = _ends("lower", lower), _ends("upper", upper)
        if low.ndim and high.ndim and len(low) != len(high):
            raise _check.bad(
                "upper", f"of length {len(high)}", f"of length {len(low)}, as lower", "give one end for each coordinate"
            )
        if np.any(low > high) or np.any(low == np.inf) or np.any(high == -np.inf):
            raise _check.bad("lower", "above upper somewhere, or infinite", "at most upper", "leave no interval empty")
        self.lower, self.upper = _check.sealed(low), _check.sealed(high)
        self.parameters: BoxParameters = BoxParameters(np.atleast_1d(low), np.atleast_1d(high))

    def check_dimension(self, dimension: int) -> None:
        for name, end in (("lower", self.lower), ("upper", self.upper)):
            if end.ndim and len(end) != dimension:
                raise _check.bad(
                    f"{name} of Box",
                    f"of length {len(end)}",
                    f"of length {dimension}, the problem's dimension",
                    "give one number, or one for each coordinate",
                )

    def span(self, least: int) -> int:
        return max([len(end) for end in (self.lower, self.upper) if end.ndim], default=least)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        return np.clip(_check.reals("v", v), self.lower, self.upper)

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        v = np.asarray(v)
        return np.where((v > self.lower) & (v < self.upper), 1.0, 0.0)

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: ArrayLike) -> GaussianMoments:
        """Moments of the clipped Gaussian.

        With ``a = (lower - m)/s``, ``b = (upper - m)/s`` and c the point of [a, b] nearest to 0, for a standard
        normal Z ``X = clip(Z, a, b) - c`` has
        ``E X = (a-c) Phi(a) + (b-c) Phi(-b) - c (Phi(b) - Phi(a)) + phi(a) - phi(b)`` and
        ``E X^2 = (a-c)^2 Phi(a) + (b-c)^2 Phi(-b) + (1+c^2) (Phi(b) - Phi(a)) + (a-2c) phi(a) - (b-2c) phi(b)``:
        around c nothing cancels far outside the box.
        """
        a, b = standardized(self.lower - mean, std), standardized(self.upper - mean, std)
        c = np.clip(0.0, a, b)
        below, above = normal_cdf(a), normal_cdf(-b)
        # from the tails where they are small
        inside = np.where(a > 0.0, normal_cdf(-a) - above, normal_cdf(b) - below)
        moving = std > 0.0
        at_a, at_b = np.where(moving, normal_density(a), 0.0), np.where(moving, normal_density(b), 0.0)
        first = (a - c) * below + (b - c) * above - c * inside + at_a - at_b
        second = (a - c) ** 2 * below + (b - c) ** 2 * above + (1.0 + c**2) * inside
        second += (a - 2.0 * c) * at_a - (b - 2.0 * c) * at_b
        nearest = np.clip(mean, self.lower, self.upper)
        zero = np.where(self.lower == 0.0, below, 0.0) + np.where(self.upper == 0.0, above, 0.0)
        return GaussianMoments(
            nearest + std * first,
            std**2 * np.maximum(second - first**2, 0.0),
            inside,
            (at_a - at_b) / np.where(moving, std, 1.0),
            np.where(moving, zero, nearest == 0.0),
        )

    def settings(self) -> dict[str, Any]:
        return {"lower": self.lower.tolist(), "upper": self.upper.tolist()}

    def __repr__(self) -> str:
        ends = [f"{end:g}" if not end.ndim else f"<{len(end)} numbers>" for end in (self.lower, self.upper)]
        return f"Box({ends[0]}, {ends[1]})"


def _ends(argument: str, value: ArrayLike) -> Floats:
    """One number or one for each coordinate, maybe infinite."""
    accepted, mend = "a number or an array of shape (d,), not NaN", "give numbers, or inf for an open side"
    raw = _check.plain(argument, value, accepted, mend)
    if raw.dtype.kind not in "fiu":
        raise _check.wrong_kind(argument, value, accepted, mend)
    if raw.ndim > 1 or raw.size == 0 or np.any(np.isnan(raw)):
        got = f"an array of shape {raw.shape}" if raw.ndim > 1 or raw.size == 0 else "NaN somewhere"
        raise _check.bad(argument, got, accepted, mend)
    return np.array(raw, dtype=np.float64)
