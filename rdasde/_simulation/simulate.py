"""`simulate`: the discrete algorithm, many replicates."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._bands.inside import Inside, check_band, inside_of
from rdasde._bands.variables import SPACES
from rdasde._check import Floats
from rdasde._engine.arguments import check_pair, kept_coordinates, start_point, warn_if_unstable
from rdasde._engine.blocks import blocks_of, run_blocks
from rdasde._engine.dynamics import Dynamics
from rdasde._engine.memory import need_memory, need_memory_for_runs
from rdasde._engine.progress import Progress, Signals
from rdasde._engine.statistics import Statistic, check_statistics
from rdasde._engine.store import Store
from rdasde._engine.time_axis import time_axis
from rdasde._errors import DivergenceError, note_partial
from rdasde._problems.base import Problem
from rdasde._simulation.block import Job, simulate_block
from rdasde._simulation.collected import Collected
from rdasde._simulation.description import description

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
    inside: xr.Dataset | None = None,
    average: bool = False,
) -> xr.Dataset:
    """Run the algorithm itself: ``v <- v - gamma grad f(w; Z)``, ``w = prox(v, g(n, gamma))``.

    Parameters
    ----------
    problem : Problem
        What is learned, for example ``rs.LinearRegression(coef)``.
    algorithm : RDA
        How: step size, regularizer, schedule, batch size.
    horizon : float
        Length of the run in units of ``t = n * step_size``: ``N = floor(horizon / step_size + 1e-9)`` steps. Where the
        step size falls, t is the sum of the steps so far and N the largest number of them within the horizon.
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
    inside : xarray.Dataset, optional
        With ``keep="summary"``, a band from `band` on the same times: how many runs lie inside is counted as they
        finish, and ``rs.coverage(runs, band)`` says so, without paths in memory.
    average : bool
        Whether to keep the running average of the primal over every step, too (Polyak & Ruppert):
        ``(w_0 + ... + w_{n-1}) / n`` after step n, and w_0 for n = 0.

    Returns
    -------
    xarray.Dataset
        ``dual``, ``primal`` (replicate, time, coordinate), or with ``keep="summary"`` ``dual_mean``, ``dual_std``,
        ``primal_mean``, ``primal_std``, ``probability_zero`` (time, coordinate), standard deviations with n - 1 in
        the denominator; ``threshold`` (time); one (replicate, time) variable for each statistic; with
        `average` also ``average`` (replicate, time, coordinate), or ``average_mean`` and ``average_std``; with `inside`
        the share of runs ``inside``, dims as those of `coverage`.

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

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> runs = rs.simulate(problem, algorithm, horizon=5.0, times=6, replicates=100, seed=0)
    >>> runs.primal.dims, runs.primal.shape
    (('replicate', 'time', 'coordinate'), (100, 6, 2))
    >>> (runs.primal == 0.0).mean("replicate").values[-1].round(1)  # at the end
    array([0. , 0.7])
    """
    check_pair(problem, algorithm, plain=False)
    effective = algorithm.effective
    axis = time_axis(horizon, times, effective.step_size)
    numbers = _replicate_numbers(replicates)
    dual_start = start_point(start, problem)
    kept = kept_coordinates(coordinates, problem.dimension)
    summary = _check.choice("keep", keep, ("paths", "summary")) == "summary"
    stop = _check.choice("on_divergence", on_divergence, ("raise", "keep")) == "raise"
    average = _check.flag("average", average)
    vectorized = check_statistics(statistics, problem.dimension, executor, average)
    _check.executor(executor)
    counted = (
        None
        if inside is None
        else _counted(inside, summary, axis.times, kept, (*SPACES, *["average"][: int(average)], *vectorized))
    )
    if store is not None and not isinstance(store, str | os.PathLike):
        raise _check.wrong_kind("store", store, "a path or None", "name a directory")
    if seed is None and store is not None:
        seed = Store.seed_in(store)
    seed = _check.seed(seed)
    bar = Progress(progress, int(axis.steps[-1]) * len(numbers), "simulate")
    size = len(axis.steps) * len(kept) * (24.0 if average else 16.0) * (5 if summary else len(numbers))
    size += 8.0 * len(axis.steps) * len(numbers) * len(vectorized)
    need_memory(size, "The result", 'use keep="summary", fewer times, or coordinates=')
    need_memory(40.0 * float(axis.steps[-1]), "The thresholds of all steps", "take a shorter horizon, or larger steps")
    warn_if_unstable(problem, effective, axis)
    number = int(axis.steps[-1])
    if axis.sizes is None:
        thresholds = effective.thresholds(np.arange(number + 1, dtype=np.float64) * effective.step_size)
        rates = np.array([-algorithm.step_size / algorithm.batch_size])
    else:
        thresholds = effective.accumulated(axis.sizes[:number])
        rates = np.concatenate([[0.0], -(1.0 - algorithm.momentum) * axis.sizes[:number] / algorithm.batch_size])

    job = Job(
        dynamics=Dynamics.of(problem, algorithm, dual_start, thresholds),
        step_size=None if algorithm.is_falling else algorithm.step_size,
        rates=rates,
        batch_size=algorithm.batch_size,
        seed=seed,
        steps=axis.steps,
        coordinates=kept,
        summary=summary,
        statistics=dict(statistics or {}),
        vectorized=vectorized,
        stop_at_divergence=stop,
        inside=counted,
        average=average,
        momentum=algorithm.momentum,
    )
    kept_store = None if store is None else Store(store, description(job, problem))
    collected = Collected(job, numbers, axis, problem, algorithm)
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
                raise _divergence(block, arrays["diverged"], problem, effective, collected)
    except (KeyboardInterrupt, Exception) as interrupt:  # a function of the user's may raise anything
        if not isinstance(interrupt, DivergenceError):  # it carries what it says
            done = f"the {collected.done} of {len(numbers)} replicates that were done"
            note_partial(interrupt, collected.dataset(), done)
        raise
    finally:
        parts.close()
    return collected.dataset()


def _replicate_numbers(replicates: int | ArrayLike) -> NDArray[np.int64]:
    mend = "give how many runs, or their numbers"
    if not _check.has_axes(replicates):
        number = _check.count("replicates", replicates, mend=mend)
        need_memory_for_runs(number)
        return np.arange(number)
    accepted = "a count, or different whole numbers >= 0"
    numbers = _check.integers("replicates", replicates, accepted, mend)
    if numbers.min() < 0 or len(np.unique(numbers)) < len(numbers):
        raise _check.bad("replicates", replicates, accepted, mend)
    return numbers


def _counted(
    inside: xr.Dataset, summary: bool, times: Floats, kept: NDArray[np.int64], known: tuple[str, ...]
) -> Inside:
    """The band that runs are counted in."""
    check_band("inside", inside)
    if not summary:
        raise _check.bad(
            "inside",
            "given with keep='paths'",
            "given with keep='summary'",
            "paths are counted by rs.coverage",
        )
    counted = inside_of("inside", inside, times, kept)
    if counted.variable not in known:
        raise _check.bad(
            "inside",
            f"a band of {counted.variable!r}",
            f"of what the runs have, {', '.join(map(repr, known))}",
            "use average=True" if counted.variable == "average" else f"record {counted.variable!r} with statistics=",
        )
    return counted


def _divergence(
    block: NDArray[np.int64],
    diverged: NDArray[np.int64],
    problem: Problem,
    algorithm: RDA,
    collected: Collected,
) -> DivergenceError:
    lane = int(np.flatnonzero(diverged >= 0)[0])
    step, replicate = int(diverged[lane]), int(block[lane])
    axis = collected.axis
    size = algorithm.step_size if axis.sizes is None else float(axis.sizes.max())
    at = step * algorithm.step_size if axis.clock is None else float(axis.clock[step])
    load = size * problem.trace()
    message = (
        f"Replicate {replicate} is not finite after step {step} (t = {at:g}): "
        f"step_size * trace of the Hessian is {load:.3g} with batch_size {algorithm.batch_size}; "
        "take a smaller step_size or a larger batch_size."
    )
    return DivergenceError(
        message,
        step=step,
        time=at,
        replicate=replicate,
        partial=collected.dataset(),
    )
