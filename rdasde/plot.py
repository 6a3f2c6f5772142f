"""Pictures: paths, mean curves, thresholded region and bands, in the dual and in the primal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._drawing import (  # noqa: F401
    BLUE,
    GREEN,
    INK,
    draw_band,
    draw_mean,
    draw_pair,
    draw_path,
    finish,
    inks,
    new_figure,
    panels,
    shade_threshold,
)
from rdasde._engine.arguments import kept_coordinates

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

# the rest of the kit can be had from here too, for notebooks that draw on their own, but is not what `dir` shows
__all__ = ["trajectories"]


def __dir__() -> list[str]:
    return __all__


def trajectories(runs: xr.Dataset, theory: xr.Dataset, coordinates: ArrayLike, *, level: float = 0.95) -> Figure:
    """One run, the mean and the band of chosen coordinates, in the dual and in the primal space.

    Parameters
    ----------
    runs : xarray.Dataset
        From ``simulate(..., keep="paths")``; its first run is drawn (a zigzag).
    theory : xarray.Dataset
        From `approximate`; its mean (smooth) and its band (blue) are drawn.
    coordinates : array_like of int
        Which coordinates, counted from 0.
    level : float
        Of the band.

    Returns
    -------
    matplotlib.figure.Figure
        Dual panel with the region ``|v| <= g(t)`` in green, where the primal coordinate is exactly zero; primal
        panel.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is drawn.
    """
    import xarray as xr

    _check.instance("runs", runs, xr.Dataset, "what simulate returned", "pass that Dataset")
    _check.instance("theory", theory, xr.Dataset, "what approximate returned", "pass that Dataset")
    if "dual" not in runs or "dual_mean" not in theory:
        raise _check.bad(
            "runs" if "dual" not in runs else "theory",
            "a Dataset without dual paths" if "dual" not in runs else "a Dataset without dual_mean",
            "simulate(..., keep='paths') and approximate(...)",
            "pass those",
        )
    level = _check.level(level)
    chosen = kept_coordinates(coordinates, int(max(theory["coordinate"].values)) + 1)
    for name, result in (("runs", runs), ("theory", theory)):
        missing = np.setdiff1d(chosen, result["coordinate"].values)
        if missing.size:
            raise _check.bad(
                "coordinates", f"{missing.tolist()}, not in {name}", "among those kept", "keep them in simulate"
            )
    figure, axes = panels()
    draw_pair(axes, runs, theory, dict(zip(chosen.tolist(), [f"coordinate {j}" for j in chosen], strict=True)), level)
    return figure
