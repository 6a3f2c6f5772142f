"""An explicit integrator with error control: of order five where accuracy asks for short steps, stabilized elsewhere.

Where steps are shorter than the fastest rate lets them be, those of Dormand & Prince; where they could be longer,
Runge-Kutta-Chebyshev of order two (Sommeijer, Shampine & Verwer, "RKC: an explicit solver for parabolic PDEs", J.
Comput. Appl. Math. 88, 1998): with s stages its stability interval is about 0.65 s^2 long, and the rates of the moment
equations of a dual diffusion are real and spread over two orders of magnitude.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from rdasde._approximations import dormand_prince as pair
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel

# constants of Sommeijer, Shampine & Verwer 1998
_DAMPING = 2.0 / 13.0  # of the Chebyshev polynomials: their argument at 0 is 1 + damping / s^2
_STAGES = 1.54  # s = 1 + sqrt(1 + 1.54 h rate): about 1 / 0.65, so that h rate is within the stability interval
_OF_VALUES, _OF_SLOPES = 0.8, 0.4  # estimate of the local error: 0.8 (y_n - y_{n+1}) + 0.4 h (f_n + f_{n+1})
_SAFETY = 0.8  # of the next step, against the one whose error would be just tolerated
# our own
_FIRST_EXACT = 8  # steps of a recursion taken as they are, where the threshold rises like a power of t
_SHRINK, _GROW = 0.1, 5.0  # bounds of the ratio of two steps
_NOT_FINITE = 1e3  # what counts as the error of a step that left the numbers
_SHORTEST = 1e-13  # of the whole time: steps below it have stalled
_ROOM = 2.0  # how much longer steps of the pair could be, were they stable, where the other method is tried
_WORTH = 20.0  # time left, in units of the fastest rate, from which on that is worth it
_MARGIN = 1.2  # of the fastest rate over what is seen of it
_SLOWEST, _FALL = 0.2, 0.6  # bounds of it: as a share of the largest, and from step to step
_PATIENCE = 4  # steps of the pair until it is tried again, twice as many each time

Rhs = Callable[[float, Floats], Floats]
Error = Callable[[Floats, Floats, Floats], float]  # of a difference, between two states


class Step(NamedTuple):
    """One accepted step, with what interpolation needs.

    The state is ``y - (lag / 2) f``: y itself for a differential equation.
    """

    t0: float
    t1: float
    y0: Floats
    y1: Floats
    f0: Floats
    f1: Floats
    lag: float = 0.0
    slopes: Floats | None = None  # of the pair, (7, ...)

    @property
    def end(self) -> Floats:
        """The state at t1."""
        return self.y1 - 0.5 * self.lag * self.f1 if self.lag else self.y1


class _Coefficients(NamedTuple):
    first: float
    mu: Floats
    nu: Floats
    mu_tilde: Floats
    gamma_tilde: Floats
    nodes: Floats


@functools.cache
def _coefficients(stages: int) -> _Coefficients:
    w0 = 1.0 + _DAMPING / stages**2
    value, slope, bend = np.zeros(stages + 1), np.zeros(stages + 1), np.zeros(stages + 1)
    value[0], value[1], slope[1] = 1.0, w0, 1.0
    for j in range(2, stages + 1):  # Chebyshev polynomials and their derivatives at w0
        value[j] = 2.0 * w0 * value[j - 1] - value[j - 2]
        slope[j] = 2.0 * value[j - 1] + 2.0 * w0 * slope[j - 1] - slope[j - 2]
        bend[j] = 4.0 * slope[j - 1] + 2.0 * w0 * bend[j - 1] - bend[j - 2]
    w1 = slope[stages] / bend[stages]
    b = np.empty(stages + 1)
    b[2:] = bend[2:] / slope[2:] ** 2
    b[0] = b[1] = b[2]
    a = 1.0 - b * value
    nodes = np.empty(stages + 1)
    nodes[2:] = w1 * bend[2:] / slope[2:]
    nodes[0], nodes[1] = 0.0, nodes[2] / slope[2]
    mu, nu, mu_tilde, gamma_tilde = (np.zeros(stages + 1) for _ in range(4))
    mu[2:] = 2.0 * b[2:] * w0 / b[1:-1]
    nu[2:] = -b[2:] / b[:-2]
    mu_tilde[2:] = 2.0 * b[2:] * w1 / b[1:-1]
    gamma_tilde[2:] = -a[1:-1] * mu_tilde[2:]
    return _Coefficients(b[1] * w1, mu, nu, mu_tilde, gamma_tilde, nodes)


@Kernel
def _combine(weights: tuple[float, ...], a: Floats, b: Floats, c: Floats, d: Floats, e: Floats, out: Floats) -> None:
    """A weighted sum of five arrays (n,) in one pass through memory."""
    first, second, third, fourth, fifth = weights
    for i in range(out.size):
        out[i] = first * a[i] + second * b[i] + third * c[i] + fourth * d[i] + fifth * e[i]


def _one_step(rhs: Rhs, t: float, h: float, y0: Floats, f0: Floats, stages: int) -> Floats:
    k = _coefficients(stages)
    before, now = y0, y0 + (k.first * h) * f0
    for j in range(2, stages + 1):
        f = rhs(t + k.nodes[j - 1] * h, now)
        after = np.empty_like(y0)
        weights = (1.0 - k.mu[j] - k.nu[j], k.mu[j], k.nu[j], k.mu_tilde[j] * h, k.gamma_tilde[j] * h)
        _combine(weights, y0.ravel(), now.ravel(), before.ravel(), f.ravel(), f0.ravel(), after.ravel())
        before, now = now, after
    return now


class _Trial(NamedTuple):
    """A step that may be accepted."""

    ahead: Floats
    f_ahead: Floats
    estimate: Floats  # of the local error
    slopes: Floats | None
    twice: tuple[Floats, Floats] | None  # differences of two states at one time, and of their slopes


class _Choice:
    """Which of the two methods takes the next step, and how long one of the pair can be.

    That is up to the fastest rate, of which the largest is known beforehand. What it is by now is told by the last two
    states of the pair, which are of one time: what sets them apart is what is fast (Hairer & Wanner, "Solving ordinary
    differential equations II", 1996, section IV.2). Where that is too slow, the error of the next step shows it.
    """

    def __init__(self, rate: float, stabilized: bool) -> None:
        self.rate, self.stabilized = rate, stabilized
        self._now, self._taken, self._patience = rate, 0, _PATIENCE

    def stages(self, h: float) -> int:
        """How often a step of length h asks for the right-hand side."""
        return max(2, 1 + int(np.sqrt(1.0 + _STAGES * h * self.rate))) if self.stabilized else pair.EVALUATIONS

    @property
    def longest(self) -> float:
        """The longest stable step."""
        return np.inf if self.stabilized else pair.STABLE / self._now

    def look(self, twice: tuple[Floats, Floats] | None, size: Callable[[Floats], float], failed: bool) -> None:
        """At a step of the pair."""
        if twice is None:
            return
        moved, slopes = (size(difference) for difference in twice)
        seen = _MARGIN * slopes / moved if moved > 0.0 and np.isfinite(slopes) else self.rate
        # a rate does not fall faster than it is seen to, and what failed was too long
        least = max(_SLOWEST * self.rate, self._now if failed else _FALL * self._now)
        self._now = min(self.rate, max(seen, least))

    def factor(self, size: float) -> float:
        """Of the next step, after one whose error was `size` times what is tolerated."""
        power = -1.0 / 3.0 if self.stabilized else -1.0 / 5.0
        return float(min(_GROW, max(_SHRINK, _SAFETY * (size + 1e-12) ** power)))

    def reconsider(self, h: float, left: float) -> None:
        """After a step; `h` is what the next one could be, `left` the time to go."""
        if self.stabilized:
            if self.stages(h) / h > pair.EVALUATIONS / (pair.STABLE / self._now):
                self.stabilized, self._taken = False, 0
                self._patience *= 2
            return
        self._taken += 1
        worth = h > _ROOM * self.longest and left * self.rate > _WORTH
        self.stabilized = worth and self._taken >= self._patience


def _size(error: Error, before: Floats, after: Floats, difference: Floats) -> float:
    return error(difference, before, after)


def integrate(rhs: Rhs, y: Floats, end: float, *, rate: float, first_step: float, error: Error) -> Iterator[Step]:
    """Steps of ``dy/dt = rhs(t, y)`` from 0 to `end`.

    `rate` bounds the modulus of the eigenvalues of the Jacobian (real, negative); ``error(difference, y0, y1)`` is the
    norm of an error estimate in units of what is tolerated.
    """
    t, h = 0.0, min(first_step, end)
    f = rhs(t, y)
    choice = _Choice(rate, stabilized=False)
    while t < end:
        h = min(h, choice.longest)
        if t + h * (1.0 + 1e-9) >= end:
            h = end - t
        trial = _trial(rhs, choice, t, h, y, f, _NoLag())
        size = error(trial.estimate, y, trial.ahead)
        if not np.isfinite(size):
            size = _NOT_FINITE
        taken = h
        h *= choice.factor(size)
        choice.look(trial.twice, partial(_size, error, y, trial.ahead), size > 1.0)
        if size <= 1.0:
            after = end if taken == end - t else t + taken
            yield Step(t, after, y, trial.ahead, f, trial.f_ahead, 0.0, trial.slopes)
            t, y, f = after, trial.ahead, trial.f_ahead
        choice.reconsider(h, end - t)
        if h < _SHORTEST * end:
            raise ArithmeticError(
                f"The moment equations could not be solved past t = {t:g}: the step became too small."
            )


def _trial(rhs: Rhs, choice: _Choice, t: float, h: float, y: Floats, f: Floats, behind: _Lag) -> _Trial:
    """A step of length h."""
    if choice.stabilized:

        def slope(at: float, now: Floats) -> Floats:
            return rhs(at, now - behind.early(at - t))

        ahead = _one_step(slope, t, h, y, f, choice.stages(h))
        f_ahead = slope(t + h, ahead)
        return _Trial(ahead, f_ahead, _OF_VALUES * (y - ahead) + _OF_SLOPES * h * (f + f_ahead), None, None)
    step = pair.one_step(rhs, t, h, y, f, behind)
    return _Trial(step.ahead, step.slopes[-1], step.estimate, step.slopes, step.twice)


class _Lag:
    """``(lag / 2) f`` at times of a step, before f is known there."""

    def __init__(self, lag: float, f: Floats, bend: Floats, before: float) -> None:
        self.lag, self.f, self.bend, self.before = lag, f, bend, before

    def early(self, passed: float) -> Floats:
        """From how f changed in the step before."""
        return 0.5 * self.lag * (self.f + min(passed, self.before) * self.bend)

    def weights(self, i: int) -> Floats | None:
        """Of the slopes at earlier nodes of the pair, from which f at node i is extrapolated."""
        return 0.5 * self.lag * _EXTRAPOLATION[i] if i > 1 else None


class _NoLag(_Lag):
    """Of a differential equation."""

    def __init__(self) -> None:
        super().__init__(0.0, np.zeros(1), np.zeros(1), 0.0)

    def weights(self, i: int) -> Floats | None:
        return np.zeros(i)


def _extrapolated(i: int) -> Floats:
    """Weights of the slopes before node i: of the last one where it is at the same time, else of the first, too."""
    weights = np.zeros(i)
    if pair.NODES[i] == pair.NODES[i - 1]:
        weights[i - 1] = 1.0
        return weights
    places = sorted({0, max(i - 2, 0), i - 1})
    for place in places:
        others = [pair.NODES[j] for j in places if j != place]
        weights[place] = np.prod([(pair.NODES[i] - c) / (pair.NODES[place] - c) for c in others])
    return weights


_EXTRAPOLATION = [_extrapolated(i) if i else np.zeros(0) for i in range(len(pair.NODES))]


def integrate_steps(
    rhs: Rhs,
    state: Floats,
    count: int,
    lag: float,
    *,
    rate: float,
    error: Error,
) -> Iterator[Step]:
    """``x_{n+1} = x_n + lag rhs(t_n, x_n)``, ``t_n = n lag``, n up to `count`, in fewer steps where x moves slowly.

    By the formula of Euler & Maclaurin, a sum of ``lag f`` over n is the integral of f less half of what ``lag f``
    changes by, up to third order in the lag. So ``y = x + (lag / 2) f`` solves ``dy/dt = rhs(t, x)``, which the steps
    of `integrate` are for; within one of them, f in ``x = y - (lag / 2) f`` is extrapolated.
    The first steps, where the threshold is steep, and those that are cheaper so, are taken as they are.
    """
    n, wanted, exact = 0, _FIRST_EXACT, _FIRST_EXACT
    f = rhs(0.0, state)
    bend, before = np.zeros_like(state), 0.0  # the slope of f over the last step, and how long that was
    choice = _Choice(rate, stabilized=pair.EVALUATIONS * rate * lag >= pair.STABLE)
    while n < count:
        t = n * lag
        k = int(min(wanted, count - n, max(1.0, choice.longest / lag)))
        h = k * lag
        if not exact and k <= choice.stages(h):
            exact, wanted = k, 2 * k
        if exact:
            state_ahead = state + lag * f
            f_ahead = rhs(t + lag, state_ahead)
            if not np.all(np.isfinite(f_ahead)):
                raise ArithmeticError(
                    f"The moments of the algorithm have no finite value past t = {t:g}: take a smaller step_size or a "
                    "larger batch_size, or rs.simulate(..., on_divergence='keep') in their place."
                )
            yield Step(t, t + lag, state + 0.5 * lag * f, state_ahead + 0.5 * lag * f_ahead, f, f_ahead, lag)
            bend, before = (f_ahead - f) / lag, lag
            state, f = state_ahead, f_ahead
            n, exact = n + 1, exact - 1
            continue

        behind = _Lag(lag, f, bend, before)
        y = state + 0.5 * lag * f
        trial = _trial(rhs, choice, t, h, y, f, behind)
        f_ahead = trial.f_ahead
        state_ahead = trial.ahead - 0.5 * lag * f_ahead
        # by how much f at the end was guessed wrong
        gap = behind.early(h) - 0.5 * lag * f_ahead if trial.twice is None else 0.5 * lag * trial.twice[1]
        size = max(error(trial.estimate, state, state_ahead), error(gap, state, state_ahead))
        if not np.isfinite(size):
            size = _NOT_FINITE
        factor = choice.factor(size)
        choice.look(trial.twice, partial(_size, error, state, state_ahead), size > 1.0)
        if size <= 1.0:
            yield Step(t, t + h, y, trial.ahead, f, f_ahead, lag, trial.slopes)
            bend, before = (f_ahead - f) / h, h
            state, f = state_ahead, f_ahead
            n += k
        choice.reconsider(factor * h, (count - n) * lag)
        wanted = max(1, int(k * factor))


def interpolate(step: Step, t: Floats, pick: Callable[[Floats], Floats]) -> Floats:
    """``pick(state)``, linear in the state, at times `t` in the step: (time, ...)."""
    return interpolate_both(step, t, pick)[0]


def interpolate_both(step: Step, t: Floats, pick: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """The state and the right-hand side, both picked from, at times `t` in the step: (time, ...).

    By the interpolant of the pair, or by cubic Hermite interpolation.
    """
    h = step.t1 - step.t0
    x = (t - step.t0) / h
    y0 = pick(step.y0)
    if step.slopes is not None:
        values, slope = pair.interpolated(x, y0, np.array([pick(f) for f in step.slopes]), h)
        return values - 0.5 * step.lag * slope, slope
    x = x.reshape(-1, *(1,) * y0.ndim)
    y1, f0, f1 = pick(step.y1), pick(step.f0), pick(step.f1)
    values = (
        (1.0 + 2.0 * x) * (1.0 - x) ** 2 * y0
        + x**2 * (3.0 - 2.0 * x) * y1
        + h * (x * (1.0 - x) ** 2 * f0 - x**2 * (1.0 - x) * f1)
    )
    slope = 6.0 * x * (1.0 - x) * (y1 - y0) / h + (1.0 - x) * (1.0 - 3.0 * x) * f0 - x * (2.0 - 3.0 * x) * f1
    return values - 0.5 * step.lag * slope, slope
