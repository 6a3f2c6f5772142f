"""The mean dynamics: the ordinary differential equation of the step size going to zero."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.course import BudgetSpent, Course
from rdasde._problems.base import Problem
from rdasde._schedule import limit_thresholds

_BUDGET = 50_000  # evaluations of the mean gradient by an adaptive method; smooth ones take some hundreds
_STEPS = 20_000  # of Euler's method, where that was not enough
_FEWER, _FINE = 2000, 100.0  # of it, where the gradient is known to jump: in all, and in a relaxation time


class Flow(NamedTuple):
    """``dv/dt = -G(prox(v, g(t)))`` with g the threshold in the limit, at some times (time, d)."""

    primal: Floats
    dual: Floats  # equals primal where the mirror map is the identity in the limit


class MeanFlow:
    """The limiting flow from a dual start up to time `end`, callable at any times in between.

    In closed form where the problem has one and the mirror map is the identity in the limit; otherwise by DOP853 with
    its dense output, by RK45 where the mean gradient has kinks, or by RK23 where it is estimated. Where that takes too
    many evaluations, as across the jumps of a gradient that is a step function, by Euler's method in many small steps,
    whose error is one of them.
    """

    def __init__(
        self, problem: Problem, algorithm: RDA, dual_start: Floats, end: float, progress: bool | None = False
    ) -> None:
        self._problem, self._mirror, self._start, self._end = problem, algorithm.mirror, dual_start, end
        self._progress = progress
        self._schedule = algorithm.schedule if self._mirror.needs_schedule else None
        self.vanishing = not np.any(limit_thresholds(self._schedule, np.linspace(0.0, end, 65)))
        self._free = self.vanishing and self._mirror.identity_at_zero

    def __call__(self, times: Floats) -> Flow:
        if self._free:
            primal = self._problem.flow(self._start, times)
            if primal is not None:
                primal[times == 0.0] = self._start  # not up to rounding
                return Flow(primal, primal)
        dual = np.asarray(self._solution(times)).T if self._end > 0.0 else np.tile(self._start, (len(times), 1))
        return Flow(self._mirror.prox(dual, self._thresholds(times)[:, None]), dual)

    def _thresholds(self, times: Floats) -> Floats:
        return np.zeros(len(times)) if self.vanishing else limit_thresholds(self._schedule, times)

    @functools.cached_property
    def _solution(self) -> Callable[[Floats], Floats]:
        from scipy.integrate import solve_ivp

        if self._problem.has_jumps:
            # in the end it slides along a jump, where an adaptive method would stop
            count = max(_FEWER, int(np.ceil(_FINE * self._end * self._problem.fastest_rate())))
            return self._in_small_steps(min(count, _STEPS))
        method, rtol, atol = "DOP853", 1e-8, 1e-10
        if self._problem.has_kinks:  # one for each row perhaps: a high order sees none of them through
            method, rtol, atol = "RK45", 1e-6, 1e-8
        if not self._problem.has_exact_gradient:  # an average over draws has kinks, too, and is off by more
            method, rtol, atol = "RK23", 1e-3, 1e-4
        try:
            with self._course(_BUDGET) as course:

                def velocity(t: float, v: Floats) -> Floats:
                    course.at(t)
                    return self._velocity(t, v)

                solution = solve_ivp(
                    velocity, (0.0, self._end), self._start, method=method, dense_output=True, rtol=rtol, atol=atol
                )
        except BudgetSpent:
            return self._in_small_steps(_STEPS)
        # some solvers report success on NaN, or stop early
        if not solution.success or solution.t[-1] != self._end or not np.all(np.isfinite(solution.y)):
            raise ArithmeticError(f"The mean flow could not be solved up to t = {self._end:g}: {solution.message}")
        return solution.sol

    def _course(self, budget: int) -> Course:
        return Course("mean flow", self._end, self._progress, budget)

    def _velocity(self, t: float, v: Floats) -> Floats:
        return -self._problem.mean_gradient(self._mirror.prox(v, self._thresholds(np.array([t]))[0]))

    def _in_small_steps(self, count: int) -> Callable[[Floats], Floats]:
        from scipy.interpolate import make_interp_spline

        times = np.linspace(0.0, self._end, count + 1)
        states = np.empty((count + 1, len(self._start)))
        states[0] = self._start
        with self._course(count) as course:
            for n, t in enumerate(times[:-1]):
                course.at(float(t))
                states[n + 1] = states[n] + (self._end / count) * self._velocity(float(t), states[n])
        if not np.all(np.isfinite(states)):
            raise ArithmeticError(f"The mean flow has no finite solution up to t = {self._end:g}.")
        spline = make_interp_spline(times, states, k=1)
        return lambda at: np.asarray(spline(at)).T
