"""One stream of rows through the algorithm, compiled: what `fit` needs of a problem is its gradient on one row.

Rows come in blocks. Beside the states, a block leaves two matrices whose products with themselves are the sums that
plug-in inference needs: ``roots'roots`` (the Hessian) and ``gradients'gradients`` (the covariance of the gradients).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._compiled.jit import Kernel, compilable, fma, generic, implements
from rdasde._regularizers.base import mirror


@generic
def row_terms(model, x, y, w, k, gradient, root, centre, curvature):
    """The gradient at `w` on the k-th row ``(x, y)``, counted from 1, and `root`: ``root root'`` averages to H.

    Where f is not quadratic, `curvature` gains what the gradient at `w` is beyond its linearization at `centre`, where
    H is taken too.
    """


class LinearRows(NamedTuple):
    unused: float


class LogisticRows(NamedTuple):
    follow: float  # 1: the centre is a running average of the path; 0: it stays


class OjaRows(NamedTuple):
    unused: float


@compilable
def dot(x, w):
    """x'w in eight partial sums: a fixed order that the compiler can vectorize."""
    d = x.size
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = d - d % 8
    for j in range(0, whole, 8):
        s0 = fma(x[j], w[j], s0)
        s1 = fma(x[j + 1], w[j + 1], s1)
        s2 = fma(x[j + 2], w[j + 2], s2)
        s3 = fma(x[j + 3], w[j + 3], s3)
        s4 = fma(x[j + 4], w[j + 4], s4)
        s5 = fma(x[j + 5], w[j + 5], s5)
        s6 = fma(x[j + 6], w[j + 6], s6)
        s7 = fma(x[j + 7], w[j + 7], s7)
    for j in range(whole, d):
        s0 = fma(x[j], w[j], s0)
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@compilable
def logistic(score):
    """``1 / (1 + exp(-score))`` and its derivative."""
    tail = np.exp(-abs(score))
    small = tail / (1.0 + tail)
    return (1.0 - small if score > 0.0 else small), small * (1.0 - small)


@implements(row_terms, LinearRows)
def _(model, x, y, w, k, gradient, root, centre, curvature):
    residual = dot(x, w) - y
    for j in range(x.size):
        gradient[j] = residual * x[j]
        root[j] = x[j]


@implements(row_terms, LogisticRows)
def _(model, x, y, w, k, gradient, root, centre, curvature):
    score, central = dot(x, w), dot(x, centre)
    p, _ = logistic(score)
    q, slope = logistic(central)
    bend = p - q - slope * (score - central)
    # weights grow with k, so that the start is soon forgotten
    weight = model.follow * 2.0 / (k + 1.0)
    scale = np.sqrt(slope)
    for j in range(x.size):
        gradient[j] = (p - y) * x[j]
        root[j] = scale * x[j]
        curvature[j] = fma(bend, x[j], curvature[j])
        centre[j] = fma(weight, w[j] - centre[j], centre[j])


@implements(row_terms, OjaRows)
def _(model, x, y, w, k, gradient, root, centre, curvature):
    score = dot(x, w)
    for j in range(x.size):
        gradient[j] = score * (score * w[j] - x[j])
        root[j] = x[j]


@Kernel
def advance_rows(
    model,
    regularizer,
    thresholds,
    step_size,
    batch_size,
    rows,
    response,
    seen,
    place,
    v,
    w,
    pending,
    total,
    centre,
    curvature,
    gradients,
    roots,
):
    """Take `rows` (n, d) with their `response` (n,), at most to the end of a block; False if a state is not finite.

    `seen` rows of the stream came before, `place` of them in this block; `batch_size` divides the length of a block.
    ``thresholds[k]`` is g after the k-th step of the block. `pending` (d,) is the gradient of an unfinished step,
    `total` (d,) the sum of the w at which gradients were taken, over finished steps.
    """
    d = v.size
    rate = -step_size / batch_size
    dual, primal = v.reshape((d, 1)), w.reshape((d, 1))
    for i in range(rows.shape[0]):
        k = place + i
        gradient = gradients[k]
        row_terms(model, rows[i], response[i], w, seen + i + 1, gradient, roots[k], centre, curvature)
        for j in range(d):
            pending[j] += gradient[j]
        if (k + 1) % batch_size == 0:
            for j in range(d):
                total[j] += w[j]
                v[j] = fma(rate, pending[j], v[j])
                pending[j] = 0.0
            mirror(regularizer, dual, thresholds[(k + 1) // batch_size - 1], primal)
    finite = True
    for j in range(d):
        finite = finite and np.isfinite(v[j])
    return finite


@Kernel
def add_products(rows, total):
    """The upper triangle of ``rows'rows`` onto `total`, eight rows at a time; `rows` has a multiple of eight of them.

    As fast as one thread of BLAS, and never more than one: whoever runs many streams at a time has the threads. Flat
    arrays and unsigned indices: see random._word_pairs.
    """
    n, d = rows.shape
    flat, flat_total = rows.reshape(-1), total.reshape(-1)
    width = np.uint64(d)
    for k in range(0, n, 8):
        r0 = np.uint64(k) * width
        r1 = r0 + width
        r2 = r1 + width
        r3 = r2 + width
        r4 = r3 + width
        r5 = r4 + width
        r6 = r5 + width
        r7 = r6 + width
        for i in range(width):
            a0, a1, a2, a3 = flat[r0 + i], flat[r1 + i], flat[r2 + i], flat[r3 + i]
            a4, a5, a6, a7 = flat[r4 + i], flat[r5 + i], flat[r6 + i], flat[r7 + i]
            line = i * width
            for j in range(i, width):
                low = fma(a3, flat[r3 + j], fma(a2, flat[r2 + j], fma(a1, flat[r1 + j], a0 * flat[r0 + j])))
                high = fma(a7, flat[r7 + j], fma(a6, flat[r6 + j], fma(a5, flat[r5 + j], a4 * flat[r4 + j])))
                flat_total[line + j] += low + high
