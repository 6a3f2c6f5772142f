"""Arrays in lanes: sixteen replicates side by side, (rows, LANES), and the products that the loops are made of.

Everything is elementwise over lanes, in a fixed order of operations: what a lane gets does not depend on the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde._compiled.jit import compilable, fma, one_row

LANES = 16  # two AVX-512 or four AVX2 vectors: enough independent work to hide latencies


def lane_array(rows: int, dtype: type = np.float64) -> NDArray[Any]:
    """Zeros of shape (rows, LANES), aligned to cache lines."""
    size = rows * LANES * 8
    raw = np.zeros(size + 64, dtype=np.uint8)
    offset = -raw.ctypes.data % 64
    return raw[offset : offset + size].view(dtype).reshape(rows, LANES)


@compilable
def move(v, step, slope, out):
    """``out = v - step slope``, over lanes."""
    flat, flat_slope, target = one_row(v), one_row(slope), one_row(out)
    for i in range(flat.size):
        target[i] = fma(-step, flat_slope[i], flat[i])


@compilable
def copy(x, out):
    """``out = x``; `out[:] = x` would compile the sentence that says how shapes differ, which takes seconds."""
    flat, target = one_row(x), one_row(out)
    for i in range(flat.size):
        target[i] = flat[i]


@compilable
def add(x, out):
    """``out += x``; flat, so that it vectorizes."""
    flat, flat_out = one_row(x), one_row(out)
    for i in range(flat.size):
        flat_out[i] += flat[i]


@compilable
def move_towards(x, share, out):
    """``out += share (x - out)``."""
    flat, target = one_row(x), one_row(out)
    for i in range(flat.size):
        target[i] = fma(share, flat[i] - target[i], target[i])


@compilable
def dot(x, y, out):
    """x'y in every lane, summed four coordinates at a time; `x`, `y` (d, lanes), `out` (lanes,)."""
    d = x.shape[0]
    whole = d - d % 4
    out[:] = 0.0
    for j in range(0, whole, 4):
        for lane in range(out.size):
            left = fma(x[j, lane], y[j, lane], x[j + 1, lane] * y[j + 1, lane])
            right = fma(x[j + 2, lane], y[j + 2, lane], x[j + 3, lane] * y[j + 3, lane])
            out[lane] += left + right
    for j in range(whole, d):
        for lane in range(out.size):
            out[lane] = fma(x[j, lane], y[j, lane], out[lane])


@compilable
def project(vector, x, out):
    """vector'x in every lane: `dot` with a vector (d,) that all lanes share."""
    d = vector.size
    whole = d - d % 4
    out[:] = 0.0
    for j in range(0, whole, 4):
        v0, v1, v2, v3 = vector[j], vector[j + 1], vector[j + 2], vector[j + 3]
        for lane in range(out.size):
            left = fma(v0, x[j, lane], v1 * x[j + 1, lane])
            right = fma(v2, x[j + 2, lane], v3 * x[j + 3, lane])
            out[lane] += left + right
    for j in range(whole, d):
        v0 = vector[j]
        for lane in range(out.size):
            out[lane] = fma(v0, x[j, lane], out[lane])


@compilable
def row_dot(row, w, out):
    """out = row'w in every lane."""
    out[:] = 0.0
    for j in range(row.size):
        x = row[j]
        for lane in range(out.size):
            out[lane] = fma(x, w[j, lane], out[lane])


@compilable
def add_row(row, level, out):
    """out += row level in every lane."""
    for j in range(row.size):
        x = row[j]
        for lane in range(level.size):
            out[j, lane] = fma(x, level[lane], out[j, lane])


@compilable
def four_rows(matrix, i, stop, x, out, row):
    """out[row + k] = sum over j < stop of matrix[i + k, j] x[j], k = 0..3: blocks of 4 x 4 in registers.

    Flat arrays and unsigned indices let the compiler see that `x` and `out` do not overlap (`random._word_pairs`).
    """
    lanes = np.uint64(LANES)
    flat, target = one_row(x), one_row(out)
    out[row : row + 4] = 0.0
    o0 = np.uint64(row) * lanes
    o1, o2, o3 = o0 + lanes, o0 + lanes + lanes, o0 + lanes + lanes + lanes
    whole = stop - stop % 4
    for j in range(0, whole, 4):
        a0, a1, a2, a3 = matrix[i, j], matrix[i, j + 1], matrix[i, j + 2], matrix[i, j + 3]
        b0, b1, b2, b3 = matrix[i + 1, j], matrix[i + 1, j + 1], matrix[i + 1, j + 2], matrix[i + 1, j + 3]
        c0, c1, c2, c3 = matrix[i + 2, j], matrix[i + 2, j + 1], matrix[i + 2, j + 2], matrix[i + 2, j + 3]
        d0, d1, d2, d3 = matrix[i + 3, j], matrix[i + 3, j + 1], matrix[i + 3, j + 2], matrix[i + 3, j + 3]
        s0 = np.uint64(j) * lanes
        s1, s2, s3 = s0 + lanes, s0 + lanes + lanes, s0 + lanes + lanes + lanes
        for lane in range(lanes):
            x0, x1, x2, x3 = flat[s0 + lane], flat[s1 + lane], flat[s2 + lane], flat[s3 + lane]
            target[o0 + lane] = fma(a3, x3, fma(a2, x2, fma(a1, x1, fma(a0, x0, target[o0 + lane]))))
            target[o1 + lane] = fma(b3, x3, fma(b2, x2, fma(b1, x1, fma(b0, x0, target[o1 + lane]))))
            target[o2 + lane] = fma(c3, x3, fma(c2, x2, fma(c1, x1, fma(c0, x0, target[o2 + lane]))))
            target[o3 + lane] = fma(d3, x3, fma(d2, x2, fma(d1, x1, fma(d0, x0, target[o3 + lane]))))
    for j in range(whole, stop):
        for k in range(4):
            a0 = matrix[i + k, j]
            for lane in range(x.shape[1]):
                out[row + k, lane] = fma(a0, x[j, lane], out[row + k, lane])


@compilable
def single_row(matrix, i, stop, x, out, row):
    """out[row] = sum over j < stop of matrix[i, j] x[j], in the order of `four_rows`."""
    out[row] = 0.0
    for j in range(stop):
        a0 = matrix[i, j]
        for lane in range(x.shape[1]):
            out[row, lane] = fma(a0, x[j, lane], out[row, lane])


@compilable
def multiply(matrix, x, out):
    """matrix x into `out`, in lanes."""
    rows = matrix.shape[0]
    whole = rows - rows % 4
    for i in range(0, whole, 4):
        four_rows(matrix, i, matrix.shape[1], x, out, i)
    for i in range(whole, rows):
        single_row(matrix, i, matrix.shape[1], x, out, i)
