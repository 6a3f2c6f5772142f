"""Bands through the mirror map, and how often they hold.

The mirror map of a separable penalty is nondecreasing in each coordinate, so quantiles pass through it: a band
``[l, u]`` of v_j becomes the band ``[prox(l), prox(u)]`` of w_j, at at least the same level (theory, section 3).

Quantiles of draws are taken by rank: a new draw lies between the k-th smallest and the k-th largest of n with
probability ``(n + 1 - 2 k) / (n + 1)`` exactly, whatever their law. A level that asks for k < 1 is more than n draws
can tell: paths, of which there could be more, are then refused; for runs a normal law stands in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._check import Floats
from rdasde._engine.results import mirror_of
from rdasde._engine.run import TOLERANCE
from rdasde._regularizers.base import Regularizer

if TYPE_CHECKING:
    import xarray as xr

Space = Literal["primal", "dual"]
SPACES: tuple[Space, ...] = ("dual", "primal")
# `simultaneous`, and how attributes say it
_TOGETHER: dict[bool | str, int] = {False: 0, True: 1, "coordinate": 1, "all": 2}
_BOOTSTRAP = 2000  # draws for the simultaneous band of a mean, at least
_SLACK = 1e-9  # of ranks, which are rounded
_MANY = 200  # draws from which on a spread is as good as known: Student's quantile is within 1 % of the normal one
_CHECKED = 256  # runs that a closure was checked with, where the result does not say
_CHANCE = 5.0  # standard errors by which a check may be off by chance: only what is beyond them is known


def band(
    result: xr.Dataset,
    level: float = 0.95,
    *,
    of: Literal["iterate", "mean"] = "iterate",
    space: Space = "primal",
    simultaneous: bool | Literal["coordinate", "all"] = False,
    replicates: int | None = None,
    regularizer: Regularizer | None = None,
) -> xr.Dataset:
    """A confidence band from what `approximate` or `simulate` returned.

    Parameters
    ----------
    result : xarray.Dataset
        Also one that was saved and loaded: its attributes carry the mirror map.
    level : float
        Probability of lying inside, strictly between 0 and 1. From n paths at most ``1 - 2 / (n + 1)``, pointwise, or
        ``n / (n + 1)``, simultaneously. Beyond that level of runs, pointwise, it is the interval for one more normal
        draw; beyond the scores of ``dual_quantile`` (.9995) tails are normal.
    of : {"iterate", "mean"}
        ``"iterate"``: where a run lies, quantiles of its law, taken in the dual and mapped. ``"mean"``: the confidence
        interval of the mean. Two different things.
    space : {"primal", "dual"}
    simultaneous : bool or {"coordinate", "all"}
        False, pointwise: each time holds with probability `level`. ``"coordinate"`` (or True): the whole path of a
        coordinate stays inside with probability `level` (sup-t, from paths; scaled in the dual, then mapped).
        ``"all"``: all coordinates do so at once.
    replicates : int, optional
        For ``of="mean"``: the interval in which the mean over so many new runs lies. When not given, that in which the
        mean of the law lies, from the paths or runs in `result`.
    regularizer : Regularizer, optional
        The mirror map, where it is not one of rdasde's own.

    Returns
    -------
    xarray.Dataset
        ``lower``, ``upper`` (time, coordinate), ``threshold`` (time). ``attrs["quantiles"]`` says where the quantiles
        come from: ``"paths"``, or ``"gaussian"`` where only moments are used; ``attrs["simultaneous"]`` is 0
        pointwise, 1 over times, 2 over times and coordinates.

    Raises
    ------
    ValueError, TypeError
        For bad arguments; for a level that so few paths cannot tell; where a simultaneous band is asked of a result
        without paths, or the interval of a mean of a result that is no Monte Carlo, without `replicates`; where the
        mirror map couples coordinates and there are no primal paths.

    Notes
    -----
    Quantiles of n draws are interpolated between ranks, so that a new draw lies between them with probability `level`,
    whatever n. The sup-t band takes each path's largest deviation from the mean of the *others*, in their standard
    deviations, as a new path has it.

    The mean of n runs has the variance ``std^2 / n`` around that of the law, and the mean of P paths ``std^2 / P``: the
    interval is ``mean +- q std sqrt(1/n + 1/P)``, q the normal quantile, or Student's from few paths. Besides, the mean
    may be off by the time steps of the paths, up to ``attrs["tolerance"]`` standard deviations: q is such that the
    interval holds with such a bias. The closure has no Monte Carlo error; its bias is what its check against a few runs
    saw beyond chance (``attrs["checked_mean"]``). For few runs that are far from normal the interval is rough.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, -0.3, 0.0], rs.AR1(3, 0.5))
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> paths = rs.approximate(problem, algorithm, 1.0, method="paths", times=5, seed=0)
    >>> band = rs.band(paths, 0.9, space="dual", simultaneous="all")
    >>> runs = rs.simulate(problem, algorithm, 1.0, replicates=1000, times=5, seed=1)
    >>> bool(abs(rs.coverage(runs, band) - 0.9) < 0.05)  # of whole runs, all coordinates at once
    True
    """
    import xarray as xr
    from scipy.special import ndtri

    _check.instance("result", result, xr.Dataset, "what approximate or simulate returned", "pass that Dataset")
    if "threshold" not in result or not ({"dual", "dual_mean"} & set(result.data_vars)):
        raise _check.bad(
            "result", "a Dataset without dual states", "what approximate or simulate returned", "pass that Dataset"
        )
    level = _check.level(level)
    _check.choice("of", of, ("iterate", "mean"))
    _check.choice("space", space, ("primal", "dual"))
    together = _together(simultaneous)
    if replicates is not None:
        replicates = _check.count("replicates", replicates, mend="give how many runs are averaged")
        if of == "iterate":
            raise _check.bad("replicates", replicates, "None for of='iterate'", "it is for of='mean' only")
    sampled = "dual" in result
    if together and not sampled:
        raise _check.bad(
            "simultaneous",
            f"{simultaneous!r} for a result without paths",
            "False, or a result with paths",
            "use approximate(..., method='paths') or simulate(..., keep='paths')",
        )
    mirror = mirror_of(result, regularizer)
    by_rank_alone = sampled and (bool(together) or (of == "iterate" and "path" in result["dual"].dims))
    if by_rank_alone:
        need_draws(level, len(result["dual"]), str(result["dual"].dims[0]), sides=1 if together else 2)
    # runs of the algorithm are what they are, maybe saved long ago: beyond their ranks as a normal law goes on
    beyond = sampled and not together and of == "iterate" and not _told(level, len(result["dual"]))
    quantiles_of = _prediction if beyond else _between_ranks

    if of == "mean":
        lower, upper = _mean_band(result, space, level, together, replicates)
    elif space == "primal" and not mirror.separable:
        if not sampled or together:
            raise _check.bad(
                "space",
                f"'primal' with {mirror!r}, which couples coordinates",
                "'dual', or pointwise from paths: quantiles do not pass through such a map",
                "use approximate(..., method='paths')",
            )
        lower, upper = quantiles_of(_samples(result, "primal"), level)
    else:
        if together:
            lower, upper = _sup_band(_samples(result, "dual"), level, together)
        elif sampled:
            lower, upper = quantiles_of(_samples(result, "dual"), level)
        else:
            z = float(ndtri(0.5 + level / 2.0))
            lower, upper = at_scores(result, [-z, z])
        if space == "primal":
            lower, upper = (_mapped(mirror, end, result) for end in (lower, upper))
    grid = ("time", "coordinate")
    edges = xr.Dataset(
        {"lower": (grid, lower), "upper": (grid, upper), "threshold": (("time",), result["threshold"].values)},
        coords={"time": result["time"].values, "coordinate": result["coordinate"].values},
    )
    edges.attrs = {
        "level": level,
        "of": of,
        "space": space,
        "simultaneous": together,
        "quantiles": "gaussian" if beyond else _source(result, of, bool(together)),
        "regularizer": mirror.to_json(),
        "method": str(result.attrs.get("method", "simulate")),
    }
    return edges


def coverage(runs: xr.Dataset, band: xr.Dataset) -> xr.DataArray:
    """The fraction of runs inside a band.

    Parameters
    ----------
    runs : xarray.Dataset
        From ``simulate(..., keep="paths")``, or paths of `approximate`.
    band : xarray.Dataset
        From `band`, on the same times.

    Returns
    -------
    xarray.DataArray
        ``(time, coordinate)``; for a simultaneous band ``(coordinate)``, the fraction of runs inside at all times, and
        for one over all coordinates a single number, that of runs inside at all times in all coordinates (which the two
        have in common). NaN counts as outside.

    Raises
    ------
    ValueError, TypeError
        Where the time grids differ, the runs hold no paths, the coordinates have nothing in common, or the band is
        that of a mean.
    """
    import xarray as xr

    _check.instance("runs", runs, xr.Dataset, "what simulate returned", "pass that Dataset")
    _check.instance("band", band, xr.Dataset, "what rs.band returned", "pass that Dataset")
    if not {"lower", "upper"} <= set(band.data_vars):
        raise _check.bad("band", "a Dataset without lower and upper", "what rs.band returned", "pass that Dataset")
    if band.attrs.get("of") == "mean":
        raise _check.bad(
            "band",
            "that of a mean",
            "one of='iterate'",
            "runs scatter around their mean; use of='iterate' for where they lie",
        )
    space = str(band.attrs.get("space", "primal"))
    if space not in runs:
        raise _check.bad(
            "runs", f"a Dataset without {space} paths", "one with paths", "use simulate(..., keep='paths')"
        )
    times, other = runs["time"].values, band["time"].values
    if len(times) != len(other) or not np.allclose(times, other, rtol=1e-9, atol=1e-12):
        raise _check.bad(
            "band",
            f"given at {len(other)} times that are not the {len(times)} times of the runs",
            "on the same times",
            "pass the same horizon, times and step size to simulate and approximate",
        )
    common = np.intersect1d(runs["coordinate"].values, band["coordinate"].values)
    if not common.size:
        raise _check.bad("band", "of other coordinates than the runs", "of the same ones", "keep the same coordinates")
    values = runs[space].sel(coordinate=common)
    axis = values.dims[0]
    within = band.sel(coordinate=common)
    lower, upper = within["lower"].values, within["upper"].values
    together = int(band.attrs.get("simultaneous", 0))
    inside = np.zeros(values.shape[1:])
    always, entirely = np.zeros(len(common)), 0
    states = values.values
    for state in states:  # one run at a time: no copy of everything
        hit = (state >= lower) & (state <= upper)
        inside += hit
        always += hit.all(axis=0)
        entirely += bool(hit.all())
    if together == 2:
        shares = xr.DataArray(entirely / len(states))
    elif together:
        shares = xr.DataArray(always / len(states), coords={"coordinate": common}, dims=("coordinate",))
    else:
        coords = {"time": times, "coordinate": common}
        shares = xr.DataArray(inside / len(states), coords=coords, dims=("time", "coordinate"))
    shares.name = "coverage"
    shares.attrs = {"level": band.attrs.get("level"), "space": space, "runs": len(states), "over": str(axis)}
    return shares


def _source(result: xr.Dataset, of: str, simultaneous: bool) -> str:
    if "dual" in result and (of == "iterate" or simultaneous):
        return "paths"
    return "marginals" if "dual_quantile" in result and of == "iterate" else "gaussian"


def _samples(result: xr.Dataset, space: str) -> Floats:
    return np.asarray(result[space].values)


def _mapped(mirror: Regularizer, values: Floats, result: xr.Dataset) -> Floats:
    """The mirror map of dual values (time, coordinate), whichever coordinates were kept."""
    coordinates: NDArray[np.int64] = result["coordinate"].values
    full = np.zeros((len(values), mirror.span(int(coordinates.max()) + 1)))
    full[:, coordinates] = values
    return mirror.prox(full, result["threshold"].values[:, None])[:, coordinates]


def _together(simultaneous: object) -> int:
    accepted = "False, True, 'coordinate' or 'all'"
    if not isinstance(simultaneous, bool | str):
        raise _check.wrong_kind("simultaneous", simultaneous, accepted, "pass one of them")
    if simultaneous not in _TOGETHER:
        raise _check.bad("simultaneous", _check.show(simultaneous), accepted, "pass one of them")
    return _TOGETHER[simultaneous]


def need_draws(level: float, number: int, kind: str, sides: int = 2) -> None:
    """ValueError for a level beyond what so many draws of a `kind` ("path" or another) can tell by rank.

    Of both ends, or (``sides=1``) of the upper one alone.
    """
    tail = (1.0 - level) / sides
    if not _told(level, number, sides):
        enough = math.ceil((1.0 / tail - 1.0) * (1.0 - _SLACK))
        plural, more = ("paths", "paths") if kind == "path" else ("runs", "replicates")
        number_of = f"{number} {plural if number != 1 else plural[:-1]}"
        raise _check.bad(
            "level",
            f"{level:g} from {number_of}",
            "one whose quantiles lie among them",
            f"pass {more}={enough} or more, or a lower level"
            + (", or use method='closure'" if sides == 2 and kind == "path" else ""),
        )


def _told(level: float, number: int, sides: int = 2) -> bool:
    """Whether the ranks of so many draws reach as far as the level."""
    return (number + 1) * (1.0 - level) / sides >= 1.0 - _SLACK


def _between_ranks(samples: Floats, level: float) -> tuple[Floats, Floats]:
    lower, upper = by_rank(samples, (0.5 - level / 2.0, 0.5 + level / 2.0))
    return lower, upper


def _prediction(samples: Floats, level: float) -> tuple[Floats, Floats]:
    """Where one more normal draw lies, from few: mean and spread are estimated, too."""
    from scipy.special import stdtrit

    _need_spread(len(samples))
    mean, std, _ = standardized(samples)
    reach = float(stdtrit(len(samples) - 1, 0.5 + level / 2.0)) * math.sqrt(1.0 + 1.0 / len(samples))
    return mean - reach * std, mean + reach * std


def _need_spread(draws: int) -> None:
    if draws == 1:
        raise _check.bad(
            "result", "of a single path or run", "of several, whose spread is seen", "draw at least two of them"
        )


def by_rank(samples: Floats, probabilities: ArrayLike) -> Floats:
    """Quantiles over the first axis, such that a new draw lies below them with these probabilities.

    Order statistics at the rank ``(n + 1) p``, between two of them linear in it.
    """
    return np.asarray(np.quantile(samples, np.asarray(probabilities, dtype=np.float64), axis=0, method="weibull"))


def at_scores(result: xr.Dataset, scores: ArrayLike) -> Floats:
    """Dual quantiles (score, time, coordinate) at normal scores, of a result without paths.

    Linear in the score between those kept, and beyond the last ones, which is a normal tail; normal throughout where
    only moments are known.
    """
    wanted = np.asarray(scores, dtype=np.float64)
    if "dual_quantile" not in result:
        return np.asarray(result["dual_mean"].values + wanted[:, None, None] * result["dual_std"].values)
    known, kept = result["score"].values, result["dual_quantile"].values
    right = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)
    weight = ((wanted - known[right - 1]) / (known[right] - known[right - 1]))[:, None, None]
    return np.asarray((1.0 - weight) * kept[right - 1] + weight * kept[right])


class _Moments(NamedTuple):
    """Mean and standard deviation over draws, and the draws in these terms."""

    mean: Floats
    std: Floats
    scaled: Floats  # 0 where nothing moves


def standardized(samples: Floats) -> _Moments:
    """Over the first axis."""
    mean = samples.mean(axis=0)
    std = samples.std(axis=0, ddof=1) if len(samples) > 1 else np.zeros_like(mean)
    moving = std > 0.0
    return _Moments(mean, std, np.where(moving, (samples - mean) / np.where(moving, std, 1.0), 0.0))


def _sup_band(samples: Floats, level: float, together: int) -> tuple[Floats, Floats]:
    mean, std, scaled = standardized(samples)
    n = len(samples)
    if n > 2:
        # from the mean of the others and by their spread: a new path is not among those it is measured by, either
        spread = ((n - 1.0) - n / (n - 1.0) * scaled**2) / (n - 2.0)
        scaled = scaled * (n / (n - 1.0)) / np.sqrt(np.maximum(spread, np.finfo(float).tiny))
    # times where nothing moves yet (t = 0) take no part
    reach = by_rank(np.abs(scaled).max(axis=(1, 2) if together == 2 else 1), level)
    return mean - reach * std, mean + reach * std


def _mean_band(
    result: xr.Dataset, space: str, level: float, together: int, replicates: int | None
) -> tuple[Floats, Floats]:
    moments = standardized(_samples(result, space)) if "dual" in result else None
    mean, std = (result[f"{space}_mean"].values, result[f"{space}_std"].values) if moments is None else moments[:2]
    draws = _draws(result)
    if draws == 0 and replicates is None:
        raise _check.bad(
            "replicates",
            None,
            "given, since the result is no Monte Carlo",
            "pass replicates=n for the interval of the mean over n runs",
        )
    _need_spread(draws)
    share = (1.0 / draws if draws else 0.0) + (1.0 / replicates if replicates else 0.0)
    bias = _bias(result) / math.sqrt(share)
    reach: Any = _reach(level, bias, draws - 1 if 0 < draws < _MANY else None)
    if together and moments is not None:
        reach = _bootstrap(moments.scaled, level, together) + bias
    half = reach * std * math.sqrt(share)
    return mean - half, mean + half


def _draws(result: xr.Dataset) -> int:
    """Of Monte Carlo behind the moments of a result; 0 where there is none."""
    if "dual" in result:
        return len(result["dual"])
    return int(result.sizes.get("path", result.attrs.get("paths", result.attrs.get("replicates", 0))))


def _bias(result: xr.Dataset) -> float:
    """What the mean of a result may be off by, in standard deviations, beside its Monte Carlo error."""
    attributes = result.attrs
    if "method" not in attributes:  # the algorithm itself
        return 0.0
    if _draws(result):
        return float(attributes.get("tolerance", TOLERANCE))
    chance = _CHANCE / math.sqrt(float(attributes.get("checked_replicates", _CHECKED)))
    return max(0.0, float(attributes.get("checked_mean", 0.0)) - chance)


def _reach(level: float, bias: float, freedom: int | None) -> float:
    """q with ``P(|T + bias| <= q) = level``, T of Student's law, or normal where the spread is known."""
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    def below(x: float) -> float:
        return float(ndtr(x) if freedom is None else stdtr(freedom, x))

    p = 0.5 + level / 2.0
    unbiased = float(ndtri(p) if freedom is None else stdtrit(freedom, p))
    if bias == 0.0:
        return unbiased
    # 1 - level as the mass of two tails: it keeps its digits where the level is close to 1
    return float(
        brentq(lambda q: below(bias - q) + below(-bias - q) - (1.0 - level), unbiased, unbiased + bias, xtol=1e-12)
    )


def _bootstrap(scaled: Floats, level: float, together: int) -> Floats:
    """The level's quantile of the largest deviation of a mean, over times (coordinate), or over these, too.

    The mean of standardized paths is a Gaussian process with their correlation: a multiplier bootstrap, divided by what
    an estimated spread scatters by.
    """
    generator, n = np.random.default_rng(0), len(scaled)
    number = max(_BOOTSTRAP, n)  # n paths can tell the level, so that as many draws can
    weights = generator.standard_normal((number, n)) / np.sqrt(generator.chisquare(n - 1, (number, 1)))
    largest = np.array([np.abs(weights @ scaled[:, :, j]).max(axis=1) for j in range(scaled.shape[2])])
    return by_rank(largest.max(axis=0) if together == 2 else largest.T, level)
