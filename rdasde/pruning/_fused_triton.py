"""The step on a GPU, one Triton kernel for many tensors: a program finds what it works on in a table of addresses.

The table has the columns of `COLUMNS`; gradients, which move, have a list of addresses of their own. A program takes a
stretch of one tensor, or one group of it.
"""

# mypy: disallow_untyped_decorators=False, disallow_incomplete_defs=False

import torch
import triton.language as tl
from triton import jit

KINDS = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
COLUMNS = ("weight", "accumulator", "momentum", "entries", "group", "threshold", "mapped")
_WIDTH = tl.constexpr(len(COLUMNS))


@jit
def _read(at, mask):
    if mask is None:  # noqa: SIM108 -- Triton compiles one of the two
        x = tl.load(at)
    else:
        x = tl.load(at, mask=mask, other=0.0)
    return x


@jit
def _moved(w, grad, a, momentum, at, mask, rate, inertia, decay, MOMENTUM: tl.constexpr, DECAY: tl.constexpr):
    """``b <- m b + (grad + decay w)`` and ``A <- A - lr b`` on a stretch; the accumulator."""
    x = _read(grad + at, mask).to(tl.float32)
    if DECAY:
        x += decay * _read(w + at, mask).to(tl.float32)
    if MOMENTUM:
        x += inertia * _read(momentum + at, mask)
        tl.store(momentum + at, x, mask=mask)
    x = _read(a + at, mask) + rate * x
    tl.store(a + at, x, mask=mask)
    return x


@jit
def _shrunk(x, threshold, scale, ELASTIC: tl.constexpr):
    """The soft-threshold over `scale`; NaN stays NaN."""
    kept = tl.where(x > threshold, x - threshold, tl.where(x < -threshold, x + threshold, tl.where(x == x, 0.0, x)))
    if ELASTIC:
        kept = tl.div_rn(kept, scale)
    return kept


@jit
def by_entries(
    table,
    grads,
    chunks,
    rate_at,
    rate,
    inertia,
    decay,
    threshold,
    l2,
    SIGN: tl.constexpr,
    KIND: tl.constexpr,
    MOMENTUM: tl.constexpr,
    DECAY: tl.constexpr,
    ELASTIC: tl.constexpr,
    CAPTURABLE: tl.constexpr,
    ALIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
    PIECE: tl.constexpr,
):
    """Accumulate, and threshold each entry, in one pass."""
    k = tl.load(chunks + 2 * tl.program_id(0)).to(tl.int64)
    start = tl.load(chunks + 2 * tl.program_id(0) + 1).to(tl.int64) * BLOCK
    row = table + k * _WIDTH
    w = tl.load(row).to(tl.pointer_type(KIND))
    a = tl.load(row + 1).to(tl.pointer_type(tl.float32))
    momentum = tl.load(row + 2).to(tl.pointer_type(tl.float32))
    entries, mapped = tl.load(row + 3), tl.load(row + 6) != 0
    grad = tl.load(grads + k).to(tl.pointer_type(KIND))
    if ALIGNED:  # else every number is read by itself
        w, a = tl.multiple_of(w, 16), tl.multiple_of(a, 16)
        momentum, grad = tl.multiple_of(momentum, 16), tl.multiple_of(grad, 16)
    if CAPTURABLE:
        rate = (-SIGN * tl.load(rate_at)).to(tl.float32)
        threshold = tl.load(tl.load(row + 5).to(tl.pointer_type(tl.float64))).to(tl.float32)
    scale = 1.0 + l2 * threshold
    at = start + tl.arange(0, BLOCK)
    if start + BLOCK <= entries:  # without a mask, which would keep numbers from being read four at once
        x = _moved(w, grad, a, momentum, at, None, rate, inertia, decay, MOMENTUM, DECAY)
        if mapped:
            tl.store(w + at, _shrunk(x, threshold, scale, ELASTIC).to(KIND))
    else:  # by pieces: registers for masks of a whole stretch would be taken from all programs
        for first in range(start, entries, PIECE):
            there = first + tl.arange(0, PIECE)
            inside = there < entries
            y = _moved(w, grad, a, momentum, there, inside, rate, inertia, decay, MOMENTUM, DECAY)
            if mapped:
                tl.store(w + there, _shrunk(y, threshold, scale, ELASTIC).to(KIND), mask=inside)


@jit
def by_groups(
    table,
    grads,
    chunks,
    rate_at,
    rate,
    inertia,
    decay,
    threshold,
    SIGN: tl.constexpr,
    KIND: tl.constexpr,
    MOMENTUM: tl.constexpr,
    DECAY: tl.constexpr,
    CAPTURABLE: tl.constexpr,
    ALIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Accumulate a group and sum its squares; then threshold it as a whole."""
    k = tl.load(chunks + 2 * tl.program_id(0)).to(tl.int64)
    row = table + k * _WIDTH
    entries = tl.load(row + 4)
    start = tl.load(chunks + 2 * tl.program_id(0) + 1).to(tl.int64) * entries
    if ALIGNED:  # of the groups, too
        entries, start = tl.multiple_of(entries, 16), tl.multiple_of(start, 16)
    w = tl.load(row).to(tl.pointer_type(KIND))
    a = tl.load(row + 1).to(tl.pointer_type(tl.float32))
    momentum = tl.load(row + 2).to(tl.pointer_type(tl.float32))
    grad = tl.load(grads + k).to(tl.pointer_type(KIND))
    if ALIGNED:
        w, a = tl.multiple_of(w, 16), tl.multiple_of(a, 16)
        momentum, grad = tl.multiple_of(momentum, 16), tl.multiple_of(grad, 16)
    if CAPTURABLE:
        rate = (-SIGN * tl.load(rate_at)).to(tl.float32)
        threshold = tl.load(tl.load(row + 5).to(tl.pointer_type(tl.float64))).to(tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, entries, BLOCK):
        inside = first + tl.arange(0, BLOCK)
        mask = inside < entries
        x = _moved(w, grad, a, momentum, start + inside, mask, rate, inertia, decay, MOMENTUM, DECAY)
        squares += tl.where(mask, x * x, 0.0)
    norm = tl.sqrt_rn(tl.sum(squares, 0))
    edge = tl.sqrt_rn(entries.to(tl.float32)) * threshold
    # a group of norm 0 is 0 whatever the factor; NaN stays NaN
    factor = tl.where(norm <= edge, 0.0, tl.div_rn(norm - edge, norm))
    tl.debug_barrier()  # what is read may have been written by another thread
    for first in range(0, entries, BLOCK):
        inside = first + tl.arange(0, BLOCK)
        mask = inside < entries
        x = tl.load(a + start + inside, mask=mask, other=0.0)
        tl.store(w + start + inside, (x * factor).to(KIND), mask=mask)


@jit
def _growth(n, mu):
    """``n^mu - (n - 1)^mu``, without cancellation: of large n by the series of log(1 - 1/n) and of exp(y) - 1."""
    x = 1.0 / n
    z = tl.where(n < 64.0, 0.0, x)
    y = 1.0 / 6.0 + z * (1.0 / 7.0 + z * (1.0 / 8.0 + z * (1.0 / 9.0)))
    y = -mu * z * (1.0 + z * (1.0 / 2.0 + z * (1.0 / 3.0 + z * (1.0 / 4.0 + z * (1.0 / 5.0 + z * y)))))
    short = 1.0 + y / 5.0 * (1.0 + y / 6.0 * (1.0 + y / 7.0 * (1.0 + y / 8.0)))
    short = y * (1.0 + y / 2.0 * (1.0 + y / 3.0 * (1.0 + y / 4.0 * short)))
    before = tl.where(n < 1.5, 1.0, n - 1.0)
    few = tl.where(n < 1.5, 1.0, tl.exp(mu * tl.log(n)) - tl.exp(mu * tl.log(before)))
    return tl.where(n < 64.0, few, -short * tl.exp(mu * tl.log(n)))


@jit
def raise_thresholds(table, rate_at, count, BLOCK: tl.constexpr):
    """Count the step of every tensor and raise its threshold.

    The lines of the table are addresses of counters and of thresholds, and the bits of c and of mu.
    """
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = k < count
    counter = tl.load(table + k, mask=mask, other=0).to(tl.pointer_type(tl.float64))
    threshold = tl.load(table + count + k, mask=mask, other=0).to(tl.pointer_type(tl.float64))
    c = tl.load(table + 2 * count + k, mask=mask, other=0).to(tl.float64, bitcast=True)
    mu = tl.load(table + 3 * count + k, mask=mask, other=0).to(tl.float64, bitcast=True)
    n = tl.load(counter, mask=mask, other=1.0) + 1.0
    rate = tl.load(rate_at).to(tl.float64)
    factor = tl.where(rate > 0.0, c * tl.exp((mu + 0.5) * tl.log(tl.where(rate > 0.0, rate, 1.0))), 0.0)
    tl.store(counter, n, mask=mask)
    tl.store(threshold, tl.load(threshold, mask=mask, other=0.0) + factor * _growth(n, mu), mask=mask)
