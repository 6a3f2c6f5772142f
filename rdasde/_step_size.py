"""Step sizes that fall as a run goes on: functions of the number of the step."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check, _users
from rdasde._check import Floats

StepSizes = Callable[[Any], Any]
_FIRST, _MOST = 2**12, 10**8  # steps asked for at first, and at most


@dataclass(frozen=True)
class PowerStep:
    """``gamma_n = first n**-decay``, n = 1, 2, ... (Robbins & Monro 1951; with averaging, Polyak & Juditsky 1992).

    Parameters
    ----------
    first : float
        Size of the first step, > 0.
    decay : float
        Exponent, ``0 <= decay <= 1``; between 1/2 and 1 the iterate converges, and its average at the fastest rate.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.PowerStep(0.1, 0.5)([1, 4, 100])
    array([0.1 , 0.05, 0.01])
    >>> algorithm = rs.RDA(rs.PowerStep(0.1, 0.5), rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    """

    first: float
    decay: float

    def __post_init__(self) -> None:
        first = _check.number("first", self.first, above=0.0, mend="give for example first=0.1")
        object.__setattr__(self, "first", first)
        decay = _check.number("decay", self.decay, least=0.0, most=1.0, mend="give for example decay=0.5")
        object.__setattr__(self, "decay", decay)

    def __call__(self, n: Any) -> Any:
        return self.first * np.power(_check.reals("n", n), -self.decay)


@dataclass(frozen=True)
class Scaled:
    """Steps in other units."""

    steps: StepSizes
    unit: float

    def __call__(self, n: Any) -> Any:
        return sizes_of(self.steps, n) / self.unit


def sizes_of(steps: StepSizes, n: NDArray[np.int64]) -> Floats:
    """The sizes of the steps of these numbers, one for each."""
    if isinstance(steps, Scaled):  # what is wrong with the function is said of itself
        return sizes_of(steps.steps, n) / steps.unit
    accepted, mend = "one that gives each step its size", "return an array of the same shape as n"
    at = f"at n = {n[0]}, ..., {n[-1]}, an array"
    value = _users.called("step_size", steps, n.copy(), at=at, accepted=accepted, mend=mend)
    sizes = _users.numbers(value)
    if sizes is None or sizes.shape != n.shape:
        got = f"a function that makes {_users.returned(value)} of the numbers of {len(n)} steps"
        raise _check.bad("step_size", got, accepted, mend)
    return np.asarray(sizes, dtype=np.float64)


def sizes_until(steps: StepSizes, horizon: float) -> Floats:
    """The sizes of all steps that end within `horizon`, and of one more, checked: finite and positive."""
    number = _FIRST
    while True:
        sizes = sizes_of(steps, np.arange(1, number + 1))
        wrong = ~(np.isfinite(sizes) & (sizes > 0.0))
        ends = np.cumsum(np.where(wrong, 0.0, sizes))
        past = int(np.searchsorted(ends, horizon, side="right"))
        if wrong[: past + 1].any():
            n = int(np.argmax(wrong))
            raise _check.bad(
                "step_size", f"{sizes[n]:g} at n = {n + 1}", "finite and > 0 at every step", "mend the function of n"
            )
        if past < number:
            return np.ascontiguousarray(sizes[: past + 1])
        if number >= _MOST:
            raise _check.bad(
                "horizon",
                f"{horizon:g}, which {number} steps do not reach (t = {ends[-1]:g} after them)",
                "within their sum",
                "give a shorter horizon, or steps that fall more slowly",
            )
        number = min(8 * number, _MOST)


def said(step_size: float | StepSizes) -> float | str:
    """What a result says of it: a number, or a name."""
    if not callable(step_size):
        return step_size
    return repr(step_size) if isinstance(step_size, PowerStep) else getattr(step_size, "__qualname__", repr(step_size))


def steps_from(name: Any) -> float | StepSizes:
    """The step size that a result says `name` of; ValueError for a function of the user's own."""
    numbers = re.fullmatch(r"PowerStep\(first=(.+), decay=(.+)\)", str(name))
    if numbers:
        return PowerStep(*map(float, numbers.groups()))
    try:
        return float(name)
    except ValueError:
        raise ValueError("its step size is a function of your own, which a result does not carry") from None
