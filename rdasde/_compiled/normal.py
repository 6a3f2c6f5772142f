"""Laws of a normal variable, one number at a time: what `rdasde._normal` has for arrays."""

from __future__ import annotations

import math

import numpy as np

from rdasde._compiled.jit import compilable

_SURE = 40.0  # standard deviations beyond which the normal law has nothing
_HALF = math.sqrt(0.5)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)


@compilable
def standardized(x: float, std: float) -> float:
    """x / std within what matters; the limit of it where std is 0."""
    if std > 0.0:
        return min(max(x / std, -_SURE), _SURE)
    return float(_SURE * np.sign(x))


@compilable
def cdf(x: float) -> float:
    return 0.5 * math.erfc(-x * _HALF)


@compilable
def density(x: float) -> float:
    return _DENSITY * math.exp(-0.5 * x * x)


@compilable
def positive_part(mean: float, std: float) -> tuple[float, float, float, float]:
    """Mean, variance, P(X > 0) and the density at 0 of ``max(X, 0)``: see `rdasde._normal.positive_part`."""
    a = standardized(mean, std)
    above, below = cdf(a), cdf(-a)
    peak = density(a) if std > 0.0 else 0.0
    first = max(mean * above + std * peak, 0.0)
    share = above + a * a * above * below + a * peak * (below - above) - peak * peak
    return first, max(std * std * share, 0.0), above, peak / std if std > 0.0 else 0.0
