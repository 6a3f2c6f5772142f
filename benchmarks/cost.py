"""Cost against work: how time grows with the dimension, the horizon, the replicates and 1 / step size."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from measure import interleave, slope, table

import rdasde as rs

D, HORIZON, STEP_SIZE, REPLICATES = 64, 2.0, 2e-3, 64
VERBS = ("simulate", "approximate: paths", "approximate: closure")
COLORS = dict(zip(VERBS, ("#b2182b", "#2c6fbb", "#1b1b1b"), strict=True))
SWEEPS = {
    "dimension": (8, 16, 32, 64, 128, 256, 512),
    "horizon (at one step size)": (0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
    "replicates, or paths": (16, 32, 64, 128, 256, 512),
    "1 / step size": (250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0),
}
EXPECTED = {
    "dimension": ("1", "1", "at most 3"),
    "horizon (at one step size)": ("1", "at most 1", "at most 1"),
    "replicates, or paths": ("1", "1", ""),
    "1 / step size": ("1", "0", "0"),
}


def _runs(sweep, x, executor):
    """The three verbs at one size, with 11 recorded times; laws without their check."""
    d, horizon, count, step = D, HORIZON, REPLICATES, STEP_SIZE
    if sweep == "dimension":
        d = x
    elif sweep.startswith("horizon"):
        horizon = x
    elif sweep.startswith("replicates"):
        count = x
    else:
        step = 1.0 / x
    problem = rs.LinearRegression(np.repeat([0.5, 0.0], [d // 2, d - d // 2]), rs.AR1(d, 0.5))
    algorithm = rs.RDA(step, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    how = {"times": 11, "seed": 0, "executor": executor}
    law = {"times": 11, "check": False}  # a check is runs of the algorithm, two seconds of them or less
    paths = {"method": "paths", "paths": count, "seed": 0, "executor": executor}
    runs = {
        "simulate": lambda: rs.simulate(problem, algorithm, horizon, replicates=count, keep="summary", **how),
        "approximate: paths": lambda: rs.approximate(problem, algorithm, horizon, **law, **paths),
        "approximate: closure": lambda: rs.approximate(problem, algorithm, horizon, **law),
    }
    if sweep.startswith("replicates"):
        del runs["approximate: closure"]
    return runs


def section(out, quick=False):
    """The text; the picture cost.png into the folder `out`."""
    from rdasde._drawing import new_figure

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [max(cores)])
    rows, figure = [], new_figure(11.0, 7.5)
    try:
        with ThreadPoolExecutor(1) as one:
            for axis, (sweep, sizes) in zip(figure.subplots(2, 2).flat, SWEEPS.items(), strict=True):
                measures = {(verb, x): run for x in sizes for verb, run in _runs(sweep, x, one).items()}
                for measure in measures.values():
                    measure()
                taken = interleave(measures, 1 if quick else 5, least=0.0 if quick else 0.02)
                fitted = []
                for verb in VERBS:
                    points = [(x, float(np.median(taken[verb, x]))) for x in sizes if (verb, x) in taken]
                    if not points:
                        fitted.append("")
                        continue
                    x, y = map(np.array, zip(*points, strict=True))
                    fitted.append(f"{slope(x, y):.2f}")
                    axis.plot(x, y, "o-", ms=4, color=COLORS[verb], label=f"{verb}: slope {slope(x, y):.2f}")
                axis.set(xscale="log", yscale="log", xlabel=sweep, ylabel="seconds, one core")
                axis.set_xticks(sizes, [f"{x:g}" for x in sizes], minor=False)
                axis.set_xticks([], minor=True)
                low, high = axis.get_ylim()
                axis.set_ylim(low, high * (high / low) ** 0.4)  # room for the legend
                axis.spines[["top", "right"]].set_visible(False)
                axis.legend(frameon=False, fontsize=9, loc="upper left")
                rows.append([sweep, *(f"{f} ({e})" if f else "" for f, e in zip(fitted, EXPECTED[sweep], strict=True))])
    finally:
        os.sched_setaffinity(0, cores)
    figure.savefig(out / "cost.png", dpi=110)
    return "\n".join(
        [
            "## Cost against work\n",
            f"Linear regression, AR(1) with 0.5, around d = {D}, t = {HORIZON:g}, step size {STEP_SIZE:g}, "
            f"{REPLICATES} replicates or paths, one core, laws without their check. Slopes of log time against log "
            "work over the upper half, in brackets what they should be in the end: ![cost](cost.png)\n",
            table(["work", *VERBS], rows),
        ]
    )
