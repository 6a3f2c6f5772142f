"""Huber's loss."""

from __future__ import annotations

from typing import NamedTuple

from rdasde import _check
from rdasde._compiled.jit import implements
from rdasde._losses.base import Loss, derivative, second_derivative


class HuberParameters(NamedTuple):
    delta: float


@implements(derivative, HuberParameters)
def _(loss, eta, y):
    # not min and max: a NaN must stay one
    residual = eta - y
    if residual > loss.delta:
        return loss.delta
    return -loss.delta if residual < -loss.delta else residual


@implements(second_derivative, HuberParameters)
def _(loss, eta, y):
    return 1.0 if abs(eta - y) <= loss.delta else 0.0


class HuberLoss(Loss):
    """``l(eta, y) = r^2 / 2`` where ``|r| <= delta``, ``delta |r| - delta^2 / 2`` beyond, ``r = y - eta``.

    Parameters
    ----------
    delta : float
        Where it turns linear, in units of y. The default is 95 % efficient for normal residuals of standard deviation
        1 (Huber 1964).
    """

    largest_curvature = 1.0

    def __init__(self, delta: float = 1.345) -> None:
        self.delta = _check.number("delta", delta, above=0.0, mend="give for example delta=1.345")
        self.parameters = HuberParameters(self.delta)

    def __repr__(self) -> str:
        return f"HuberLoss(delta={self.delta:g})"
