"""Monte Carlo in lanes: paths of the dual diffusion and of the fluctuation limit."""

from __future__ import annotations

import concurrent.futures
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.time_grid import TimeGrid, diffusion_grid, has_feedback, resolution, with_middles
from rdasde._check import Floats
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.random import Streams, stacked_streams
from rdasde._engine.blocks import AtOnce, blocks_of, run_blocks
from rdasde._engine.dynamics import Dynamics
from rdasde._engine.loops import FineGrid, Grid, Record, Scheme, Source, Span, State, diffuse, fluctuate, follow
from rdasde._engine.march import Stopped, march
from rdasde._engine.progress import Progress, Signals
from rdasde._engine.run import MonteCarlo, Run, Solution
from rdasde._engine.store import Arrays
from rdasde._errors import DivergenceError
from rdasde._problems.base import Problem
from rdasde._regularizers.base import Fluctuation

_SUBSTEPS = 2  # of the noiseless flow within a step, more in the first, where t^mu is steep
_FIRST_SUBSTEPS = 16
_TASK = 2**19  # coordinate updates of a task, if blocks are small: a millisecond or two
_PURPOSE = (1,)  # paths draw from other streams than the discrete algorithm under the same seed


@dataclass(frozen=True)
class _Job:
    """All that a task needs; travels to other processes."""

    dynamics: Dynamics  # for fluctuations, along their path
    scheme: Scheme | tuple[Fluctuation, Grid]
    grid: TimeGrid
    seed: int

    @property
    def blocks_a_task(self) -> int:
        """How many blocks are stepped by one call: several where they are small and share one way to make streams."""
        together = self.dynamics.make_streams is Problem.make_streams
        work = int(self.grid.recorded[-1]) * len(self.dynamics.dual_start) * LANES
        return max(1, _TASK // max(work, 1)) if together else 1


class _Paths:
    """Blocks of paths in lanes, side by side: state (blocks, d, LANES) and what steps it."""

    def __init__(self, job: _Job, replicates: NDArray[np.int64]) -> None:
        dynamics = job.dynamics
        d, blocks = len(dynamics.dual_start), -(-len(replicates) // LANES)
        dual, primal = (lane_array(blocks * d).reshape(blocks, d, LANES) for _ in range(2))
        dual[:], primal[:] = dynamics.dual_start[:, None], dynamics.primal_start[:, None]
        self.job, self.state = job, State(dual, primal, lane_array(4 * d))
        self.coordinates = np.arange(d)
        if dynamics.make_streams is Problem.make_streams:
            streams: Any = stacked_streams(job.seed, replicates, _PURPOSE)
        else:
            streams = dynamics.make_streams(job.seed, replicates, _PURPOSE)
            if isinstance(streams, Streams):
                streams = streams._replace(state=streams.state[None])
        self.source = Source(streams, dynamics.scratch.allocate())

    def step(self, begin: int, end: int, steps: NDArray[np.int64], dual: Floats, primal: Floats) -> None:
        """Steps begin + 1, ..., end; dual and primal (blocks, time, d, LANES) are recorded after `steps`."""
        dynamics, scheme = self.job.dynamics, self.job.scheme
        span, record = Span(begin, end), Record(steps, self.coordinates, dual, primal)
        if isinstance(scheme, Scheme):
            diffuse(dynamics.problem, dynamics.mirror, scheme, self.source, self.state, span, record)
        else:
            fluctuate(dynamics.problem, *scheme, self.source, self.state, span, record)


def _diffusion_task(job: _Job, replicates: NDArray[np.int64], signals: Signals | None) -> Arrays:
    if job.blocks_a_task == 1:
        return _march_block(job, replicates, signals)
    if signals is not None and signals.stop.is_set():
        raise Stopped
    paths, recorded, count = _Paths(job, replicates), job.grid.recorded, len(replicates)
    state = paths.state
    shape = (len(state.dual), len(recorded), *state.dual.shape[1:])
    dual, primal = np.empty(shape), np.empty(shape)
    first = int(recorded[0] == 0)
    dual[:, :first], primal[:, :first] = state.dual[:, None], state.primal[:, None]
    paths.step(0, int(recorded[-1]), recorded[first:], dual[:, first:], primal[:, first:])
    if not np.isfinite(state.dual).all():  # where, is seen by marching
        parts = [_march_block(job, block, None) for block in blocks_of(replicates)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if signals is not None:
        signals.progress.add(int(recorded[-1]) * count)

    def by_path(x: Floats) -> Floats:
        return np.moveaxis(x, 3, 1).reshape(-1, len(recorded), x.shape[2])[:count]

    return {"dual": by_path(dual), "primal": by_path(primal), "diverged": np.full(count, -1)}


def _march_block(job: _Job, block: NDArray[np.int64], signals: Signals | None) -> Arrays:
    count, d = len(block), len(job.dynamics.dual_start)
    paths = _Paths(job, block)
    shape = (count, len(job.grid.recorded), d)
    out: Arrays = {"dual": np.empty(shape), "primal": np.empty(shape)}

    def kernel(begin: int, end: int, steps: NDArray[np.int64], dual: Floats, primal: Floats) -> None:
        paths.step(begin, end, steps, dual[None], primal[None])

    def consume(part: slice, dual: Floats, primal: Floats) -> None:
        out["dual"][:, part] = np.moveaxis(dual, 2, 0)[:count]
        out["primal"][:, part] = np.moveaxis(primal, 2, 0)[:count]

    state = (paths.state.dual[0], paths.state.primal[0], paths.source.streams)
    out["diverged"] = march(
        kernel, state, np.arange(d), job.grid.recorded, count, consume, signals, stop_at_divergence=True
    )
    return out


def _run(
    job: _Job, paths: int, executor: concurrent.futures.Executor | None, progress: bool | None
) -> tuple[Floats, Floats]:
    shape = (paths, len(job.grid.recorded), len(job.dynamics.dual_start))
    dual, primal = np.empty(shape), np.empty(shape)
    steps = int(job.grid.recorded[-1])
    signals = Signals(Progress(progress, steps * paths, "diffusion"))
    tasks = blocks_of(np.arange(paths), job.blocks_a_task)
    if executor is None and job.blocks_a_task >= -(-paths // LANES) > 0:
        executor = AtOnce()
    parts = run_blocks(_diffusion_task, job, tasks, executor=executor, signals=signals, steps=steps)
    try:
        for block, arrays in parts:
            dual[block[0] : block[-1] + 1], primal[block[0] : block[-1] + 1] = arrays["dual"], arrays["primal"]
            if np.any(arrays["diverged"] >= 0):
                lane = int(np.flatnonzero(arrays["diverged"] >= 0)[0])
                step = int(arrays["diverged"][lane])
                raise DivergenceError(
                    f"Path {block[lane]} of the diffusion is not finite after its step {step} "
                    f"(t = {job.grid.times[step]:g}): the problem may have no stable solution from this start.",
                    step=step,
                    time=float(job.grid.times[step]),
                    replicate=int(block[lane]),
                )
    finally:
        parts.close()
    return dual, primal


def _defect(problem: Problem, algorithm: RDA, dual_start: Floats, grid: TimeGrid) -> Floats:
    """What each step of `diffuse` misses of the noiseless flow, (steps, d).

    Added to every path, it makes the scheme exact for vanishing noise, however steep the threshold at 0 and however
    small the spread against the way the mean goes; so the time step need not depend on the algorithm's step size.
    """
    d, steps = problem.dimension, len(grid.times) - 1
    pieces = [np.zeros(1)]
    for n, (a, b) in enumerate(itertools.pairwise(grid.times)):
        inside = (
            (np.arange(1, _FIRST_SUBSTEPS + 1) / _FIRST_SUBSTEPS) ** 2
            if n == 0
            else np.arange(1, _SUBSTEPS + 1) / _SUBSTEPS
        )
        pieces.append(a + (b - a) * inside)
        pieces[-1][-1] = b
    fine = np.concatenate(pieces)
    nodes = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces[1:]])])
    state, out = State(lane_array(d), lane_array(d), lane_array(4 * d)), np.empty((steps, d))
    state.dual[:] = dual_start[:, None]
    fine_grid = FineGrid(fine, algorithm.thresholds(with_middles(fine)), nodes)
    follow(problem.parameters, algorithm.mirror.parameters, fine_grid, problem.scratch.allocate(), state, out)
    out[~np.isfinite(out).all(axis=1)] = 0.0  # a flow that diverges is no guide: paths say so themselves
    return out


def check(problem: Problem, algorithm: RDA) -> None:
    """Whatever the mirror map; drift and noise must be compiled."""
    need_compiled_drift("paths", problem)


def need_compiled_drift(method: str, problem: Problem) -> None:
    """ValueError where the problem's mean gradient is not compiled."""
    if not problem.has_compiled_drift:
        raise _check.bad(
            "method",
            f"{method!r} for a problem without a compiled mean gradient",
            "'closure' or 'sdeint' there",
            "give mean_gradient=, a function (parameters, w) that numba can compile",
        )


def solve(run: Run, monte_carlo: MonteCarlo) -> Solution:
    """Paths of the dual diffusion, and in how many time steps."""
    dual, primal = dual_paths(run, monte_carlo)
    grid = diffusion_grid(run.axis.times, resolution(run.problem, monte_carlo.tolerance))
    return Solution({"dual": dual, "primal": primal}, {"time_steps": len(grid.times) - 1})


def dual_paths(run: Run, monte_carlo: MonteCarlo) -> tuple[Floats, Floats]:
    """Paths of ``dV = -G(W) dt + sqrt(gamma) Sigma(W)^(1/2) dB``: dual and primal, (path, time, d)."""
    problem, algorithm, dual_start, axis = run
    paths, seed, executor, progress, tolerance = monte_carlo
    longest = resolution(problem, tolerance)
    grid = diffusion_grid(axis.times, longest)
    thresholds = algorithm.thresholds(grid.with_middles)
    noise_level = float(np.sqrt(algorithm.step_size / algorithm.batch_size))
    feedback = has_feedback(problem, algorithm, longest, tolerance)
    scheme = Scheme(grid.times, thresholds, noise_level, _defect(problem, algorithm, dual_start, grid), feedback)
    job = _Job(Dynamics.of(problem, algorithm, dual_start, thresholds), scheme, grid, seed)
    return _run(job, paths, executor, progress)


def fluctuation_paths(
    run: Run, monte_carlo: MonteCarlo, grid: TimeGrid, fluctuation: Fluctuation, flow: Floats
) -> tuple[Floats, Floats]:
    """Paths of U and D_t(U) on the grid's recorded times, (path, time, d), from U = 0.

    `fluctuation` holds at the times of the grid, `flow` also at the middles; the axis of the run is not looked at.
    """
    problem, algorithm = run.problem, run.algorithm
    paths, seed, executor, progress, _ = monte_carlo
    scheme = (fluctuation, Grid(grid.times, float(1.0 / np.sqrt(algorithm.batch_size))))
    job = _Job(Dynamics.along(problem, algorithm, flow), scheme, grid, seed)
    return _run(job, paths, executor, progress)
