"""The theory on a neural network: weights of a small one, its runs, and paths of its dual diffusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import rdasde as rs
from rdasde import _drawing
from rdasde._check import Floats
from rdasde._figures._data import data_set

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

ROWS, HIDDEN, HORIZON, RUNS, PATHS, SEED = 250, 16, 20.0, 400, 160, 0
ALIKE = 40  # runs and paths whose loss is drawn


def draw() -> Figure:
    """Dual and primal panel for four weights; coverage, exact zeros, and the training loss, theory against runs."""
    digits = data_set("digits")
    pictures = digits.data.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)  # 8 x 8 pixels to 4 x 4
    pictures = (pictures - pictures.mean()) / pictures.std()
    problem = rs.MLP(pictures[:ROWS], digits.target[:ROWS], HIDDEN)
    schedule = rs.PowerLaw(c=0.2, mu=0.6)
    algorithm = rs.RDA(0.01, rs.L1(weights=1.0 - problem.bias), schedule)
    start, times = problem.initial(SEED), 61
    runs = rs.simulate(problem, algorithm, HORIZON, replicates=RUNS, start=start, times=times, seed=SEED)
    theory = rs.approximate(
        problem, algorithm, HORIZON, method="paths", paths=PATHS, start=start, times=times, seed=SEED, check=False
    )
    shown = rs.simulate(problem, algorithm, HORIZON, start=start, times=1001, seed=SEED)  # the first run, finer

    figure = _drawing.page(4.9)
    axes = figure.subplot_mosaic([[*"dddppp"], [*"cczzll"]], height_ratios=(1.15, 1.0))
    chosen = _chosen(theory, start, problem.bias)
    labels = {j: name for name, j in chosen.items()}
    _drawing.draw_pair(np.array([axes["d"], axes["p"]]), shown, theory, labels)
    axes["d"].set(title="dual", ylabel="$v_j$")
    axes["p"].set(title="primal", ylabel="$w_j$")
    threshold = theory["threshold"].values
    _drawing.shade_threshold(axes["d"], theory["time"].values, -threshold, threshold)

    held = rs.coverage(runs, rs.band(theory, space="dual")).values[1:]
    axes["c"].hist(100.0 * held.mean(axis=0), bins=24, color=_drawing.BLUE, alpha=0.6)
    axes["c"].axvline(95.0, color="0.3", ls="--", lw=0.8)
    axes["c"].set(xlabel="coverage (%)", ylabel="weights", title="95 % dual bands")

    never = {
        "runs": (runs["primal"].values[:, -1] == 0.0).mean(axis=0),
        "theory": theory["probability_zero"].values[-1],
    }
    axes["z"].plot([0.0, 1.0], [0.0, 1.0], color="0.6", lw=0.6)
    axes["z"].plot(never["theory"], never["runs"], ".", ms=2.5, color=_drawing.BLUE)
    axes["z"].set(
        xlabel="by the diffusion", ylabel="in runs", title=f"$P(w_j = 0)$ at $t = {HORIZON:g}$", aspect="equal"
    )

    time = runs["time"].values
    for label, states, ink, style in (("runs", runs, _drawing.BLACK, "-"), ("diffusion", theory, _drawing.RED, "--")):
        loss = _losses(problem, states["primal"].values[:ALIKE])
        low, middle, high = np.quantile(loss, [0.05, 0.5, 0.95], axis=0)
        axes["l"].fill_between(time, low, high, color=ink, alpha=0.2, lw=0)
        axes["l"].plot(time, middle, style, color=ink, label=label)
    axes["l"].set(xlabel=r"time  $t = n\gamma$", ylabel="training loss", title=f"median, 90 % of {ALIKE}")
    axes["l"].legend(frameon=False)
    for name in "czl":
        _drawing.bare(axes[name])
    _drawing.letters(axes[name] for name in "dpczl")

    last = runs["primal"].values[:, -1]
    test = np.mean([np.mean(problem.predict(w, pictures[ROWS:]).argmax(axis=1) == digits.target[ROWS:]) for w in last])
    gap = np.abs(never["runs"] - never["theory"])
    by_time = 100.0 * held.mean(axis=1)
    _drawing.caption(
        figure,
        f"A network of {problem.dimension} weights (16 inputs, {HIDDEN} hidden units, tanh, 10 classes) on {ROWS} of "
        "scikit-learn's digits averaged to 4 × 4 pixels, cross-entropy; gRDA one row at a time, step size "
        rf"{algorithm.step_size:g}, $c = {schedule.c:g}$, $\mu = {schedule.mu:g}$, biases unpenalized, from one "
        rf"random start: "
        f"{round(HORIZON / algorithm.step_size):,} steps. **a**, **b**: one run (zigzag), mean and 95 % band of "
        f"{PATHS} paths "
        "of the dual diffusion, its noise from per-row gradients; in the green region $w$ is exactly zero. The loss is "
        f"not convex, and nothing is linearized. Over {RUNS} runs the bands hold in {by_time.min():.1f} to "
        f"{by_time.max():.1f} % of cases, by "
        f"time, averaged over all weights; the worst weight's in {100 * held.mean(axis=0).min():.1f} % (bands from "
        f"{PATHS} paths would hold in {100 * _expected(PATHS):.1f} % were they exact). At the end "
        f"{100 * np.mean(last == 0.0):.0f} % of the weights are exactly zero; the diffusion's $P(w_j = 0)$ is within "
        f"{gap.mean():.3f} of the share of runs on average, {gap.max():.2f} at most. Accuracy on the other digits: "
        f"{100 * test:.0f} %.",
    )
    return figure


def _chosen(theory: xr.Dataset, start: Floats, bias: NDArray[np.bool_]) -> dict[str, int]:
    """Four weights by what the theory says of them at the end."""
    zero = np.where(bias, np.nan, theory["probability_zero"].values[-1])
    size = np.where(bias, np.nan, np.abs(theory["primal_mean"].values[-1]))
    return {
        "largest": int(np.nanargmax(size)),
        "median of those that stay": int(np.nanargmin(np.abs(size - np.nanmedian(size[zero < 0.05])))),
        "zero in half of the runs": int(np.nanargmin(np.abs(zero - 0.5))),
        "largest of those that vanish": int(np.nanargmax(np.where(zero > 0.95, np.abs(start), np.nan))),
    }


def _losses(problem: rs.MLP, states: Floats) -> Floats:
    """Training loss at states (run, time, d)."""
    rows = np.arange(len(problem.rows))
    return np.array(
        [[-np.log(problem.predict(w, problem.rows)[rows, problem.labels]).mean() for w in s] for s in states]
    )


def _expected(paths: int) -> float:
    """How often a fresh draw lies between the 2.5 % and 97.5 % quantiles (linear interpolation) of that many others."""
    return 1.0 - 2.0 * (0.025 * (paths - 1) + 1.0) / (paths + 1)
