"""One block of replicates through time: in chunks, watched for divergence, handed over as they are recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._compiled.lanes import LANES
from rdasde._engine.progress import Signals

Kernel = Callable[[int, int, NDArray[np.int64], Floats, Floats, Floats], None]
Consumer = Callable[[slice, Floats, Floats, Floats], None]

_BUFFER = 2**17  # numbers recorded before they are handed over: small enough for malloc to use again
_WORK = 2**27  # coordinate updates between two looks at the signals, at most
_FIRST = 2**20  # such updates in the first call, when nothing is known of what they cost
_SHORT, _LONG = 0.05, 0.3  # seconds between two looks that are meant: an interrupt waits that long


class Stopped(Exception):
    """The run was asked to stop."""


def march(
    kernel: Kernel,
    state: tuple[Any, ...],
    coordinates: NDArray[np.int64],
    steps: NDArray[np.int64],
    count: int,
    consume: Consumer,
    signals: Signals | None,
    *,
    stop_at_divergence: bool,
) -> NDArray[np.int64]:
    """Run ``kernel(start, stop, steps, dual, primal, average)`` over recorded steps, and hand chunks to `consume`.

    `state` is everything the kernel carries from step to step, arrays and random Generators in tuples of tuples; its
    first two entries are the dual and the primal state (d, lanes), its last but one the average, without rows where it
    is not kept. Returns, for the first `count` lanes, the first
    step after which the dual was not finite, or -1; what is recorded from that step on is NaN.
    """
    dual_state, primal_state, averaged = state[0], state[1], bool(len(state[-2]))
    work = dual_state.shape[0] * LANES
    per_buffer = max(1, _BUFFER // (len(coordinates) * LANES))
    per_call = max(1, min(_FIRST, _WORK) // work)
    diverged = np.full(count, -1, dtype=np.int64)
    now, done = 0, 0
    while done < len(steps):
        part = slice(done, min(done + per_buffer, len(steps)))
        wanted = steps[part]
        dual = np.empty((len(wanted), len(coordinates), LANES))
        primal = np.empty_like(dual)
        average = np.empty_like(dual) if averaged else dual[:, :0].copy()
        filled = 0
        if wanted[0] == 0:
            dual[0], primal[0] = dual_state[coordinates], primal_state[coordinates]
            average[0] = primal[0, : average.shape[1]]
            filled = 1
        while now < wanted[-1]:
            ahead = int(min(now + per_call, wanted[-1]))
            upto = int(np.searchsorted(wanted, ahead, side="right"))
            before = _save(state)
            begin = time.perf_counter()
            kernel(now, ahead, wanted[filled:upto], dual[filled:upto], primal[filled:upto], average[filled:upto])
            seconds = time.perf_counter() - begin
            if seconds > _LONG:  # how steps are cut does not change them
                per_call = max(1, min(per_call, int((ahead - now) * _LONG / seconds)))
            elif seconds < _SHORT:
                per_call = min(2 * per_call, max(1, _WORK // work))
            fresh = ~_finite(dual_state)[:count] & (diverged < 0)
            if fresh.any():
                after = _save(state)
                _locate(kernel, state, before, now, ahead, fresh, diverged)
                _restore(state, after)
            if signals is not None:
                signals.progress.add((ahead - now) * count)
                if signals.stop.is_set():
                    raise Stopped
            now, filled = ahead, upto
            if stop_at_divergence and np.any(diverged >= 0):
                dual[filled:], primal[filled:], average[filled:] = np.nan, np.nan, np.nan
                break
        for lane in np.flatnonzero(diverged >= 0):
            late = wanted >= diverged[lane]
            dual[late, :, lane], primal[late, :, lane], average[late, :, lane] = np.nan, np.nan, np.nan
        consume(part, dual, primal, average)
        done = part.stop
        if stop_at_divergence and np.any(diverged >= 0):
            rest = slice(done, len(steps))
            nothing = np.full((len(steps) - done, len(coordinates), LANES), np.nan)
            if len(nothing):
                consume(rest, nothing, nothing, nothing[:, : average.shape[1]])
            break
    return diverged


def _finite(state: NDArray[np.generic]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(state).all(axis=0))


def _save(state: Any) -> Any:
    """A copy of arrays and of the states of Generators, in tuples as they are."""
    if isinstance(state, tuple):
        return tuple(map(_save, state))
    return state.bit_generator.state if isinstance(state, np.random.Generator) else np.copy(state)


def _restore(state: Any, saved: Any) -> None:
    """Write back what `_save` copied; numbers never changed."""
    if isinstance(state, tuple):
        for part, copy in zip(state, saved, strict=True):
            _restore(part, copy)
    elif isinstance(state, np.random.Generator):
        state.bit_generator.state = saved
    elif isinstance(state, np.ndarray):
        state[...] = saved


def _locate(
    kernel: Kernel,
    state: tuple[Any, ...],
    before: Any,
    start: int,
    stop: int,
    lanes: NDArray[np.bool_],
    diverged: NDArray[np.int64],
) -> None:
    """By bisection, the exact step at which each of `lanes`, finite at `start` and not at `stop`, diverged."""
    if stop == start + 1:
        diverged[lanes] = stop
        return
    middle = (start + stop) // 2
    _restore(state, before)
    nothing = np.empty((0, 0, LANES))
    kernel(start, middle, np.empty(0, dtype=np.int64), nothing, nothing, nothing)
    early = lanes & ~_finite(state[0])[: len(lanes)]
    at_middle = _save(state)
    if early.any():
        _locate(kernel, state, before, start, middle, early, diverged)
    if (lanes & ~early).any():
        _locate(kernel, state, at_middle, middle, stop, lanes & ~early, diverged)
