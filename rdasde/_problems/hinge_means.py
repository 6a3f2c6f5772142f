"""Means of the squared hinge loss over a Gaussian design with labels that follow the logistic function of ``s*``.

With ``p* = p(s*)``, ``E[l' | s, s*] = -p* (1 - s)_+ + (1 - p*) (1 + s)_+``, and as (s, s*) and (-s, -s*) have one law,
all is a mean over s < 1 of what ``E[p* | s]``, ``E[p*' | s]`` and ``E[p*'' | s]`` are: smooth functions, by the
trapezoidal rule (`logistic_means`), integrated over s by Gauss's rule in panels that end at the kink.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._problems.logistic_means import centred_logistic
from rdasde._problems.mean_table import tabled

_REACH, _STEP, _MOST = 8.3, 0.7, 200.0  # of the trapezoidal rule, as in `logistic_means`
_DENSITY = float(1.0 / np.sqrt(2.0 * np.pi))
_PANELS = 400.0


class HingeLaw(NamedTuple):
    nodes: Floats  # of Gauss's rule on [-1, 1]
    weights: Floats


def hinge_law() -> HingeLaw:
    return HingeLaw(*np.polynomial.legendre.leggauss(12))


@compilable
def _given(centre, width):
    """E p, E p', E p'' of a normal s*."""
    count = int(min(np.ceil(_REACH * max(1.0, width) / _STEP), _MOST))
    h = _REACH / count
    first, second, third = 0.0, 0.0, 0.0
    for k in range(-count, count + 1):
        z = h * k
        odd = centred_logistic(fma(width, z, centre))
        slope, weight = 0.25 - odd * odd, np.exp(-0.5 * z * z)
        first = fma(weight, odd, first)
        second = fma(weight, slope, second)
        third = fma(weight, -2.0 * odd * slope, third)
    scale = h * _DENSITY
    return 0.5 + scale * first, scale * second, scale * third


@compilable
def _conditional(q, c, q_star):
    """Of s* given s: the slope of its mean, and its standard deviation."""
    slope = c / q if q > 0.0 else 0.0
    return slope, np.sqrt(max(q_star - slope * c, 0.0))


@compilable
def _below(law, q, c, q_star):
    """Over s < 1, with t = 1 - s: E p*, E p* t^2, E p*' t, E p*'' t^2."""
    slope, width = _conditional(q, c, q_star)
    std = np.sqrt(q)
    end = min(_REACH, 1.0 / std) if std > 0.0 else _REACH
    panels = int(min(np.ceil((end + _REACH) * max(1.0, 0.5 * abs(slope) * std)), _PANELS))
    half = 0.5 * (end + _REACH) / panels
    p0, p2, d1, e2 = 0.0, 0.0, 0.0, 0.0
    for panel in range(panels):
        for k in range(law.nodes.size):
            z = -_REACH + half * (2.0 * panel + 1.0 + law.nodes[k])
            s = std * z
            weight = half * law.weights[k] * _DENSITY * np.exp(-0.5 * z * z)
            first, second, third = _given(slope * s, width)
            t = 1.0 - s
            p0 += weight * first
            p2 += weight * first * t * t
            d1 += weight * second * t
            e2 += weight * third * t * t
    return p0, p2, d1, e2


@implements(tabled, HingeLaw)
def _(law, q, c, q_star):
    p0, p2, d1, e2 = _below(law, q, c, q_star)
    slope = c / q_star if q_star > 0.0 else 0.0
    return 2.0 * p0, -2.0 * d1, 2.0 * p2, 2.0 * (e2 - 4.0 * slope * d1 + 2.0 * slope * slope * p0)
