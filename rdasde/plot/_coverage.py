"""How often bands hold, by time and coordinate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check, _drawing
from rdasde._bands.coverage import coverage as counted
from rdasde._check import Floats
from rdasde.plot._axes import figure_of, one

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REACH = (2.5, 15.0)  # points: the colors reach so far from the level, at least and at most
_CHANCE = 0.01  # that a band of nominal level has a mark anywhere


def coverage(runs: xr.Dataset | xr.DataArray, band: xr.Dataset | None = None, *, ax: Axes | None = None) -> Figure:
    """How often a band holds: coverage less its level, by time and coordinate, or by coordinate.

    Parameters
    ----------
    runs : xarray.Dataset or xarray.DataArray
        From ``simulate(..., keep="paths")``, with a `band`; or what `rdasde.coverage` returned.
    band : xarray.Dataset, optional
        From `rdasde.band`, on the same times.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure when not given.

    Returns
    -------
    matplotlib.figure.Figure
        For a pointwise band a picture in points, blue where it holds too often, red too seldom. For a simultaneous one
        a dot for each coordinate. Marks where counting alone would go in one of a hundred pictures, at most.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is drawn.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, -0.3, 0.0], rs.AR1(3, 0.5))
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> runs = rs.simulate(problem, algorithm, 5.0, replicates=500, times=11, seed=0)
    >>> theory = rs.approximate(problem, algorithm, 5.0, times=11)
    >>> figure = rs.plot.coverage(runs, rs.band(theory, space="dual"))
    >>> figure.axes[0].get_title("left")
    'dual, 500 runs'
    """
    import xarray as xr

    accepted = "what simulate or rs.coverage returned"
    _check.instance("runs", runs, (xr.Dataset, xr.DataArray), accepted, "pass that")
    if isinstance(runs, xr.Dataset):
        if band is None:
            raise _check.bad("band", None, "given with runs", "pass what rs.band returned, or what rs.coverage did")
        shares = counted(runs, band)
    else:
        if band is not None:
            raise _check.bad("band", "given with a coverage", "None there", "pass the coverage alone, or runs and band")
        shares = runs
    if "coordinate" not in shares.dims or "level" not in shares.attrs:
        got = "a DataArray without coordinates" if "coordinate" not in shares.dims else "a DataArray without its level"
        raise _check.bad("runs", got, accepted, "pass that, of a band by coordinate")
    level, number = float(shares.attrs["level"]), int(shares.attrs.get("runs", 0))
    space = str(shares.attrs.get("space", "primal"))
    if "time" in shares.dims:
        shares = shares.transpose("time", "coordinate")
        later = shares["time"].values > 0.0  # at the start there is nothing to cover
        shares = shares[later] if later.any() else shares
    low, high = _counting(level, number, shares.size)
    beyond = (shares.values < low) | ((shares.values > high) & (space == "dual"))
    if "time" in shares.dims:
        axis = one(ax, 2.6, 4.2)
        points = 100.0 * (shares.values - level)
        heat_map(axis, shares["time"].values, points, beyond, f"coverage less {100.0 * level:g} %  (points)")
    else:
        axis = one(ax)
        axis.axhspan(100.0 * low, 100.0 * high, color="0.5", alpha=0.2, lw=0, zorder=0)
        _drawing.zero_line(axis, 100.0 * level)
        where, percent = shares["coordinate"].values, 100.0 * shares.values
        axis.plot(where, percent, "o", ms=3, color=_drawing.inks(1)[0])
        axis.plot(where[beyond], percent[beyond], "o", ms=6, mfc="none", color=_drawing.inks(2)[1])
        axis.set(xlabel="coordinate", ylabel="paths inside throughout (%)")
        _drawing.bare(axis)
    axis.set_title(f"{space}, {number:,} runs" if number else space, loc="left")
    return figure_of(axis)


def _counting(level: float, runs: int, cells: int) -> tuple[float, float]:
    """Between which shares all counts of a nominal band lie but for a small chance."""
    from scipy import stats

    if not runs:
        return 0.0, 1.0
    tail = 0.5 * _CHANCE / cells
    low, high = stats.binom.ppf([tail, 1.0 - tail], runs, level)
    return float(low) / runs, float(high) / runs


def heat_map(axis: Axes, times: Floats, points: Floats, beyond: NDArray[Any], label: str) -> None:
    """Coverage less level (time, coordinate) as a picture, times evenly spaced whatever they are; dots beyond."""
    from matplotlib.ticker import MaxNLocator

    largest = float(np.nanmax(np.abs(points), initial=0.0))
    reach = float(np.clip(largest, *REACH))
    count = points.shape[1]
    image = axis.imshow(
        points.T,
        cmap="RdBu",
        vmin=-reach,
        vmax=reach,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(-0.5, len(times) - 0.5, -0.5, count - 0.5),
    )
    size = float(np.clip(120.0 / count, 1.5, 4.0))
    axis.plot(*np.nonzero(beyond), "o", color="k", ms=size, mec="w", mew=0.15 * size)
    axis.set_xlim(-0.5, len(times) - 0.5)
    axis.set_ylim(-0.5, count - 0.5)
    room = max(3, int(axis.get_position().width * axis.figure.bbox.width / axis.figure.dpi / 0.4))
    picked = np.unique(np.linspace(0, len(times) - 1, min(len(times), room)).astype(int))
    axis.set_xticks(picked, [f"{times[k]:.3g}" for k in picked])
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel=r"time  $t = n\gamma$", ylabel="coordinate")
    axis.figure.colorbar(image, ax=axis, extend="both" if largest > reach else "neither", label=label)
