"""`approximate`: the ODE/SDE limit of the algorithm."""

from __future__ import annotations

import concurrent.futures
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.closure import gaussian_closure
from rdasde._approximations.limit import check_limit, fluctuation_limit
from rdasde._approximations.marginals import SCORES
from rdasde._approximations.mean_flow import MeanFlow
from rdasde._approximations.paths import TOLERANCE, diffusion_grid, dual_paths, resolution
from rdasde._approximations.sdeint import sdeint_paths
from rdasde._check import Floats
from rdasde._engine.blocks import need_memory
from rdasde._engine.time_axis import TimeAxis, start_point, time_axis
from rdasde._errors import ClosureWarning
from rdasde._problems.base import Problem
from rdasde._simulation.simulate import check_pair, result_attributes, warn_if_unstable

if TYPE_CHECKING:
    import xarray as xr

_CHECK_PATHS = 256
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
        quarter of it doubles the number of steps. ``attrs["time_steps"]`` says how many ``"paths"`` took.
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
    _check.choice("method", method, METHODS)
    number = _check.count("paths", paths, mend="give the number of Monte Carlo paths")
    seed = _check.seed(seed)
    _check.number("tolerance", tolerance, above=0.0, most=0.1, mend="give for example tolerance=1e-2")
    _check.executor(executor)
    if method == "limit":
        check_limit(algorithm)
    if method in ("limit", "paths") and not problem.has_compiled_drift:
        raise _check.bad(
            "method",
            f"{method!r} for a problem without a compiled mean gradient",
            "'closure' or 'sdeint' there",
            "give mean_gradient=, a function (parameters, w) that numba can compile",
        )
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
    checked: dict[str, float] = {}
    if method == "closure":
        found = gaussian_closure(problem, algorithm, dual_start, axis)
        if not problem.is_quadratic and problem.has_compiled_drift:
            checked = _check_closure(problem, algorithm, dual_start, axis, found, executor)
    elif method == "limit":
        found = fluctuation_limit(problem, algorithm, dual_start, axis, number, seed, executor, progress, tolerance)
    elif method == "paths":
        dual, primal = dual_paths(problem, algorithm, dual_start, axis, number, seed, executor, progress, tolerance)
        found = {"dual": dual, "primal": primal}
        checked["time_steps"] = len(diffusion_grid(axis.times, resolution(problem, tolerance)).times) - 1
    else:
        dual, primal = sdeint_paths(problem, algorithm, dual_start, axis, number, seed, progress)
        found = {"dual": dual, "primal": primal}
    if "dual" in found:
        found |= _moments(found["dual"], found["primal"])
    found |= _mean_curves(problem, algorithm, dual_start, axis, thresholds)
    return _dataset(problem, algorithm, method, axis, thresholds, found, seed).assign_attrs(checked)


def _check_closure(
    problem: Problem,
    algorithm: RDA,
    dual_start: Floats,
    axis: TimeAxis,
    found: dict[str, Floats],
    executor: concurrent.futures.Executor | None,
) -> dict[str, float]:
    """Compare the closure with a few paths of the same diffusion: near a saddle, where V has two humps, it fails.

    The largest gap of the means in standard deviations, and of the logarithms of these, over coordinates and a few
    times; a warning where one is past what 256 paths leave open (five standard errors) and a quarter.
    """
    later = np.flatnonzero(axis.times > 0.0)
    if not later.size:
        return {}
    picked = np.unique(later[np.linspace(0, len(later) - 1, 6).astype(int)])
    some = TimeAxis(axis.steps[picked], axis.times[picked], axis.total)
    dual, _ = dual_paths(problem, algorithm, dual_start, some, _CHECK_PATHS, 0, executor, False)
    std = dual.std(axis=0, ddof=1)
    moving = std > 0.0
    safe = np.where(moving, std, 1.0)
    shift = np.where(moving, np.abs(found["dual_mean"][picked] - dual.mean(axis=0)) / safe, 0.0)
    closure_std = np.where(moving, found["dual_std"][picked], 1.0)
    ratio = np.abs(np.log(np.maximum(closure_std, 1e-300) / safe))
    for gap, room, what in (
        (shift, 5.0, "mean is off by {:.2g} standard deviations"),
        (ratio, 5.0 / np.sqrt(2.0), "standard deviation is off by a factor of {:.2g}"),
    ):
        worst = np.unravel_index(int(gap.argmax()), gap.shape)
        if gap[worst] > room / np.sqrt(_CHECK_PATHS) + 0.25:
            size = gap[worst] if gap is shift else np.exp(gap[worst])
            warnings.warn(
                f"The closure's {what.format(size)} at t = {some.times[worst[0]]:g}, coordinate {worst[1]}, against "
                f"{_CHECK_PATHS} paths of the same diffusion: use method='paths' there.",
                ClosureWarning,
                stacklevel=3,
            )
            break
    return {"checked_mean": float(shift.max()), "checked_std": float(ratio.max())}


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
    if problem.is_even and float(settled @ curves.primal[-1]) < 0.0:
        settled = -settled
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
    if "dual_quantile" in found:
        data["dual_quantile"] = (("score", "time", "coordinate"), found["dual_quantile"])
    coords: dict[str, Any] = {"time": axis.times, "coordinate": np.arange(problem.dimension)}
    attributes = result_attributes(problem, algorithm, "approximate") | {"method": method}
    if "dual_quantile" in found:
        coords["score"] = SCORES
    if "dual" in found:
        coords["path"] = np.arange(len(found["dual"]))
        attributes["seed"] = seed
    result = xr.Dataset(data, coords=coords)
    result.attrs = attributes
    return result
