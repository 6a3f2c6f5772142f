"""The trajectory figure on real data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import rdasde as rs
from rdasde import _drawing
from rdasde._figures._data import data_set, standardized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HORIZON, REPLICATES, SEED = 40.0, 200, 40  # the seed is the horizon; nothing was picked
FEATURES = ("bmi", "sex", "s4", "age")


def draw() -> Figure:
    """Dual and primal panel for four of the ten features."""
    data = data_set("diabetes", scaled=False)
    problem = rs.LinearRegression.from_data(standardized(data.data), standardized(data.target))
    algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    names = list(data.feature_names)

    runs = rs.simulate(problem, algorithm, HORIZON, replicates=REPLICATES, times=801, seed=SEED)
    theory = rs.approximate(problem, algorithm, HORIZON, times=801)
    figure, axes = _drawing.panels()
    _drawing.draw_pair(axes, runs, theory, {names.index(name): name for name in FEATURES})
    _drawing.letters(axes)
    late = theory["time"].values >= HORIZON / 10.0
    held = rs.coverage(runs, rs.band(theory, space="dual")).values[late]
    exact = float((runs["primal"].values[:, -1] == 0.0).mean(axis=0)[names.index("age")])
    predicted = float(theory["probability_zero"].values[-1, names.index("age")])
    paths = rs.approximate(problem, algorithm, HORIZON, method="paths", paths=1000, times=2, seed=SEED, check=False)
    by_paths = float(paths["probability_zero"].values[-1, names.index("age")])
    _drawing.caption(
        figure,
        "gRDA on the diabetes data (Efron et al. 2004): 442 rows, 10 standardized features, streamed with replacement; "
        r"step size $10^{-3}$, $c = 0.5$, $\mu = 0.6$. One run (zigzag), mean and 95 % band of the closure. Over "
        f"{REPLICATES} runs the dual band holds in {100 * np.mean(held):.1f} % of cases from $t$ = {HORIZON / 10:g} "
        f"on, "
        f"averaged over all ten features (worst feature {100 * held.mean(axis=0).min():.1f} %). At the end age is "
        f"exactly zero in {100 * exact:.0f} % of runs; Monte Carlo on the diffusion says "
        f"{100 * by_paths:.0f} %, the closure {100 * predicted:.0f} %.",
    )
    return figure
