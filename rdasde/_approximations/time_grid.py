"""The time steps of a path: as long as their bias allows, finer towards 0, through every recorded time."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.memory import need_memory
from rdasde._problems.base import Problem

_BIAS = 0.22  # of a standard deviation, in units of (time step * rate)^2: see `resolution`
_STABLE = 1.0  # longest time step in units of the fastest relaxation time; the trapezoidal rule is stable up to 2


class TimeGrid(NamedTuple):
    """Where a path is stepped, and which of these times are recorded."""

    times: Floats  # increasing, from 0
    recorded: NDArray[np.int64]

    def with_middles(self, lag: float | Floats = 0.0) -> Floats:
        """The times and, between them, the middles, half a `lag` before them."""
        return with_middles(self.times, lag)


def with_middles(times: Floats, lag: float | Floats = 0.0) -> Floats:
    """``t_0, (t_0 + t_1 - lag) / 2, t_1, ...``, where a middle is never before its left end; a lag by step, or one."""
    out = np.empty(2 * len(times) - 1)
    out[::2] = times
    out[1::2] = np.maximum(0.5 * (times[1:] + times[:-1] - lag), times[:-1])
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


def longest_without_feedback(problem: Problem, algorithm: RDA, tolerance: float) -> float:
    """The longest time step in which what `has_feedback` asks for is missed by about `tolerance` standard deviations.

    Gradients drawn at the start of a step do not see what those before them did: least squares in correlated features
    has standard deviations that are short by up to ``gamma tr(H) x``. In a step of the algorithm there is one batch,
    and nothing is missed. NaN where the trace is not known.
    """
    share = algorithm.step_size / algorithm.batch_size * problem.trace()
    longest = tolerance / max(problem.typical_rate() * share, 1e-300)
    return max(longest, algorithm.step_size)


def diffusion_grid(times: Floats, longest: float, extra: Floats | None = None, lag: float = 0.0) -> TimeGrid:
    """A grid through all of `times` (and `extra`), in steps up to `longest`, quadratically finer towards 0.

    Its size does not depend on the step size of the algorithm. With a `lag`, that step size, of which `times` are
    multiples, so are all of the grid; steps are then no shorter than one of the algorithm, but may be longer than
    `longest` by half of one.
    """
    end = float(times[-1])
    longest = max(min(longest, end / 16.0), lag) if end > 0.0 else 1.0
    need_memory(48.0 * end / max(longest, 1e-300), "The time steps", "take a larger tolerance, or a shorter horizon")
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
    if lag > 0.0:
        steps, recorded = np.unique(np.rint(fine / lag)), np.rint(times / lag)
        fine = steps * lag
        fine[np.searchsorted(steps, recorded)] = times
    return TimeGrid(fine, np.searchsorted(fine, times))
