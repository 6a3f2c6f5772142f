"""The drawing kit: empty figures, inks, bands, paths and mean curves, a dual and a primal panel filled together."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rdasde._bands.band import band
from rdasde._bands.variables import SPACES
from rdasde._check import Floats
from rdasde._engine.results import mirror_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREEN, BLUE = "#b9dfb0", "#2c6fbb"
INK = ("#b2182b", "#1b1b1b", "#7b3294", "#e08214", "#01665e", "#8c510a")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that knows nothing of pyplot, and that a notebook shows all the same."""
    return _figure_class()(figsize=(width, height), layout="constrained")


@functools.cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=110)
            return buffer.getvalue()

    return NotebookFigure


def panels() -> tuple[Figure, NDArray[np.object_]]:
    """Two empty panels side by side."""
    figure = new_figure(11.0, 4.4)
    return figure, figure.subplots(1, 2)


def inks(number: int) -> list[str]:
    """That many colors."""
    return [INK[i % len(INK)] for i in range(number)]


def shade_threshold(axis: Axes, time: Floats, lower: Floats, upper: Floats) -> None:
    """The region of the dual that the mirror map sends to zero, as far down as the panel goes."""
    if np.any(upper > 0.0):
        bottom = np.where(np.isfinite(lower), lower, min(axis.get_ylim()[0], 0.0))
        axis.fill_between(time, bottom, upper, color=GREEN, alpha=0.6, lw=0, zorder=0)


def draw_band(axis: Axes, time: Floats, lower: Floats, upper: Floats, color: str = BLUE) -> None:
    """A filled band."""
    axis.fill_between(time, lower, upper, color=color, alpha=0.22, lw=0, zorder=1)


def draw_path(axis: Axes, time: Floats, path: Floats, ink: str) -> None:
    """One run, as it jitters."""
    axis.plot(time, path, color=ink, lw=0.6, alpha=0.75, zorder=2)


def draw_mean(axis: Axes, time: Floats, mean: Floats, ink: str, label: str) -> None:
    """A smooth curve."""
    axis.plot(time, mean, color=ink, lw=1.8, zorder=3, label=label)


def finish(axes: NDArray[np.object_], band_label: str = "") -> None:
    """Axes, zero lines and one legend, with the blue of bands if it has a label."""
    from matplotlib.patches import Patch

    for axis in axes:
        axis.axhline(0.0, color="0.55", lw=0.6, zorder=0.5)
        axis.set_xlabel(r"time  $t = n\gamma$")
        axis.margins(x=0.0)
        axis.spines[["top", "right"]].set_visible(False)
    handles, _ = axes[1].get_legend_handles_labels()
    patches = [Patch(color=BLUE, alpha=0.22, lw=0, label=band_label)] if band_label else []
    if any(abs(c.get_alpha() - 0.6) < 1e-9 for c in axes[0].collections if c.get_alpha() is not None):
        patches.append(Patch(color=GREEN, alpha=0.6, lw=0, label="$w_j = 0$ exactly"))
    axes[0].figure.legend(handles=[*handles, *patches], loc="outside upper center", ncols=6, frameon=False)


def draw_pair(
    axes: NDArray[np.object_], runs: xr.Dataset, theory: xr.Dataset, labels: dict[int, str], level: float = 0.95
) -> None:
    """Fill a dual and a primal panel with the labelled coordinates."""
    run = runs["dual"].dims[0]
    theory = theory.sel(coordinate=list(labels))
    for axis, space in zip(axes, SPACES, strict=True):
        edges = band(theory, level, space=space)
        for (j, label), ink in zip(labels.items(), inks(len(labels)), strict=True):
            here = {"coordinate": j}
            draw_band(axis, edges["time"].values, edges["lower"].sel(here).values, edges["upper"].sel(here).values)
            path = runs[space].isel({run: 0}).sel(here)
            mean = theory[f"{space}_mean"].sel(here)
            draw_path(axis, path["time"].values, path.values, ink)
            draw_mean(axis, mean["time"].values, mean.values, ink, label=label)
    zone = mirror_of(theory).dead_zone(theory["threshold"].values)
    if zone is not None:
        shade_threshold(axes[0], theory["time"].values, *zone)
    axes[0].set_ylabel("dual  $v_j$")
    axes[1].set_ylabel("primal  $w_j$")
    finish(axes, f"{100 * level:g} % band")


def caption(figure: Figure, text: str) -> None:
    """Prose below the panels, wrapped to the width of the figure."""
    import textwrap

    width = int(figure.get_figwidth() * 14.5)
    figure.supxlabel(textwrap.fill(text, width), x=0.02, ha="left", fontsize=9, color="0.25")
