"""Monte Carlo in lanes: paths of the dual diffusion and of the fluctuation limit.

The dual diffusion is ``dV = -F(V, t) dt + sqrt(gamma) Sigma(W)^(1/2) dB``, ``F(v, t) = G(prox(v, g(t)))``,
``W = prox(V, g(t))``, or, of second order in the step size, the stochastic modified equation

    V(t) = V(0) - int_0^t F ds + (gamma/2) (F(V(t), t) - F(V(0), 0)) + sqrt(gamma) int_0^t Sigma(W_-)^(1/2) dB,

W_- where the flow was half a step before. By Ito's formula its drift is ``-F - (gamma/2) (F' F - dF/dt)`` and its noise
``sqrt(gamma) (I + (gamma/2) F') Sigma^(1/2)`` up to third order, which is Li, Tai & E's (J. Mach. Learn. Res. 20, 2019,
theorem 2): mean and covariance of one step are met to third order in the step size. In this form it needs no derivative
of F, which has kinks, and holds for every mirror map.
"""

from __future__ import annotations

import concurrent.futures
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.pace import FineSteps, Pace, falling_grid, fine_steps, pace_of, shares, steps_between
from rdasde._approximations.time_grid import TimeGrid, diffusion_grid, has_feedback, resolution, with_middles
from rdasde._check import Floats
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.random import Streams, stacked_streams
from rdasde._engine.blocks import AtOnce, blocks_of, run_blocks
from rdasde._engine.dynamics import Dynamics
from rdasde._engine.loops import (
    Drawn,
    FineGrid,
    Gaussian,
    Grid,
    Record,
    Scheme,
    Source,
    Span,
    State,
    diffuse,
    fluctuate,
    follow,
)
from rdasde._engine.march import Stopped, march
from rdasde._engine.progress import Progress, Signals
from rdasde._engine.run import MonteCarlo, Run, Solution
from rdasde._engine.store import Arrays
from rdasde._errors import DivergenceError
from rdasde._problems.base import Problem
from rdasde._regularizers.base import Fluctuation

_SUBSTEPS = 2  # of the noiseless flow within a step, more in the first, where t^mu is steep
_FIRST_SUBSTEPS = 16
_EXACT = 8  # steps of the algorithm that are taken one by one rather than by two steps of the flow
_TASK = 2**19  # coordinate updates of a task, if blocks are small: a millisecond or two
_PURPOSE = (1,)  # paths draw from other streams than the discrete algorithm under the same seed


@dataclass(frozen=True)
class _Job:
    """All that a task needs; travels to other processes."""

    dynamics: Dynamics  # for fluctuations, along their path
    scheme: Scheme | tuple[Fluctuation, Grid]
    grid: TimeGrid
    seed: int
    average: bool = False

    @property
    def spaces(self) -> tuple[str, ...]:
        """What is kept of every path."""
        return ("dual", "primal", "average") if self.average else ("dual", "primal")

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
        average = lane_array(blocks * d if job.average else 0).reshape(blocks, d if job.average else 0, LANES)
        average[:] = primal[:, : average.shape[1]]
        self.job, self.state = job, State(dual, primal, lane_array(5 * d), average)
        self.coordinates = np.arange(d)
        if dynamics.make_streams is Problem.make_streams:
            streams: Any = stacked_streams(job.seed, replicates, _PURPOSE)
        else:
            streams = dynamics.make_streams(job.seed, replicates, _PURPOSE)
            if isinstance(streams, Streams):
                streams = streams._replace(state=streams.state[None])
        self.source = Source(streams, dynamics.scratch.allocate())

    def step(
        self, begin: int, end: int, steps: NDArray[np.int64], dual: Floats, primal: Floats, average: Floats
    ) -> None:
        """Steps begin + 1, ..., end; dual, primal, average (blocks, time, d, LANES) are recorded after `steps`."""
        dynamics, scheme = self.job.dynamics, self.job.scheme
        span, record = Span(begin, end), Record(steps, self.coordinates, dual, primal, average)
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
    first = int(recorded[0] == 0)
    begin = [states[:, None][:, :first].copy() for states in (state.dual, state.primal, state.primal)]
    # contiguous, or loops are compiled twice
    kept = [np.empty((len(x), len(recorded) - first, *x.shape[1:])) for x in (state.dual, state.primal, state.average)]
    paths.step(0, int(recorded[-1]), recorded[first:], *kept)
    if not np.isfinite(state.dual).all():  # where, is seen by marching
        parts = [_march_block(job, block, None) for block in blocks_of(replicates)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if signals is not None:
        signals.progress.add(int(recorded[-1]) * count)

    def by_path(start: Floats, x: Floats) -> Floats:
        whole = np.concatenate([start, x], axis=1) if first else x
        return np.moveaxis(whole, 3, 1).reshape(-1, len(recorded), x.shape[2])[:count]

    out: Arrays = {space: by_path(*both) for space, *both in zip(job.spaces, begin, kept, strict=False)}
    return out | {"diverged": np.full(count, -1)}


def _march_block(job: _Job, block: NDArray[np.int64], signals: Signals | None) -> Arrays:
    count, d = len(block), len(job.dynamics.dual_start)
    paths = _Paths(job, block)
    shape = (count, len(job.grid.recorded), d)
    out: Arrays = {space: np.empty(shape) for space in job.spaces}

    def kernel(begin: int, end: int, steps: NDArray[np.int64], dual: Floats, primal: Floats, average: Floats) -> None:
        paths.step(begin, end, steps, dual[None], primal[None], average[None])

    def consume(part: slice, *kept: Floats) -> None:
        for space, states in zip(job.spaces, kept, strict=False):
            out[space][:, part] = np.moveaxis(states, 2, 0)[:count]

    state = (paths.state.dual[0], paths.state.primal[0], paths.state.average[0], paths.source.streams)
    out["diverged"] = march(
        kernel, state, np.arange(d), job.grid.recorded, count, consume, signals, stop_at_divergence=True
    )
    return out


def _run(
    job: _Job, paths: int, executor: concurrent.futures.Executor | None, progress: bool | None
) -> dict[str, Floats]:
    shape = (paths, len(job.grid.recorded), len(job.dynamics.dual_start))
    kept = {space: np.empty(shape) for space in job.spaces}
    steps = int(job.grid.recorded[-1])
    signals = Signals(Progress(progress, steps * paths, "diffusion"))
    tasks = blocks_of(np.arange(paths), job.blocks_a_task)
    if executor is None and job.blocks_a_task >= -(-paths // LANES) > 0:
        executor = AtOnce()
    parts = run_blocks(_diffusion_task, job, tasks, executor=executor, signals=signals, steps=steps)
    try:
        for block, arrays in parts:
            for space, states in kept.items():
                states[block[0] : block[-1] + 1] = arrays[space]
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
    return kept


def _defect(run: Run, grid: TimeGrid, pace: Pace, average: bool = False) -> tuple[Floats, Floats]:
    """What each step of `diffuse` misses of the noiseless flow, (steps, d), and of its integral (none without average).

    Added to every path, it makes the scheme exact for vanishing noise, however steep the threshold at 0 and however
    small the spread against the way the mean goes; so the time step need not depend on the algorithm's step size.
    """
    problem, algorithm, dual_start, _, _ = run
    d, steps = problem.dimension, len(grid.times) - 1
    ends = enumerate(itertools.pairwise(grid.times))
    pieces = [_within(run, a, b, first=n == 0, lag=float(pace.lag[n])) for n, (a, b) in ends]
    fine = np.concatenate([np.zeros(1), *(piece.times for piece in pieces)])
    lags = np.concatenate([np.zeros(0), *(piece.lags for piece in pieces)])
    counts = np.concatenate([np.zeros(0), *(piece.counts for piece in pieces)])
    nodes = np.concatenate([[0], np.cumsum([len(piece.times) for piece in pieces], dtype=np.int64)])
    state = State(lane_array(d), lane_array(d), lane_array(5 * d), lane_array(0))
    out, integral = np.empty((steps, d)), np.empty((steps if average else 0, d))
    state.dual[:] = dual_start[:, None]
    middles = with_middles(fine)
    shift = 0.5 * np.append(np.repeat(lags, 2), lags[-1:] if len(lags) else 0.0)
    thresholds, back = algorithm.thresholds(middles), algorithm.thresholds(np.maximum(middles - shift, 0.0))
    fine_grid = FineGrid(fine, thresholds, back, nodes, lags, pace.lag, counts, pace.ends)
    scratch = problem.scratch.allocate()
    follow(problem.parameters, algorithm.mirror.parameters, fine_grid, scratch, state, out, integral)
    for missed in (out, integral):
        missed[~np.isfinite(missed).all(axis=1)] = 0.0  # a flow that diverges is no guide: paths say so themselves
    return out, integral


def _within(run: Run, a: float, b: float, *, first: bool, lag: float) -> FineSteps:
    """Where the noiseless flow is stepped from a to b; a step of one lag is one of the algorithm, which is exact."""
    steps = steps_between(run, a, b) if lag > 0.0 else 0
    taken = min(steps, _FIRST_SUBSTEPS) if first else steps if steps <= _EXACT else 0
    number = 0 if steps and taken == steps else _FIRST_SUBSTEPS if first else _SUBSTEPS
    return fine_steps(run, a, b, lag, taken, (np.arange(1, number + 1) / max(number, 1)) ** (2 if first else 1))


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
    states = _paths(run, monte_carlo)
    steps = len(path_grid(run, monte_carlo.tolerance).times) - 1
    return Solution(states, {"time_steps": steps, "equation_order": run.equation_order})


def path_grid(run: Run, tolerance: float) -> TimeGrid:
    """Where paths are stepped."""
    if run.axis.sizes is not None:
        return falling_grid(run.axis, resolution(run.problem, tolerance))
    return diffusion_grid(run.axis.times, resolution(run.problem, tolerance), lag=_lag(run))


def _lag(run: Run) -> float:
    return run.algorithm.step_size if run.equation_order == 2 else 0.0


def dual_paths(run: Run, monte_carlo: MonteCarlo) -> tuple[Floats, Floats]:
    """Paths of the dual diffusion: dual and primal, (path, time, d)."""
    states = _paths(run, monte_carlo)
    return states["dual"], states["primal"]


def _paths(run: Run, monte_carlo: MonteCarlo) -> dict[str, Floats]:
    problem, algorithm, dual_start, _, _ = run
    paths, seed, executor, progress, tolerance, noise, average = monte_carlo
    grid = path_grid(run, tolerance)
    pace = pace_of(run, grid.times)
    thresholds = algorithm.thresholds(with_middles(grid.times, pace.lag))
    noise_level = np.sqrt(pace.size / algorithm.batch_size)
    kind = Drawn if noise == "gradients" else Gaussian
    # of gradients drawn in two places, sums would be half as skewed
    feedback = kind is Gaussian and has_feedback(problem, algorithm, resolution(problem, tolerance), tolerance)
    gradients = algorithm.batch_size / algorithm.step_size
    defect, integral = _defect(run, grid, pace, average)
    missed = integral / pace.total[1:][: len(integral), None]
    scheme = Scheme(
        grid.times, thresholds, noise_level, defect, feedback, pace.lag, kind(gradients), shares(pace), missed
    )
    job = _Job(Dynamics.of(problem, algorithm, dual_start, thresholds), scheme, grid, seed, average)
    return _run(job, paths, executor, progress)


def fluctuation_paths(
    run: Run, monte_carlo: MonteCarlo, grid: TimeGrid, fluctuation: Fluctuation, flow: Floats
) -> tuple[Floats, Floats]:
    """Paths of U and D_t(U) on the grid's recorded times, (path, time, d), from U = 0.

    `fluctuation` holds at the times of the grid, `flow` also at the middles; the axis of the run is not looked at.
    """
    problem, algorithm = run.problem, run.algorithm
    paths, seed, executor, progress, *_ = monte_carlo
    scheme = (fluctuation, Grid(grid.times, float(1.0 / np.sqrt(algorithm.batch_size))))
    job = _Job(Dynamics.along(problem, algorithm, flow), scheme, grid, seed)
    states = _run(job, paths, executor, progress)
    return states["dual"], states["primal"]
