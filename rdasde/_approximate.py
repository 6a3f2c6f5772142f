"""`approximate`: the ODE/SDE limit of the algorithm."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._closure import gaussian_closure
from rdasde._diffusion import dual_paths
from rdasde._ensemble import need_memory
from rdasde._flow import MeanFlow
from rdasde._grid import TimeAxis, start_point, time_axis
from rdasde._limit import check_limit, fluctuation_limit
from rdasde._problem import Problem
from rdasde._sdeint import sdeint_paths
from rdasde._simulate import check_pair, result_attributes, warn_if_unstable

if TYPE_CHECKING:
    import xarray as xr

METHODS = ("closure", "limit", "paths", "sdeint")


def approximate(
    problem: Problem,
    algorithm: RDA,
    horizon: float,
    *,
    method: str = "closure",
    times: int | ArrayLike = 201,
    start: ArrayLike | None = None,
    paths: int = 1000,
    seed: int | None = None,
    executor: concurrent.futures.Executor | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Describe the law of the algorithm by its diffusion in the dual space.

    Parameters
    ----------
    problem, algorithm, horizon, times, start
        As in `simulate`; times are rounded to steps of the algorithm in the same way.
    method : {"closure", "limit", "paths", "sdeint"}
        ``"closure"``: Gaussian closure of the dual diffusion
        ``dV = -G(W) dt + sqrt(gamma) Sigma(W)^(1/2) dB``, ``W = prox(V, g(t))``; no Monte Carlo. ``"limit"``: the
        fluctuation limit of the step size going to zero (Chao & Cheng 2019), Gaussian, or Monte Carlo where a
        coordinate of the mean flow is zero throughout. ``"paths"``: Monte Carlo on the dual diffusion, in a number of
        time steps that does not depend on the step size. ``"sdeint"``: the same by Euler's scheme of the sdeint
        package, a cross-check (slow).
    paths : int
        Number of Monte Carlo paths.
    seed : int, optional
        Of the paths; a fresh one is drawn when not given. Streams differ from those of `simulate` under the same seed.
    executor : concurrent.futures.Executor, optional
        Where blocks of paths run; threads on all cores when not given.
    progress : bool, optional
        Show a bar; by default on long work in a terminal or notebook.

    Returns
    -------
    xarray.Dataset
        ``primal_ode`` (the limiting flow), ``dual_ode`` (``primal_ode + sign(w*_j) g`` where ``w*_j != 0``; the dual
        flow itself where the threshold does not vanish in the limit), ``dual_mean``, ``dual_std``, ``primal_mean``,
        ``primal_std``, ``probability_zero``, all (time, coordinate); ``threshold`` (time); with Monte Carlo also
        ``dual``, ``primal`` (path, time, coordinate).

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is compiled.
    ArithmeticError
        If an equation has no finite solution up to the horizon; `DivergenceError` for a path.
    ImportError
        If ``method="sdeint"`` and the package is not installed.

    Warns
    -----
    StabilityWarning
        If the step size is past the mean-square stability condition of the unregularized algorithm.
    """
    check_pair(problem, algorithm)
    axis = time_axis(horizon, times, algorithm.step_size)
    dual_start = start_point(start, problem)
    _check.choice("method", method, METHODS)
    number = _check.count("paths", paths, mend="give the number of Monte Carlo paths")
    seed = _check.seed(seed)
    _check.executor(executor)
    if method == "limit":
        check_limit(algorithm)
    if method == "closure" and not algorithm.mirror.has_moments:
        raise _check.bad(
            "method",
            f"'closure' with {algorithm.mirror!r}, which couples coordinates",
            "'closure' only with a separable regularizer",
            "use method='paths' instead",
        )
    if method != "closure":
        size = 16.0 * number * len(axis.times) * problem.dimension
        need_memory(size, "The paths", "ask for fewer times or paths")
    thresholds = algorithm.thresholds(axis.times)
    warn_if_unstable(problem, algorithm)

    found: dict[str, Floats]
    if method == "closure":
        found = gaussian_closure(problem, algorithm, dual_start, axis)
    elif method == "limit":
        found = fluctuation_limit(problem, algorithm, dual_start, axis, number, seed, executor, progress)
    elif method == "paths":
        dual, primal = dual_paths(problem, algorithm, dual_start, axis, number, seed, executor, progress)
        found = {"dual": dual, "primal": primal}
    else:
        dual, primal = sdeint_paths(problem, algorithm, dual_start, axis, number, seed, progress)
        found = {"dual": dual, "primal": primal}
    if "dual" in found:
        found |= _moments(found["dual"], found["primal"])
    found |= _mean_curves(problem, algorithm, dual_start, axis, thresholds)
    return _dataset(problem, algorithm, method, axis, thresholds, found, seed)


def _moments(dual: Floats, primal: Floats) -> dict[str, Floats]:
    """Over paths, standard deviations with n - 1 in the denominator."""
    ddof = 1 if len(dual) > 1 else 0
    return {
        "dual_mean": dual.mean(axis=0),
        "dual_std": dual.std(axis=0, ddof=ddof),
        "primal_mean": primal.mean(axis=0),
        "primal_std": primal.std(axis=0, ddof=ddof),
        "probability_zero": (primal == 0.0).mean(axis=0),
    }


def _mean_curves(
    problem: Problem, algorithm: RDA, dual_start: Floats, axis: TimeAxis, thresholds: Floats
) -> dict[str, Floats]:
    flow = MeanFlow(problem, algorithm, dual_start, float(axis.times[-1]))
    curves = flow(axis.times)
    if not flow.vanishing or not algorithm.mirror.identity_at_zero:
        return {"primal_ode": curves.primal, "dual_ode": curves.dual}
    settled = curves.primal[-1] if problem.minimizer is None else problem.minimizer
    side = algorithm.mirror.subgradient(settled)
    return {"primal_ode": curves.primal, "dual_ode": curves.primal + thresholds[:, None] * side}


def _dataset(
    problem: Problem,
    algorithm: RDA,
    method: str,
    axis: TimeAxis,
    thresholds: Floats,
    found: dict[str, Floats],
    seed: int,
) -> xr.Dataset:
    import xarray as xr

    order = ("dual", "primal", "dual_mean", "dual_std", "primal_mean", "primal_std", "probability_zero")
    data: dict[str, Any] = {}
    for name in (*order, "dual_ode", "primal_ode"):
        if name in found:
            data[name] = (("path", "time", "coordinate")[3 - found[name].ndim :], found[name])
    data["threshold"] = (("time",), thresholds)
    coords: dict[str, Any] = {"time": axis.times, "coordinate": np.arange(problem.dimension)}
    attributes = result_attributes(problem, algorithm, "approximate") | {"method": method}
    if "dual" in found:
        coords["path"] = np.arange(len(found["dual"]))
        attributes["seed"] = seed
    result = xr.Dataset(data, coords=coords)
    result.attrs = attributes
    return result
