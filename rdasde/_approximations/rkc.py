"""A stabilized explicit integrator: Runge-Kutta-Chebyshev of order two, with error control.

Sommeijer, Shampine & Verwer, "RKC: an explicit solver for parabolic PDEs", J. Comput. Appl. Math. 88 (1998). With s
stages the stability interval is about 0.65 s^2 long: the moment equations of a dual diffusion, whose rates are real and
spread over two orders of magnitude, need far fewer evaluations than with a classical Runge-Kutta method.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

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

Rhs = Callable[[float, Floats], Floats]


class Step(NamedTuple):
    """One accepted step, with the derivative at both ends for interpolation.

    The state is ``y - (lag / 2) f``: y itself for a differential equation.
    """

    t0: float
    t1: float
    y0: Floats
    y1: Floats
    f0: Floats
    f1: Floats
    lag: float = 0.0

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


def integrate(
    rhs: Rhs, y: Floats, end: float, *, rate: float, first_step: float, error: Callable[[Floats, Floats, Floats], float]
) -> Iterator[Step]:
    """Steps of ``dy/dt = rhs(t, y)`` from 0 to `end`.

    `rate` bounds the modulus of the eigenvalues of the Jacobian (real, negative); ``error(difference, y0, y1)`` is the
    norm of an error estimate in units of what is tolerated.
    """
    t, h = 0.0, min(first_step, end)
    f = rhs(t, y)
    while t < end:
        if t + h * (1.0 + 1e-9) >= end:
            h = end - t
        stages = max(2, 1 + int(np.sqrt(1.0 + _STAGES * h * rate)))
        ahead = _one_step(rhs, t, h, y, f, stages)
        f_ahead = rhs(t + h, ahead)
        size = error(_OF_VALUES * (y - ahead) + _OF_SLOPES * h * (f + f_ahead), y, ahead)
        if not np.isfinite(size):
            size = _NOT_FINITE
        if size <= 1.0:
            after = end if h == end - t else t + h
            yield Step(t, after, y, ahead, f, f_ahead)
            t, y, f = after, ahead, f_ahead
        h *= min(_GROW, max(_SHRINK, _SAFETY * (size + 1e-12) ** (-1.0 / 3.0)))
        if h < _SHORTEST * end:
            raise ArithmeticError(
                f"The moment equations could not be solved past t = {t:g}: the step became too small."
            )


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
    changes by, up to third order in the lag. So ``y = x + (lag / 2) f`` solves ``dy/dt = rhs(t, x)``, which
    Runge-Kutta-Chebyshev steps integrate; within one of them, f in ``x = y - (lag / 2) f`` goes on as it went before.
    The first steps, where the threshold is steep, and those that are cheaper so, are taken as they are.
    """
    n, wanted, exact = 0, _FIRST_EXACT, _FIRST_EXACT
    f = rhs(0.0, state)
    bend, before = np.zeros_like(state), 0.0  # the slope of f over the last step, and how long that was
    while n < count:
        t = n * lag
        k = min(wanted, count - n)
        h = k * lag
        stages = max(2, 1 + int(np.sqrt(1.0 + _STAGES * h * rate)))
        if not exact and k <= stages:
            exact, wanted = k, 2 * k
        if exact:
            state_ahead = state + lag * f
            f_ahead = rhs(t + lag, state_ahead)
            if not np.all(np.isfinite(f_ahead)):
                raise ArithmeticError(f"The moments of the algorithm have no finite value past t = {t:g}.")
            yield Step(t, t + lag, state + 0.5 * lag * f, state_ahead + 0.5 * lag * f_ahead, f, f_ahead, lag)
            bend, before = (f_ahead - f) / lag, lag
            state, f = state_ahead, f_ahead
            n, exact = n + 1, exact - 1
            continue

        def extrapolated(at: float, t: float = t, f: Floats = f, bend: Floats = bend, most: float = before) -> Floats:
            return 0.5 * lag * (f + min(at - t, most) * bend)

        y = state + 0.5 * lag * f
        y_ahead = _one_step(lambda at, now: rhs(at, now - extrapolated(at)), t, h, y, f, stages)
        guess = extrapolated(t + h)
        f_ahead = rhs(t + h, y_ahead - guess)
        state_ahead = y_ahead - 0.5 * lag * f_ahead
        estimate = _OF_VALUES * (y - y_ahead) + _OF_SLOPES * h * (f + f_ahead)
        size = error(estimate, state, state_ahead)
        size = max(size, error(guess - 0.5 * lag * f_ahead, state, state_ahead))
        if not np.isfinite(size):
            size = _NOT_FINITE
        if size <= 1.0:
            yield Step(t, t + h, y, y_ahead, f, f_ahead, lag)
            bend, before = (f_ahead - f) / h, h
            state, f = state_ahead, f_ahead
            n += k
        factor = min(_GROW, max(_SHRINK, _SAFETY * (size + 1e-12) ** (-1.0 / 3.0)))
        wanted = max(1, int(k * factor))


def interpolate(step: Step, t: Floats, pick: Callable[[Floats], Floats]) -> Floats:
    """Cubic Hermite interpolation of ``pick(state)``, linear in the state, at times `t` in the step: (time, ...)."""
    h = step.t1 - step.t0
    x = ((t - step.t0) / h)[:, None]
    y0, y1, f0, f1 = pick(step.y0), pick(step.y1), pick(step.f0), pick(step.f1)
    values = (
        (1.0 + 2.0 * x) * (1.0 - x) ** 2 * y0
        + x**2 * (3.0 - 2.0 * x) * y1
        + h * (x * (1.0 - x) ** 2 * f0 - x**2 * (1.0 - x) * f1)
    )
    if step.lag:
        slope = 6.0 * x * (1.0 - x) * (y1 - y0) / h + (1.0 - x) * (1.0 - 3.0 * x) * f0 - x * (2.0 - 3.0 * x) * f1
        values = values - 0.5 * step.lag * slope
    return np.asarray(values)
