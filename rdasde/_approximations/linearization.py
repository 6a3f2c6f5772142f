"""The drift of the dual diffusion, linearized statistically around its closure.

``G(W) = E G + E[H] (W - E W)``: by Stein's lemma the regression of G on W where V is Gaussian, so that what is left is
not correlated with W. It is exact in the threshold, ``W = prox(V, g)``, and for quadratic problems. Otherwise the
curvature of G is missed, of the order of the step size, beside fluctuations of the order of its square root; so is what
the noise depends on W for, beside its mean E Sigma. A step of a path costs d^2, whatever a mean gradient costs.

The steps are those of `rdasde._engine.loops`; what one of them misses of the closure's mean is added to every path.
"""

from __future__ import annotations

import numpy as np

from rdasde._approximations.closure import between, moment_steps
from rdasde._approximations.moment_equations import joint_moments
from rdasde._approximations.rkc import interpolate_both
from rdasde._approximations.time_grid import TimeGrid
from rdasde._check import Floats
from rdasde._engine.linearized import Linearized
from rdasde._engine.memory import need_memory
from rdasde._engine.run import Run

_STATES = 32  # at which it is looked at how curved G is, fewer where all of them would take more than so many numbers
_NUMBERS = 2e8
_LOOKS = (0.02, 0.1, 0.3, 1.0)  # when, as shares of the horizon


def linearize(run: Run, grid: TimeGrid, lag: float, progress: bool | None = False) -> tuple[Linearized, float]:
    """What paths on a grid need, and how much of the fluctuation of G is not linear: the largest share of its square.

    The share is 0 for quadratic problems, and where no mean gradient is known.
    """
    problem, algorithm = run.problem, run.algorithm
    times, middles, d = grid.times, grid.with_middles(lag)[1::2], problem.dimension
    need_memory(16.0 * len(times) * d * d, "The drift and noise of the paths", "ask for fewer times, or drift='exact'")
    moments = joint_moments(run)
    moments.rhs(0.0, moments.state)
    hessians, noises = ([matrix] for matrix in moments.matrices())
    ends, state = [0.0], np.empty((len(times), 2, d))
    slope = np.empty_like(state)
    slack = 0.25 * lag
    curved, looks = 0.0, [] if problem.is_quadratic or not problem.has_exact_gradient else list(_LOOKS)
    for step in moment_steps(run, moments, progress):
        at = np.flatnonzero((times >= (step.t0 if step.t0 == 0.0 else step.t0 + slack)) & (times <= step.t1 + slack))
        if at.size:
            state[at], slope[at] = interpolate_both(step, times[at], moments.pick)
        for matrices, matrix in zip((hessians, noises), moments.matrices(), strict=True):
            matrices.append(matrix)
        ends.append(step.t1)
        if looks and step.t1 >= looks[0] * times[-1] * (1.0 - 1e-9):
            curved = max(curved, _curvature(run, step.t1, step.end, -moments.rhs(step.t1, step.end)[0], hessians[-1]))
            looks = [look for look in looks if step.t1 < look * times[-1] * (1.0 - 1e-9)]
    thresholds = algorithm.thresholds(times)
    mean, gradient = state[:, 0], -slope[:, 0]
    std = np.sqrt(np.maximum(state[:, 1], 0.0))
    mapped = algorithm.mirror.gaussian_moments(mean, std, thresholds[:, None])
    constant = all(np.array_equal(hessian, hessians[0]) for hessian in hessians)
    hessian = np.array(hessians[:1]) if constant else between(times, np.array(ends), np.array(hessians))
    factor = between(middles, np.array(ends), np.array([_root(noise) for noise in noises]))
    offset = gradient - _times(hessian, mapped.mean)
    h = np.diff(times)[:, None]
    early = np.where(h > 1.5 * lag, 0.5 * (h - lag), 0.0)
    # the mean of the predictor is off by O(h^2), and what follows from it
    ahead = mean[:-1] - h * gradient[:-1] - mean[1:]
    response = _times(hessian if constant else hessian[1:], mapped.slope[1:] * ahead)
    defect = np.diff(mean, axis=0) + (h - early) * gradient[:-1] + early * (gradient[1:] + response)
    level = float(np.sqrt(algorithm.step_size / algorithm.batch_size))
    return Linearized(times, thresholds, level, offset, hessian, factor, defect, lag), curved


def _curvature(run: Run, t: float, state: Floats, gradient: Floats, hessian: Floats) -> float:
    """The share of E |G - E G|^2 that the regression of G on W leaves, at random states of the closure."""
    problem, mirror = run.problem, run.algorithm.mirror
    threshold = float(run.algorithm.thresholds(np.array([t]))[0])
    std = np.sqrt(np.maximum(np.diagonal(state[1:]), 0.0))
    centre = mirror.gaussian_moments(state[0], std, threshold).mean
    number = int(np.clip(_NUMBERS / (len(_LOOKS) * problem.drift_cost()), 4, _STATES))
    left = whole = 0.0
    for z in np.random.default_rng(0).standard_normal((number, problem.dimension)):
        w = mirror.prox(state[0] + _root(state[1:]) @ z, threshold)
        linear, moved = hessian @ (w - centre), problem.mean_gradient(w) - gradient
        left += float(np.sum((moved - linear) ** 2))
        whole += float(np.sum(moved**2))
    return left / whole if whole > 0.0 else 0.0


def _times(matrices: Floats, vectors: Floats) -> Floats:
    """Products of a matrix and a vector for each time."""
    return np.asarray(np.matmul(matrices, vectors[:, :, None])[:, :, 0])


def _root(noise: Floats) -> Floats:
    """B, ``B B' = noise``: smooth in it, and there for a singular one too."""
    size = float(np.trace(noise)) / len(noise)
    if size <= 0.0:
        return np.zeros_like(noise)
    try:
        return np.asarray(np.linalg.cholesky(noise + 1e-10 * size * np.eye(len(noise))), dtype=np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(noise)
        return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
