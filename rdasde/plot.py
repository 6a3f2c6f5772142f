"""Pictures: paths, mean curves, thresholded region and bands, in the dual and in the primal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._drawing import (  # noqa: F401
    BLUE,
    GREEN,
    INK,
    caption,
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# the rest of the kit can be had from here too, for notebooks that draw on their own, but is not what `dir` shows
__all__ = ["calibration", "trajectories"]

_LINES = 400  # of a quantile plot, at most
_POINTS = (2.5, 15.0)  # the colors of coverage reach so far from the level, at least and at most


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


def calibration(result: xr.Dataset, *, space: Literal["dual", "primal"] = "dual") -> Figure:
    """How often the band holds, by time and coordinate, and the quantiles of the theory against the runs.

    Parameters
    ----------
    result : xarray.Dataset
        From `rdasde.validate.calibration`.
    space : {"dual", "primal"}
        Of the coverage; quantiles are those of the dual.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each method. Left, coverage less level in points: blue where the band holds too often, red too seldom,
        dots where it does so beyond what counting allows. Right, how many more runs than the probability lie below the
        theory's quantile, one line for each time and coordinate; grey is what counting allows.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is drawn.
    """
    import xarray as xr

    _check.instance("result", result, xr.Dataset, "what rs.validate.calibration returned", "pass that Dataset")
    if not {"coverage", "below", "worst_allowed"} <= set(result.data_vars):
        raise _check.bad(
            "result",
            "a Dataset without coverage by method",
            "what rs.validate.calibration returned",
            "pass that Dataset",
        )
    _check.choice("space", space, ("dual", "primal"))
    shown = [name for name in result["theory"].values if np.isfinite(result["average"].sel(theory=name, space=space))]
    left_out = [f"{name}: {result.attrs[f'reason_{name}']}" for name in result["theory"].values if name not in shown]
    if not shown:
        raise _check.bad(
            "result", f"one without a {space} band of any method", "one with a band", "use methods=('paths',)"
        )
    figure = new_figure(11.0, 0.9 + 3.3 * len(shown) + 0.25 * len(left_out))
    axes = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1.25, 1.0))
    later = result.isel(time=result["time"].values > 0.0)
    for row, name in zip(axes, shown, strict=True):
        of = later.sel(theory=name)
        _draw_coverage(row[0], of.sel(space=space), str(name))
        _draw_quantiles(row[1], of)
    axes[-1, 0].set_xlabel(r"time  $t = n\gamma$")
    axes[-1, 1].set_xlabel("probability of the theory's quantile  (%)")
    reasons = [f"{name}: {result.attrs[f'reason_{name}']}" for name in shown]
    caption(
        figure,
        f"{result.attrs['replicates']:,} runs; {result.attrs['problem']}, step size {result.attrs['step_size']:.3g}. "
        "Left: dots where counting does not allow it. Right: a line for each time and coordinate; grey is what "
        "counting allows. " + " ".join(reasons + left_out),
    )
    return figure


def _draw_coverage(axis: Axes, of: xr.Dataset, name: str) -> None:
    """Coverage less level as a picture, times evenly spaced whatever they are."""
    from matplotlib.ticker import MaxNLocator

    level, times = float(of.attrs["level"]), of["time"].values
    covered = of["coverage"].values.T
    points = 100.0 * (covered - level)
    reach = float(np.clip(np.abs(points).max(), *_POINTS))
    image = axis.imshow(
        points,
        cmap="RdBu",
        vmin=-reach,
        vmax=reach,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(-0.5, len(times) - 0.5, -0.5, len(covered) - 0.5),
    )
    high = float(of["best_allowed"]) if of["space"] == "dual" else 1.0
    beyond = np.argwhere((covered < float(of["worst_allowed"])) | (covered > high))
    size = float(np.clip(200.0 / len(covered), 2.0, 6.0))
    axis.plot(beyond[:, 1], beyond[:, 0], "o", color="k", ms=size, mec="w", mew=0.15 * size)
    axis.set_xlim(-0.5, len(times) - 0.5)
    axis.set_ylim(-0.5, len(covered) - 0.5)
    picked = np.unique(np.linspace(0, len(times) - 1, min(len(times), 10)).astype(int))
    axis.set_xticks(picked, [f"{times[k]:.3g}" for k in picked])
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylabel("coordinate")
    verdict = of.attrs[f"verdict_{name}"]
    axis.set_title(f"{name}: {verdict}", loc="left", fontsize=11, weight="bold")
    what = f"{of['space'].item()} coverage less {100.0 * level:g} %  (points)"
    axis.figure.colorbar(image, ax=axis, extend="both" if np.abs(points).max() > reach else "neither", label=what)


def _draw_quantiles(axis: Axes, of: xr.Dataset) -> None:
    """Runs below the theory's quantile less their probability, over the probability on a normal scale."""
    import matplotlib
    from matplotlib.collections import LineCollection
    from scipy.special import ndtri

    probabilities, times = of["probability"].values, of["time"].values
    scores = ndtri(probabilities)
    off = 100.0 * (of["below"].values - probabilities[:, None, None])
    lines = off.reshape(len(scores), -1).T
    known = np.isfinite(lines).all(axis=0)
    lines, scores, probabilities = lines[:, known], scores[known], probabilities[known]
    when = np.repeat(np.linspace(0.0, 1.0, len(times)), off.shape[2])
    picked = np.unique(np.linspace(0, len(lines) - 1, min(len(lines), _LINES)).astype(int))
    low, high = (100.0 * (of[end].values[known] - probabilities) for end in ("below_lowest", "below_highest"))
    axis.fill_between(scores, low, high, color="0.86", lw=0, zorder=0)
    segments = [np.column_stack([scores, lines[k]]) for k in picked]
    colors = matplotlib.colormaps["viridis_r"](0.05 + 0.95 * when[picked])
    alpha = float(np.clip(12.0 / np.sqrt(len(picked)) / 2.0, 0.2, 0.9))
    axis.add_collection(LineCollection(segments, colors=colors, lw=0.9, alpha=alpha))
    axis.axhline(0.0, color="0.35", lw=0.8, zorder=0.5)
    reach = 1.08 * max(float(np.abs(lines).max()), float(np.abs([low, high]).max()))
    axis.set_ylim(-reach, reach)
    axis.set_xlim(scores[0], scores[-1])
    ticks = np.array([0.005, 0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975, 0.995])
    ticks = ticks[(ticks >= probabilities[0]) & (ticks <= probabilities[-1])]
    axis.set_xticks(ndtri(ticks), [f"{100.0 * p:g}" for p in ticks], fontsize=9)
    axis.set_ylabel("runs below its quantile, less\nthe probability  (points)")
    axis.spines[["top", "right"]].set_visible(False)
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(times[0], times[-1]), "viridis_r")
    axis.figure.colorbar(scale, ax=axis, label="time", aspect=30)
