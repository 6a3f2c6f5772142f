"""Legends, and what is done last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rdasde import _check
from rdasde._drawing.arguments import columns, need_figure, need_text, panels_of
from rdasde._drawing.axes import over_time
from rdasde._drawing.colors import GREEN
from rdasde._drawing.curves import ZONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


def finish(axes: Iterable[Axes], band_label: str = "", ncols: int | None = None) -> None:
    """Axes over time, zero lines and one legend above, with bands and the zero region where they are drawn.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, axes = rs.plot.panels()
    >>> time = np.linspace(0.0, 1.0, 11)
    >>> rs.plot.draw_band(axes[0], time, time - 0.1, time + 0.1)
    >>> rs.plot.draw_mean(axes[0], time, time, rs.plot.BLUE, "mean")
    >>> rs.plot.finish(axes, "95 % band")
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['mean', '95 % band']
    """
    from matplotlib.patches import Patch

    axes = panels_of(axes)
    need_text("band_label", band_label, "95 % band")
    ncols = columns(ncols)
    for axis in axes:
        over_time(axis)
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    patches = [Patch(color="0.5", alpha=0.3, lw=0, label=band_label)] if band_label else []
    if any(shape.get_gid() == ZONE for axis in axes for shape in axis.collections):
        patches.append(Patch(color=GREEN, alpha=0.35, lw=0, label="$w_j = 0$ exactly"))
    legend_above(axes[0].figure, [*entries.values(), *patches], ncols)


def legend_above(figure: Figure | SubFigure, handles: list[Any], ncols: int | None = None) -> None:
    """One legend for the whole figure, outside of its panels, in rows as even as can be.

    Examples
    --------
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> rs.plot.legend_above(figure, left.plot([0.0, 1.0], label="one line"))
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['one line']
    """
    import matplotlib

    need_figure(figure, whole=False)
    ncols = columns(ncols)
    accepted, mend = "lines, patches and the like, which have labels", "pass for example what axes.plot returns"
    try:
        handles = list(handles)
    except Exception:  # nothing to go through
        raise _check.wrong_kind("handles", handles, accepted, mend) from None
    for handle in handles:
        if not hasattr(handle, "get_label") or isinstance(handle, type):
            raise _check.bad("handles", f"one with {_check.show(handle)}", accepted, mend)
    if not handles:
        return
    if ncols is None:  # as many as there is room for, letters being so wide on average
        size = matplotlib.font_manager.FontProperties(size=matplotlib.rcParams["legend.fontsize"]).get_size_in_points()
        lengths = [len(handle.get_label()) + 6 for handle in handles]
        room = figure.bbox.width / figure.dpi * 72.0 / (0.58 * size)
        ncols = len(handles) if sum(lengths) <= room else max(1, int(room // max(lengths)))
    rows = -(-len(handles) // ncols)
    figure.legend(handles=handles, loc="outside upper center", ncols=-(-len(handles) // rows), frameon=False)


def legend_below(axis: Axes, handles: list[Any], ncols: int, room: float) -> None:
    """A legend under the label of the axis, in a share `room` of the figure that is kept free of panels."""
    engine: Any = axis.figure.get_layout_engine()
    engine.set(rect=(0.0, room, 1.0, 1.0 - room))
    legend = axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=ncols, frameon=False)
    legend.set_in_layout(False)
