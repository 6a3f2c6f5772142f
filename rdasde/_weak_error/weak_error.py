"""`weak_error`: how far the diffusion is from the algorithm in expectation, and how that falls with the step size."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check, _users
from rdasde._algorithm import RDA
from rdasde._approximations.paths import dual_paths
from rdasde._check import Floats
from rdasde._engine.arguments import check_equation_order, check_pair, start_point, warn_if_unstable
from rdasde._engine.blocks import chunks_of
from rdasde._engine.extended import ExtendedMirror
from rdasde._engine.memory import need_memory_for_runs
from rdasde._engine.pooled import pooled
from rdasde._engine.progress import Progress
from rdasde._engine.results import result_attributes
from rdasde._engine.run import MonteCarlo, Run
from rdasde._engine.statistics import probe_states
from rdasde._engine.time_axis import TimeAxis, time_axis
from rdasde._errors import note_partial
from rdasde._normal import Z95
from rdasde._problems.base import Problem
from rdasde._schedule import Schedule
from rdasde._simulation.simulate import simulate
from rdasde._weak_error.control_variate import Controlled
from rdasde._weak_error.order import fit_order

if TYPE_CHECKING:
    import xarray as xr

TestFunction = Callable[[Floats], Any]

_REFINEMENT = 4  # of the diffusion's grid, against the one its bias is read from
_STEPS = 10.0  # least rate times horizon
_FAR = 6.0  # standard errors at which the control's mean counts as not zero: false alarm 2e-9 a coordinate


def weak_error(
    problem: Problem,
    algorithm: RDA,
    horizon: float,
    *,
    step_sizes: ArrayLike,
    test_functions: Mapping[str, TestFunction],
    replicates: int,
    paths: int,
    start: ArrayLike | None = None,
    seed: int | None = None,
    executor: concurrent.futures.Executor | None = None,
    progress: bool | None = None,
    equation_order: int = 1,
) -> xr.Dataset:
    r"""The weak error of the dual diffusion, ``E phi(w_N) - E phi(W(N gamma))``, and its order in the step size.

    Parameters
    ----------
    problem, algorithm, horizon, start
        As in `simulate`. The algorithm's own step size is replaced by each of `step_sizes`; its threshold follows from
        the schedule at that step size. ``N = floor(horizon / gamma + 1e-9)``: both laws at the time ``N gamma``.
    step_sizes : array_like of float
        At least two different ones.
    test_functions : dict of str to callable
        Functions of primal states ``(..., d)`` that return ``(...)``: ``{"risk": lambda w: (w**2).sum(axis=-1)}``.
    replicates, paths : int
        Runs of the algorithm and paths of the diffusion, for each step size. In memory there are only a few thousand.
    seed : int, optional
        A fresh one is drawn when not given; ``attrs["seed"]`` holds it. All step sizes draw independently.
    executor, progress
        As in `simulate`.
    equation_order : {1, 2}
        1: the dual diffusion ``dV = -G(W) dt + sqrt(gamma) Sigma(W)^(1/2) dB``, ``W = prox(V, g(t))``. 2: the
        stochastic modified equation of second order, see the notes; for ``L1``, ``NonNegativeL1`` and no regularizer.

    Returns
    -------
    xarray.Dataset
        ``error``, ``standard_error`` and ``floor`` (test_function, step_size), the floor being what sampling alone
        would make of no error in one of twenty cases, 1.96 standard errors; ``order``, ``order_lower``,
        ``order_upper`` (test_function), the fitted power of the step size with its 95 % interval, and ``scatter``, the
        chi-square a degree of freedom of that fit; ``discrete`` and ``diffusion``, the two expectations;
        ``time_step_bias`` and its standard error ``time_step_bias_error``, what the time steps of the diffusion
        contribute to ``error``: a third of the difference to independent paths in four times as long steps, right for a
        scheme of weak order one and five times too much for one of order two; ``gain`` (test_function, step_size),
        by how much the control variate divides the variance of the discrete mean; ``time`` (step_size).

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is compiled.

    Warns
    -----
    StabilityWarning
        If a step size is past the mean-square stability condition of the unregularized algorithm.
    RuntimeWarning
        If the gradients of the problem do not average to its mean gradient.

    Notes
    -----
    Both expectations are estimated with a control variate of mean exactly zero, the noise alone carried along the mean,
    which leaves of the variance what is of second order in the noise. Error and standard deviation are then both of the
    order of the step size: the number of replicates that resolves the error does not grow as the step size falls, nor
    does the cost of the diffusion. The order is fitted to signed errors, by weighted least squares.

    The equation of second order matches mean and covariance of one step to third order in the step size, away from the
    kinks of the mirror map: with ``D = diag 1{W_j != 0}`` and ``F(v, t) = G(prox(v, g(t)))``,

    ``dV = -(F + (gamma/2) (H D F - dF/dt)) dt + sqrt(gamma) (I + (gamma/2) H D) Sigma(W_-)^(1/2) dB``,

    ``W_- = W + (gamma/2) D G(W)`` where the flow was half a step ago. The time derivative is met by taking the
    threshold half a step back, ``g(t - gamma/2)``: the algorithm keeps it for a whole step. The drift alone makes the
    weak order two (a covariance of one step is ``gamma^2 Sigma`` either way, up to third order); the correction of the
    noise makes the variance right to second order relative to itself, and so the constant small.

    References
    ----------
    Li, Tai & E (2017), "Stochastic modified equations and adaptive stochastic gradient algorithms", theorem 1.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> algorithm = rs.RDA(0.1, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> risk = {"risk": lambda w: ((w - problem.coef) ** 2).sum(axis=-1)}
    >>> options = {"test_functions": risk, "replicates": 2000, "paths": 2000, "seed": 0}
    >>> result = rs.weak_error(problem, algorithm, 2.0, step_sizes=[0.1, 0.4], **options)
    >>> result.error.dims
    ('test_function', 'step_size')
    >>> (result.error > result.floor).values  # more than chance
    array([[ True,  True]])
    """
    import xarray as xr

    check_pair(problem, algorithm)
    gammas = check_step_sizes(step_sizes)
    algorithms = [dataclasses.replace(algorithm, step_size=float(gamma)) for gamma in gammas]
    axes = [final_time(horizon, gamma) for gamma in gammas]
    names, functions = _functions(test_functions, problem.dimension)
    replicates = _check.count("replicates", replicates, least=_least(problem), mend="give the number of runs")
    paths = _check.count("paths", paths, least=_least(problem), mend="give the number of paths of the diffusion")
    need_memory_for_runs(max(replicates, paths))
    dual_start = start_point(start, problem)
    seed = _check.seed(seed)
    _check.executor(executor)
    check_equation_order(equation_order)
    if equation_order == 2 and not algorithm.mirror.slope_is_indicator:
        raise _check.bad(
            "equation_order",
            f"2 with {algorithm.mirror!r}",
            "1 unless the regularizer is L1, NonNegativeL1 or none",
            "its mirror map must have slope 0 or 1",
        )
    if not problem.has_compiled_drift:
        raise _check.bad(
            "problem",
            "one without a compiled mean gradient",
            "one with it, for the paths of the diffusion",
            "give mean_gradient=, a function (parameters, w) that numba can compile",
        )
    for refined in algorithms:
        warn_if_unstable(problem, refined)
    work = sum(int(axis.steps[-1]) for axis in axes) * replicates
    bar = Progress(progress, work, "weak_error")

    shape = (len(names), len(gammas))
    columns = {
        name: np.empty(shape)
        for name in ("discrete", "diffusion", "standard_error", "time_step_bias", "time_step_bias_error", "gain")
    }
    k = 0
    try:
        for k, (refined, axis) in enumerate(zip(algorithms, axes, strict=True)):
            case = _Case(problem, refined, dual_start, axis, names, functions, executor)
            seeds = np.random.SeedSequence(seed, spawn_key=(k,)).generate_state(3, np.uint64) >> np.uint64(1)
            runs = _Estimate.of(case.runs(replicates, int(seeds[0]), bar), len(names))
            if runs.control_score() > _FAR:
                warnings.warn(
                    "The stochastic gradients do not average to the mean gradient of the problem "
                    f"({runs.control_score():.1f} standard errors): mend mean_gradient=.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            fine, coarse = (
                _Estimate.of(case.paths(paths, int(path_seed), equation_order, refinement), len(names))
                for path_seed, refinement in zip(seeds[1:], (_REFINEMENT, 1), strict=True)
            )
            columns["discrete"][:, k], variance, plain = runs.means()
            columns["gain"][:, k] = plain / variance
            columns["diffusion"][:, k], fine_variance, _ = fine.means()
            longer, coarse_variance, _ = coarse.means()
            columns["standard_error"][:, k] = np.sqrt(variance + fine_variance)
            columns["time_step_bias"][:, k] = (columns["diffusion"][:, k] - longer) / (_REFINEMENT - 1)
            columns["time_step_bias_error"][:, k] = np.sqrt(fine_variance + coarse_variance) / (_REFINEMENT - 1)
    except (KeyboardInterrupt, ValueError) as interrupt:  # a test function of the user's may fail at some states
        finished = {name: values[:, :k] for name, values in columns.items()}
        note_partial(interrupt, finished, f"the columns (test_function, step_size) of the first {k} step sizes")
        raise
    finally:
        bar.close()
    columns["error"] = columns["discrete"] - columns["diffusion"]
    columns["floor"] = Z95 * columns["standard_error"]
    data: dict[str, Any] = {name: (("test_function", "step_size"), values) for name, values in columns.items()}
    orders = [fit_order(gammas, columns["error"][i], columns["standard_error"][i]) for i in range(len(names))]
    for position, name in enumerate(("order", "order_lower", "order_upper", "scatter")):
        data[name] = (("test_function",), np.array([order[position] for order in orders]))
    data["time"] = (("step_size",), np.array([axis.times[-1] for axis in axes]))
    result = xr.Dataset(data, coords={"test_function": list(names), "step_size": gammas})
    result.attrs = result_attributes(problem, algorithm, "weak_error")
    del result.attrs["step_size"]  # there are several
    result.attrs |= {
        "equation_order": equation_order,
        "replicates": replicates,
        "paths": paths,
        "seed": _check.kept_seed(seed),
    }
    return result


@dataclass(frozen=True)
class _Lagged:
    """A schedule half a step back: the algorithm keeps a threshold for a whole step."""

    schedule: Schedule

    def __call__(self, t: float, step_size: float) -> Any:
        return self.schedule(max(t - 0.5 * step_size, 0.0), step_size)


@dataclass(frozen=True)
class _Case:
    """One step size: chunks of test functions and control variates, side by side, (n, functions + d)."""

    problem: Problem
    algorithm: RDA
    dual_start: Floats
    axis: TimeAxis
    names: tuple[str, ...]
    functions: tuple[TestFunction, ...]
    executor: concurrent.futures.Executor | None

    def runs(self, number: int, seed: int, bar: Progress) -> Iterator[Floats]:
        """Of the algorithm."""
        end = float(self.axis.times[-1])
        problem = Controlled(self.problem, self.algorithm, self.dual_start, end)
        algorithm = self._controlled(self.algorithm.schedule)
        for chunk in chunks_of(number, problem.dimension):
            runs = simulate(
                problem,
                algorithm,
                end,
                replicates=chunk,
                times=[end],
                start=problem.start(self.dual_start),
                seed=seed,
                executor=self.executor,
                progress=False,
            )
            states = runs["primal"].values[:, 0]
            bar.add(int(self.axis.steps[-1]) * len(chunk))
            yield self._columns(states[:, : self.problem.dimension], states)

    def paths(self, number: int, seed: int, order: int, refinement: int) -> Iterator[Floats]:
        """Of the diffusion."""
        end = float(self.axis.times[-1])
        rate = refinement * max(self.problem.fastest_rate(), _STEPS / end)
        second = order == 2
        problem = Controlled(self.problem, self.algorithm, self.dual_start, end, second_order=second, rate=rate)
        schedule = self.algorithm.schedule
        algorithm = self._controlled(_Lagged(schedule) if second and schedule is not None else schedule)
        threshold = self.algorithm.thresholds(self.axis.times)[0]
        for k, chunk in enumerate(chunks_of(number, problem.dimension)):
            own = int(np.random.SeedSequence(seed, spawn_key=(k,)).generate_state(1, np.uint64)[0] >> np.uint64(1))
            run = Run(problem, algorithm, problem.start(self.dual_start), self.axis)
            dual, _ = dual_paths(run, MonteCarlo(len(chunk), own, self.executor))
            states = dual[:, 0]
            yield self._columns(self.algorithm.mirror.prox(states[:, : self.problem.dimension], threshold), states)

    def _controlled(self, schedule: Schedule | None) -> RDA:
        mirror = ExtendedMirror(self.algorithm.mirror, self.problem.dimension)
        return dataclasses.replace(self.algorithm, regularizer=mirror, schedule=schedule)

    def _columns(self, w: Floats, states: Floats) -> Floats:
        d = self.problem.dimension
        w = np.ascontiguousarray(w)
        values = [_values(name, f, w) for name, f in zip(self.names, self.functions, strict=True)]
        return np.column_stack([*values, states[:, d : 2 * d]])


class _Estimate:
    """Means with control variates of mean zero, from moments merged chunk by chunk."""

    def __init__(self, count: int, mean: Floats, scatter: Floats, functions: int) -> None:
        self._count, self._mean, self._scatter, self._functions = count, mean, scatter, functions

    @staticmethod
    def of(chunks: Iterator[Floats], functions: int) -> _Estimate:
        """Of columns of test functions and then of controls."""
        count = 0
        mean: Floats = np.zeros(1)
        scatter: Floats = np.zeros((1, 1))
        for chunk in chunks:
            centre = chunk.mean(axis=0)
            deviations = chunk - centre
            both = pooled(count, mean, len(chunk), centre)
            scatter = scatter + deviations.T @ deviations + np.outer(both.gap, both.gap) * both.weight
            mean = both.mean
            count += len(chunk)
        return _Estimate(count, mean, scatter, functions)

    def means(self) -> tuple[Floats, Floats, Floats]:
        """Of every test function: mean, its variance, and what that would be without control variates."""
        m = self._functions
        coefficients = self._coefficients()
        controls = self._scatter[m:, :m]
        left = np.diagonal(self._scatter)[:m] - np.einsum("ij,ij->j", controls, coefficients)
        freedom = self._count - 1 - len(controls)
        plain = np.diagonal(self._scatter)[:m] / (self._count - 1) / self._count
        # rounding leaves about 1e-16 of a variance that the controls explain in full
        variance = np.maximum(left / freedom / self._count, 1e-16 * plain)
        return self._mean[:m] - coefficients.T @ self._mean[m:], variance, plain

    def _coefficients(self) -> Floats:
        m = self._functions
        scale = np.sqrt(np.diagonal(self._scatter)[m:])
        scale = np.where(scale > 0.0, scale, 1.0)
        gram = self._scatter[m:, m:] / scale / scale[:, None]
        return np.linalg.lstsq(gram, self._scatter[m:, :m] / scale[:, None], rcond=1e-10)[0] / scale[:, None]

    def control_score(self) -> float:
        """How many standard errors the mean of a control lies off zero, at most."""
        m = self._functions
        spread = np.sqrt(np.diagonal(self._scatter)[m:] / (self._count - 1) / self._count)
        moving = spread > 0.0
        return float(np.max(np.abs(self._mean[m:][moving]) / spread[moving], initial=0.0))


def final_time(horizon: float, step_size: float) -> TimeAxis:
    """The last step within the horizon, even where rounding would choose one after it."""
    axis = time_axis(horizon, [horizon], step_size)
    return TimeAxis(np.array([axis.total]), np.array([axis.total * step_size]), axis.total)


def _least(problem: Problem) -> int:
    return 2 * problem.dimension + 10  # enough to fit the control variates


def check_step_sizes(step_sizes: ArrayLike) -> Floats:
    """At least two, different, positive."""
    gammas = _check.array("step_sizes", step_sizes, (None,), mend="give at least two, for example [0.02, 0.01, 0.005]")
    if gammas.min() <= 0.0 or len(gammas) < 2 or len(np.unique(gammas)) < len(gammas):
        raise _check.bad(
            "step_sizes",
            "[" + ", ".join(f"{gamma:g}" for gamma in gammas) + "]",
            "at least two different numbers > 0",
            "give for example [0.02, 0.01, 0.005]",
        )
    return gammas


def _functions(
    test_functions: Mapping[str, TestFunction], dimension: int
) -> tuple[tuple[str, ...], tuple[TestFunction, ...]]:
    accepted = "a dict from name to a function of states (..., d)"
    mend = "pass for example {'risk': lambda w: (w**2).sum(axis=-1)}"
    right = isinstance(test_functions, Mapping) and len(test_functions) > 0
    if not right or not all(isinstance(name, str) and callable(f) for name, f in test_functions.items()):
        raise _check.wrong_kind("test_functions", test_functions, accepted, mend)
    probe = probe_states(dimension)
    for name, function in test_functions.items():
        _values(name, function, probe)
    return tuple(test_functions), tuple(test_functions.values())


def _values(name: str, function: TestFunction, w: Floats) -> Floats:
    argument, accepted = f"test_functions[{name!r}]", f"one that returns shape {w.shape[:-1]}"
    mend = "work on the last axis, as in (w**2).sum(axis=-1)"
    at = f"at states of shape {w.shape}"
    value = _users.called(argument, function, w.copy(), at=at, accepted=accepted, mend=mend)  # it may write into w
    values = _users.numbers(value)
    if values is None or values.shape != w.shape[:-1]:
        made = _users.returned(value) if values is None else f"{values.dtype} of shape {values.shape}"
        got = f"a function that makes {made} of states of shape {w.shape}"
        raise _check.bad(argument, got, accepted, mend)
    return values.astype(np.float64)
