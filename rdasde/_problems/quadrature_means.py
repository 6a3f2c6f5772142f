"""Means of any smooth loss over a Gaussian design with ``Y = s* + eps``: by quadrature over s, s* and the noise.

Normal noise makes (s, Y) normal, so that two dimensions are left. With ``Y = p z_1``, ``s = alpha z_1 + rho z_2``
(and ``alpha = c / p``) all follows from ``E l'``, ``E l''`` and ``E l'^2``, each with the polynomials of z up to degree two: no derivative but
the loss's own. By the trapezoidal rule (see `logistic_means`), whose error is about ``exp(-18 y)`` for a loss whose nearest
pole in eta or Y is at a distance y from the real line; 1e-7 for ``eta / sqrt(1 + eta^2)``. Three times as coarse a rule
where the noise is not normal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._losses.base import derivative, second_derivative
from rdasde._problems.design_means import bend, pull, scatter

_REACH, _STEP, _COARSE = 6.5, 0.35, 0.5
_MOST = 400.0  # nodes on each side


class QuadratureLaw(NamedTuple):
    loss: NamedTuple
    noise_variance: float  # of the normal part of the noise
    shifts: Floats  # the rest of it: nodes
    weights: Floats
    step: float


def quadrature_law(loss: NamedTuple, noise: Any, noise_std: float) -> QuadratureLaw:
    """Of noise that is normal, or a frozen SciPy distribution: four nodes in each of six panels of normal scores."""
    if noise is None:
        return QuadratureLaw(loss, noise_std**2, np.zeros(1), np.ones(1), _STEP)
    from scipy.special import ndtr

    nodes, weights = np.polynomial.legendre.leggauss(4)
    knots = np.array([-6.5, -3.0, -1.5, 0.0, 1.5, 3.0, 6.5])
    half, centre = 0.5 * np.diff(knots)[:, None], 0.5 * (knots[1:] + knots[:-1])[:, None]
    scores = (centre + half * nodes).ravel()
    mass = (half * weights).ravel() * np.exp(-0.5 * scores**2)
    shifts = np.where(scores < 0.0, noise.ppf(ndtr(scores)), noise.isf(ndtr(-scores)))
    return QuadratureLaw(loss, 0.0, shifts, mass / mass.sum(), _COARSE)


@compilable
def _axes(law, q, c, q_star):
    """p, alpha, rho."""
    p = np.sqrt(q_star + law.noise_variance)
    alpha = c / p if p > 0.0 else 0.0
    rest = q - alpha * alpha
    return p, alpha, (np.sqrt(rest) if rest > 1e-15 * q else 0.0)


@compilable
def _means(law, p, alpha, rho, second):
    """``E f``, ``E z f``, ``E zz' f`` (0, 1, 2, 11, 12, 22): f = l'' (`second` = 2), l'^2 (1) or l' (0), which are added up."""
    count = int(min(np.ceil(_REACH * max(1.0, p, abs(alpha)) / law.step), _MOST))
    across = int(min(np.ceil(_REACH * max(1.0, rho) / law.step), _MOST))
    if rho == 0.0:
        across = int(np.ceil(_REACH / law.step))
    h, k = _REACH / count, _REACH / across
    total, t1, t2, t11, t12, t22, mass = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(-count, count + 1):
        z1 = h * i
        outer = np.exp(-0.5 * z1 * z1)
        for j in range(-across, across + 1):
            z2 = k * j
            s = fma(rho, z2, alpha * z1)
            weight = outer * np.exp(-0.5 * z2 * z2)
            value = 0.0
            for n in range(law.shifts.size):
                y = p * z1 + law.shifts[n]
                if second == 2:
                    f = second_derivative(law.loss, s, y)
                else:
                    f = derivative(law.loss, s, y)
                    f = f * f if second == 1 else f
                value = fma(law.weights[n], f, value)
            mass += weight
            value *= weight
            total += value
            t1 = fma(z1, value, t1)
            t2 = fma(z2, value, t2)
            t11 = fma(z1 * z1, value, t11)
            t12 = fma(z1 * z2, value, t12)
            t22 = fma(z2 * z2, value, t22)
    return total / mass, t1 / mass, t2 / mass, t11 / mass, t12 / mass, t22 / mass


@compilable
def _slopes(g1, g2, p, alpha, rho, curvature):
    """From ``E z l'`` to A and A*."""
    own = g2 / rho if rho > 0.0 else curvature
    return own, ((g1 - own * alpha) / p if p > 0.0 else 0.0)


@compilable
def _along(n11, n12, n22, p, alpha, rho):
    """K_**, K_*w, K_ww with ``R K R' = N``."""
    own = n22 / (rho * rho) if rho > 0.0 else 0.0
    cross = n12 / (rho * p) if rho > 0.0 and p > 0.0 else 0.0
    slope = alpha / p if p > 0.0 else 0.0
    star = n11 / (p * p) if p > 0.0 else 0.0
    return star - 2.0 * slope * cross + slope * slope * own, cross - slope * own, own


@implements(pull, QuadratureLaw)
def _(law, q, c, q_star):
    p, alpha, rho = _axes(law, q, c, q_star)
    _, g1, g2, _, _, _ = _means(law, p, alpha, rho, 0)
    curvature = 0.0
    if rho == 0.0:
        curvature = _means(law, p, alpha, rho, 2)[0]
    return _slopes(g1, g2, p, alpha, rho, curvature)


@implements(bend, QuadratureLaw)
def _(law, q, c, q_star):
    p, alpha, rho = _axes(law, q, c, q_star)
    mean, _, _, m11, m12, m22 = _means(law, p, alpha, rho, 2)
    star, cross, own = _along(m11 - mean, m12, m22 - mean, p, alpha, rho)
    return mean, star, cross, own


@implements(scatter, QuadratureLaw)
def _(law, q, c, q_star):
    p, alpha, rho = _axes(law, q, c, q_star)
    _, g1, g2, _, _, _ = _means(law, p, alpha, rho, 0)
    tau, _, _, m11, m12, m22 = _means(law, p, alpha, rho, 1)
    star, cross, own = _along(m11 - tau - g1 * g1, m12 - g1 * g2, m22 - tau - g2 * g2, p, alpha, rho)
    return tau, star, cross, own
