"""`approximate`: the ODE/SDE limit of the algorithm."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations import closure, limit, paths, sdeint
from rdasde._approximations.check import Check, check_law
from rdasde._approximations.cost import warn_if_dear
from rdasde._approximations.marginals import SCORES
from rdasde._approximations.mean_flow import MeanFlow
from rdasde._approximations.paths import check_drift
from rdasde._check import Floats
from rdasde._engine.arguments import (
    check_equation_order,
    check_pair,
    kept_coordinates,
    need_independent_draws,
    start_point,
    warn_if_unstable,
)
from rdasde._engine.memory import need_memory
from rdasde._engine.results import result_attributes
from rdasde._engine.run import TOLERANCE, MonteCarlo, Run, Solution
from rdasde._engine.statistics import Statistic, check_statistics, evaluated
from rdasde._engine.time_axis import TimeAxis, time_axis
from rdasde._errors import note_partial
from rdasde._problems.base import Problem
from rdasde._schedule import Interpolated

if TYPE_CHECKING:
    import xarray as xr


class Method(NamedTuple):
    """A way to approximate. Each stands in a module of its own, beside what it needs of its arguments."""

    check: Callable[[Problem, RDA], None]  # ValueError where it is not for such a problem or algorithm
    solve: Callable[[Run, MonteCarlo], Solution]
    keeps_paths: bool  # whether it may return all paths, so that they must fit in memory
    keeps_all: bool = True  # whether it returns all coordinates, whichever are asked for


METHODS = {
    "closure": Method(closure.check, closure.solve, keeps_paths=False, keeps_all=False),
    "limit": Method(limit.check, limit.solve, keeps_paths=True),
    "paths": Method(paths.check, paths.solve, keeps_paths=True, keeps_all=False),
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
    equation_order: Literal[1, 2] = 2,
    check: Check = "auto",
    noise: Literal["gaussian", "gradients"] = "gaussian",
    drift: Literal["auto", "exact", "linearized"] = "auto",
    coordinates: ArrayLike | None = None,
    statistics: Mapping[str, Statistic] | None = None,
    average: bool = False,
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
    equation_order : {2, 1}
        Of ``"closure"`` and ``"paths"``, in the step size. 2: mean and covariance of one step of the algorithm are met
        to third order in it: for the closure they are the moments of the algorithm itself (1.0 to 1.5 times the cost),
        for paths the stochastic modified equation ``V(t) = V(0) - int F ds + (gamma/2) (F(V(t), t) - F(V(0), 0)) +
        sqrt(gamma) int Sigma(W_-)^(1/2) dB``, ``F(v, t) = G(prox(v, g(t)))``, ``W_-`` where the flow was half a step
        before (Li, Tai & E 2019). 1: the dual diffusion as above. ``"limit"`` and ``"sdeint"`` know the first order;
        ``attrs["equation_order"]`` says which it was. Of momentum the law is that of the first order at the effective
        step, which leaves out how it builds up at first: of the order of the effective step over t.
    check : {"auto", True, False}
        Whether the law is compared with runs of the algorithm itself, 512 of them, or up to 8 192 where they are as
        good as free (unless these are sure of a miss at least 2 048 others where they leave a doubt, 8 192 where
        ``step_size tr(H) / batch_size`` is above .5), on other streams than those of `simulate` under any seed.
        ``"auto"``: where that is cheaper than the approximation was, or takes less than two seconds of processor time;
        elsewhere what is known before decides: ``step_size tr(H) / batch_size``, and the skewness of single gradients.
        After n steps P(w_j = 0) may be off by .25 / n without a word, besides what may pass later: the dual is then a
        sum of n gradients, of whatever shape.
    noise : {"gaussian", "gradients"}
        Of ``"paths"``. ``"gradients"``: that of as many gradients, drawn at the state, as the algorithm takes in the
        time of a step. For features that are rare or heavy-tailed, whose noise is skewed, so that P(w_j = 0) and
        coverage are off by the order of the square root of the step size under Gaussian noise, and whose tails matter
        at high levels. Such paths cost about what runs of the algorithm cost. ``attrs["noise"]`` says which it was.
    statistics : dict of str to callable, optional
        Functions of the primal state w, as in `simulate`, of every path at every time: with paths only. `band` takes
        their names.
    average : bool
        Whether to describe the running average of the primal, too, ``(w_0 + ... + w_{n-1}) / n`` after step n, as
        `simulate` keeps it: ``"closure"``, by the covariance of its integral with the dual (1.5 times the cost), and
        ``"paths"``.

    drift : {"auto", "exact", "linearized"}
        Of ``"paths"``. ``"exact"``: G(W). ``"linearized"``: ``E G + E[H] (W - E W)``, the regression of G on W by
        Stein's lemma, around the closure, and noise of its mean covariance: exact in the threshold and for quadratic
        problems, otherwise off by the order of the step size; a step costs d^2, whatever the number of rows, and no
        mean gradient is needed. ``"auto"``: linearized where rows make exact steps dear and at most 5 % of the
        fluctuation of G, in mean square, is not linear, and where no mean gradient is compiled. ``attrs["drift"]``
        says which it was.
    coordinates : array_like of int, optional
        Which coordinates to return, in their order; all by default. All of them take part in the law.

    Returns
    -------
    xarray.Dataset
        ``primal_ode`` (the limiting flow), ``dual_ode`` (``primal_ode + sign(w*_j) g`` where ``w*_j != 0``; the dual
        flow itself where the threshold does not vanish in the limit), ``dual_mean``, ``dual_std``, ``primal_mean``,
        ``primal_std``, ``probability_zero``, all (time, coordinate); ``threshold`` (time); with Monte Carlo also
        ``dual``, ``primal`` (path, time, coordinate); from the closure ``dual_quantile`` (score, time, coordinate), the
        dual quantile at some normal scores: where a coordinate rests inside the threshold its law is not Gaussian,
        and one Fokker-Planck equation a coordinate gives its shape; one (path, time) variable for each statistic.
        With `average`, ``average`` (path, time, coordinate), or ``average_mean`` and ``average_std``.

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
    CostWarning
        Before it starts, if ``"closure"`` or ``"paths"`` will take more than a second of processor time and more than
        twice what 200 runs of the algorithm itself take, or as many as paths are asked for; with both times.
    StabilityWarning
        If the step size is past the mean-square stability condition of the unregularized algorithm.
    AccuracyWarning
        If the law differs from runs of the algorithm by more than chance and a room allow, at one of a dozen times: its
        mean by .25 standard deviations, a standard deviation by a factor 1.16, P(w_j = 0) by .04, the coverage of the
        95 % band by 3 points in a coordinate or 1.2 on average over them. The warning names the largest miss;
        ``attrs["checked_mean"]`` (standard deviations), ``attrs["checked_std"]`` (logarithm of the ratio),
        ``attrs["checked_quantile"]`` (coverage, averaged over coordinates) and ``attrs["checked_zero"]`` hold what was
        found of each, chance included, ``attrs["checked_replicates"]`` from how many runs. For the closure it is a
        `ClosureWarning`. How often runs lie outside bands of level .99, .999 and .9999, and outside simultaneous ones,
        is counted, too (``attrs["checked_tail"]`` at .999; not in the first fifty steps, if these are in the first
        tenth): where that is off, ``attrs["tail_off_..."]`` keeps the share, and `band` warns when asked for one.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> theory = rs.approximate(problem, algorithm, horizon=5.0, times=6)
    >>> theory.primal_mean.dims, theory.probability_zero.values[-1].round(1)
    (('time', 'coordinate'), array([0. , 0.6]))
    >>> paths = rs.approximate(problem, algorithm, horizon=5.0, times=6, method="paths", paths=500, seed=0)
    >>> paths.primal.shape
    (500, 6, 2)
    """
    check_pair(problem, algorithm, plain=False)
    need_independent_draws(problem)
    axis = time_axis(horizon, times, algorithm.effective.step_size)
    dual_start = start_point(start, problem)
    _check.choice("method", method, tuple(METHODS))
    number = _check.count("paths", paths, mend="give the number of Monte Carlo paths")
    seed = _check.seed(seed)
    tolerance = _check.number("tolerance", tolerance, above=0.0, most=0.1, mend="give for example tolerance=1e-2")
    _check.executor(executor)
    check_equation_order(equation_order)
    if not (isinstance(check, bool | np.bool_) or (isinstance(check, str) and check == "auto")):
        raise _check.bad("check", check, "'auto', True or False", "choose one of these")
    _check.choice("noise", noise, ("gaussian", "gradients"))
    if noise == "gradients" and method != "paths":
        raise _check.bad("noise", f"'gradients' with method={method!r}", "'gaussian' there", "use method='paths'")
    _check.choice("drift", drift, ("auto", "exact", "linearized"))
    kept = None if coordinates is None else kept_coordinates(coordinates, problem.dimension)
    _need_plain(algorithm, method, noise)
    approximation = METHODS[method]
    average = _check.flag("average", average)
    if average and method not in ("closure", "paths"):
        raise _check.bad("average", f"True with method={method!r}", "False there", "use method='closure' or 'paths'")
    vectorized = check_statistics(statistics, problem.dimension, None, average)
    if statistics and not approximation.keeps_paths:
        raise _pathless(method)
    approximation.check(problem, algorithm)
    if method == "paths":
        check_drift(problem, algorithm, drift, noise, average)
    if approximation.keeps_paths:
        everywhere = kept is None or approximation.keeps_all or bool(statistics)
        width = problem.dimension if everywhere or kept is None else len(kept)
        size = (24.0 if average else 16.0) * number * len(axis.times) * width
        need_memory(size, "The paths", "ask for fewer times or paths")
    warn_if_unstable(problem, algorithm.effective, axis)
    paced = _paced(algorithm, axis)
    thresholds = paced.thresholds(axis.times)

    # functions of the state want all of it
    inside = None if statistics else kept
    run = Run(problem, paced, dual_start, axis, 1 if algorithm.momentum else equation_order, inside)
    monte_carlo = MonteCarlo(number, seed, executor, progress, tolerance, noise, drift, average)
    warn_if_dear(run, monte_carlo, method)
    begin = time.process_time()
    solution = approximation.solve(run, monte_carlo)
    seconds = time.process_time() - begin
    whole = approximation.keeps_all or bool(statistics)
    values = {name: _of(kept if whole else None, x) for name, x in solution.values.items()}
    if "dual" in values:
        values |= _moments(values["dual"], values["primal"])
        try:
            for name, function in (statistics or {}).items():
                values[name] = evaluated(name, function, vectorized[name], solution.values["primal"])
        except (KeyboardInterrupt, Exception) as interrupt:  # a function of the user's may raise anything
            note_partial(
                interrupt, values, "dual and primal (path, time, coordinate), and the functions that were done"
            )
            raise
    elif statistics:
        raise _pathless(method)
    values |= {name: _of(kept, curve) for name, curve in _mean_curves(run, thresholds, progress).items()}
    seen = run._replace(algorithm=algorithm, kept=kept)
    result = _dataset(seen, method, thresholds, values, seed, tuple(vectorized))
    result.attrs |= {"equation_order": 1} | solution.attributes
    if "dual" in values:
        # what a mean may be off by beside its Monte Carlo error: `band` makes room for it
        result.attrs["tolerance"] = tolerance
    run = run._replace(algorithm=algorithm)
    try:
        asked: Check = bool(check) if check != "auto" else "auto"
        result.attrs |= check_law(result, run, asked, seconds, monte_carlo, statistics)
    except KeyboardInterrupt as interrupt:
        note_partial(interrupt, result, "the law, which was not yet compared with runs of the algorithm")
        raise
    return result


def _of(kept: NDArray[np.int64] | None, values: Floats) -> Floats:
    """Some coordinates of values (..., coordinate), all for None."""
    return values if kept is None else np.ascontiguousarray(values[..., kept])


def _pathless(method: str) -> ValueError:
    return _check.bad(
        "statistics",
        f"given with method={method!r}, which has no paths here",
        "given where there are paths",
        "use method='paths'",
    )


def _need_plain(algorithm: RDA, method: str, noise: str) -> None:
    """ValueError where the law of steps that fall, or of momentum, is not known."""
    if not (algorithm.is_falling or algorithm.momentum):
        return
    what = "a step size that falls" if algorithm.is_falling else "momentum"
    if method not in ("closure", "paths"):
        raise _check.bad("method", f"{method!r} with {what}", "'closure' or 'paths' there", "use one of these")
    if noise == "gradients":
        raise _check.bad("noise", f"'gradients' with {what}", "'gaussian' there", "simulate the algorithm itself")


def _paced(algorithm: RDA, axis: TimeAxis) -> RDA:
    """Without momentum, and of steps that fall the largest, with their thresholds as a function of time."""
    plain = algorithm.effective
    if axis.sizes is None or axis.clock is None:
        return plain
    schedule = None
    if plain.schedule is not None:
        schedule = Interpolated(axis.clock, plain.accumulated(axis.sizes), plain.schedule)
    return dataclasses.replace(plain, step_size=float(axis.sizes.max()), schedule=schedule)


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


def _mean_curves(run: Run, thresholds: Floats, progress: bool | None) -> dict[str, Floats]:
    problem, algorithm, dual_start, axis = run[:4]
    flow = MeanFlow(problem, algorithm, dual_start, float(axis.times[-1]), progress)
    curves = flow(axis.times)
    if not flow.vanishing or not algorithm.mirror.identity_at_zero:
        return {"primal_ode": curves.primal, "dual_ode": curves.dual}
    settled = curves.primal[-1] if problem.minimizer is None else problem.minimizer
    if problem.is_even and float(settled @ curves.primal[-1]) < 0.0:
        settled = -settled
    side = algorithm.mirror.subgradient(settled)
    return {"primal_ode": curves.primal, "dual_ode": curves.primal + thresholds[:, None] * side}


def _dataset(
    run: Run, method: str, thresholds: Floats, values: dict[str, Floats], seed: int, statistics: tuple[str, ...]
) -> xr.Dataset:
    import xarray as xr

    states = ("dual", "primal", "average", "dual_mean", "dual_std", "primal_mean", "primal_std")
    data: dict[str, Any] = {}
    for name in (*states, "average_mean", "average_std", "probability_zero", "dual_ode", "primal_ode"):
        if name in values:
            data[name] = (("path", "time", "coordinate")[3 - values[name].ndim :], values[name])
    for name in statistics:
        data[name] = (("path", "time"), values[name])
    data["threshold"] = (("time",), thresholds)
    if "dual_quantile" in values:
        data["dual_quantile"] = (("score", "time", "coordinate"), values["dual_quantile"])
    coords: dict[str, Any] = {"time": run.axis.times, "coordinate": run.coordinates}
    attributes = result_attributes(run.problem, run.algorithm, "approximate") | {"method": method}
    if "dual_quantile" in values:
        coords["score"] = SCORES
    if "dual" in values:
        coords["path"] = np.arange(len(values["dual"]))
        attributes |= {"seed": _check.kept_seed(seed), "paths": len(values["dual"])}
    result = xr.Dataset(data, coords=coords)
    result.attrs = attributes
    return result
