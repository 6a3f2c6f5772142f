"""What a law will take, and what runs of the algorithm in its place: said before it starts, where it is the dearer."""

from __future__ import annotations

import time
import warnings

import numpy as np

from rdasde._approximations.check import price_of_a_step
from rdasde._approximations.closure import expected_evaluations
from rdasde._approximations.moment_equations import joint_moments
from rdasde._approximations.paths import may_linearize, path_grid, seconds_of_a_step
from rdasde._compiled.lanes import LANES
from rdasde._engine.blocks import AtOnce
from rdasde._engine.run import MonteCarlo, Run
from rdasde._errors import CostWarning

_NOTHING = 1.0  # seconds below which nothing is said
_DEARER = 2.0  # how many times dearer than runs a law may be without a word
_RUNS = 200  # that tell about as much as a closure
_DEFECT = 16.0 / 3.0  # steps of a block of paths that the noiseless flow takes for each step
_LINEAR = 1.5e-9  # seconds for each number of a matrix and each path in a step, of three products
_CHEAP = 2e7  # products of numbers in one evaluation of the moments below which it is not worth timing
_CHEAP_PATHS = 1e9  # the same of all paths


def warn_if_dear(run: Run, monte_carlo: MonteCarlo, method: str) -> None:
    """A `CostWarning` where runs would be cheaper; called by `approximate`: it points at the line of the user."""
    if method not in ("closure", "paths") or not run.axis.times[-1] > 0.0:
        return
    seconds = _of_closure(run) if method == "closure" else _of_paths(run, monte_carlo)
    if seconds <= _NOTHING:
        return
    number = _RUNS if method == "closure" else monte_carlo.paths
    whole = -(-number // LANES) * LANES  # blocks
    runs = price_of_a_step(run, MonteCarlo(number, 0, AtOnce())) * int(run.axis.steps[-1]) * whole
    if runs > 0.0 and seconds > _DEARER * runs:
        warnings.warn(
            f"method={method!r} will take about {seconds:.2g} s of processor time here, {number} runs of the algorithm "
            f"itself about {runs:.2g} s: rs.simulate(..., replicates={number}) is the cheaper description.",
            CostWarning,
            stacklevel=3,
        )


def _of_closure(run: Run) -> float:
    """Processor seconds, from one evaluation of its right-hand side."""
    problem = run.problem
    if problem.decouples or problem.expectation_cost() < _CHEAP:
        return 0.0
    moments = joint_moments(run)
    slope = moments.rhs(0.0, moments.state)
    h = min(1.0 / max(problem.fastest_rate(), 1e-300), float(run.axis.times[-1])) / 16.0
    moments.rhs(h, moments.state + h * slope)  # compiles what was not
    begin = time.process_time()
    moments.rhs(h, moments.state + h * slope)
    return (time.process_time() - begin) * expected_evaluations(run)


def _of_paths(run: Run, monte_carlo: MonteCarlo) -> float:
    """Processor seconds, from one step of one block."""
    problem = run.problem
    steps, blocks = len(path_grid(run, monte_carlo).times) - 1, -(-monte_carlo.paths // LANES)
    if may_linearize(run, monte_carlo):
        return _of_closure(run) + _LINEAR * LANES * float(problem.dimension) ** 2 * steps * blocks
    known = np.isfinite(problem.expectation_cost())  # the functions of a user may cost anything
    if known and problem.drift_cost() * LANES * steps * (blocks + _DEFECT) < _CHEAP_PATHS:
        return 0.0
    return seconds_of_a_step(run, monte_carlo) * steps * (blocks + _DEFECT)
