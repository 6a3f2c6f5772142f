"""The published band and ours over the same runs, and how often each holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import rdasde as rs
from rdasde import _drawing
from rdasde._check import Floats
from rdasde._figures import published

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPLICATES = 500
MARKS = (5.0, 10.0, 20.0)  # times at which coverage is drawn
_RED = "#b2182b"


def draw() -> Figure:
    """Upper row: a run with either band. Lower row: coverage of either band, coordinate by coordinate."""
    problem, algorithm = published.problem(), published.algorithm()
    kept = list(published.COORDINATES)
    times = np.linspace(0.0, published.HORIZON, 401)
    runs = rs.simulate(problem, algorithm, published.HORIZON, times=times, replicates=REPLICATES, seed=published.SEED)
    theory = rs.approximate(problem, algorithm, published.HORIZON, times=times)
    ours = rs.band(theory)
    asymptotic = ours.copy()
    lower, upper = published.published_band(problem.coef)
    asymptotic["lower"], asymptotic["upper"] = ours["lower"] * 0.0 + lower, ours["upper"] * 0.0 + upper
    held = {"published": rs.coverage(runs, asymptotic), "ours": rs.coverage(runs, ours)}
    held_dual = rs.coverage(runs, rs.band(theory, space="dual"))

    figure = _drawing.new_figure(12.0, 9.2)
    axes = figure.subplots(2, 2, sharey="row")
    t = runs["time"].values
    for axis, edges, means in ((axes[0, 0], asymptotic, "primal_ode"), (axes[0, 1], ours, "primal_mean")):
        for j, ink in zip(kept, _drawing.inks(len(kept)), strict=True):
            here = edges.sel(coordinate=j)
            _drawing.draw_band(axis, t, here["lower"].values, here["upper"].values)
            for replicate in range(3):
                _drawing.draw_path(axis, t, runs["primal"].values[replicate, :, j], ink)
            _drawing.draw_mean(axis, t, theory[means].values[:, j], ink, label=f"coordinate {j + 1}")
        axis.axhline(0.0, color="0.55", lw=0.6, zorder=0.5)
        axis.set_xlabel(r"time  $t = n\gamma$")
        axis.margins(x=0.0)
    axes[0, 0].set(ylabel="primal  $w_j$", title="published: limiting ODE, $w^*_j \\pm 1.96\\sqrt{\\gamma/2}$")
    axes[0, 1].set(title="ours: closure of the dual diffusion, mapped")
    handles, _ = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)

    number = problem.dimension
    for axis, name in ((axes[1, 0], "published"), (axes[1, 1], "ours")):
        axis.axhline(0.95, color="0.4", lw=0.9, ls="--")
        for mark, ink in zip(MARKS, (_drawing.BLUE, "#e08214", _RED), strict=True):
            share = held[name].sel(time=mark, method="nearest").values
            drawn = np.isfinite(asymptotic["lower"].values[0]) if name == "published" else np.ones(number, dtype=bool)
            where = np.arange(1, number + 1)[drawn]
            axis.plot(where, share[drawn], ".", ms=4.5, color=ink, label=f"t = {mark:g}")
        axis.set(xlabel="coordinate", xlim=(0, number + 1), ylim=(-0.03, 1.03))
    axes[1, 0].set(ylabel=f"coverage in {REPLICATES} runs")
    axes[1, 0].text(150, 0.5, "no band is drawn\noff the support", ha="center", color="0.4", fontsize=9)
    axes[1, 1].legend(frameon=False, loc="lower left", title="dashed: nominal 95 %", ncols=3)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)

    def shares(values: Floats, digits: int) -> str:
        return " / ".join(f"{100.0 * value:.{digits}f}" for value in values)

    def at(name: str, j: int) -> str:
        return shares(held[name].sel(time=list(MARKS), method="nearest").values[:, j], 0)

    support = held["ours"].sel(time=list(MARKS), method="nearest").values[:, problem.coef != 0.0]
    off = held_dual.sel(time=list(MARKS), method="nearest").values[:, problem.coef == 0.0]
    _drawing.caption(
        figure,
        f"Over {REPLICATES} runs at t = 5 / 10 / 20 the published band holds for coordinate 51 in "
        f"{at('published', 50)} % of runs, ours in {at('ours', 50)} %. The published band is the asymptotic one, "
        "centred at w*: where the sign of w* changes under a correlated design, the mean has not converged and the "
        "growing threshold drags it, by up to three standard deviations. Ours follows both, from the mean and "
        "covariance of the dual diffusion pushed through the soft-threshold: on average over the support it holds in "
        f"{shares(support.mean(axis=1), 1)} %, on the worst coordinate in {shares(support.min(axis=1), 0)} %. Off "
        "the support w is exactly zero most of the time, so that every band that contains zero holds; the dual, which "
        f"never rests, is covered there in {shares(off.mean(axis=1), 1)} % of runs. It is not Gaussian there: its "
        "shape comes from one Fokker-Planck equation a coordinate.",
    )
    return figure
