"""The time axis: steps and recorded times; the same in `simulate` and `approximate`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._check import Floats
from rdasde._engine.memory import need_memory
from rdasde._step_size import StepSizes, sizes_until

_MOST = 2.0**53  # steps, which floating-point numbers count
_A_TIME = 32.0  # bytes that each time takes


class TimeAxis(NamedTuple):
    """Recorded times, as steps and as sums of their sizes: multiples of the step size where it is constant."""

    steps: NDArray[np.int64]  # (time,), increasing, within 0..total
    times: Floats  # steps * step_size
    total: int  # number of steps within the horizon
    sizes: Floats | None = None  # of the steps 1, ..., total, where they are not all the same
    clock: Floats | None = None  # then the times after the steps 0, ..., total


def time_axis(horizon: float, times: int | ArrayLike, step_size: float | StepSizes) -> TimeAxis:
    """Round the wanted times to steps: ``N = floor(horizon / step_size + 1e-9)`` of them, duplicates dropped.

    Of steps that fall, N is the largest number whose sum is within the horizon.
    """
    horizon = _check.number("horizon", horizon, above=0.0, mend="give the time n * step_size to run to")
    sizes, first = None, step_size
    if callable(step_size):
        sizes = sizes_until(step_size, horizon * (1.0 + 1e-9))
        total, first = len(sizes) - 1, sizes[0]
    else:
        number = horizon / step_size
        if number > _MOST:
            got = f"{horizon:g}, which takes {number:.2g} steps"
            raise _check.bad("horizon", got, f"one of at most {_MOST:.2g} steps", "take a shorter one, or larger steps")
        total = int(np.floor(number + 1e-9))
    if total < 1:
        raise _check.bad(
            "horizon",
            f"{horizon:g}, shorter than one step",
            f"at least the step size {first:g}",
            "give a longer horizon, in units of t = n * step_size",
        )
    wanted: Floats
    if not _check.has_axes(times):
        count = _check.count("times", times, mend="give a count or an array of times")
        need_memory(_A_TIME * count, "The times", "ask for fewer")
        wanted = np.linspace(0.0, horizon, count)
    else:
        wanted = _check.array("times", times, (None,), mend="give increasing times within [0, horizon]")
        if np.any(np.diff(wanted) <= 0.0):
            raise _check.bad("times", "an array that does not increase", "strictly increasing", "pass np.unique(times)")
        if wanted[0] < 0.0 or wanted[-1] > horizon * (1.0 + 1e-12):
            raise _check.bad(
                "times",
                f"an array from {wanted[0]:g} to {wanted[-1]:g}",
                f"within [0, {horizon:g}]",
                "drop what lies outside, or give a longer horizon",
            )
    if sizes is not None:
        sizes = sizes[:total]
        clock = np.concatenate([[0.0], np.cumsum(sizes)])
        nearest = np.searchsorted(0.5 * (clock[1:] + clock[:-1]), wanted)
        steps = np.unique(nearest).astype(np.int64)
        return TimeAxis(steps, clock[steps], total, sizes, clock)
    assert not callable(step_size)
    steps = np.unique(np.minimum(np.rint(wanted / step_size), total).astype(np.int64))
    return TimeAxis(steps, np.asarray(steps * step_size, dtype=np.float64), total)
