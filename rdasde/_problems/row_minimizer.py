"""The minimizer of a loss over the rows of a data set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rdasde._check import Floats
from rdasde._losses.base import Loss
from rdasde._losses.quantile import QuantileLoss
from rdasde._problems.rows import weighted_gram

_STEPS = 200  # of Newton's method, before there is said to be no minimizer
_CLOSE = 1e-10  # a step that small, in units of the predictors, is the last but those that polish
_POLISH = 3
_TIED = 1e-9  # residuals that small, in units of the responses, are 0 at a vertex
_FLAT = 1e-12  # share of the curvature below which a direction has none


def row_minimizer(loss: Loss, rows: Floats, response: Floats) -> Floats | None:
    """The minimizer of shortest length, (d,), or None where there is none: where classes can be separated, for example.

    By Newton's method, damped along each step by the sign of the slope, which needs no values of the loss; for the
    check loss itself by linear programming.
    """
    if isinstance(loss, QuantileLoss) and loss.bandwidth is None:
        return _quantile_minimizer(loss.level, rows, response)
    return _newton(loss, rows, response)


def whitening(rows: Floats) -> Floats:
    """T (d, rank) with ``T' X'X T = n I``: in ``w = T c`` all directions are alike."""
    _, size, right = np.linalg.svd(np.linalg.qr(rows, mode="r"), full_matrices=False)
    rank = int(np.count_nonzero(size > 1e-12 * size[0])) if size[0] > 0.0 else 0
    return np.sqrt(len(rows)) * right[:rank].T / size[:rank]


def _newton(loss: Loss, rows: Floats, response: Floats) -> Floats | None:
    """Newton's steps shrink quadratically where there is a minimum, and go on by about 1 for ever elsewhere."""
    n, basis = len(rows), whitening(rows)
    if not basis.size:
        return np.zeros(rows.shape[1])
    place = basis.T @ (rows.T @ response) / n if loss.response == "real" else np.zeros(basis.shape[1])
    ridge, polished, best, least = 1e-3, 0, place, np.inf
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(_STEPS):
            predictors = rows @ (basis @ place)
            slope, curvature = loss.derivatives(predictors, response)
            gradient = basis.T @ (rows.T @ slope) / n
            size = float(np.abs(gradient).max())
            if not (np.isfinite(size) and np.all(np.isfinite(curvature))):
                return None
            if size < least or not polished:
                best, least = place, size
            hessian = basis.T @ weighted_gram(rows, curvature) @ basis
            level = float(np.trace(hessian)) / len(hessian)
            if polished > _POLISH or size == 0.0:
                return None if _falls_for_ever(loss, hessian, level) else basis @ best
            if level > 0.0:
                step = -np.linalg.lstsq(hessian + ridge * level * np.eye(len(hessian)), gradient, rcond=None)[0]
            else:
                step = -gradient
            if not gradient @ step < 0.0:
                step = -gradient
            change = rows @ (basis @ step)
            if polished or np.abs(change).max() <= _CLOSE * (1.0 + np.abs(predictors).max()):
                polished, place = polished + 1, place + step
                continue
            length = damped(_slope_along(loss, response, predictors, change), float(change @ slope))
            ridge = max(0.1 * ridge, 1e-14) if length == 1.0 else min(10.0 * ridge, 1e-3)
            place = place + length * step
    return None


def _falls_for_ever(loss: Loss, hessian: Floats, level: float) -> bool:
    """Whether a gradient that is 0 to the last digit belongs to no minimum: a likelihood bends in every direction."""
    if not loss.is_likelihood:
        return False
    scale = level if np.isinf(loss.largest_curvature) else loss.largest_curvature
    return bool(np.linalg.eigvalsh(hessian)[0] <= _FLAT * scale)


def _slope_along(loss: Loss, response: Floats, predictors: Floats, change: Floats) -> Callable[[float], float]:
    return lambda length: float(change @ loss.derivative(predictors + length * change, response))


def damped(slope: Callable[[float], float], start: float) -> float:
    """How far to go along a step, so that the slope is at most nine tenths of `start` < 0, of either sign."""
    low, high, length = 0.0, np.inf, 1.0
    for _ in range(60):
        value = slope(length)
        if abs(value) <= -0.9 * start:
            break
        low, high = (length, high) if value < 0.0 else (low, length)
        length = 2.0 * length if high == np.inf else 0.5 * (low + high)
    return length


def _quantile_minimizer(level: float, rows: Floats, response: Floats) -> Floats | None:
    """A vertex: the dual program has one variable a row, between 0 and 1, and one equation a column."""
    import scipy.optimize

    n = len(rows)
    target = (1.0 - level) * rows.sum(axis=0)
    program = scipy.optimize.linprog(-response, A_eq=rows.T, b_eq=target, bounds=(0.0, 1.0), method="highs")
    if program.status != 0:
        return None
    w = -np.asarray(program.eqlin.marginals)
    # the rows that are met exactly, to the last digit
    residual = np.abs(rows @ w - response)
    met = np.flatnonzero(residual <= _TIED * max(float(np.abs(response).max()), 1e-300))
    if 0 < met.size < n:
        w = w + np.linalg.lstsq(rows[met], response[met] - rows[met] @ w, rcond=None)[0]
    return np.asarray(w)
