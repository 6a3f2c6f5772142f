"""Means of the logistic function over a Gaussian design, by quadrature.

Every mean is one of a function of ``s = X'w`` and ``s* = X'coef``, jointly normal, and Stein's
lemma brings what depends on them to four numbers: no Monte Carlo, no sums over d. With ``p = 1 / (1 + e^-s)`` and
``t = p - 1/2``, an odd function, ``t^2 = 1/4 - p'`` and ``p''' = p'(1 - 6 p')``. The means are taken by the trapezoidal
rule, which for functions analytic in a strip converges geometrically (Trefethen & Weideman, SIAM Review 56, 2014):
p has its poles at +-i pi, so that a step h costs an error of about ``exp(-2 pi^2 / h)``. Gauss-Hermite rules are slow
here: their error is ``exp(-c sqrt(nodes / q))`` for s of variance q.
"""

from __future__ import annotations

import functools

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable, fma

_NODES = 56  # on each side of 0, for means of functions of s
_REACH = 8.3  # standard deviations that matter
_DECAY = 36.0  # where p' is below 3e-16
_JOINT_REACH, _JOINT_STEP, _JOINT_NODES = 6.5, 0.8, 84  # the same for means of functions of s and s*
_RULES = 3, 6, 16  # nodes of Gauss-Hermite rules
_FEW, _MORE = 0.25, 0.7  # standard deviations up to which the first two do
_DENSITY = float(1.0 / np.sqrt(2.0 * np.pi))


@compilable
def centred_logistic(s):
    """t(s) = p(s) - 1/2, without overflow."""
    e = np.exp(-abs(s))
    return np.copysign(0.5 * (1.0 - e) / (1.0 + e), s)


@compilable
def slope_means(q):
    """E p'(s) and E p'''(s) for s ~ N(0, q); to 1e-10 for every q >= 0."""
    width = np.sqrt(q)
    reach = min(_REACH, _DECAY / width) if width > 0.0 else _REACH
    h = reach / _NODES
    # exp(-s) and the normal density at equally spaced points, by multiplication
    ratio = np.exp(-h * width)
    square = np.exp(-h * h)
    factor = np.exp(-0.5 * h * h)
    e, weight = 1.0, 1.0
    first, third = 0.125, -0.0625  # half of the values at 0
    for _ in range(_NODES):
        e *= ratio
        weight *= factor
        factor *= square
        slope = e / ((1.0 + e) * (1.0 + e))
        first = fma(weight, slope, first)
        third = fma(weight, slope * (1.0 - 6.0 * slope), third)
    scale = 2.0 * h * _DENSITY
    return scale * first, scale * third


@compilable
def joint_means(q, c, q_star):
    """E t t*, E p' p*', E t p*'', E p'' t* for s, s* of variances q, q* and covariance c; to 3e-8 for q, q* <= 100.

    A product rule in ``s* = sqrt(q*) z_1``, ``s = (c / sqrt(q*)) z_1 + rho z_2``; the products are even, so half of the
    plane is enough. 171 points where q, q* <= 1, growing like
    sqrt(q q*) to 14196; beyond that accuracy falls.
    """
    star = np.sqrt(q_star)
    along = c / star if star > 0.0 else 0.0
    rho = np.sqrt(max(q - along * along, 0.0))
    count = min(int(np.ceil(_JOINT_REACH * max(1.0, star, abs(along)) / _JOINT_STEP)), _JOINT_NODES)
    across = min(int(np.ceil(_JOINT_REACH * max(1.0, rho) / _JOINT_STEP)), _JOINT_NODES)
    h, k = _JOINT_REACH / count, _JOINT_REACH / across
    # the normal density from its left edge on, by multiplication
    edge, rise, square = np.exp(-0.5 * _JOINT_REACH * _JOINT_REACH), np.exp((across - 0.5) * k * k), np.exp(-k * k)
    tt, pp, tp, pt = 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        z1 = (i + 0.5) * h
        odd_star = centred_logistic(star * z1)
        slope_star = 0.25 - odd_star * odd_star
        second_star = -2.0 * odd_star * slope_star
        odd_sum, slope_sum, second_sum = 0.0, 0.0, 0.0
        weight, factor = edge, rise
        for j in range(-across, across + 1):
            odd = centred_logistic(fma(rho, j * k, along * z1))
            slope = 0.25 - odd * odd
            odd_sum = fma(weight, odd, odd_sum)
            slope_sum = fma(weight, slope, slope_sum)
            second_sum = fma(weight, -2.0 * odd * slope, second_sum)
            weight *= factor
            factor *= square
        weight = np.exp(-0.5 * z1 * z1)
        tt = fma(weight * odd_star, odd_sum, tt)
        pp = fma(weight * slope_star, slope_sum, pp)
        tp = fma(weight * second_star, odd_sum, tp)
        pt = fma(weight * odd_star, second_sum, pt)
    scale = 2.0 * h * k * _DENSITY * _DENSITY
    return scale * tt, scale * pp, scale * tp, scale * pt


@compilable
def noise_moments(q, c, q_star, curvature_star):
    """tau, K_**, K_*w, K_ww in ``Sigma = tau H + B K B'``, ``B = (H coef, H w)``.

    With ``h = E[(p - Y)^2 | X] = p^2 - 2 p p* + p*``, by Stein's lemma twice, ``E[h XX'] = (E h) H + B (E h'') B'``,
    where h'' is the matrix of second derivatives in (s*, s).
    """
    curvature, third = slope_means(q)
    tt, pp, tp, pt = joint_means(q, c, q_star)
    tau = 0.5 - curvature - 2.0 * tt
    star = -2.0 * tp - curvature_star * curvature_star
    cross = -2.0 * pp + curvature_star * curvature
    own = -third - 2.0 * pt - curvature * curvature
    return tau, star, cross, own


@compilable
def noise_weights(q, c, q_star, curvature_star, inner, inner_star):
    """sqrt(tau), f*, f such that ``sqrt(tau) L xi + f* H coef + f H w`` has the covariance Sigma."""
    return factored(noise_moments(q, c, q_star, curvature_star), q, c, q_star, inner, inner_star)


@compilable
def factored(moments, q, c, q_star, inner, inner_star):
    """sqrt(tau), f*, f such that ``sqrt(tau) L xi + f* H coef + f H w`` has the covariance ``tau H + B K B'``.

    `moments` are tau, K_**, K_*w, K_ww. Both f are linear in `inner` = w'L xi and `inner_star` = coef'L xi. With an
    orthonormal basis Q, ``(L'coef, L'w) = Q R``, the noise is ``L (sqrt(tau) (I - QQ') + Q S Q') xi`` with
    ``S S' = tau I + R K R'``, two by two. Where w and coef are parallel the second direction drops out.
    """
    tau, star, cross, own = moments
    level = np.sqrt(max(tau, 0.0))
    size = np.sqrt(q_star)
    per_size = 1.0 / size if size > 0.0 else 0.0
    along = c * per_size
    rest = q - along * along
    rho = np.sqrt(rest) if rest > 1e-14 * q else 0.0
    per_rho = 1.0 / rho if rho > 0.0 else 0.0
    # S lower triangular
    s11 = np.sqrt(max(tau + size * size * star + 2.0 * size * along * cross + along * along * own, 0.0))
    s21 = rho * (size * cross + along * own) / s11 if s11 > 0.0 else 0.0
    s22 = np.sqrt(max(tau + rho * rho * own - s21 * s21, 0.0))
    beta = along * per_size
    first = inner_star * per_size
    second = (inner - beta * inner_star) * per_rho
    f_first = (s11 - level) * first
    f_second = (s21 * first + (s22 - level) * second) * per_rho
    return level, f_first * per_size - beta * f_second, f_second


@Kernel
def slope_means_of(q: float) -> tuple[float, float]:
    """`slope_means`, compiled."""
    return slope_means(q)


@Kernel
def noise_moments_of(q: float, c: float, q_star: float, curvature_star: float) -> tuple[float, float, float, float]:
    """`noise_moments`, compiled."""
    return noise_moments(q, c, q_star, curvature_star)


@Kernel
def row_means(rules: tuple[Floats, ...], score: Floats, variance: Floats, labels: Floats, out: Floats) -> None:
    """Of rows whose scores s are normal: E p - p(E s), E p', E (p - y)^2 into `out` (3, row).

    By the shortest of some Gauss-Hermite rules, each nodes and weights (2, node), that is accurate to 1e-5.
    """
    for i in range(score.size):
        deviation = np.sqrt(max(variance[i], 0.0))
        rule = rules[0] if deviation < _FEW else rules[1] if deviation < _MORE else rules[2]
        first, slope, square = 0.0, 0.0, 0.0
        for k in range(rule.shape[1]):
            p = 0.5 + centred_logistic(score[i] + deviation * rule[0, k])
            weight, residual = rule[1, k], p - labels[i]
            first += weight * p
            slope += weight * p * (1.0 - p)
            square += weight * residual * residual
        out[0, i] = first - 0.5 - centred_logistic(score[i])
        out[1, i] = slope
        out[2, i] = square


@functools.cache
def hermite_rules() -> tuple[Floats, ...]:
    """Nodes and weights (2, node) for means over a standard normal, as `row_means` takes them."""
    rules = []
    for number in _RULES:
        nodes, weights = np.polynomial.hermite_e.hermegauss(number)
        rules.append(np.ascontiguousarray([nodes, weights / weights.sum()]))
    return tuple(rules)
