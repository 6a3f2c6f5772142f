"""The power law ``error = a gamma^p`` through errors that are known up to noise: p with its interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats

_RANGE = (-2.0, 8.0)  # of orders looked at


class Order(NamedTuple):
    """The fitted order, and its interval; infinite where the errors say nothing on that side."""

    value: float
    lower: float
    upper: float
    scatter: float  # chi-square a degree of freedom: far above 1, the errors follow no single power law


def fit_order(step_sizes: Floats, error: Floats, standard_error: Floats, level: float = 0.95) -> Order:
    """Least squares of signed errors, weighted by their standard errors: ``chi2(p) = min_a sum ((e - a gamma^p)/s)^2``.

    Errors below their noise need no cut-off so: they weigh what they are worth, and may have the wrong sign. The
    interval holds the orders p with ``chi2(p) - min chi2`` up to the quantile of chi-square with one degree of freedom;
    where the errors do not lie on one power law (``min chi2`` above its own quantile at `level`), up to the F quantile
    (1, n - 2) times the scatter, ``min chi2 / (n - 2)``, if that is more. NaN where no error is known to be other than
    0, or no order within [-2, 8] fits best.
    """
    from scipy.optimize import brentq, minimize_scalar
    from scipy.stats import chi2, f

    scale = step_sizes / step_sizes.max()
    weighted = error / standard_error

    def misfits(orders: Floats) -> Floats:
        shapes = scale ** orders[:, None] / standard_error
        explained: Floats = (shapes @ weighted) ** 2 / np.sum(shapes**2, axis=1)
        return weighted @ weighted - explained

    def misfit(order: float) -> float:
        return float(misfits(np.array([order]))[0])

    grid = np.linspace(*_RANGE, 401)
    values = misfits(grid)
    best = int(values.argmin())
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    order = float(minimize_scalar(misfit, bounds=around, method="bounded", options={"xatol": 1e-9}).x)
    least = min(misfit(order), values[best])
    freedom = len(error) - 2
    scatter = least / freedom if freedom > 0 else np.nan
    if weighted @ weighted - least < chi2.ppf(level, 2):  # no error at all fits as well
        return Order(np.nan, -np.inf, np.inf, scatter)
    room = float(chi2.ppf(level, 1))
    if freedom > 0 and least > chi2.ppf(level, freedom):
        room = max(room, float(f.ppf(level, 1, freedom)) * scatter)

    def end(side: Floats, otherwise: float) -> float:
        outside = side[misfits(side) - least > room] if side.size else side
        if not outside.size:
            return otherwise
        return float(brentq(lambda p: misfit(p) - least - room, order, outside[0], xtol=1e-9))

    inside = 0 < best < len(grid) - 1
    return Order(
        order if inside else np.nan, end(grid[grid < order][::-1], -np.inf), end(grid[grid > order], np.inf), scatter
    )
