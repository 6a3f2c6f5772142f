"""Axes: frames, zero lines, ticks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from rdasde._drawing.colors import line_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def bare(axis: Axes) -> None:
    """Without a frame above and to the right."""
    axis.spines[["top", "right"]].set_visible(False)


def zero_line(axis: Axes, at: float = 0.0) -> None:
    """Something to compare with."""
    axis.axhline(at, color="0.5", lw=line_width(0.5), zorder=0.5)


def over_time(axis: Axes) -> None:
    """Time on the horizontal axis, the zero line."""
    zero_line(axis)
    axis.set_xlabel(r"time  $t = n\gamma$")
    axis.margins(x=0.0)
    bare(axis)


def plain_ticks(axis: Axes, which: str, ticks: Iterable[float]) -> None:
    """These ticks of a logarithmic axis that lie within it, as ordinary numbers, and no others."""
    low, high = sorted(axis.get_xlim() if which == "x" else axis.get_ylim())
    shown = [tick for tick in ticks if 0.999 * low <= tick <= 1.001 * high]
    along = axis.xaxis if which == "x" else axis.yaxis
    along.set_ticks(shown, [f"{tick:g}" for tick in shown])
    along.set_ticks([], minor=True)


def decimal_ticks(axis: Axes, which: str) -> None:
    """On a logarithmic axis of a few decades ordinary numbers; powers of ten, as they are, on a longer one."""
    low, high = sorted(axis.get_xlim() if which == "x" else axis.get_ylim())
    decades = float(np.log10(high / low))
    digits = (1, 2, 3, 5, 7) if decades < 1.0 else (1, 2, 5)
    if decades < 2.3:
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        plain_ticks(axis, which, [digit * 10.0**power for power in powers for digit in digits])


def signed(number: float) -> str:
    """A number with its sign, as text."""
    return f"{number:+g}".replace("-", "\N{MINUS SIGN}") if number else "0"
