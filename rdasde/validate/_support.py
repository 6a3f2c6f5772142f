"""Support recovery and the central limit of the active coordinates, at once (theory, section 5, point 4)."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.approximate import approximate
from rdasde._check import Floats
from rdasde._engine.arguments import check_pair, kept_coordinates, start_point
from rdasde._engine.time_axis import time_axis
from rdasde._errors import note_partial
from rdasde._problems.base import Problem
from rdasde._simulation.simulate import simulate

if TYPE_CHECKING:
    import xarray as xr

_TESTED = 8  # active coordinates whose law is looked at, unless the user says which
_KS_5_PERCENT, _AD_5_PERCENT = 1.3581, 2.492  # of sqrt(n) D_n and of A^2, in the limit, for a fully known law


def support(
    problem: Problem,
    algorithm: RDA,
    horizon: float,
    *,
    replicates: int = 1000,
    times: int | ArrayLike = 11,
    coordinates: ArrayLike | None = None,
    paths: int = 1000,
    start: ArrayLike | None = None,
    seed: int | None = None,
    executor: concurrent.futures.Executor | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Does a run find the support of w*, and are its active coordinates normal around w* at the same time?

    With ``g = c sqrt(gamma) t^mu``, 1/2 < mu < 1, theory promises both (Chao & Cheng 2019): ``P(w_j = 0) -> 1`` off the
    support S, and on it ``(w_S - w*_S) / sqrt(gamma) -> N(0, C)``, ``H_SS C + C H_SS = Sigma_SS``, where the batch
    lasso has to choose. The rates are measured in memory that does not grow with d times `replicates`, and compared
    with paths of the dual diffusion.

    Parameters
    ----------
    problem : Problem
        With a known `minimizer` that has zero and nonzero coordinates.
    algorithm : RDA
        Any: with ``Linear`` (Xiao's RDA) or without a regularizer (SGD) the function says what they do.
    horizon : float
        In units of t = n gamma.
    replicates : int
        Runs of the discrete algorithm.
    times : int or array_like
        When to look, as in `simulate`.
    coordinates : array_like of int, optional
        Active coordinates whose law is tested; up to eight spread over the support when not given.
    paths : int
        Of the dual diffusion, for the predicted rates.
    start, seed, executor, progress
        As in `simulate`.

    Returns
    -------
    xarray.Dataset
        ``exact``: P(support of w_n = S); ``false_positive``, ``true_positive``: the expected share of coordinates off
        and on S that are nonzero; all (time), each with ``_standard_error``, ``_theory`` (from the diffusion) and
        ``_theory_standard_error``.

        The active coordinates, standardized under each ``law``, (law, time, coordinate): ``z_mean``, ``z_variance``
        with ``_standard_error`` and ``_theory`` (0 and 1), the Kolmogorov-Smirnov distance ``ks`` from N(0, 1) and the
        statistic ``anderson_darling``; ``centre`` and ``scale`` of each law. ``"asymptotic"``: w* and
        ``sqrt(gamma C_jj)``; ``"shifted"``: the same around ``w*_S - H_SS^{-1} dP(w*_S) dg/dt``, where the growing
        threshold holds the iterate back (for gRDA it dies like t^(mu - 1), for RDA it is the bias of the lasso);
        ``"closure"``: the closure's mean and standard deviation at that time (where the regularizer has one).
        ``active`` (replicate, time, coordinate): the values themselves.

        Attributes: ``irrepresentable``, ``max_{j not in S} |H_jS H_SS^{-1} sgn(w*_S)|``, below 1 where recovery is fast
        (NaN without an l1 penalty); ``ks_5_percent``, ``anderson_darling_5_percent``: what a correct law exceeds once
        in twenty times.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is compiled; where the minimizer is unknown, or its sign arbitrary, or has
        no zero or no nonzero coordinate.
    KeyboardInterrupt
        Its ``partial`` has the runs, and the diffusion once that is finished.

    References
    ----------
    Chao & Cheng, arXiv 1909.10072. Zhao & Yu, JMLR 7 (2006), for the irrepresentable condition.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=1.0, mu=0.7))
    >>> result = rs.validate.support(problem, algorithm, 20.0, replicates=200, paths=200, times=5, seed=0)
    >>> bool(result.exact[-1] > 0.9), bool(result.exact_theory[-1] > 0.9)
    (True, True)
    """
    import xarray as xr

    check_pair(problem, algorithm)
    minimizer = sparse_minimizer(problem)
    on = minimizer != 0.0
    axis = time_axis(horizon, times, algorithm.step_size)
    number = _check.count("replicates", replicates, least=2, mend="give how many runs, at least 2")
    tested = _tested(coordinates, np.flatnonzero(on), problem.dimension)
    _check.count("paths", paths, least=2, mend="give the number of Monte Carlo paths, at least 2")
    dual_start = start_point(start, problem)
    seed = _check.seed(seed)

    rates: dict[str, Callable[[Floats], Floats]] = {
        "exact": lambda w: ((w != 0.0) == on).all(axis=-1),
        "false_positive": lambda w: (w[..., ~on] != 0.0).mean(axis=-1),
        "true_positive": lambda w: (w[..., on] != 0.0).mean(axis=-1),
    }
    values = {f"coordinate {j}": lambda w, j=j: w[..., j] for j in tested}
    runs = simulate(
        problem,
        algorithm,
        horizon,
        replicates=number,
        times=axis.times,
        start=dual_start,
        seed=seed,
        keep="summary",
        coordinates=tested[:1],
        statistics=rates | values,
        executor=executor,
        progress=progress,
    )
    data: dict[str, tuple[tuple[str, ...], Floats]] = {}
    diffusion = None
    try:
        if problem.has_compiled_drift:
            diffusion = approximate(
                problem,
                algorithm,
                horizon,
                method="paths",
                times=axis.times,
                paths=paths,
                start=dual_start,
                seed=seed,
                executor=executor,
                progress=progress,
                check=False,
            )
        laws = _laws(problem, algorithm, minimizer, tested, axis.times, dual_start)
    except KeyboardInterrupt as interrupt:
        known = "the runs" if diffusion is None else "the runs and the diffusion"
        finished = {"runs": runs} | ({} if diffusion is None else {"diffusion": diffusion})
        note_partial(interrupt, finished, f"{known}, which were not yet compared with the laws")
        raise
    size = {"exact": 1, "false_positive": int(np.count_nonzero(~on)), "true_positive": int(np.count_nonzero(on))}
    for name, rate in rates.items():
        for end, sample in (("", runs[name].values), ("_theory", diffusion)):
            if end and diffusion is not None:
                sample = rate(diffusion["primal"].values)
            if sample is not None:
                mean, error = _share(np.asarray(sample, dtype=np.float64), size[name])
                data[name + end], data[name + end + "_standard_error"] = (("time",), mean), (("time",), error)

    active = np.stack([runs[f"coordinate {j}"].values for j in tested], axis=-1)
    distances = [normality(active, law) for law in laws.values()]
    grid = ("law", "time", "coordinate")
    for name in distances[0]:
        data[name] = (grid, np.stack([each[name] for each in distances]))
    data["z_mean_theory"], data["z_variance_theory"] = ((), np.zeros(())), ((), np.ones(()))
    data["centre"] = (grid, np.stack([law.centre for law in laws.values()]))
    data["scale"] = (grid, np.stack([law.scale for law in laws.values()]))
    data["active"] = (("replicate", "time", "coordinate"), active)
    result = xr.Dataset(data, coords={"time": axis.times, "coordinate": tested, "law": list(laws)})
    result.attrs = runs.attrs | {
        "produced_by": "rdasde.validate.support",
        "irrepresentable": irrepresentable(problem, algorithm),
        "ks_5_percent": _KS_5_PERCENT / np.sqrt(number),
        "anderson_darling_5_percent": _AD_5_PERCENT,
    }
    return result


def sparse_minimizer(problem: Problem) -> Floats:
    """The minimizer, or the ValueError of a problem whose support cannot be recovered."""
    mend = "pass for example rs.LinearRegression(coef) with zeros in coef"
    accepted = "one with a known minimizer, unique, with zero and nonzero coordinates"
    if problem.minimizer is None or problem.is_even:
        what = "one whose minimizer is not known" if problem.minimizer is None else "one as good at -w as at w"
        raise _check.bad("problem", what, accepted, mend)
    active = int(np.count_nonzero(problem.minimizer))
    if active in (0, problem.dimension):
        raise _check.bad("problem", f"one with {active} of {problem.dimension} coordinates active", accepted, mend)
    return problem.minimizer


def _tested(coordinates: ArrayLike | None, active: NDArray[np.int64], dimension: int) -> NDArray[np.int64]:
    if coordinates is None:
        return active[np.unique(np.linspace(0, len(active) - 1, min(_TESTED, len(active))).astype(int))]
    chosen = kept_coordinates(coordinates, dimension)
    if not np.isin(chosen, active).all():
        raise _check.bad(
            "coordinates", coordinates, "active ones, where the minimizer is not 0", "drop those off the support"
        )
    return chosen


def _share(values: Floats, parts: int) -> tuple[Floats, Floats]:
    """Mean over replicates (axis 0) and its standard error; `values` are shares of `parts` coordinates.

    Where all replicates agree the error is not 0 but that of half an exception among all coordinates and replicates.
    """
    n = len(values)
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    return values.mean(axis=0), np.where(np.ptp(values, axis=0) == 0.0, np.sqrt(0.5) / (n * parts), error)


def irrepresentable(problem: Problem, algorithm: RDA) -> float:
    """``max_{j not in S} |H_jS H_SS^{-1} dP(w*_S)| / weight_j``; NaN where the penalty is not an l1 norm."""
    minimizer, mirror = sparse_minimizer(problem), algorithm.mirror
    weights = mirror.kink_weights(problem.dimension)
    if weights is None:
        return float("nan")
    on = minimizer != 0.0
    hessian = problem.hessian(minimizer)
    push = hessian[np.ix_(~on, on)] @ np.linalg.solve(hessian[np.ix_(on, on)], mirror.subgradient(minimizer)[on])
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nanmax(np.abs(push) / weights[~on]))


class Law(NamedTuple):
    """A normal law of each tested coordinate at each time."""

    centre: Floats  # (time, coordinate)
    scale: Floats


def _laws(
    problem: Problem, algorithm: RDA, minimizer: Floats, tested: NDArray[np.int64], times: Floats, dual_start: Floats
) -> dict[str, Law]:
    from scipy.linalg import solve_continuous_lyapunov

    on = np.flatnonzero(minimizer)
    where = np.searchsorted(on, tested)
    hessian = problem.hessian(minimizer)[np.ix_(on, on)]
    noise = problem.noise_covariance(minimizer)[np.ix_(on, on)]
    gamma = algorithm.step_size
    spread = solve_continuous_lyapunov(hessian, noise * gamma / algorithm.batch_size)
    scale = np.tile(np.sqrt(np.diagonal(spread)[where]), (len(times), 1))
    centre = np.tile(minimizer[tested], (len(times), 1))
    # the threshold of the last step: backwards, for it may have an infinite slope at 0
    growth = (algorithm.thresholds(times) - algorithm.thresholds(np.maximum(times - gamma, 0.0))) / gamma
    lag = np.linalg.solve(hessian, algorithm.mirror.subgradient(minimizer)[on])[where]
    laws = {"asymptotic": Law(centre, scale), "shifted": Law(centre - growth[:, None] * lag, scale)}
    if algorithm.mirror.has_moments:
        closure = approximate(
            problem, algorithm, float(times[-1]), times=times, start=dual_start, progress=False, check=False
        )
        picked = closure.sel(coordinate=tested)
        laws["closure"] = Law(picked["primal_mean"].values, picked["primal_std"].values)
    return laws


def normality(values: Floats, law: Law) -> dict[str, Floats]:
    """How far (replicate, time, coordinate) is from a law: moments of z with standard errors, and two distances."""
    from scipy.special import log_ndtr, ndtr

    n = len(values)
    moving = law.scale > 0.0
    z = np.where(moving, (values - law.centre) / np.where(moving, law.scale, 1.0), np.nan)
    mean = z.mean(axis=0)
    square = (z - mean) ** 2
    variance = square.sum(axis=0) / (n - 1)
    z.sort(axis=0)
    rank = np.arange(1, n + 1)[:, None, None]
    below = ndtr(z)
    # Anderson & Darling 1954, for a law without fitted parameters
    tails = log_ndtr(z) + log_ndtr(-z[::-1])
    return {
        "z_mean": mean,
        "z_mean_standard_error": np.sqrt(variance / n),
        "z_variance": variance,
        "z_variance_standard_error": square.std(axis=0, ddof=1) / np.sqrt(n),
        "ks": np.maximum(rank / n - below, below - (rank - 1) / n).max(axis=0),
        "anderson_darling": -n - ((2 * rank - 1) * tails).mean(axis=0),
    }
