"""One stream of rows through the algorithm, compiled: what it needs of a problem is `row_terms`.

Rows come in blocks. Beside the states, a block leaves two matrices whose products with themselves are the sums that
plug-in inference needs: ``roots'roots`` (the Hessian) and ``gradients'gradients`` (the covariance of the gradients, of
their linearizations where f is not quadratic), and the path of w.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, fma
from rdasde._problems.row_terms import Moments, Row, row_terms
from rdasde._regularizers.base import mirror


class Rule(NamedTuple):
    """How a block is gone through."""

    thresholds: Floats  # [k]: g after the k-th step of the block, counted from 0
    step_size: float
    batch_size: int  # divides the length of a block
    follow: bool  # whether the centre of linearization is a running average of the path, or stays
    bends: bool  # whether gradients have a part beyond their linearization


class State(NamedTuple):
    """The algorithm's own, each (d,)."""

    dual: Floats
    primal: Floats
    pending: Floats  # the gradient of an unfinished step


class Rows(NamedTuple):
    """A part of a block."""

    x: Floats  # (n, d)
    y: Floats  # (n,)
    seen: int  # rows of the stream before
    place: int  # rows of this block before


@Kernel
def advance_rows(model: Any, regularizer: Any, rule: Rule, rows: Rows, state: State, moments: Moments) -> bool:
    """Take `Rows` that end with their block or earlier; False if a state is not finite."""
    thresholds, step_size, batch_size, follow, bends = rule
    x, y, seen, place = rows
    v, w, pending = state
    total, centre, curvature, gradients, _, path, bent = moments
    d = v.size
    rate = -step_size / batch_size
    dual, primal = v.reshape((d, 1)), w.reshape((d, 1))
    for i in range(x.shape[0]):
        k = place + i
        gradient, place_of_w = gradients[k], path[k]
        if bends:
            curvature[:] = 0.0
        row_terms(model, Row(x[i], y[i], k), w, moments)
        if follow:
            # weights grow with the number of the row, so that the start is soon forgotten
            weight = 2.0 / (seen + i + 2.0)
            for j in range(d):
                centre[j] = fma(weight, w[j] - centre[j], centre[j])
        for j in range(d):
            pending[j] += gradient[j]
            place_of_w[j] = w[j]
        if bends:
            for j in range(d):
                gradient[j] -= curvature[j]
                bent[j] += curvature[j]
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
def terms_at(model: Any, rows: Rows, w: Floats, moments: Moments) -> None:
    """For each of `Rows` its gradient at `w` and its root; into ``moments.path`` what is beyond the linearization."""
    curvature, bends = moments.curvature, moments.path
    for i in range(rows.x.shape[0]):
        curvature[:] = 0.0
        row_terms(model, Row(rows.x[i], rows.y[i], i), w, moments)
        for j in range(w.size):
            bends[i, j] = curvature[j]


@Kernel
def add_products(rows: Floats, total: Floats) -> None:
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
