"""One step of the explicit Runge-Kutta pair of Dormand & Prince: of order five, with an error estimate of order four.

Dormand & Prince, "A family of embedded Runge-Kutta formulae", J. Comput. Appl. Math. 6 (1980); the interpolant of order
four is Shampine's (Math. Comp. 46, 1986).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rdasde._check import Floats

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


def weighted(weights: Floats, slopes: Floats) -> Floats:
    """``sum_i weights_i slopes_i`` over the first axis."""
    return np.asarray(weights @ slopes[: len(weights)].reshape(len(weights), -1)).reshape(slopes.shape[1:])


def one_step(
    slope: Callable[[int, Floats, Floats], Floats], h: float, y: Floats, f: Floats
) -> tuple[Floats, Floats, Floats]:
    """State at the end of a step of length h, estimate of its error, and the seven slopes (7, ...).

    ``slope(i, y, slopes)`` is that at node i, of which `slopes` holds those before; f is the first.
    """
    slopes = np.empty((len(NODES), *y.shape))
    slopes[0] = f
    ahead = y
    for i, weights in enumerate(_WEIGHTS, start=1):
        ahead = y + h * weighted(weights, slopes)
        slopes[i] = slope(i, ahead, slopes)
    return ahead, h * weighted(_ERROR, slopes), slopes


def interpolated(x: Floats, y: Floats, slopes: Floats, h: float) -> tuple[Floats, Floats]:
    """State and slope at the shares x of a step: (share, ...)."""
    value = x[:, None] ** _POWERS @ _INTERPOLANT.T
    slope = (_POWERS * x[:, None] ** (_POWERS - 1)) @ _INTERPOLANT.T
    return y + h * np.tensordot(value, slopes, 1), np.tensordot(slope, slopes, 1)
