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
    "no regularizer": ("$w = v$", rs.RDA(STEP_SIZE)),
    "L1": (f"$w_j = {_SOFT}$", rs.RDA(STEP_SIZE, rs.L1(), _POWER)),
    "ElasticNet": (f"$w_j = {_SOFT} / (1 + {L2:g} g)$", rs.RDA(STEP_SIZE, rs.ElasticNet(L2), _POWER)),
    "GroupLasso": (
        r"$w_a = v_a\,(1 - |a|^{1/2}\,g / \Vert v_a\Vert)_+$",
        rs.RDA(STEP_SIZE, rs.GroupLasso(GROUPS), _POWER),
    ),
    "NonNegativeL1": ("$w_j = (v_j - g)_+$", rs.RDA(STEP_SIZE, rs.NonNegativeL1(), _POWER)),
    "Box": (rf"$w_j = \min(\max(v_j, -{SIDE:g}), {SIDE:g})$", rs.RDA(STEP_SIZE, rs.Box(-SIDE, SIDE))),
}


def draw() -> Figure:
    """Six panels: primal bands of all coordinates, one run over them."""
    from matplotlib.lines import Line2D

    problem = rs.LinearRegression(COEF, rs.AR1(len(COEF), 0.5), noise_std=1.0)
    figure = _drawing.page(4.6)
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    axes[0, 0].set_ylim(-0.85, 0.95)
    inks = [_drawing.INK[group] for group in GROUPS]
    covered, zeros, lone = {}, {}, {}
    for axis, (name, (formula, algorithm)) in zip(axes.flat, MAPS.items(), strict=True):
        runs = rs.simulate(problem, algorithm, HORIZON, replicates=RUNS, times=201, seed=SEED)
        theory = rs.approximate(
            problem, algorithm, HORIZON, method="paths", paths=RUNS, times=201, seed=SEED, check=False
        )
        bands = {space: rs.band(theory, space=space) for space in ("dual", "primal")}
        covered[name] = {space: 100.0 * float(rs.coverage(runs, edges)[1:].mean()) for space, edges in bands.items()}
        zeros[name] = [100.0 * float((result["primal"].values[:, -1, IDLE] == 0.0).mean()) for result in (runs, theory)]
        lone[name] = 100.0 * float((runs["primal"].values[:, -1, 10:] == 0.0).mean())
        t = runs["time"].values
        for j, ink in enumerate(inks):
            edges = bands["primal"].sel(coordinate=j)
            _drawing.draw_band(axis, t, edges["lower"].values, edges["upper"].values, ink)
            _drawing.draw_path(axis, t, runs["primal"].values[0, :, j], ink)
            _drawing.draw_mean(axis, t, theory["primal_mean"].values[:, j], ink)
            axis.plot(HORIZON, COEF[j], "<", color=ink, ms=3, clip_on=False, zorder=4)
        axis.text(0.98, 0.02, _note(covered[name]), transform=axis.transAxes, ha="right", fontsize=7)
        axis.text(0.98, 0.86, formula, transform=axis.transAxes, ha="right", fontsize=7)
        axis.set_title(name)
        _drawing.over_time(axis)
    for axis in axes[0]:
        axis.set_xlabel("")
    for axis in axes[:, 0]:
        axis.set_ylabel("primal  $w_j$")
    handles = [Line2D([], [], color=_drawing.INK[g], label=f"coordinates {3 * g} to {3 * g + 2}") for g in range(4)]
    handles.append(Line2D([], [], color="0.4", marker="<", ls="", label="$w^*_j$"))
    _drawing.legend_above(figure, handles, ncols=5)
    _drawing.letters(axes.flat)
    dual = [shares["dual"] for shares in covered.values()]
    _drawing.caption(
        figure,
        f"Linear regression in 12 coordinates ($H_{{ij}} = 0.5^{{|i-j|}}$, noise 1), step size {STEP_SIZE:g}, "
        r"$g = \gamma^{1/2} t^{0.6}$ where a map has a threshold: one run (zigzag), mean and 95 % band of "
        f"{RUNS} paths of the dual diffusion. Bands are dual quantiles through the map; for the group lasso, which "
        f"couples coordinates, quantiles of the mapped paths. Counted over {RUNS} runs, all coordinates and times, "
        f"the dual bands hold in {np.mean(dual):.1f} % of "
        "cases and the primal ones at least as often, since a zero or the side of a box is an atom that a band "
        "contains. A coordinate of the group without coefficients (6 to 8) is exactly zero at the end, in runs "
        "and in paths, in "
        + ", ".join(f"{a:.0f} and {b:.0f} % ({name})" for name, (a, b) in zeros.items() if max(a, b) > 0.0)
        + ". The group lasso keeps or drops a group as one: coordinates 10 and 11 are carried by 9 (zero in "
        f"{lone['GroupLasso']:.0f} % of runs, against {lone['L1']:.0f} % under L1). Within the orthant and the box the "
        "coordinates that may move settle away from $w^*$, to make up for those that may not.",
    )
    return figure


def _note(covered: dict[str, float]) -> str:
    """What is counted in a panel."""
    return f"coverage: dual {covered['dual']:.1f} %, primal {covered['primal']:.1f} %"
