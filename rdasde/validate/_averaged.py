"""Running averages over every step, exactly: an algorithm on the state (w, sum of w, two sums of gradients, n).

The sums are further coordinates of the dual, which move by what they are to add and which the mirror map leaves alone.
So `simulate` runs them as any other problem, and the first d coordinates have the very bits they have alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._compiled.jit import implements
from rdasde._problems.base import Problem, add_gradient
from rdasde._regularizers.base import Regularizer, mirror


class AveragedParameters(NamedTuple):
    inner: NamedTuple
    reference: Floats
    scale: float  # what makes a dual coordinate move by 1 in a step: 1 / step_size
    batch_size: float


class AveragedMirrorParameters(NamedTuple):
    inner: NamedTuple


@implements(add_gradient, AveragedParameters)
def _(problem, w, streams, scratch, out):
    # the dual moves by -step_size / batch_size times what a batch of gradients adds up to
    d = problem.reference.size
    sums, squares, regret, number = out[d : 2 * d], out[2 * d], out[2 * d + 1], out[2 * d + 2]
    for lane in range(w.shape[1]):
        number[lane] -= problem.scale
        before, along = 0.0, 0.0
        for j in range(d):
            before += out[j, lane] * out[j, lane]
            along += out[j, lane] * (w[j, lane] - problem.reference[j])
            sums[j, lane] -= problem.scale * w[j, lane]
        squares[lane] += problem.scale * before / problem.batch_size
        regret[lane] += problem.scale * along
    add_gradient(problem.inner, w[:d], streams, scratch, out[:d])
    for lane in range(w.shape[1]):
        after, along = 0.0, 0.0
        for j in range(d):
            after += out[j, lane] * out[j, lane]
            along += out[j, lane] * (w[j, lane] - problem.reference[j])
        # over a batch the differences add up to |sum of its gradients|^2
        squares[lane] -= problem.scale * after / problem.batch_size
        regret[lane] -= problem.scale * along


@implements(mirror, AveragedMirrorParameters)
def _(regularizer, v, threshold, w):
    d = (v.shape[0] - 3) // 2
    mirror(regularizer.inner, v[:d], threshold, w[:d])
    w[d:] = v[d:]


class AveragedState(NamedTuple):
    """States (..., 2 d + 3) of the averaged algorithm, taken apart; averages are over w_0, ..., w_{n - 1}."""

    iterate: Floats  # w_n
    average: Floats  # of the iterates; w_0 itself for n = 0
    squared_gradient: Floats  # of |gradient|^2, a mini-batch's mean gradient; 0 for n = 0
    regret: Floats  # of gradient'(w - reference), likewise

    @classmethod
    def of(cls, state: Floats) -> AveragedState:
        d = (state.shape[-1] - 3) // 2
        number = state[..., -1:]
        safe = np.where(number == 0.0, 1.0, number)
        average = np.where(number == 0.0, state[..., :d], state[..., d : 2 * d] / safe)
        return cls(state[..., :d], average, state[..., 2 * d] / safe[..., 0], state[..., 2 * d + 1] / safe[..., 0])


class _AveragedMirror(Regularizer):
    def __init__(self, inner: Regularizer, dimension: int) -> None:
        self.inner, self.dimension = inner, dimension
        self.needs_schedule = inner.needs_schedule
        self.parameters: AveragedMirrorParameters = AveragedMirrorParameters(inner.parameters)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        v = np.asarray(v, dtype=np.float64)
        head, tail = v[..., : self.dimension], v[..., self.dimension :]
        return np.concatenate([self.inner.prox(head, threshold), tail], axis=-1)

    def to_json(self) -> str:
        return self.inner.to_json()


class _AveragedProblem(Problem):
    """`problem` with its sums; only what `simulate` asks of it."""

    minimizer = None

    def __init__(self, problem: Problem, algorithm: RDA, reference: Floats) -> None:
        self.inner = problem
        self.dimension = 2 * problem.dimension + 3
        self.parameters: AveragedParameters = AveragedParameters(
            problem.parameters, reference, 1.0 / algorithm.step_size, float(algorithm.batch_size)
        )
        self.scratch_rows = problem.scratch_rows
        self.make_streams = problem.make_streams  # type: ignore[method-assign]

    def instability(self, step_size: float, batch_size: int) -> str | None:
        return self.inner.instability(step_size, batch_size)

    def trace(self) -> float:
        return self.inner.trace()

    def default_start(self) -> Floats:
        return np.concatenate([self.inner.default_start(), np.zeros(self.inner.dimension + 3)])

    def _nothing(self, *_: Any) -> Any:
        raise NotImplementedError("Only `simulate` runs an averaged problem.")

    mean_gradient = hessian = noise_covariance = fastest_rate = noise_factor = _nothing  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"averages of {self.inner!r}"


def averaged(problem: Problem, algorithm: RDA, dual_start: Floats, reference: Floats) -> tuple[Problem, RDA, Floats]:
    """The three arguments of `simulate` for the same runs with their sums; see `AveragedState`."""
    d = problem.dimension
    mirror_map = _AveragedMirror(algorithm.mirror, d)
    schedule = algorithm.schedule if algorithm.mirror.needs_schedule else None
    together = RDA(algorithm.step_size, mirror_map, schedule, algorithm.batch_size)
    return _AveragedProblem(problem, algorithm, reference), together, np.concatenate([dual_start, np.zeros(d + 3)])
