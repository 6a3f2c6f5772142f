"""How often bands of the dual diffusion hold, over designs, tunings and step sizes up to gamma tr(H) = 1."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rdasde as rs
from rdasde import _drawing
from rdasde._figures._data import random_direction
from rdasde._studies._pieces import Pieces, Report, markdown

LEVELS = (0.8, 0.9, 0.95, 0.99)
HORIZON, SEED = 5.0, 20  # nothing was picked
LOADS = (1.0, 0.25, 0.05)  # step size times trace of the Hessian
TUNINGS = ((0.5, 0.6), (1.5, 0.51), (0.5, 0.8))  # c, mu
DIMENSION = 50
ALLOWED = 0.015
TOLERANCE = 2e-4  # of the time steps: at gamma tr(H) = 1 the default leaves 2 % of a standard deviation


class Case(NamedTuple):
    """One cell of the study."""

    design: str
    load: float
    c: float
    mu: float
    method: Literal["paths", "closure", "limit"]


def cases(small: bool) -> list[Case]:
    everything = [
        Case(design, load, c, mu, "paths")
        for design in ("identity", "AR(.8)", "PCA")
        for load in LOADS
        for c, mu in TUNINGS
    ]
    everything += [Case("AR(.8)", load, *TUNINGS[0], "closure") for load in LOADS]
    return everything[9:27:9] if small else everything


def problem(design: str) -> tuple[rs.LinearRegression | rs.OnlinePCA, list[float] | None]:
    """The problem and its start: coefficients that are zero, weak and strong."""
    size = np.zeros(DIMENSION)
    size[:20] = np.repeat([0.5, 0.2, 0.05, 0.02], 5) * np.tile([1.0, -1.0, 1.0, 1.0, -1.0], 4)
    if design == "PCA":
        spike = size / np.linalg.norm(size)
        start = 0.5 * spike + 0.3 * random_direction(DIMENSION, SEED)
        return rs.OnlinePCA.spiked([4.0], spike[None]), start.tolist()
    return rs.LinearRegression(size, None if design == "identity" else rs.AR1(DIMENSION, 0.8)), None


def measured(pieces: Pieces, case: Case) -> dict[str, NDArray[Any]]:
    learned, start = problem(case.design)
    number = 400 if pieces.small else 4000
    settings = case._asdict() | {
        "dimension": DIMENSION,
        "horizon": HORIZON,
        "levels": LEVELS,
        "number": number,
        "seed": SEED,
        "start": start,
        "tolerance": TOLERANCE,
    }

    def compute() -> dict[str, Any]:
        algorithm = rs.RDA(case.load / learned.trace(), rs.L1(), rs.PowerLaw(case.c, case.mu))
        result = rs.validate.coverage(
            learned,
            algorithm,
            HORIZON,
            levels=LEVELS,
            method=case.method,
            replicates=number,
            paths=number,
            start=start,
            seed=SEED,
            tolerance=TOLERANCE,
        )
        return {str(key): result[key].values for key in result.variables} | {"step_size": algorithm.step_size}

    return pieces("coverage", settings, compute)


def study(pieces: Pieces) -> Report:
    """Coverage less level, case by case, in the dual and in the primal; a table of every case at every level."""
    figure = _drawing.new_figure(12.0, 8.6)
    axes = figure.subplots(2, 1, sharex=True)
    shown = cases(pieces.small)
    names = ("design", "method", "γ tr(H)", "γ", "c, μ", "space", "level")
    measures = ("Estimate", "Bias against theory", "Standard error", "Interval", "lowest time", "highest time")
    columns: dict[str, list[str]] = {
        key: [] for key in (*names, *measures, "worst (allowed)", "zero", "weak", "strong")
    }
    off, over, judged = 0.0, 0, 0
    inks = dict(zip(LEVELS, _drawing.inks(len(LEVELS)), strict=True))
    for place, case in enumerate(shown):
        result = measured(pieces, case)
        for s, space in enumerate(("dual", "primal")):
            for k, level in enumerate(LEVELS):
                low, high = result["lowest_time"][s, k, 0] - level, result["highest_time"][s, k, 0] - level
                at = place + 0.16 * (k - 1.5)
                axes[s].plot([at, at], [100.0 * low, 100.0 * high], color=inks[level], lw=4, solid_capstyle="butt")
                ends = [100.0 * (result[end][s, k, 0] - level) for end in ("worst", "worst_allowed")]
                axes[s].plot(at, ends[0], "v", color=inks[level], ms=3.5)
                axes[s].plot([at - 0.07, at + 0.07], [ends[1]] * 2, color=inks[level], lw=0.8)
                if case.method == "paths":
                    off = max(off, -low, high if space == "dual" else 0.0)
                    over += result["worst"][s, k, 0] < result["worst_allowed"][s, k, 0]
                    judged += 1
                share = [result["estimate"][s, k, g] for g in range(4)]
                values = (
                    case.design,
                    case.method,
                    f"{case.load:g}",
                    f"{float(result['step_size']):.2g}",
                    f"{case.c:g}, {case.mu:g}",
                    space,
                    f"{level:g}",
                    f"{share[0]:.4f}",
                    f"{share[0] - level:+.4f}",
                    f"{result['standard_error'][s, k, 0]:.4f}",
                    f"[{result['lower'][s, k, 0]:.4f}, {result['upper'][s, k, 0]:.4f}]",
                    f"{result['lowest_time'][s, k, 0]:.4f}",
                    f"{result['highest_time'][s, k, 0]:.4f}",
                    f"{result['worst'][s, k, 0]:.4f} ({result['worst_allowed'][s, k, 0]:.4f})",
                    *("-" if np.isnan(x) else f"{x:.4f}" for x in share[1:]),
                )
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
    labels = [
        "\n".join([case.design, f"{case.load:g}", f"{case.c:g}", f"{case.mu:g}"])
        + ("\nclosure" if case.method == "closure" else "")
        for case in shown
    ]
    for axis, space in zip(axes, ("dual", "primal"), strict=True):
        axis.axhspan(-100.0 * ALLOWED, 100.0 * ALLOWED, color=_drawing.GREEN, alpha=0.4, lw=0, zorder=0)
        axis.axhline(0.0, color="0.4", lw=0.7)
        axis.set(ylabel=f"{space} coverage less level (points)", xlim=(-0.6, len(shown) - 0.4))
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].set_xticks(range(len(shown)), labels, fontsize=6.5 if len(shown) > 6 else 9)
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=ink, lw=4, label=f"{100 * level:g} %") for level, ink in inks.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    number = 400 if pieces.small else 4000
    _drawing.caption(
        figure,
        f"Coverage of {number:,} runs by bands from {number:,} paths of the dual diffusion (d = {DIMENSION}; below "
        "each case: design, step size times trace of the Hessian, c, mu), less the nominal level. Bars: the mean "
        "over coordinates, from the lowest to the highest recorded time after the first tenth; triangles: the worst "
        "coordinate at the worst time, and a tick where it may fall if every band is nominal (probability .99, "
        f"beta-binomial). Green: 1.5 points. From paths the mean is off by at most {100 * off:.2f} points (in the "
        "primal only what falls short counts: where an end of the band is 0, it holds more often); the worst "
        f"coordinate is below what counting noise allows in {over} of {judged} cases.",
    )
    return Report(figure, markdown(columns))
