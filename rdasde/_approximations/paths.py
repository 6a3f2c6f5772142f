"""Monte Carlo in lanes: paths of the dual diffusion and of the fluctuation limit."""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._compiled.random import LANES, Streams, lane_array, stacked_streams
from rdasde._engine.blocks import AtOnce, blocks_of, run_blocks
from rdasde._engine.loops import diffuse, fluctuate, follow
from rdasde._engine.march import Stopped, march
from rdasde._engine.progress import Progress, Signals
from rdasde._engine.store import Arrays
from rdasde._engine.time_axis import TimeAxis
from rdasde._errors import DivergenceError
from rdasde._problems.base import Problem
from rdasde._regularizers.base import Fluctuation

TOLERANCE = 1e-2  # bias of the time steps, in standard deviations of each coordinate
_BIAS = 0.22  # of a standard deviation, in units of (time step * rate)^2: see `resolution`
_STABLE = 1.0  # longest time step in units of the fastest relaxation time; the trapezoidal rule is stable up to 2
_SUBSTEPS = 2  # of the noiseless flow within a step, more in the first, where t^mu is steep
_FIRST_SUBSTEPS = 16
_TASK = 2**19  # coordinate updates of a task, if blocks are small: a millisecond or two
_PURPOSE = (1,)  # paths draw from other streams than the discrete algorithm under the same seed


class TimeGrid(NamedTuple):
    """Where a path is stepped, and which of these times are recorded."""

    times: Floats  # increasing, from 0
    recorded: NDArray[np.int64]

    @property
    def with_middles(self) -> Floats:
        """The times and, between them, the middles."""
        return with_middles(self.times)


def with_middles(times: Floats) -> Floats:
    """``t_0, (t_0 + t_1) / 2, t_1, ...``."""
    out = np.empty(2 * len(times) - 1)
    out[::2] = times
    out[1::2] = 0.5 * (times[1:] + times[:-1])
    return out


def resolution(problem: Problem, tolerance: float) -> float:
    """The longest time step whose bias is about `tolerance` standard deviations.

    A mode that relaxes at the rate r, driven by noise, gets the stationary variance
    ``(1 - x/2)^2 h / (1 - (1 - x + x^2/2)^2)``, ``x = r h``: its standard deviation is off by .14 x^2 (1 + O(x)), and
    the noise of a state that moves adds about as little. Coordinates mix modes: the mean of r^2 counts.
    """
    return float(
        min(
            np.sqrt(tolerance / _BIAS) / max(problem.typical_rate(), 1e-300),
            _STABLE / max(problem.fastest_rate(), 1e-300),
        )
    )


def has_feedback(problem: Problem, algorithm: RDA, longest: float, tolerance: float) -> bool:
    """Whether noise that its own fluctuations feed needs a second look in each step (`diffuse`).

    For least squares the share of the noise that comes from fluctuations is about ``gamma tr(H) / 2``; a step that
    looks at the mean only misses ``x / 2`` of it, x = step times rate, which is ``gamma tr(H) x / 8`` of a standard
    deviation, and as much again because fluctuations feed on it. Where the trace is not known, it is not risked.
    """
    share = algorithm.step_size / algorithm.batch_size * problem.trace()
    return not share * longest * problem.typical_rate() / 4.0 <= tolerance / 10.0


def diffusion_grid(times: Floats, longest: float, extra: Floats | None = None) -> TimeGrid:
    """A grid through all of `times` (and `extra`), in steps up to `longest`, quadratically finer towards 0.

    Its size does not depend on the step size of the algorithm.
    """
    end = float(times[-1])
    longest = min(longest, end / 16.0) if end > 0.0 else 1.0
    nodes = [np.zeros(1), times, longest * (np.arange(1, 9) / 8.0) ** 2 if end > 0.0 else np.zeros(0)]
    if extra is not None:
        nodes.append(extra)
    coarse = np.unique(np.concatenate(nodes))
    coarse = coarse[coarse <= end]
    # nodes that differ by rounding only are one; a recorded time is never the one dropped
    keep = np.ones(len(coarse), dtype=bool)
    close = np.flatnonzero(np.diff(coarse) <= 1e-12 * max(end, 1e-300))
    for i in close:
        keep[i if coarse[i] not in times else i + 1] = False
    coarse = coarse[keep]
    pieces = [np.linspace(a, b, int(np.ceil((b - a) / longest - 1e-9)) + 1)[1:] for a, b in itertools.pairwise(coarse)]
    fine = np.concatenate([coarse[:1], *pieces])
    return TimeGrid(fine, np.searchsorted(fine, times))


@dataclass(frozen=True)
class _Job:
    problem: NamedTuple  # for fluctuations, along their path
    make_streams: Callable[..., Any]
    scratch_rows: int
    regularizer: NamedTuple
    thresholds: Floats  # at the times of the grid and their middles in turn
    defect: Floats
    feedback: bool
    fluctuation: Fluctuation | None
    grid: TimeGrid
    noise_level: float
    dual_start: Floats
    primal_start: Floats
    seed: int

    @property
    def blocks_a_task(self) -> int:
        """How many blocks are stepped by one call: several where they are small and share one way to make streams."""
        together = self.make_streams is Problem.make_streams
        work = int(self.grid.recorded[-1]) * len(self.dual_start) * LANES
        return max(1, _TASK // max(work, 1)) if together else 1


class _Paths:
    """Blocks of paths in lanes, side by side: state (blocks, d, LANES) and what steps it."""

    def __init__(self, job: _Job, replicates: NDArray[np.int64]) -> None:
        self.job = job
        d, blocks = len(job.dual_start), -(-len(replicates) // LANES)
        self.v, self.w = (lane_array(blocks * d).reshape(blocks, d, LANES) for _ in range(2))
        self.v[:], self.w[:] = job.dual_start[:, None], job.primal_start[:, None]
        self.work, self.scratch = lane_array(4 * d), lane_array(job.scratch_rows)
        if job.make_streams is Problem.make_streams:
            self.streams = stacked_streams(job.seed, replicates, _PURPOSE)
        else:
            self.streams = job.make_streams(job.seed, replicates, _PURPOSE)
            if isinstance(self.streams, Streams):
                self.streams = self.streams._replace(state=self.streams.state[None])

    def step(self, begin: int, end: int, steps: NDArray[np.int64], dual: Floats, primal: Floats) -> None:
        """Steps begin + 1, ..., end; dual and primal (blocks, time, d, LANES) are recorded after `steps`."""
        job = self.job
        tail = (job.grid.times, job.noise_level, self.streams, self.scratch, self.v, self.w, self.work)
        record = (begin, end, steps, dual, primal)
        if job.fluctuation is None:
            diffuse(job.problem, job.regularizer, job.thresholds, job.defect, job.feedback, *tail, *record)
        else:
            fluctuate(job.problem, *job.fluctuation, *tail, *record)


def _diffusion_task(job: _Job, replicates: NDArray[np.int64], control: Signals | None) -> Arrays:
    if job.blocks_a_task == 1:
        return _march_block(job, replicates, control)
    if control is not None and control.stop.is_set():
        raise Stopped
    paths, recorded, count = _Paths(job, replicates), job.grid.recorded, len(replicates)
    shape = (len(paths.v), len(recorded), *paths.v.shape[1:])
    dual, primal = np.empty(shape), np.empty(shape)
    first = int(recorded[0] == 0)
    dual[:, :first], primal[:, :first] = paths.v[:, None], paths.w[:, None]
    paths.step(0, int(recorded[-1]), recorded[first:], dual[:, first:], primal[:, first:])
    if not np.isfinite(paths.v).all():  # where, is seen by marching
        parts = [_march_block(job, block, None) for block in blocks_of(replicates)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if control is not None:
        control.progress.add(int(recorded[-1]) * count)

    def by_path(x: Floats) -> Floats:
        return np.moveaxis(x, 3, 1).reshape(-1, len(recorded), x.shape[2])[:count]

    return {"dual": by_path(dual), "primal": by_path(primal), "diverged": np.full(count, -1)}


def _march_block(job: _Job, block: NDArray[np.int64], control: Signals | None) -> Arrays:
    count, d = len(block), len(job.dual_start)
    paths = _Paths(job, block)
    shape = (count, len(job.grid.recorded), d)
    out: Arrays = {"dual": np.empty(shape), "primal": np.empty(shape)}

    def kernel(begin: int, end: int, steps: NDArray[np.int64], dual: Floats, primal: Floats) -> None:
        paths.step(begin, end, steps, dual[None], primal[None])

    def consume(part: slice, dual: Floats, primal: Floats) -> None:
        out["dual"][:, part] = np.moveaxis(dual, 2, 0)[:count]
        out["primal"][:, part] = np.moveaxis(primal, 2, 0)[:count]

    state = (paths.v[0], paths.w[0], paths.streams)
    out["diverged"] = march(
        kernel, state, np.arange(d), job.grid.recorded, count, consume, control, stop_at_divergence=True
    )
    return out


def _run(
    job: _Job, paths: int, executor: concurrent.futures.Executor | None, progress: bool | None
) -> tuple[Floats, Floats]:
    shape = (paths, len(job.grid.recorded), len(job.dual_start))
    dual, primal = np.empty(shape), np.empty(shape)
    steps = int(job.grid.recorded[-1])
    control = Signals(Progress(progress, steps * paths, "diffusion"))
    tasks = blocks_of(np.arange(paths), job.blocks_a_task)
    if executor is None and job.blocks_a_task >= -(-paths // LANES) > 0:
        executor = AtOnce()
    parts = run_blocks(_diffusion_task, job, tasks, executor=executor, signals=control, steps=steps)
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
    v, w, work, out = lane_array(d), lane_array(d), lane_array(4 * d), np.empty((steps, d))
    v[:] = dual_start[:, None]
    thresholds = algorithm.thresholds(with_middles(fine))
    follow(problem.parameters, algorithm.mirror.parameters, thresholds, fine, nodes, v, w, work, out)
    out[~np.isfinite(out).all(axis=1)] = 0.0  # a flow that diverges is no guide: paths say so themselves
    return out


def dual_paths(
    problem: Problem,
    algorithm: RDA,
    dual_start: Floats,
    axis: TimeAxis,
    paths: int,
    seed: int,
    executor: concurrent.futures.Executor | None,
    progress: bool | None,
    tolerance: float = TOLERANCE,
) -> tuple[Floats, Floats]:
    """Paths of ``dV = -G(W) dt + sqrt(gamma) Sigma(W)^(1/2) dB``: dual and primal, (path, time, d)."""
    longest = resolution(problem, tolerance)
    grid = diffusion_grid(axis.times, longest)
    thresholds = algorithm.thresholds(grid.with_middles)
    job = _Job(
        problem=problem.parameters,
        make_streams=problem.make_streams,
        scratch_rows=problem.scratch_rows,
        regularizer=algorithm.mirror.parameters,
        thresholds=thresholds,
        defect=_defect(problem, algorithm, dual_start, grid),
        feedback=has_feedback(problem, algorithm, longest, tolerance),
        fluctuation=None,
        grid=grid,
        noise_level=float(np.sqrt(algorithm.step_size / algorithm.batch_size)),
        dual_start=dual_start,
        primal_start=algorithm.mirror.prox(dual_start, thresholds[0]),
        seed=seed,
    )
    return _run(job, paths, executor, progress)


def fluctuation_paths(
    problem: Problem,
    algorithm: RDA,
    grid: TimeGrid,
    fluctuation: Fluctuation,
    flow: Floats,
    paths: int,
    seed: int,
    executor: concurrent.futures.Executor | None,
    progress: bool | None,
) -> tuple[Floats, Floats]:
    """Paths of U and D_t(U) on the grid's recorded times, (path, time, d), from U = 0.

    `fluctuation` holds at the times of the grid, `flow` also at the middles.
    """
    start = np.zeros(problem.dimension)
    job = _Job(
        problem=problem.along(flow),
        make_streams=problem.make_streams,
        scratch_rows=problem.scratch_rows,
        regularizer=algorithm.mirror.parameters,
        thresholds=np.zeros(0),
        defect=np.zeros((0, 0)),
        feedback=False,
        fluctuation=fluctuation,
        grid=grid,
        noise_level=float(1.0 / np.sqrt(algorithm.batch_size)),
        dual_start=start,
        primal_start=start,
        seed=seed,
    )
    return _run(job, paths, executor, progress)
