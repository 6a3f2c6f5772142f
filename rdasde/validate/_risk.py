"""Regret and generalization: the excess risk of the averaged iterate against its bound (theory, section 5, point 6)."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.arguments import check_pair, start_point
from rdasde._engine.results import result_attributes
from rdasde._engine.time_axis import time_axis
from rdasde._problems.base import Problem
from rdasde._regularizers.base import Regularizer
from rdasde._simulation.simulate import simulate
from rdasde.validate._averaged import AveragedState, averaged

if TYPE_CHECKING:
    import xarray as xr

_NODES = 8  # of the Gauss-Legendre rule along the segment from w* to w, where f is not quadratic


def risk(
    problem: Problem,
    algorithm: RDA,
    horizon: float,
    *,
    replicates: int = 200,
    times: int | ArrayLike = 41,
    start: ArrayLike | None = None,
    seed: int | None = None,
    executor: concurrent.futures.Executor | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Excess risk of the averaged iterate, ``E f(wbar_n) - f(w*)``, against the bound of dual averaging.

    With ``wbar_n = (w_0 + ... + w_{n-1}) / n``, t = n gamma, a convex f, and a threshold g that never falls,

        ``E f(wbar_n) - f(w*) <= D_0 / t + (gamma / 2) M_n^2 + (g_n - g_0) P(w*) / t``

    with ``M_n^2 = (1/n) sum_{k<n} E|grad f(w_k; Z)|^2`` (of a mini-batch's mean gradient) and
    ``D_0 = Psi*_0(v_0) - v_0'w* + Psi_0(w*)``, which is ``|w_0 - w*|^2 / 2`` where g_0 = 0. The running average is
    exact: of every step, not of the recorded ones.

    Parameters
    ----------
    problem : Problem
        Convex (which is not checked), with a known `minimizer`, its mean gradient the gradient of f.
    algorithm : RDA
        With a threshold that never falls, and a penalty whose value is known (a `CustomRegularizer` is tried out).
    horizon : float
        In units of t = n gamma.
    replicates, times, start, seed, executor, progress
        As in `simulate`.

    Returns
    -------
    xarray.Dataset
        ``average``, ``last`` (time): the excess risk of the averaged and of the last iterate; ``regret``: the regret of
        the linearized losses, ``(1/n) sum_{k<n} E grad f(w_k; Z)'(w_k - w*)``, which lies between ``average`` and the
        bound; means over the runs, with ``_standard_error``. ``average_bound``, ``regret_bound``: the bound, for every
        convex f; its parts ``bound_start``, ``bound_noise``, ``bound_regularizer``. ``bound_quadratic``: half of it,
        which holds for ``average`` where f is quadratic (NaN for others). ``bound_prior``: for linear regression on a
        Gaussian design, a bound of ``average`` that needs no run (NaN for others). All NaN at t = 0, where there is no
        average.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is compiled; where the minimizer is unknown or not unique, the threshold
        falls somewhere, or the penalty's value is not known.

    Notes
    -----
    Psi_n is 1-strongly convex, so its conjugate is 1-smooth, and at v_{n+1} it falls with n by at least
    ``(g_{n+1} - g_n) P(w_{n+1})``. Hence ``Phi_n = Psi*_n(v_n) - v_n'w* + Psi_n(w*) >= 0`` obeys

        ``Phi_{n+1} <= Phi_n - gamma grad_n'(w_n - w*) + gamma^2/2 |grad_n|^2 + (g_{n+1} - g_n) (P(w*) - P(w_{n+1}))``.

    Sum and drop ``P(w_{n+1}) >= 0``: the bound of the regret. ``G(w)'(w - w*) >= f(w) - f(w*)`` and Jensen's inequality
    make it one of the average's risk; for a quadratic f the former is ``= 2 (f(w) - f(w*))``, hence half the bound.
    Without a regularizer nothing was lost but ``Phi_n``: regret = bound - ``E|w_n - w*|^2 / (2 t)``.

    The gradients of least squares are not bounded, so that M^2 cannot be a constant of the problem. Here M_n^2 is
    the mean of the squared gradients that the runs have seen (all steps, all runs): unbiased, with a standard error,
    ``bound_noise_standard_error``. For linear regression on a Gaussian design it can be traded for the risk itself,
    ``E|grad f(w)|^2 <= 2 rho (f(w) - f(w*)) + sigma^2 tr H / b``, ``rho = lambda_max(H) (1 + 1/b) + tr(H) / b``, which
    gives, if ``gamma rho < 2``,

        ``bound_prior = (D_0 / t + (g_n - g_0) P(w*) / t + gamma sigma^2 tr(H) / (2 b)) / (2 - gamma rho)``.

    References
    ----------
    Chao & Cheng, arXiv 1909.10072; Nemirovski, Juditsky, Lan & Shapiro, SIAM J. Optim. 19 (2009); Xiao, JMLR 11 (2010);
    Bach & Moulines, NeurIPS 2013, for trading squared gradients for risk.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> result = rs.validate.risk(problem, algorithm, 5.0, replicates=100, times=6, seed=0)
    >>> bool((result.average[1:] < result.average_bound[1:]).all())
    True
    """
    import xarray as xr

    check_pair(problem, algorithm)
    minimizer = _unique_minimizer(problem)
    penalty = _penalty(algorithm.mirror, minimizer)
    axis = time_axis(horizon, times, algorithm.step_size)
    number = _check.count("replicates", replicates, least=2, mend="give how many runs, at least 2")
    dual_start = start_point(start, problem)
    gamma, batch = algorithm.step_size, algorithm.batch_size
    thresholds = algorithm.thresholds(np.asarray(np.arange(axis.total + 1) * gamma, dtype=np.float64))
    if np.any(np.diff(thresholds) < 0.0):
        fall = int(np.argmin(np.diff(thresholds)))
        raise _check.bad(
            "schedule",
            f"falling at t = {fall * gamma:g}",
            "a threshold that never falls, which the bound needs",
            "pass for example rs.PowerLaw(c=0.5, mu=0.6)",
        )
    excess = _excess_risk(problem, minimizer)
    together, algorithm_together, start_together = averaged(problem, algorithm, dual_start, minimizer)
    runs = simulate(
        together,
        algorithm_together,
        horizon,
        replicates=number,
        times=axis.times,
        start=start_together,
        seed=seed,
        keep="summary",
        coordinates=[0],
        statistics={
            "average": lambda state: excess(AveragedState.of(state).average),
            "last": lambda state: excess(AveragedState.of(state).iterate),
            "regret": lambda state: AveragedState.of(state).regret,
            "squared_gradient": lambda state: AveragedState.of(state).squared_gradient,
        },
        executor=executor,
        progress=progress,
    )
    t = np.where(axis.times > 0.0, axis.times, np.nan)
    data: dict[str, tuple[tuple[str, ...], Floats]] = {}

    def add(name: str, values: Floats) -> None:
        data[name] = (("time",), values)

    for name in ("average", "regret", "last"):
        values = runs[name].values
        known = np.isfinite(t) | (name == "last")
        add(name, np.where(known, values.mean(axis=0), np.nan))
        add(f"{name}_standard_error", np.where(known, values.std(axis=0, ddof=1) / np.sqrt(number), np.nan))
    squares = runs["squared_gradient"].values * (0.5 * gamma)
    distance = _start_distance(algorithm.mirror, dual_start, minimizer, thresholds[0], penalty)
    parts = {
        "start": distance / t,
        "noise": squares.mean(axis=0) + 0.0 * t,
        "regularizer": (thresholds[axis.steps] - thresholds[0]) * penalty / t,
    }
    bound = np.sum(list(parts.values()), axis=0)
    add("average_bound", bound)
    add("regret_bound", bound)
    for name, part in parts.items():
        add(f"bound_{name}", part)
    add("bound_noise_standard_error", squares.std(axis=0, ddof=1) / np.sqrt(number) + 0.0 * t)
    add("bound_quadratic", bound / 2.0 if problem.is_quadratic else np.nan * t)
    add("bound_prior", _prior_bound(problem, gamma, batch, parts["start"] + parts["regularizer"]))
    result = xr.Dataset(data, coords={"time": axis.times})
    # of the problem itself, not of that with its average
    result.attrs = (
        runs.attrs | result_attributes(problem, algorithm, "validate.risk") | {"penalty_at_minimizer": penalty}
    )
    return result


def _unique_minimizer(problem: Problem) -> Floats:
    if problem.minimizer is None or problem.is_even:
        what = "one whose minimizer is not known" if problem.minimizer is None else "one as good at -w as at w"
        raise _check.bad(
            "problem", what, "convex, with a known minimizer", "pass for example rs.LinearRegression(coef)"
        )
    return problem.minimizer


def _penalty(mirror: Regularizer, w: Floats) -> float:
    """P(w), from its gradient along the ray from 0, on which that of each of our penalties is linear; P(0) = 0."""
    if not mirror.has_value:
        raise _check.bad(
            "regularizer",
            mirror,
            "one whose value P(w) is known, which the bound needs",
            "pass for example rs.L1()",
        )
    if not mirror.needs_schedule:
        return 0.0
    return float(mirror.subgradient(0.5 * w) @ w)


def _start_distance(mirror: Regularizer, dual: Floats, minimizer: Floats, threshold: float, penalty: float) -> float:
    """``Psi*_0(v_0) - v_0'w* + Psi_0(w*)``."""
    primal = mirror.prox(dual, threshold)
    here = threshold * _penalty(mirror, primal)
    return float(0.5 * np.sum((primal - minimizer) ** 2) + (primal - minimizer) @ (dual - primal)) + (
        threshold * penalty - here
    )


def _excess_risk(problem: Problem, minimizer: Floats) -> Callable[[Floats], Floats]:
    """``f(w) - f(w*)``, the integral of the mean gradient along the segment; for states (..., d)."""
    if problem.is_quadratic:
        hessian = problem.hessian(minimizer)

        def quadratic(w: Floats) -> Floats:
            error = w - minimizer
            return 0.5 * np.einsum("...i,...i->...", error @ hessian, error)

        return quadratic
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes, weights = 0.5 + 0.5 * nodes, 0.5 * weights

    def along_segment(w: Floats) -> Floats:
        flat = (w - minimizer).reshape(-1, len(minimizer))
        risks = [
            sum(b * float(problem.mean_gradient(minimizer + a * e) @ e) for a, b in zip(nodes, weights, strict=True))
            for e in flat
        ]
        return np.array(risks).reshape(w.shape[:-1])

    return along_segment


def _prior_bound(problem: Problem, gamma: float, batch: int, known: Floats) -> Floats:
    """Least squares on a Gaussian design: squared gradients traded for the risk; NaN for other problems."""
    if not problem.is_gaussian_least_squares:
        return np.nan * known
    values, level = problem.covariance.eigenvalues(), problem.noise_std**2  # type: ignore[attr-defined]
    rho = float(values[-1]) * (1.0 + 1.0 / batch) + float(values.sum()) / batch
    if gamma * rho >= 2.0:
        return np.nan * known
    return (known + 0.5 * gamma * level * float(values.sum()) / batch) / (2.0 - gamma * rho)
