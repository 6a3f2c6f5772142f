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
HORIZON, RUNS, SEED = 10.0, 1000, 10  # the seed is the horizon; nothing was picked


def draw() -> Figure:
    """Dual and primal panel, a band for each end of the eigenvector; how often they hold, over time."""
    leading = np.zeros(DIMENSION)
    leading[:ACTIVE] = (-1.0) ** np.arange(ACTIVE) / np.sqrt(ACTIVE)
    problem = rs.OnlinePCA.spiked([SPIKE], leading[None, :])
    algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(c=0.3, mu=0.6))
    start = random_direction(DIMENSION, SEED)
    settings: dict[str, Any] = {"times": 101, "start": start, "seed": SEED}
    runs = rs.simulate(problem, algorithm, HORIZON, replicates=RUNS, **settings)
    theory = rs.approximate(problem, algorithm, HORIZON, method="paths", paths=RUNS, **settings)

    # the eigenvector is u or -u: which one is left to the noise
    up = {"run": _ends_at(runs, leading), "path": _ends_at(theory, leading)}
    laws = {  # which coordinates, which runs, which paths
        "active, ending at u": (np.arange(ACTIVE), up["run"], up["path"]),
        "active, ending at −u": (np.arange(ACTIVE), ~up["run"], ~up["path"]),
        "inactive": (np.arange(ACTIVE, DIMENSION), up["run"] | True, up["path"] | True),
    }
    figure = _drawing.new_figure(15.0, 5.8)
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
            _drawing.draw_mean(
                axis, t, here[space].values[:, :, 0].mean(axis=0), ink, f"coordinate {coordinates[0] + 1}: {name}"
            )
        held = rs.coverage(runs.isel(replicate=kept), rs.band(here, space="dual"))[1:].mean("coordinate").values
        axes[2].plot(t[1:], held, color=ink, lw=1.5)
        average[name] = 100.0 * float(held.mean())
    axes[1].plot(t, theory["primal_ode"].values[:, 0], color="0.3", lw=1.2, ls=":", label="mean flow")
    axes[0].set_ylabel("dual  $v_j$")
    axes[1].set_ylabel("primal  $w_j$")
    axes[2].axhline(0.95, color="0.4", lw=0.9, ls="--")
    axes[2].set(ylabel=f"coverage of the dual band, {RUNS} runs", ylim=(0.9, 1.0))
    _drawing.finish(axes)

    final = {"run": runs["primal"].values[:, -1], "path": theory["primal"].values[:, -1]}
    zero = {name: 100.0 * float(np.mean(w[:, ACTIVE:] == 0.0)) for name, w in final.items()}
    low = {name: 100.0 * float(np.mean(~ends)) for name, ends in up.items()}
    names = list(laws)
    _drawing.caption(
        figure,
        f"Online PCA by Oja's rule with the soft-threshold: d = {DIMENSION}, A = I + {SPIKE:g} uu', u with {ACTIVE} "
        f"entries ±1/√{ACTIVE}; step size 1e-3, c = 0.3, μ = 0.6. All {RUNS} runs start from one random unit vector, "
        f"whose overlap with u is {start @ leading:.3f}: almost the saddle. The mean flow (dotted) ends at u; the "
        f"noise takes {low['run']:.1f} % of the runs to −u instead, which is as good, and {low['path']:.1f} % of the "
        f"{RUNS} paths of the dual diffusion. Bands (95 %) and means are those of the paths that end at the same "
        "vector; zigzag: the first such run. Right: how often the dual bands hold, averaged over coordinates (dashed: "
        f"95 %); on average over time {average[names[0]]:.1f} and {average[names[1]]:.1f} % for the active ones, which "
        f"near the saddle move as one, and {average[names[2]]:.1f} % for the inactive ones. At the end an inactive "
        f"coordinate is exactly zero in {zero['run']:.1f} % of the runs, and in {zero['path']:.1f} % of the paths.",
    )
    return figure


def _ends_at(result: xr.Dataset, leading: Floats) -> NDArray[np.bool_]:
    """Which runs or paths end on the side of `leading`."""
    last = result["primal"].isel(time=-1).values
    return np.asarray(last @ leading > 0.0)
