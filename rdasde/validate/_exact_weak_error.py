"""The weak error of linear regression without a threshold, with no Monte Carlo at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._engine.arguments import start_point
from rdasde._problems.base import Problem
from rdasde._weak_error.weak_error import check_step_sizes, final_time

if TYPE_CHECKING:
    import xarray as xr

    from rdasde._problems.linear_regression import LinearRegression

EQUATIONS = (1, 2)


def exact_weak_error(
    problem: LinearRegression,
    horizon: float,
    *,
    step_sizes: ArrayLike,
    start: ArrayLike | None = None,
    batch_size: int = 1,
) -> xr.Dataset:
    r"""Weak errors of stochastic gradient descent on linear regression, exactly: its moments close.

    With ``e = w - w*``, ``m = E e``, ``M = E e e'`` and ``B(M) = tr(HM) H + HMH + sigma^2 H``, the algorithm has

    ``m <- (I - gamma H) m``,  ``M <- M - gamma (HM + MH) + gamma^2 (HMH + B(M) / b)``,

    and the stochastic modified equation of order k

    ``dm/dt = -H_k m``,  ``dM/dt = -H_k M - M H_k + (gamma / b) R_k B(R_k M R_k) R_k``,

    ``H_1 = H``, ``R_1 = I``, ``H_2 = H R_2``, ``R_2 = I + gamma H / 2`` (`rdasde.weak_error`). Both are linear: the
    first is iterated, the second solved by a matrix exponential.

    Parameters
    ----------
    problem : LinearRegression
        With a Gaussian design.
    horizon, start
        As in `simulate`.
    step_sizes : array_like of float
    batch_size : int

    Returns
    -------
    xarray.Dataset
        ``first_moment`` and ``second_moment`` (equation, step_size, coordinate), the errors of ``E w_j`` and
        ``E w_j^2``, and ``squared_norm`` (equation, step_size), that of ``E ||w||^2``; ``local_order`` (equation,
        step_size), the slope of the last between a step size and the one after it, NaN at the last.

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    Examples
    --------
    >>> import rdasde as rs
    >>> result = rs.validate.exact_weak_error(rs.LinearRegression([0.5, 0.0]), 1.0, step_sizes=[0.01, 0.005])
    >>> result.local_order.values[:, 0].round(1)  # of the equations of first and of second order
    array([1.1, 1.7])
    """
    import xarray as xr

    if not (isinstance(problem, Problem) and problem.is_gaussian_least_squares):
        raise _check.wrong_kind(
            "problem", problem, "linear regression on a Gaussian design", "pass rs.LinearRegression(coef)"
        )
    gammas = check_step_sizes(step_sizes)
    batch_size = _check.count("batch_size", batch_size)
    first = start_point(start, problem) - problem.coef
    hessian, level, d = problem.covariance.dense(), problem.noise_std**2, problem.dimension
    mean = np.empty((len(EQUATIONS), len(gammas), d))
    second = np.empty_like(mean)
    for k, gamma in enumerate(gammas):
        axis = final_time(horizon, gamma)
        m, moment = first, np.outer(first, first)
        for _ in range(axis.total):
            m = m - gamma * hessian @ m
            product = hessian @ moment
            spread = np.trace(product) * hessian + product @ hessian + level * hessian
            moment = moment - gamma * (product + product.T) + gamma**2 * (product @ hessian + spread / batch_size)
        for i, order in enumerate(EQUATIONS):
            factor = np.eye(d) + (0.5 * gamma * hessian if order == 2 else 0.0)
            end, end_moment = _modified(factor, hessian, level, gamma / batch_size, first, float(axis.times[-1]))
            mean[i, k] = m - end
            # w_j^2 = e_j^2 + 2 w*_j e_j + w*_j^2
            second[i, k] = np.diagonal(moment - end_moment) + 2.0 * problem.coef * mean[i, k]
    norm = second.sum(axis=2)
    local = np.full_like(norm, np.nan)
    local[:, :-1] = np.diff(np.log(np.abs(norm)), axis=1) / np.diff(np.log(gammas))
    grid = ("equation", "step_size")
    return xr.Dataset(
        {
            "first_moment": ((*grid, "coordinate"), mean),
            "second_moment": ((*grid, "coordinate"), second),
            "squared_norm": (grid, norm),
            "local_order": (grid, local),
        },
        coords={"equation": list(EQUATIONS), "step_size": gammas, "coordinate": np.arange(d)},
        attrs={"produced_by": "rdasde.validate.exact_weak_error", "problem": repr(problem), "batch_size": batch_size},
    )


def _modified(
    factor: Floats, hessian: Floats, level: float, rate: float, first: Floats, end: float
) -> tuple[Floats, Floats]:
    """Mean and second moment of the diffusion at time `end`."""
    from scipy.linalg import expm

    d = len(first)
    eye = np.eye(d)
    pull, spread = hessian @ factor, factor @ hessian @ factor
    # M as a vector, row by row: vec(A M B) = (A kron B') vec(M)
    linear = -np.kron(pull, eye) - np.kron(eye, pull)
    linear += rate * (np.kron(spread, spread) + np.outer(spread.ravel(), spread.ravel()))
    system = np.zeros((d * d + 1, d * d + 1))
    system[:-1, :-1] = linear
    system[:-1, -1] = rate * level * spread.ravel()
    state = expm(end * system) @ np.append(np.outer(first, first).ravel(), 1.0)
    return expm(-end * pull) @ first, state[:-1].reshape(d, d)
