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
from rdasde._errors import DivergenceError, note_partial
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
        self.job, self.state = job, State(dual, primal, lane_array(5 * d))
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
    first = int(recorded[0] == 0)
    begin = [states[:, None][:, :first].copy() for states in (state.dual, state.primal)]
    shape = (len(state.dual), len(recorded) - first, *state.dual.shape[1:])  # contiguous, or loops are compiled twice
    dual, primal = np.empty(shape), np.empty(shape)
    paths.step(0, int(recorded[-1]), recorded[first:], dual, primal)
    if not np.isfinite(state.dual).all():  # where, is seen by marching
        parts = [_march_block(job, block, None) for block in blocks_of(replicates)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if signals is not None:
        signals.progress.add(int(recorded[-1]) * count)

    def by_path(start: Floats, x: Floats) -> Floats:
        whole = np.concatenate([start, x], axis=1) if first else x
        return np.moveaxis(whole, 3, 1).reshape(-1, len(recorded), x.shape[2])[:count]

    return {"dual": by_path(begin[0], dual), "primal": by_path(begin[1], primal), "diverged": np.full(count, -1)}


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
    done = 0
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
            done = int(block[-1]) + 1
    except KeyboardInterrupt as interrupt:
        finished = {"dual": dual[:done], "primal": primal[:done]}
        note_partial(
            interrupt, finished, f"dual and primal (path, time, coordinate) of the {done} paths that were done"
        )
        raise
    finally:
        parts.close()
    return dual, primal


def _defect(run: Run, grid: TimeGrid, lag: float) -> Floats:
    """What each step of `diffuse` misses of the noiseless flow, (steps, d).

    Added to every path, it makes the scheme exact for vanishing noise, however steep the threshold at 0 and however
    small the spread against the way the mean goes; so the time step need not depend on the algorithm's step size.
    """
    problem, algorithm, dual_start, _, _ = run
    d, steps = problem.dimension, len(grid.times) - 1
    pieces = [np.zeros(1)]
    for n, (a, b) in enumerate(itertools.pairwise(grid.times)):
        pieces.append(_within(a, b, first=n == 0, lag=lag))
        pieces[-1][-1] = b
    fine = np.concatenate(pieces)
    nodes = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces[1:]])])
    state, out = State(lane_array(d), lane_array(d), lane_array(5 * d)), np.empty((steps, d))
    state.dual[:] = dual_start[:, None]
    middles = with_middles(fine)
    thresholds, back = (algorithm.thresholds(np.maximum(middles - shift, 0.0)) for shift in (0.0, 0.5 * lag))
    fine_grid = FineGrid(fine, thresholds, back, nodes, lag)
    follow(problem.parameters, algorithm.mirror.parameters, fine_grid, problem.scratch.allocate(), state, out)
    out[~np.isfinite(out).all(axis=1)] = 0.0  # a flow that diverges is no guide: paths say so themselves
    return out


def _within(a: float, b: float, *, first: bool, lag: float) -> Floats:
    """Where the noiseless flow is stepped from a to b; a step of one lag is one of the algorithm, which is exact."""
    steps = int(np.rint((b - a) / lag)) if lag > 0.0 else 0
    taken = min(steps, _FIRST_SUBSTEPS) if first else steps if steps <= _EXACT else 0
    exact: Floats = a + lag * np.arange(1, taken + 1, dtype=np.float64)
    if steps and taken == steps:
        return exact
    number = _FIRST_SUBSTEPS if first else _SUBSTEPS
    start = a + lag * taken
    inside: Floats = (np.arange(1, number + 1) / number) ** (2 if first else 1)
    return np.concatenate([exact, start + (b - start) * inside])


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
    steps = len(path_grid(run, monte_carlo.tolerance).times) - 1
    return Solution({"dual": dual, "primal": primal}, {"time_steps": steps, "equation_order": run.equation_order})


def path_grid(run: Run, tolerance: float) -> TimeGrid:
    """Where paths are stepped."""
    return diffusion_grid(run.axis.times, resolution(run.problem, tolerance), lag=_lag(run))


def _lag(run: Run) -> float:
    return run.algorithm.step_size if run.equation_order == 2 else 0.0


def dual_paths(run: Run, monte_carlo: MonteCarlo) -> tuple[Floats, Floats]:
    """Paths of the dual diffusion: dual and primal, (path, time, d)."""
    problem, algorithm, dual_start, _, _ = run
    paths, seed, executor, progress, tolerance, noise = monte_carlo
    lag, grid = _lag(run), path_grid(run, tolerance)
    thresholds = algorithm.thresholds(grid.with_middles(lag))
    noise_level = float(np.sqrt(algorithm.step_size / algorithm.batch_size))
    kind = Drawn if noise == "gradients" else Gaussian
    # of gradients drawn in two places, sums would be half as skewed
    feedback = kind is Gaussian and has_feedback(problem, algorithm, resolution(problem, tolerance), tolerance)
    gradients = algorithm.batch_size / algorithm.step_size
    scheme = Scheme(grid.times, thresholds, noise_level, _defect(run, grid, lag), feedback, lag, kind(gradients))
    job = _Job(Dynamics.of(problem, algorithm, dual_start, thresholds), scheme, grid, seed)
    return _run(job, paths, executor, progress)


def fluctuation_paths(
    run: Run, monte_carlo: MonteCarlo, grid: TimeGrid, fluctuation: Fluctuation, flow: Floats
) -> tuple[Floats, Floats]:
    """Paths of U and D_t(U) on the grid's recorded times, (path, time, d), from U = 0.

    `fluctuation` holds at the times of the grid, `flow` also at the middles; the axis of the run is not looked at.
    """
    problem, algorithm = run.problem, run.algorithm
    paths, seed, executor, progress, _, _ = monte_carlo
    scheme = (fluctuation, Grid(grid.times, float(1.0 / np.sqrt(algorithm.batch_size))))
    job = _Job(Dynamics.along(problem, algorithm, flow), scheme, grid, seed)
    return _run(job, paths, executor, progress)
