"""Paths, means and bands over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check, _drawing
from rdasde.plot._axes import coordinates_of, dataset, figure_of, one, runs_and_theory, several, telling

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rdasde._regularizers.base import Regularizer

_SPACES = ("dual", "primal")


def trajectories(
    runs: xr.Dataset,
    theory: xr.Dataset,
    coordinates: ArrayLike | None = None,
    *,
    level: float = 0.95,
    ax: Axes | Iterable[Axes] | None = None,
    regularizer: Regularizer | None = None,
) -> Figure:
    """One run, the mean and the band of chosen coordinates, in the dual and in the primal space.

    Parameters
    ----------
    runs : xarray.Dataset
        From ``simulate(..., keep="paths")``; its first run is drawn (a zigzag).
    theory : xarray.Dataset
        From `approximate`; its mean (smooth) and its band are drawn, in the color of their coordinate.
    coordinates : array_like of int, optional
        Which coordinates, counted from 0. When not given, up to three that show most: the largest at the end, the
        smallest that is not zero, and one that is.
    level : float
        Of the band.
    ax : matplotlib.axes.Axes, or two of them, optional
        Where to draw: the primal panel into one, the dual and the primal panel into two. A new figure when not given.
    regularizer : Regularizer, optional
        The mirror map, where it is a function of your own (`CustomRegularizer`), which a result does not carry. Paths
        are drawn without it, too, but for the region in green.

    Returns
    -------
    matplotlib.figure.Figure
        Dual panel with the region ``|v| <= g(t)`` in green, where the primal coordinate is exactly zero; primal
        panel.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is drawn.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, -0.3, 0.0], rs.AR1(3, 0.5))
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> runs = rs.simulate(problem, algorithm, 5.0, seed=0)
    >>> figure = rs.plot.trajectories(runs, rs.approximate(problem, algorithm, 5.0))
    >>> [axis.get_ylabel() for axis in figure.axes]
    ['dual  $v_j$', 'primal  $w_j$']
    """
    runs, theory = runs_and_theory(runs, theory)
    level = _check.level(level)
    chosen = coordinates_of(
        telling(theory, runs) if coordinates is None else coordinates, ("theory", theory), ("runs", runs)
    )
    axes = list(_drawing.panels()[1]) if ax is None else several(ax, (1, 2))
    labels = {int(j): f"coordinate {j}" for j in chosen}
    _drawing.draw_pair(axes, runs, theory, labels, level, _SPACES[2 - len(axes) :], ax is None, regularizer)
    return figure_of(axes[0])


def band(band: xr.Dataset, coordinates: ArrayLike | None = None, *, ax: Axes | None = None) -> Figure:
    """Bands over time, each coordinate in a color of its own, with thin edges where they overlap.

    Parameters
    ----------
    band : xarray.Dataset
        From `rdasde.band`.
    coordinates : array_like of int, optional
        Which coordinates, counted from 0; when not given, the three whose bands end furthest up, furthest down, and
        nearest to zero.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure when not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is drawn.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, -0.3, 0.0], rs.AR1(3, 0.5))
    >>> theory = rs.approximate(problem, rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6)), 5.0)
    >>> figure = rs.plot.band(rs.band(theory), [0, 2])
    >>> figure.axes[0].get_ylabel()
    'primal  $w_j$'
    """
    band = dataset("band", band, "rs.band")
    if not {"lower", "upper"} <= set(band.data_vars):
        raise _check.bad("band", "a Dataset without lower and upper", "what rs.band returned", "pass that Dataset")
    if "coordinate" not in band["lower"].dims:
        return _band_of_one(band, coordinates, one(ax))
    if coordinates is None:
        last = band.isel(time=-1)
        middle = 0.5 * (last["lower"].values + last["upper"].values)
        ends = (middle.argmax(), middle.argmin(), np.abs(middle).argmin())
        coordinates = list(dict.fromkeys(int(band["coordinate"].values[int(k)]) for k in ends))
    chosen = coordinates_of(coordinates, ("band", band))
    axis = one(ax)
    space, time = str(band.attrs.get("space", "primal")), band["time"].values
    for j, ink in zip(chosen, _drawing.inks(len(chosen)), strict=True):
        here = band.sel(coordinate=j)
        lower, upper = here["lower"].values, here["upper"].values
        _drawing.draw_band(axis, time, lower, upper, ink)
        axis.fill_between([], [], color=ink, alpha=0.3, label=f"coordinate {j}")
    _drawing.over_time(axis)
    what = "mean of the " if band.attrs.get("of") == "mean" else ""
    axis.set_ylabel(f"{what}{space}  ${_drawing.space_symbol(space)}_j$")
    axis.legend(title=f"{100.0 * float(band.attrs['level']):g} %" if "level" in band.attrs else None, frameon=False)
    return figure_of(axis)


def _band_of_one(band: xr.Dataset, coordinates: ArrayLike | None, axis: Axes) -> Figure:
    """That of a function of the state."""
    name = str(band.attrs.get("of", "value"))
    if coordinates is not None:
        raise _check.bad("coordinates", "given", f"None for a band of {name!r}, which has none", "leave it out")
    ink = _drawing.inks(1)[0]
    _drawing.draw_band(axis, band["time"].values, band["lower"].values, band["upper"].values, ink)
    label = f"{100.0 * float(band.attrs['level']):g} %" if "level" in band.attrs else None
    axis.fill_between([], [], color=ink, alpha=0.3, label=label)
    _drawing.over_time(axis)
    axis.set_ylabel(name)
    if label is not None:
        axis.legend(frameon=False)
    return figure_of(axis)
