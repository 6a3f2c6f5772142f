"""The equations of mean and covariance that the closure solves: of all pairs, or of each coordinate alone.

``dm/dt = -E G(W)``, ``dC/dt = -E[H D] C - C E[D H'] + gamma E Sigma(W)``, for the recursion of second order with
``gamma Cov G(W)`` more (`closure`).

Where the Hessian is diagonal and constant, E G and the diagonals of E[H D] C and of E Sigma, for least squares
``(tr(H M) + sigma^2) h_j + h_j^2 M_jj`` with ``M = E[(W - w*) (W - w*)']``, depend on the marginal laws alone. Noise
does correlate coordinates, by ``gamma h_i h_j M_ij``, but nothing of that comes back: means and variances are those of
the full equations, in O(d).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._engine.run import Run
from rdasde._problems.base import Expectations
from rdasde._regularizers.base import GaussianMoments

_TOLERANCE = 1e-3  # local error, in units of the standard deviation of each coordinate
_LEAST_VARIANCE = 1e-4  # in these units: that of a coordinate which hardly moves, as a share of the largest
_LEAST_STD = 1e-5  # in them too, for where there is no noise: as a share of the way that the mean goes
_LEAST_BEND = 1e-3  # below it a coordinate counts as straight where it is asked whose bend is the larger


class MomentEquations(NamedTuple):
    """What moves, and what is read off it."""

    state: Floats  # at the start
    rhs: Callable[[float, Floats], Floats]
    error: Callable[[Floats, Floats, Floats], float]  # of a step, in units of what is tolerated
    pick: Callable[[Floats], Floats]  # mean and variance (2, d) of a state, linear in it; of the integral, too, (4, d)
    trace: Callable[[Floats], Floats]  # pull and noise (2, d) at the state that `rhs` was asked for last
    matrices: Callable[[], tuple[Floats, Floats]]  # E H and E Sigma (d, d) there
    way: float  # about how far the mean goes, or starts from 0


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
def _pulled(slope: Floats, covariance: Floats, cross: Floats, half: float, out: Floats) -> None:
    """``D C - half Cov(W, G)`` into `out`."""
    for i in range(slope.size):
        for j in range(slope.size):
            out[i, j] = slope[i] * covariance[i, j] - half * cross[i, j]


@Kernel
def _velocity(noise: Floats, decay: Floats, back: Floats, gamma: float, out: Floats) -> None:
    """``gamma noise - decay - back`` into `out`."""
    d = noise.shape[0]
    for i in range(d):
        for j in range(d):
            out[i, j] = gamma * noise[i, j] - decay[i, j] - back[i, j]


@Kernel
def _largest(difference: Floats, std: Floats) -> float:
    """The largest entry of `difference` (1 + d, d), a mean and a covariance, in units of `std`; or what is no number.

    By columns, each with a largest of its own: then compilers see that the loop can be vectorized.
    """
    unit = 1.0 / std
    worst = np.abs(difference[0])
    for i in range(std.size):
        scale = unit[i]
        for j in range(std.size):
            size = abs(difference[1 + i, j]) * scale
            worst[j] = size if size > worst[j] or size != size else worst[j]
    largest = 0.0
    for j in range(std.size):
        size = worst[j] * unit[j]
        largest = size if size > largest or size != size else largest
    return largest


@Kernel
def _likeness(covariance: Floats, std: Floats, bend: Floats, out: Floats) -> None:
    """``(i, j)``: how much of i's pull on j is bent like j's own, the cube of their correlation."""
    d = std.size
    for i in range(d):
        for j in range(d):
            correlation = covariance[i, j] / (std[i] * std[j])
            out[i, j] = correlation * correlation * correlation * min(1.0, bend[i] / max(bend[j], _LEAST_BEND))
        out[i, i] = 1.0


def _mapped(run: Run) -> Callable[[float, Floats, Floats], GaussianMoments]:
    """Of W at a time, from means and variances of V."""
    mirror, thresholds = run.algorithm.mirror, run.algorithm.thresholds

    def moments(t: float, mean: Floats, variance: Floats) -> GaussianMoments:
        return mirror.gaussian_moments(mean, np.sqrt(np.maximum(variance, 0.0)), float(thresholds(np.array([t]))[0]))

    return moments


def _spread(before: Floats, after: Floats, size: float) -> Floats:
    """Standard deviations that errors are measured by, from variances, where states are of some `size`."""
    variance = np.maximum(before, after)
    largest = max(float(variance.max()), (_LEAST_STD * size) ** 2, np.finfo(float).tiny)
    return np.sqrt(np.maximum(variance, _LEAST_VARIANCE * largest))


def _way(run: Run, velocity: Floats) -> float:
    rate = run.problem.fastest_rate()
    ahead = float(np.abs(velocity).max()) / rate if rate > 0.0 else 0.0
    return max(float(np.abs(run.dual_start).max()), ahead)


class Pace(NamedTuple):
    """Of the algorithm where the equations are asked for."""

    time: float
    size: float  # of a step
    weight: float  # of the primal in the integral behind an average, by time: 1, or by steps where these are counted
    speed: float  # of time, 1 where it is counted in


def _pace(run: Run) -> Callable[[float], Pace]:
    """At a time, or, of steps that fall at second order, at a number of steps."""
    sizes, clock, constant = run.axis.sizes, run.axis.clock, run.algorithm.step_size
    if sizes is None or clock is None:
        return lambda at: Pace(at, constant, 1.0, 1.0)
    numbers = np.arange(len(clock), dtype=np.float64)

    def falling(at: float) -> Pace:
        if run.equation_order == 2:
            size = float(np.interp(at, numbers[:-1], sizes))
            return Pace(float(np.interp(at, numbers, clock)), size, 1.0 / size, size)
        size = float(np.interp(at, clock[:-1], sizes))
        return Pace(at, size, 1.0 / size, 1.0)

    return falling


class Latest(NamedTuple):
    """What the equations were last asked for."""

    moments: GaussianMoments
    expected: Expectations
    gamma: float
    weight: float  # of the scatter of G in the velocity of the covariance

    def noise(self) -> Floats:
        """What is added to each variance in a unit of time, (d,)."""
        noise: Floats = self.gamma * np.diagonal(self.expected.noise)
        if not self.weight:
            return noise
        assert self.expected.cross is not None
        return noise + self.weight * self.expected.hessian_diagonal(self.expected.cross)


def joint_moments(run: Run, average: bool = False) -> MomentEquations:
    """Of mean and covariance, a state (1 + d, d).

    With `average` also of the integral of the primal, its covariance with the dual included: (3 + 2 d, d).
    """
    problem, algorithm, dual_start = run[:3]
    d, second, pace_at, moments_at = problem.dimension, run.equation_order == 2, _pace(run), _mapped(run)
    latest: list[Latest] = []

    def rhs(at: float, state: Floats) -> Floats:
        time, step_size, unit, speed = pace_at(at)
        gamma = step_size / algorithm.batch_size
        mean, covariance = state[0], state[1 : 1 + d]
        moments = moments_at(time, mean, np.diagonal(covariance))
        mapped = primal_covariance(moments, covariance)
        expected = problem.expectations(moments.mean, mapped)
        # of Cov G = E[H] Cov(W) E[H]' at second order, and of what the noise leaves out
        weight = gamma * expected.share + (step_size if second else 0.0)
        if expected.cross is None and (weight or (average and second)):
            expected = expected._replace(cross=np.ascontiguousarray(expected.hessian(mapped).T))
        cross = expected.cross if weight else None
        # it goes through the Hessian together with the decay: H X + X' H' has both
        pulled = np.empty_like(covariance)
        _pulled(moments.slope, covariance, covariance if cross is None else cross, 0.5 * weight, pulled)
        decay = expected.hessian(pulled)
        out = np.empty_like(state)
        np.negative(expected.gradient, out=out[0])
        _velocity(expected.noise, decay, np.ascontiguousarray(decay.T), gamma, out[1 : 1 + d])
        if average:
            shared = state[3 + d :]  # Cov(I, V)
            out[1 + d] = unit * moments.mean
            out[2 + d] = 2.0 * unit * np.diagonal(shared) * moments.slope
            out[3 + d :] = (unit * moments.slope)[:, None] * covariance
            out[3 + d :] -= expected.hessian(moments.slope[:, None] * shared.T).T
            if second:
                assert expected.cross is not None
                out[2 + d] += step_size * unit**2 * moments.variance
                out[3 + d :] -= step_size * unit * expected.cross
        latest[:] = [Latest(moments, expected, gamma, weight)]
        return out if speed == 1.0 else speed * out

    def error(difference: Floats, before: Floats, after: Floats) -> float:
        size = max(way, float(np.abs(after[0]).max()))
        std = _spread(np.diagonal(before[1 : 1 + d]), np.diagonal(after[1 : 1 + d]), size)
        return float(_largest(difference[: 1 + d], std)) / _TOLERANCE

    def pick(state: Floats) -> Floats:
        return np.stack([state[0], np.diagonal(state[1 : 1 + d]), *state[1 + d : 3 + d]])

    def trace(state: Floats) -> Floats:
        moments, expected = latest[0][:2]
        covariance = np.ascontiguousarray(state[1 : 1 + d])
        variance = np.diagonal(covariance)
        std = np.sqrt(np.where(variance > 0.0, variance, 1.0))
        likeness = np.empty_like(covariance)
        _likeness(covariance, std, moments.slope * (1.0 - moments.slope), likeness)
        return np.stack([expected.hessian_diagonal(likeness), latest[0].noise()])

    def matrices() -> tuple[Floats, Floats]:
        expected = latest[0].expected
        return expected.hessian(np.eye(d)) if expected.matrix is None else expected.matrix, expected.whole_noise()

    state = np.zeros((2 * d + 3 if average else d + 1, d))
    state[0] = dual_start
    way = _way(run, rhs(0.0, state)[0] / pace_at(0.0).speed)
    return MomentEquations(state, rhs, error, pick, trace, matrices, way)


def independent_moments(run: Run) -> MomentEquations:
    """Of means and variances, a state (2, d), where these are all that enters."""
    problem, algorithm, dual_start = run[:3]
    step_size, gamma = algorithm.step_size, algorithm.step_size / algorithm.batch_size
    moments_at = _mapped(run)
    latest: list[Floats] = []

    def rhs(t: float, state: Floats) -> Floats:
        moments = moments_at(t, *state)
        gradient, hessian, noise = problem.diagonal_expectations(moments.mean, moments.variance)
        noise = gamma * noise
        if run.equation_order == 2:
            noise = noise + step_size * hessian**2 * moments.variance
        latest[:] = [np.stack([hessian, noise])]
        return np.stack([-gradient, noise - 2.0 * hessian * moments.slope * state[1]])

    def error(difference: Floats, before: Floats, after: Floats) -> float:
        std = _spread(before[1], after[1], max(way, float(np.abs(after[0]).max())))
        worst = np.maximum(np.abs(difference[0]) / std, np.abs(difference[1]) / std**2)
        return float(worst.max()) / _TOLERANCE

    state = np.stack([dual_start, np.zeros(problem.dimension)])

    def matrices() -> tuple[Floats, Floats]:
        raise NotImplementedError  # they are not formed

    way = _way(run, rhs(0.0, state)[0])
    return MomentEquations(state, rhs, error, lambda state: state, lambda state: latest[0], matrices, way)
