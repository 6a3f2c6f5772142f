"""A law whose means take a quadrature, tabulated: what compiled loops call costs a microsecond.

Four numbers are smooth functions of the standard deviation r of ``s`` and its correlation with ``s*``: polynomials of
both, by interpolation at Chebyshev's points, for r up to a few times that of s*. All others are derivatives: with A
and A* those of the mean gradient, its Jacobian has ``a = A``, ``K_ww = 2 dA/dq``, ``K_*w = dA/dc``, ``K_** = dA*/dc``,
and the noise covariance likewise, from ``T = E l'^2``. Further out, A and A* stay what they are at the edge, and T
grows with r^2 as there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable, fma, generic
from rdasde._problems.laws import TABLE, Law

_ACCURACY = 1e-10  # of the last coefficients, in units of the largest of their function
_ENOUGH = 1e-7  # the same of the highest degrees: derivatives are then good for three digits
_RADII, _COSINES = (48, 72, 108), (28, 48)  # degrees that are tried


@generic
def tabled(law, q, c, q_star):
    """What is tabulated: A, A*, ``T = E l'^2``, and ``(E z^2 l'^2 - T) / p^2`` with p z what Y varies by."""


@compilable
def _place(law, q, c, q_star):
    """r, and the correlation."""
    r = np.sqrt(q)
    size = r * np.sqrt(q_star)
    return min(r, law.first), (min(max(c / size, -1.0), 1.0) if size > 0.0 else 0.0)


@compilable
def _value(law, which, r, y):
    """One of the four, by Clenshaw's rule in both directions."""
    coefficients, x = law.table[which], 2.0 * r / law.first - 1.0
    b1, b2, line = 0.0, 0.0, 0.0
    for i in range(coefficients.shape[0] - 1, -1, -1):
        d1, d2 = 0.0, 0.0
        for j in range(coefficients.shape[1] - 1, 0, -1):
            d1, d2 = fma(2.0 * y, d1, coefficients[i, j] - d2), d1
        line = fma(y, d1, coefficients[i, 0] - d2)
        if i > 0:
            b1, b2 = fma(2.0 * x, b1, line - b2), b1
    return fma(x, b1, line - b2)


@compilable
def _jet(law, which, r, y, q_star):
    """One of the four, and its derivatives in q and c."""
    coefficients, x = law.table[which], 2.0 * r / law.first - 1.0
    b1, b2, e1, e2, t1, t2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0  # the sum, its derivative in x, that in y
    for i in range(coefficients.shape[0] - 1, -1, -1):
        d1, d2, s1, s2 = 0.0, 0.0, 0.0, 0.0
        for j in range(coefficients.shape[1] - 1, 0, -1):
            s1, s2 = fma(2.0 * y, s1, fma(2.0, d1, -s2)), s1
            d1, d2 = fma(2.0 * y, d1, coefficients[i, j] - d2), d1
        line, slope = fma(y, d1, coefficients[i, 0] - d2), fma(y, s1, d1 - s2)
        twice = 2.0 if i > 0 else 1.0
        e1, e2 = fma(twice * x, e1, fma(twice, b1, -e2)), e1
        t1, t2 = fma(twice * x, t1, slope - t2), t1
        b1, b2 = fma(twice * x, b1, line - b2), b1
    if r == 0.0:  # what the derivatives belong to is 0
        return b1, 0.0, 0.0
    by_r = 2.0 * e1 / law.first
    by_c = t1 / (r * np.sqrt(q_star)) if q_star > 0.0 else 0.0
    return b1, (by_r - y * t1 / r) / (2.0 * r), by_c


@compilable
def table_pull(law, q, c, q_star):
    r, y = _place(law, q, c, q_star)
    return _value(law, 0, r, y), _value(law, 1, r, y)


@compilable
def table_bend(law, q, c, q_star):
    r, y = _place(law, q, c, q_star)
    own, by_q, by_c = _jet(law, 0, r, y, q_star)
    _, _, star_by_c = _jet(law, 1, r, y, q_star)
    return own, star_by_c, by_c, 2.0 * by_q


@compilable
def table_scatter(law, q, c, q_star):
    r, y = _place(law, q, c, q_star)
    own, star = _value(law, 0, r, y), _value(law, 1, r, y)
    square, by_q, by_c = _jet(law, 2, r, y, q_star)
    slope = r * y * np.sqrt(q_star) / law.second if law.second > 0.0 else 0.0
    second = _value(law, 3, r, y) - 2.0 * slope * (by_c + slope * by_q)
    square += by_q * (q - r * r)
    return square, second - star * star, by_c - own * star, 2.0 * by_q - own * own


@Kernel
def _fill(law: Any, radii: Floats, cosines: Floats, q_star: float, out: Floats) -> None:
    size = np.sqrt(q_star)
    for i in range(radii.size):
        for j in range(cosines.size):
            c = radii[i] * size * cosines[j]
            out[0, i, j], out[1, i, j], out[2, i, j], out[3, i, j] = tabled(law, radii[i] * radii[i], c, q_star)


def _points(count: int) -> tuple[Floats, Floats]:
    """Chebyshev's points, and the matrix that takes values there to coefficients."""
    angle = np.pi * (np.arange(count) + 0.5) / count
    waves = 2.0 / count * np.cos(np.outer(np.arange(count), angle))
    waves[0] *= 0.5
    return np.cos(angle), waves


def tabulated(law: NamedTuple, q_star: float, noise_variance: float) -> Law | None:
    """The table of a law, of degrees that suffice; None where none does: derivatives of it would be of no use."""
    reach = 4.0 + 3.0 * float(np.sqrt(q_star))
    rows, columns = 0, 0
    while True:
        (x, left), (y, right) = _points(_RADII[rows]), _points(_COSINES[columns])
        values = np.empty((4, len(x), len(y)))
        _fill(law, 0.5 * reach * (1.0 + x), y, q_star, values)
        if not np.isfinite(values).all():
            return None
        coefficients = left @ values @ right.T
        size = np.abs(coefficients).max(axis=(1, 2)) + 1e-300
        in_radii = float((np.abs(coefficients[:, -3:]).max(axis=(1, 2)) / size).max())
        in_cosines = float((np.abs(coefficients[:, :, -3:]).max(axis=(1, 2)) / size).max())
        tall = in_radii > _ACCURACY and rows + 1 < len(_RADII)
        wide = in_cosines > _ACCURACY and columns + 1 < len(_COSINES)
        if not (tall or wide):
            known = max(in_radii, in_cosines) <= _ENOUGH
            table = np.ascontiguousarray(coefficients)
            return Law(TABLE, reach, q_star + noise_variance, table=table) if known else None
        rows, columns = rows + tall, columns + wide
