"""Which coordinates are exactly zero, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check, _drawing
from rdasde._check import Floats
from rdasde._engine.results import minimizer_of
from rdasde.plot._axes import dataset, figure_of, one

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def support(
    runs: xr.Dataset, theory: xr.Dataset | None = None, *, minimizer: ArrayLike | None = None, ax: Axes | None = None
) -> Figure:
    """``P(w_j = 0)`` over time; where the minimizer is known, false and true positives.

    Parameters
    ----------
    runs : xarray.Dataset
        What `simulate` or `approximate` returned.
    theory : xarray.Dataset, optional
        What `approximate` returned: drawn dashed beside the runs, where the minimizer is known.
    minimizer : array_like of shape (d,), optional
        w*. When not given, that of the problem, where `runs` says it.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure when not given.

    Returns
    -------
    matplotlib.figure.Figure
        With a minimizer: the share of its zero coordinates found active (false positives), of its active ones found
        (true positives), and from paths the probability that the support is exactly its own. Without: ``P(w_j = 0)`` by
        time and coordinate as a picture.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is drawn.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, -0.3, 0.0], rs.AR1(3, 0.5))
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> runs = rs.simulate(problem, algorithm, 5.0, replicates=100, times=11, seed=0)
    >>> figure = rs.plot.support(runs)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['true positives', 'false positives', 'exactly the support']
    """
    runs = _with_states("runs", runs)
    theory = None if theory is None else _with_states("theory", theory)
    kept = runs["coordinate"].values
    if minimizer is None:
        known = minimizer_of(runs)
    else:
        known = _check.array("minimizer", minimizer, (None,), mend="give one number for each coordinate")
    last = max(int(kept.max()), 0 if theory is None else int(theory["coordinate"].values.max()))
    if known is not None and len(known) <= last:
        raise _check.bad(
            "minimizer", f"an array of shape ({len(known)},)", f"one with coordinate {last}", "give all d numbers"
        )
    if known is None:
        axis = one(ax, 2.6, 4.2)
        _picture(axis, runs)
        return figure_of(axis)
    axis = one(ax)
    for result, line in ((runs, "-"), (theory, "--")):
        if result is None:
            continue
        shares = _shares(result, known[result["coordinate"].values] != 0.0)
        for (label, share), ink in zip(shares.items(), _drawing.inks(3), strict=False):
            axis.plot(result["time"], share, line, color=ink, label=label if line == "-" else None)
    _drawing.over_time(axis)
    axis.set(ylabel="share", ylim=(-0.03, 1.03))
    axis.legend(frameon=False)
    return figure_of(axis)


def _with_states(name: str, result: Any) -> xr.Dataset:
    result = dataset(name, result, "simulate or approximate")
    if not {"primal", "probability_zero"} & set(result.data_vars):
        raise _check.bad(name, "a Dataset without primal states", "what simulate or approximate returned", "pass it")
    return result


def _zero(result: xr.Dataset) -> Floats:
    if "probability_zero" in result:
        return np.asarray(result["probability_zero"].values)
    return np.asarray((result["primal"].values == 0.0).mean(axis=0))


def _shares(result: xr.Dataset, active: NDArray[np.bool_]) -> dict[str, Floats]:
    alive = 1.0 - _zero(result)
    shares = {}
    if active.any():
        shares["true positives"] = alive[:, active].mean(axis=1)
    if not active.all():
        shares["false positives"] = alive[:, ~active].mean(axis=1)
    if "primal" in result:
        exact = ((result["primal"].values != 0.0) == active).all(axis=2)
        shares["exactly the support"] = exact.mean(axis=0)
    return shares


def _picture(axis: Axes, result: xr.Dataset) -> None:
    from matplotlib.ticker import MaxNLocator

    time, coordinate = result["time"].values, result["coordinate"].values
    places = np.arange(len(coordinate) + 1) - 0.5
    half = np.diff(time) / 2.0 if len(time) > 1 else np.array([0.5])
    edges = np.concatenate([[time[0]], time[:-1] + half, [time[-1]]]) if len(time) > 1 else time[0] + [-0.5, 0.5]
    shape = axis.pcolormesh(edges, places, _zero(result).T, cmap="cividis", vmin=0.0, vmax=1.0, rasterized=True)
    axis.figure.colorbar(shape, ax=axis, label="$P(w_j = 0)$")
    axis.set(xlabel=r"time  $t = n\gamma$", ylabel="coordinate")
    if np.array_equal(coordinate, np.arange(len(coordinate))):
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        picked = np.unique(np.linspace(0, len(coordinate) - 1, min(len(coordinate), 10)).astype(int))
        axis.set_yticks(picked, [str(coordinate[k]) for k in picked])
