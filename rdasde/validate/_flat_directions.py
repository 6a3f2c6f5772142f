"""Directional pruning: what gRDA does along the flat directions of the risk (theory, section 5, point 7)."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.mean_flow import MeanFlow
from rdasde._check import Floats
from rdasde._directional import directional_prune
from rdasde._engine.arguments import check_pair, start_point
from rdasde._engine.course import Course
from rdasde._engine.time_axis import TimeAxis, time_axis
from rdasde._errors import note_partial
from rdasde._problems.base import Problem
from rdasde._schedule import PowerLaw
from rdasde._simulation.simulate import simulate

if TYPE_CHECKING:
    import xarray as xr

_FLAT = 1e-8  # an eigenvalue of the Hessian is zero below this multiple of the largest one
_TOLERANCE = 1e-10  # of the ordinary differential equations, relative


def flat_directions(
    problem: Problem,
    algorithm: RDA,
    horizon: float,
    *,
    strengths: ArrayLike | None = None,
    replicates: int = 100,
    times: int | ArrayLike = 6,
    start: ArrayLike | None = None,
    seed: int | None = None,
    executor: concurrent.futures.Executor | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Is gRDA minus SGD, over the same samples, the directional pruning that theory says it is?

    While no coordinate changes its sign, ``E (w_gRDA - w_SGD) = -int_0^t Phi(t, s) sgn(w(s)) dg(s)`` to first order in
    the step size, ``Phi`` the propagator of ``-H`` along the mean flow. Where the Hessian has a null space with the
    projection P_0, this tends to ``-lambda P_0 sgn(w)``, ``lambda = g(t) = sqrt(gamma) c t^mu``: gRDA is SGD pruned in
    the flat directions only, coordinate by coordinate ``sgn(w_SGD) max(|w_SGD| - lambda s, 0)`` with the scores
    ``s = sgn(w_SGD) P_0 sgn(w_SGD)`` (Chao, Wang, Xing & Cheng 2020).

    Parameters
    ----------
    problem : Problem
        For example linear regression whose covariance is of low rank.
    algorithm : RDA
        With `L1` and `PowerLaw`.
    horizon : float
        In units of t = n gamma.
    strengths : array_like, optional
        Values of ``lambda(horizon)`` over the median of ``|w_j(horizon)|`` along the mean flow of SGD; c follows from
        each. The algorithm's own c when not given.
    replicates : int
        Pairs of runs, gRDA and SGD over the same samples.
    times, start, seed, executor, progress
        As in `simulate`. Start where no coordinate is 0, or there is no sign to keep.

    Returns
    -------
    xarray.Dataset
        (strength, time, coordinate): ``difference``, gRDA - SGD on average over the pairs, with ``_standard_error`` and
        ``_theory`` (the integral); ``flow_difference``, the same between the mean flows at the actual step size, which
        equals the integral while no sign changes, to the accuracy of the solver (for a quadratic f); ``limit``,
        ``-lambda P_0 sgn(w)``.

        (strength, time): ``sign_changes``, how many coordinates of the mean flow of gRDA are 0 or have left the sign
        of their start (recorded times up to this one); ``agreement``, the share of coordinates that gRDA and the
        closed form, from the same run of SGD, agree to prune or to keep, with ``_standard_error`` and ``_theory`` (1);
        ``overlap``, of the coordinates that either prunes the share that both prune (1 if neither prunes any);
        ``overlap_magnitude``, the same for pruning as many coordinates of SGD by magnitude; ``sparsity``,
        ``sparsity_directional``, the shares pruned.

        (strength): ``c``. (time, coordinate): ``sgd_flow``, the mean flow of SGD. Attribute ``flat``: the dimension of
        the null space.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is compiled.
    ArithmeticError
        If the mean flow has no finite solution up to the horizon.
    KeyboardInterrupt
        Its ``partial`` is the Dataset of the strengths that were finished.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([1.0, 0.5, -0.5], [1.0, 1.0, 0.0])  # flat along the last
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> result = rs.validate.flat_directions(problem, algorithm, 5.0, start=[1.0, 0.5, -0.5], replicates=32, seed=0)
    >>> result.attrs["flat"], result.limit.values[0, -1].round(2) + 0.0, result.difference.values[0, -1].round(2)
    (1, array([0.  , 0.  , 0.13]), array([-0.02, -0.02,  0.13]))
    """
    import xarray as xr

    check_pair(problem, algorithm)
    schedule = algorithm.schedule
    weights = algorithm.mirror.kink_weights(problem.dimension) if algorithm.mirror.slope_is_indicator else None
    # the class itself: the strengths ask for other members of its family, by c
    if weights is None or not isinstance(schedule, PowerLaw):
        raise _check.bad(
            "algorithm",
            f"{algorithm!r}",
            "one with L1 and PowerLaw, which the theory is about",
            "pass for example rs.RDA(1e-3, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))",
        )
    axis = time_axis(horizon, times, algorithm.step_size)
    number = _check.count("replicates", replicates, least=2, mend="give how many pairs of runs, at least 2")
    dual_start = start_point(start, problem)
    if np.any(dual_start == 0.0):
        zeros = int(np.count_nonzero(dual_start == 0.0))
        raise _check.bad(
            "start",
            f"0 in {zeros} coordinates",
            "different from 0 everywhere",
            "give a start whose signs mean something",
        )
    seed = _check.seed(seed)
    sgd = RDA(algorithm.step_size, batch_size=algorithm.batch_size)
    end = float(axis.total * algorithm.step_size)
    flow = MeanFlow(problem, sgd, dual_start, end)
    typical = float(np.median(np.abs(flow(np.array([end])).primal[0])))
    unit = float(np.sqrt(algorithm.step_size) * end**schedule.mu)
    levels = np.array([schedule.c * unit / typical]) if strengths is None else _strengths(strengths)

    shared = {"times": axis.times, "start": dual_start, "seed": seed, "executor": executor, "progress": progress}
    plain = simulate(problem, sgd, horizon, replicates=number, **shared)["primal"].values  # type: ignore[arg-type]
    curve = flow(axis.times).primal
    projection = flat_projection(problem.hessian(flow(np.array([end])).primal[0]))
    found: list[dict[str, Floats]] = []  # by strength
    tuned = [
        RDA(algorithm.step_size, algorithm.regularizer, PowerLaw(c, schedule.mu), algorithm.batch_size)
        for c in levels * typical / unit
    ]

    def told() -> xr.Dataset:
        grid = ("strength", "time", "coordinate")
        columns = {name: np.stack([parts[name] for parts in found]) for name in found[0]}
        data = {name: (grid[: values.ndim], values) for name, values in columns.items()}
        data["agreement_theory"] = ((), np.ones(()))
        data["c"] = (("strength",), levels[: len(found)] * typical / unit)
        data["sgd_flow"] = (("time", "coordinate"), curve)
        coords = {"strength": levels[: len(found)], "time": axis.times, "coordinate": np.arange(problem.dimension)}
        result = xr.Dataset(data, coords=coords)
        result.attrs = {
            "produced_by": "rdasde.validate.flat_directions",
            "problem": repr(problem),
            "step_size": algorithm.step_size,
            "mu": schedule.mu,
            "seed": _check.kept_seed(seed),
            "replicates": number,
            "flat": int(np.rint(np.trace(projection))),
            "typical": typical,
        }
        return result

    try:
        for grda in tuned:
            pruned = simulate(problem, grda, horizon, replicates=number, **shared)["primal"].values  # type: ignore[arg-type]
            threshold = grda.thresholds(axis.times)[:, None]
            closed = directional_prune(plain, projection, threshold * weights)
            finite = finite_step_flow(problem, grda, dual_start, axis)
            gap = pruned - plain
            found.append(
                _supports(pruned == 0.0, closed == 0.0, np.abs(plain))
                | {
                    "difference": gap.mean(axis=0),
                    "difference_standard_error": gap.std(axis=0, ddof=1) / np.sqrt(number),
                    "difference_theory": pruning_integral(problem, grda, weights, flow, axis),
                    "flow_difference": finite - curve,
                    "limit": -threshold * (np.sign(curve) * weights) @ projection,
                    "sign_changes": np.logical_or.accumulate(finite * np.sign(dual_start) <= 0.0).sum(axis=1),
                }
            )
    except KeyboardInterrupt as interrupt:
        if found:
            note_partial(interrupt, told(), f"the result at the first {len(found)} of {len(levels)} strengths")
        raise
    return told()


def _strengths(strengths: ArrayLike) -> Floats:
    given: Any = strengths if _check.has_axes(strengths) else [strengths]
    levels = _check.array("strengths", given, (None,), mend="give numbers > 0")
    if levels.min() <= 0.0:
        raise _check.bad("strengths", f"{levels.min():g} somewhere", "numbers > 0", "leave SGD out, it is run anyway")
    return levels


def flat_projection(hessian: Floats) -> Floats:
    """The projection on the null space of a symmetric matrix, (d, d)."""
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2.0)
    flat = vectors[:, np.abs(values) <= _FLAT * np.abs(values).max()]
    return np.asarray(flat @ flat.T)


def finite_step_flow(problem: Problem, algorithm: RDA, dual_start: Floats, axis: TimeAxis) -> Floats:
    """Primal mean flow at the actual step size, ``dv/dt = -G(prox(v, g(t)))``, (time, d)."""

    def velocity(t: float, v: Floats) -> Floats:
        return -problem.mean_gradient(_primal(algorithm, v, t))

    dual = _solve(velocity, dual_start, axis.times)
    return np.stack([_primal(algorithm, v, t) for v, t in zip(dual, axis.times, strict=True)])


def pruning_integral(problem: Problem, algorithm: RDA, weights: Floats, flow: MeanFlow, axis: TimeAxis) -> Floats:
    """``-int_0^t Phi(t, s) d[sgn(w(s)) g(s)]`` along the mean flow of SGD, (time, d), jumps of the sign included.

    In the dual, ``d delta/dt = -H(w(t)) (delta - sgn(w(t)) g(t))``, which needs no derivative of g or of the sign.
    With `weights` (d,) of the l1 norm, g is that multiple of it coordinate by coordinate.
    """

    def pull(t: float) -> tuple[Floats, Floats]:
        w = flow(np.array([t])).primal[0]
        return w, np.sign(w) * weights * algorithm.thresholds(np.array([t]))[0]

    def velocity(t: float, delta: Floats) -> Floats:
        w, shift = pull(t)
        return -problem.hessian(w) @ (delta - shift)

    delta = _solve(velocity, np.zeros(problem.dimension), axis.times)
    return np.stack([x - pull(t)[1] for x, t in zip(delta, axis.times, strict=True)])


def _primal(algorithm: RDA, v: Floats, t: float) -> Floats:
    return algorithm.mirror.prox(v, algorithm.thresholds(np.array([t]))[0])


def _solve(velocity: Callable[[float, Floats], Floats], start: Floats, times: Floats) -> Floats:
    """At `times`, from 0; time runs as t = s^2, which takes the infinite slope of t^mu at 0 away."""
    from scipy.integrate import solve_ivp

    if times[-1] == 0.0:
        return start[None, :].copy()
    roots = np.sqrt(times)
    course = Course("mean flow", float(times[-1]))

    def along(s: float, y: Floats) -> Floats:
        course.at(s * s)
        return 2.0 * s * velocity(s * s, y)

    solution = solve_ivp(
        along,
        (0.0, roots[-1]),
        start,
        method="DOP853",
        t_eval=roots,
        rtol=_TOLERANCE,
        atol=_TOLERANCE * max(float(np.abs(start).max()), 1e-3),
    )
    if not solution.success or not np.all(np.isfinite(solution.y)):
        raise ArithmeticError(f"The mean flow could not be solved up to t = {times[-1]:g}: {solution.message}")
    return np.asarray(solution.y.T)


def _supports(grda: np.ndarray, closed: np.ndarray, size: Floats) -> dict[str, Floats]:
    """How alike the pruned sets (replicate, time, d) are, by time."""

    def overlap(first: np.ndarray, second: np.ndarray) -> Floats:
        both, either = (first & second).sum(axis=-1), (first | second).sum(axis=-1)
        return np.where(either > 0, both / np.maximum(either, 1), 1.0).mean(axis=0)

    n = len(grda)
    rank = np.argsort(np.argsort(size, axis=-1), axis=-1)
    smallest = rank < closed.sum(axis=-1, keepdims=True)
    agree = (grda == closed).mean(axis=-1)
    return {
        "agreement": agree.mean(axis=0),
        "agreement_standard_error": agree.std(axis=0, ddof=1) / np.sqrt(n),
        "overlap": overlap(grda, closed),
        "overlap_magnitude": overlap(grda, smallest),
        "sparsity": grda.mean(axis=(0, -1)),
        "sparsity_directional": closed.mean(axis=(0, -1)),
    }
