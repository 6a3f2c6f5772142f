"""The Gaussian closure of the dual diffusion: its mean and covariance, no Monte Carlo (theory, section 2d).

``dm/dt = -E G(W)``, ``dC/dt = -E[H D] C - C E[D H'] + gamma E Sigma(W)`` with ``V ~ N(m, C)``, ``W = prox(V, g(t))``
and ``D`` the slope of the mirror map; by Stein's lemma, exact for a Gaussian V.
"""

from __future__ import annotations

import numpy as np

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._grid import TimeAxis
from rdasde._problem import Problem
from rdasde._regularizer import GaussianMoments
from rdasde._rkc import integrate, interpolate

_TOLERANCE = 1e-3  # local error, in units of the standard deviation of each coordinate


def primal_covariance(moments: GaussianMoments, covariance: Floats) -> Floats:
    """Cov W from Cov V: exact on the diagonal, to second order in the correlation off it."""
    result = covariance * moments.slope[:, None]
    result *= moments.slope
    second = covariance * moments.curvature[:, None]
    second *= covariance
    second *= 0.5 * moments.curvature
    result += second
    np.fill_diagonal(result, moments.variance)
    return result


def gaussian_closure(problem: Problem, algorithm: RDA, dual_start: Floats, axis: TimeAxis) -> dict[str, Floats]:
    """Means, standard deviations and P(w_j = 0) of dual and primal, each (time, d)."""
    d, mirror = problem.dimension, algorithm.mirror
    gamma = algorithm.step_size / algorithm.batch_size

    def threshold(t: float) -> float:
        return float(algorithm.thresholds(np.array([t]))[0])

    def moments_at(t: float, mean: Floats, variance: Floats) -> GaussianMoments:
        return mirror.gaussian_moments(mean, np.sqrt(np.maximum(variance, 0.0)), threshold(t))

    def rhs(t: float, state: Floats) -> Floats:
        mean, covariance = state[0], state[1:]
        moments = moments_at(t, mean, np.diagonal(covariance))
        gradient, sigma = problem.gaussian_gradient(moments.mean, primal_covariance(moments, covariance))
        decay = problem.apply_hessian(moments.slope[:, None] * covariance)
        out = np.empty_like(state)
        np.negative(gradient, out=out[0])
        rest = out[1:]
        np.multiply(sigma, gamma, out=rest)
        rest -= decay
        rest -= decay.T
        return out

    def error(difference: Floats, before: Floats, after: Floats) -> float:
        variance = np.maximum(np.diagonal(before[1:]), np.diagonal(after[1:]))
        largest = max(float(variance.max()), np.finfo(float).tiny)
        std = np.sqrt(np.maximum(variance, 1e-4 * largest))
        shift = float(np.abs(difference[0] / std).max())
        spread = float(np.abs(difference[1:] / std[:, None] / std).max())
        return max(shift, spread) / _TOLERANCE

    state = np.zeros((d + 1, d))
    state[0] = dual_start
    mean, variance = np.empty((len(axis.times), d)), np.empty((len(axis.times), d))
    mean[0], variance[0] = dual_start, 0.0
    end = float(axis.times[-1])
    rate = 2.2 * problem.fastest_rate() + 1e-12
    if end > 0.0:
        for step in integrate(rhs, state, end, rate=rate, first_step=1e-3 * min(end, 1.0 / rate), error=error):
            inside = np.flatnonzero((axis.times > step.t0) & (axis.times <= step.t1))
            if inside.size:
                mean[inside] = interpolate(step, axis.times[inside], lambda y: y[0])
                variance[inside] = interpolate(step, axis.times[inside], lambda y: np.diagonal(y[1:]))
    result = {"dual_mean": mean, "dual_std": np.sqrt(np.maximum(variance, 0.0))}
    mapped = [moments_at(float(t), m, s) for t, m, s in zip(axis.times, mean, variance, strict=True)]
    result["primal_mean"] = np.array([moments.mean for moments in mapped])
    result["primal_std"] = np.sqrt(np.array([moments.variance for moments in mapped]))
    result["probability_zero"] = np.array([moments.zero for moments in mapped])
    return result
