r"""Random scaling: intervals from the path of an estimate, without an estimate of its variance.

Let ``S_k``, k = 1 ... b, be the partial sums of the b equal units of a stream whose partial sums are a Brownian motion
W in the limit. Then

    T = S_b / sqrt(b V),    V = 1/b sum_k (S_k - k/b S_b)^2 / b,

has a law without unknowns: ``Z / sqrt(Q)``, Z standard normal and independent of Q, which is
``sum_k lambda_k chi^2_1``, ``lambda_k = 1 / (4 b^2 sin^2(k pi / (2 b)))``. As b grows Q is ``int (W(r) - r W(1))^2 dr``
(Lee, Liao, Seo & Shin 2022; Abadir & Paruolo 1997), whose quantiles are 5.323 (95 %), 6.747 (97.5 %).

With ``P(|Z| > a) = 2/pi int_0^(pi/2) exp(-a^2 / (2 sin^2 t)) dt`` (Craig) the tail of T is an integral over the Laplace
transform of Q, and that is an elementary function, for ``product over k of (1 + sinh^2 u / sin^2(k pi / (2 b)))`` is
``sinh(2 b u) / (b sinh 2 u)``:

    P(|T| > x) = 2/pi int_0^(pi/2) sqrt(b sinh 2 u / sinh 2 b u) dt,    sinh u = x / (2 b sin t),

in the limit ``sqrt(z / sinh z)``, ``z = x / sin t``. The integrand is smooth and even around both ends: the midpoint
rule is exact to rounding.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats

_NODES = 400
_FAR = 600.0  # sinh beyond this counts as infinite


def tail(x: float, units: float) -> float:
    """``P(|T| > x)`` over so many units, or infinitely many."""
    with np.errstate(over="ignore"):
        z = max(abs(x), 1e-9) / np.sin((np.arange(_NODES) + 0.5) * (0.5 * np.pi / _NODES))
        if not np.isfinite(units):
            return float(np.mean(np.sqrt(z / np.sinh(np.minimum(z, _FAR))) * (z < _FAR)))
        u = np.arcsinh(z / (2.0 * units))
        long = 2.0 * units * u
        return float(np.mean(np.sqrt(units * np.sinh(2.0 * u) / np.sinh(np.minimum(long, _FAR))) * (long < _FAR)))


@functools.lru_cache(maxsize=256)
def quantile(level: float, units: float) -> float:
    """x with ``P(|T| <= x) = level``."""
    from scipy.optimize import brentq

    high = 4.0
    while tail(high, units) > 1.0 - level and high < 1e6:
        high *= 2.0
    return float(brentq(lambda x: tail(x, units) - (1.0 - level), 1e-9, high, xtol=1e-10, rtol=1e-12))


def mean(units: float) -> float:
    """``E Q``: what V is on average, in units of the variance."""
    return 1.0 / 6.0 if not np.isfinite(units) else (units**2 - 1.0) / (6.0 * units**2)


def scale(counts: NDArray[np.int64], sums: Floats) -> tuple[Floats, float]:
    """V of each column, for sums over units of rows; and how many equal units these are as good as.

    V is per row: ``m`` times the variance of a mean over m rows where that is what is summed.
    """
    rows = float(np.sum(counts))
    partial = np.cumsum(sums, axis=0)
    bridge = partial - (np.cumsum(counts) / rows)[:, None] * partial[-1]
    # the end of a unit stands for half of it and half of the next one
    weights = 0.5 * (counts + np.append(counts[1:], 0)) / rows
    return weights @ bridge**2 / rows, rows**2 / float(np.sum(counts.astype(np.float64) ** 2))
