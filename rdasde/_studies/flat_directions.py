"""gRDA minus SGD along flat directions, and directional pruning in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import rdasde as rs
from rdasde import _drawing
from rdasde._check import Floats
from rdasde._studies._pieces import Pieces, Report
from rdasde._studies._results import kept, report

if TYPE_CHECKING:
    import xarray as xr

STEP_SIZE, MU, SEED = 1e-3, 0.55, 0
LOCAL = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
_ROOM = 0.29  # of the picture, for legends
WIDE = (0.05, 0.1, 0.2, 0.38, 0.6, 0.8, 1.0, 1.4)


def low_rank(dimension: int, rank: int, away: float, seed: int) -> tuple[rs.LinearRegression, Floats]:
    """Least squares on a Gaussian design of low rank, largest eigenvalue 1; and a normal start.

    With `away` > 0 all signs are kept for a while: the start is that far from 0, and near the minimizer.
    """
    generator = np.random.default_rng(seed)
    loading = generator.standard_normal((dimension, rank))
    design = loading @ loading.T
    design /= np.linalg.eigvalsh(design)[-1]
    coef, start = generator.standard_normal((2, dimension))
    if away > 0.0:
        start = np.sign(start) * np.maximum(np.abs(start), away)
        coef = start + 0.3 * away * coef
    return rs.LinearRegression(coef, (design + design.T) / 2.0, 0.5), start


def study(pieces: Pieces) -> Report:
    """Six coordinates, where nothing changes its sign for long; many, where some do at once."""
    small = pieces.small
    horizon, replicates, dimension, rank = (5.0, 16, 30, 5) if small else (30.0, 200, 200, 20)

    def measured(name: str, dimension: int, rank: int, strengths: tuple[float, ...], away: float) -> xr.Dataset:
        problem, start = low_rank(dimension, rank, away, SEED)
        settings: dict[str, Any] = {"strengths": strengths, "replicates": replicates, "seed": SEED, "times": 11}
        algorithm = rs.RDA(STEP_SIZE, rs.L1(), rs.PowerLaw(1.0, MU))
        described = {"dimension": dimension, "rank": rank, "away": away, "horizon": horizon, "step_size": STEP_SIZE}
        return kept(
            pieces,
            name,
            {**described, "mu": MU, **settings},
            lambda: rs.validate.flat_directions(problem, algorithm, horizon, start=start, **settings),
        )

    local = measured("flat-local", 6, 2, LOCAL, 1.0)
    wide = measured("flat-wide", dimension, rank, WIDE, 0.0)
    return Report(_draw(local, wide, rank), _table(local, wide))


def _draw(local: xr.Dataset, wide: xr.Dataset, rank: int) -> Any:
    from matplotlib.lines import Line2D

    figure = _drawing.page(3.3)
    axes = figure.subplots(1, 3)
    shown = local.sel(strength=LOCAL[2])
    t = shown["time"].values
    for j, ink in zip((0, 1, 2), _drawing.inks(3), strict=True):
        here = shown.sel(coordinate=j)
        axes[0].plot(t, here["difference_theory"], color=ink, label=f"$j = {j}$")
        axes[0].errorbar(t, here["difference"], 2.0 * here["difference_standard_error"], fmt="o", ms=2.5, color=ink)
        axes[0].plot(t, here["limit"], color=ink, lw=0.8, ls=":")
    _drawing.over_time(axes[0])
    axes[0].set(title=f"strength {LOCAL[2]:g}, $d = 6$", ylabel=r"$(w_{\mathrm{gRDA}} - w_{\mathrm{SGD}})_j$")
    axes[0].margins(x=0.05)
    kinds = [
        Line2D([], [], color="0.4", marker="o", ls="", ms=2.5, label="pairs of runs"),
        Line2D([], [], color="0.4", label="integral"),
        Line2D([], [], color="0.4", ls=":", lw=0.8, label="its limit"),
    ]
    _drawing.legend_below(axes[0], [*axes[0].get_legend_handles_labels()[0], *kinds], 2, _ROOM)

    gap, changes, limit = _gaps(local)
    kept_signs = changes == 0
    axes[1].plot(LOCAL, gap, "-", color=_drawing.BLUE)
    for where, face, label in ((kept_signs, _drawing.BLUE, "no sign lost"), (~kept_signs, "white", "signs lost")):
        label = f"flows and integral, {label}"
        axes[1].plot(np.array(LOCAL)[where], gap[where], "o", color=_drawing.BLUE, mfc=face, label=label)
    axes[1].plot(LOCAL, limit, "s--", color=_drawing.YELLOW, ms=3, label="integral and its limit")
    strength = r"strength  $\lambda / \mathrm{median}\,|w_{\mathrm{SGD}}|$"
    axes[1].set(
        title="$d = 6$", xscale="log", yscale="log", ylabel="largest relative gap", xlabel=strength, ylim=(None, 8.0)
    )
    _drawing.plain_ticks(axes[1], "x", (0.02, 0.05, 0.1, 0.2, 0.5, 1.0))
    _drawing.legend_below(axes[1], axes[1].get_legend_handles_labels()[0], 1, _ROOM)

    last = wide.isel(time=-1)
    for name, label, style, ink in (
        ("agreement", "pruned or kept alike", "o-", _drawing.BLUE),
        ("overlap", "pruned by both / by either", "s-", _drawing.TEAL),
        ("overlap_magnitude", "the same, by magnitude", "s:", _drawing.BLACK),
        ("sparsity", "pruned by gRDA", "^--", _drawing.YELLOW),
        ("sparsity_directional", "pruned by the closed form", "v--", _drawing.RED),
    ):
        axes[2].plot(last["strength"], 100.0 * last[name], style, color=ink, ms=3, label=label)
    axes[2].set(title=f"supports, $d = {wide.sizes['coordinate']}$", ylabel="coordinates (%)", xlabel=strength)
    axes[2].set_ylim(0.0, 103.0)
    _drawing.legend_below(axes[2], axes[2].get_legend_handles_labels()[0], 1, _ROOM)
    for axis in axes:
        _drawing.bare(axis)
    _drawing.letters(axes)

    quiet = gap[changes == 0]
    scores = (shown["difference"] - shown["difference_theory"]) / shown["difference_standard_error"]
    chosen = last.sel(strength=[0.1, 0.38, 1.0])

    def percents(name: str, digits: int = 0) -> str:
        return " / ".join(f"{100.0 * value:.{digits}f}" for value in chosen[name].values)

    _drawing.caption(
        figure,
        rf"Least squares on a Gaussian design of low rank (2 for $d = 6$, {rank} for $d = "
        rf"{wide.sizes['coordinate']}$), "
        rf"$\gamma = {STEP_SIZE:g}$, $\mu = {MU:g}$, $t$ up to {t[-1]:g}; {local.attrs['replicates']} pairs of runs, "
        r"gRDA and SGD over the same samples; strength: $\lambda = g(t)$ over the median of $|w|$ along SGD's mean "
        r"flow. "
        r"**a**: mean difference of the pairs (points, $\pm 2$ standard errors), the integral "
        r"$-\int\Phi(t,s)\,\mathrm{sgn}(w)\,dg$ (lines), its limit $-\lambda P_0\,\mathrm{sgn}(w)$ (dotted); largest "
        f"deviation {float(abs(scores[1:]).max()):.2g} standard errors. **b**: while no sign is lost, the mean flows "
        f"at "
        r"this $\gamma$ differ by the integral, to "
        f"{quiet.max(initial=0.0):.0e} of its size; no longer after. **c**: gRDA and the closed form agree on "
        f"{percents('agreement', 1)} % of the coordinates at strength "
        f"{' / '.join(f'{s:g}' for s in chosen['strength'].values)}, where gRDA prunes {percents('sparsity', 1)} %: a "
        f"local statement, exact to first order. Of those pruned by either, both prune {percents('overlap')} %; if SGD "
        f"is pruned by magnitude instead, {percents('overlap_magnitude')} %.",
    )
    return figure


def _gaps(local: xr.Dataset) -> tuple[Floats, Floats, Floats]:
    """At the end, by strength: flows against the integral, signs lost, integral against the limit (relative)."""
    last = local.isel(time=-1)
    size = abs(last["difference_theory"]).max("coordinate")
    gap = abs(last["flow_difference"] - last["difference_theory"]).max("coordinate") / size
    limit = abs(last["limit"] - last["difference_theory"]).max("coordinate") / size
    return gap.values, last["sign_changes"].values.astype(int), limit.values


def _table(local: xr.Dataset, wide: xr.Dataset) -> str:
    chosen = local.sel(strength=[LOCAL[2]]).isel(time=[-1])
    gap, changes, limit = _gaps(local)
    lines = ["| strength | signs lost | flows against the integral | integral against its limit |", "|---|---|---|---|"]
    lines += [f"| {s:g} | {n} | {a:.2g} | {b:.2g} |" for s, n, a, b in zip(LOCAL, changes, gap, limit, strict=True)]
    names = ["difference", "difference_standard_error", "difference_theory"]
    alike = ["agreement", "agreement_standard_error", "agreement_theory"]
    return "\n".join(
        [
            "### gRDA − SGD, d = 6, rank 2\n",
            report(chosen[names]),
            "### Largest relative gaps at the end, d = 6, rank 2\n",
            "\n".join(lines) + "\n",
            f"### Supports, d = {wide.sizes['coordinate']}\n",
            report(wide[alike].isel(time=[-1])),
        ]
    )
