"""Do the intervals of `fit` hold, and are they as short as those of least squares?

One pass over n rows, many replicates; `_online_inference_runs` says of which designs, and why at these settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from rdasde import _drawing
from rdasde._check import Floats
from rdasde._studies._online_inference_runs import (
    CLASSES,
    Design,
    designs,
    predicted_drift,
    predicted_length,
    predicted_shift,
    run,
)
from rdasde._studies._pieces import Pieces, Report, markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.95
NORMAL = float(ndtri(0.5 + 0.5 * LEVEL))


class Mean(NamedTuple):
    """Over replicates, of an average over the coordinates of a class."""

    value: float
    error: float

    @staticmethod
    def of(values: Floats) -> Mean:
        each = values.mean(axis=1)
        return Mean(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))))


def errors(estimates: dict[str, Floats], name: str, design: Design, corrected: bool) -> Floats:
    """Distance from w* in standard errors, (replicate, coordinate)."""
    center = estimates[name] - (estimates[f"{name}_shift"] if corrected else 0.0)
    return np.asarray((center - design.coef) / estimates[f"{name}_error"])


def held(z: Floats) -> Floats:
    return np.where(np.isfinite(z), np.abs(z) <= NORMAL, np.nan)


def study(pieces: Pieces) -> Report:
    """Coverage and length by design and class of coordinate; bias and coverage by coordinate of the last design."""
    cells = [(design, run(design, pieces)) for design in designs(pieces.small)]
    return Report(_draw(cells), markdown(_table(cells)))


Cells = list[tuple[Design, dict[str, Floats]]]


def _table(cells: Cells) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {
        name: []
        for name in ("Quantity", "Theory", "Estimate", "Bias against theory", "Standard error", "95 % interval")
    }

    def add(what: str, mean: Mean, theory: float, digits: int = 4) -> None:
        low, high = mean.value - NORMAL * mean.error, mean.value + NORMAL * mean.error
        cells = (theory, mean.value)
        texts = [f"{x:.{digits}f}" for x in cells] + [f"{mean.value - theory:+.{digits}f}", f"{mean.error:.{digits}f}"]
        for name, text in zip(columns, [what, *texts, f"[{low:.{digits}f}, {high:.{digits}f}]"], strict=True):
            columns[name].append(text)

    for design, estimates in cells:
        where = f"{design.name}, d = {design.dimension}"
        shift, strong = predicted_shift(design), design.classes == "strong"
        signs = np.sign(design.coef[strong])
        raw, corrected = errors(estimates, "average", design, False), errors(estimates, "average", design, True)
        ratio = estimates["average_error"] / estimates["ols_error"]
        expected = shift / estimates["average_error"].mean(axis=0)
        for kind in CLASSES:
            on = design.classes == kind
            add(f"{where}: coverage of the average, {kind}", Mean.of(held(corrected[:, on])), LEVEL)
        for kind in CLASSES:
            add(
                f"{where}: length over least squares, {kind}",
                Mean.of(ratio[:, design.classes == kind]),
                float(predicted_length(design)[design.classes == kind].mean()),
            )
        missed = ndtr(NORMAL - expected[strong]) - ndtr(-NORMAL - expected[strong])
        add(
            f"{where}: coverage of the average uncorrected, strong", Mean.of(held(raw[:, strong])), float(missed.mean())
        )
        towards = float((signs * expected[strong]).mean())
        add(
            f"{where}: bias of the average away from 0 in standard errors, strong",
            Mean.of(signs * raw[:, strong]),
            towards,
        )
        add(f"{where}: the same after the correction", Mean.of(signs * corrected[:, strong]), 0.0)
        still = predicted_drift(design)[strong] / estimates["iterate_error"][:, strong].mean(axis=0)
        for name, right in (("uncorrected ", False), ("", True)):
            z = errors(estimates, "iterate", design, right)[:, strong]
            add(
                f"{where}: bias of the last iterate {name}away from 0 in standard errors, strong",
                Mean.of(signs * z),
                0.0 if right else float((signs * still).mean()),
            )
            if right:
                add(f"{where}: coverage of the last iterate, strong", Mean.of(held(z)), LEVEL)
        z = (estimates["ols"] - design.coef) / estimates["ols_error"]
        add(f"{where}: coverage of least squares, strong", Mean.of(held(z[:, strong])), LEVEL)
    return columns


def _draw(cells: Cells) -> Figure:
    figure = _drawing.page(5.4)
    (coverage, length), (bias, by_coordinate) = figure.subplots(2, 2)
    kinds: dict[str, tuple[str, str, Callable[[Design, dict[str, Floats]], Floats]]] = {
        "average, centre corrected": (_drawing.BLUE, "o", lambda d, f: errors(f, "average", d, True)),
        "average as it stands": (_drawing.RED, "x", lambda d, f: errors(f, "average", d, False)),
        "least squares": (_drawing.YELLOW, "s", lambda d, f: (f["ols"] - d.coef) / f["ols_error"]),
    }
    labels, places = [], []
    for i, (design, estimates) in enumerate(cells):
        for k, kind in enumerate(CLASSES):
            on, at = design.classes == kind, 4.0 * i + k
            places.append(at)
            labels.append(kind)
            for offset, (name, (ink, marker, z)) in zip((-0.2, 0.2, 0.0), kinds.items(), strict=True):
                mean = Mean.of(held(z(design, estimates)[:, on]))
                coverage.errorbar(
                    at + offset,
                    mean.value,
                    NORMAL * mean.error,
                    fmt=marker,
                    ms=3,
                    mfc="none",
                    color=ink,
                    label=name if at == 0.0 else None,
                )
            ratio = (estimates["average_error"] / estimates["ols_error"])[:, on]
            length.plot(at, ratio.mean(), "o", ms=3, mfc="none", color=_drawing.BLUE)
            length.plot(at, predicted_length(design)[on].mean(), "_", ms=8, color="0.2")
        for axis in (coverage, length):
            name = f"{design.name}\n$d = {design.dimension}$".replace("Toeplitz(0.5)", "Toeplitz")
            axis.text(4.0 * i + 1.0, -0.33, name, transform=axis.get_xaxis_transform(), ha="center", va="top")
    coverage.axhline(LEVEL, color="0.4", lw=0.8, ls="--")
    coverage.set(title="intervals of the average", ylabel="coverage", ylim=(-0.03, 1.03))
    length.axhspan(0.85, 1.15, color="0.92", lw=0, zorder=0)
    length.axhline(1.0, color="0.4", lw=0.8, ls="--")
    length.set(title="their length", ylabel="length over least squares", ylim=(0.8, 1.2))
    for axis in (coverage, length):
        axis.set_xticks(places, labels, rotation=90)

    design, estimates = cells[-1]
    where = np.arange(design.dimension)
    error = estimates["average_error"].mean(axis=0)
    for name in ("average as it stands", "average, centre corrected"):
        ink, marker, z = kinds[name]
        bias.plot(where, z(design, estimates).mean(axis=0), marker, ms=2.5, mfc="none", mew=0.6, color=ink)
        covered = held(z(design, estimates)).mean(axis=0)
        by_coordinate.plot(where, covered, marker, ms=2.5, mfc="none", mew=0.6, color=ink)
    bias.plot(where, predicted_shift(design) / error, "_", ms=5, color="0.2", label="predicted")
    last = held(errors(estimates, "iterate", design, True)).mean(axis=0)  # NaN where it was not always on the support
    by_coordinate.plot(
        where, last, "d", ms=2.5, color=_drawing.BLACK, label="last iterate, where always on the support"
    )
    bias.axhline(0.0, color="0.4", lw=0.8, ls="--")
    title = f"{design.name}, $d = {design.dimension}$"
    bias.set(xlabel="coordinate", ylabel="bias in standard errors", title=title)
    by_coordinate.axhline(LEVEL, color="0.4", lw=0.8, ls="--")
    by_coordinate.set(xlabel="coordinate", ylabel="coverage", ylim=(-0.03, 1.03), title=title)
    handles = [handle for axis in (coverage, bias, by_coordinate) for handle in axis.get_legend_handles_labels()[0]]
    _drawing.legend_above(figure, handles, ncols=3)
    _drawing.letters((coverage, length, bias, by_coordinate))
    for axis in (coverage, length, bias, by_coordinate):
        _drawing.bare(axis)
    _say(figure, cells)
    return figure


def _say(figure: Figure, cells: Cells) -> None:
    def percent(values: list[float]) -> str:
        low, high = min(values), max(values)
        return f"{100 * low:.1f} to {100 * high:.1f} %"

    shares = {
        (kind, right): [
            Mean.of(held(errors(estimates, "average", design, right)[:, design.classes == kind])).value
            for design, estimates in cells
        ]
        for kind in CLASSES
        for right in (False, True)
    }
    worst = [float(held(errors(f, "average", d, True)).mean(axis=0).min()) for d, f in cells]
    last = [Mean.of(held(errors(f, "iterate", d, True)[:, d.classes == "strong"])).value for d, f in cells]
    weak = [np.isfinite(f["iterate_error"][:, d.classes == "weak"]) for d, f in cells]
    on_support = [float(on.mean()) for on in weak]
    weak_held = [
        float(held(errors(f, "iterate", d, True)[:, d.classes == "weak"])[on].mean())
        for (d, f), on in zip(cells, weak, strict=True)
        if on.any()
    ]
    ratios = [float((f["average_error"] / f["ols_error"]).mean()) for _, f in cells]
    wide = [float((f["iterate_error"] / f["ols_error"])[:, d.classes == "strong"].mean()) for d, f in cells]
    design = cells[0][0]
    weakly = (
        f"a weak coefficient is on its support in {percent(on_support)} of runs, and its interval, which takes that "
        f"for given, then holds in {percent(weak_held)}."
        if weak_held
        else "weak coefficients never were on its support."
    )
    _drawing.caption(
        figure,
        f"One pass over {design.rows:,} rows, {design.replicates} replicates, nominal 95 %; ranges over the designs. "
        "With the centre corrected the interval of the average holds for strong coefficients in "
        f"{percent(shares['strong', True])}, for weak ones ($2/\\sqrt{{n}}$) in {percent(shares['weak', True])}, for "
        f"zero "
        f"ones in {percent(shares['zero', True])}; on the worst single coordinate of each design in {percent(worst)}. "
        "As it stands the average is shifted by the growth of the threshold: it then holds for strong coefficients in "
        f"{percent(shares['strong', False])}. Its mean length is {min(ratios):.3f} to {max(ratios):.3f} times that of "
        "least squares on all rows (predicted: bars; grey: within 15 %). The last iterate's interval holds for strong "
        f"coefficients in {percent(last)}, at {min(wide):.1f} to {max(wide):.1f} times that length; {weakly} Where the "
        "last iterate is exactly zero it has no interval.",
    )
