"""What a loss of a linear predictor is on a Gaussian design: three functions of two numbers.

``X ~ N(0, H)``, ``s = X'w``, ``s* = X'coef``, Y given s* alone. By Stein's lemma, with ``B = (H coef, H w)``,

* the mean gradient is ``E X l'(s, Y) = A H w + A* H coef``;
* its Jacobian is ``E XX' l''(s, Y) = a H + B K B'``;
* the noise covariance is ``E XX' l'(s, Y)^2 - G G' = tau H + B K' B'``;

where all numbers depend on ``q = w'Hw`` and ``c = w'H coef`` alone: a *law* (`laws`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable
from rdasde._problems.laws import LOGISTIC, POISSON, RADIAL, TABLE, Law
from rdasde._problems.logistic_means import noise_moments, slope_means
from rdasde._problems.mean_table import table_bend, table_pull, table_scatter
from rdasde._problems.radial_means import radial_bend, radial_pull, radial_scatter


@compilable
def pull(law, q, c, q_star):
    """A and A* of the mean gradient."""
    if law.kind == LOGISTIC:
        return slope_means(q)[0], -law.first
    if law.kind == POISSON:
        return np.exp(0.5 * q), -np.exp(0.5 * q_star)
    if law.kind == RADIAL:
        return radial_pull(law, q, c, q_star)
    if law.kind == TABLE:
        return table_pull(law, q, c, q_star)
    return 1.0, -1.0


@compilable
def bend(law, q, c, q_star):
    """a, K_**, K_*w, K_ww of the Hessian."""
    if law.kind == LOGISTIC:
        curvature, third = slope_means(q)
        return curvature, 0.0, 0.0, third
    if law.kind == POISSON:
        curvature = np.exp(0.5 * q)
        return curvature, 0.0, 0.0, curvature
    if law.kind == RADIAL:
        return radial_bend(law, q, c, q_star)
    if law.kind == TABLE:
        return table_bend(law, q, c, q_star)
    return 1.0, 0.0, 0.0, 0.0


@compilable
def scatter(law, q, c, q_star):
    """tau, K'_**, K'_*w, K'_ww of the noise covariance."""
    if law.kind == LOGISTIC:
        return noise_moments(q, c, q_star, law.first)
    if law.kind == POISSON:
        # E l'^2 = e^{2 s} - 2 e^{s + s*} + e^{2 s*} + e^{s*}, and E XX' e^{X'v} = e^{v'Hv/2} (H + H v v' H)
        own, star, both = np.exp(0.5 * q), np.exp(0.5 * q_star), np.exp(0.5 * (q + q_star) + c)
        doubled, twice = np.exp(2.0 * q), np.exp(2.0 * q_star)
        k_star = 4.0 * twice + star - 2.0 * both - star * star
        k_own = 4.0 * doubled - 2.0 * both - own * own
        return doubled - 2.0 * both + twice + star, k_star, own * star - 2.0 * both, k_own
    if law.kind == RADIAL:
        return radial_scatter(law, q, c, q_star)
    if law.kind == TABLE:
        return table_scatter(law, q, c, q_star)
    # E XX' (X'e)^2 = e'He H + 2 Hee'H
    return max(q - 2.0 * c + q_star, 0.0) + law.first, 1.0, -1.0, 1.0


@Kernel
def pull_of(law: Law, q: float, c: float, q_star: float) -> tuple[float, float]:
    """`pull`, called from Python, as those below."""
    return pull(law, q, c, q_star)


@Kernel
def bend_of(law: Law, q: float, c: float, q_star: float) -> tuple[float, float, float, float]:
    return bend(law, q, c, q_star)


@Kernel
def scatter_of(law: Law, q: float, c: float, q_star: float) -> tuple[float, float, float, float]:
    return scatter(law, q, c, q_star)


@Kernel
def numbers_of(law: Law, q: Floats, c: Floats, q_star: float, out: Floats) -> None:
    """`pull`, `bend` and `scatter` of several places into the rows of `out` (place, 10)."""
    for k in range(q.size):
        out[k, 0], out[k, 1] = pull(law, q[k], c[k], q_star)
        out[k, 2], out[k, 3], out[k, 4], out[k, 5] = bend(law, q[k], c[k], q_star)
        out[k, 6], out[k, 7], out[k, 8], out[k, 9] = scatter(law, q[k], c[k], q_star)


class Numbers(NamedTuple):
    """Of ``level H + B K B'``."""

    level: float
    star: float  # K_**
    cross: float  # K_*w
    own: float  # K_ww


class Images(NamedTuple):
    """B: ``H coef`` and ``H E W``, each (d,)."""

    star: Floats
    own: Floats


@Kernel
def spread_means(
    population: Floats, turned: Floats, images: Images, hessian: Numbers, noise: Numbers, out: tuple[Floats, Floats]
) -> None:
    """E H(W) and E Sigma(W) into `out`: in both ``H w w' H`` becomes ``H E[WW'] H``, `turned` being ``H Cov(W) H``."""
    star, own = images
    for i in range(own.size):
        first, second = star[i], own[i]
        for j in range(own.size):
            both = second * own[j] + turned[i, j]
            mixed = first * own[j] + second * star[j]
            pair = first * star[j]
            out[0][i, j] = (
                hessian.level * population[i, j] + hessian.star * pair + hessian.cross * mixed + hessian.own * both
            )
            out[1][i, j] = noise.level * population[i, j] + noise.star * pair + noise.cross * mixed + noise.own * both


@Kernel
def add_levels(population: Floats, turned: Floats, totals: Floats, out: tuple[Floats, Floats]) -> None:
    """``level H + k H Cov(W) H`` added to E H(W) and E Sigma(W), by the rows ``(level, k)`` of `totals`."""
    for i in range(population.shape[0]):
        for j in range(population.shape[0]):
            h, t = population[i, j], turned[i, j]
            out[0][i, j] += totals[0, 0] * h + totals[0, 1] * t
            out[1][i, j] += totals[1, 0] * h + totals[1, 1] * t
