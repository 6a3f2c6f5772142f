"""The bandwidth of quantile regression's Hessian: the density of residuals at 0, by a kernel.

The derivative of the check loss jumps, so that its Hessian ``E[f(0 | x) x x']`` is no mean over rows. Powell's estimate
is one, ``mean of K_h(y - x'w) x x'``. Quantiles `level` +- q of the residuals, with Hall & Sheather's q for the n rows
that are kept, lie a distance 2 c apart; a uniform kernel on [-c, c] and the Gaussian one with ``h = c / sqrt(3)`` have
the same variance, hence the same bias. As more rows come h falls like ``n^(-1/5)``, the rate of the least mean square
error.

References
----------
Powell, in Barnett, Powell & Tauchen (eds.), 1991. Hall & Sheather, J. Royal Statistical Society B 50, 1988.
"""

from __future__ import annotations

import numpy as np

from rdasde._check import Floats

_TAIL = 1.959964  # the level of the intervals that Hall & Sheather's choice is made for: 95 %
_LEAST = 1e-3  # of the residuals' spread


def bandwidth(residuals: Floats, level: float) -> float:
    """h for these residuals; 0 where they do not vary."""
    from scipy.special import ndtri

    n = len(residuals)
    z = float(ndtri(level))
    height = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    reach = n ** (-1.0 / 3.0) * _TAIL ** (2.0 / 3.0) * (1.5 * height**2 / (2.0 * z * z + 1.0)) ** (1.0 / 3.0)
    low, high = max(level - reach, 0.5 / n), min(level + reach, 1.0 - 0.5 / n)
    below, quarter, three_quarters, above = np.quantile(residuals, [low, 0.25, 0.75, high])
    half = 0.5 * (above - below) * 2.0 * reach / max(high - low, 1e-300)
    return float(max(half, _LEAST * (three_quarters - quarter))) / np.sqrt(3.0)


def narrower(width: float, rows: int, kept: int) -> float:
    """h for a longer stream."""
    return width * (kept / max(rows, kept)) ** 0.2
