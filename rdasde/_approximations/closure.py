"""The Gaussian closure of the dual diffusion: its mean and covariance, no Monte Carlo (theory, section 2d).

``dm/dt = -E G(W)``, ``dC/dt = -E[H D] C - C E[D H'] + gamma E Sigma(W)`` with ``V ~ N(m, C)``, ``W = prox(V, g(t))``
and ``D`` the slope of the mirror map; by Stein's lemma, exact for a Gaussian V. The shape of each marginal, where it is
not Gaussian, follows from these moments (`marginals`).

That is of first order in the step size. Of second order are the moments of the algorithm itself, one step of which is

    m_{n+1} = m_n - gamma E G,   C_{n+1} = C_n + gamma (gamma E Sigma / b - E[H D] C - C E[D H'] + gamma Cov G(W)),

with ``Cov G = E[H] Cov W E[H]'`` up to third order, exactly for a quadratic problem.

The running average of the primal is ``I(t) / t``, ``dI = W dt``. By Stein's lemma again, with ``K = Cov(I, V)``,

    dE I/dt = E W,   dK/dt = E[D] C - K E[D H'],   d Var I_j/dt = 2 K_jj E D_j,

and of the algorithm, whose average is over the states before its steps, ``I_{n+1} = I_n + gamma w_n``,

    K_{n+1} = K_n + gamma (E[D] C - K_n E[D H'] - gamma Cov(W, G)),   Var I_{n+1} likewise with ``gamma Var W`` more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.marginals import Marginals, Trace, marginal_shapes
from rdasde._approximations.moment_equations import MomentEquations, independent_moments, joint_moments
from rdasde._approximations.rkc import Step, integrate, integrate_steps, interpolate
from rdasde._check import Floats
from rdasde._engine.course import Course
from rdasde._engine.memory import keep_freed_memory, need_memory
from rdasde._engine.run import MonteCarlo, Run, Solution
from rdasde._problems.base import Problem

_ROUNDING = 1e-8  # a standard deviation that is 0 up to rounding, as a share of the way that the mean goes
_FASTEST = (
    2.2  # in units of the problem's fastest rate: covariances decay at the sum of two rates, and a tenth to spare
)
_FIRST_STEP = 1e-3  # the first time step tried, as a share of the shortest time scale
_INSIDE = 6, 2  # times within a step at which marginals are stepped: a long one, of order five, or another
_EARLY = 50.0  # evaluations while all is in motion
_LATE = 100.0  # time, in units of the fastest rate, after which little is
_ARRAYS = 20.0  # of the size of the covariance that are held at once


def check(problem: Problem, algorithm: RDA) -> None:
    """Gaussian moments of the mirror map must be known, and covariances fit in memory."""
    if not algorithm.mirror.has_moments:
        raise _check.bad(
            "method",
            f"'closure' with {algorithm.mirror!r}, which couples coordinates",
            "'closure' only with a separable regularizer",
            "use method='paths' instead",
        )
    if not problem.decouples or algorithm.is_falling:
        size = _ARRAYS * 8.0 * problem.dimension**2
        need_memory(size, "The covariances of the closure", "use method='paths', or rs.simulate")


def solve(run: Run, monte_carlo: MonteCarlo) -> Solution:
    """The moments; nothing is drawn."""
    apart = _apart(run, monte_carlo.average)
    law, cut = gaussian_closure(run, monte_carlo.average, monte_carlo.progress)
    attributes = {"equation_order": run.equation_order, "closure": "diagonal" if apart else "full"}
    return Solution(law, attributes | ({"cut_off": cut} if cut else {}))


def _apart(run: Run, average: bool) -> bool:
    """Whether coordinates are followed one by one."""
    return run.problem.decouples and run.axis.sizes is None and not average


def expected_evaluations(run: Run) -> float:
    """About how often the right-hand side is asked for."""
    fastest = _FASTEST * run.problem.fastest_rate() * float(run.axis.times[-1])
    return float(min(_EARLY + 2.0 * min(fastest, _LATE), run.axis.steps[-1] if run.equation_order == 2 else np.inf))


def moment_steps(run: Run, moments: MomentEquations, progress: bool | None = False) -> Iterator[Step]:
    """Steps of the equations up to the last time; after each, the last evaluation is the one at its end.

    They are counted in time, or in the number of steps of the algorithm where the step size falls (at second order).
    """
    end, step_size = float(run.axis.times[-1]), run.algorithm.step_size
    if end <= 0.0:
        return
    keep_freed_memory()
    rate = _FASTEST * run.problem.fastest_rate() + 1e-12  # positive where nothing moves
    if run.equation_order == 2:
        count = int(run.axis.steps[-1])
        lag, rate = (step_size, rate) if run.axis.sizes is None else (1.0, rate * step_size)
        end = count * lag
    with Course("closure", end, progress) as course:

        def rhs(at: float, state: Floats) -> Floats:
            course.at(at)
            return moments.rhs(at, state)

        if run.equation_order == 2:
            yield from integrate_steps(rhs, moments.state, count, lag, rate=rate, error=moments.error)
        else:
            first_step = _FIRST_STEP * min(end, 1.0 / rate)
            yield from integrate(rhs, moments.state, end, rate=rate, first_step=first_step, error=moments.error)


def gaussian_closure(run: Run, average: bool = False, progress: bool | None = False) -> tuple[dict[str, Floats], int]:
    """Means, standard deviations and P(w_j = 0) of dual and primal, each (time, d); dual quantiles (score, time, d).

    And how many marginals reach the edge of the longest grid that they are computed on. With `average` also mean and
    standard deviation of the running average of the primal.
    """
    problem, algorithm, _, axis = run[:4]
    mirror, second = algorithm.mirror, run.equation_order == 2
    clock = axis.clock if second else None  # then steps are counted
    wanted: Floats = axis.times if clock is None else axis.steps.astype(np.float64)
    moments = independent_moments(run) if _apart(run, average) else joint_moments(run, average)
    kept = np.full((len(moments.pick(moments.state)), len(wanted), problem.dimension), np.nan)
    kept[:, 0] = moments.pick(moments.state)
    # times are multiples of the step size, up to rounding
    slack = 0.25 * (algorithm.step_size if clock is None else 1.0) if second else 0.0
    least = (_ROUNDING * moments.way) ** 2  # of a variance; below it is 0
    moments.rhs(0.0, moments.state)
    traced = [moments.trace(moments.state)]
    nodes, states = [np.zeros(1)], [moments.pick(moments.state)[:, None]]
    ends = [0.0]
    for step in moment_steps(run, moments, progress):
        at = np.flatnonzero((wanted > step.t0 + slack) & (wanted <= step.t1 + slack))
        inside = _times_within(step)
        values = np.moveaxis(interpolate(step, np.concatenate([wanted[at], inside]), moments.pick), 1, 0)
        kept[:, at] = values[:, : len(at)]
        nodes.append(inside)
        states.append(values[:, len(at) :])
        # the last evaluation of an accepted step is the one at its end
        traced.append(moments.trace(step.end))
        ends.append(step.t1)
    places, (means, variances) = np.concatenate(nodes), np.concatenate(states, axis=1)[:2]
    pull, noise = np.moveaxis(between(places, np.array(ends), np.array(traced)), 1, 0)
    times = places if clock is None else np.interp(places, np.arange(len(clock)), clock)
    variances, kept[1] = (np.where(values > least, values, 0.0) for values in (variances, kept[1]))
    std = np.sqrt(variances)
    slope = mirror.gaussian_moments(means, std, algorithm.thresholds(times)[:, None]).slope
    trace = Trace(times, means, variances, slope, pull, noise)
    marginals = Marginals(axis.times, *kept[:2])
    law, cut = marginal_shapes(mirror, trace, marginals, algorithm.thresholds, run.coordinates)
    if average:
        over = axis.times if axis.sizes is None else axis.steps
        integral, spread = kept[2:][:, :, run.coordinates]
        law |= _averages(integral, spread, over, law["primal_mean"])
    return law, cut


def _averages(integral: Floats, variance: Floats, over: NDArray[Any], primal: Floats) -> dict[str, Floats]:
    """Of the running average `over` time or steps: that of the primal so far, and at first the primal itself."""
    later = (over > 0.0)[:, None]
    total = np.where(later, over[:, None], 1.0)
    return {
        "average_mean": np.where(later, integral / total, primal),
        "average_std": np.where(later, np.sqrt(np.maximum(variance, 0.0)) / total, 0.0),
    }


def _times_within(step: Step) -> Floats:
    number = _INSIDE[0] if step.slopes is not None else _INSIDE[1]
    return np.asarray(np.linspace(step.t0, step.t1, number + 1)[1:])


def between(times: Floats, at: Floats, values: Floats) -> Floats:
    """Monotone interpolation in time of `values` (at, ...)."""
    from scipy.interpolate import pchip_interpolate

    if len(at) < 2:
        return values
    with np.errstate(over="ignore"):  # a slope of 1e-310 is 0: its reciprocal is taken, and that of this
        return np.asarray(pchip_interpolate(at, values, times))
