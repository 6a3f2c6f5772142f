"""Softmax regression over the rows of a data set, in lanes: what the compiled loops call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._compiled.lanes import add_row, row_dot
from rdasde._compiled.random import normals, row_numbers
from rdasde._compiled.scratch import ROW, Layout
from rdasde._problems.base import add_gradient, drift, hessian_product, noise

_CHUNK = 64  # rows whose noise is drawn at a time


class SoftmaxParameters(NamedTuple):
    rows: Floats  # (n, p)
    labels: NDArray[np.int64]  # (n,), 0 to classes - 1
    classes: int


class SoftmaxScratch(NamedTuple):
    normals: Floats  # (chunk, lanes)
    gradient: Floats  # (d, lanes)
    scores: Floats  # (classes, lanes)
    product: Floats  # (classes, lanes)
    drawn: Floats  # (lanes,), as all below
    total: Floats
    sum: Floats


def softmax_layout(columns: int, classes: int) -> Layout:
    """The scratch of a problem of so many columns and classes."""
    lanes = dict.fromkeys(("drawn", "total", "sum"), ROW)
    return Layout(SoftmaxScratch, normals=_CHUNK, gradient=columns * classes, scores=classes, product=classes, **lanes)


@compilable
def _probabilities(scores, total):
    """Scores (classes, lanes) become probabilities; `total` (lanes,) is scratch."""
    for lane in range(total.size):
        total[lane] = scores[0, lane]
    for k in range(1, scores.shape[0]):
        for lane in range(total.size):
            total[lane] = max(total[lane], scores[k, lane])
    for k in range(scores.shape[0]):
        for lane in range(total.size):
            scores[k, lane] = np.exp(scores[k, lane] - total[lane])
    total[:] = 0.0
    for k in range(scores.shape[0]):
        for lane in range(total.size):
            total[lane] += scores[k, lane]
    for k in range(scores.shape[0]):
        for lane in range(total.size):
            scores[k, lane] /= total[lane]


@compilable
def _by_class(row, w, out):
    """``out_k = row'w_k`` in every lane."""
    p = row.size
    for k in range(out.shape[0]):
        row_dot(row, w[k * p : (k + 1) * p], out[k])


@compilable
def _residuals(problem, i, w, scratch):
    """Probabilities of row i less its indicator, into the scores."""
    scores = scratch.scores
    _by_class(problem.rows[i], w, scores)
    _probabilities(scores, scratch.sum)
    own = scores[problem.labels[i]]
    for lane in range(own.size):
        own[lane] -= 1.0


@compilable
def _add_classes(row, scores, out):
    """``out_k += row scores_k`` in every lane."""
    p = row.size
    for k in range(scores.shape[0]):
        add_row(row, scores[k], out[k * p : (k + 1) * p])


@implements(add_gradient, SoftmaxParameters)
def _(problem, w, streams, scratch, out):
    rows, scores, drawn = problem.rows, scratch.scores, scratch.drawn
    n, p = rows.shape
    row_numbers(streams, n, drawn)
    for k in range(problem.classes):
        for lane in range(drawn.size):
            i, score = int(drawn[lane]), 0.0
            for j in range(p):
                score = fma(rows[i, j], w[k * p + j, lane], score)
            scores[k, lane] = score
    _probabilities(scores, scratch.sum)
    for lane in range(drawn.size):
        i = int(drawn[lane])
        scores[problem.labels[i], lane] -= 1.0
        for k in range(problem.classes):
            for j in range(p):
                out[k * p + j, lane] = fma(rows[i, j], scores[k, lane], out[k * p + j, lane])


@implements(drift, SoftmaxParameters)
def _(problem, w, scratch, out):
    scores, share = scratch.scores, 1.0 / problem.labels.size
    out[:] = 0.0
    for i in range(problem.labels.size):
        _residuals(problem, i, w, scratch)
        for k in range(scores.shape[0]):
            for lane in range(scores.shape[1]):
                scores[k, lane] *= share
        _add_classes(problem.rows[i], scores, out)


@implements(hessian_product, SoftmaxParameters)
def _(problem, w, u, scratch, out):
    # (diag p - p p') (x'u_k) by class
    scores, product, mean, share = scratch.scores, scratch.product, scratch.total, 1.0 / problem.labels.size
    out[:] = 0.0
    for i in range(problem.labels.size):
        _by_class(problem.rows[i], w, scores)
        _by_class(problem.rows[i], u, product)
        _probabilities(scores, scratch.sum)
        mean[:] = 0.0
        for k in range(scores.shape[0]):
            for lane in range(mean.size):
                mean[lane] = fma(scores[k, lane], product[k, lane], mean[lane])
        for k in range(scores.shape[0]):
            for lane in range(mean.size):
                product[k, lane] = share * scores[k, lane] * (product[k, lane] - mean[lane])
        _add_classes(problem.rows[i], product, out)


@implements(noise, SoftmaxParameters)
def _(problem, w, streams, scratch, out):
    # n^-1/2 (sum_i g_i xi_i - G sum_i xi_i), as in `rows.residual_noise`
    xi, scores, total, gradient = scratch.normals, scratch.scores, scratch.total, scratch.gradient
    n = problem.labels.size
    drift(problem, w, scratch, gradient)
    out[:] = 0.0
    total[:] = 0.0
    for start in range(0, n, _CHUNK):
        normals(streams, xi)
        for i in range(start, min(start + _CHUNK, n)):
            _residuals(problem, i, w, scratch)
            for lane in range(total.size):
                total[lane] += xi[i - start, lane]
            for k in range(scores.shape[0]):
                for lane in range(total.size):
                    scores[k, lane] *= xi[i - start, lane]
            _add_classes(problem.rows[i], scores, out)
    scale = 1.0 / np.sqrt(float(n))
    for j in range(out.shape[0]):
        for lane in range(total.size):
            out[j, lane] = scale * fma(-gradient[j, lane], total[lane], out[j, lane])
