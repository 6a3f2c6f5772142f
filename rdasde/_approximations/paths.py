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
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.defect import defect
from rdasde._approximations.linearization import linearize
from rdasde._approximations.pace import Pace, falling_grid, pace_of, shares
from rdasde._approximations.time_grid import (
    TimeGrid,
    diffusion_grid,
    has_feedback,
    longest_without_feedback,
    resolution,
    with_middles,
)
from rdasde._check import Floats
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.random import Streams, stacked_streams
from rdasde._engine.blocks import AtOnce, blocks_of, run_blocks
from rdasde._engine.dynamics import Dynamics
from rdasde._engine.linearized import Linearized, diffuse_linearized
from rdasde._engine.loops import (
    Drawn,
    Gaussian,
    Grid,
    Record,
    Scheme,
    Source,
    Span,
    State,
    diffuse,
    fluctuate,
)
from rdasde._engine.march import Stopped, march
from rdasde._engine.progress import Progress, Signals
from rdasde._engine.run import MonteCarlo, Run, Solution
from rdasde._engine.store import Arrays
from rdasde._errors import DivergenceError, note_partial
from rdasde._problems.base import Problem
from rdasde._regularizers.base import Fluctuation

_TASK = 2**19  # coordinate updates of a task, if blocks are small: a millisecond or two
_CURVED = 0.05  # share of the fluctuation of G, in mean square, that may be not linear where that is not asked for
_COSTLY = 2.0  # a mean gradient over more numbers than so many squares of the dimension is linearized if it may be
_TIMED, _REPEATS, _LONG_STEP = 8, 3, 0.01  # steps that are timed, how often, and the seconds past which one alone is
_PURPOSE = (1,)  # paths draw from other streams than the discrete algorithm under the same seed


@dataclass(frozen=True)
class _Job:
    """All that a task needs; travels to other processes."""

    dynamics: Dynamics  # for fluctuations, along their path
    scheme: Scheme | Linearized | tuple[Fluctuation, Grid]
    grid: TimeGrid
    seed: int
    coordinates: NDArray[np.int64] | None = None  # that are recorded, None for all
    average: bool = False

    @property
    def spaces(self) -> tuple[str, ...]:
        """What is kept of every path."""
        return ("dual", "primal", "average") if self.average else ("dual", "primal")

    @property
    def kept(self) -> NDArray[np.int64]:
        """Those that are recorded."""
        return np.arange(len(self.dynamics.dual_start)) if self.coordinates is None else self.coordinates

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
        room = 5 * d + (1 if isinstance(job.scheme, Linearized) else 0)  # normals come in pairs
        average = lane_array(blocks * d if job.average else 0).reshape(blocks, d if job.average else 0, LANES)
        average[:] = primal[:, : average.shape[1]]
        self.job, self.state = job, State(dual, primal, lane_array(room), average)
        self.coordinates = job.kept
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
        elif isinstance(scheme, Linearized):
            diffuse_linearized(dynamics.mirror, scheme, self.source.streams, self.state, span, record)
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
    begin = [states[:, None][:, :first, paths.coordinates] for states in (state.dual, state.primal, state.primal)]
    # contiguous, or loops are compiled twice
    shape = (len(state.dual), len(recorded) - first, len(paths.coordinates), LANES)
    kept = [np.empty(shape), np.empty(shape), np.empty(shape if job.average else (*shape[:2], 0, LANES))]
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
    count, paths = len(block), _Paths(job, block)
    shape = (count, len(job.grid.recorded), len(job.kept))
    out: Arrays = {space: np.empty(shape) for space in job.spaces}

    def kernel(begin: int, end: int, steps: NDArray[np.int64], dual: Floats, primal: Floats, average: Floats) -> None:
        paths.step(begin, end, steps, dual[None], primal[None], average[None])

    def consume(part: slice, *kept: Floats) -> None:
        for space, states in zip(job.spaces, kept, strict=False):
            out[space][:, part] = np.moveaxis(states, 2, 0)[:count]

    state = (paths.state.dual[0], paths.state.primal[0], paths.state.average[0], paths.source.streams)
    out["diverged"] = march(
        kernel, state, job.kept, job.grid.recorded, count, consume, signals, stop_at_divergence=True
    )
    return out


def _run(
    job: _Job, paths: int, executor: concurrent.futures.Executor | None, progress: bool | None
) -> dict[str, Floats]:
    shape = (paths, len(job.grid.recorded), len(job.kept))
    kept = {space: np.empty(shape) for space in job.spaces}
    steps = int(job.grid.recorded[-1])
    signals = Signals(Progress(progress, steps * paths, "diffusion"))
    tasks = blocks_of(np.arange(paths), job.blocks_a_task)
    if executor is None and job.blocks_a_task >= -(-paths // LANES) > 0:
        executor = AtOnce()
    done = 0
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
                    f"(t = {job.grid.times[step]:g}): take a smaller step_size or a larger batch_size, another "
                    "start, or rs.simulate(..., on_divergence='keep') in its place.",
                    step=step,
                    time=float(job.grid.times[step]),
                    replicate=int(block[lane]),
                )
            done = int(block[-1]) + 1
    except KeyboardInterrupt as interrupt:
        finished = {space: states[:done] for space, states in kept.items()}
        note_partial(
            interrupt, finished, f"dual and primal (path, time, coordinate) of the {done} paths that were done"
        )
        raise
    finally:
        parts.close()
    return kept


def check(problem: Problem, algorithm: RDA) -> None:
    """Whatever the mirror map where the drift is compiled; elsewhere it is linearized, around a closure."""
    if not algorithm.mirror.has_moments:
        need_compiled_drift("paths", problem, f" with {algorithm.mirror!r}", "'sdeint' there")


def check_drift(problem: Problem, algorithm: RDA, drift: str, noise: str, average: bool) -> None:
    """ValueError where such a drift is not to be had."""
    beyond = "a step size that falls" if algorithm.is_falling else "average=True" if average else ""
    if beyond and drift == "linearized":
        raise _check.bad("drift", f"'linearized' with {beyond}", "'exact' there", "leave drift out")
    if beyond:
        need_compiled_drift("paths", problem, f" with {beyond}", "without it there")
    if drift == "linearized" and not algorithm.mirror.has_moments:
        got = f"'linearized' with {algorithm.mirror!r}, which couples coordinates"
        raise _check.bad("drift", got, "'exact' there", "leave drift out")
    if drift == "linearized" and noise == "gradients":
        raise _check.bad("drift", "'linearized' with noise='gradients'", "'exact' there", "leave drift out")
    if drift == "exact" or noise == "gradients":
        also = " with drift='exact'" if drift == "exact" else " with noise='gradients'"
        need_compiled_drift("paths", problem, also, "without it there")


def need_compiled_drift(
    method: str, problem: Problem, also: str = "", accepted: str = "'closure' or 'sdeint' there"
) -> None:
    """ValueError where the problem's mean gradient is not compiled."""
    if not problem.has_compiled_drift:
        raise _check.bad(
            "method",
            f"{method!r}{also} for a problem without a compiled mean gradient",
            accepted,
            "give mean_gradient=, a function (parameters, w) that numba can compile",
        )


def solve(run: Run, monte_carlo: MonteCarlo) -> Solution:
    """Paths of the dual diffusion, and in how many time steps."""
    job = _job(run, monte_carlo)
    states = _run(job, monte_carlo.paths, monte_carlo.executor, monte_carlo.progress)
    steps, drift = len(job.grid.times) - 1, "linearized" if isinstance(job.scheme, Linearized) else "exact"
    attributes = {"time_steps": steps, "equation_order": run.equation_order, "drift": drift, "noise": monte_carlo.noise}
    return Solution(states, attributes)


def path_grid(run: Run, monte_carlo: MonteCarlo) -> TimeGrid:
    """Where paths are stepped."""
    longest = resolution(run.problem, monte_carlo.tolerance)
    if monte_carlo.noise == "gradients":
        alone = longest_without_feedback(run.problem, run.algorithm, monte_carlo.tolerance)
        longest = longest if np.isnan(alone) else min(longest, alone)
    if run.axis.sizes is not None:
        return falling_grid(run.axis, longest)
    return diffusion_grid(run.axis.times, longest, lag=_lag(run))


def _lag(run: Run) -> float:
    return run.algorithm.step_size if run.equation_order == 2 else 0.0


def dual_paths(run: Run, monte_carlo: MonteCarlo) -> tuple[Floats, Floats]:
    """Paths of the dual diffusion: dual and primal, (path, time, coordinate)."""
    states = _run(_job(run, monte_carlo), monte_carlo.paths, monte_carlo.executor, monte_carlo.progress)
    return states["dual"], states["primal"]


def may_linearize(run: Run, monte_carlo: MonteCarlo) -> bool:
    """Whether the drift is to be linearized, unless that turns out to be too rough."""
    problem = run.problem
    if monte_carlo.drift != "auto":
        return monte_carlo.drift == "linearized"
    beyond = run.axis.sizes is not None or monte_carlo.average or monte_carlo.noise == "gradients"
    if beyond or not run.algorithm.mirror.has_moments:
        return False
    return not problem.has_compiled_drift or problem.drift_cost() > _COSTLY * problem.dimension**2


def seconds_of_a_step(run: Run, monte_carlo: MonteCarlo) -> float:
    """Processor seconds that a step of one block takes, with the exact drift; compilation is not counted."""
    d, grid = run.problem.dimension, path_grid(run, monte_carlo)
    longest, plain = float(np.diff(grid.times).max()), run._replace(axis=run.axis._replace(sizes=None, clock=None))

    def seconds(count: int) -> float:
        few = TimeGrid(longest * np.arange(count + 1.0), np.array([count]))
        pace = pace_of(plain, few.times)
        job = _exact_job(run, monte_carlo, few, pace, (np.zeros((count, d)), np.zeros((0, d))))
        paths = _Paths(job, np.arange(LANES))
        dual, primal = np.empty((2, 1, 1, len(job.kept), LANES))
        begin = time.process_time()
        paths.step(0, count, few.recorded, dual, primal, np.empty((1, 1, 0, LANES)))
        return time.process_time() - begin

    seconds(1)  # compiles
    one = seconds(1)
    return one if one > _LONG_STEP else min(seconds(_TIMED) for _ in range(_REPEATS)) / _TIMED


def _exact_job(run: Run, monte_carlo: MonteCarlo, grid: TimeGrid, pace: Pace, missed: tuple[Floats, Floats]) -> _Job:
    """With the problem's own drift; `missed` is the defect of the flow and of its integral (none without average)."""
    problem, algorithm, dual_start = run[:3]
    tolerance = monte_carlo.tolerance
    thresholds = algorithm.thresholds(with_middles(grid.times, pace.lag))
    dynamics = Dynamics.of(problem, algorithm, dual_start, thresholds)
    noise_level = np.sqrt(pace.size / algorithm.batch_size)
    kind = Drawn if monte_carlo.noise == "gradients" else Gaussian
    # of gradients drawn in two places, sums would be half as skewed: their grid is finer instead
    feedback = kind is Gaussian and has_feedback(problem, algorithm, resolution(problem, tolerance), tolerance)
    gradients = kind(algorithm.batch_size / algorithm.step_size)
    flow, integral = missed
    of_integral = integral / pace.total[1:][: len(integral), None]
    lag, of_average = pace.lag, shares(pace)
    scheme = Scheme(grid.times, thresholds, noise_level, flow, feedback, lag, gradients, of_average, of_integral)
    return _Job(dynamics, scheme, grid, monte_carlo.seed, run.kept, len(integral) > 0)


def _job(run: Run, monte_carlo: MonteCarlo) -> _Job:
    problem, algorithm, dual_start = run[:3]
    lag, grid = _lag(run), path_grid(run, monte_carlo)
    if may_linearize(run, monte_carlo):
        only = monte_carlo.drift == "linearized" or not problem.has_compiled_drift
        try:
            linearized, curved = linearize(run, grid, lag, monte_carlo.progress)
        except ArithmeticError:  # a closure without finite moments says nothing of paths with the exact drift
            if only:
                raise
            curved = np.inf
        if curved <= _CURVED or only:
            # the streams of the package, whatever the problem draws from
            dynamics = Dynamics.of(problem, algorithm, dual_start, linearized.thresholds)
            dynamics = replace(dynamics, make_streams=Problem.make_streams)
            return _Job(dynamics, linearized, grid, monte_carlo.seed, run.kept)
    pace = pace_of(run, grid.times)
    missed = defect(run, grid, pace, monte_carlo.average, monte_carlo.progress)
    return _exact_job(run, monte_carlo, grid, pace, missed)


def fluctuation_paths(
    run: Run, monte_carlo: MonteCarlo, grid: TimeGrid, fluctuation: Fluctuation, flow: Floats
) -> tuple[Floats, Floats]:
    """Paths of U and D_t(U) on the grid's recorded times, (path, time, d), from U = 0.

    `fluctuation` holds at the times of the grid, `flow` also at the middles; the axis of the run is not looked at.
    """
    problem, algorithm = run.problem, run.algorithm
    paths, seed, executor, progress = monte_carlo[:4]
    scheme = (fluctuation, Grid(grid.times, float(1.0 / np.sqrt(algorithm.batch_size))))
    job = _Job(Dynamics.along(problem, algorithm, flow), scheme, grid, seed)
    states = _run(job, paths, executor, progress)
    return states["dual"], states["primal"]
