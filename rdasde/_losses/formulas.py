"""The built-in losses as compiled code sees them: one type for all, so that loops are compiled once for them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rdasde._compiled.jit import compilable, implements
from rdasde._losses.base import derivative, second_derivative

SQUARED, LOGISTIC, POISSON, HUBER, QUANTILE, SMOOTHED_QUANTILE, SQUARED_HINGE = range(7)
DENSITY = float(1.0 / np.sqrt(2.0 * np.pi))
_HALF = float(np.sqrt(0.5))


class LossParameters(NamedTuple):
    kind: int  # one of those above
    first: float = 0.0  # delta, or the level
    second: float = 0.0  # the bandwidth


@compilable
def logistic(score):
    """``p = 1 / (1 + exp(-score))`` and its derivative.

    Not by the odd function ``p - 1/2`` that quadrature and samples of `LogisticRegression` are made of: ``1/2 + t``
    has lost all digits of a small p, and its derivative ``1/4 - t^2`` with it, which here must stay positive: its root
    is taken. (Arrays outside compiled code go through SciPy's `expit`.)
    """
    tail = np.exp(-abs(score))
    small = tail / (1.0 + tail)
    return (1.0 - small if score > 0.0 else small), small * (1.0 - small)


@implements(derivative, LossParameters)
def _(loss, eta, y):
    # a NaN stays one everywhere
    kind, residual = loss.kind, eta - y
    if kind == LOGISTIC:
        return logistic(eta)[0] - y
    if kind == POISSON:
        return np.exp(eta) - y
    if kind == HUBER:
        if residual > loss.first:
            return loss.first
        return -loss.first if residual < -loss.first else residual
    if kind == QUANTILE:
        return (0.0 if residual <= 0.0 else 1.0 if residual > 0.0 else residual) - loss.first
    if kind == SMOOTHED_QUANTILE:
        return 0.5 * math.erfc(-_HALF * residual / loss.second) - loss.first
    if kind == SQUARED_HINGE:
        side = 2.0 * y - 1.0
        missing = 1.0 - side * eta
        return 0.0 if missing <= 0.0 else -side * missing
    return residual


@implements(second_derivative, LossParameters)
def _(loss, eta, y):
    kind = loss.kind
    if kind == LOGISTIC:
        return logistic(eta)[1]
    if kind == POISSON:
        return np.exp(eta)
    if kind == HUBER:
        return 1.0 if abs(eta - y) <= loss.first else 0.0
    if kind == QUANTILE:
        return 0.0
    if kind == SMOOTHED_QUANTILE:
        z = (eta - y) / loss.second
        return DENSITY / loss.second * np.exp(-0.5 * z * z)
    if kind == SQUARED_HINGE:
        return 1.0 if (2.0 * y - 1.0) * eta < 1.0 else 0.0
    return 1.0
