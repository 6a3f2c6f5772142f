"""What moves: a problem, a mirror map and a start, in the form that compiled loops and other processes take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._compiled.scratch import Layout
from rdasde._problems.base import Problem


@dataclass(frozen=True)
class Dynamics:
    """Shared by the jobs of all loops.

    Attributes
    ----------
    problem, mirror : NamedTuple
        What compiled code sees of the problem, or of the problem along a path, and of the mirror map.
    make_streams : callable
        ``(seed, replicates, purpose)`` to what a block draws from.
    scratch : Layout
    thresholds : ndarray
        Of the mirror map, at the times that the loop needs.
    dual_start, primal_start : ndarray of shape (d,)
    """

    problem: NamedTuple
    make_streams: Callable[..., Any]
    scratch: Layout
    mirror: NamedTuple
    thresholds: Floats
    dual_start: Floats
    primal_start: Floats

    @staticmethod
    def of(problem: Problem, algorithm: RDA, dual_start: Floats, thresholds: Floats) -> Dynamics:
        """The primal starts at the image of the dual under the first threshold."""
        return Dynamics(
            problem.parameters,
            problem.make_streams,
            problem.scratch,
            algorithm.mirror.parameters,
            thresholds,
            dual_start,
            algorithm.mirror.prox(dual_start, thresholds[0]),
        )

    @staticmethod
    def along(problem: Problem, algorithm: RDA, points: Floats) -> Dynamics:
        """Of what moves around a path (time, d), from 0, without a threshold."""
        zero = 0.0 * points[0]
        parameters = problem.along(points)
        thresholds = 0.0 * points[:1, 0]
        return Dynamics(
            parameters, problem.make_streams, problem.scratch, algorithm.mirror.parameters, thresholds, zero, zero
        )
