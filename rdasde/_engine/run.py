"""What every approximation is handed: a run, and how its Monte Carlo is done; and what it hands back."""

from __future__ import annotations

import concurrent.futures
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.time_axis import TimeAxis
from rdasde._problems.base import Problem

TOLERANCE = 1e-2  # bias of the time steps of paths, in standard deviations of each coordinate


class Run(NamedTuple):
    """An algorithm on a problem, from a dual start, looked at at some times."""

    problem: Problem
    algorithm: RDA
    dual_start: Floats
    axis: TimeAxis
    equation_order: int = 1  # of the diffusion in the step size
    kept: NDArray[np.int64] | None = None  # which coordinates, None for all

    @property
    def coordinates(self) -> NDArray[np.int64]:
        """Those that a result holds."""
        return np.arange(self.problem.dimension) if self.kept is None else self.kept


class MonteCarlo(NamedTuple):
    """How many paths, which ones, where they are computed, how finely, and what is kept of them."""

    paths: int
    seed: int
    executor: concurrent.futures.Executor | None = None  # threads on all cores
    progress: bool | None = False  # whether to show a bar, None for where somebody would see it
    tolerance: float = TOLERANCE
    noise: Literal["gaussian", "gradients"] = "gaussian"  # of paths
    drift: Literal["auto", "exact", "linearized"] = "exact"  # of paths
    average: bool = False  # whether running averages of the primal are wanted, too


class Solution(NamedTuple):
    """What an approximation found.

    Either paths, ``dual`` and ``primal`` (path, time, d), or moments: ``dual_mean``, ``dual_std``, ``primal_mean``,
    ``primal_std``, ``probability_zero`` (time, d), and ``dual_quantile`` (score, time, d) where it is known. If wanted,
    also ``average`` (path, time, d), or ``average_mean`` and ``average_std``.
    """

    values: dict[str, Floats]
    attributes: dict[str, Any]  # what the result says beside that
