"""One step of the explicit Runge-Kutta pair of Dormand & Prince: of order five, with an error estimate of order four.

Dormand & Prince, "A family of embedded Runge-Kutta formulae", J. Comput. Appl. Math. 6 (1980); the interpolant of order
four is Shampine's (Math. Comp. 46, 1986).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel

STABLE = 3.4  # longest step in units of a bound of the fastest rate that has a little to spare; 3.3 of that itself
EVALUATIONS = 6  # of the right-hand side a step: its last one is the first of the next
NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_WEIGHTS = (
    np.array([1 / 5]),
    np.array([3 / 40, 9 / 40]),
    np.array([44 / 45, -56 / 15, 32 / 9]),
    np.array([19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729]),
    np.array([9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656]),
    np.array([35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84]),
)
_ERROR = np.array([-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40])
# powers 1 to 4 of the share of the step that has passed, for each slope
_INTERPOLANT = np.array(
    [
        [1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
        [0.0, 0.0, 0.0, 0.0],
        [0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
        [0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
        [0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
        [0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
        [0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
    ]
)
_POWERS = np.arange(1, 5)
_PART = 1024  # numbers of an array worked on at once


class Behind(Protocol):
    """What a state has less than the y that is stepped."""

    def weights(self, i: int) -> Floats | None:
        """At node i as a sum over the slopes before it, each with a weight; None where `early` has to tell."""

    def early(self, passed: float) -> Floats:
        """After a time `passed`, from before the step."""


@Kernel
def _combine(y: Floats, weights: Floats, slopes: Floats, out: Floats) -> None:
    """``y + sum_i weights_i slopes_i`` over the first slopes, arrays (n,), part by part: each stays at hand."""
    for first in range(0, y.size, _PART):
        last = min(first + _PART, y.size)
        target = out[first:last]
        target[:] = y[first:last]
        for i in range(weights.size):
            weight, row = weights[i], slopes[i, first:last]
            if weight != 0.0:
                for k in range(target.size):
                    target[k] += weight * row[k]


def _combined(y: Floats, weights: Floats, slopes: Floats) -> Floats:
    out = np.empty_like(y)
    _combine(y.ravel(), weights, slopes.reshape(len(slopes), -1), out.ravel())
    return out


class Pair(NamedTuple):
    """A step of the pair."""

    ahead: Floats  # y at its end
    estimate: Floats  # of its error
    slopes: Floats  # at the seven nodes, (7, ...)
    twice: tuple[Floats, Floats]  # what sets the last two states apart, both at its end, and their slopes


def one_step(rhs: Callable[[float, Floats], Floats], t: float, h: float, y: Floats, f: Floats, behind: Behind) -> Pair:
    """From t to t + h; f is the slope at t. What ``rhs(t, x)`` is asked for are states x, less than y by `behind`."""
    slopes = np.empty((len(NODES), *y.shape))
    slopes[0] = f
    x = last = y
    for i, weights in enumerate(_WEIGHTS, start=1):
        shift = behind.weights(i)
        last = x
        if shift is None:
            x = _combined(y, h * weights, slopes) - behind.early(NODES[i] * h)
        else:
            x = _combined(y, h * weights - shift, slopes)
        slopes[i] = rhs(t + NODES[i] * h, x)
    ahead = _combined(y, h * _WEIGHTS[-1], slopes)
    estimate = _combined(np.zeros_like(y), h * _ERROR, slopes)
    return Pair(ahead, estimate, slopes, (x - last, slopes[-1] - slopes[-2]))


def interpolated(x: Floats, y: Floats, slopes: Floats, h: float) -> tuple[Floats, Floats]:
    """State and slope at the shares x of a step: (share, ...)."""
    value = x[:, None] ** _POWERS @ _INTERPOLANT.T
    slope = (_POWERS * x[:, None] ** (_POWERS - 1)) @ _INTERPOLANT.T
    return y + h * np.tensordot(value, slopes, 1), np.tensordot(slope, slopes, 1)
