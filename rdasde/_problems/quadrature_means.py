"""Means of any smooth loss over a Gaussian design with ``Y = s* + eps``: by quadrature over s, s* and the noise.

Normal noise makes (s, Y) normal, so that two dimensions are left: ``Y = p z_1``, ``s = alpha z_1 + rho z_2`` with
``alpha = c / p``. No derivative is needed but the loss's own. By the trapezoidal rule (see `logistic_means`), whose
error is about ``exp(-16 y)`` for a loss whose nearest pole in eta or Y is at a distance y from the real line,
``exp(-13 y)`` where the noise is not normal, for a coarser rule.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import fma, implements
from rdasde._losses.base import derivative, second_derivative
from rdasde._problems.mean_table import tabled

_REACH, _STEP, _COARSE = 6.5, 0.4, 0.5
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


@implements(tabled, QuadratureLaw)
def _(law, q, c, q_star):
    p = np.sqrt(q_star + law.noise_variance)
    alpha = c / p if p > 0.0 else 0.0
    rho = np.sqrt(max(q - alpha * alpha, 0.0))
    count = int(min(np.ceil(_REACH * max(1.0, p, abs(alpha)) / law.step), _MOST))
    across = int(min(np.ceil(_REACH * max(1.0, rho) / law.step), _MOST))
    h, k = _REACH / count, _REACH / across
    pull_star, pull_own, square, along, mass = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(-count, count + 1):
        z1 = h * i
        outer = np.exp(-0.5 * z1 * z1)
        for j in range(-across, across + 1):
            z2 = k * j
            s, first, second, third = fma(rho, z2, alpha * z1), 0.0, 0.0, 0.0
            for n in range(law.shifts.size):
                y = p * z1 + law.shifts[n]
                slope = derivative(law.loss, s, y)
                first += law.weights[n] * slope
                second += law.weights[n] * second_derivative(law.loss, s, y)
                third += law.weights[n] * slope * slope
            weight = outer * np.exp(-0.5 * z2 * z2)
            mass += weight
            pull_star += weight * z1 * first
            pull_own += weight * second
            square += weight * third
            along += weight * z1 * z1 * third
    own, total = pull_own / mass, square / mass
    per_p = 1.0 / p if p > 0.0 else 0.0
    return own, (pull_star / mass - own * alpha) * per_p, total, (along / mass - total) * per_p * per_p
