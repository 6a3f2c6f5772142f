"""The dual and the primal beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rdasde._bands.band import band
from rdasde._bands.variables import SPACES
from rdasde._drawing.axes import over_time
from rdasde._drawing.colors import inks
from rdasde._drawing.curves import draw_band, draw_mean, draw_path, shade_threshold
from rdasde._drawing.legends import finish
from rdasde._engine.results import mirror_if_known

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from rdasde._regularizers.base import Regularizer


def draw_pair(
    axes: Iterable[Axes],
    runs: xr.Dataset,
    theory: xr.Dataset,
    labels: dict[int, str],
    level: float = 0.95,
    spaces: tuple[str, ...] = SPACES,
    legend: bool = True,
    regularizer: Regularizer | None = None,
) -> None:
    """Fill a panel for each space, dual and primal, with the labelled coordinates; a legend above, or within."""
    axes = list(axes)
    run = runs["dual"].dims[0]
    theory = theory.sel(coordinate=list(labels))
    for axis, space in zip(axes, spaces, strict=True):
        edges = band(theory, level, space=space, regularizer=regularizer)  # type: ignore[arg-type]
        for (j, label), ink in zip(labels.items(), inks(len(labels)), strict=True):
            here = {"coordinate": j}
            time = edges["time"].values
            draw_band(axis, time, edges["lower"].sel(here).values, edges["upper"].sel(here).values, ink)
            path = runs[space].isel({run: 0}).sel(here)
            mean = theory[f"{space}_mean"].sel(here)
            draw_path(axis, path["time"].values, path.values, ink)
            draw_mean(axis, mean["time"].values, mean.values, ink, label)
        axis.set_ylabel(f"{space}  ${space_symbol(space)}_j$")
        if space == "dual":
            mirror = mirror_if_known(theory, regularizer)
            zone = None if mirror is None else mirror.dead_zone(theory["threshold"].values)
            if zone is not None:
                shade_threshold(axis, theory["time"].values, *zone)
    if legend:
        finish(axes, f"{100 * level:g} % band")
        return
    for axis in axes:
        over_time(axis)
    axes[-1].legend(frameon=False)


def space_symbol(space: str) -> str:
    """The letter of a space."""
    return {"dual": "v", "primal": "w"}[space]
