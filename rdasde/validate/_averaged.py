"""Running averages over every step, exactly: an algorithm on the state (w, sum of w, two sums of gradients, n).

The sums are further coordinates of the dual, which move by what they are to add and which the mirror map leaves alone.
So `simulate` runs them as any other problem, and the first d coordinates have the very bits they have alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._compiled.jit import implements
from rdasde._engine.extended import Extended, ExtendedMirror
from rdasde._problems.base import Problem, add_gradient


class AveragedParameters(NamedTuple):
    inner: NamedTuple
    reference: Floats
    scale: float  # what makes a dual coordinate move by 1 in a step: 1 / step_size
    batch_size: float


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


class _Averaged(Extended):
    """`problem` with its sums."""

    def __init__(self, problem: Problem, algorithm: RDA, reference: Floats) -> None:
        super().__init__(problem, problem.dimension + 3)
        self.parameters: AveragedParameters = AveragedParameters(
            problem.parameters, reference, 1.0 / algorithm.step_size, float(algorithm.batch_size)
        )


def averaged(problem: Problem, algorithm: RDA, dual_start: Floats, reference: Floats) -> tuple[Problem, RDA, Floats]:
    """The three arguments of `simulate` for the same runs with their sums; see `AveragedState`."""
    mirror = ExtendedMirror(algorithm.mirror, problem.dimension)
    schedule = algorithm.schedule if algorithm.mirror.needs_schedule else None
    together = RDA(algorithm.step_size, mirror, schedule, algorithm.batch_size)
    extended = _Averaged(problem, algorithm, reference)
    return extended, together, extended.start(dual_start)
