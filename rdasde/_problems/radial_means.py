"""Means of a loss of ``s - Y``, ``Y = s* + eps``: functions of ``r``, the standard deviation of ``s - s*``, alone.

With ``a(r) = E l''`` and ``tau(r) = E l'^2``, whose derivatives in ``r^2`` give all else by Stein's lemma, the mean
gradient is ``a H e``, its Jacobian ``a H + (a'/r) Hee'H``, the noise covariance ``tau H + (tau'/r - a^2) Hee'H``, ``e =
w - coef``. Both, tau over ``1 + (r / scale)^2`` where it grows like r^2, are polynomials in ``x = (r - scale) / (r +
scale)``, which takes r from 0 to infinity to [-1, 1], by interpolation at Chebyshev's points: derivatives are those of
the polynomials, so that the pieces fit together to the last digit.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma
from rdasde._losses.base import Loss
from rdasde._losses.custom import CustomLoss
from rdasde._problems.laws import RADIAL, Law

_ACCURACY = 1e-12  # of the last coefficients, in units of the largest
_ENOUGH = 1e-7  # the same of the longest series
_FEWEST, _MOST = 48, 384  # of coefficients
_TAIL = 1e-17  # probability of noise that is left out
_POINTS = 14  # of Gauss's rule within a panel
_STEPS = np.array([-8.0, -4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0])  # panels around a kink, in its widths


@compilable
def _series(coefficients, r, scale):
    """A Chebyshev series and its derivative in r, divided by r."""
    x = (r - scale) / (r + scale)
    b1, b2, d1, d2 = 0.0, 0.0, 0.0, 0.0
    for k in range(coefficients.size - 1, 0, -1):  # Clenshaw's rule, and its own derivative
        d1, d2 = fma(2.0 * x, d1, fma(2.0, b1, -d2)), d1
        b1, b2 = fma(2.0 * x, b1, coefficients[k] - b2), b1
    value = fma(x, b1, coefficients[0] - b2)
    if r == 0.0:  # what the derivative belongs to is 0
        return value, 0.0
    slope = fma(x, d1, b1 - d2)
    return value, slope * 2.0 * scale / ((r + scale) * (r + scale) * r)


@compilable
def _distance(q, c, q_star):
    return np.sqrt(max(q - 2.0 * c + q_star, 0.0))


@compilable
def radial_pull(law, q, c, q_star):
    curvature, _ = _series(law.series[0], _distance(q, c, q_star), law.first)
    return curvature, -curvature


@compilable
def radial_bend(law, q, c, q_star):
    curvature, change = _series(law.series[0], _distance(q, c, q_star), law.first)
    return curvature, change, -change, change


@compilable
def radial_scatter(law, q, c, q_star):
    r = _distance(q, c, q_star)
    curvature, _ = _series(law.series[0], r, law.first)
    square, change = _series(law.series[1], r, law.first)
    if law.second > 0.0:  # what it was divided by
        growth = 1.0 + (r / law.first) ** 2
        square, change = growth * square, growth * change + 2.0 * square / (law.first * law.first)
    own = change - curvature * curvature
    return square, own, -own, own


def radial_law(loss: Loss, noise: Any, noise_std: float) -> Law | None:
    """The law of a loss of ``s - Y`` under normal noise of a standard deviation, or that of a SciPy distribution.

    None where no series follows it: where it grows faster than r^2, or its derivatives are not bounded.
    """
    spread = noise_std if noise is None else float(noise.ppf(0.75) - noise.ppf(0.25)) / 1.35
    scale = float(np.hypot(spread, loss.width))
    means = functools.partial(_normal_means, noise_std) if noise is None else functools.partial(_noise_means, noise)
    count = _FEWEST
    while True:
        x = np.cos(np.pi * (np.arange(count) + 0.5) / count)
        radii = scale * (1.0 + x) / (1.0 - x)
        with np.errstate(all="ignore"):
            values = np.array([means(loss, r) for r in radii])
        coefficients, tail = _transformed(values)
        last = 2 * count > _MOST
        if tail <= (_ENOUGH if last else _ACCURACY):
            return Law(RADIAL, scale, series=np.ascontiguousarray(coefficients.T))
        if last:
            break
        count *= 2
    values[:, 1] /= 1.0 + (radii / scale) ** 2
    coefficients, tail = _transformed(values)
    return Law(RADIAL, scale, 1.0, series=np.ascontiguousarray(coefficients.T)) if tail <= _ENOUGH else None


def _transformed(values: Floats) -> tuple[Floats, float]:
    """Coefficients of the series through values at Chebyshev's points, and how much is left in the last of them."""
    count = len(values)
    if not np.isfinite(values).all():
        return values, np.inf
    # a discrete cosine transform, by its matrix
    waves = np.cos(np.pi * np.outer(np.arange(count), np.arange(count) + 0.5) / count)
    coefficients = 2.0 / count * waves @ values
    coefficients[0] *= 0.5
    tail = np.abs(coefficients[-count // 8 :]).max(axis=0) / np.abs(coefficients).max(axis=0)
    return coefficients, float(tail.max())


def _normal_means(noise_std: float, loss: Loss, r: float) -> tuple[float, float]:
    means = loss.wide_means(np.array([np.hypot(r, noise_std)]), np.zeros(1))
    return float(means.second[0]), float(means.square[0])


def _noise_means(noise: Any, loss: Loss, r: float) -> tuple[float, float]:
    """Over the noise by Gauss's rule in panels: between quantiles, finer where the loss has a kink, as wide as r."""
    knots, rule = _panels(noise)
    near = [r * _STEPS - kink for kink in loss.kinks]  # where s = 0 meets it
    if not loss.kinks or isinstance(loss, CustomLoss):  # of which nothing else is known
        near.append(np.hypot(r, loss.width) * _STEPS)
    knots = np.unique(np.concatenate([knots, *near]).clip(knots[0], knots[-1]))
    half, centre = 0.5 * np.diff(knots)[:, None], 0.5 * (knots[1:] + knots[:-1])[:, None]
    nodes = (centre + half * rule[0]).ravel()
    weights = (half * rule[1]).ravel() * noise.pdf(nodes)
    means = loss.wide_means(np.full_like(nodes, r), nodes)
    return float(weights @ means.second), float(weights @ means.square)


def _panels(noise: Any) -> tuple[Floats, tuple[Floats, Floats]]:
    """Quantiles by half decades of probability into both tails, and Gauss's rule."""
    tails = np.concatenate([[_TAIL], 10.0 ** np.arange(-16.5, -0.9, 0.5), [0.2, 0.3, 0.4]])
    knots = np.concatenate([noise.ppf(tails), [noise.ppf(0.5)], noise.isf(tails)])
    return np.unique(knots[np.isfinite(knots)]), np.polynomial.legendre.leggauss(_POINTS)
