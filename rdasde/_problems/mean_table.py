"""A law whose means take a quadrature, tabulated: what compiled loops call costs a microsecond.

Its numbers are smooth functions of the standard deviation r of ``s`` and its correlation with ``s*``: polynomials of both,
by interpolation at Chebyshev's points, for r up to a few times that of s*; beyond, the quadrature itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable, fma, implements
from rdasde._problems.design_means import bend, pull, scatter

_ACCURACY = 1e-9  # of the last coefficients, in units of the largest of their function
_RADII, _COSINES = (32, 48, 72, 108), (16, 24, 36, 54)  # degrees that are tried


class TableLaw(NamedTuple):
    law: NamedTuple
    reach: float  # of r
    pulls: Floats  # (2, radii, cosines): coefficients, lowest first
    bends: Floats  # (4, radii, cosines)
    scatters: Floats


@compilable
def _place(table, q, c, q_star):
    """r and the correlation, each within [-1, 1]."""
    r = np.sqrt(q)
    size = r * np.sqrt(q_star)
    return 2.0 * r / table.reach - 1.0, (min(max(c / size, -1.0), 1.0) if size > 0.0 else 0.0)


@compilable
def _value(coefficients, x, y):
    """By Clenshaw's rule in both directions."""
    b1, b2 = 0.0, 0.0
    for i in range(coefficients.shape[0] - 1, -1, -1):
        d1, d2 = 0.0, 0.0
        for j in range(coefficients.shape[1] - 1, 0, -1):
            d1, d2 = fma(2.0 * y, d1, coefficients[i, j] - d2), d1
        line = fma(y, d1, coefficients[i, 0] - d2)
        if i > 0:
            b1, b2 = fma(2.0 * x, b1, line - b2), b1
        else:
            b1 = fma(x, b1, line - b2)
    return b1


@implements(pull, TableLaw)
def _(law, q, c, q_star):
    if q > law.reach * law.reach:
        return pull(law.law, q, c, q_star)
    x, y = _place(law, q, c, q_star)
    return _value(law.pulls[0], x, y), _value(law.pulls[1], x, y)


@implements(bend, TableLaw)
def _(law, q, c, q_star):
    if q > law.reach * law.reach:
        return bend(law.law, q, c, q_star)
    x, y = _place(law, q, c, q_star)
    table = law.bends
    return _value(table[0], x, y), _value(table[1], x, y), _value(table[2], x, y), _value(table[3], x, y)


@implements(scatter, TableLaw)
def _(law, q, c, q_star):
    if q > law.reach * law.reach:
        return scatter(law.law, q, c, q_star)
    x, y = _place(law, q, c, q_star)
    table = law.scatters
    return _value(table[0], x, y), _value(table[1], x, y), _value(table[2], x, y), _value(table[3], x, y)


@Kernel
def _fill(law: Any, radii: Floats, cosines: Floats, q_star: float, out: Floats) -> None:
    size = np.sqrt(q_star)
    for i in range(radii.size):
        q = radii[i] * radii[i]
        for j in range(cosines.size):
            c = radii[i] * size * cosines[j]
            out[0, i, j], out[1, i, j] = pull(law, q, c, q_star)
            out[2, i, j], out[3, i, j], out[4, i, j], out[5, i, j] = bend(law, q, c, q_star)
            out[6, i, j], out[7, i, j], out[8, i, j], out[9, i, j] = scatter(law, q, c, q_star)


def _points(count: int) -> tuple[Floats, Floats]:
    """Chebyshev's points, and the matrix that takes values there to coefficients."""
    angle = np.pi * (np.arange(count) + 0.5) / count
    waves = 2.0 / count * np.cos(np.outer(np.arange(count), angle))
    waves[0] *= 0.5
    return np.cos(angle), waves


def tabulated(law: NamedTuple, q_star: float) -> TableLaw:
    """The table of a law, of degrees that suffice."""
    reach = 4.0 + 3.0 * float(np.sqrt(q_star))
    rows, columns = 0, 0
    while True:
        (x, left), (y, right) = _points(_RADII[rows]), _points(_COSINES[columns])
        values = np.empty((10, len(x), len(y)))
        _fill(law, 0.5 * reach * (1.0 + x), y, q_star, values)
        coefficients = left @ values @ right.T
        size = np.abs(coefficients).max(axis=(1, 2)) + 1e-300
        tall = float((np.abs(coefficients[:, -3:]).max(axis=(1, 2)) / size).max()) > _ACCURACY
        wide = float((np.abs(coefficients[:, :, -3:]).max(axis=(1, 2)) / size).max()) > _ACCURACY
        tall, wide = tall and rows + 1 < len(_RADII), wide and columns + 1 < len(_COSINES)
        if not (tall or wide):
            return TableLaw(law, reach, *(np.ascontiguousarray(part) for part in np.split(coefficients, [2, 6])))
        rows, columns = rows + tall, columns + wide
