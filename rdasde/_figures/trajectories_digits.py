"""Sparse online PCA on real data, and the loading as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import rdasde as rs
from rdasde import _drawing
from rdasde._check import Floats
from rdasde._figures._data import data_set, random_direction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HORIZON, RUNS, PATHS, SEED = 60.0, 240, 240, 60  # the seed is the horizon; nothing was picked
PIXELS = ((4, 2), (1, 2), (4, 4), (4, 6))  # row and column


def draw() -> Figure:
    """Dual and primal panel for four pixels; the dense loading, the sparse one, and how surely a pixel is zero."""
    rows = data_set("digits").data
    rows = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    problem = rs.OnlinePCA.from_data(rows * np.sqrt(2.0 / values[-1]))
    algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(c=2.0, mu=0.8))
    start = random_direction(64, SEED)
    settings: dict[str, Any] = {"times": 121, "start": start, "seed": SEED}
    runs = rs.simulate(problem, algorithm, HORIZON, replicates=RUNS, **settings)
    theory = rs.approximate(problem, algorithm, HORIZON, method="paths", paths=PATHS, check=False, **settings)
    shown = rs.simulate(problem, algorithm, HORIZON, **settings | {"times": 801})  # the first run, finer

    final = runs["primal"].values[:, -1]
    mean = final.mean(axis=0)
    dense = vectors[:, -1] * np.sign(vectors[:, -1] @ mean)
    never = {"run": (final == 0.0).mean(axis=0), "path": theory["probability_zero"].values[-1]}

    figure = _drawing.page(5.1)
    axes = figure.subplot_mosaic([[*"dddppp"], [*"eellzz"]], height_ratios=(1.2, 1.0))
    labels = {8 * i + j: f"pixel ({i}, {j})" for i, j in PIXELS}
    _drawing.draw_pair(np.array([axes["d"], axes["p"]]), shown, theory, labels)
    axes["d"].set(title="dual", ylabel="$v_j$")
    axes["p"].set(title="primal", ylabel="$w_j$")
    reach = float(np.abs(dense).max())
    _picture(axes["e"], dense, "dense loading", "RdBu_r", -reach, reach)
    _picture(axes["l"], mean, f"mean of {RUNS} runs", "RdBu_r", -reach, reach)
    _picture(axes["z"], never["run"], "$P(w_j = 0)$, runs", "Greens", 0.0, 1.0)
    often = never["run"] > 0.5
    for j in np.flatnonzero(often):
        axes["l"].plot(j % 8, j // 8, "x", color="0.55", ms=3, mew=0.6)

    _drawing.letters(axes[name] for name in "dpelz")

    held = rs.coverage(runs, rs.band(theory, space="dual")).values[1:]
    direction = mean / np.linalg.norm(mean)
    kept = float(np.mean((rows @ direction) ** 2)) / float(values[-1])
    sure = int(np.count_nonzero(rows.std(axis=0) == 0.0))
    miss = float(np.abs(never["run"] - never["path"]).max())
    _drawing.caption(
        figure,
        f"Leading component of scikit-learn's digits ({len(rows)} pictures of 8 × 8 pixels, centered, scaled to a "
        "leading eigenvalue of 2), streamed with replacement: Oja's rule with the soft-threshold, step size $10^{-3}$, "
        r"$c = 2$, $\mu = 0.8$, from a random unit vector. **a**, **b**: one run (zigzag), mean and 95 % band of "
        f"{PATHS} paths of the dual diffusion. **c** to **e**: {int(often.sum())} of 64 pixels (crosses) are exactly "
        f"zero at "
        f"the end in more than half of {RUNS} runs, {sure} of them because they are blank in every picture; the mean "
        f"loading still carries {100 * kept:.1f} % of the variance of the dense eigenvector "
        f"(cosine {abs(float(direction @ dense)):.3f}; norm {np.linalg.norm(mean):.3f}: the growing threshold shrinks "
        f"it). The dual band holds in {100 * held.mean():.1f} % of cases, averaged over pixels and times (worst pixel "
        f"{100 * held.mean(axis=0).min():.1f} %); the diffusion's $P(w_j = 0)$ at the end is within {miss:.3f} of the "
        f"share of runs at every pixel, {np.abs(never['run'] - never['path']).mean():.3f} on average.",
    )
    return figure


def _picture(axis: Axes, values: Floats, title: str, colors: str, low: float, high: float) -> None:
    """An 8 x 8 picture, the pixels whose trajectories are drawn in a frame of their color."""
    from matplotlib.patches import Rectangle

    image = axis.imshow(values.reshape(8, 8), cmap=colors, vmin=low, vmax=high)
    axis.figure.colorbar(image, ax=axis, shrink=0.75, aspect=15)
    axis.set(title=title, xticks=[0, 2, 4, 6], yticks=[0, 2, 4, 6])
    for (i, j), ink in zip(PIXELS, _drawing.inks(len(PIXELS)), strict=True):
        axis.add_patch(Rectangle((j - 0.45, i - 0.45), 0.9, 0.9, fill=False, ec=ink, lw=1.2))
