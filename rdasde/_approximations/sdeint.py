"""The dual diffusion through the sdeint package: slow, somebody else's, and so a cross-check of ours."""

from __future__ import annotations

import functools

import numpy as np

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.progress import Progress
from rdasde._engine.run import MonteCarlo, Run, Solution
from rdasde._problems.base import Problem

_RESOLUTION = 0.05  # Euler's step, in units of the fastest relaxation time: its bias is of first order
_STEPS = 200.0  # at least, over the whole time
_FINER = 8  # times as many up to the first recorded time: the threshold has an infinite slope at 0


def check(problem: Problem, algorithm: RDA) -> None:
    """Whatever the problem and the mirror map: all of it is NumPy."""


def solve(run: Run, monte_carlo: MonteCarlo) -> Solution:
    """Paths, by Euler's scheme."""
    dual, primal = sdeint_paths(run, monte_carlo)
    return Solution({"dual": dual, "primal": primal}, {})


def sdeint_paths(run: Run, monte_carlo: MonteCarlo) -> tuple[Floats, Floats]:
    """Paths of ``dV = -G(W) dt + sqrt(gamma) Sigma(W)^(1/2) dB`` by Euler's scheme: dual, primal (path, time, d).

    ImportError where the package is not installed. One path after the other in this thread; the tolerance is not asked.
    """
    try:
        import sdeint
    except ImportError:
        raise ImportError("method='sdeint' needs the sdeint package: pip install 'rdasde[sdeint]'.") from None

    problem, algorithm, dual_start, axis = run[:4]
    mirror = algorithm.mirror
    level = float(np.sqrt(algorithm.step_size / algorithm.batch_size))
    longest = min(_RESOLUTION / problem.fastest_rate(), max(axis.times[-1], 1e-300) / _STEPS)

    @functools.cache  # all paths are stepped on one grid
    def threshold(t: float) -> float:
        return float(algorithm.thresholds(np.array([t]))[0])

    latest = [(np.full(problem.dimension, np.nan), np.nan, dual_start)]  # state, time and primal last asked for

    def primal_at(v: Floats, t: float) -> Floats:
        known, at, primal = latest[0]
        if t != at or not np.array_equal(v, known):  # drift and noise are asked for at the same state
            primal = mirror.prox(v, threshold(float(t)))
            latest[0] = v.copy(), t, primal
        return primal

    def drift(v: Floats, t: float) -> Floats:
        return -problem.mean_gradient(primal_at(v, t))

    def noise(v: Floats, t: float) -> Floats:
        return level * problem.noise_factor(primal_at(v, t))

    dual = np.empty((monte_carlo.paths, len(axis.times), problem.dimension))
    bar = Progress(monte_carlo.progress, monte_carlo.paths * len(axis.times), "sdeint")
    for path in range(monte_carlo.paths):
        generator = np.random.default_rng(np.random.SeedSequence(monte_carlo.seed, spawn_key=(path, 2)))
        state, now = dual_start, 0.0
        for k, t in enumerate(axis.times):
            if t > now:
                pieces = int(np.ceil((t - now) / longest)) * (_FINER if now == 0.0 else 1)
                grid = np.linspace(now, t, pieces + 1)
                state, now = sdeint.itoEuler(drift, noise, state, grid, generator=generator)[-1], float(t)
            dual[path, k] = state
            bar.add(1)
    bar.close()
    thresholds = algorithm.thresholds(axis.times)
    return dual, mirror.prox(dual, thresholds[:, None])
