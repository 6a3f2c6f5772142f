"""The fluctuation limit: ``(v - w(t)) / sqrt(gamma)`` as the step size goes to zero (theory, section 2b)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.mean_flow import MeanFlow
from rdasde._approximations.paths import fluctuation_paths, need_compiled_drift
from rdasde._approximations.time_grid import diffusion_grid, resolution
from rdasde._check import Floats
from rdasde._engine.course import Course
from rdasde._engine.run import MonteCarlo, Run, Solution
from rdasde._problems.base import Problem
from rdasde._regularizers.base import Fluctuation
from rdasde._schedule import has_limit, limit_thresholds, vanishing_tuning

if TYPE_CHECKING:
    from scipy.integrate import OdeSolver

Velocity = Callable[[float, Floats], Floats]

_SCAN = 4000  # times at which the flow is looked at for changes of sign


class _Switches(NamedTuple):
    """When a coordinate of the flow changes sign, or crosses the threshold."""

    times: Floats  # increasing
    zero: NDArray[np.bool_]  # (d,): the coordinates that are zero throughout


def check(problem: Problem, algorithm: RDA) -> None:
    """Theory must give a map D_t, by mirror map and schedule, and the mean gradient be compiled."""
    if not algorithm.mirror.is_identity:
        _need_fluctuation(algorithm)
    need_compiled_drift("limit", problem)


def _need_fluctuation(algorithm: RDA) -> None:
    mirror, schedule = algorithm.mirror, algorithm.schedule
    if not mirror.has_fluctuation:
        raise _check.bad(
            "method",
            f"'limit' with the regularizer {mirror!r}",
            "'limit' only with L1 or ElasticNet",
            "use method='paths' instead",
        )
    if not has_limit(schedule, algorithm.step_size):
        raise _check.bad(
            "method",
            "'limit' with a schedule of your own",
            "'limit' only with PowerLaw, Linear or Constant, whose limit is known",
            "use method='closure' or method='paths' instead",
        )


def solve(run: Run, monte_carlo: MonteCarlo) -> Solution:
    """Moments, or paths where a coordinate of the flow is zero throughout."""
    return Solution(fluctuation_limit(run, monte_carlo), {})


def fluctuation_limit(run: Run, monte_carlo: MonteCarlo) -> dict[str, Floats]:
    """Gaussian moments (time, d), or paths (path, time, d) where a coordinate of the flow is zero throughout."""
    problem, algorithm, dual_start, axis = run[:4]
    mean_flow = MeanFlow(problem, algorithm, dual_start, float(axis.times[-1]), monte_carlo.progress)
    switches = _find_switches(algorithm, mean_flow, float(axis.times[-1]))
    root = float(np.sqrt(algorithm.step_size))
    flow = mean_flow(axis.times)
    if switches.zero.any():
        grid = diffusion_grid(axis.times, resolution(problem, monte_carlo.tolerance), switches.times)
        table, _ = _tables(algorithm, mean_flow, switches, grid.times)
        along = mean_flow(grid.with_middles()).primal
        try:
            u, mapped = fluctuation_paths(run, monte_carlo, grid, table, along)
        except KeyboardInterrupt as interrupt:
            partial = getattr(interrupt, "partial", {})
            for space, path in (("dual", flow.dual), ("primal", flow.primal)):
                if space in partial:
                    partial[space] = path + root * partial[space]
            raise
        u *= root
        mapped *= root
        u += flow.dual
        mapped += flow.primal
        return {"dual": u, "primal": mapped}
    mean, variance = _gaussian_moments(run, mean_flow, switches, monte_carlo.progress)
    table, _ = _tables(algorithm, mean_flow, switches, axis.times)
    slope, shift = table.slope, table.shift
    moves = slope != 0.0
    return {
        "dual_mean": flow.dual + root * mean,
        "dual_std": root * np.sqrt(variance),
        "primal_mean": flow.primal + root * slope * (mean - shift),
        "primal_std": root * np.abs(slope) * np.sqrt(variance),
        "probability_zero": np.where((flow.primal == 0.0) & (~moves | (variance == 0.0)), 1.0, 0.0),
    }


def _find_switches(algorithm: RDA, mean_flow: MeanFlow, end: float) -> _Switches:
    """Scan the flow on a graded grid, then narrow every change of sign down by bisection."""
    times = end * np.linspace(0.0, 1.0, _SCAN + 1) ** 2
    flow = mean_flow(times)
    signs = _signs(flow.primal)
    zero = np.all(signs[1:] == 0.0, axis=0) if mean_flow.vanishing else np.zeros(signs.shape[1], dtype=bool)
    if algorithm.mirror.is_identity:
        return _Switches(np.zeros(0), np.zeros_like(zero))
    row, which = np.nonzero(signs[1:-1] != signs[2:])  # at the very start a coordinate may leave zero
    low, high, before = times[row + 1], times[row + 2], signs[row + 1, which]
    for _ in range(40 if len(row) else 0):
        middle = 0.5 * (low + high)
        distinct, inverse = np.unique(middle, return_inverse=True)
        same = _signs(mean_flow(distinct).primal)[inverse, which] == before
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return _Switches(np.unique(high), zero)


def _signs(primal: Floats) -> Floats:
    """Signs of the flow (time, d), 0 where it is zero up to rounding of the largest coordinate."""
    return np.where(np.abs(primal) <= 1e-14 * np.abs(primal).max(axis=1, keepdims=True), 0.0, np.sign(primal))


def _tables(
    algorithm: RDA, mean_flow: MeanFlow, switches: _Switches, times: Floats, signs: Floats | None = None
) -> tuple[Fluctuation, Floats]:
    """The map D_t at each time, and the flow there; `signs` of the flow where they are known better."""
    flow = mean_flow(times)
    mirror, schedule = algorithm.mirror, algorithm.schedule
    tuning = vanishing_tuning(schedule, times) if mean_flow.vanishing else None
    if tuning is not None or mirror.is_identity:
        tuning = np.zeros(len(times)) if tuning is None else tuning
        signs = _signs(flow.primal) if signs is None else signs
        return mirror.fluctuation(signs * np.abs(flow.primal), switches.zero, tuning), flow.primal
    slope = mirror.jacobian_diagonal(flow.dual, limit_thresholds(schedule, times)[:, None])
    return Fluctuation(slope, np.zeros_like(slope), np.zeros_like(slope)), flow.primal


def _gaussian_moments(
    run: Run, mean_flow: MeanFlow, switches: _Switches, progress: bool | None
) -> tuple[Floats, Floats]:
    """Mean and variance of U, (time, d): linear equations between the switches, solved by DOP853."""
    problem, algorithm, times = run.problem, run.algorithm, run.axis.times
    d, end = problem.dimension, float(times[-1])
    knots = np.concatenate([[0.0], switches.times[(switches.times > 0.0) & (switches.times < end)], [end]])
    middles = 0.5 * (knots[:-1] + knots[1:])
    slopes = _tables(algorithm, mean_flow, switches, middles)[0].slope
    signs = _signs(mean_flow(middles).primal)

    def map_at(t: float, a: float, b: float, sign: Floats) -> tuple[Floats, Floats, Floats]:
        """Slope and shift of D_t, and the flow, by continuity at the ends of a piece [a, b] without a switch."""
        margin = 1e-10 * (b - a)
        table, flow = _tables(algorithm, mean_flow, switches, np.clip([t], a + margin, b - margin), sign)
        return table.slope[0], table.shift[0], flow[0]

    def mean_velocity(a: float, b: float, sign: Floats) -> Velocity:
        def velocity(s: float, u: Floats) -> Floats:
            # time runs as t = s^2, which takes the infinite slope of t^mu at 0 away
            slope, shift, w = map_at(s * s, a, b, sign)
            return -2.0 * s * (problem.hessian(w) @ (slope * (u - shift)))

        return velocity

    def variance_velocity(a: float, b: float, sign: Floats) -> Velocity:
        def velocity(t: float, flat: Floats) -> Floats:
            slope, _, w = map_at(t, a, b, sign)
            decay = (problem.hessian(w) * slope) @ flat.reshape(d, d)
            return np.asarray((problem.noise_covariance(w) / algorithm.batch_size - decay - decay.T).ravel())

        return velocity

    tuning = vanishing_tuning(algorithm.schedule, np.float64(end)) if mean_flow.vanishing else None
    mean = _piecewise(
        [mean_velocity(*piece) for piece in zip(knots[:-1], knots[1:], signs, strict=True)],
        np.zeros(d),
        np.sqrt(knots),
        np.sqrt(times),
        1e-10 * max(0.0 if tuning is None else float(tuning), 1e-30),
        lambda u: u,
        Course("mean of the fluctuations", float(np.sqrt(end)), progress),
    )
    # the variance only sees the slopes, which jump to and from zero
    changes = [0, *(np.flatnonzero(np.any((slopes[1:] == 0.0) != (slopes[:-1] == 0.0), axis=1)) + 1)]
    ends = np.append(knots[changes], end)
    last = mean_flow(times[-1:]).primal[0]
    size = float(np.diagonal(problem.noise_covariance(last)).max()) * min(end, 1.0 / problem.fastest_rate())
    variance = _piecewise(
        [variance_velocity(*piece) for piece in zip(ends[:-1], ends[1:], signs[changes], strict=True)],
        np.zeros(d * d),
        ends,
        times,
        1e-9 * max(size, 1e-30),
        lambda flat: np.diagonal(flat.reshape(d, d)),
        Course("covariance of the fluctuations", end, progress),
    )
    return mean, np.maximum(variance, 0.0)


def _piecewise(
    velocities: list[Velocity],
    start: Floats,
    knots: Floats,
    times: Floats,
    tolerance: float,
    pick: Callable[[Floats], Floats],
    course: Course,
) -> Floats:
    """``pick(y)`` at `times`, y solving one equation after the other between the knots."""
    from scipy.integrate import DOP853

    out = np.empty((len(times), len(pick(start))))
    out[times <= knots[0]] = pick(start)
    y = start
    with course:
        for velocity, a, b in zip(velocities, knots[:-1], knots[1:], strict=True):
            if b > a:
                y = _along_piece(DOP853(_seen(velocity, course), a, y, b, rtol=1e-9, atol=tolerance), times, pick, out)
    return out


def _seen(velocity: Velocity, course: Course) -> Velocity:
    def seen(t: float, y: Floats) -> Floats:
        course.at(t)
        return velocity(t, y)

    return seen


def _along_piece(solver: OdeSolver, times: Floats, pick: Callable[[Floats], Floats], out: Floats) -> Floats:
    """To the end of what is solved: ``pick(y)`` at those `times` that lie within into `out`, and y there."""
    while solver.status == "running":
        message = solver.step()
        if solver.status == "failed" or not np.all(np.isfinite(solver.y)):
            raise ArithmeticError(f"The fluctuation limit could not be solved past t = {solver.t:g}: {message}")
        inside = np.flatnonzero((times > solver.t_old) & (times <= solver.t))
        if inside.size:
            dense = solver.dense_output()
            for i in inside:
                out[i] = pick(dense(times[i]) if times[i] < solver.t else solver.y)
    return np.asarray(solver.y)
