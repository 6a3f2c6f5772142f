"""Whether a band can be trusted: coverage by time and coordinate, and quantiles of the theory against the runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np

from rdasde import _check, _drawing
from rdasde.plot._axes import dataset, figure_of, several
from rdasde.plot._coverage import heat_map

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = 400  # of a quantile plot, at most


def calibration(
    result: xr.Dataset,
    *,
    space: Literal["dual", "primal"] = "dual",
    ax: Iterable[Axes] | None = None,
    caption: bool = False,
) -> Figure:
    """How often the band holds, by time and coordinate, and the quantiles of the theory against the runs.

    Parameters
    ----------
    result : xarray.Dataset
        From `rdasde.validate.calibration`.
    space : {"dual", "primal"}
        Of the coverage; quantiles are those of the dual.
    ax : array of matplotlib.axes.Axes, optional
        Two for each method that is drawn, a row each; a new figure when not given.
    caption : bool
        Whether the caption, which is the attribute ``caption`` of a new figure, stands in the picture, too.

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

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> options = {"methods": "closure", "replicates": 200, "times": 6, "seed": 0}
    >>> figure = rs.plot.calibration(rs.validate.calibration(problem, algorithm, 2.0, **options))
    >>> figure.axes[0].get_title("left")
    'closure: trust'
    """
    result = dataset("result", result, "rs.validate.calibration")
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
    if ax is None:
        figure = _drawing.page(0.3 + 2.1 * len(shown))
        axes = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1.25, 1.0))
    else:
        axes = np.array(several(ax, (2 * len(shown),)), dtype=object).reshape(-1, 2)
    later = result.isel(time=result["time"].values > 0.0)
    for row, name in zip(axes, shown, strict=True):
        of = later.sel(theory=name)
        _draw_coverage(row[0], of.sel(space=space), str(name))
        _draw_quantiles(row[1], of)
    axes[-1, 1].set_xlabel("probability of the theory's quantile  (%)")
    reasons = [f"{name}: {result.attrs[f'reason_{name}']}" for name in shown]
    if ax is None:
        text = (
            f"{result.attrs['replicates']:,} runs; {result.attrs['problem']}, step size "
            f"{result.attrs['step_size']:.3g}. Left: dots where counting does not allow it. Right: a line for each "
            "time and coordinate; grey is what counting allows. " + " ".join(reasons + left_out)
        )
        _drawing.caption(figure, text, caption)
    return figure_of(axes[0, 0])


def _draw_coverage(axis: Axes, of: xr.Dataset, name: str) -> None:
    """Coverage less level as a picture."""
    level, covered = float(of.attrs["level"]), of["coverage"].values
    high = float(of["best_allowed"]) if of["space"] == "dual" else 1.0
    beyond = (covered < float(of["worst_allowed"])) | (covered > high)
    what = f"{of['space'].item()} coverage less {100.0 * level:g} %  (points)"
    heat_map(axis, of["time"].values, 100.0 * (covered - level), beyond, what)
    axis.set_title(f"{name}: {of.attrs[f'verdict_{name}']}", loc="left")


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
    ticks = np.array([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
    ticks = ticks[(ticks >= probabilities[0]) & (ticks <= probabilities[-1])]
    axis.set_xticks(ndtri(ticks), [f"{100.0 * p:g}" for p in ticks])
    axis.set_ylabel("runs below its quantile, less\nthe probability  (points)")
    _drawing.bare(axis)
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(times[0], times[-1]), "viridis_r")
    axis.figure.colorbar(scale, ax=axis, label="time", aspect=30)
