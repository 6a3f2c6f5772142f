"""Do the intervals of `fit` hold, and are they as short as those of least squares?

One pass over n rows, many replicates, linear regression under independent and under Toeplitz columns. Settings follow
from the theory, not from trials. With H_jj = sigma = 1:

* gamma = .1 / d. The distance of an iterate from w* adds the share gamma tr(H_AA) / 2 to the noise of the gradients, A
  the coordinates in motion: at most 5 %, so that intervals are at most 2.5 % wider than those of least squares over
  the same rows.
* mu = .7, within (1/2, 1), and c = 3 / T^(mu - 1/2), T = n gamma: where w*_j = 0 the dual has a standard deviation of
  at most sqrt(gamma T), and the threshold at the end is three of them. The average is then shifted by about as many
  standard errors: c gamma^(1/2) T^mu / T in units of 1 / sqrt(n).
* strong coefficients are +-1/2 and +-1, weak ones +-2 / sqrt(n), two standard errors of least squares at H = I, below
  what the threshold lets through.
"""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

import rdasde as rs
from rdasde import plot
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._compiled.random import LANES, lane_array, normals, streams
from rdasde._engine.blocks import workers
from rdasde._figures import caption
from rdasde._studies import Pieces, Report, markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MU = 0.7
SPREAD = 0.1  # gamma tr(H)
CLEARANCE = 3.0  # the last threshold, in standard deviations of the dual where w*_j = 0
BATCH = 2048  # rows drawn at a time
CLASSES = ("strong", "weak", "zero")
PIECE = 100  # replicates kept together
LEVEL = 0.95
NORMAL = float(ndtri(0.5 + 0.5 * LEVEL))
RED = "#b2182b"


class Design(NamedTuple):
    """One cell of the study."""

    name: str
    dimension: int
    rho: float  # H_ij = rho^|i-j|
    rows: int
    replicates: int
    seed: int = 5

    @property
    def classes(self) -> NDArray[np.str_]:
        """Of each coordinate: as many weak ones as strong, d/5 each but at most 10, the rest zero."""
        k = min(10, self.dimension // 5)
        return np.repeat(CLASSES, [k, k, self.dimension - 2 * k])

    @property
    def coef(self) -> Floats:
        """Strong ones in pairs of one sign, so that signs change between correlated neighbours."""
        j = np.arange(self.dimension)
        signs = np.where(j // 2 % 2 == 0, 1.0, -1.0)
        size = np.select(
            [self.classes == "strong", self.classes == "weak"], [np.where(j % 2 == 0, 1.0, 0.5), 2.0 / self.rows**0.5]
        )
        return np.asarray(signs * size)

    @property
    def covariance(self) -> Floats:
        j = np.arange(self.dimension)
        return np.asarray(float(self.rho) ** np.abs(j[:, None] - j))

    @property
    def algorithm(self) -> rs.RDA:
        step_size = SPREAD / self.dimension
        c = CLEARANCE / (self.rows * step_size) ** (MU - 0.5)
        return rs.RDA(step_size, rs.L1(), rs.PowerLaw(c, MU))


@Kernel
def draw_rows(streams, coef, rho, numbers, rows, response, products):
    """Rows with ``H_ij = rho^|i-j|`` and their responses, noise 1; `products` gains X'y, in its last entry y'y."""
    normals(streams, numbers)
    flat = numbers.reshape(-1)
    n, d = rows.shape
    fresh = np.sqrt(1.0 - rho * rho)
    for i in range(n):
        row = flat[i * (d + 1) : (i + 1) * (d + 1)]
        x, mean = row[0], 0.0
        for j in range(d):
            x = x if j == 0 else rho * x + fresh * row[j]
            rows[i, j] = x
            mean += x * coef[j]
        y = mean + row[d]
        response[i] = y
        for j in range(d):
            products[j] += rows[i, j] * y
        products[d] += y * y


def replicate(design: Design, number: int) -> dict[str, Floats]:
    """One stream: what `fit` says of it, and least squares on all of its rows."""
    d = design.dimension
    source = streams(design.seed, LANES * number + np.arange(LANES))
    numbers = lane_array(BATCH * (d + 1) // LANES)
    rows, response, products = np.empty((BATCH, d)), np.empty(BATCH), np.zeros(d + 1)

    def batches() -> Any:
        left = design.rows
        while left:
            n = min(BATCH, left)
            draw_rows(source, design.coef, design.rho, numbers, rows[:n], response[:n], products)
            left -= n
            yield rows[:n], response[:n]

    found = rs.fit(rs.LinearRegression, batches(), None, design.algorithm)
    gram = found.sums().roots
    inverse = np.linalg.inv(gram)
    least_squares = inverse @ products[:d]
    variance = (products[d] - products[:d] @ least_squares) / (design.rows - d)
    return {
        "average": found.raw,
        "average_shift": found.shift,
        "average_error": found.std_error,
        "iterate": found.iterate.raw,
        "iterate_shift": found.iterate.shift,
        "iterate_error": found.iterate.std_error,
        "ols": least_squares,
        "ols_error": np.sqrt(variance * np.diag(inverse)),
    }


def averaged(design: Design) -> int:
    """How many of the last rows `fit` averages over."""
    blocks = design.rows // 8 // 256
    return design.rows - (256 * 2 ** (blocks.bit_length() - 1) if blocks else 0)


def predicted_shift(design: Design) -> Floats:
    """Of the average: the time average of ``-H_SS^-1 sgn(w*_S) g'(t)``, S the strong coordinates; NaN for the others.

    The others, R, count as held at zero, away from w*: that adds ``H_SS^-1 H_SR w*_R``.
    """
    algorithm, on, m = design.algorithm, design.classes == "strong", averaged(design)
    g = algorithm.thresholds(np.array([design.rows - m, design.rows]) * algorithm.step_size)
    return _settled(design, np.sign(design.coef[on]) * (g[1] - g[0]) / (algorithm.step_size * m))


def _settled(design: Design, pull: Floats) -> Floats:
    on = design.classes == "strong"
    shift = np.full(design.dimension, np.nan)
    rest = design.covariance[np.ix_(on, ~on)] @ design.coef[~on]
    shift[on] = -np.linalg.solve(design.covariance[np.ix_(on, on)], pull - rest)
    return shift


def predicted_drift(design: Design) -> Floats:
    """Where the last iterate is on average: ``-H_SS^-1 (sgn(w*_S) g'(T) - H_SR w*_R)``; NaN off the strong ones."""
    algorithm, on = design.algorithm, design.classes == "strong"
    g = algorithm.thresholds(np.array([design.rows - 1, design.rows]) * algorithm.step_size)
    pull = np.sign(design.coef[on]) * (g[1] - g[0]) / algorithm.step_size
    return _settled(design, pull)


def predicted_length(design: Design) -> Floats:
    """Of an interval of the average, over that of least squares on all rows.

    Only strong coordinates move, with variance gamma / 2 each under any H: a share gamma tr(H_SS) / 2 of noise from
    e'He everywhere, and gamma times H_.S H_S. from twice Hee'H, once as noise and once as squared mean of a gradient.
    """
    on, gamma = design.classes == "strong", design.algorithm.step_size
    inflation = 1.0 + gamma * np.count_nonzero(on) / 2.0 + gamma * on / np.diag(np.linalg.inv(design.covariance))
    return np.asarray(np.sqrt(inflation * design.rows / averaged(design)))


def run(design: Design, pieces: Pieces) -> dict[str, Floats]:
    """All replicates of a cell, (replicate, coordinate) each."""
    parts = []
    with concurrent.futures.ThreadPoolExecutor(workers()) as pool:
        for first in range(0, design.replicates, PIECE):
            numbers = range(first, min(first + PIECE, design.replicates))

            def compute(numbers: range = numbers) -> dict[str, Floats]:
                found = list(pool.map(lambda number: replicate(design, number), numbers))
                return {name: np.array([one[name] for one in found]) for name in found[0]}

            settings = {
                **design._replace(replicates=len(numbers))._asdict(),
                "first": first,
                "mu": MU,
                "spread": SPREAD,
                "clearance": CLEARANCE,
            }
            parts.append(pieces("online-inference", settings, compute))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def designs(small: bool) -> list[Design]:
    if small:
        return [Design("identity", 5, 0.0, 8_000, 40), Design("Toeplitz(0.5)", 10, 0.5, 8_000, 40)]
    cells = (("identity", 0.0), ("Toeplitz(0.5)", 0.5))
    return [Design(name, d, rho, 100_000, 1_000) for d in (20, 100) for name, rho in cells]


class Mean(NamedTuple):
    """Over replicates, of an average over the coordinates of a class."""

    value: float
    error: float

    @staticmethod
    def of(values: Floats) -> Mean:
        each = values.mean(axis=1)
        return Mean(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))))


def errors(found: dict[str, Floats], name: str, design: Design, corrected: bool) -> Floats:
    """Distance from w* in standard errors, (replicate, coordinate)."""
    center = found[name] - (found[f"{name}_shift"] if corrected else 0.0)
    return np.asarray((center - design.coef) / found[f"{name}_error"])


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

    for design, found in cells:
        where = f"{design.name}, d = {design.dimension}"
        shift, strong = predicted_shift(design), design.classes == "strong"
        signs = np.sign(design.coef[strong])
        raw, corrected = errors(found, "average", design, False), errors(found, "average", design, True)
        ratio = found["average_error"] / found["ols_error"]
        expected = shift / found["average_error"].mean(axis=0)
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
        still = predicted_drift(design)[strong] / found["iterate_error"][:, strong].mean(axis=0)
        for name, right in (("uncorrected ", False), ("", True)):
            z = errors(found, "iterate", design, right)[:, strong]
            add(
                f"{where}: bias of the last iterate {name}away from 0 in standard errors, strong",
                Mean.of(signs * z),
                0.0 if right else float((signs * still).mean()),
            )
            if right:
                add(f"{where}: coverage of the last iterate, strong", Mean.of(held(z)), LEVEL)
        z = (found["ols"] - design.coef) / found["ols_error"]
        add(f"{where}: coverage of least squares, strong", Mean.of(held(z[:, strong])), LEVEL)
    return columns


def _draw(cells: Cells) -> Figure:
    figure = plot.new_figure(12.0, 9.0)
    (coverage, length), (bias, by_coordinate) = figure.subplots(2, 2)
    kinds = {
        "average, centre corrected": (plot.BLUE, "o", lambda d, f: errors(f, "average", d, True)),
        "average as it stands": (RED, "x", lambda d, f: errors(f, "average", d, False)),
        "least squares": ("0.45", "s", lambda d, f: (f["ols"] - d.coef) / f["ols_error"]),
    }
    labels, places = [], []
    for i, (design, found) in enumerate(cells):
        for k, kind in enumerate(CLASSES):
            on, at = design.classes == kind, 4.0 * i + k
            places.append(at)
            labels.append(kind)
            for offset, (name, (ink, marker, z)) in zip((-0.2, 0.2, 0.0), kinds.items(), strict=True):
                mean = Mean.of(held(z(design, found)[:, on]))
                coverage.errorbar(
                    at + offset,
                    mean.value,
                    NORMAL * mean.error,
                    fmt=marker,
                    ms=5,
                    mfc="none",
                    color=ink,
                    label=name if at == 0.0 else None,
                )
            ratio = (found["average_error"] / found["ols_error"])[:, on]
            length.plot(at, ratio.mean(), "o", ms=5, mfc="none", color=plot.BLUE)
            length.plot(at, predicted_length(design)[on].mean(), "_", ms=14, color="0.2")
        for axis in (coverage, length):
            axis.text(
                4.0 * i + 1.0,
                1.02,
                f"{design.name}\nd = {design.dimension}",
                transform=axis.get_xaxis_transform(),
                ha="center",
            )
    coverage.axhline(LEVEL, color="0.4", lw=0.9, ls="--")
    coverage.set(ylabel="coverage", ylim=(-0.03, 1.03))
    coverage.legend(frameon=False, loc="center", bbox_to_anchor=(0.5, 0.62), fontsize=9)
    length.axhspan(0.85, 1.15, color="0.92", lw=0, zorder=0)
    length.axhline(1.0, color="0.4", lw=0.9, ls="--")
    length.set(ylabel="length over least squares", ylim=(0.8, 1.2))
    for axis in (coverage, length):
        axis.set_xticks(places, labels, rotation=60)

    design, found = cells[-1]
    where = np.arange(design.dimension)
    error = found["average_error"].mean(axis=0)
    for name in ("average as it stands", "average, centre corrected"):
        ink, marker, z = kinds[name]
        bias.plot(where, z(design, found).mean(axis=0), marker, ms=5, mfc="none", color=ink, label=name)
        by_coordinate.plot(where, held(z(design, found)).mean(axis=0), marker, ms=5, mfc="none", color=ink)
    bias.plot(where, predicted_shift(design) / error, "_", ms=9, color="0.2", label="predicted (strong)")
    last = held(errors(found, "iterate", design, True)).mean(axis=0)  # NaN where it was not always on the support
    by_coordinate.plot(where, last, "d", ms=4, color="0.2", label="last iterate, where always on the support")
    bias.axhline(0.0, color="0.4", lw=0.9, ls="--")
    bias.set(xlabel="coordinate", ylabel="bias in standard errors", title=f"{design.name}, d = {design.dimension}")
    bias.legend(frameon=False, fontsize=9)
    by_coordinate.axhline(LEVEL, color="0.4", lw=0.9, ls="--")
    by_coordinate.set(
        xlabel="coordinate", ylabel="coverage", ylim=(-0.03, 1.03), title=f"{design.name}, d = {design.dimension}"
    )
    by_coordinate.legend(frameon=False, loc="lower right", fontsize=9)
    for axis in (coverage, length, bias, by_coordinate):
        axis.spines[["top", "right"]].set_visible(False)
    _say(figure, cells)
    return figure


def _say(figure: Figure, cells: Cells) -> None:
    def percent(values: list[float]) -> str:
        low, high = min(values), max(values)
        return f"{100 * low:.1f} to {100 * high:.1f} %"

    shares = {
        (kind, right): [
            Mean.of(held(errors(found, "average", design, right)[:, design.classes == kind])).value
            for design, found in cells
        ]
        for kind in CLASSES
        for right in (False, True)
    }
    worst = [float(held(errors(f, "average", d, True)).mean(axis=0).min()) for d, f in cells]
    last = [Mean.of(held(errors(f, "iterate", d, True)[:, d.classes == "strong"])).value for d, f in cells]
    weak = [np.isfinite(f["iterate_error"][:, d.classes == "weak"]) for d, f in cells]
    on_support = [float(on.mean()) for on in weak]
    theirs = [
        float(held(errors(f, "iterate", d, True)[:, d.classes == "weak"])[on].mean())
        for (d, f), on in zip(cells, weak, strict=True)
        if on.any()
    ]
    ratios = [float((f["average_error"] / f["ols_error"]).mean()) for _, f in cells]
    wide = [float((f["iterate_error"] / f["ols_error"])[:, d.classes == "strong"].mean()) for d, f in cells]
    design = cells[0][0]
    weakly = (
        f"a weak coefficient is on its support in {percent(on_support)} of runs, and its interval, which takes that "
        f"for given, then holds in {percent(theirs)}."
        if theirs
        else "weak coefficients never were on its support."
    )
    caption(
        figure,
        f"One pass over n = {design.rows} rows, {design.replicates} replicates, nominal 95 %; ranges over the designs. "
        "With the centre corrected the interval of the average holds for strong coefficients in "
        f"{percent(shares['strong', True])}, for weak ones (2/sqrt(n)) in {percent(shares['weak', True])}, for zero "
        f"ones in {percent(shares['zero', True])}; on the worst single coordinate of each design in {percent(worst)}. "
        "As it stands the average is shifted by the growth of the threshold: it then holds for strong coefficients in "
        f"{percent(shares['strong', False])}. Its mean length is {min(ratios):.3f} to {max(ratios):.3f} times that of "
        "least squares on all rows (predicted: bars; grey: within 15 %). The last iterate's interval holds for strong "
        f"coefficients in {percent(last)}, at {min(wide):.1f} to {max(wide):.1f} times that length; {weakly} Where the "
        "last iterate is exactly zero it has no interval.",
    )
