"""What steps of the dual diffusion miss of its noiseless flow."""

from __future__ import annotations

import itertools
import time

import numpy as np

from rdasde._approximations.pace import FineSteps, Pace, fine_steps, steps_between
from rdasde._approximations.time_grid import TimeGrid, with_middles
from rdasde._check import Floats
from rdasde._compiled.lanes import lane_array
from rdasde._engine.course import Course
from rdasde._engine.loops import FineGrid, State, follow
from rdasde._engine.run import Run

_SUBSTEPS = 2  # of the noiseless flow within a step, more in the first, where t^mu is steep
_FIRST_SUBSTEPS = 16
_EXACT = 8  # steps of the algorithm that are taken one by one rather than by two steps of the flow
_SHORT = 0.1  # seconds between two looks at whether to go on: where they are done sooner, twice as many steps are next


def defect(
    run: Run, grid: TimeGrid, pace: Pace, average: bool = False, progress: bool | None = False
) -> tuple[Floats, Floats]:
    """What each step of `diffuse` misses of the noiseless flow, (steps, d), and of its integral (none without average).

    Added to every path, it makes the scheme exact for vanishing noise, however steep the threshold at 0 and however
    small the spread against the way the mean goes; so the time step need not depend on the algorithm's step size.
    """
    problem, algorithm, dual_start = run[:3]
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
    whole = FineGrid(fine, thresholds, back, nodes, lags, pace.lag, counts, pace.ends)
    scratch = problem.scratch.allocate()
    done, together = 0, 1
    with Course("mean flow", float(grid.times[-1]), progress) as course:
        while done < steps:  # in pieces, which an interrupt comes between
            course.at(float(grid.times[done]))
            to = min(done + together, steps)
            part = whole._replace(nodes=nodes[done : to + 1], lag=pace.lag[done:to], ends=pace.ends[done:to])
            begin = time.perf_counter()
            follow(
                problem.parameters,
                algorithm.mirror.parameters,
                part,
                scratch,
                state,
                out[done:to],
                integral[done:to],
            )
            done, together = to, 2 * together if time.perf_counter() - begin < _SHORT else together
    for missed in (out, integral):
        missed[~np.isfinite(missed).all(axis=1)] = 0.0  # a flow that diverges is no guide: paths say so themselves
    return out, integral


def _within(run: Run, a: float, b: float, *, first: bool, lag: float) -> FineSteps:
    """Where the noiseless flow is stepped from a to b; a step of one lag is one of the algorithm, which is exact."""
    steps = steps_between(run, a, b) if lag > 0.0 else 0
    taken = min(steps, _FIRST_SUBSTEPS) if first else steps if steps <= _EXACT else 0
    number = 0 if steps and taken == steps else _FIRST_SUBSTEPS if first else _SUBSTEPS
    return fine_steps(run, a, b, lag, taken, (np.arange(1, number + 1) / max(number, 1)) ** (2 if first else 1))
