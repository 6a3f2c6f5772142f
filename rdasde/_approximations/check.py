"""Whether a law holds: a few hundred runs of the algorithm itself tell, or, where they cost too much, what is known."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._approximations.paths import dual_paths
from rdasde._bands.band import band
from rdasde._bands.quantiles import standardized
from rdasde._check import Floats
from rdasde._compiled.lanes import LANES
from rdasde._engine.progress import phase
from rdasde._engine.run import MonteCarlo, Run
from rdasde._engine.time_axis import TimeAxis
from rdasde._errors import AccuracyWarning, ClosureWarning, DivergenceError, forget_partial
from rdasde._regularizers.base import Regularizer
from rdasde._simulation.simulate import simulate

if TYPE_CHECKING:
    import xarray as xr

Check = Literal["auto", True, False]

_RUNS, _MORE_RUNS = 512, 2048  # at first, and of others where these leave a doubt: at least
_MANY_RUNS = 8192  # of others, past a large step; at first and of others, where runs are as good as free
_WORK = 2**25  # updates of a coordinate that are hardly noticed, a tenth of a second or so
_TIMES = 12  # at which they are compared
_COORDINATES = 256  # at most
_LEVEL = 0.95  # of the band whose coverage is looked at
_FEW_PATHS = 100  # with fewer there is little to compare
_BUDGET = 1.0  # seconds that "auto" may spend on runs, if the law itself took less
_PILOT, _CLEAR = 256, 3.0  # steps of a first few runs, more until they take so many times as long as one step does
_COSTLY = 8.0  # squares of the dimension: paths of the same diffusion are not asked where a mean gradient looks at more
_SEEDS = (0x7D5C_2A11_9E37, 0x1B56_C4E9_30F3)  # of the runs: other streams than any seed of a user, but for chance

# what a law may be off by, beyond chance, without a word
_ROOM_MEAN = 0.25  # standard deviations
_ROOM_STD = 0.15  # in its logarithm
_ROOM_ZERO = 0.04  # in P(w_j = 0),
_ROOM_FIRST = 0.25  # and after n steps an n-th of this: at first the dual is a sum of a few products of normal numbers
_ROOM_SHARE = 0.018  # in the coverage of one coordinate at one time
_ROOM_AVERAGE = 0.012  # in the coverage at one time, averaged over coordinates
_GRADIENTS = 4096  # that tell how skewed they are
_LARGE_STEP = 0.5  # step_size * tr H / batch_size past which laws have heavy tails
_LARGE_SKEWNESS = 0.35  # of a coordinate: P(w_j = 0) is then off by .02, a sixth of it times the normal density
_FALSE_ALARM = 1e-4  # of each kind of comparison, of all times and coordinates together
_FALSE_ALARM_LARGE = 1e-2  # the same past a large step, where laws are known to fail
_DOUBT, _DOUBTFUL_ROOM = 0.2, 0.5  # the same, and the share of a room, at which more runs are asked


class Miss(NamedTuple):
    """Where a law is furthest off, in one respect."""

    excess: float  # in units of what is let pass
    what: str


class Respect(NamedTuple):
    """In which a law is compared: by (time, coordinate), (time,) or over all (1,)."""

    gap: Floats
    error: Floats  # standard error of the gap
    room: float | Floats
    say: Callable[[float], str]

    def furthest(self, law: xr.Dataset, false_alarm: float, share_of_room: float) -> Miss:
        """The largest gap, in units of the room and of what chance makes of none once in ``1 / false_alarm`` cases."""
        from scipy.special import ndtri

        reach = -ndtri(0.5 * false_alarm / self.gap.size)
        excess = np.abs(self.gap) / (reach * self.error + share_of_room * self.room)
        excess = np.where(np.isnan(excess), np.inf, excess)
        at = np.unravel_index(int(excess.argmax()), excess.shape)
        what = self.say(float(self.gap[at]))
        if len(self.gap) == law.sizes["time"] and "on average" not in what:
            what += f" at t = {law['time'].values[at[0]]:g}"
        if self.gap.ndim == 2:
            what += f", coordinate {law['coordinate'].values[at[1]]}"
        return Miss(float(excess[at]), what)


class Comparison(NamedTuple):
    """Of a law with runs of the algorithm."""

    attributes: dict[str, float]
    misses: list[Miss]  # past what chance and room leave open
    doubts: list[Miss]  # past what would pass without a second look

    def finding(self, against: str) -> Finding:
        """The largest miss in words, if there is one."""
        number = int(self.attributes["checked_replicates"])
        worst = [f"{max(self.misses).what}, against {number} {against}"] if self.misses else []
        return Finding(self.attributes, worst)


class Finding(NamedTuple):
    """What a result says of its law, and what is to be warned of."""

    attributes: dict[str, float]
    complaints: list[str]


def check_law(result: xr.Dataset, run: Run, check: Check, seconds: float, monte_carlo: MonteCarlo) -> dict[str, float]:
    """What runs of the algorithm say of `result`, a law from `approximate` which took some `seconds`.

    Mean, standard deviation, coverage of the band and P(w_j = 0) are compared at a dozen times. An `AccuracyWarning`
    (for the closure a `ClosureWarning`) where one is past what sampling leaves open and a room. With ``"auto"`` there
    are no runs where they would cost more than the law did and than a second. Called by `approximate`: the warning
    points at the line of the user.
    """
    later = np.flatnonzero(run.axis.times > 0.0)
    if check is False or not later.size or result.sizes.get("path", _FEW_PATHS) < _FEW_PATHS:
        return {}
    picked = np.unique(later[np.linspace(0, len(later) - 1, _TIMES).astype(int)])
    d = result.sizes["coordinate"]
    law = result.isel(time=picked, coordinate=np.unique(np.linspace(0, d - 1, min(d, _COORDINATES)).astype(int)))
    budget = np.inf if check is True else max(_BUDGET, seconds)
    price = price_of_a_step(run, monte_carlo) * int(run.axis.steps[picked[-1]]) if check == "auto" else 0.0
    if price * _RUNS > budget:
        finding = _without_runs(law, run, monte_carlo)
    else:
        finding = _with_runs(law, run, picked, 4.0 * budget / price if price else np.inf, monte_carlo)
    method = str(law.attrs["method"])
    mend = "take a smaller step_size or a larger batch_size, or rs.simulate in its place"
    if method in ("closure", "limit") and run.problem.has_compiled_drift:
        mend = f"try method='paths', or {mend}"
    for complaint in finding.complaints:
        warnings.warn(
            f"method={method!r} is not right here: {complaint}; {mend}.",
            ClosureWarning if method == "closure" else AccuracyWarning,
            stacklevel=3,
        )
    return finding.attributes


def _with_runs(law: xr.Dataset, run: Run, picked: Any, most: float, monte_carlo: MonteCarlo) -> Finding:
    """What runs of the algorithm say, at most so many where the first leave a doubt."""
    mirror, coordinates = run.algorithm.mirror, law["coordinate"].values
    large = _load(run) > _LARGE_STEP
    false_alarm = _FALSE_ALARM_LARGE if large else _FALSE_ALARM
    free = _WORK // (int(run.axis.steps[picked[-1]]) * run.problem.dimension * run.algorithm.batch_size)
    try:
        first = _runs(run, picked, coordinates, _between(_RUNS, free, most), _SEEDS[0], monte_carlo)
        steps = run.axis.steps[picked]
        comparison = _compare(law, mirror, steps, *first, false_alarm)
        others = _MANY_RUNS if large else _between(_MORE_RUNS, free, most) if comparison.doubts else 0
        if 0 < others <= most:
            more = _runs(run, picked, coordinates, others, _SEEDS[1], monte_carlo)
            comparison = _compare(law, mirror, steps, *more, false_alarm)
    except DivergenceError as error:
        said = f"a run of the algorithm diverges at t = {error.time:g}, which no law of its spread describes"
        return Finding({}, [said])
    return comparison.finding("runs of the algorithm")


def _between(least: int, free: int, most: float) -> int:
    """A power of two of runs: at least so many, more where they are as good as free, within what may be spent."""
    return max(least, 2 ** int(np.log2(max(1.0, min(free, most, _MANY_RUNS)))))


def _without_runs(law: xr.Dataset, run: Run, monte_carlo: MonteCarlo) -> Finding:
    """What is known of a law whose runs cost too much: by how much one step moves, and how its noise is shaped.

    The closure of a problem that is not quadratic is compared with paths of the same diffusion, whose cost does not
    grow as the step size falls.
    """
    problem, algorithm, _, axis = run[:4]
    complaints = []
    if _load(run) > _LARGE_STEP:
        complaints = [f"step_size * trace of the Hessian / batch_size is {_load(run):.2g}"]
    else:
        rate = _step(run) / algorithm.batch_size * problem.typical_rate()
        skewness = _skewness(run, law, monte_carlo) * np.sqrt(rate)
        if skewness > _LARGE_SKEWNESS:
            complaints = [f"the noise of gradients leaves a skewness of about {skewness:.2g}"]
    if "cut_off" in law.attrs:
        number = law.attrs["cut_off"]
        of = f"{number} coordinates have tails" if number > 1 else "1 coordinate has tails"
        complaints.append(f"{of} beyond the grid of the law, a hundred standard deviations away")
    exact = problem.has_compiled_drift and problem.drift_cost() <= _COSTLY * problem.dimension**2
    if law.attrs["method"] != "closure" or problem.is_quadratic or not exact or algorithm.is_falling:
        return Finding({}, complaints)
    steps = np.rint(law["time"].values / _step(run)).astype(np.int64)
    seldom = TimeAxis(steps, law["time"].values, axis.total)
    paths = MonteCarlo(_RUNS, _SEEDS[0], monte_carlo.executor)
    coordinates = law["coordinate"].values
    plain = run._replace(axis=seldom, algorithm=algorithm.effective, kept=coordinates)
    dual, primal = dual_paths(plain, paths)
    finding = _compare(law, algorithm.mirror, steps, dual, primal).finding("paths of the same diffusion")
    return Finding(finding.attributes, complaints + finding.complaints)


def _load(run: Run) -> float:
    """How much of its own noise a step makes: near 1 and past it, laws have heavy tails."""
    return _step(run) / run.algorithm.batch_size * run.problem.trace()


def _step(run: Run) -> float:
    """The size of a step, effectively, or of the largest."""
    return run.algorithm.effective.step_size if run.axis.sizes is None else float(run.axis.sizes.max())


def _skewness(run: Run, law: xr.Dataset, monte_carlo: MonteCarlo) -> float:
    """The largest, over coordinates, of single gradients where the law is at its end."""
    problem, algorithm = run[:2]
    end = law["primal_mean"].values[-1]
    if len(end) < problem.dimension:
        return 0.0
    single = dataclasses.replace(algorithm, step_size=_step(run), batch_size=1, momentum=0.0)
    axis = TimeAxis(np.array([1]), np.array([single.step_size]), 1)
    here = Run(problem, single, np.ascontiguousarray(end), axis)
    dual, _ = _runs(here, np.array([0]), np.arange(problem.dimension), _GRADIENTS, _SEEDS[0], monte_carlo)
    steps = dual[:, 0] - dual[:, 0].mean(axis=0)
    std = steps.std(axis=0)
    cubes = (steps / np.where(std > 0.0, std, 1.0)) ** 3
    # tails are heavy: of what is surely there
    return float(np.maximum(np.abs(cubes.mean(axis=0)) - 3.0 * cubes.std(axis=0) / np.sqrt(len(cubes)), 0.0).max())


def price_of_a_step(run: Run, monte_carlo: MonteCarlo, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that one step of one run takes, from a few runs of a few steps; compilation is not counted."""
    total = int(run.axis.steps[-1])

    def seconds(steps: int) -> float:
        at = steps * _step(run) if run.axis.clock is None else run.axis.clock[steps]
        axis = TimeAxis(np.array([steps]), np.array([at]), steps)
        begin = clock()
        _runs(run._replace(axis=axis), np.array([0]), np.array([0]), 2 * LANES, _SEEDS[0], monte_carlo)
        return clock() - begin

    try:
        seconds(1)
        alone, steps = seconds(1), min(total, _PILOT)
        elapsed = seconds(steps)
        while elapsed < _CLEAR * alone and steps < total:
            steps = min(total, 4 * steps)
            elapsed = seconds(steps)
    except DivergenceError:
        return 0.0
    return max(elapsed - alone, 0.0) / (2 * LANES * steps)


def _runs(
    run: Run, picked: Any, coordinates: Any, number: int, seed: int, monte_carlo: MonteCarlo
) -> tuple[Floats, Floats]:
    """Dual and primal states, (run, time, coordinate)."""
    problem, algorithm, dual_start, axis = run[:4]
    times = axis.times[picked]
    with warnings.catch_warnings(), phase("checking"):
        warnings.simplefilter("ignore")  # what there is to say of the step size is said by `approximate`
        try:
            runs = simulate(
                problem,
                algorithm,
                float(times[-1]) + (0.0 if algorithm.is_falling else 0.25 * _step(run)),
                replicates=number,
                times=times,
                start=dual_start,
                seed=seed,
                coordinates=coordinates,
                executor=monte_carlo.executor,
                progress=monte_carlo.progress,
            )
        except KeyboardInterrupt as interrupt:
            forget_partial(interrupt)
            raise
    return runs["dual"].values, runs["primal"].values


def _compare(
    law: xr.Dataset,
    mirror: Regularizer,
    steps: NDArray[np.int64],
    dual: Floats,
    primal: Floats,
    false_alarm: float = _FALSE_ALARM,
) -> Comparison:
    """`steps` (time,): after how many the law and the states, (run, time, coordinate), are those of."""
    number = len(dual)
    attributes = {"checked_replicates": float(number)}
    mean, std = dual.mean(axis=0), dual.std(axis=0, ddof=1)
    moving = std > 1e-9 * (np.abs(mean) + 1e-300)
    if not moving.any():
        return Comparison(attributes, [], [])
    safe = np.where(moving, std, 1.0)
    sampling = 1.0 / number + 1.0 / law.sizes.get("path", np.inf)  # paths have an error of their own
    of_std = np.maximum(_kurtosis(dual) - 1.0, 0.5) / (4.0 * number)  # the variance of the logarithm of one
    if "dual" in law:
        of_std += np.maximum(_kurtosis(law["dual"].values) - 1.0, 0.5) / (4.0 * law.sizes["path"])

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        shift = np.where(moving, (law["dual_mean"].values - mean) / safe, 0.0)
        ratio = np.where(moving, np.log(np.maximum(law["dual_std"].values, 1e-300) / safe), 0.0)
    ends = band(law, _LEVEL, space="dual", regularizer=mirror)
    inside = (dual >= ends["lower"].values) & (dual <= ends["upper"].values)
    share = np.where(moving, inside.mean(axis=0) - _LEVEL, 0.0)
    counted = np.maximum(moving.sum(axis=1), 1)
    by_run = np.where(moving.any(axis=1), (inside & moving).sum(axis=2) / counted, _LEVEL)  # (run, time)
    zero = law["probability_zero"].values - (primal == 0.0).mean(axis=0)

    binomial = _LEVEL * (1.0 - _LEVEL)
    expected = np.clip(law["probability_zero"].values, 0.5 / number, 1.0 - 0.5 / number)
    # coordinates and times move together: what an average over them is worth is seen between runs
    over_coordinates = np.maximum(by_run.var(axis=0, ddof=1), binomial / counted)
    over_all = np.maximum(by_run.mean(axis=1).var(ddof=1), binomial / dual[0].size)[None]

    def holds(gap: float) -> str:
        return f"its {100 * _LEVEL:.0f} % band in the dual holds {100 * (gap + _LEVEL):.1f} %"

    respects = (
        Respect(shift, np.sqrt(sampling), _ROOM_MEAN, "its mean is off by {:+.2g} standard deviations".format),
        Respect(
            ratio,
            np.sqrt(of_std),
            _ROOM_STD,
            lambda gap: f"its standard deviation is {np.exp(min(gap, 700.0)):.3g} times as large",
        ),
        Respect(share, np.sqrt(binomial * sampling), _ROOM_SHARE, holds),
        Respect(
            zero,
            np.sqrt(expected * (1.0 - expected) * sampling),
            _ROOM_ZERO + _ROOM_FIRST / steps[:, None],
            "its P(w_j = 0) is off by {:+.2g}".format,
        ),
        Respect(by_run.mean(axis=0) - _LEVEL, np.sqrt(over_coordinates * sampling), _ROOM_AVERAGE, holds),
        Respect(
            by_run.mean(keepdims=True)[0] - _LEVEL,
            np.sqrt(over_all * sampling),
            _ROOM_AVERAGE,
            lambda gap: holds(gap) + " on average over times and coordinates",
        ),
    )
    attributes |= {
        "checked_mean": float(np.abs(shift).max()),
        "checked_std": float(np.abs(ratio).max()),
        "checked_quantile": float(np.abs(by_run.mean(axis=0) - _LEVEL).max()),
        "checked_zero": float(np.abs(zero).max()),
    }
    misses = [respect.furthest(law, false_alarm, 1.0) for respect in respects]
    doubts = [respect.furthest(law, _DOUBT, _DOUBTFUL_ROOM) for respect in respects]
    return Comparison(attributes, *([miss for miss in part if miss.excess > 1.0] for part in (misses, doubts)))


def _kurtosis(samples: Floats) -> Floats:
    """Of each (time, coordinate); 0 where nothing moves."""
    with np.errstate(over="ignore", invalid="ignore"):
        fourth = np.mean(standardized(samples).scaled ** 4, axis=0) * (len(samples) / (len(samples) - 1.0)) ** 2
    return np.asarray(np.nan_to_num(fourth), dtype=np.float64)
