"""Regret and excess risk of the averaged iterate against their bounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import rdasde as rs
from rdasde import _drawing
from rdasde._studies._pieces import Pieces, Report
from rdasde._studies._results import kept, report

if TYPE_CHECKING:
    import xarray as xr

SIZE, RHO, SEED = 0.3, 0.5, 0  # of the active coordinates; correlation of neighbours
C, MU = 1.0, 0.65
STEP_SIZE = 4e-3
_INKS = {"SGD": "#8c510a", "RDA": "#e08214", "gRDA": "#2c6fbb"}


def study(pieces: Pieces) -> Report:
    """SGD, RDA and gRDA over time at one step size; gRDA over step sizes at one number of steps."""
    small = pieces.small
    dimension, active, steps, replicates = (12, 4, 1000, 32) if small else (50, 10, 25_000, 400)
    coef = np.zeros(dimension)
    coef[: active // 2], coef[active // 2 : active] = SIZE, -SIZE
    problem = rs.LinearRegression(coef, rs.AR1(dimension, RHO))
    design = {"dimension": dimension, "active": active, "size": SIZE, "rho": RHO, "replicates": replicates}

    def measured(algorithm: rs.RDA, times: int) -> xr.Dataset:
        horizon = steps * algorithm.step_size
        return kept(
            pieces,
            "risk",
            {**design, "algorithm": repr(algorithm), "steps": steps, "times": times, "seed": SEED},
            lambda: rs.validate.risk(
                problem,
                algorithm,
                horizon,
                replicates=replicates,
                times=np.geomspace(horizon / 100.0, horizon, times) if times > 1 else [horizon],
                seed=SEED,
            ),
        )

    algorithms = {
        "SGD": rs.RDA(STEP_SIZE),
        "RDA": rs.RDA(STEP_SIZE, rs.L1(), rs.Linear(C * math.sqrt(STEP_SIZE))),  # gRDA's threshold at t = 1
        "gRDA": rs.RDA(STEP_SIZE, rs.L1(), rs.PowerLaw(C, MU)),
    }
    over_time = {name: measured(algorithm, 13) for name, algorithm in algorithms.items()}
    sizes = STEP_SIZE * 2.0 ** np.arange(-4.0, 3.0)
    over_sizes = {size: measured(rs.RDA(float(size), rs.L1(), rs.PowerLaw(C, MU)), 1) for size in sizes}
    return Report(
        _draw(over_time, over_sizes, design, steps),
        "\n".join(
            f"### {name}, step size {STEP_SIZE:g}\n\n{report(result.isel(time=[0, 6, -1]))}"
            for name, result in over_time.items()
        )
        + "\n"
        + "\n".join(
            f"### gRDA, step size {size:g}, {steps} steps\n\n{report(result)}" for size, result in over_sizes.items()
        ),
    )


def _draw(
    over_time: dict[str, xr.Dataset], over_sizes: dict[Any, xr.Dataset], design: dict[str, Any], steps: int
) -> Any:
    figure = _drawing.new_figure(15.0, 5.8)
    axes = figure.subplots(1, 3)
    for name, result in over_time.items():
        t, ink = result["time"].values, _INKS[name]
        axes[0].errorbar(t, result["average"], 2.0 * result["average_standard_error"], fmt="o-", ms=3.5, color=ink)
        axes[0].plot(t, result["bound_quadratic"], color=ink, ls="--", lw=1.2)
        axes[1].errorbar(
            t, result["regret"], 2.0 * result["regret_standard_error"], fmt="o-", ms=3.5, color=ink, label=name
        )
        axes[1].plot(t, result["regret_bound"], color=ink, ls="--", lw=1.2)
    sizes = np.array(list(over_sizes))
    ends = {
        name: np.array([float(result[name].values[-1]) for result in over_sizes.values()])
        for name in (
            "average",
            "last",
            "bound_quadratic",
            "bound_prior",
            "bound_start",
            "bound_noise",
            "bound_regularizer",
        )
    }
    axes[2].plot(sizes, ends["average"], "o-", ms=4, color=_INKS["gRDA"], label="average")
    axes[2].plot(sizes, ends["last"], "s-", ms=4, color="#b2182b", label="last iterate")
    axes[2].plot(sizes, ends["bound_quadratic"], "--", color=_INKS["gRDA"], label="bound of the average")
    axes[2].plot(sizes, ends["bound_prior"], ":", color="0.2", label="the same without a run")
    for name, ink in (("start", "#7b3294"), ("noise", "#e08214"), ("regularizer", "#01665e")):
        axes[2].plot(sizes, 0.5 * ends[f"bound_{name}"], color=ink, lw=0.9, label=f"its part: {name}")
    axes[0].set(title="excess risk of the average of the iterates", xlabel=r"time  $t = n\gamma$")
    axes[1].set(title="regret of the linearized losses", xlabel=r"time  $t = n\gamma$")
    axes[2].set(title=f"gRDA after {steps} steps", xlabel=r"step size  $\gamma$", ylabel="excess risk")
    axes[2].legend(frameon=False, fontsize=8.5)
    axes[1].legend(frameon=False, title="dashed: bounds")
    for axis in axes:
        axis.set(xscale="log", yscale="log")
        axis.spines[["top", "right"]].set_visible(False)

    last = {name: result.isel(time=-1) for name, result in over_time.items()}

    def ratio(name: str, bound: str) -> str:
        return " / ".join(f"{float(result[bound] / result[name]):.3g}" for result in last.values())

    best, by_bound = sizes[int(ends["average"].argmin())], sizes[int(ends["bound_quadratic"].argmin())]
    everything = [*over_time.values(), *over_sizes.values()]
    kept_bounds = sum(
        int((result[name] <= result[bound]).sum())
        for result in everything
        for name, bound in (("average", "bound_quadratic"), ("regret", "regret_bound"))
    )
    number = 2 * sum(result.sizes["time"] for result in everything)
    worst = max(
        float(((result["regret"] - result["regret_bound"]) / result["regret_standard_error"]).max())
        for result in everything
    )
    _drawing.caption(
        figure,
        f"Linear regression, d = {design['dimension']}, {design['active']} active coordinates of ±{SIZE:g}, "
        f"AR({RHO:g}) design, γ = {STEP_SIZE:g}; gRDA with c = {C:g}, μ = {MU:g}, RDA with the same threshold at "
        f"t = 1; {design['replicates']} runs (bars: two standard errors). {kept_bounds} of {number} estimates are "
        f"within their bounds; the regret comes nearest, {worst:+.2g} of its standard errors from its bound. At the "
        "end the bound of the regret is "
        f"{ratio('regret', 'regret_bound')} times the regret of {' / '.join(last)}: without a penalty only "
        "E|w − w*|²/2t is lost. That of the average is "
        f"{ratio('average', 'bound_quadratic')} times its excess risk: the average does "
        "better than the iterates it averages, which Jensen's inequality does not see. The price of the penalty, "
        f"g P(w*) / t, falls like t^(μ−1) for gRDA and stays for RDA. After {steps} steps the average of gRDA is best "
        f"at γ = {best:g}, its bound at {by_bound:g}.",
    )
    return figure
