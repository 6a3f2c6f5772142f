"""The published trajectory figure, redrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import rdasde as rs
from rdasde import _drawing
from rdasde._figures import published

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw() -> Figure:
    """Dual and primal panel: one run, the limiting ODE, the thresholded region, the published band."""
    problem, algorithm, times = published.problem(), published.algorithm(), published.drawn_times()
    kept = list(published.COORDINATES)
    runs = rs.simulate(problem, algorithm, published.HORIZON, times=times, coordinates=kept, seed=published.SEED)
    theory = rs.approximate(problem, algorithm, published.HORIZON, times=times)
    lower, upper = published.published_band(problem.coef)
    figure, axes = _drawing.panels(2.75)
    t = runs["time"].values
    threshold = theory["threshold"].values
    _drawing.shade_threshold(axes[0], t, -threshold, threshold)
    for axis, space in zip(axes, ("dual", "primal"), strict=True):
        for j, ink in zip(kept, _drawing.inks(len(kept)), strict=True):
            if space == "primal" and np.isfinite(lower[j]):
                _drawing.draw_band(axis, t, np.full(len(t), lower[j]), np.full(len(t), upper[j]), ink)
            _drawing.draw_path(axis, t, runs[space].sel(coordinate=j).values[0], ink)
            mean = theory[f"{space}_ode"].sel(coordinate=j).values
            _drawing.draw_mean(axis, t, mean, ink, label=f"coordinate {j}")
        axis.set(title=space, ylabel=f"${_drawing.space_symbol(space)}_j$")
    _drawing.finish(axes, r"$w^*_j \pm 1.96\,(\gamma/2)^{1/2}$", ncols=5)
    _drawing.letters(axes)
    _drawing.caption(
        figure,
        "One run of gRDA on linear regression (zigzag), the ODE of its mean (smooth) and the published asymptotic "
        r"band, at the published settings: step size $\gamma = 10^{-4}$, 200 000 steps, $c = \sqrt{2}$, $\mu = 0.51$, "
        r"$H_{ij} = 0.8^{|i-j|}$, $d = 200$, noise 1 (the published paths jitter as if it were 2, the published band "
        "assumes 1). Coordinates are counted from 0.",
    )
    return figure
