"""Laws of a normal variable: its distribution and density, and the moments of its positive part."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats

Z95: float  # the 97.5 % quantile: a two-sided 95 % interval reaches so many standard errors; see `__getattr__`


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
    """Phi."""
    from scipy.special import ndtr

    return np.asarray(ndtr(x))


def normal_density(x: Floats) -> Floats:
    """phi."""
    return np.asarray(np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi))


def __getattr__(name: str) -> float:
    # computed where it is asked for: importing the mirror maps does not import SciPy
    if name == "Z95":
        from scipy.special import ndtri

        return float(ndtri(0.975))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
