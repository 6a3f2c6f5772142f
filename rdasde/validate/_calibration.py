"""Can the band be trusted here? A problem of one's own, its runs, and each approximation against them."""

from __future__ import annotations

import concurrent.futures
import functools
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.approximate import METHODS, approximate
from rdasde._bands.quantiles import need_draws
from rdasde._bands.variables import SPACES
from rdasde._check import Floats
from rdasde._engine.arguments import check_pair, start_point, warn_if_unstable
from rdasde._engine.blocks import chunks_of
from rdasde._engine.memory import need_memory_for_runs
from rdasde._engine.progress import Progress
from rdasde._engine.run import TOLERANCE
from rdasde._engine.time_axis import TimeAxis, time_axis
from rdasde._errors import note_partial
from rdasde._problems.base import Problem
from rdasde._simulation.simulate import simulate
from rdasde.validate._coverage import allowed
from rdasde.validate._theories import PROBABILITIES, ROUNDING, Theory, approximated

if TYPE_CHECKING:
    import xarray as xr

Method = Literal["closure", "paths", "limit"]
ACCEPTED: tuple[Method, ...] = ("closure", "paths", "limit")
AVERAGE = 0.015  # what a trusted band may be off by, on average over times and coordinates


def calibration(
    problem: Problem,
    algorithm: RDA,
    horizon: float,
    *,
    methods: Sequence[Method] | Method = ("closure", "paths"),
    level: float = 0.95,
    replicates: int = 2000,
    paths: int = 4000,
    times: int | ArrayLike = 11,
    start: ArrayLike | None = None,
    seed: int | None = None,
    tolerance: float = TOLERANCE,
    executor: concurrent.futures.Executor | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Can the bands be trusted here? Runs of the algorithm against what `rdasde.approximate` says of them.

    Parameters
    ----------
    problem, algorithm, horizon, times, start
        As in `rdasde.simulate`.
    methods : sequence of {"closure", "paths", "limit"}, or one of them
        Which approximations, as in `rdasde.approximate`. One that is not for such a problem is left out, and the result
        says why.
    level : float
        Nominal level of the pointwise bands, strictly between 0 and 1.
    replicates, paths : int
        Runs that are counted (in flat memory), and paths of Monte Carlo.
    seed : int, optional
        A fresh one is drawn when not given; ``attrs["seed"]`` holds it.
    tolerance : float
        Of the time steps of the paths, as in `rdasde.approximate`.
    executor, progress
        As in `rdasde.simulate`.

    Returns
    -------
    xarray.Dataset
        By theory (the method), space ("dual", "primal"), time and coordinate: ``coverage``, the share of runs inside
        the band; ``bias``, the mean of the approximation less that of the runs, in their standard deviations;
        ``std_ratio``, its standard deviation over theirs (both NaN where nothing moves). ``probability_zero_error``
        (theory, time, coordinate), its ``P(w_j = 0)`` less the share of runs, ``probability_zero``. ``below`` (theory,
        probability, time, coordinate): the share of runs below its dual quantile at that probability, which it should
        equal.

        Over times after 0 and coordinates, (theory, space): ``average``, ``worst``, ``best``, the mean coverage and its
        extremes. ``worst_allowed``, ``best_allowed`` (theory): between these all coverages lie with probability .99 if
        every one is nominal; ``below_lowest``, ``below_highest`` (theory, probability) likewise for ``below``.
        ``seconds`` (theory) that it took, compilation included where it was the first time.

        ``attrs["verdict_closure"]``, and so on: ``"trust"`` where the average is within 1.5 points of the level and the
        worst coverage is allowed; ``"too seldom"`` or ``"too often"`` where the band holds so; ``"impossible"`` where
        there is none. ``attrs["reason_closure"]`` is a sentence, ``attrs["warning_closure"]`` what was warned of.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is compiled; where none of the methods is for such a problem.
    KeyboardInterrupt
        Its ``partial`` is the Dataset by the runs that were counted, before that the laws that were found.

    Warns
    -----
    StabilityWarning
        If the step size is past the mean-square stability condition of the unregularized algorithm. What approximations
        warn of is kept in the attributes.

    Notes
    -----
    In the dual coverage should equal the level, in the primal be at least that. Counts of R runs in bands from P paths
    are beta-binomial, as in `coverage`; the extremes over m cases are judged by the quantiles at ``.005 / m``. So trust
    is a matter of R and P, too: with few of them only gross errors are seen, and chance alone is good for 1.5 points on
    average. A run that diverges is outside from then on; ``attrs["diverged"]`` counts them.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, -0.3, 0.0], rs.AR1(3, 0.5))
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> result = rs.validate.calibration(problem, algorithm, 2.0, seed=0)
    >>> result.attrs["verdict_closure"], result.attrs["verdict_paths"]
    ('trust', 'trust')
    >>> figure = rs.plot.calibration(result)
    """
    check_pair(problem, algorithm)
    axis = time_axis(horizon, times, algorithm.step_size)
    if axis.steps[-1] == 0:
        raise _check.bad("times", "an array with t = 0 alone", "one with a later time", "give for example times=11")
    wanted = _methods(methods)
    level = _check.level(level)
    replicates = _check.count("replicates", replicates, least=2, mend="give the number of runs to count")
    need_memory_for_runs(replicates)
    paths = _check.count("paths", paths, least=2, mend="give the number of Monte Carlo paths")
    if set(wanted) - {"closure"}:
        need_draws(level, paths, "path")
    start_point(start, problem)
    seed = _check.seed(seed)
    tolerance = _check.number("tolerance", tolerance, above=0.0, most=0.1, mend="give for example tolerance=1e-2")
    _check.executor(executor)
    reasons = {name: _refusal(problem, algorithm, name) for name in wanted}
    if all(reasons.values()):
        raise next(error for error in reasons.values() if error is not None)
    warn_if_unstable(problem, algorithm)

    options: dict[str, Any] = {"times": axis.times, "start": start, "seed": seed, "executor": executor}
    monte_carlo: dict[str, Any] = {"paths": paths, "tolerance": tolerance, "progress": progress}
    theories: list[Theory] = []
    try:
        for name in wanted:
            solve = functools.partial(approximate, problem, algorithm, horizon, method=name, **monte_carlo, **options)
            theories.append(approximated(reasons[name], level, algorithm.mirror, solve))
    except KeyboardInterrupt as interrupt:
        laws = {name: theory.law for name, theory in zip(wanted, theories, strict=False) if theory.law is not None}
        if laws:
            note_partial(interrupt, laws, f"the laws by method that were found: {', '.join(laws)}")
        raise

    def simulated(numbers: ArrayLike) -> xr.Dataset:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=UserWarning)  # of the step size: said above
            return simulate(
                problem, algorithm, horizon, replicates=numbers, on_divergence="keep", progress=False, **options
            )

    def told(counted: _Counted) -> xr.Dataset:
        result = _dataset(wanted, theories, counted, axis, level, counted.runs)
        result.attrs = counted.attributes | {
            "produced_by": "rdasde.validate.calibration",
            "level": level,
            "replicates": counted.runs,
            "paths": paths,
            "tolerance": tolerance,
            "seed": _check.kept_seed(seed),
            "diverged": counted.diverged,
            "seconds_simulate": counted.seconds,
            "load": algorithm.step_size * problem.trace(),
        }
        for k, (name, theory) in enumerate(zip(wanted, theories, strict=True)):
            verdict, reason = _verdict(result.isel(theory=k), theory, level)
            result.attrs |= {f"verdict_{name}": verdict, f"reason_{name}": reason, f"warning_{name}": theory.warned}
        return result

    tally = _Tally(theories, axis, problem.dimension)
    try:
        _count(tally, simulated, replicates, axis, progress)
    except KeyboardInterrupt as interrupt:
        done = tally.runs
        laws = {name: theory.law for name, theory in zip(wanted, theories, strict=True) if theory.law is not None}
        partial: Any = told(tally.counted()) if done else laws
        what = f"the result by the {done} of {replicates} runs that were counted" if done else "the laws by method"
        note_partial(interrupt, partial, what)
        raise
    return told(tally.counted())


class _Counted(NamedTuple):
    """What the runs did: counts by method, moments by space."""

    inside: Floats  # (method, space, time, coordinate)
    below: Floats  # (theory, probability, time, coordinate)
    mean: Floats  # (space, time, coordinate)
    std: Floats
    zero: Floats  # (time, coordinate)
    runs: int
    diverged: int
    seconds: float
    attributes: dict[str, Any]


def _methods(methods: object) -> tuple[Method, ...]:
    if isinstance(methods, str):
        methods = (methods,)
    if not isinstance(methods, Sequence) or not methods:
        raise _check.wrong_kind(
            "methods", methods, "a sequence of methods", "give for example methods=('closure', 'paths')"
        )
    for name in methods:
        _check.choice("methods", name, ACCEPTED)
    if len(set(methods)) < len(methods):
        raise _check.bad("methods", _check.show(methods), "different ones", "name each once")
    return tuple(methods)


def _refusal(problem: Problem, algorithm: RDA, method: str) -> ValueError | None:
    try:
        METHODS[method].check(problem, algorithm)
    except ValueError as error:
        return error
    return None


class _Tally:
    """Counts of runs chunk by chunk, in flat memory."""

    def __init__(self, theories: list[Theory], axis: TimeAxis, dimension: int) -> None:
        grid = (len(axis.times), dimension)
        self._theories = theories
        self._inside = np.zeros((len(theories), len(SPACES), *grid))
        self._below = np.zeros((len(theories), len(PROBABILITIES), *grid))
        # of deviations from the first chunk's mean, so that squares do not cancel
        self._number, self._sums, self._squares = (np.zeros((len(SPACES), *grid)) for _ in range(3))
        self._centre: Floats | None = None
        self._zero = np.zeros(grid)
        self._diverged, self._attributes = 0, dict[str, Any]()
        self._begin = time.perf_counter()
        self.runs, self.states = 0, grid[0] * grid[1]

    def add(self, runs: xr.Dataset) -> None:
        """The next chunk."""
        states = np.stack([runs[space].values for space in SPACES])
        finite = np.isfinite(states)
        if self._centre is None:
            self._centre = np.where(finite, states, 0.0).sum(axis=1) / np.maximum(finite.sum(axis=1), 1)
            self._attributes = dict(runs.attrs)
        apart = np.where(finite, states - self._centre[:, None], 0.0)
        self._number += finite.sum(axis=1)
        self._sums += apart.sum(axis=1)
        with np.errstate(over="ignore"):  # of what is about to diverge
            self._squares += (apart**2).sum(axis=1)
        self._zero += (states[SPACES.index("primal")] == 0.0).sum(axis=0)
        self._diverged += int(runs.attrs["diverged"])
        dual = states[SPACES.index("dual")]
        for k, theory in enumerate(self._theories):
            for s in range(len(SPACES)):
                lower, upper = theory.ends[s]
                self._inside[k, s] += ((states[s] >= lower) & (states[s] <= upper)).sum(axis=0)
            for i, quantile in enumerate(theory.quantiles):
                self._below[k, i] += (dual <= quantile).sum(axis=0)
        self.runs += states.shape[1]

    def counted(self) -> _Counted:
        """What there is so far."""
        assert self._centre is not None
        many = np.maximum(self._number, 2.0)
        with np.errstate(over="ignore", invalid="ignore"):
            variance = (self._squares - self._sums**2 / many) / (many - 1.0)
            variance = np.nan_to_num(variance, nan=np.inf, posinf=np.inf)
        return _Counted(
            self._inside / self.runs,
            self._below / self.runs,
            self._centre + self._sums / many,
            np.sqrt(np.maximum(variance, 0.0)),
            self._zero / self.runs,
            self.runs,
            self._diverged,
            time.perf_counter() - self._begin,
            self._attributes,
        )


def _count(
    tally: _Tally, simulated: Callable[[ArrayLike], xr.Dataset], replicates: int, axis: TimeAxis, progress: bool | None
) -> None:
    steps = int(axis.steps[-1])
    bar = Progress(progress, steps * replicates, "calibration")
    try:
        for chunk in chunks_of(replicates, 2 * tally.states):
            tally.add(simulated(chunk))
            bar.add(steps * len(chunk))
    finally:
        bar.close()


def _dataset(
    methods: tuple[Method, ...],
    theories: list[Theory],
    counted: _Counted,
    axis: TimeAxis,
    level: float,
    replicates: int,
) -> xr.Dataset:
    import xarray as xr

    grid = (len(axis.times), counted.zero.shape[1])
    moving = counted.std > ROUNDING * np.abs(counted.mean)
    std = np.where(moving, counted.std, np.nan)
    bias, ratio = (np.full((len(methods), len(SPACES), *grid), np.nan) for _ in range(2))
    zero_error = np.full((len(methods), *grid), np.nan)
    covered, below = counted.inside.copy(), counted.below.copy()
    for k, theory in enumerate(theories):
        covered[k][np.isnan(theory.ends).any(axis=(1, 2, 3))] = np.nan
        below[k][np.isnan(theory.quantiles).any(axis=(1, 2))] = np.nan
        if theory.law is not None:
            for s, space in enumerate(SPACES):
                bias[k, s] = (theory.law[f"{space}_mean"].values - counted.mean[s]) / std[s]
                ratio[k, s] = theory.law[f"{space}_std"].values / std[s]
            zero_error[k] = theory.law["probability_zero"].values - counted.zero
    late = axis.times > 0.0
    cases = int(np.count_nonzero(late)) * grid[1]
    # a band of no width that holds says nothing of how often bands hold
    told = np.where(moving | (covered < 1.0), covered, np.nan)[:, :, late]
    limits = np.array([allowed(level, cases, replicates, theory.draws) for theory in theories])
    below_limits = np.array(
        [[allowed(p, cases, replicates, theory.draws) for p in PROBABILITIES] for theory in theories]
    )
    everywhere = ("theory", "space", "time", "coordinate")
    data: dict[str, Any] = {
        "coverage": (everywhere, covered),
        "bias": (everywhere, bias),
        "std_ratio": (everywhere, ratio),
        "probability_zero_error": (("theory", "time", "coordinate"), zero_error),
        "probability_zero": (("time", "coordinate"), counted.zero),
        "below": (("theory", "probability", "time", "coordinate"), below),
        "average": (("theory", "space"), _over_cells(np.nanmean, told)),
        "worst": (("theory", "space"), _over_cells(np.nanmin, told)),
        "best": (("theory", "space"), _over_cells(np.nanmax, told)),
        "worst_allowed": (("theory",), limits[:, 0]),
        "best_allowed": (("theory",), limits[:, 1]),
        "below_lowest": (("theory", "probability"), below_limits[:, :, 0]),
        "below_highest": (("theory", "probability"), below_limits[:, :, 1]),
        "seconds": (("theory",), np.array([theory.seconds for theory in theories])),
    }
    coords = {
        "theory": list(methods),
        "space": list(SPACES),
        "probability": np.array(PROBABILITIES),
        "time": axis.times,
        "coordinate": np.arange(grid[1]),
    }
    return xr.Dataset(data, coords=coords)


def _over_cells(statistic: Callable[..., Any], shares: Floats) -> Floats:
    """Of the times and coordinates where `shares` (theory, space, time, coordinate) is known; NaN where it is not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)  # of a mean of nothing
        return np.asarray(statistic(shares, axis=(2, 3)), dtype=np.float64)


def _verdict(of: xr.Dataset, theory: Theory, level: float) -> tuple[str, str]:
    """A word, and a sentence, on one method of a result."""
    if theory.law is None:
        return "impossible", theory.refused
    low = float(of["worst_allowed"])
    late = of["time"].values > 0.0
    said, words = [], []
    for space in SPACES:
        average, worst = float(of["average"].sel(space=space)), float(of["worst"].sel(space=space))
        if np.isnan(average):
            continue
        covered = of["coverage"].sel(space=space).values[late]
        i, j = np.unravel_index(int(covered.argmin()), covered.shape)
        where = f"t = {of['time'].values[late][i]:.3g}, coordinate {of['coordinate'].values[j]}"
        said.append(f"in the {space} {average:.4f} on average and {worst:.4f} at worst ({where})")
        if average < level - AVERAGE or worst < low:
            words.append("too seldom")
        elif space == "dual" and average > level + AVERAGE:
            words.append("too often")
    if not said:
        return "trust", "No run moves, and all are where the theory says."
    reason = f"The {level:g} band holds {', '.join(said)}; counting allows {low:.4f}."
    return (words[0] if words else "trust"), reason
