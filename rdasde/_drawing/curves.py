"""Bands, paths and mean curves over time, and the region that is zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdasde._check import Floats
from rdasde._drawing.arguments import curves, need_color, need_text
from rdasde._drawing.colors import BLUE, GREEN, line_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ZONE = "zero region"


def shade_threshold(axis: Axes, time: Floats, lower: Floats, upper: Floats) -> None:
    """The region of the dual that the mirror map sends to zero, as far down as the panel goes.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> time = np.linspace(0.0, 1.0, 11)
    >>> rs.plot.shade_threshold(left, time, *rs.L1().dead_zone(0.1 * time))
    >>> rs.plot.finish([left])
    >>> figure.legends[0].get_texts()[0].get_text()
    '$w_j = 0$ exactly'
    """
    time, lower, upper = curves(axis, time, lower=lower, upper=upper)
    if np.any(upper > 0.0):
        bottom = np.where(np.isfinite(lower), lower, min(axis.get_ylim()[0], 0.0))
        axis.fill_between(time, bottom, upper, color=GREEN, alpha=0.35, lw=0, zorder=0).set_gid(ZONE)


def draw_band(axis: Axes, time: Floats, lower: Floats, upper: Floats, color: str = BLUE) -> None:
    """A filled band with thin edges, so that bands that overlap can be told apart.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> time = np.linspace(0.0, 1.0, 11)
    >>> rs.plot.draw_band(left, time, time - 0.1, time + 0.1)
    >>> len(left.collections), len(left.lines)  # the inside, its edges
    (1, 2)
    """
    time, lower, upper = curves(axis, time, lower=lower, upper=upper)
    need_color("color", color)
    axis.fill_between(time, lower, upper, color=color, alpha=0.2, lw=0, zorder=1)
    for edge in (lower, upper):
        axis.plot(time, edge, color=color, lw=line_width(0.3), alpha=0.7, zorder=1.5)


def draw_path(axis: Axes, time: Floats, path: Floats, ink: str) -> None:
    """One run, as it jitters.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> steps = np.random.default_rng(0).standard_normal(100)
    >>> rs.plot.draw_path(left, np.arange(100) / 100, steps.cumsum(), rs.plot.inks(1)[0])
    >>> len(left.lines)
    1
    """
    time, path = curves(axis, time, path=path)
    need_color("ink", ink)
    axis.plot(time, path, color=ink, lw=line_width(0.4), alpha=0.8, zorder=2)


def draw_mean(axis: Axes, time: Floats, mean: Floats, ink: str, label: str | None = None) -> None:
    """A smooth curve, with a light rim so that it stands out of paths and bands.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> time = np.linspace(0.0, 1.0, 11)
    >>> rs.plot.draw_mean(left, time, time**2, rs.plot.BLUE, "mean")
    >>> left.lines[0].get_label()
    'mean'
    """
    import matplotlib
    from matplotlib import patheffects

    time, mean = curves(axis, time, mean=mean)
    need_color("ink", ink)
    need_text("label", label, "mean", or_none=True)
    rim = patheffects.withStroke(linewidth=line_width(1.9), foreground=matplotlib.rcParams["axes.facecolor"], alpha=0.8)
    axis.plot(time, mean, color=ink, lw=line_width(1.1), zorder=3, label=label, path_effects=[rim])
