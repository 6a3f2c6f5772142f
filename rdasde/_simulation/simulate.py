"""`simulate`: the discrete algorithm, many replicates."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._engine.arguments import check_pair, kept_coordinates, start_point, warn_if_unstable
from rdasde._engine.blocks import blocks_of, need_memory, run_blocks
from rdasde._engine.dynamics import Dynamics
from rdasde._engine.pooled import pooled
from rdasde._engine.progress import Progress, Signals
from rdasde._engine.results import result_attributes
from rdasde._engine.store import Arrays, Store
from rdasde._engine.time_axis import TimeAxis, time_axis
from rdasde._errors import DivergenceError, note_partial
from rdasde._problems.base import Problem
from rdasde._simulation.block import Job, simulate_block
from rdasde._simulation.description import description
from rdasde._simulation.statistics import Statistic, check_statistics

if TYPE_CHECKING:
    import xarray as xr


def simulate(
    problem: Problem,
    algorithm: RDA,
    horizon: float,
    *,
    replicates: int | ArrayLike = 1,
    times: int | ArrayLike = 201,
    start: ArrayLike | None = None,
    seed: int | None = None,
    keep: Literal["paths", "summary"] = "paths",
    coordinates: ArrayLike | None = None,
    statistics: Mapping[str, Statistic] | None = None,
    store: str | os.PathLike[str] | None = None,
    executor: concurrent.futures.Executor | None = None,
    on_divergence: Literal["raise", "keep"] = "raise",
    progress: bool | None = None,
) -> xr.Dataset:
    """Run the algorithm itself: ``v <- v - gamma grad f(w; Z)``, ``w = prox(v, g(n, gamma))``.

    Parameters
    ----------
    problem : Problem
        What is learned, for example ``rs.LinearRegression(coef)``.
    algorithm : RDA
        How: step size, regularizer, schedule, batch size.
    horizon : float
        Length of the run in units of ``t = n * step_size``: ``N = floor(horizon / step_size + 1e-9)`` steps.
    replicates : int or array_like of int
        How many independent runs, or the numbers of the runs to replay. Run r depends on (`seed`, r) alone, bit
        for bit, whatever the executor, the number of workers and of replicates.
    times : int or array_like
        How many times to record (0 included), or the times, increasing within [0, horizon]. Rounded to the
        nearest step; duplicates dropped.
    start : array_like of shape (d,), optional
        The dual start v_0; ``w_0 = prox(v_0, g(0))``. Zeros when not given.
    seed : int, optional
        A fresh one is drawn when not given; ``attrs["seed"]`` holds it.
    keep : {"paths", "summary"}
        All paths, or moments merged as the runs finish, in memory that does not grow with their number.
    coordinates : array_like of int, optional
        Which coordinates to keep, counted from 0; all when not given.
    statistics : dict of str to callable, optional
        Functions of the primal state w, recorded by replicate and time. A function is given all states at once,
        ``(n, d)``, if it then returns the same n numbers as state by state; otherwise one ``(d,)`` at a time.
    store : path, optional
        A directory for finished blocks of runs; a run with the same arguments goes on from there.
    executor : concurrent.futures.Executor, optional
        Where blocks run; threads on all cores when not given.
    on_divergence : {"raise", "keep"}
        Raise when a state stops being finite, or record NaN from then on and count it in ``attrs["diverged"]``.
    progress : bool, optional
        Show a bar; by default on long work in a terminal or notebook.

    Returns
    -------
    xarray.Dataset
        ``dual``, ``primal`` (replicate, time, coordinate), or with ``keep="summary"`` ``dual_mean``, ``dual_std``,
        ``primal_mean``, ``primal_std``, ``probability_zero`` (time, coordinate), standard deviations with n - 1 in
        the denominator; ``threshold`` (time); one (replicate, time) variable for each statistic.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is compiled.
    DivergenceError
        If a state stops being finite; its ``partial`` holds what was computed.

    Warns
    -----
    StabilityWarning
        If the step size is past the mean-square stability condition of the unregularized algorithm.

    Notes
    -----
    If you interrupt a run, the KeyboardInterrupt carries what was finished as its attribute ``partial``.
    """
    check_pair(problem, algorithm)
    axis = time_axis(horizon, times, algorithm.step_size)
    numbers = _replicate_numbers(replicates)
    dual_start = start_point(start, problem)
    kept = kept_coordinates(coordinates, problem.dimension)
    summary = _check.choice("keep", keep, ("paths", "summary")) == "summary"
    stop = _check.choice("on_divergence", on_divergence, ("raise", "keep")) == "raise"
    vectorized = check_statistics(statistics, problem.dimension, executor)
    _check.executor(executor)
    if store is not None and not isinstance(store, str | os.PathLike):
        raise _check.wrong_kind("store", store, "a path or None", "name a directory")
    if seed is None and store is not None:
        seed = Store.seed_in(store)
    seed = _check.seed(seed)
    bar = Progress(progress, int(axis.steps[-1]) * len(numbers), "simulate")
    size = len(axis.steps) * len(kept) * 16.0 * (5 if summary else len(numbers))
    size += 8.0 * len(axis.steps) * len(numbers) * len(vectorized)
    need_memory(size, "The result", 'use keep="summary", fewer times, or coordinates=')
    warn_if_unstable(problem, algorithm)
    thresholds = algorithm.thresholds(np.arange(axis.steps[-1] + 1) * algorithm.step_size)

    job = Job(
        dynamics=Dynamics.of(problem, algorithm, dual_start, thresholds),
        step_size=algorithm.step_size,
        batch_size=algorithm.batch_size,
        seed=seed,
        steps=axis.steps,
        coordinates=kept,
        summary=summary,
        statistics=dict(statistics or {}),
        vectorized=vectorized,
        stop_at_divergence=stop,
    )
    kept_store = None if store is None else Store(store, description(job, problem))
    collected = _Collected(job, numbers, axis, problem, algorithm)
    parts = run_blocks(
        simulate_block,
        job,
        blocks_of(numbers),
        executor=executor,
        signals=Signals(bar),
        steps=int(axis.steps[-1]),
        store=kept_store,
    )
    try:
        for block, arrays in parts:
            collected.add(block, arrays)
            if stop and np.any(arrays["diverged"] >= 0):
                raise _divergence(block, arrays["diverged"], problem, algorithm, collected)
    except KeyboardInterrupt as interrupt:
        note_partial(
            interrupt, collected.dataset(), f"the {collected.done} of {len(numbers)} replicates that were done"
        )
        raise
    finally:
        parts.close()
    return collected.dataset()


def _replicate_numbers(replicates: int | ArrayLike) -> NDArray[np.int64]:
    if np.ndim(replicates) == 0:
        return np.arange(_check.count("replicates", replicates, mend="give how many runs, or their numbers"))
    raw = np.asarray(replicates)
    accepted = "a count, or different whole numbers >= 0"
    if raw.ndim != 1 or raw.size == 0 or raw.dtype.kind not in "iu":
        raise _check.wrong_kind("replicates", replicates, accepted, "give how many runs, or their numbers")
    numbers = raw.astype(np.int64)
    if numbers.min() < 0 or len(np.unique(numbers)) < len(numbers):
        raise _check.bad("replicates", replicates, accepted, "give how many runs, or their numbers")
    return numbers


class _Collected:
    """Blocks put together in their order: paths side by side, moments merged."""

    def __init__(self, job: Job, numbers: NDArray[np.int64], axis: TimeAxis, problem: Problem, algorithm: RDA) -> None:
        self.job, self.numbers, self.axis, self.problem, self.algorithm = job, numbers, axis, problem, algorithm
        shape = (len(axis.steps), len(job.coordinates))
        self.done = 0
        self.diverged = 0
        self.arrays: Arrays = {name: np.full((len(numbers), shape[0]), np.nan) for name in job.statistics}
        if job.summary:
            names = ("dual_mean", "dual_squares", "primal_mean", "primal_squares", "zeros")
            self.arrays |= {name: np.zeros(shape) for name in names}
        else:
            self.arrays |= {name: np.empty((len(numbers), *shape)) for name in ("dual", "primal")}

    def add(self, block: NDArray[np.int64], part: Arrays) -> None:
        """The next block."""
        rows = slice(self.done, self.done + len(block))
        for name in self.job.statistics:
            self.arrays[name][rows] = part[name]
        if self.job.summary:
            for space in ("dual", "primal"):
                mean, squares = self.arrays[f"{space}_mean"], self.arrays[f"{space}_squares"]
                with np.errstate(over="ignore", invalid="ignore"):  # a run on its way to infinity
                    both = pooled(float(self.done), mean, float(len(block)), part[f"{space}_mean"])
                    squares += part[f"{space}_squares"]
                    squares += both.gap**2 * both.weight
                    mean[:] = both.mean
            self.arrays["zeros"] += part["zeros"]
        else:
            for name in ("dual", "primal"):
                self.arrays[name][rows] = part[name]
        self.done = rows.stop
        self.diverged += int(np.count_nonzero(part["diverged"] >= 0))

    def dataset(self) -> xr.Dataset:
        """What there is so far, NaN where nothing is."""
        import xarray as xr

        job = self.job
        data: dict[str, Any] = {}
        if job.summary:
            n = self.done
            grid = ("time", "coordinate")
            for space in ("dual", "primal"):
                data[f"{space}_mean"] = (grid, self.arrays[f"{space}_mean"] if n else np.nan * self.arrays["zeros"])
                with np.errstate(invalid="ignore"):
                    variance = self.arrays[f"{space}_squares"] / (n - 1) if n > 1 else np.nan * self.arrays["zeros"]
                data[f"{space}_std"] = (grid, np.sqrt(variance))
            share = self.arrays["zeros"] / n if n else np.nan * self.arrays["zeros"]
            # a diverged replicate is neither zero nor not
            data["probability_zero"] = (grid, np.where(np.isnan(self.arrays["primal_mean"]), np.nan, share))
        else:
            for name in ("dual", "primal"):
                self.arrays[name][self.done :] = np.nan
                data[name] = (("replicate", "time", "coordinate"), self.arrays[name])
        for name in job.statistics:
            data[name] = (("replicate", "time"), self.arrays[name])
        data["threshold"] = (("time",), job.dynamics.thresholds[self.axis.steps])
        coords: dict[str, Any] = {"time": self.axis.times, "coordinate": job.coordinates}
        if not job.summary or job.statistics:
            coords["replicate"] = self.numbers
        result = xr.Dataset(data, coords=coords)
        result.attrs = result_attributes(self.problem, self.algorithm, "simulate")
        result.attrs |= {"seed": _check.kept_seed(job.seed), "replicates": self.done, "diverged": self.diverged}
        return result


def _divergence(
    block: NDArray[np.int64],
    diverged: NDArray[np.int64],
    problem: Problem,
    algorithm: RDA,
    collected: _Collected,
) -> DivergenceError:
    lane = int(np.flatnonzero(diverged >= 0)[0])
    step, replicate = int(diverged[lane]), int(block[lane])
    load = algorithm.step_size * problem.trace()
    message = (
        f"Replicate {replicate} is not finite after step {step} (t = {step * algorithm.step_size:g}): "
        f"step_size * trace of the Hessian is {load:.3g} with batch_size {algorithm.batch_size}; "
        "take a smaller step_size or a larger batch_size."
    )
    return DivergenceError(
        message,
        step=step,
        time=step * algorithm.step_size,
        replicate=replicate,
        partial=collected.dataset(),
    )
