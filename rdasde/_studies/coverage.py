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
    results = [(case, measured(pieces, case)) for case in cases(pieces.small)]
    return Report(_draw(results, 400 if pieces.small else 4000), markdown(_table(results)))


Results = list[tuple[Case, dict[str, NDArray[Any]]]]
SPACES = ("dual", "primal")


def _table(results: Results) -> dict[str, list[str]]:
    names = ("design", "method", "γ tr(H)", "γ", "c, μ", "space", "level")
    measures = ("Estimate", "Bias against theory", "Standard error", "Interval", "lowest time", "highest time")
    columns: dict[str, list[str]] = {
        key: [] for key in (*names, *measures, "worst (allowed)", "zero", "weak", "strong")
    }
    for case, result in results:
        for s, space in enumerate(SPACES):
            for k, level in enumerate(LEVELS):
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
    return columns


def _draw(results: Results, number: int) -> Any:
    """A column for each design and method, a row for each space; within, loads, and tunings by their letter."""
    from matplotlib.lines import Line2D

    groups: dict[tuple[str, str], Results] = {}
    for case, result in results:
        groups.setdefault((case.design, case.method), []).append((case, result))
    figure = _drawing.page(4.6)
    widths = [max(len(group) + 0.6, 4.6) for group in groups.values()]
    axes = figure.subplots(2, len(groups), sharex="col", sharey="row", width_ratios=widths, squeeze=False)
    inks = dict(zip(LEVELS, _drawing.inks(len(LEVELS)), strict=True))
    tunings = dict(zip(TUNINGS, "ABC", strict=True))
    for (upper, lower), ((design, method), group) in zip(axes.T, groups.items(), strict=True):
        for axis, s in ((upper, 0), (lower, 1)):
            for place, (_, result) in enumerate(group):
                for k, (level, ink) in enumerate(inks.items()):
                    at = place + 0.2 * (k - 1.5)
                    ends = [100.0 * (result[end][s, k, 0] - level) for end in ("lowest_time", "highest_time")]
                    axis.plot([at, at], ends, color=ink, lw=2.0, solid_capstyle="butt")
                    worst, allowed = (100.0 * (result[end][s, k, 0] - level) for end in ("worst", "worst_allowed"))
                    axis.plot(at, worst, "v", color=ink, ms=2.2, mew=0.0)
                    axis.plot([at - 0.1, at + 0.1], [allowed] * 2, color=ink, lw=0.6)
            axis.axhspan(-100.0 * ALLOWED, 100.0 * ALLOWED, color=_drawing.GREEN, alpha=0.25, lw=0, zorder=0)
            _drawing.zero_line(axis)
            axis.set_xlim(-0.6, len(group) - 0.4)
            _drawing.bare(axis)
        upper.set_title(design if method == "paths" else method)
        lower.set_xticks(range(len(group)), [tunings[case.c, case.mu] for case, _ in group])
        loads = [case.load for case, _ in group]
        for load in dict.fromkeys(loads):
            where = [place for place, other in enumerate(loads) if other == load]
            text = f"{load:g}".lstrip("0")
            lower.text(np.mean(where), -0.12, text, transform=lower.get_xaxis_transform(), ha="center", va="top")
            for axis in (upper, lower):
                axis.axvline(where[-1] + 0.5, color="0.85", lw=0.5, zorder=0)
        lower.set_xlabel(r"$\gamma\,\mathrm{tr}\,H$", labelpad=12.0)
    for axis, space in zip(axes[:, 0], SPACES, strict=True):
        axis.set_ylabel(f"{space} coverage\nless level (points)")
    axes[1, 0].set_yscale("symlog", linthresh=4.0, linscale=1.5)
    axes[1, 0].autoscale(axis="y")
    ticks = (-4, -2, 0, 2, 4, 10)
    axes[1, 0].set_yticks(ticks, [_drawing.signed(tick) for tick in ticks])
    axes[1, 0].set_yticks([], minor=True)
    handles = [Line2D([], [], color=ink, lw=2.0, label=f"{100 * level:g} %") for level, ink in inks.items()]
    handles += [
        Line2D([], [], color="0.4", marker="v", ls="", ms=3, label="worst coordinate and time"),
        Line2D([], [], color="0.4", lw=0.6, label="where it may fall"),
    ]
    _drawing.legend_above(figure, handles, ncols=6)
    _drawing.letters(axes[0])

    off, over, judged = 0.0, 0, 0
    for case, result in results:
        if case.method == "paths":
            gaps = np.array(LEVELS)[None]
            low, high = gaps - result["lowest_time"][:, :, 0], result["highest_time"][:, :, 0] - gaps
            off = max(off, float(low.max()), float(high[0].max()))
            over += int(np.count_nonzero(result["worst"][:, :, 0] < result["worst_allowed"][:, :, 0]))
            judged += 2 * len(LEVELS)
    others = [f"{method}: {design}" for design, method in groups if method != "paths"]
    named = ", ".join(rf"{letter}: $c = {c:g}$, $\mu = {mu:g}$" for (c, mu), letter in tunings.items())
    _drawing.caption(
        figure,
        f"Coverage of {number:,} runs by bands from {number:,} paths of the dual diffusion ($d = {DIMENSION}$), less "
        f"the nominal level, by design, step size times trace of the Hessian, and tuning "
        f"({'; '.join([named, *others])}). Bars: the mean "
        "over coordinates, from the lowest to the highest recorded time after the first tenth; triangles: the worst "
        "coordinate at the worst time, and a tick where it may fall if every band is nominal (probability .99, "
        f"beta-binomial). Green: {100 * ALLOWED:g} points. From paths the mean is off by at most {100 * off:.2f} "
        "points (in the primal only what falls short counts: where an end of the band is 0, it holds more often); the "
        f"worst coordinate is below what counting noise allows in {over} of {judged} cases.",
    )
    return figure
