"""The Gaussian closure of the dual diffusion: its mean and covariance, no Monte Carlo (theory, section 2d).

``dm/dt = -E G(W)``, ``dC/dt = -E[H D] C - C E[D H'] + gamma E Sigma(W)`` with ``V ~ N(m, C)``, ``W = prox(V, g(t))``
and ``D`` the slope of the mirror map; by Stein's lemma, exact for a Gaussian V. The shape of each marginal, where it is
not Gaussian, follows from these moments (`marginals`).

That is of first order in the step size. Of second order are the moments of the algorithm itself, one step of which is

    m_{n+1} = m_n - gamma E G,   C_{n+1} = C_n + gamma (gamma E Sigma / b - E[H D] C - C E[D H'] + gamma Cov G(W)),

with ``Cov G = E[H] Cov W E[H]'`` up to third order, exactly for a quadratic problem.

The running average of the primal is ``I(t) / t``, ``dI = W dt``. By Stein's lemma again, with ``K = Cov(I, V)``,

    dE I/dt = E W,   dK/dt = E[D] C - K E[D H'],   d Var I_j/dt = 2 K_jj E D_j,

and of the algorithm, whose average is over the states before its steps, ``I_{n+1} = I_n + gamma w_n``,

    K_{n+1} = K_n + gamma (E[D] C - K_n E[D H'] - gamma Cov(W, G)),   Var I_{n+1} likewise with ``gamma Var W`` more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    return Solution(gaussian_closure(run, monte_carlo.average), {"equation_order": run.equation_order})


def gaussian_closure(run: Run, average: bool = False) -> dict[str, Floats]:
    """Means, standard deviations and P(w_j = 0) of dual and primal, each (time, d); dual quantiles (score, time, d).

    With `average` also mean and standard deviation of the running average of the primal.
    """
    problem, algorithm, dual_start, axis, _ = run
    d, mirror = problem.dimension, algorithm.mirror
    second = run.equation_order == 2
    sizes, clock = axis.sizes, axis.clock
    numbers = np.arange(axis.total + 1, dtype=np.float64)

    def threshold(t: float) -> float:
        return float(algorithm.thresholds(np.array([t]))[0])

    def moments_at(t: float, mean: Floats, variance: Floats) -> GaussianMoments:
        return mirror.gaussian_moments(mean, np.sqrt(np.maximum(variance, 0.0)), threshold(t))

    latest: list[tuple[GaussianMoments, Expectations, Floats]] = []  # of the last state asked for

    def velocity(t: float, state: Floats, step_size: float, weight: float) -> Floats:
        """By time, where a step is `step_size` and the average gives the primal so much `weight`."""
        gamma = step_size / algorithm.batch_size
        mean, covariance = state[0], state[1 : 1 + d]
        moments = moments_at(t, mean, np.diagonal(covariance))
        mapped = primal_covariance(moments, covariance)
        expected = problem.expectations(moments.mean, mapped)
        decay = expected.hessian(moments.slope[:, None] * covariance)
        out = np.empty_like(state)
        np.negative(expected.gradient, out=out[0])
        _velocity(expected.noise, decay, gamma, out[1 : 1 + d])
        noise = gamma * np.diagonal(expected.noise)
        if second:
            scatter = expected.hessian(expected.hessian(mapped).T)
            out[1 : 1 + d] += step_size * scatter
            noise = noise + step_size * np.diagonal(scatter)
        if average:
            cross = state[3 + d :]  # Cov(I, V)
            out[1 + d] = weight * moments.mean
            out[2 + d] = 2.0 * weight * np.diagonal(cross) * moments.slope
            out[3 + d :] = (weight * moments.slope)[:, None] * covariance
            out[3 + d :] -= expected.hessian(moments.slope[:, None] * cross.T).T
            if second:
                out[2 + d] += step_size * weight**2 * moments.variance
                out[3 + d :] -= step_size * weight * expected.hessian(mapped).T
        latest[:] = [(moments, expected, noise)]
        return out

    def rhs(at: float, state: Floats) -> Floats:
        """By time; of the algorithm whose step size falls, by the number of steps."""
        if sizes is None or clock is None:
            return velocity(at, state, algorithm.step_size, 1.0)
        if second:
            size = float(np.interp(at, numbers[:-1], sizes))
            return size * velocity(float(np.interp(at, numbers, clock)), state, size, 1.0 / size)
        size = float(np.interp(at, clock[:-1], sizes))
        return velocity(at, state, size, 1.0 / size)

    def error(difference: Floats, before: Floats, after: Floats) -> float:
        variance = np.maximum(np.diagonal(before[1 : 1 + d]), np.diagonal(after[1 : 1 + d]))
        largest = max(float(variance.max()), np.finfo(float).tiny)
        std = np.sqrt(np.maximum(variance, _LEAST_VARIANCE * largest))
        return float(_largest(difference[: 1 + d], std)) / _TOLERANCE

    state = np.zeros((2 * d + 3 if average else d + 1, d))
    state[0] = dual_start
    mean, variance = np.full((len(axis.times), d), np.nan), np.zeros((len(axis.times), d))
    mean[0] = dual_start
    integral, spread = np.zeros_like(mean), np.zeros_like(mean)  # of the primal: its mean and variance
    end = float(axis.times[-1])
    by_number = second and sizes is not None
    lag = 1.0 if by_number else algorithm.step_size
    at = axis.steps.astype(np.float64) if by_number else axis.times  # what steps are counted in
    rate = (
        _FASTEST * problem.fastest_rate() * (algorithm.step_size if by_number else 1.0) + 1e-12
    )  # positive where nothing moves
    rhs(0.0, state)
    slack = 0.25 * lag if second else 0.0  # where times are multiples of the step size, up to rounding
    trace = [_traced(0.0, state, *latest[0])]
    if end > 0.0:
        first_step = _FIRST_STEP * min(end, 1.0 / rate)
        steps = (
            integrate_steps(rhs, state, int(axis.steps[-1]), lag, rate=rate, error=error)
            if second
            else integrate(rhs, state, end, rate=rate, first_step=first_step, error=error)
        )
        for step in steps:
            inside = np.flatnonzero((at > step.t0 + slack) & (at <= step.t1 + slack))
            if inside.size:
                mean[inside] = interpolate(step, at[inside], lambda y: y[0])
                variance[inside] = interpolate(step, at[inside], lambda y: np.diagonal(y[1 : 1 + d]))
                if average:
                    integral[inside] = interpolate(step, at[inside], lambda y: y[1 + d])
                    spread[inside] = interpolate(step, at[inside], lambda y: y[2 + d])
            # the last evaluation of an accepted step is the one at its end
            now = float(np.interp(step.t1, numbers, clock)) if by_number and clock is not None else step.t1
            trace.append(_traced(now, step.end, *latest[0]))
    std = np.sqrt(np.maximum(variance, 0.0))
    mapped = mirror.gaussian_moments(mean, std, algorithm.thresholds(axis.times)[:, None])
    gaussian = {
        "dual_mean": mean,
        "dual_std": std,
        "primal_mean": mapped.mean,
        "primal_std": np.sqrt(mapped.variance),
        "probability_zero": mapped.zero,
    }
    averages = _averages(integral, spread, axis.times if sizes is None else axis.steps, mapped.mean) if average else {}
    traced = Trace(*(np.array(values) for values in zip(*trace, strict=True)))
    shape = marginal_shapes(mirror, traced, axis.times, mean, variance, algorithm.thresholds)
    better = {name: _where_known(getattr(shape, name), values) for name, values in gaussian.items()}
    quantile = _where_known(shape.dual_quantile, mean + SCORES[:, None, None] * gaussian["dual_std"])
    return better | averages | {"dual_quantile": quantile}


def _averages(integral: Floats, variance: Floats, over: NDArray[Any], primal: Floats) -> dict[str, Floats]:
    """Of the running average `over` time or steps: that of the primal so far, and at first the primal itself."""
    later = (over > 0.0)[:, None]
    total = np.where(later, over[:, None], 1.0)
    return {
        "average_mean": np.where(later, integral / total, primal),
        "average_std": np.where(later, np.sqrt(np.maximum(variance, 0.0)) / total, 0.0),
    }


def _traced(t: float, state: Floats, moments: GaussianMoments, expected: Expectations, noise: Floats) -> Trace:
    """What the shapes of the marginals need of a state of the closure."""
    mean = state[0]
    covariance = np.ascontiguousarray(state[1 : 1 + len(mean)])
    variance = np.diagonal(covariance).copy()
    std = np.sqrt(np.where(variance > 0.0, variance, 1.0))
    likeness = np.empty_like(covariance)
    _likeness(covariance, std, moments.slope * (1.0 - moments.slope), likeness)
    pull = np.diagonal(expected.hessian(likeness)).copy()
    return Trace(np.float64(t), mean.copy(), variance, moments.slope, pull, noise)


def _where_known(better: Floats, otherwise: Floats) -> Floats:
    return np.where(np.isnan(better), otherwise, better)
