"""One problem under every regularizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import rdasde as rs
from rdasde import _drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COEF = np.array([0.6, 0.5, 0.4, -0.6, -0.5, -0.4, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0])
GROUPS = np.arange(12) // 3
IDLE = slice(6, 9)  # the group without coefficients
STEP_SIZE, HORIZON, RUNS, SEED = 2e-3, 10.0, 1000, 10  # the seed is the horizon; nothing was picked
L2, SIDE = 4.0, 0.45
_POWER = rs.PowerLaw(c=1.0, mu=0.6)
_SOFT = r"\mathrm{sgn}(v_j)\,(|v_j| - g)_+"
MAPS = {
    "no regularizer: $w = v$": rs.RDA(STEP_SIZE),
    f"L1: $w_j = {_SOFT}$": rs.RDA(STEP_SIZE, rs.L1(), _POWER),
    f"ElasticNet: $w_j = {_SOFT} / (1 + {L2:g} g)$": rs.RDA(STEP_SIZE, rs.ElasticNet(L2), _POWER),
    r"GroupLasso: $w_a = v_a\,(1 - \sqrt{|a|}\,g / \Vert v_a\Vert)_+$": rs.RDA(
        STEP_SIZE, rs.GroupLasso(GROUPS), _POWER
    ),
    "NonNegativeL1: $w_j = (v_j - g)_+$": rs.RDA(STEP_SIZE, rs.NonNegativeL1(), _POWER),
    rf"Box: $w_j = \min(\max(v_j, -{SIDE:g}), {SIDE:g})$": rs.RDA(STEP_SIZE, rs.Box(-SIDE, SIDE)),
}


def draw() -> Figure:
    """Six panels: primal bands of all coordinates, one run over them."""
    from matplotlib.lines import Line2D

    problem = rs.LinearRegression(COEF, rs.AR1(len(COEF), 0.5), noise_std=1.0)
    figure = _drawing.new_figure(13.0, 8.6)
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    inks = [_drawing.INK[group] for group in GROUPS]
    covered, zeros, lone = {}, {}, {}
    for axis, (title, algorithm) in zip(axes.flat, MAPS.items(), strict=True):
        runs = rs.simulate(problem, algorithm, HORIZON, replicates=RUNS, times=201, seed=SEED)
        theory = rs.approximate(problem, algorithm, HORIZON, method="paths", paths=RUNS, times=201, seed=SEED)
        bands = {space: rs.band(theory, space=space) for space in ("dual", "primal")}
        name = title.split(":")[0]
        covered[name] = {space: 100.0 * float(rs.coverage(runs, edges)[1:].mean()) for space, edges in bands.items()}
        zeros[name] = [100.0 * float((result["primal"].values[:, -1, IDLE] == 0.0).mean()) for result in (runs, theory)]
        lone[name] = 100.0 * float((runs["primal"].values[:, -1, 10:] == 0.0).mean())
        t = runs["time"].values
        for j, ink in enumerate(inks):
            edges = bands["primal"].sel(coordinate=j)
            _drawing.draw_band(axis, t, edges["lower"].values, edges["upper"].values, ink)
            _drawing.draw_path(axis, t, runs["primal"].values[0, :, j], ink)
            axis.plot(t, theory["primal_mean"].values[:, j], color=ink, lw=1.4)
            axis.plot(HORIZON, COEF[j], "<", color=ink, ms=5, clip_on=False, zorder=4)
        axis.text(0.98, 0.02, _note(covered[name]), transform=axis.transAxes, ha="right", fontsize=9)
        axis.set_title(title, fontsize=10.5)
        axis.margins(x=0.0)
        axis.axhline(0.0, color="0.55", lw=0.6, zorder=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[1]:
        axis.set_xlabel(r"time  $t = n\gamma$")
    for axis in axes[:, 0]:
        axis.set_ylabel("primal  $w_j$")
    handles = [
        Line2D([], [], color=_drawing.INK[g], lw=2.0, label=f"coordinates {3 * g + 1}–{3 * g + 3}") for g in range(4)
    ]
    handles.append(Line2D([], [], color="0.4", marker="<", ls="", label="$w^*_j$"))
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)
    dual = [shares["dual"] for shares in covered.values()]
    _drawing.caption(
        figure,
        f"Linear regression in 12 coordinates (H_ij = 0.5^|i−j|, noise 1), step size {STEP_SIZE:g}, g = √γ t^0.6 where "
        f"a map has a threshold: one run (zigzag), mean and 95 % band of {RUNS} paths of the dual diffusion. Bands are "
        "dual quantiles through the map; for the group lasso, which couples coordinates, quantiles of the mapped "
        f"paths. Counted over {RUNS} runs, all coordinates and times, the dual bands hold in {np.mean(dual):.1f} % of "
        "cases and the primal ones at least as often, since a zero or the side of a box is an atom that a band "
        "contains. A coordinate of the group without coefficients (purple) is exactly zero at the end, in runs and in "
        "paths, in "
        + ", ".join(f"{a:.0f} and {b:.0f} % ({name})" for name, (a, b) in zeros.items() if max(a, b) > 0.0)
        + ". The group lasso keeps or drops a group as one: coordinates 11 and 12 are carried by 10 (zero in "
        f"{lone['GroupLasso']:.0f} % of runs, against {lone['L1']:.0f} % under L1). Within the orthant and the box the "
        "coordinates that may move settle away from w*, to make up for those that may not.",
    )
    return figure


def _note(covered: dict[str, float]) -> str:
    """What is counted in a panel."""
    return f"coverage: dual {covered['dual']:.1f} %, primal {covered['primal']:.1f} %"
