"""Sparse online PCA of a spiked model, from a start close to the saddle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import rdasde as rs
from rdasde import _drawing
from rdasde._bands.variables import SPACES
from rdasde._check import Floats
from rdasde._figures._data import random_direction

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

DIMENSION, ACTIVE, SPIKE = 150, 20, 2.0
HORIZON, RUNS, SEED = 10.0, 600, 10  # the seed is the horizon; nothing was picked


def draw() -> Figure:
    """Dual and primal panel, a band for each end of the eigenvector; how often they hold, over time."""
    leading = np.zeros(DIMENSION)
    leading[:ACTIVE] = (-1.0) ** np.arange(ACTIVE) / np.sqrt(ACTIVE)
    problem = rs.OnlinePCA.spiked([SPIKE], leading[None, :])
    algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(c=0.3, mu=0.6))
    start = random_direction(DIMENSION, SEED)
    settings: dict[str, Any] = {"times": 101, "start": start, "seed": SEED}
    runs = rs.simulate(problem, algorithm, HORIZON, replicates=RUNS, **settings)
    theory = rs.approximate(problem, algorithm, HORIZON, method="paths", paths=RUNS, check=False, **settings)

    # the eigenvector is u or -u: which one is left to the noise
    up = {"run": _ends_at(runs, leading), "path": _ends_at(theory, leading)}
    laws = {  # which coordinates, which runs, which paths
        "active, ending at $u$": (np.arange(ACTIVE), up["run"], up["path"]),
        "active, ending at $-u$": (np.arange(ACTIVE), ~up["run"], ~up["path"]),
        "inactive": (np.arange(ACTIVE, DIMENSION), up["run"] | True, up["path"] | True),
    }
    figure = _drawing.page(2.7)
    axes = figure.subplots(1, 3)
    t, threshold = theory["time"].values, theory["threshold"].values
    _drawing.shade_threshold(axes[0], t, -threshold, threshold)
    average = {}
    for (name, (coordinates, kept, paths)), ink in zip(laws.items(), _drawing.inks(len(laws)), strict=True):
        here = theory.isel(path=paths, coordinate=coordinates)
        first = int(np.flatnonzero(kept)[0])
        run = rs.simulate(
            problem, algorithm, HORIZON, replicates=[first], **settings | {"times": 801}, coordinates=coordinates[:1]
        )
        for axis, space in zip(axes, SPACES, strict=False):
            edges = rs.band(here.isel(coordinate=[0]), space=space)
            _drawing.draw_band(axis, t, edges["lower"].values[:, 0], edges["upper"].values[:, 0], ink)
            _drawing.draw_path(axis, run["time"].values, run[space].values[0, :, 0], ink)
            mean = here[space].values[:, :, 0].mean(axis=0)
            _drawing.draw_mean(axis, t, mean, ink, f"coordinate {coordinates[0]}: {name}")
        held = rs.coverage(runs.isel(replicate=kept), rs.band(here, space="dual"))[1:].mean("coordinate").values
        axes[2].plot(t[1:], 100.0 * held, color=ink)
        average[name] = 100.0 * float(held.mean())
    axes[1].plot(t, theory["primal_ode"].values[:, 0], color="0.3", ls=":", label="mean flow", zorder=4)
    axes[0].set(title="dual", ylabel="$v_j$")
    axes[1].set(title="primal", ylabel="$w_j$")
    axes[2].axhline(95.0, color="0.4", lw=0.8, ls="--")
    _drawing.finish(axes, "95 % band", ncols=3)
    axes[2].set(title=f"coverage, {RUNS} runs", ylabel="dual band holds (%)", ylim=(90.0, 100.0))
    _drawing.letters(axes)

    final = {"run": runs["primal"].values[:, -1], "path": theory["primal"].values[:, -1]}
    zero = {name: 100.0 * float(np.mean(w[:, ACTIVE:] == 0.0)) for name, w in final.items()}
    low = {name: 100.0 * float(np.mean(~ends)) for name, ends in up.items()}
    names = list(laws)
    _drawing.caption(
        figure,
        f"Online PCA by Oja's rule with the soft-threshold: $d = {DIMENSION}$, $A = I + {SPIKE:g}\\,uu'$, $u$ with "
        f"{ACTIVE} "
        rf"entries $\pm 1/\sqrt{{{ACTIVE}}}$; step size $10^{{-3}}$, $c = 0.3$, $\mu = 0.6$. All {RUNS} runs start "
        f"from one random unit vector, whose overlap with $u$ is {start @ leading:.3f}: almost the saddle. The mean "
        f"flow (dotted) ends at $u$; the noise takes {low['run']:.1f} % of the runs to $-u$ instead, which is as good, "
        f"and {low['path']:.1f} % of the "
        f"{RUNS} paths of the dual diffusion. Bands (95 %) and means are those of the paths that end at the same "
        "vector; zigzag: the first such run. **c**: how often the dual bands hold, averaged over coordinates (dashed: "
        f"95 %); on average over time {average[names[0]]:.1f} and {average[names[1]]:.1f} % for the active ones, which "
        f"near the saddle move as one, and {average[names[2]]:.1f} % for the inactive ones. At the end an inactive "
        f"coordinate is exactly zero in {zero['run']:.1f} % of the runs, and in {zero['path']:.1f} % of the paths.",
    )
    return figure


def _ends_at(result: xr.Dataset, leading: Floats) -> NDArray[np.bool_]:
    """Which runs or paths end on the side of `leading`."""
    last = result["primal"].isel(time=-1).values
    return np.asarray(last @ leading > 0.0)
