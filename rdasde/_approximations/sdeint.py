"""The dual diffusion through the sdeint package: slow, somebody else's, and so a cross-check of ours."""

from __future__ import annotations

import numpy as np

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.progress import Progress
from rdasde._engine.time_axis import TimeAxis
from rdasde._problems.base import Problem

_RESOLUTION = 0.05  # Euler's step, in units of the fastest relaxation time: its bias is of first order


def sdeint_paths(
    problem: Problem,
    algorithm: RDA,
    dual_start: Floats,
    axis: TimeAxis,
    paths: int,
    seed: int,
    progress: bool | None,
) -> tuple[Floats, Floats]:
    """Paths of ``dV = -G(W) dt + sqrt(gamma) Sigma(W)^(1/2) dB`` by Euler's scheme: dual, primal (path, time, d)."""
    try:
        import sdeint
    except ImportError:
        raise ImportError("method='sdeint' needs the sdeint package: pip install 'rdasde[sdeint]'.") from None

    mirror = algorithm.mirror
    level = float(np.sqrt(algorithm.step_size / algorithm.batch_size))
    longest = min(_RESOLUTION / problem.fastest_rate(), max(axis.times[-1], 1e-300) / 200.0)

    def primal_at(v: Floats, t: float) -> Floats:
        return mirror.prox(v, algorithm.thresholds(np.array([t]))[0])

    def drift(v: Floats, t: float) -> Floats:
        return -problem.mean_gradient(primal_at(v, t))

    def noise(v: Floats, t: float) -> Floats:
        return level * problem.noise_factor(primal_at(v, t))

    dual = np.empty((paths, len(axis.times), problem.dimension))
    bar = Progress(progress, paths * len(axis.times), "sdeint")
    for path in range(paths):
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(path, 2)))
        state, now = dual_start, 0.0
        for k, t in enumerate(axis.times):
            if t > now:
                # the threshold has an infinite slope at 0: start finer there
                pieces = int(np.ceil((t - now) / longest)) * (8 if now == 0.0 else 1)
                grid = np.linspace(now, t, pieces + 1)
                state, now = sdeint.itoEuler(drift, noise, state, grid, generator=generator)[-1], float(t)
            dual[path, k] = state
            bar.add(1)
    bar.close()
    thresholds = algorithm.thresholds(axis.times)
    return dual, mirror.prox(dual, thresholds[:, None])
