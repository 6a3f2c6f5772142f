"""A problem, and what it says at the points where it is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rdasde._check import Floats
from rdasde._problems.base import Problem
from rdasde.testing._verdict import broken, show

ROUNDING = 1e-13  # relative to the largest number of its kind at any of the points
_LEAST = 1e-2  # the unit where everything cancels, as for Krasulina's rule in one dimension
FALSE_ALARM = 1e-4  # of all comparisons of samples in one call, were every law to hold


@dataclass(frozen=True)
class Values:
    """A problem, and what it says at the points."""

    problem: Problem
    points: Floats  # (k, d)
    seed: int
    gradients: Floats  # (k, d)
    hessians: Floats  # (k, d, d)
    noises: Floats  # (k, d, d)

    @property
    def size(self) -> float:
        """The unit of points."""
        return float(np.abs(self.points).max())

    @property
    def slope(self) -> float:
        """The unit of gradients: the largest that enters a sum, at any point."""
        return max(float(np.abs(self.gradients).max()), self.curvature * self.size)

    @property
    def curvature(self) -> float:
        """The unit of Hessians."""
        return max(float(np.abs(self.hessians).max()), _LEAST)

    @property
    def noise(self) -> float:
        """The unit of noise covariances."""
        return max(float(np.abs(self.noises).max()), _LEAST * self.size**2)

    def at(self, k: int) -> str:
        """The point in words."""
        return f"at w = {show(self.points[k])}"

    def estimates(self, name: str) -> bool:
        """Whether a piece is estimated from draws."""
        return name in getattr(self.problem, "estimated", ())


def evaluate(problem: Problem, points: Floats, seed: int) -> Values:
    d = problem.dimension
    pieces: dict[str, tuple[tuple[int, ...], list[Floats]]] = {
        "mean_gradient": ((d,), []),
        "hessian": ((d, d), []),
        "noise_covariance": ((d, d), []),
    }
    for w in points:
        for name, (shape, values) in pieces.items():
            before = w.copy()
            value = np.asarray(getattr(problem, name)(w))
            if value.shape != shape or not np.all(np.isfinite(value)):
                fault = f"shape {value.shape}" if value.shape != shape else "NaN or infinite entries"
                raise AssertionError(
                    f"{name} is to be finite and of shape {shape}, but at w = {show(w)} it has {fault}: "
                    "mend it, or pass points= where the problem is defined."
                )
            if not np.array_equal(w, before):
                moved = float(np.abs(w - before).max())
                broken(f"{name} is to leave w as it is", f"at w = {show(before)}", moved, 0.0, "work on a copy")
            values.append(value)
    return Values(problem, points, seed, *(np.array(values) for _, values in pieces.values()))


def monte_carlo_error(problem: Any, w: Floats) -> Floats:
    return np.asarray(problem.monte_carlo_error(w))


def quantile(scores: float) -> float:
    """What no one of so many normal scores exceeds, but with probability `FALSE_ALARM` / 2: two laws ask."""
    from scipy.special import ndtri

    return float(-ndtri(FALSE_ALARM / (4.0 * scores)))
