"""Tuning functions: how the threshold grows, ``g(n, gamma)`` as a function of ``t = n gamma``."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rdasde import _check, _users
from rdasde._check import Floats

Schedule = Callable[[Any, float], Any]
"""A function ``schedule(t, step_size) -> threshold``: a `PowerLaw`, `Linear`, `Constant`, or one of your own.

It is given one time and the step size, and returns one number, finite and >= 0.

Examples
--------
>>> import math
>>> import rdasde as rs
>>> def logarithmic(t, step_size):
...     return 0.5 * math.sqrt(step_size) * math.log1p(t)
>>> rs.RDA(0.01, rs.L1(), logarithmic).thresholds([0.0, 1.0, 10.0]).round(3)
array([0.   , 0.035, 0.12 ])
"""

_LONGEST = 60  # letters of a lambda that are shown


@dataclass(frozen=True)
class PowerLaw:
    r"""``g = c sqrt(gamma) t**mu``: the generalized RDA of Chao & Cheng (2019).

    ``1/2 < mu < 1`` recovers the support in the limit. As the step size falls to 0 the threshold vanishes.

    Parameters
    ----------
    c : float
        Strength, ``c >= 0``.
    mu : float
        Exponent, ``0 < mu <= 1``.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> schedule = rs.PowerLaw(c=0.5, mu=0.6)
    >>> schedule(np.array([0.0, 1.0, 10.0]), 0.01).round(3)
    array([0.   , 0.05 , 0.199])
    """

    c: float
    mu: float
    takes_arrays: ClassVar[bool] = True  # of times; a schedule that does not say so is asked for one after the other

    def __post_init__(self) -> None:
        object.__setattr__(self, "c", _check.number("c", self.c, least=0.0, mend="give for example c=0.5"))
        object.__setattr__(
            self, "mu", _check.number("mu", self.mu, above=0.0, most=1.0, mend="give for example mu=0.6")
        )

    def __call__(self, t: Any, step_size: float) -> Any:
        return self.c * np.sqrt(_check.reals("step_size", step_size)) * np.power(_check.reals("t", t), self.mu)

    def limit(self, t: Any) -> Any:
        """The threshold as the step size goes to 0 at fixed t."""
        return 0.0 * _check.reals("t", t)

    def tuning(self, t: Any) -> Any:
        """``c t**mu``, the threshold in units of ``sqrt(step_size)``."""
        return self.c * np.power(_check.reals("t", t), self.mu)


@dataclass(frozen=True)
class Linear:
    """``g = rate t``: Xiao's regularized dual averaging at constant step size (Flammarion & Bach 2017).

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> rs.Linear(0.1)(np.array([0.0, 1.0, 10.0]), 0.01)
    array([0. , 0.1, 1. ])
    """

    rate: float
    takes_arrays: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", _check.number("rate", self.rate, least=0.0, mend="give for example rate=0.1"))

    def __call__(self, t: Any, step_size: float) -> Any:
        return self.rate * _check.reals("t", t)

    def limit(self, t: Any) -> Any:
        """The threshold as the step size goes to 0 at fixed t: itself."""
        return self(t, 0.0)


@dataclass(frozen=True)
class Constant:
    """``g = value``, the same threshold at every step.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> rs.Constant(0.1)(np.array([0.0, 1.0, 10.0]), 0.01)
    array([0.1, 0.1, 0.1])
    """

    value: float
    takes_arrays: ClassVar[bool] = True

    def __post_init__(self) -> None:
        value = _check.number("value", self.value, least=0.0, mend="give for example value=0.01")
        object.__setattr__(self, "value", value)

    def __call__(self, t: Any, step_size: float) -> Any:
        return np.full(_check.reals("t", t).shape, self.value)

    def limit(self, t: Any) -> Any:
        """The threshold as the step size goes to 0 at fixed t: itself."""
        return self(t, 0.0)


KINDS: dict[str, Callable[..., Schedule]] = {kind.__name__: kind for kind in (PowerLaw, Linear, Constant)}


def settings_of(schedule: Any) -> dict[str, Any] | None:
    """What makes it again, in JSON's types; of a function of the user's own its name alone."""
    if schedule is None:
        return None
    if isinstance(schedule, PowerLaw | Linear | Constant):
        return {"kind": type(schedule).__name__, **vars(schedule)}
    return {"kind": "function", "name": schedule_name(schedule)}


def from_settings(settings: dict[str, Any] | None) -> Schedule | None:
    """The schedule with these settings; ValueError for a function of the user's own."""
    if settings is None:
        return None
    settings = dict(settings)
    kind = settings.pop("kind")
    if kind not in KINDS:
        raise ValueError(f"its schedule is the function {settings.get('name')}, which a result does not carry")
    return KINDS[kind](**settings)


def schedule_name(schedule: Any) -> str:
    """A short name: the repr of one of ours; the source of a lambda; of another function its name, not its address."""
    if isinstance(schedule, types.FunctionType):
        return _source(schedule) if schedule.__name__ == "<lambda>" else schedule.__name__
    if isinstance(schedule, functools.partial):
        inner = [schedule_name(schedule.func), *map(repr, schedule.args)]
        return f"partial({', '.join([*inner, *(f'{key}={value!r}' for key, value in schedule.keywords.items())])})"
    text = repr(schedule)
    return type(schedule).__name__ if " object at 0x" in text or " at 0x" in text else text


def _source(function: types.FunctionType) -> str:
    """Of a lambda, where it can be read and is short: the one in its lines whose code it is."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        return "lambda"
    starts = [match.start() for match in re.finditer(r"\blambda\b", text)]
    for start in starts:
        source = _expression(text[start:])
        if source is None:
            continue
        code = compile(source, "", "eval").co_consts[0]
        if len(starts) == 1 or code.co_code == function.__code__.co_code:
            return source if len(source) <= _LONGEST else "lambda"
    return "lambda"


def _expression(text: str) -> str | None:
    """The lambda that the text begins with."""
    for end in range(len(text), 0, -1):  # the longest beginning that is an expression
        try:
            parsed = ast.parse(text[:end].strip(), mode="eval").body
        except (SyntaxError, ValueError):
            continue
        if isinstance(parsed, ast.Lambda):
            return ast.unparse(parsed)
        if isinstance(parsed, ast.Tuple) and isinstance(parsed.elts[0], ast.Lambda):  # what follows a comma is not its
            return ast.unparse(parsed.elts[0])
    return None


def thresholds(schedule: Schedule | None, times: Floats, step_size: float) -> Floats:
    """The schedule at every time, checked: finite and nonnegative."""
    if schedule is None:
        return np.zeros(len(times))
    if getattr(schedule, "takes_arrays", False):
        values = _many("schedule", schedule, times, step_size)
    else:
        values = np.array([_one(schedule, float(t), step_size) for t in times])
    return _checked(values, times)


def _checked(values: Floats, times: Floats, name: str = "schedule") -> Floats:
    if not (np.all(np.isfinite(values)) and np.all(values >= 0.0)):
        where = int(np.argmin(np.isfinite(values) & (values >= 0.0)))
        function = "schedule(t, step_size)" if name == "schedule" else f"{name}(t)"
        got = f"{values.flat[where]:g} at t = {times.flat[where]:g}"
        raise _check.bad(name, got, "finite and >= 0 at every step", f"mend the function {function}")
    return np.asarray(values, order="C")


def accumulated(schedule: Schedule | None, sizes: Floats) -> Floats:
    """The threshold after the steps 0, 1, ..., of these sizes: grown by the increments of the schedule at each size."""
    if schedule is None:
        return np.zeros(len(sizes) + 1)
    number = np.arange(1, len(sizes) + 1)
    if getattr(schedule, "takes_arrays", False):
        every: Any = sizes  # each at its own
        after, before = (_many("schedule", schedule, n * sizes, every) for n in (number, number - 1))
    else:
        after, before = (
            np.array([_one(schedule, float(n * size), float(size)) for n, size in zip(numbers, sizes, strict=True)])
            for numbers in (number, number - 1)
        )
    values = np.concatenate([before[:1], before[0] + np.cumsum(after - before)])
    return _checked(values, np.concatenate([[0.0], np.cumsum(sizes)]))


@dataclass(frozen=True, eq=False)
class Interpolated:
    """Thresholds that are known at some times, and linear in between; in the limit those of `schedule`."""

    times: Floats
    values: Floats
    schedule: Schedule
    takes_arrays: ClassVar[bool] = True

    def __call__(self, t: Any, step_size: float) -> Any:
        return np.interp(t, self.times, self.values)

    def limit(self, t: Any) -> Any:
        """That of `schedule`."""
        return limit_thresholds(self.schedule, np.atleast_1d(t)).reshape(np.shape(t))


def limit_thresholds(schedule: Schedule | None, times: Floats) -> Floats:
    """``lim g(t / gamma, gamma)`` as gamma goes to 0; a schedule without a `limit` is taken at gamma = 1e-30."""
    if schedule is None:
        return np.zeros(len(times))
    if hasattr(schedule, "limit"):
        return _checked(_many("schedule.limit", schedule.limit, times), times, "schedule.limit")
    values = thresholds(schedule, times, 1e-30)
    return np.where(values < 1e-12, 0.0, values)


def has_limit(schedule: Schedule | None, step_size: float) -> bool:
    """Whether it says what becomes of the threshold as the step size goes to 0.

    Its ``limit(t)`` does, and where that is 0 its ``tuning(t)``, the threshold in units of ``sqrt(step_size)``; without
    this it must be 0 for good.
    """
    if not hasattr(schedule, "limit") or schedule is None:
        return False
    one = np.ones(1)
    vanishes = not np.any(_many("schedule.limit", schedule.limit, one))
    return hasattr(schedule, "tuning") or not vanishes or not np.any(thresholds(schedule, one, step_size))


def vanishing_tuning(schedule: Schedule | None, times: Any) -> Any:
    """The ``tuning(t)`` of a schedule whose limit is 0; None where it has none."""
    if schedule is None or not hasattr(schedule, "tuning"):
        return None
    times = np.asarray(times, dtype=np.float64)
    return _checked(_many("schedule.tuning", schedule.tuning, times), times, "schedule.tuning")


_WANTED = "a function returning one number"


def _one(schedule: Schedule, t: float, step_size: float) -> float:
    mend = "return a float from schedule(t, step_size)"
    value = _users.called("schedule", schedule, t, step_size, at=f"at t = {t:g}", accepted=_WANTED, mend=mend)
    number = _users.number(value)
    if number is None:
        raise _check.wrong_kind("schedule", value, _WANTED, mend)
    return number


def _many(name: str, function: Callable[..., Any], times: Floats, *others: Any) -> Floats:
    """What one that takes arrays of times makes of them."""
    if not times.size:
        return np.empty(times.shape)
    accepted = "a function returning one number for each time"
    mend = "return an array of the shape of t"
    at = f"at t = {times.flat[0]:g}, ..., {times.flat[-1]:g}" if times.size > 1 else f"at t = {times.flat[0]:g}"
    value = _users.called(name, function, times, *others, at=at, accepted=accepted, mend=mend)
    values = _users.numbers(value)
    if values is None or values.shape not in ((), times.shape):
        raise _check.bad(name, f"a function that makes {_users.returned(value)} of {times.size} times", accepted, mend)
    return np.array(np.broadcast_to(values, times.shape), dtype=np.float64)
