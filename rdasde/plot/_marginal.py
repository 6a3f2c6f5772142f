"""One coordinate at one time: the law that theory gives it, and the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rdasde import _check, _drawing
from rdasde._bands.quantiles import at_scores, by_rank
from rdasde._check import Floats
from rdasde._engine.results import mirror_of
from rdasde.plot._axes import coordinates_of, figure_of, one, runs_and_theory

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GRID = 400  # quantiles that a law is drawn from
_END = 3.0  # normal scores that are drawn
_FEW = 3  # runs that have quantiles


def marginal(
    runs: xr.Dataset,
    theory: xr.Dataset,
    coordinate: int,
    time: float | None = None,
    *,
    space: Literal["dual", "primal"] = "dual",
    kind: Literal["density", "quantiles"] = "density",
    ax: Axes | None = None,
) -> Figure:
    """The law of one coordinate at one time, against the runs.

    Parameters
    ----------
    runs : xarray.Dataset
        From ``simulate(..., keep="paths")``.
    theory : xarray.Dataset
        From `approximate`: its paths, or the shape of its marginals, or a normal law where there are moments alone.
    coordinate : int
        Counted from 0.
    time : float, optional
        The nearest of the times kept is taken; the last one when not given.
    space : {"dual", "primal"}
        In the primal, ``P(w_j = 0)`` is a mass of its own: its height is read on the right, and the density is that of
        what is not zero, so that its area is the rest.
    kind : {"density", "quantiles"}
        A histogram of the runs under the density of the theory; or quantiles of the runs over those of the theory, with
        the region that counting leaves to each of them in 95 % of cases.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure when not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is drawn.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, -0.3, 0.0], rs.AR1(3, 0.5))
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> runs = rs.simulate(problem, algorithm, 5.0, replicates=500, times=11, seed=0)
    >>> theory = rs.approximate(problem, algorithm, 5.0, times=11)
    >>> figure = rs.plot.marginal(runs, theory, coordinate=2, kind="quantiles")
    >>> figure.axes[0].get_xlabel()
    'theory: quantile of $v_{2}$'
    """
    space_ = _check.choice("space", space, ("dual", "primal"))
    _check.choice("kind", kind, ("density", "quantiles"))
    runs, theory = runs_and_theory(runs, theory)
    j = int(coordinates_of([_check.count("coordinate", coordinate, least=0)], ("theory", theory), ("runs", runs))[0])
    when = float(theory["time"].values[-1]) if time is None else _check.number("time", time, least=0.0)
    states = runs[space_].sel(coordinate=j).sel(time=when, method="nearest")
    when = float(states["time"])
    law = _law(theory, when, j, space_)
    sample = states.values[np.isfinite(states.values)]
    if law.quantiles[0] == law.quantiles[-1]:
        raise _check.bad("time", f"{when:g}", "one at which the coordinate has a spread", "take a later time")
    if len(sample) < _FEW:
        raise _check.bad("runs", f"a Dataset of {len(sample)} runs there", f"one of at least {_FEW}", "simulate more")
    axis = one(ax)
    name = f"${_drawing.space_symbol(space_)}_{{{j}}}$"
    if kind == "density":
        _density(axis, sample, law)
        axis.set(xlabel=name, ylabel="density")
    else:
        _against(axis, sample, law)
        axis.set(xlabel=f"theory: quantile of {name}", ylabel=f"{len(sample):,} runs")
    axis.set_title(f"$t = {when:.4g}$", loc="left")
    _drawing.bare(axis)
    return figure_of(axis)


class _Law(NamedTuple):
    """Quantiles at evenly spaced normal scores; draws, where there are any; the mass at exactly zero."""

    scores: Floats
    quantiles: Floats
    draws: Floats | None
    zero: float

    def density(self) -> list[tuple[Floats, Floats]]:
        """Of what is not exactly zero, on either side of it: places and values."""
        from scipy.special import ndtr
        from scipy.stats import gaussian_kde

        if self.draws is not None:
            alive = self.draws[self.draws != 0.0] if self.zero else self.draws
            if np.ptp(alive) == 0.0 or len(alive) < 3:
                return []
            places = np.linspace(alive.min(), alive.max(), _GRID)
            values = (1.0 - self.zero) * gaussian_kde(alive)(places)
        else:
            steps = np.diff(self.quantiles)
            rising = steps > 1e-9 * np.ptp(self.quantiles)
            places = (0.5 * (self.quantiles[1:] + self.quantiles[:-1]))[rising]
            values = np.diff(ndtr(self.scores))[rising] / steps[rising]
        sides = (places < 0.0, places > 0.0) if self.zero else (np.isfinite(places),)
        return [(places[side], values[side]) for side in sides if side.any()]


def _law(theory: xr.Dataset, when: float, j: int, space: str) -> _Law:
    """The theory's law of one coordinate at one time."""
    from scipy.interpolate import PchipInterpolator
    from scipy.special import ndtr

    scores = np.linspace(-_END, _END, _GRID)
    here = theory.sel(time=[when], method="nearest")
    if "dual" in here:
        draws = here[space].sel(coordinate=j).values[:, 0]
        zero = float(np.mean(draws == 0.0)) if space == "primal" else 0.0
        return _Law(scores, by_rank(draws, ndtr(scores)), draws, zero)
    known = here["score"].values if "score" in here else scores
    dual = np.asarray(PchipInterpolator(known, at_scores(here.sel(coordinate=[j]), known)[:, 0, 0])(scores))
    if space == "dual":
        return _Law(scores, dual, None, 0.0)
    mirror = mirror_of(theory)
    if not mirror.separable:
        raise _check.bad(
            "space",
            f"'primal' with {mirror!r}, which couples coordinates",
            "'dual', or a theory with paths",
            "use approximate(..., method='paths')",
        )
    full = np.zeros((len(dual), mirror.span(int(theory["coordinate"].values.max()) + 1)))
    full[:, j] = dual
    primal = np.asarray(mirror.prox(full, float(here["threshold"].values[0])))[:, j]
    return _Law(scores, primal, None, float(here["probability_zero"].sel(coordinate=j).values[0]))


def _density(axis: Axes, sample: Floats, law: _Law) -> None:
    """Histogram and density of what is not exactly zero, and the mass at zero as two bars."""
    first, second = _drawing.inks(2)
    moving = sample[sample != 0.0]
    if len(moving) > 1:
        bins = np.histogram_bin_edges(moving, "auto")
        counts = np.histogram(moving, bins)[0] / (len(sample) * np.diff(bins))
        axis.stairs(counts, bins, fill=True, color=first, alpha=0.3, label=f"{len(sample):,} runs")
    for number, (places, values) in enumerate(law.density()):
        axis.plot(places, values, color=second, label=None if number else "theory")
    axis.set_ylim(0.0, None)
    masses = (1.0 - len(moving) / len(sample), law.zero)
    if max(masses) > 0.0:
        beside = axis.twinx()
        reach = 0.012 * float(np.ptp([*axis.get_xlim()]))
        for place, ink, mass in zip((-reach, reach), (first, second), masses, strict=True):
            beside.vlines(place, 0.0, mass, color=ink, lw=_drawing.line_width(2.5))
        beside.set(ylim=(0.0, 1.0), ylabel="$P(w_j = 0)$")
        beside.spines["top"].set_visible(False)
        beside.spines["right"].set_visible(True)
    axis.legend(frameon=False)


def _against(axis: Axes, sample: Floats, law: _Law) -> None:
    """Quantiles of the runs over those of the theory, and the region that counting leaves."""
    from scipy import stats
    from scipy.special import ndtr

    ink = _drawing.inks(1)[0]
    probabilities, n = ndtr(law.scores), len(sample)
    told = (probabilities * (n + 1) >= 1.0) & (probabilities * (n + 1) <= n)
    observed, expected = by_rank(sample, probabilities[told]), law.quantiles[told]
    ranks = np.array([stats.binom.ppf(tail, n, probabilities[told]) for tail in (0.025, 0.975)])
    ends = np.clip(ranks / n, probabilities[0], probabilities[-1])
    low, high = np.interp(ends, probabilities, law.quantiles)
    axis.fill_between(expected, low, high, color="0.5", alpha=0.25, lw=0, label="95 % by counting")
    axis.plot(expected[[0, -1]], expected[[0, -1]], color="0.5", lw=_drawing.line_width(0.6))
    picked = np.unique(np.linspace(0, len(expected) - 1, 60).astype(int))
    axis.plot(expected[picked], observed[picked], "o", ms=2.5, color=ink, label="quantiles")
    axis.legend(frameon=False)
