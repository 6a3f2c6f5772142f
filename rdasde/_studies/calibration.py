"""Can bands be trusted, wherever one looks? Problems drawn at random, each judged by `rdasde.validate.calibration`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

import rdasde as rs
from rdasde import _drawing
from rdasde._check import Floats
from rdasde._studies._pieces import Pieces, Report, markdown
from rdasde._studies._results import kept

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

SEED, PROBLEMS = 20, 200  # nothing was picked
METHODS: tuple[Literal["closure", "paths"], ...] = ("closure", "paths")
LEVEL = 0.95
TIMES = (0.02, 0.1, 0.3, 1.0)  # of the horizon
STEPS = (100, 20_000)  # of the algorithm, at least and at most
_BISECTIONS = 14  # in the search of the largest stable step
_LINEAR = 4.0  # points up to which the picture's axis is linear
_INKS = {"trust": _drawing.BLUE, "warned": _drawing.YELLOW, "silent": _drawing.RED}
_SHAPES = {"trust": "o", "warned": "^", "silent": "X"}


class Case(NamedTuple):
    """A problem with an algorithm, and how it was drawn."""

    problem: rs.Problem
    algorithm: rs.RDA
    horizon: float
    start: Floats
    words: dict[str, str]  # what it is; determines a piece, with the number


def drawn(number: int) -> Case:
    """The problem of that number, whatever others there are."""
    draw = np.random.default_rng((SEED, number))
    dimension = round(float(np.exp(draw.uniform(np.log(2.0), np.log(50.0)))))
    spectrum, covariance = _spectrum(draw, dimension)
    coef = _sparse(draw, dimension)
    noise = 10.0 ** draw.uniform(-1.0, 0.5)
    loss, problem = _problem(draw, coef, covariance, noise)
    batch = int(draw.choice([1, 1, 1, 4, 16]))
    share = 10.0 ** draw.uniform(-3.0, 0.0)  # of the largest step that is not warned of
    step = share * largest_step(problem, batch)
    name, mirror = _mirror(draw, dimension)
    algorithm = rs.RDA(step, mirror, _schedule(draw, step), batch)
    place, start = _start(draw, problem, loss)
    relaxations = 10.0 ** draw.uniform(0.0, 1.5)
    steps = int(np.clip(relaxations / (problem.typical_rate() * step), *STEPS))
    words = {
        "loss": loss,
        "d": str(dimension),
        "spectrum": spectrum,
        "noise": f"{noise:.2g}" if loss.startswith("linear") else "-",
        "map": name,
        "schedule": repr(algorithm.schedule) if mirror.needs_schedule else "-",
        "batch": str(batch),
        "start": place,
        "γ/γmax": f"{share:.2g}",
        "steps": str(steps),
    }
    return Case(problem, algorithm, steps * step, start, words)


def _spectrum(draw: np.random.Generator, d: int) -> tuple[str, Floats]:
    """A covariance, and what it is like."""
    kind = str(draw.choice(["identity", "AR", "scales", "power law"]))
    if kind == "AR":
        rho = float(draw.uniform(0.2, 0.95))
        return f"AR({rho:.2f})", rho ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    if kind == "scales":
        return kind, np.diag(10.0 ** draw.uniform(-1.5, 0.5, d))
    if kind == "power law":
        decay = float(draw.uniform(0.5, 2.0))
        turn = np.linalg.qr(draw.standard_normal((d, d)))[0]
        matrix = (turn * np.arange(1.0, d + 1.0) ** -decay) @ turn.T
        return f"j^-{decay:.2f}", 0.5 * (matrix + matrix.T)
    return kind, np.eye(d)


def _sparse(draw: np.random.Generator, d: int) -> Floats:
    """Coefficients of both signs and of all sizes, some of them zero."""
    sizes: Floats = 10.0 ** draw.uniform(-1.3, 0.3, d) * draw.choice([-1.0, 1.0], d)
    active = draw.random(d) < draw.uniform(0.1, 1.0)
    return np.asarray(np.where(active, sizes, 0.0))


def _problem(draw: np.random.Generator, coef: Floats, covariance: Floats, noise: float) -> tuple[str, rs.Problem]:
    """What is learned: by its law, or rows of it, normal ones or such with heavier tails."""
    d = len(coef)
    kind = str(draw.choice(["linear", "logistic", "PCA"], p=[0.5, 0.3, 0.2]))
    law = bool(draw.random() < 0.6)
    tails = int(draw.choice([5, 1000]))  # degrees of freedom
    count = int(draw.integers(20, 200)) + 5 * d
    stretch = np.sqrt(tails / draw.chisquare(tails, (count, 1))) if tails < 100 else np.ones((count, 1))
    rows = draw.standard_normal((count, d)) @ np.linalg.cholesky(covariance + 1e-12 * np.eye(d)).T * stretch
    scores, error, chance = rows @ coef, noise * draw.standard_normal(count), draw.random(count)
    spike = np.where(coef.any(), coef, 1.0)
    name = kind if law else f"{kind}, {count} {'heavy ' if tails < 100 else ''}rows"
    if kind == "linear":
        return name, rs.LinearRegression(coef, covariance, noise) if law else rs.LinearRegression.from_data(
            rows, scores + error
        )
    if kind == "logistic":
        labels = (chance < 1.0 / (1.0 + np.exp(-scores))).astype(float)
        return name, rs.LogisticRegression(coef, covariance) if law else rs.LogisticRegression.from_data(rows, labels)
    if law:
        return name, rs.OnlinePCA.spiked([float(draw.uniform(1.0, 6.0))], (spike / np.linalg.norm(spike))[None])
    return name, rs.OnlinePCA.from_data(rows)


def largest_step(problem: rs.Problem, batch: int) -> float:
    """The largest step size that is not warned of, up to the trace of the Hessian times it being 2 b."""
    low, high = 0.0, 2.0 * batch / problem.trace()
    if problem.instability(high, batch) is None:
        return high
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if problem.instability(middle, batch) is None else (low, middle)
    return low


def _mirror(draw: np.random.Generator, d: int) -> tuple[str, Any]:
    weights, edge, l2 = draw.uniform(0.0, 2.0, d), 10.0 ** draw.uniform(-1.0, 0.5), 10.0 ** draw.uniform(-2.0, 0.5)
    maps: dict[str, Callable[[], Any]] = {
        "none": lambda: rs.RDA(1.0).mirror,
        "L1": rs.L1,
        "L1, weighted": lambda: rs.L1(weights),
        "elastic net": lambda: rs.ElasticNet(l2),
        "nonnegative": rs.NonNegativeL1,
        "box": lambda: rs.Box(-edge, edge),
        "groups": lambda: rs.GroupLasso(np.arange(d) // 3),
    }
    name = str(draw.choice(list(maps), p=[0.1, 0.35, 0.1, 0.15, 0.1, 0.1, 0.1]))
    return name, maps[name]()


def _schedule(draw: np.random.Generator, step: float) -> Any:
    size, mu = 10.0 ** draw.uniform(-1.0, 0.3), draw.uniform(0.51, 1.0)
    kind = str(draw.choice(["power law", "linear", "constant"], p=[0.6, 0.2, 0.2]))
    level = float(f"{size * np.sqrt(step):.3g}")
    if kind == "power law":
        return rs.PowerLaw(float(f"{size:.3g}"), float(f"{mu:.3g}"))
    return rs.Linear(level) if kind == "linear" else rs.Constant(level)


def _start(draw: np.random.Generator, problem: rs.Problem, loss: str) -> tuple[str, Floats]:
    place = str(draw.choice(["zero", "minimizer", "far"], p=[0.5, 0.25, 0.25]))
    away = draw.standard_normal(problem.dimension)
    around = np.zeros(problem.dimension) if problem.minimizer is None else problem.minimizer
    if loss.startswith(
        "PCA"
    ):  # zero is a fixed point: near to it, along the minimizer with something across, or beyond
        away /= np.linalg.norm(away)
        pieces = {"zero": 0.1 * away, "minimizer": around + 0.1 * away, "far": 0.5 * around + 1.0 * away}
        return {"zero": "saddle"}.get(place, place), pieces[place]
    pieces = {"zero": 0.0 * away, "minimizer": around, "far": around + 2.0 * away}
    return place, pieces[place]


def measured(pieces: Pieces, number: int) -> tuple[Case, xr.Dataset]:
    case = drawn(number)
    replicates, paths = (100, 200) if pieces.small else (2000, 4000)
    settings = case.words | {
        "number": number,
        "seed": SEED,
        "level": LEVEL,
        "times": TIMES,
        "replicates": replicates,
        "paths": paths,
    }
    result = kept(
        pieces,
        "calibration",
        settings,
        lambda: rs.validate.calibration(
            case.problem,
            case.algorithm,
            case.horizon,
            methods=METHODS,
            level=LEVEL,
            replicates=replicates,
            paths=paths,
            times=np.array([0.0, *TIMES]) * case.horizon,
            start=case.start,
            seed=number,
        ),
    )
    return case, result


class Row(NamedTuple):
    """One method on one problem."""

    number: int
    case: Case
    method: str
    of: xr.Dataset
    verdict: str
    reason: str
    warning: str

    @property
    def kind(self) -> str:
        if self.verdict in ("trust", "impossible"):
            return self.verdict
        return "warned" if self.warning else "silent"


def study(pieces: Pieces) -> Report:
    """Every problem, closure and paths; the failures apart."""
    rows = []
    for number in range(2 if pieces.small else PROBLEMS):
        case, result = measured(pieces, number)
        for method in METHODS:
            said = [str(result.attrs[f"{what}_{method}"]) for what in ("verdict", "reason", "warning")]
            rows.append(Row(number, case, method, result.sel(theory=method), *said))
    failures = [row for row in rows if row.kind in ("warned", "silent")]
    table = f"### Not trusted\n\n{_table(failures) if failures else 'None.'}\n\n### All\n\n{_table(rows)}"
    return Report(_draw(rows, pieces), table)


def _table(rows: list[Row]) -> str:
    columns: dict[str, list[str]] = {}
    for row in rows:
        dual, late = row.of.sel(space="dual"), row.of["time"].values > 0.0
        bias, ratio = np.abs(dual["bias"].values[late]), dual["std_ratio"].values[late]
        zero = np.abs(row.of["probability_zero_error"].values)
        known = row.verdict != "impossible"
        cells = {
            "problem": str(row.number),
            **row.case.words,
            "method": row.method,
            "verdict": row.verdict,
            "warned": row.warning.split(":")[0] or "-",
            "average": f"{float(dual['average']):.4f}" if known else "-",
            "worst (allowed)": f"{float(dual['worst']):.4f} ({float(row.of['worst_allowed']):.4f})" if known else "-",
            "bias, most": f"{np.nanmax(bias, initial=0.0):.3f}" if known else "-",
            "ratio of std": f"{np.nanmin(ratio, initial=9e9):.3f} to {np.nanmax(ratio, initial=0.0):.3f}"
            if known and np.isfinite(ratio).any()
            else "-",
            "P(w = 0), off by": f"{np.nanmax(zero, initial=0.0):.3f}" if known else "-",
            "seconds": f"{float(row.of['seconds']):.2g}" if known else "-",
        }
        for key, text in cells.items():
            columns.setdefault(key, []).append(text)
    return markdown(columns)


def _draw(rows: list[Row], pieces: Pieces) -> Any:
    figure = _drawing.page(4.8)
    axes = figure.subplots(len(METHODS), 1, sharex=True)
    shares = []
    for axis, method in zip(axes, METHODS, strict=True):
        of = sorted((row for row in rows if row.method == method), key=lambda row: float(row.case.words["γ/γmax"]))
        counts = {kind: sum(row.kind == kind for row in of) for kind in (*_INKS, "impossible")}
        _draw_method(axis, of)
        number = len(of) - counts["impossible"]
        axis.set_title(f"{method}: {counts['trust']} of {number} trusted")
        shares.append(
            f"{method}: {counts['warned'] + counts['silent']} of {number} fail, {counts['silent']} without a warning"
            + (f" ({counts['impossible']} more are not for it)" if counts["impossible"] else "")
        )
    shown = [float(row.case.words["γ/γmax"]) for row in of]
    ticks = np.unique(np.linspace(0, len(shown) - 1, 9).astype(int))
    axes[-1].set_xticks(ticks, [f"{shown[k]:.2g}" for k in ticks])
    axes[-1].set_xlabel(
        r"problems, by their step size in units of the largest that is not warned of,  $\gamma/\gamma_{\max}$"
    )
    _drawing.letters(axes)
    from matplotlib.lines import Line2D

    labels = {"trust": "trusted", "warned": "not, and a warning said so", "silent": "not, and nothing said so"}
    handles = [
        Line2D([], [], color=ink, marker=_SHAPES[kind], lw=0.8, label=labels[kind]) for kind, ink in _INKS.items()
    ]
    _drawing.legend_above(figure, handles)
    number = 100 if pieces.small else 2000
    _drawing.caption(
        figure,
        f"{len(rows) // len(METHODS)} problems drawn at random (loss, dimension 2 to 50, spectrum, noise, start, "
        "mirror map, schedule, batch, step size up to the stability warning); dual coverage of "
        f"{number:,} runs less {100 * LEVEL:g} %, at {', '.join(f'{t:g}' for t in TIMES)} of the horizon. Dots: the "
        "average over times and coordinates; lines: from the worst to the best of them. Green: 1.5 points. Trusted is "
        "what is within these on average and at worst where counting allows, in the dual and in the primal. "
        f"{'; '.join(shares)}.",
    )
    return figure


def _draw_method(axis: Axes, rows: list[Row]) -> None:
    for place, row in enumerate(rows):
        if row.kind == "impossible":
            continue
        dual = row.of.sel(space="dual")
        worst, average, best = (100.0 * (float(dual[name]) - LEVEL) for name in ("worst", "average", "best"))
        axis.plot([place, place], [worst, best], color=_INKS[row.kind], lw=0.8, solid_capstyle="butt")
        axis.plot(place, average, _SHAPES[row.kind], color=_INKS[row.kind], ms=2.2, mew=0.0)
    axis.axhspan(-1.5, 1.5, color=_drawing.GREEN, alpha=0.25, lw=0, zorder=0)
    _drawing.zero_line(axis)
    axis.set_yscale("symlog", linthresh=_LINEAR, linscale=1.5)
    marks = [-95, -50, -20, -10, -4, -2, 0, 2, 4]
    axis.set_yticks(marks, [_drawing.signed(mark) for mark in marks])
    axis.set_yticks([], minor=True)
    axis.set(ylabel="coverage less level (points)", xlim=(-1.0, len(rows)), ylim=(-100.0, 6.0))
    _drawing.bare(axis)
