"""The Gaussian closure of the dual diffusion: its mean and covariance, no Monte Carlo (theory, section 2d).

``dm/dt = -E G(W)``, ``dC/dt = -E[H D] C - C E[D H'] + gamma E Sigma(W)`` with ``V ~ N(m, C)``, ``W = prox(V, g(t))``
and ``D`` the slope of the mirror map; by Stein's lemma, exact for a Gaussian V. The shape of each marginal, where it is
not Gaussian, follows from these moments (`marginals`).

That is of first order in the step size. Of second order are the moments of the algorithm itself, one step of which is

    m_{n+1} = m_n - gamma E G,   C_{n+1} = C_n + gamma (gamma E Sigma / b - E[H D] C - C E[D H'] + gamma Cov G(W)),

with ``Cov G = E[H] Cov W E[H]'`` up to third order, exactly for a quadratic problem.
"""

from __future__ import annotations

import numpy as np

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.marginals import SCORES, Trace, marginal_shapes
from rdasde._approximations.rkc import integrate, integrate_steps, interpolate
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._engine.run import MonteCarlo, Run, Solution
from rdasde._problems.base import Expectations, Problem
from rdasde._regularizers.base import GaussianMoments

_TOLERANCE = 1e-3  # local error, in units of the standard deviation of each coordinate
_LEAST_VARIANCE = 1e-4  # in these units: that of a coordinate which hardly moves, as a share of the largest
_LEAST_STD = 1e-5  # in them too, for where there is no noise: as a share of the way that the mean goes
_ROUNDING = 1e-8  # a standard deviation that is 0 up to rounding, as the same share
_FASTEST = (
    2.2  # in units of the problem's fastest rate: covariances decay at the sum of two rates, and a tenth to spare
)
_FIRST_STEP = 1e-3  # the first time step tried, as a share of the shortest time scale
_LEAST_BEND = 1e-3  # below it a coordinate counts as straight where it is asked whose bend is the larger
_TILE = 32  # rows and columns worked on at once where a matrix meets its transpose


@Kernel
def _primal_covariance(slope: Floats, curvature: Floats, variance: Floats, covariance: Floats, out: Floats) -> None:
    d = slope.size
    for i in range(d):
        for j in range(d):
            second = 0.5 * curvature[i] * curvature[j]
            out[i, j] = covariance[i, j] * (slope[i] * slope[j] + second * covariance[i, j])
        out[i, i] = variance[i]


def primal_covariance(moments: GaussianMoments, covariance: Floats) -> Floats:
    """Cov W from Cov V: exact on the diagonal, to second order in the correlation off it."""
    result = np.empty_like(covariance)
    _primal_covariance(moments.slope, moments.curvature, moments.variance, covariance, result)
    return result


@Kernel
def _velocity(noise: Floats, decay: Floats, gamma: float, out: Floats) -> None:
    """``gamma noise - decay - decay'`` into `out`, by tiles."""
    d = noise.shape[0]
    for top in range(0, d, _TILE):
        for left in range(0, d, _TILE):
            for i in range(top, min(top + _TILE, d)):
                for j in range(left, min(left + _TILE, d)):
                    out[i, j] = gamma * noise[i, j] - decay[i, j] - decay[j, i]


@Kernel
def _largest(difference: Floats, std: Floats) -> float:
    """The largest entry of `difference` (1 + d, d), a mean and a covariance, in units of `std`."""
    d = std.size
    worst = 0.0
    for j in range(d):
        size = abs(difference[0, j]) / std[j]
        worst = size if size > worst or np.isnan(size) else worst
    for i in range(d):
        row = 0.0
        for j in range(d):
            size = abs(difference[1 + i, j]) / std[j]
            row = size if size > row or np.isnan(size) else row
        row /= std[i]
        worst = row if row > worst or np.isnan(row) else worst
    return worst


@Kernel
def _likeness(covariance: Floats, std: Floats, bend: Floats, out: Floats) -> None:
    """``(i, j)``: how much of i's pull on j is bent like j's own, the cube of their correlation."""
    d = std.size
    for i in range(d):
        for j in range(d):
            correlation = covariance[i, j] / (std[i] * std[j])
            out[i, j] = correlation * correlation * correlation * min(1.0, bend[i] / max(bend[j], _LEAST_BEND))
        out[i, i] = 1.0


def check(problem: Problem, algorithm: RDA) -> None:
    """Gaussian moments of the mirror map must be known."""
    if not algorithm.mirror.has_moments:
        raise _check.bad(
            "method",
            f"'closure' with {algorithm.mirror!r}, which couples coordinates",
            "'closure' only with a separable regularizer",
            "use method='paths' instead",
        )


def solve(run: Run, monte_carlo: MonteCarlo) -> Solution:
    """The moments; nothing is drawn."""
    return Solution(gaussian_closure(run), {"equation_order": run.equation_order})


def gaussian_closure(run: Run) -> dict[str, Floats]:
    """Means, standard deviations and P(w_j = 0) of dual and primal, each (time, d); dual quantiles (score, time, d)."""
    problem, algorithm, dual_start, axis, _ = run
    d, mirror = problem.dimension, algorithm.mirror
    step_size, gamma = algorithm.step_size, algorithm.step_size / algorithm.batch_size
    second = run.equation_order == 2

    def threshold(t: float) -> float:
        return float(algorithm.thresholds(np.array([t]))[0])

    def moments_at(t: float, mean: Floats, variance: Floats) -> GaussianMoments:
        return mirror.gaussian_moments(mean, np.sqrt(np.maximum(variance, 0.0)), threshold(t))

    latest: list[tuple[GaussianMoments, Expectations, Floats]] = []  # of the last state asked for

    def rhs(t: float, state: Floats) -> Floats:
        mean, covariance = state[0], state[1:]
        moments = moments_at(t, mean, np.diagonal(covariance))
        mapped = primal_covariance(moments, covariance)
        expected = problem.expectations(moments.mean, mapped)
        decay = expected.hessian(moments.slope[:, None] * covariance)
        out = np.empty_like(state)
        np.negative(expected.gradient, out=out[0])
        _velocity(expected.noise, decay, gamma, out[1:])
        noise = gamma * np.diagonal(expected.noise)
        if second:
            scatter = expected.hessian(expected.hessian(mapped).T)
            out[1:] += step_size * scatter
            noise = noise + step_size * np.diagonal(scatter)
        latest[:] = [(moments, expected, noise)]
        return out

    def error(difference: Floats, before: Floats, after: Floats) -> float:
        variance = np.maximum(np.diagonal(before[1:]), np.diagonal(after[1:]))
        size = max(way, float(np.abs(after[0]).max()))
        largest = max(float(variance.max()), (_LEAST_STD * size) ** 2, np.finfo(float).tiny)
        std = np.sqrt(np.maximum(variance, _LEAST_VARIANCE * largest))
        return float(_largest(difference, std)) / _TOLERANCE

    state = np.zeros((d + 1, d))
    state[0] = dual_start
    mean, variance = np.full((len(axis.times), d), np.nan), np.zeros((len(axis.times), d))
    mean[0] = dual_start
    end = float(axis.times[-1])
    rate = _FASTEST * problem.fastest_rate() + 1e-12  # positive where nothing moves
    way = max(float(np.abs(dual_start).max()), float(np.abs(rhs(0.0, state)[0]).max()) / rate)
    slack = 0.25 * step_size if second else 0.0  # where times are multiples of the step size, up to rounding
    trace = [_traced(0.0, state, *latest[0])]
    if end > 0.0:
        first_step = _FIRST_STEP * min(end, 1.0 / rate)
        steps = (
            integrate_steps(rhs, state, int(axis.steps[-1]), step_size, rate=rate, error=error)
            if second
            else integrate(rhs, state, end, rate=rate, first_step=first_step, error=error)
        )
        for step in steps:
            inside = np.flatnonzero((axis.times > step.t0 + slack) & (axis.times <= step.t1 + slack))
            if inside.size:
                mean[inside] = interpolate(step, axis.times[inside], lambda y: y[0])
                variance[inside] = interpolate(step, axis.times[inside], lambda y: np.diagonal(y[1:]))
            # the last evaluation of an accepted step is the one at its end
            trace.append(_traced(step.t1, step.end, *latest[0]))
    variance = np.where(variance > (_ROUNDING * way) ** 2, variance, 0.0)
    std = np.sqrt(variance)
    mapped = mirror.gaussian_moments(mean, std, algorithm.thresholds(axis.times)[:, None])
    gaussian = {
        "dual_mean": mean,
        "dual_std": std,
        "primal_mean": mapped.mean,
        "primal_std": np.sqrt(mapped.variance),
        "probability_zero": mapped.zero,
    }
    traced = Trace(*(np.array(values) for values in zip(*trace, strict=True)))
    shape = marginal_shapes(mirror, traced, axis.times, mean, variance, algorithm.thresholds)
    return {name: _where_known(getattr(shape, name), values) for name, values in gaussian.items()} | {
        "dual_quantile": _where_known(shape.dual_quantile, mean + SCORES[:, None, None] * gaussian["dual_std"])
    }


def _traced(t: float, state: Floats, moments: GaussianMoments, expected: Expectations, noise: Floats) -> Trace:
    """What the shapes of the marginals need of a state of the closure."""
    mean, covariance = state[0], state[1:]
    variance = np.diagonal(covariance).copy()
    std = np.sqrt(np.where(variance > 0.0, variance, 1.0))
    likeness = np.empty_like(covariance)
    _likeness(covariance, std, moments.slope * (1.0 - moments.slope), likeness)
    pull = np.diagonal(expected.hessian(likeness)).copy()
    return Trace(np.float64(t), mean.copy(), variance, moments.slope, pull, noise)


def _where_known(better: Floats, otherwise: Floats) -> Floats:
    return np.where(np.isnan(better), otherwise, better)
