"""The squared loss."""

from __future__ import annotations

from typing import NamedTuple

from rdasde._compiled.jit import implements
from rdasde._losses.base import Loss, derivative, second_derivative


class SquaredParameters(NamedTuple):
    unused: float


@implements(derivative, SquaredParameters)
def _(loss, eta, y):
    return eta - y


@implements(second_derivative, SquaredParameters)
def _(loss, eta, y):
    return 1.0


class SquaredLoss(Loss):
    """``l(eta, y) = (y - eta)^2 / 2``: least squares."""

    is_quadratic = True
    largest_curvature = 1.0
    parameters = SquaredParameters(0.0)
