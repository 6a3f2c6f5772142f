"""An explicit integrator with error control: of order five where accuracy asks for short steps, stabilized elsewhere.

Where steps are shorter than the fastest rate lets them be, those of Dormand & Prince; where they could be longer,
Runge-Kutta-Chebyshev of order two (Sommeijer, Shampine & Verwer, "RKC: an explicit solver for parabolic PDEs", J.
Comput. Appl. Math. 88, 1998): with s stages its stability interval is about 0.65 s^2 long, and the rates of the moment
equations of a dual diffusion are real and spread over two orders of magnitude.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
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
_PATIENCE = 4  # steps of the pair until it is tried again, twice as many each time

Rhs = Callable[[float, Floats], Floats]


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


class _Choice:
    """Which of the two methods takes the next step."""

    def __init__(self, rate: float, stabilized: bool) -> None:
        self.rate, self.stabilized = rate, stabilized
        self._taken, self._patience = 0, _PATIENCE

    def stages(self, h: float) -> int:
        """How often a step of length h asks for the right-hand side."""
        return max(2, 1 + int(np.sqrt(1.0 + _STAGES * h * self.rate))) if self.stabilized else pair.EVALUATIONS

    @property
    def longest(self) -> float:
        """The longest stable step."""
        return np.inf if self.stabilized else pair.STABLE / self.rate

    def factor(self, size: float) -> float:
        """Of the next step, after one whose error was `size` times what is tolerated."""
        power = -1.0 / 3.0 if self.stabilized else -1.0 / 5.0
        return float(min(_GROW, max(_SHRINK, _SAFETY * (size + 1e-12) ** power)))

    def reconsider(self, h: float, left: float) -> None:
        """After a step; `h` is what the next one could be, `left` the time to go."""
        if self.stabilized:
            if self.stages(h) / h > pair.EVALUATIONS / (pair.STABLE / self.rate):
                self.stabilized, self._taken = False, 0
                self._patience *= 2
            return
        self._taken += 1
        worth = h > _ROOM * self.longest and left * self.rate > _WORTH
        self.stabilized = worth and self._taken >= self._patience


def integrate(
    rhs: Rhs, y: Floats, end: float, *, rate: float, first_step: float, error: Callable[[Floats, Floats, Floats], float]
) -> Iterator[Step]:
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
        trial = _trial(lambda at, now, _: rhs(at, now), choice, t, h, y, f)
        size = error(trial.estimate, y, trial.ahead)
        if not np.isfinite(size):
            size = _NOT_FINITE
        taken = h
        h *= choice.factor(size)
        if size <= 1.0:
            after = end if taken == end - t else t + taken
            yield Step(t, after, y, trial.ahead, f, trial.f_ahead, 0.0, trial.slopes)
            t, y, f = after, trial.ahead, trial.f_ahead
        choice.reconsider(h, end - t)
        if h < _SHORTEST * end:
            raise ArithmeticError(
                f"The moment equations could not be solved past t = {t:g}: the step became too small."
            )


def _trial(
    rhs: Callable[[float, Floats, Sequence[Floats]], Floats], choice: _Choice, t: float, h: float, y: Floats, f: Floats
) -> _Trial:
    """A step of length h; ``rhs(t, y, slopes)`` is handed the slopes at the earlier nodes of the pair."""
    if choice.stabilized:
        ahead = _one_step(lambda at, now: rhs(at, now, ()), t, h, y, f, choice.stages(h))
        f_ahead = rhs(t + h, ahead, ())
        return _Trial(ahead, f_ahead, _OF_VALUES * (y - ahead) + _OF_SLOPES * h * (f + f_ahead), None)
    ahead, estimate, slopes = pair.one_step(
        lambda i, now, slopes: rhs(t + pair.NODES[i] * h, now, list(slopes[:i])), h, y, f
    )
    return _Trial(ahead, slopes[-1], estimate, slopes)


class _Lag:
    """``(lag / 2) f`` at times of a step, before f is known there."""

    def __init__(self, lag: float, t: float, h: float, f: Floats, bend: Floats, before: float) -> None:
        self.lag, self.t, self.h, self.f, self.bend, self.before = lag, t, h, f, bend, before

    def __call__(self, at: float, slopes: Sequence[Floats] = ()) -> Floats:
        """From the slopes of the step so far, and where there are none from how f changed in the step before."""
        x = (at - self.t) / self.h
        known = len(slopes)
        if known < 2:
            return 0.5 * self.lag * (self.f + min(at - self.t, self.before) * self.bend)
        if known > pair.EVALUATIONS - 1:
            return np.asarray(0.5 * self.lag * slopes[-1])  # at the same time
        places = [0, 1] if known == 2 else [0, known - 2, known - 1]
        total = np.zeros_like(self.f)
        for i in places:
            others = [pair.NODES[j] for j in places if j != i]
            total += np.prod([(x - c) / (pair.NODES[i] - c) for c in others]) * slopes[i]
        return 0.5 * self.lag * total


def integrate_steps(
    rhs: Rhs,
    state: Floats,
    count: int,
    lag: float,
    *,
    rate: float,
    error: Callable[[Floats, Floats, Floats], float],
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

        behind = _Lag(lag, t, h, f, bend, before)
        y = state + 0.5 * lag * f

        def moved(at: float, now: Floats, slopes: Sequence[Floats], behind: _Lag = behind) -> Floats:
            return rhs(at, now - behind(at, slopes))

        trial = _trial(moved, choice, t, h, y, f)
        f_ahead = trial.f_ahead
        state_ahead = trial.ahead - 0.5 * lag * f_ahead
        guess = behind(t + h, () if trial.slopes is None else list(trial.slopes[:-1]))
        size = error(trial.estimate, state, state_ahead)
        size = max(size, error(guess - 0.5 * lag * f_ahead, state, state_ahead))
        if not np.isfinite(size):
            size = _NOT_FINITE
        factor = choice.factor(size)
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
