"""A state with more coordinates beside it, which the mirror map leaves alone: to the loops, one more problem.

The further coordinates move by what their problem adds to the gradient. So they ride along in `simulate` and in paths
of the diffusion, and the first coordinates have the very bits that they have alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde._check import Floats
from rdasde._compiled.jit import implements
from rdasde._problems.base import Problem
from rdasde._regularizers.base import Regularizer, mirror


class ExtendedMirrorParameters(NamedTuple):
    inner: NamedTuple
    dimension: int  # of the state that is mapped


@implements(mirror, ExtendedMirrorParameters)
def _(regularizer, v, threshold, w):
    d = regularizer.dimension
    mirror(regularizer.inner, v[:d], threshold, w[:d])
    w[d:] = v[d:]


class ExtendedMirror(Regularizer):
    """A mirror map on the first `dimension` coordinates, the identity on the others."""

    separable = False
    has_moments = False

    def __init__(self, inner: Regularizer, dimension: int) -> None:
        self.inner, self.dimension = inner, dimension
        self.needs_schedule = inner.needs_schedule
        self.parameters: ExtendedMirrorParameters = ExtendedMirrorParameters(inner.parameters, dimension)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        v = np.asarray(v, dtype=np.float64)
        head, tail = v[..., : self.dimension], v[..., self.dimension :]
        return np.concatenate([self.inner.prox(head, threshold), tail], axis=-1)

    def to_json(self) -> str:
        return self.inner.to_json()


class Extended(Problem):
    """`inner` with `extra` coordinates beside it; what loops do not ask of a problem is refused."""

    minimizer = None

    def __init__(self, inner: Problem, extra: int) -> None:
        self.inner, self.extra = inner, extra
        self.dimension = inner.dimension + extra
        self.scratch = inner.scratch
        self.make_streams = inner.make_streams  # type: ignore[method-assign]

    def start(self, dual_start: Floats) -> Floats:
        """The dual start of `inner`, and zeros."""
        return np.concatenate([dual_start, np.zeros(self.extra)])

    def default_start(self) -> Floats:
        return self.start(self.inner.default_start())

    def instability(self, step_size: float, batch_size: int) -> str | None:
        return self.inner.instability(step_size, batch_size)

    def fastest_rate(self) -> float:
        return self.inner.fastest_rate()

    def typical_rate(self) -> float:
        return self.inner.typical_rate()

    def trace(self) -> float:
        return self.inner.trace()

    def mean_gradient(self, w: ArrayLike) -> Floats:
        return self._refused()

    def hessian(self, w: ArrayLike) -> Floats:
        return self._refused()

    def noise_covariance(self, w: ArrayLike) -> Floats:
        return self._refused()

    def noise_factor(self, w: Floats) -> Floats:
        return self._refused()

    def _refused(self) -> Any:
        raise TypeError(f"{self!r} is run by the loops only.")

    def __repr__(self) -> str:
        return f"{self.inner!r} and {self.extra} coordinates beside it"
