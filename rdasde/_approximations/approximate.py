"""`approximate`: the ODE/SDE limit of the algorithm."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations import closure, limit, paths, sdeint
from rdasde._approximations.marginals import SCORES
from rdasde._approximations.mean_flow import MeanFlow
from rdasde._check import Floats
from rdasde._engine.arguments import check_pair, start_point, warn_if_unstable
from rdasde._engine.blocks import need_memory
from rdasde._engine.results import result_attributes
from rdasde._engine.run import TOLERANCE, MonteCarlo, Run, Solution
from rdasde._engine.time_axis import time_axis
from rdasde._problems.base import Problem

if TYPE_CHECKING:
    import xarray as xr


class Method(NamedTuple):
    """A way to approximate. Each stands in a module of its own, beside what it needs of its arguments."""

    check: Callable[[Problem, RDA], None]  # ValueError where it is not for such a problem or algorithm
    solve: Callable[[Run, MonteCarlo], Solution]
    keeps_paths: bool  # whether it may return all paths, so that they must fit in memory


METHODS = {
    "closure": Method(closure.check, closure.solve, keeps_paths=False),
    "limit": Method(limit.check, limit.solve, keeps_paths=True),
    "paths": Method(paths.check, paths.solve, keeps_paths=True),
    "sdeint": Method(sdeint.check, sdeint.solve, keeps_paths=True),
}


def approximate(
    problem: Problem,
    algorithm: RDA,
    horizon: float,
    *,
    method: Literal["closure", "limit", "paths", "sdeint"] = "closure",
    times: int | ArrayLike = 201,
    start: ArrayLike | None = None,
    paths: int = 1000,
    seed: int | None = None,
    tolerance: float = TOLERANCE,
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
    tolerance : float
        Bias allowed to the time steps of Monte Carlo (``"paths"``, and ``"limit"`` where it needs paths), in units of
        the standard deviation of each coordinate; in (0, 0.1]. The scheme is of weak order two for small noise: a
        quarter of it doubles the number of steps. ``attrs["tolerance"]`` keeps it, ``attrs["time_steps"]`` says how
        many ``"paths"`` took.
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
        ``dual``, ``primal`` (path, time, coordinate); from the closure ``dual_quantile`` (score, time, coordinate), the
        dual quantile at some normal scores: where a coordinate rests inside the threshold its law is not Gaussian,
        and one Fokker-Planck equation a coordinate gives its shape.

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
    ClosureWarning
        If the closure of a problem that is not quadratic differs from a few paths of the same diffusion, as it does
        near a saddle; how far is in ``attrs["checked_mean"]`` (standard deviations) and ``attrs["checked_std"]``
        (logarithm of the ratio).
    """
    check_pair(problem, algorithm)
    axis = time_axis(horizon, times, algorithm.step_size)
    dual_start = start_point(start, problem)
    _check.choice("method", method, tuple(METHODS))
    number = _check.count("paths", paths, mend="give the number of Monte Carlo paths")
    seed = _check.seed(seed)
    tolerance = _check.number("tolerance", tolerance, above=0.0, most=0.1, mend="give for example tolerance=1e-2")
    _check.executor(executor)
    approximation = METHODS[method]
    approximation.check(problem, algorithm)
    if approximation.keeps_paths:
        size = 16.0 * number * len(axis.times) * problem.dimension
        need_memory(size, "The paths", "ask for fewer times or paths")
    thresholds = algorithm.thresholds(axis.times)
    warn_if_unstable(problem, algorithm)

    run = Run(problem, algorithm, dual_start, axis)
    solution = approximation.solve(run, MonteCarlo(number, seed, executor, progress, tolerance))
    values = dict(solution.values)
    if "dual" in values:
        values |= _moments(values["dual"], values["primal"])
    values |= _mean_curves(run, thresholds)
    result = _dataset(run, method, thresholds, values, seed).assign_attrs(solution.attributes)
    # what a mean may be off by beside its Monte Carlo error: `band` makes room for it
    return result.assign_attrs(tolerance=tolerance) if "dual" in values else result


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


def _mean_curves(run: Run, thresholds: Floats) -> dict[str, Floats]:
    problem, algorithm, dual_start, axis = run
    flow = MeanFlow(problem, algorithm, dual_start, float(axis.times[-1]))
    curves = flow(axis.times)
    if not flow.vanishing or not algorithm.mirror.identity_at_zero:
        return {"primal_ode": curves.primal, "dual_ode": curves.dual}
    settled = curves.primal[-1] if problem.minimizer is None else problem.minimizer
    if problem.is_even and float(settled @ curves.primal[-1]) < 0.0:
        settled = -settled
    side = algorithm.mirror.subgradient(settled)
    return {"primal_ode": curves.primal, "dual_ode": curves.primal + thresholds[:, None] * side}


def _dataset(run: Run, method: str, thresholds: Floats, values: dict[str, Floats], seed: int) -> xr.Dataset:
    import xarray as xr

    order = ("dual", "primal", "dual_mean", "dual_std", "primal_mean", "primal_std", "probability_zero")
    data: dict[str, Any] = {}
    for name in (*order, "dual_ode", "primal_ode"):
        if name in values:
            data[name] = (("path", "time", "coordinate")[3 - values[name].ndim :], values[name])
    data["threshold"] = (("time",), thresholds)
    if "dual_quantile" in values:
        data["dual_quantile"] = (("score", "time", "coordinate"), values["dual_quantile"])
    coords: dict[str, Any] = {"time": run.axis.times, "coordinate": np.arange(run.problem.dimension)}
    attributes = result_attributes(run.problem, run.algorithm, "approximate") | {"method": method}
    if "dual_quantile" in values:
        coords["score"] = SCORES
    if "dual" in values:
        coords["path"] = np.arange(len(values["dual"]))
        attributes |= {"seed": seed, "paths": len(values["dual"])}
    result = xr.Dataset(data, coords=coords)
    result.attrs = attributes
    return result
