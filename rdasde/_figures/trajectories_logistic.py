"""Sparse logistic regression on real data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import rdasde as rs
from rdasde import _drawing
from rdasde._check import Floats
from rdasde._figures._data import data_set, standardized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HORIZON, RUNS, SEED = 40.0, 600, 40  # the seed is the horizon; nothing was picked
FEATURES = ("worst radius", "worst texture", "worst compactness", "mean fractal dimension")
FADING = "worst compactness"


def draw() -> Figure:
    """Dual and primal panel for four of the thirty features."""
    data = data_set("breast_cancer")
    rows, labels = standardized(data.data), 1.0 - data.target  # 1: malignant
    problem = rs.LogisticRegression.from_data(rows, labels)
    algorithm = rs.RDA(5e-3, rs.L1(), rs.PowerLaw(c=0.5, mu=0.8))
    runs = rs.simulate(problem, algorithm, HORIZON, replicates=RUNS, times=201, seed=SEED)
    theory = rs.approximate(problem, algorithm, HORIZON, method="paths", paths=RUNS, times=201, seed=SEED, check=False)
    names = [str(name) for name in data.feature_names]
    figure, axes = _drawing.panels()
    _drawing.draw_pair(axes, runs, theory, {names.index(name): name for name in FEATURES})
    _drawing.letters(axes)
    held = rs.coverage(runs, rs.band(theory, space="dual")).values[1:]
    final = runs["primal"].values[:, -1]
    never = {"run": (final == 0.0).mean(axis=0), "path": theory["probability_zero"].values[-1]}
    most = int(np.count_nonzero(never["run"] > 0.5))
    right = float(np.mean((rows @ final.mean(axis=0) > 0.0) == (labels == 1.0)))
    every = float(np.mean((rows @ final.T > 0.0) == (labels == 1.0)[:, None]))
    fading = names.index(FADING)
    _drawing.caption(
        figure,
        f"Logistic regression with the soft-threshold on the breast cancer data: {len(rows)} rows, {len(names)} "
        r"standardized features, streamed with replacement; step size 0.005, $c = 0.5$, $\mu = 0.8$, no intercept, 1 "
        r"is "
        f"malignant. One run (zigzag), mean and 95 % band of {RUNS} paths of the dual diffusion. The classes are so "
        f"nearly separable that the maximum-likelihood weights have length {_length(problem.minimizer)}: the weights "
        f"here (length {np.linalg.norm(final.mean(axis=0)):.1f}) still grow, and the horizon regularizes with the "
        f"threshold. Over {RUNS} runs the dual band holds in {100 * held.mean():.1f} % of cases, averaged over "
        f"features and times (worst feature {100 * held.mean(axis=0).min():.1f} %). At the end {most} of "
        f"{len(names)} features are exactly zero in more than half of the runs; {FADING}, which starts among the "
        f"strong ones, in {100 * never['run'][fading]:.0f} % of runs and {100 * never['path'][fading]:.0f} % of paths. "
        f"The mean of the final weights classifies {100 * right:.1f} % of these same rows correctly, a single run "
        f"{100 * every:.1f} % on average.",
    )
    return figure


def _length(weights: Floats | None) -> str:
    return "no bound" if weights is None else f"{np.linalg.norm(weights):.0f}"
