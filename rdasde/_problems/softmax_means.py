"""Means of softmax over normal scores, row by row: over points that have their covariance, exact up to third order."""

from __future__ import annotations

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable


@compilable
def _root(spread: Floats, i: int, out: Floats) -> None:
    """``L L'`` is the covariance of row i, whose lower half is `spread` (pair, n); semidefinite is enough."""
    k = out.shape[0]
    pair = 0
    for a in range(k):
        for b in range(a + 1):
            rest = spread[pair, i]
            pair += 1
            for c in range(b):
                rest -= out[a, c] * out[b, c]
            if a == b:
                out[a, a] = np.sqrt(max(rest, 0.0))
            else:
                out[a, b] = rest / out[b, b] if out[b, b] > 0.0 else 0.0


@compilable
def _probabilities(scores: Floats, out: Floats) -> None:
    largest, total = scores.max(), 0.0
    for k in range(scores.size):
        out[k] = np.exp(scores[k] - largest)
        total += out[k]
    for k in range(scores.size):
        out[k] /= total


@Kernel
def softmax_means(scores: Floats, spread: Floats, labels: Floats, residual: Floats, weights: Floats) -> None:
    """``E (p - e)`` into `residual` (n, K), ``E (diag p - pp')`` and ``E (p - e)(p - e)'`` into `weights` (2, pair, n).

    Scores (n, K) of covariances `spread` (pair, n); pairs of classes are those of a lower half, row by row.
    """
    n, k = scores.shape
    root, there, p = np.zeros((k, k)), np.empty(k), np.empty(k)
    length, share = np.sqrt(float(k)), 0.5 / k
    residual[:], weights[:] = 0.0, 0.0
    for i in range(n):
        _root(spread, i, root)
        label = int(labels[i])
        for move in range(2 * k):
            step = length if move < k else -length
            for a in range(k):
                there[a] = scores[i, a] + step * root[a, move % k]
            _probabilities(there, p)
            pair = 0
            for a in range(k):
                off = p[a] - (1.0 if a == label else 0.0)
                residual[i, a] += share * off
                for b in range(a + 1):
                    other = p[b] - (1.0 if b == label else 0.0)
                    weights[0, pair, i] += share * ((p[a] if a == b else 0.0) - p[a] * p[b])
                    weights[1, pair, i] += share * off * other
                    pair += 1
