"""Whether a law holds: a few hundred runs of the algorithm itself tell, or, where they cost too much, what is known."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rdasde._approximations.comparison import FALSE_ALARM, Attributes, Comparison, Finding, compare
from rdasde._approximations.paths import dual_paths
from rdasde._check import Floats
from rdasde._compiled.lanes import LANES
from rdasde._engine.blocks import AtOnce
from rdasde._engine.progress import phase
from rdasde._engine.run import MonteCarlo, Run
from rdasde._engine.statistics import Statistic
from rdasde._engine.time_axis import TimeAxis
from rdasde._errors import AccuracyWarning, ClosureWarning, DivergenceError, forget_partial
from rdasde._simulation.simulate import simulate

if TYPE_CHECKING:
    import xarray as xr

Check = Literal["auto", True, False]

_RUNS, _MORE_RUNS = 512, 2048  # at first, and of others where these leave a doubt: at least
_MANY_RUNS = 8192  # of others, past a large step; at first and of others, where runs are as good as free
_WORK = 2**25  # updates of a coordinate that are hardly noticed, a tenth of a second or so
_TIMES = 12  # at which they are compared
_COORDINATES = 256  # at most
_FEW_PATHS = 100  # with fewer there is little to compare
_BUDGET = 2.0  # processor seconds that "auto" may spend on runs, if the law itself took less: whatever else is running
_PILOT, _CLEAR = 256, 3.0  # steps of a first few runs, more until they take so many times as long as one step does
_SHORT = 0.05  # seconds of a pilot that whatever else the process does may double: the shorter of two counts
_LEAST = 0.05  # share of what a pilot takes that counts as its steps, where the clock does not tell
_COSTLY = 8.0  # squares of the dimension: paths of the same diffusion are not asked where a mean gradient looks at more
_SEEDS = (0x7D5C_2A11_9E37, 0x1B56_C4E9_30F3)  # of the runs: other streams than any seed of a user, but for chance
_GRADIENTS = 4096  # that tell how skewed they are
_LARGE_STEP = 0.5  # step_size * tr H / batch_size past which laws have heavy tails
_LARGE_SKEWNESS = 0.35  # of a coordinate: P(w_j = 0) is then off by .02, a sixth of it times the normal density
_GAUSSIAN_DESIGN = 6.0  # excess kurtosis of single gradients that leaves none: given the features, states are normal
_LARGE_KURTOSIS = 0.2  # of a coordinate: of a 99.9 % band .17 % are then outside
_FALSE_ALARM_LARGE = 1e-2  # the same past a large step, where laws are known to fail
_SURE = 1.5  # times what is let pass there: needs no second look


def check_law(
    result: xr.Dataset,
    run: Run,
    check: Check,
    seconds: float,
    monte_carlo: MonteCarlo,
    statistics: Mapping[str, Statistic] | None = None,
) -> Attributes:
    """What runs of the algorithm say of `result`, a law from `approximate` which took some `seconds`.

    Mean, standard deviation, coverage of the band and P(w_j = 0) are compared at a dozen times; of the running average
    and of functions of the state, where the law has them, mean and coverage. An `AccuracyWarning` (for the closure a
    `ClosureWarning`) where one is past what sampling leaves open and a room. With ``"auto"`` there are no runs where
    they would cost more than the law did and than two seconds of processor time. Called by `approximate`: the warning
    points at the line of the user.
    """
    later = np.flatnonzero(run.axis.times > 0.0)
    if check is False or not later.size or result.sizes.get("path", _FEW_PATHS) < _FEW_PATHS:
        return {}
    picked = np.unique(later[np.linspace(0, len(later) - 1, _TIMES).astype(int)])
    d = result.sizes["coordinate"]
    law = result.isel(time=picked, coordinate=np.unique(np.linspace(0, d - 1, min(d, _COORDINATES)).astype(int)))
    budget = np.inf if check is True else max(_BUDGET, seconds)
    here = monte_carlo._replace(executor=AtOnce())  # where its time is counted
    price = price_of_a_step(run, here) * int(run.axis.steps[picked[-1]]) if check == "auto" else 0.0
    if price * _RUNS > budget:
        finding = _without_runs(law, run, monte_carlo)
    else:
        finding = _with_runs(law, run, picked, budget / price if price else np.inf, monte_carlo, statistics)
    method = str(law.attrs["method"])
    mend = "take a smaller step_size or a larger batch_size, or rs.simulate in its place"
    if method == "paths" and monte_carlo.noise == "gaussian" and run.problem.has_compiled_drift:
        mend = f"try noise='gradients', or {mend}"
    if method in ("closure", "limit") and run.problem.has_compiled_drift:
        mend = f"try method='paths', or {mend}"
    for complaint in finding.complaints:
        warnings.warn(
            f"method={method!r} is not right here: {complaint}; {mend}.",
            ClosureWarning if method == "closure" else AccuracyWarning,
            stacklevel=3,
        )
    return finding.attributes


def _with_runs(
    law: xr.Dataset,
    run: Run,
    picked: Any,
    most: float,
    monte_carlo: MonteCarlo,
    statistics: Mapping[str, Statistic] | None,
) -> Finding:
    """What runs of the algorithm say, at most so many where the first leave a doubt."""
    mirror, coordinates = run.algorithm.mirror, law["coordinate"].values
    large = _load(run) > _LARGE_STEP
    false_alarm = _FALSE_ALARM_LARGE if large else FALSE_ALARM
    free = _WORK // (int(run.axis.steps[picked[-1]]) * run.problem.dimension * run.algorithm.batch_size)
    try:
        steps = run.axis.steps[picked]

        def compared(number: int, seed: int) -> Comparison:
            runs = _runs(run, picked, coordinates, number, seed, monte_carlo, statistics)
            return compare(law, mirror, steps, runs, false_alarm)

        comparison = compared(_between(_RUNS, free, most), _SEEDS[0])
        if any(miss.excess > (_SURE if large else 1.0) for miss in comparison.misses):
            return comparison.finding("runs of the algorithm")
        others = _between(_MANY_RUNS if large else _MORE_RUNS, free, most) if large or comparison.doubts else 0
        if others > _RUNS:
            comparison = compared(others, _SEEDS[1])
    except DivergenceError as error:
        said = f"a run of the algorithm diverges at t = {error.time:g}, which no law of its spread describes"
        return Finding({}, [said])
    return comparison.finding("runs of the algorithm")


def _between(least: int, free: int, most: float) -> int:
    """A power of two of runs: so many, more where they are as good as free, fewer where they cost too much."""
    return 2 ** int(np.log2(max(1.0, min(max(least, free), most, _MANY_RUNS))))


def _without_runs(law: xr.Dataset, run: Run, monte_carlo: MonteCarlo) -> Finding:
    """What is known of a law whose runs cost too much: by how much one step moves, and how its noise is shaped.

    The closure of a problem that is not quadratic is compared with paths of the same diffusion, whose cost does not
    grow as the step size falls.
    """
    problem, algorithm, _, axis = run[:4]
    complaints: list[str] = []
    attributes: Attributes = {}
    if _load(run) > _LARGE_STEP:
        complaints = [f"step_size * trace of the Hessian / batch_size is {_load(run):.2g}"]
        attributes["tail_unseen"] = complaints[0]
    else:
        rate = _step(run) / algorithm.batch_size * problem.typical_rate()
        skewness, kurtosis = _shape_of_gradients(run, law, monte_carlo)
        skewness, kurtosis = skewness * np.sqrt(rate), (kurtosis - _GAUSSIAN_DESIGN) * rate
        if skewness > _LARGE_SKEWNESS:
            complaints = [f"the noise of gradients leaves a skewness of about {skewness:.2g}"]
        if kurtosis > _LARGE_KURTOSIS and monte_carlo.noise == "gaussian":
            attributes["tail_unseen"] = f"the noise of gradients leaves an excess kurtosis of {kurtosis:.2g} or more"
    if "cut_off" in law.attrs:
        number = law.attrs["cut_off"]
        of = f"{number} coordinates have tails" if number > 1 else "1 coordinate has tails"
        complaints.append(f"{of} beyond the grid of the law, a hundred standard deviations away")
    exact = problem.has_compiled_drift and problem.drift_cost() <= _COSTLY * problem.dimension**2
    if law.attrs["method"] != "closure" or problem.is_quadratic or not exact or algorithm.is_falling:
        return Finding(attributes, complaints)
    steps = np.rint(law["time"].values / _step(run)).astype(np.int64)
    seldom = TimeAxis(steps, law["time"].values, axis.total)
    paths = MonteCarlo(_RUNS, _SEEDS[0], monte_carlo.executor, drift="exact")
    coordinates = law["coordinate"].values
    plain = run._replace(axis=seldom, algorithm=algorithm.effective, kept=coordinates)
    dual, primal = dual_paths(plain, paths)
    states = {"dual": dual, "primal": primal}
    finding = compare(law, algorithm.mirror, steps, states, tails_too=False).finding("paths of the same diffusion")
    return Finding(finding.attributes | attributes, complaints + finding.complaints)


def _load(run: Run) -> float:
    """How much of its own noise a step makes: near 1 and past it, laws have heavy tails."""
    return _step(run) / run.algorithm.batch_size * run.problem.trace()


def _step(run: Run) -> float:
    """The size of a step, effectively, or of the largest."""
    return run.algorithm.effective.step_size if run.axis.sizes is None else float(run.axis.sizes.max())


def _shape_of_gradients(run: Run, law: xr.Dataset, monte_carlo: MonteCarlo) -> tuple[float, float]:
    """Skewness and excess kurtosis, the largest over coordinates, of single gradients where the law is at its end."""
    problem, algorithm = run[:2]
    end = law["primal_mean"].values[-1]
    if len(end) < problem.dimension:
        return 0.0, 0.0
    single = dataclasses.replace(algorithm, step_size=_step(run), batch_size=1, momentum=0.0)
    axis = TimeAxis(np.array([1]), np.array([single.step_size]), 1)
    here = Run(problem, single, np.ascontiguousarray(end), axis)
    dual = _runs(here, np.array([0]), np.arange(problem.dimension), _GRADIENTS, _SEEDS[0], monte_carlo)["dual"]
    steps = dual[:, 0] - dual[:, 0].mean(axis=0)
    std = steps.std(axis=0)
    scaled = steps / np.where(std > 0.0, std, 1.0)
    squares = scaled * scaled  # powers of NumPy take many times as long as products
    return _surely(squares * scaled, 0.0, 3.0), _surely(squares * squares, 3.0, 2.0)


def _surely(powers: Floats, normal: float, errors: float) -> float:
    """The largest mean beyond that of a normal law, less some standard errors: of what is surely there."""
    beyond = np.abs(powers.mean(axis=0)) - normal - errors * powers.std(axis=0) / np.sqrt(len(powers))
    return float(np.maximum(beyond, 0.0).max())


def price_of_a_step(run: Run, monte_carlo: MonteCarlo) -> float:
    """Processor seconds that one step of one run takes, from a few of a few steps; compilation is not counted."""
    total = int(run.axis.steps[-1])

    def once(steps: int) -> float:
        at = steps * _step(run) if run.axis.clock is None else run.axis.clock[steps]
        axis = TimeAxis(np.array([steps]), np.array([at]), steps)
        begin = time.process_time()
        _runs(run._replace(axis=axis), np.array([0]), np.array([0]), 2 * LANES, _SEEDS[0], monte_carlo)
        return time.process_time() - begin

    def seconds(steps: int) -> float:
        taken = once(steps)
        return min(taken, once(steps)) if taken < _SHORT else taken

    try:
        seconds(1)
        alone, steps = seconds(1), min(total, _PILOT)
        elapsed = seconds(steps)
        while elapsed < _CLEAR * alone and steps < total:
            steps = min(total, 4 * steps)
            elapsed = seconds(steps)
    except DivergenceError:
        return 0.0
    return max(elapsed - alone, _LEAST * elapsed) / (2 * LANES * steps)


def _runs(
    run: Run,
    picked: Any,
    coordinates: Any,
    number: int,
    seed: int,
    monte_carlo: MonteCarlo,
    statistics: Mapping[str, Statistic] | None = None,
) -> dict[str, Floats]:
    """Dual and primal states, (run, time, coordinate), and what else the law is of, (run, time, ...)."""
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
                statistics=statistics,
                average=monte_carlo.average,
            )
        except KeyboardInterrupt as interrupt:
            forget_partial(interrupt)
            raise
    return {str(name): values.values for name, values in runs.data_vars.items()}
