"""The Gaussian closure of the dual diffusion: its mean and covariance, no Monte Carlo (theory, section 2d).

``dm/dt = -E G(W)``, ``dC/dt = -E[H D] C - C E[D H'] + gamma E Sigma(W)`` with ``V ~ N(m, C)``, ``W = prox(V, g(t))``
and ``D`` the slope of the mirror map; by Stein's lemma, exact for a Gaussian V. The shape of each marginal, where it is
not Gaussian, follows from these moments (`marginals`).

That is of first order in the step size. Of second order are the moments of the algorithm itself, one step of which is

    m_{n+1} = m_n - gamma E G,   C_{n+1} = C_n + gamma (gamma E Sigma / b - E[H D] C - C E[D H'] + gamma Cov G(W)),

with ``Cov G = E[H] Cov W E[H]'`` up to third order, exactly for a quadratic problem.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._approximations.marginals import Marginals, Trace, marginal_shapes
from rdasde._approximations.moment_equations import MomentEquations, independent_moments, joint_moments
from rdasde._approximations.rkc import Step, integrate, integrate_steps, interpolate
from rdasde._check import Floats
from rdasde._engine.blocks import need_memory
from rdasde._engine.run import MonteCarlo, Run, Solution
from rdasde._problems.base import Problem

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
    if not problem.decouples:
        size = _ARRAYS * 8.0 * problem.dimension**2
        need_memory(size, "The covariances of the closure", "use method='paths', or rs.simulate")


def solve(run: Run, monte_carlo: MonteCarlo) -> Solution:
    """The moments; nothing is drawn."""
    attributes = {"equation_order": run.equation_order, "closure": "diagonal" if run.problem.decouples else "full"}
    law, cut = gaussian_closure(run)
    return Solution(law, attributes | ({"cut_off": cut} if cut else {}))


def expected_evaluations(run: Run) -> float:
    """About how often the right-hand side is asked for."""
    fastest = _FASTEST * run.problem.fastest_rate() * float(run.axis.times[-1])
    return float(min(_EARLY + 2.0 * min(fastest, _LATE), run.axis.steps[-1] if run.equation_order == 2 else np.inf))


def moment_steps(run: Run, moments: MomentEquations) -> Iterator[Step]:
    """Steps of the equations up to the last time; after each, the last evaluation is the one at its end."""
    end, step_size = float(run.axis.times[-1]), run.algorithm.step_size
    if end <= 0.0:
        return iter(())
    rate = _FASTEST * run.problem.fastest_rate() + 1e-12  # positive where nothing moves
    if run.equation_order == 2:
        count = int(run.axis.steps[-1])
        return integrate_steps(moments.rhs, moments.state, count, step_size, rate=rate, error=moments.error)
    first_step = _FIRST_STEP * min(end, 1.0 / rate)
    return integrate(moments.rhs, moments.state, end, rate=rate, first_step=first_step, error=moments.error)


def gaussian_closure(run: Run) -> tuple[dict[str, Floats], int]:
    """Means, standard deviations and P(w_j = 0) of dual and primal, each (time, d); dual quantiles (score, time, d).

    And how many marginals reach the edge of the longest grid that they are computed on.
    """
    problem, algorithm, _, axis = run[:4]
    mirror, step_size = algorithm.mirror, algorithm.step_size
    second = run.equation_order == 2
    moments = independent_moments(run) if problem.decouples else joint_moments(run)
    mean, variance = np.full((2, len(axis.times), problem.dimension), np.nan)
    mean[0], variance[0] = moments.pick(moments.state)
    slack = 0.25 * step_size if second else 0.0  # where times are multiples of the step size, up to rounding
    moments.rhs(0.0, moments.state)
    traced = [moments.trace(moments.state)]
    nodes, states = [np.zeros(1)], [moments.pick(moments.state)[:, None]]
    ends = [0.0]
    for step in moment_steps(run, moments):
        at = np.flatnonzero((axis.times > step.t0 + slack) & (axis.times <= step.t1 + slack))
        inside = _times_within(step)
        values = np.moveaxis(interpolate(step, np.concatenate([axis.times[at], inside]), moments.pick), 1, 0)
        mean[at], variance[at] = values[:, : len(at)]
        nodes.append(inside)
        states.append(values[:, len(at) :])
        # the last evaluation of an accepted step is the one at its end
        traced.append(moments.trace(step.end))
        ends.append(step.t1)
    times, (means, variances) = np.concatenate(nodes), np.concatenate(states, axis=1)
    pull, noise = np.moveaxis(between(times, np.array(ends), np.array(traced)), 1, 0)
    std = np.sqrt(np.maximum(variances, 0.0))
    slope = mirror.gaussian_moments(means, std, algorithm.thresholds(times)[:, None]).slope
    trace = Trace(times, means, variances, slope, pull, noise)
    return marginal_shapes(mirror, trace, Marginals(axis.times, mean, variance), algorithm.thresholds, run.coordinates)


def _times_within(step: Step) -> Floats:
    number = _INSIDE[0] if step.slopes is not None else _INSIDE[1]
    return np.asarray(np.linspace(step.t0, step.t1, number + 1)[1:])


def between(times: Floats, at: Floats, values: Floats) -> Floats:
    """Monotone interpolation in time of `values` (at, ...)."""
    from scipy.interpolate import pchip_interpolate

    return np.asarray(pchip_interpolate(at, values, times)) if len(at) > 1 else values
