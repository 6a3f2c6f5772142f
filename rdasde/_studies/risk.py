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
_INKS = {"SGD": _drawing.RED, "RDA": _drawing.YELLOW, "gRDA": _drawing.BLUE}
_SHAPES = {"SGD": "s", "RDA": "^", "gRDA": "o"}


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
    from matplotlib.lines import Line2D

    figure = _drawing.page(3.1)
    axes = figure.subplots(1, 3)
    for name, result in over_time.items():
        t, ink, shape = result["time"].values, _INKS[name], f"{_SHAPES[name]}-"
        style: dict[str, Any] = {"fmt": shape, "ms": 2.5, "color": ink}
        axes[0].errorbar(t, result["average"], 2.0 * result["average_standard_error"], **style)
        axes[0].plot(t, result["bound_quadratic"], color=ink, ls="--")
        axes[1].errorbar(t, result["regret"], 2.0 * result["regret_standard_error"], **style)
        axes[1].plot(t, result["regret_bound"], color=ink, ls="--")
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
    axes[2].plot(sizes, ends["average"], "o-", ms=2.5, color=_INKS["gRDA"], label="c: average")
    axes[2].plot(sizes, ends["last"], "D-", ms=2.5, color=_drawing.BLACK, label="c: last iterate")
    axes[2].plot(sizes, ends["bound_quadratic"], "--", color=_INKS["gRDA"], label="c: bound of the average")
    axes[2].plot(sizes, ends["bound_prior"], ":", color="0.4", label="c: the same without a run")
    for name, ink in (("start", _drawing.SKY), ("noise", _drawing.RED), ("regularizer", _drawing.TEAL)):
        axes[2].plot(sizes, 0.5 * ends[f"bound_{name}"], color=ink, lw=0.8, label=f"its part: {name}")
    axes[0].set(title="excess risk, average", xlabel=r"time  $t = n\gamma$", ylabel="excess risk")
    axes[1].set(title="regret, linearized losses", xlabel=r"time  $t = n\gamma$", ylabel="regret")
    axes[2].set(title=f"gRDA after {steps:,} steps", xlabel=r"step size  $\gamma$", ylabel="excess risk")
    for axis in axes:
        axis.set(xscale="log", yscale="log")
        _drawing.bare(axis)
        _drawing.decimal_ticks(axis, "y")
    names = [Line2D([], [], color=ink, marker=_SHAPES[name], ms=2.5, label=name) for name, ink in _INKS.items()]
    names.append(Line2D([], [], color="0.4", ls="--", label="bounds"))
    _drawing.legend_below(axes[0], names, 2, 0.26)
    parts = axes[2].get_legend_handles_labels()[0]
    _drawing.legend_below(axes[1], parts[:4], 1, 0.26)
    _drawing.legend_below(axes[2], parts[4:], 1, 0.26)
    _drawing.letters(axes)

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
        f"Linear regression, $d = {design['dimension']}$, {design['active']} active coordinates of "
        rf"$\pm {SIZE:g}$, AR({RHO:g}) design, $\gamma = {STEP_SIZE:g}$; gRDA with $c = {C:g}$, $\mu = {MU:g}$, RDA "
        rf"with "
        f"the same threshold at $t = 1$; {design['replicates']} runs (bars: two standard errors). {kept_bounds} of "
        f"{number} estimates are within their bounds; the regret comes nearest, {worst:+.2g} of its standard errors "
        "from its bound. At the end the bound of the regret is "
        f"{ratio('regret', 'regret_bound')} times the regret of {' / '.join(last)}: without a penalty only "
        r"$E|w - w^*|^2/2t$ is lost. That of the average is "
        f"{ratio('average', 'bound_quadratic')} times its excess risk: the average does "
        "better than the iterates it averages, which Jensen's inequality does not see. The price of the penalty, "
        rf"$g\,P(w^*)/t$, falls like $t^{{\mu-1}}$ for gRDA and stays for RDA. After {steps:,} steps the average of "
        rf"gRDA "
        rf"is best at $\gamma = {best:g}$, its bound at {by_bound:g}.",
    )
    return figure
