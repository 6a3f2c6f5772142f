"""How the steps of the algorithm lie in those of a path: their sizes, and what the states at both ends count for.

Within a step of a path from t_a to t_b, h long, the algorithm takes steps gamma_k from t_{k-1} to t_k. What is linear
in time between the ends then enters the sum ``sum_k gamma_k x(t_{k-1})`` with the weights ``(h + lag) / 2`` at the left
end and ``(h - lag) / 2`` at the right one, ``lag = sum_k gamma_k^2 / h`` exactly; the noise has the variance
``sum_k gamma_k^2 = lag h``. Where the step size is constant it is the lag.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._approximations.time_grid import TimeGrid, diffusion_grid
from rdasde._check import Floats
from rdasde._engine.run import Run
from rdasde._engine.time_axis import TimeAxis

_RATIO = 1.25  # of the numbers of steps at two nodes, so that their sizes differ little


class Pace(NamedTuple):
    """By steps of a path."""

    size: Floats  # (steps,): the algorithm's step, where it is not constant an average
    lag: Floats  # (steps,): that of the equation of second order, 0 for that of first
    total: Floats  # (steps + 1,): what an average is over so far, time or the number of steps
    ends: Floats  # (steps, 2): what the states at both ends count for in it


def pace_of(run: Run, times: Floats) -> Pace:
    """Along a grid of times, which for steps that fall are among the algorithm's."""
    h, axis = np.diff(times), run.axis
    if axis.sizes is None or axis.clock is None:
        size = np.full(len(h), run.algorithm.step_size)
        total, within = times, None
    else:
        number = np.searchsorted(axis.clock, times)
        size = np.diff(np.concatenate([[0.0], np.cumsum(axis.sizes**2)])[number]) / h
        total = number.astype(np.float64)
        # what the times before steps add up to, as shares of the way from one end to the other
        within = np.diff(np.concatenate([[0.0], np.cumsum(axis.clock[:-1])])[number]) - np.diff(total) * times[:-1]
    lag = size if run.equation_order == 2 else 0.0 * size
    right = np.where(h > 1.5 * lag, 0.5 * (h - lag), 0.0) if within is None else within / h
    return Pace(size, lag, total, np.ascontiguousarray(np.stack([np.diff(total) - right, right], axis=1)))


def shares(pace: Pace) -> Floats:
    """Of the average before a step, and of the states at its two ends, in the average after it, (steps, 3)."""
    return np.ascontiguousarray(np.concatenate([pace.total[:-1, None], pace.ends], axis=1) / pace.total[1:, None])


def falling_grid(axis: TimeAxis, longest: float) -> TimeGrid:
    """A grid of times of the algorithm whose step size falls, through all of the recorded ones."""
    assert axis.clock is not None
    end = int(axis.steps[-1])
    numbers = np.unique(np.rint(_RATIO ** np.arange(1.0 + np.log(max(end, 1)) / np.log(_RATIO))).astype(np.int64))
    coarse = diffusion_grid(axis.times, longest).times
    near = np.searchsorted(0.5 * (axis.clock[1:] + axis.clock[:-1]), coarse)
    steps: NDArray[np.int64] = np.unique(np.concatenate([[0], near, numbers[numbers < end], axis.steps]))
    return TimeGrid(axis.clock[steps], np.searchsorted(steps, axis.steps))


def steps_between(run: Run, a: float, b: float) -> int:
    """How many steps the algorithm takes from time a to time b."""
    if run.axis.clock is None:
        return int(np.rint((b - a) / run.algorithm.step_size))
    first, last = np.searchsorted(run.axis.clock, [a, b])
    return int(last - first)


class FineSteps(NamedTuple):
    """Within one step of a path."""

    times: Floats  # their ends
    lags: Floats
    counts: Floats  # what they are in an average


def fine_steps(run: Run, a: float, b: float, lag: float, taken: int, inside: Floats) -> FineSteps:
    """The first `taken` steps of the algorithm as they are, the rest of the way divided as `inside` (0, 1] is."""
    clock = run.axis.clock
    if clock is None:
        exact: Floats = a + lag * np.arange(1, taken + 1, dtype=np.float64)
        start, rest = a + lag * taken, np.inf
    else:
        first, last = (int(n) for n in np.searchsorted(clock, [a, b]))
        exact = clock[first + 1 : first + taken + 1]
        start, rest = float(clock[first + taken]), float(last - first - taken)
    times = np.concatenate([exact, start + (b - start) * inside])
    times[-1] = b
    h = np.diff(times, prepend=a)
    if clock is None:
        return FineSteps(times, np.full(len(h), lag), h)
    own = np.arange(len(h)) < taken
    counts = np.where(own, 1.0, rest * h / max(b - start, np.finfo(float).tiny))
    return FineSteps(times, np.where(own & (lag > 0.0), h, lag), counts)
