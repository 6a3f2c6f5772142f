"""The panel of error against sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdasde import _drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def error_axes(axis: Axes, left: Sequence[float]) -> None:
    """Test error over the weights left (both in %), which fall to the right; to be called when all is drawn."""
    low, high = axis.dataLim.intervaly
    wide = high > 2.0 * low
    axis.set(xscale="log", yscale="log" if wide else "linear", xlabel="weights left (%)", ylabel="test error (%)")
    ticks = [tick for tick in (0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 20, 30, 50) if 0.7 * min(left) <= tick <= 1.4 * max(left)]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    if wide:
        low, high = axis.get_ylim()
        ticks = [tick for tick in (1, 2, 3, 4, 5, 7, 10, 20, 30, 50, 90) if low <= tick <= high]
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.invert_xaxis()
    _drawing.bare(axis)
