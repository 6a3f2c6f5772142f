"""How fast a problem relaxes, read off its Hessian where runs start and where they end."""

from __future__ import annotations

import functools

import numpy as np

from rdasde._check import Floats
from rdasde._problems.base import Problem


class HessianRates(Problem):
    """A problem that starts at 0 and whose Hessian there, or at the minimizer, is the largest along a run."""

    def default_start(self) -> Floats:
        return np.zeros(self.dimension)

    def smoothed_hessian(self, w: Floats) -> Floats:
        """The Hessian at w, or what stands for it where it says nothing of how fast the mean gradient moves."""
        return self.hessian(w)

    @functools.cached_property
    def _typical(self) -> Floats:
        """The Hessian at the start or the minimizer, whichever has the larger trace."""
        places = [w for w in (self.default_start(), self.minimizer) if w is not None]
        return max((self.smoothed_hessian(w) for w in places), key=np.trace)

    @functools.cached_property
    def _fastest(self) -> float:
        return max(float(np.linalg.eigvalsh(self._typical)[-1]), 0.0)

    def fastest_rate(self) -> float:
        return self._fastest

    def typical_rate(self) -> float:
        return float(np.linalg.norm(self._typical, axis=1).max())

    def trace(self) -> float:
        return float(np.trace(self._typical))
