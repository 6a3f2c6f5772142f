"""Step sizes that fall as a run goes on: functions of the number of the step."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rdasde import _check
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
        return self.first * np.power(np.asarray(n, dtype=np.float64), -self.decay)


def sizes_until(steps: StepSizes, horizon: float) -> Floats:
    """The sizes of all steps that end within `horizon`, and of one more, checked: finite and positive."""
    number = _FIRST
    while True:
        sizes = np.asarray(steps(np.arange(1, number + 1)), dtype=np.float64)
        if sizes.shape != (number,):
            raise _check.bad(
                "step_size",
                f"a function that makes {_check.show(sizes)} of the numbers of {number} steps",
                "one that gives each step its size",
                "return an array of the same shape as n",
            )
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
