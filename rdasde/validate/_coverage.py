"""How often bands hold: by level, time and coordinate, in dual and primal, against what counting allows."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.approximate import approximate
from rdasde._bands.band import band
from rdasde._bands.quantiles import need_draws
from rdasde._bands.variables import SPACES
from rdasde._check import Floats
from rdasde._engine.arguments import check_pair, start_point
from rdasde._engine.blocks import chunks_of
from rdasde._engine.memory import need_memory_for_runs
from rdasde._engine.progress import Progress
from rdasde._engine.run import TOLERANCE
from rdasde._engine.time_axis import time_axis
from rdasde._errors import note_partial
from rdasde._normal import Z95
from rdasde._problems.base import Problem
from rdasde._simulation.simulate import simulate

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

METHODS = ("paths", "closure", "limit")
GROUPS = ("all", "zero", "weak", "strong")
_FALSE_ALARM = 0.01  # of the extremes over all coordinates and times of a group


def coverage(
    problem: Problem,
    algorithm: RDA,
    horizon: float,
    *,
    levels: Sequence[float] = (0.8, 0.9, 0.95, 0.99),
    method: Literal["paths", "closure", "limit"] = "paths",
    replicates: int = 4000,
    paths: int = 4000,
    times: int | ArrayLike = 11,
    start: ArrayLike | None = None,
    seed: int | None = None,
    tolerance: float = TOLERANCE,
    executor: concurrent.futures.Executor | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """How often the bands of the theory hold for runs of the algorithm.

    Parameters
    ----------
    problem, algorithm, horizon, start
        As in `rdasde.simulate`.
    levels : sequence of float
        Nominal levels of the pointwise bands, strictly between 0 and 1.
    method : {"paths", "closure", "limit"}
        Which theory, as in `rdasde.approximate`.
    replicates, paths : int
        Runs that are counted (in flat memory), and paths that Monte Carlo bands come from.
    times : int or array_like
        As in `rdasde.simulate`; counted over are those after the first tenth of the horizon.
    seed : int, optional
        A fresh one is drawn when not given; ``attrs["seed"]`` holds it.
    tolerance : float
        Of the time steps of the paths, as in `rdasde.approximate`.
    executor, progress
        As in `rdasde.simulate`.

    Returns
    -------
    xarray.Dataset
        ``coverage`` (space, level, time, coordinate), the share of runs inside, at all times. Over the times after the
        first tenth and the coordinates of a group, (space, level, group): ``estimate``, the mean coverage,
        ``standard_error``, ``bias`` (estimate less level), ``lower``, ``upper`` (the 95 % interval of the mean),
        ``lowest_time``, ``highest_time`` (the extremes over times of the mean over coordinates), ``worst``, ``best``
        (the extreme coverages over times and coordinates), ``worst_allowed``, ``best_allowed``, between which they lie
        with probability .99 if every one is nominal. NaN for a group without coordinates. ``size`` (group), ``member``
        (group, coordinate) and ``weak_bound`` (coordinate).

        Groups by the minimizer: "zero" where ``w*_j = 0``, "strong" where ``|w*_j|`` is above `weak_bound`, the
        threshold and two dual standard deviations at the end of the run, both of the order of sqrt(step_size), and
        "weak" in between. Without a known minimizer all coordinates are in "all" only.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is compiled.
    KeyboardInterrupt
        Its ``partial`` has the theory, and the coverage by the runs that were counted.

    Notes
    -----
    In the dual coverage should equal the level. In the primal it is at least that: more where an end of the band is 0,
    an atom; ``best_allowed`` is then 1. Bands from P paths have random ends, order statistics k = (P + 1) L apart: the
    probability between them is Beta(k, P + 1 - k), its mean the level, so that the count of R runs is beta-binomial,
    not binomial, and the worst of all m cases is judged by its quantile at ``.005 / m`` (Bonferroni). For the same
    reason the variance of the mean over coordinates is ``s^2 (1/R + 1/P)``, s^2 that of the share of (time, coordinate)
    at which a run is inside.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> options = {"levels": [0.9], "replicates": 1000, "paths": 1000, "times": 6, "seed": 0}
    >>> result = rs.validate.coverage(problem, algorithm, 5.0, **options)
    >>> round(result.estimate.sel(space="dual", level=0.9, group="all").item(), 2)
    0.89
    """
    import xarray as xr

    check_pair(problem, algorithm)
    axis = time_axis(horizon, times, algorithm.step_size)
    wanted = _levels(levels)
    _check.choice("method", method, METHODS)
    replicates = _check.count("replicates", replicates, least=2, mend="give the number of runs to count")
    need_memory_for_runs(replicates)
    paths = _check.count("paths", paths, least=2, mend="give the number of Monte Carlo paths")
    start_point(start, problem)
    seed = _check.seed(seed)
    _check.executor(executor)
    if method == "paths":
        need_draws(float(wanted.max()), paths, "path")
    late = axis.times > 0.1 * horizon
    if not late.any():
        raise _check.bad(
            "times",
            "an array that ends in the first tenth of the horizon",
            "one with a later time",
            "give for example times=11",
        )

    options: dict[str, Any] = {"times": axis.times, "start": start, "seed": seed, "executor": executor}
    law: dict[str, Any] = {"method": method, "paths": paths, "tolerance": tolerance}
    # not checked: that is what is done below, with far more runs
    theory = approximate(problem, algorithm, horizon, progress=progress, check=False, **law, **options)
    ends = {  # (level, end, time, coordinate)
        space: np.stack([_ends(band(theory, level, space=space, regularizer=algorithm.mirror)) for level in wanted])
        for space in SPACES
    }
    sampled = "path" in theory.dims
    groups, bound = _groups(problem, theory)
    members = np.array([groups == name for name in GROUPS])
    members[0] = True

    d = problem.dimension
    shape = (len(SPACES), len(wanted), len(axis.times), d)
    inside = np.zeros(shape)
    # of each run the share of a group's cases inside: sum and sum of squares
    share, squares = (np.zeros((len(SPACES), len(wanted), len(GROUPS))) for _ in range(2))
    weight = (members / np.maximum(members.sum(axis=1), 1)[:, None]) / np.count_nonzero(late)
    bar = Progress(progress, int(axis.steps[-1]) * replicates, "coverage")
    done = 0
    try:
        for chunk in chunks_of(replicates, 2 * len(axis.times) * d):
            runs = simulate(problem, algorithm, horizon, replicates=chunk, progress=False, **options)
            for i, space in enumerate(SPACES):
                states = runs[space].values
                for k in range(len(wanted)):
                    lower, upper = ends[space][k]
                    hit = (states >= lower) & (states <= upper)
                    inside[i, k] += hit.sum(axis=0)
                    each = hit[:, late].sum(axis=1) @ weight.T
                    share[i, k] += each.sum(axis=0)
                    squares[i, k] += (each**2).sum(axis=0)
            done += len(chunk)
            bar.add(int(axis.steps[-1]) * len(chunk))
    except KeyboardInterrupt as interrupt:
        finished: dict[str, Any] = {"theory": theory}
        if done:
            where = {"space": list(SPACES), "level": wanted, "time": axis.times, "coordinate": np.arange(d)}
            finished["coverage"] = xr.DataArray(inside / done, dims=list(where), coords=where)
        counted = f", and coverage by the {done} of {replicates} runs that were counted" if done else ""
        note_partial(interrupt, finished, f"the theory{counted}")
        raise
    finally:
        bar.close()
    covered = inside / replicates
    estimate = share / replicates
    spread = (squares - replicates * estimate**2) / (replicates - 1)
    error = np.sqrt(np.maximum(spread, 0.0) * (1.0 / replicates + (1.0 / paths if sampled else 0.0)))
    statistics: dict[str, Floats] = {
        "estimate": estimate,
        "bias": estimate - wanted[:, None],
        "standard_error": error,
        "lower": estimate - Z95 * error,
        "upper": estimate + Z95 * error,
    }
    statistics |= _extremes(covered[:, :, late], members, wanted, replicates, paths if sampled else None)
    empty = members.sum(axis=1) == 0
    for values in statistics.values():
        values[:, :, empty] = np.nan
    grid = ("space", "level", "group")
    data: dict[str, Any] = {name: (grid, values) for name, values in statistics.items()}
    data["coverage"] = (("space", "level", "time", "coordinate"), covered)
    data["size"] = (("group",), members.sum(axis=1))
    data["member"] = (("group", "coordinate"), members)
    data["weak_bound"] = (("coordinate",), bound)
    coords = {
        "space": list(SPACES),
        "level": wanted,
        "group": list(GROUPS),
        "time": axis.times,
        "coordinate": np.arange(d),
    }
    result = xr.Dataset(data, coords=coords)
    result.attrs = dict(theory.attrs) | {
        "produced_by": "rdasde.validate.coverage",
        "method": method,
        "replicates": replicates,
        "paths": paths if sampled else 0,
        "seed": _check.kept_seed(seed),
        "load": algorithm.step_size * problem.trace(),
    }
    return result


def coverage_table(result: xr.Dataset) -> pd.DataFrame:
    """What `rdasde.validate.table` makes of a result of `coverage`: one row for each space, level and group."""
    import pandas as pd

    rows = []
    for space in result["space"].values:
        for level in result["level"].values:
            for group in result["group"].values[result["size"].values > 0]:
                at = result.sel(space=space, level=level, group=group)
                rows.append(
                    {
                        "space": str(space),
                        "level": float(level),
                        "group": str(group),
                        "Estimate": float(at["estimate"]),
                        "Bias against theory": float(at["bias"]),
                        "Standard error": float(at["standard_error"]),
                        "Interval": f"[{float(at['lower']):.4f}, {float(at['upper']):.4f}]",
                        "Worst": float(at["worst"]),
                        "Worst allowed": float(at["worst_allowed"]),
                    }
                )
    return pd.DataFrame(rows).set_index(["space", "level", "group"])


def _ends(edges: xr.Dataset) -> Floats:
    return np.stack([edges["lower"].values, edges["upper"].values])


def _groups(problem: Problem, theory: xr.Dataset) -> tuple[NDArray[np.str_], Floats]:
    """The group of every coordinate, and the bound between weak and strong."""
    bound = theory["threshold"].values[-1] + 2.0 * theory["dual_std"].values[-1]
    if problem.minimizer is None:
        return np.full(problem.dimension, "unknown"), bound
    size = np.abs(problem.minimizer)
    return np.where(size == 0.0, "zero", np.where(size > bound, "strong", "weak")), bound


def _extremes(
    covered: Floats, members: NDArray[np.bool_], levels: Floats, replicates: int, paths: int | None
) -> dict[str, Floats]:
    """The extremes over times, and over times and coordinates, and where the latter may lie; (space, level, group)."""
    names = ("lowest_time", "highest_time", "worst", "best", "worst_allowed", "best_allowed")
    shape = (*covered.shape[:2], len(members))
    extremes = {name: np.full(shape, np.nan) for name in names}
    for g, member in enumerate(members):
        if not member.any():
            continue
        inside = covered[..., member]
        by_time = inside.mean(axis=3)
        extremes["lowest_time"][..., g], extremes["highest_time"][..., g] = by_time.min(axis=2), by_time.max(axis=2)
        extremes["worst"][..., g], extremes["best"][..., g] = inside.min(axis=(2, 3)), inside.max(axis=(2, 3))
        cases = inside.shape[2] * inside.shape[3]
        for k, level in enumerate(levels):
            low, high = allowed(level, cases, replicates, paths)
            extremes["worst_allowed"][:, k, g] = low
            extremes["best_allowed"][:, k, g] = [high if space == "dual" else 1.0 for space in SPACES]
    return extremes


def allowed(level: float, cases: int, replicates: int, paths: int | None) -> tuple[float, float]:
    """Where the coverages of all of so many cases lie with probability .99 at least, if every one is nominal."""
    from scipy.stats import betabinom, binom

    tail = 0.5 * _FALSE_ALARM / cases
    if paths is None:
        law = binom(replicates, level)
    else:
        inside = (paths + 1) * level
        law = betabinom(replicates, inside, paths + 1 - inside)
    return float(law.ppf(tail)) / replicates, float(law.isf(tail)) / replicates


def _levels(levels: Sequence[float]) -> Floats:
    if _check.axes_of(levels) != 1 or len(levels) == 0:
        raise _check.wrong_kind("levels", levels, "a sequence of levels", "give for example levels=(0.8, 0.95)")
    return np.array([_check.level(level) for level in levels])
