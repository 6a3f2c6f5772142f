"""The step on a CPU in one pass: accumulate and map a stretch of every tensor while it is in the innermost cache."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from rdasde._compiled.jit import Kernel, array_at, compilable, fma
from rdasde.pruning._fused_lines import LINE, shrink_lines, to_line
from rdasde.pruning._fused_team import together

_STRETCH = 1024  # entries: those of all tensors of a weight are in the innermost cache
_FEW = 32  # numbers that are summed one after the other
_SHARES = 8  # for each thread
_TOO_FEW = 2**20  # entries for each thread: below it a thread costs more than it saves
_BEYOND = 2**22  # entries: with gradients and accumulators more than the caches hold until the weights are read again


@compilable
def _from_bfloat16(halves, bits):
    """Numbers in half as many bits, as those of single precision."""
    for i in range(len(halves)):
        bits[i] = np.uint32(halves[i]) << np.uint32(16)


@compilable
def _to_bfloat16(bits, halves):
    """Rounded to the nearest, ties to even; NaN stays NaN."""
    for i in range(len(halves)):
        x = bits[i]
        if x & np.uint32(0x7FFFFFFF) > np.uint32(0x7F800000):
            halves[i] = np.uint16(0x7FC0)
        else:
            odd = (x >> np.uint32(16)) & np.uint32(1)
            halves[i] = np.uint16((x + np.uint32(0x7FFF) + odd) >> np.uint32(16))


@compilable
def _accumulate(a, w, grad, momentum, numbers, scratch):
    """``b <- m b + (grad + decay w)`` and ``A <- A - lr b``, rounded as PyTorch's own operations round it."""
    rate, inertia, decay = numbers[0], numbers[1], numbers[2]
    source = grad
    if decay != 0.0:
        for i in range(len(a)):
            scratch[i] = fma(decay, w[i], grad[i])
        source = scratch
    if len(momentum):
        for i in range(len(a)):
            product = inertia * momentum[i]
            momentum[i] = product + source[i]
        source = momentum
    for i in range(len(a)):
        a[i] = fma(rate, source[i], a[i])


@compilable
def _shrink(a, threshold, scale, w):
    """The soft-threshold over `scale`; NaN stays NaN."""
    zero = threshold - threshold
    for i in range(len(a)):
        x = a[i]
        w[i] = x - threshold if x > threshold else (x + threshold if x < -threshold else x * zero)
    if scale != 1.0:
        for i in range(len(a)):
            w[i] = w[i] / scale


@compilable
def _in_one_loop(a, w, grad, rate, threshold):
    """`_accumulate` and `_shrink` where there is neither momentum nor decay: nothing is read twice, from any cache."""
    zero = threshold - threshold
    for i in range(len(a)):
        x = fma(rate, grad[i], a[i])
        a[i] = x
        w[i] = x - threshold if x > threshold else (x + threshold if x < -threshold else x * zero)


@compilable
def _scale(a, factor, w):
    for i in range(len(a)):
        w[i] = a[i] * factor


@compilable
def _add(low, high):
    for i in range(len(low)):
        low[i] += high[i]


@compilable
def _squares(a, scratch):
    """The sum of squares, by halves: the same in vectors of every width."""
    n, total = len(a), 0.0
    for i in range(n):
        scratch[i] = a[i] * a[i]
    while n > _FEW:
        half = n // 2
        _add(scratch[:half], scratch[n - half : n])
        n -= half
    for i in range(n):
        total += np.float64(scratch[i])
    return total


@compilable
def _views(row, start, n, like):
    """A stretch of the accumulator, the weights and the gradient."""
    at = start * like.itemsize
    return array_at(row[2] + at, n, like), array_at(row[0] + at, n, like), array_at(row[1] + at, n, like)


@compilable
def _move(row, start, n, numbers, half, room):
    """Accumulate a stretch; views of the accumulator there, and of the weights, which are yet to be written."""
    grad, w, scratch, halves = room
    size = scratch.itemsize
    a = array_at(row[2] + start * size, n, scratch)
    momentum = array_at(row[3] + start * size, n if row[3] else 0, scratch)
    if half:
        w, grad = w[:n], grad[:n]
        _from_bfloat16(array_at(row[1] + start * 2, n, halves), grad.view(np.uint32))
        if numbers[2] != 0.0:
            _from_bfloat16(array_at(row[0] + start * 2, n, halves), w.view(np.uint32))
    else:
        w, grad = array_at(row[0] + start * size, n, scratch), array_at(row[1] + start * size, n, scratch)
    _accumulate(a, w, grad, momentum, numbers, scratch)
    return a, w


@compilable
def _write(row, start, w, half, room):
    """Round a stretch of weights into place, where they are not there already."""
    if half:
        _to_bfloat16(w.view(np.uint32), array_at(row[0] + start * 2, len(w), room[3]))


@compilable
def _past_the_cache(a, w, grad, rate, threshold):
    """As `_in_one_loop`, with weights that are written around the cache."""
    n, line = len(a), LINE // a.itemsize
    first = to_line(w)
    last = n - (n - first) % line
    _in_one_loop(a[:first], w[:first], grad[:first], rate, threshold)
    shrink_lines(a, w, grad, first, last, rate, threshold)
    _in_one_loop(a[last:], w[last:], grad[last:], rate, threshold)


@compilable
def _by_entries(row, first, last, threshold, scale, numbers, half, past, room):
    """A step on the entries of a tensor from `first` to `last`, in one pass."""
    if row[6] and not (half or row[3] or numbers[2] != 0.0 or scale != 1.0):
        a, w, grad = _views(row, first, last - first, room[2])
        if past:
            _past_the_cache(a, w, grad, numbers[0], threshold)
        else:
            _in_one_loop(a, w, grad, numbers[0], threshold)
        return
    for start in range(first, last, _STRETCH):
        a, w = _move(row, start, min(_STRETCH, last - start), numbers, half, room)
        if row[6]:
            _shrink(a, threshold, scale, w)
            _write(row, start, w, half, room)


@compilable
def _by_groups(row, first, last, threshold, numbers, half, room):
    """A step on the groups of a tensor from entry `first` to `last`, each in two passes."""
    entries, scratch = row[5], room[2]
    for begin in range(first, last, entries):
        square, end = 0.0, begin + entries
        for start in range(begin, end, _STRETCH):
            a, w = _move(row, start, min(_STRETCH, end - start), numbers, half, room)
            square += _squares(a, scratch)
        norm = math.sqrt(square)
        # a group of norm 0 is 0 whatever the factor; NaN stays NaN
        edge = math.sqrt(entries) * threshold
        scratch[0] = 0.0 if norm <= edge else (norm - edge) / norm
        for start in range(begin, end, _STRETCH):
            n = min(_STRETCH, end - start)
            a = array_at(row[2] + start * scratch.itemsize, n, scratch)
            w = room[1][:n] if half else array_at(row[0] + start * scratch.itemsize, n, scratch)
            _scale(a, scratch[0], w)
            _write(row, start, w, half, room)


@Kernel
def _kernel(table: Any, thresholds: Any, numbers: Any, half: bool, past: bool, part: int, parts: int) -> None:
    """One of `parts` shares of a step on all tensors.

    `table` has the rows of `_fused.Row`; `thresholds` the threshold of each and what its weights are divided by;
    `numbers` minus the rate, the momentum and the weight decay; `half` says that weights are in bfloat16, `past` that
    they are written around the cache where they are not read.
    """
    kind = numbers.dtype
    room = (
        np.empty(_STRETCH, kind),
        np.empty(_STRETCH, kind),
        np.empty(_STRETCH, kind),
        np.empty(0, np.uint16),
    )
    for k in range(len(table)):
        row = table[k]
        groups = row[4] // row[5]
        first, last = groups * part // parts * row[5], groups * (part + 1) // parts * row[5]
        if row[6] and row[5] > 1:
            _by_groups(row, first, last, thresholds[k, 0], numbers, half, room)
        else:
            _by_entries(row, first, last, thresholds[k, 0], thresholds[k, 1], numbers, half, past, room)


@functools.cache
def _threads(process: int, count: int) -> ThreadPoolExecutor:
    """Threads of this process: a copy of it, by a fork, has none."""
    return ThreadPoolExecutor(count, "rdasde-step")


def step(table: Any, entries: int, thresholds: Any, numbers: Any, half: bool) -> None:
    """A step on all tensors of a table, in as many threads as PyTorch's own operations take: in its own, if it may be.

    Who is free takes the next share, and a thread of ours that gets no core is not waited for.
    """
    past = entries >= _BEYOND
    threads = max(1, min(torch.get_num_threads(), entries // _TOO_FEW))
    if threads == 1:
        _kernel(table, thresholds, numbers, half, past, 0, 1)
        return
    parts = _SHARES * threads
    left = deque(range(parts))

    def work() -> None:
        with contextlib.suppress(IndexError):
            while True:
                _kernel(table, thresholds, numbers, half, past, left.popleft(), parts)

    if together(work, threads):
        return
    pool = _threads(os.getpid(), threads - 1)
    others: list[Future[None]] = [pool.submit(work) for _ in range(1, threads)]
    work()
    for other in others:
        if not other.cancel():
            other.result()
