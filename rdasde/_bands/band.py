"""`band`: where a run lies, or the mean of runs, through the mirror map.

The mirror map of a separable penalty is nondecreasing in each coordinate, so quantiles pass through it: a band
``[l, u]`` of v_j becomes the band ``[prox(l), prox(u)]`` of w_j, at at least the same level (theory, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._bands.mean import mean_band
from rdasde._bands.quantiles import at_scores, between_ranks, need_draws, prediction, sup_band, told
from rdasde._bands.tails import warn_of_tails
from rdasde._bands.variables import Space, drawn, in_order, names_of
from rdasde._check import Floats
from rdasde._engine.results import carried, mirror_if_known, mirror_of
from rdasde._regularizers.base import Regularizer

if TYPE_CHECKING:
    import xarray as xr

# `simultaneous`, and how attributes say it
_TOGETHER: dict[bool | str, int] = {False: 0, True: 1, "coordinate": 1, "all": 2}


class _Limits(NamedTuple):
    """Of a band, and where its quantiles come from."""

    lower: Floats
    upper: Floats
    quantiles: str


def band(
    result: xr.Dataset,
    level: float = 0.95,
    *,
    of: str = "iterate",
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
    of : str
        ``"iterate"``: where a run lies, quantiles of its law, taken in the dual and mapped. ``"mean"``: the confidence
        interval of the mean. Two different things. Or the name of what else is known of every run at every time, where
        its value in a run lies: a function from ``statistics=``, the running ``"average"``, or a variable (replicate or
        path, time, ...) that you added; of the average also from moments, by the closure or a summary.
    space : {"primal", "dual"}
    simultaneous : bool or {"coordinate", "all"}
        False, pointwise: each time holds with probability `level`. ``"coordinate"`` (or True): the whole path of a
        coordinate stays inside with probability `level` (sup-t, from paths; scaled in the dual, then mapped).
        ``"all"``: all coordinates do so at once.
    replicates : int, optional
        For ``of="mean"``: the interval in which the mean over so many new runs lies. When not given, that in which the
        mean of the law lies, from the paths or runs in `result`.
    regularizer : Regularizer, optional
        The mirror map, where it is a function of your own, which a result does not carry. Without it primal bands are
        those of the mapped paths, pointwise.

    Returns
    -------
    xarray.Dataset
        ``lower``, ``upper`` (time, coordinate), of a function of the state (time); ``threshold`` (time).
        ``attrs["quantiles"]`` says where the quantiles come from: ``"paths"``, or ``"gaussian"`` where only moments are
        used; ``attrs["simultaneous"]`` is 0 pointwise, 1 over times, 2 over times and coordinates.

    Raises
    ------
    ValueError, TypeError
        For bad arguments; for a level that so few paths cannot tell; where a simultaneous band is asked of a result
        without paths, or the interval of a mean of a result that is no Monte Carlo, without `replicates`; where the
        mirror map couples coordinates and there are no primal paths.

    Warns
    -----
    AccuracyWarning
        Where the law was compared with runs of the algorithm (``check`` of `approximate`) and these lie outside such a
        band more often, or less, than chance and a room leave open: 1.3, 1.5 or twice as often at level .99, .999 or
        .9999, the nearest of which stands for `level`, or three points at a simultaneous one. Levels up to .97 are
        what `approximate` warns of itself. For the closure it is a `ClosureWarning`.

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

    A function of the state:

    >>> risk = {"risk": lambda w: ((w - problem.coef) ** 2).sum(axis=-1)}
    >>> paths = rs.approximate(problem, algorithm, 1.0, method="paths", times=5, statistics=risk, seed=0)
    >>> runs = rs.simulate(problem, algorithm, 1.0, replicates=1000, times=5, statistics=risk, seed=1)
    >>> rs.coverage(runs, rs.band(paths, 0.9, of="risk")).dims
    ('time',)
    """
    import xarray as xr

    _check.instance("result", result, xr.Dataset, "what approximate or simulate returned", "pass that Dataset")
    result = in_order("result", result)
    has_states, names = "threshold" in result and bool({"dual", "dual_mean"} & set(result.data_vars)), names_of(result)
    if not (has_states or names):
        raise _stateless()
    level = _check.level(level)
    of = _check.choice("of", of, ("iterate", "mean", *names))
    _check.choice("space", space, ("primal", "dual"))
    together = together_of(simultaneous)
    if replicates is not None:
        replicates = _check.count("replicates", replicates, mend="give how many runs are averaged")
        if of != "mean":
            raise _check.bad("replicates", replicates, f"None for of={of!r}", "it is for of='mean' only")
    named = of not in ("iterate", "mean")
    if named and space == "dual":
        raise _check.bad("space", f"'dual' for of={of!r}", "'primal', of whose states it is a function", "leave it out")
    if not (named or has_states):
        raise _stateless()
    variable = drawn(result, of if named else "dual")
    if together and variable is None:
        raise _check.bad(
            "simultaneous",
            f"{simultaneous!r} for a result without paths",
            "False, or a result with paths",
            "use approximate(..., method='paths') or simulate(..., keep='paths')",
        )
    if named:
        if variable is None:
            limits = _gaussian(result[f"{of}_mean"].values, result[f"{of}_std"].values, level)
            dims = result[f"{of}_mean"].dims
        else:
            limits, dims = _of_draws(variable, level, together), variable.dims[1:]
    else:
        mirror = mirror_if_known(result, regularizer)
        limits, dims = _of_states(result, (level, together), of, space, replicates, mirror), ("time", "coordinate")
    if of != "mean":
        warn_of_tails(result.attrs, level, together, of if named else "")
    data: dict[str, Any] = {"lower": (dims, limits.lower), "upper": (dims, limits.upper)}
    if "threshold" in result:
        data["threshold"] = (("time",), result["threshold"].values)
    edges = xr.Dataset(data, coords={str(dim): result[dim].values for dim in dims})
    edges.attrs = carried(result, "band") | {
        "level": level,
        "of": of,
        "space": space,
        "simultaneous": together,
        "quantiles": limits.quantiles,
        "method": str(result.attrs.get("method", "simulate")),
    }
    if not named and mirror is not None:
        edges.attrs["regularizer"] = mirror.to_json()
    return edges


def _stateless() -> ValueError:
    return _check.bad(
        "result", "a Dataset without dual states", "what approximate or simulate returned", "pass that Dataset"
    )


def _of_states(
    result: xr.Dataset,
    level_together: tuple[float, int],
    of: str,
    space: str,
    replicates: int | None,
    mirror: Regularizer | None,
) -> _Limits:
    """Of the iterate, or of the mean over runs; without the mirror map where a result does not carry it."""
    level, together = level_together
    dual = drawn(result, "dual")
    if of == "mean":
        if together and dual is not None:
            need_draws(level, len(dual), str(dual.dims[0]), sides=1)
        source = "paths" if together and dual is not None else "gaussian"
        return _Limits(*mean_band(result, space, level, together, replicates), source)
    if space == "primal" and (mirror is None or not mirror.separable):
        if dual is not None:
            _need_told(dual, level, together)
        if dual is None or together:
            mirror = mirror_of(result) if mirror is None else mirror  # the former says that it is to be passed
            raise _check.bad(
                "space",
                f"'primal' with {mirror!r}, which couples coordinates",
                "'dual', or pointwise from paths: quantiles do not pass through such a map",
                "use approximate(..., method='paths')",
            )
        primal = drawn(result, "primal")
        assert primal is not None
        return _of_draws(primal, level, together)
    limits = _gaussian_or_marginal(result, level) if dual is None else _of_draws(dual, level, together)
    if space == "dual":
        return limits
    assert mirror is not None
    return limits._replace(
        lower=_mapped(mirror, limits.lower, result),
        upper=_mapped(mirror, limits.upper, result),
    )


def _of_draws(values: xr.DataArray, level: float, together: int) -> _Limits:
    """Of what is known run by run, (run, time, ...)."""
    samples = np.asarray(values.values, dtype=np.float64)
    _need_told(values, level, together)
    if together:
        flat = samples.reshape(*samples.shape[:2], -1)  # (run, time, all else)
        lower, upper = sup_band(flat, level, together)
        return _Limits(lower.reshape(samples.shape[1:]), upper.reshape(samples.shape[1:]), "paths")
    # runs of the algorithm are what they are, maybe saved long ago: beyond their ranks as a normal law goes on
    if told(level, len(samples)):
        return _Limits(*between_ranks(samples, level), "paths")
    return _Limits(*prediction(samples, level), "gaussian")


def _need_told(values: xr.DataArray, level: float, together: int) -> None:
    if together or values.dims[0] == "path":
        need_draws(level, len(values), str(values.dims[0]), sides=1 if together else 2)


def _gaussian(mean: Floats, std: Floats, level: float) -> _Limits:
    from scipy.special import ndtri

    half = float(ndtri(0.5 + level / 2.0)) * std
    return _Limits(mean - half, mean + half, "gaussian")


def _gaussian_or_marginal(result: xr.Dataset, level: float) -> _Limits:
    from scipy.special import ndtri

    z = float(ndtri(0.5 + level / 2.0))
    lower, upper = at_scores(result, [-z, z])
    return _Limits(lower, upper, "marginals" if "dual_quantile" in result else "gaussian")


def _mapped(mirror: Regularizer, values: Floats, result: xr.Dataset) -> Floats:
    """The mirror map of dual values (time, coordinate), whichever coordinates were kept."""
    coordinates: NDArray[np.int64] = result["coordinate"].values
    least = int(coordinates.max()) + 1
    if mirror.span(least) < least:
        mirror.check_dimension(least)
    full = np.zeros((len(values), mirror.span(least)))
    full[:, coordinates] = values
    return mirror.prox(full, result["threshold"].values[:, None])[:, coordinates]


def together_of(simultaneous: object) -> int:
    """Over how many kinds of dimension a band holds at once: none, times, or coordinates, too."""
    accepted = "False, True, 'coordinate' or 'all'"
    simultaneous = bool(simultaneous) if isinstance(simultaneous, np.bool_) else simultaneous
    if not isinstance(simultaneous, bool | str):
        raise _check.wrong_kind("simultaneous", simultaneous, accepted, "pass one of them")
    if simultaneous not in _TOGETHER:
        raise _check.bad("simultaneous", _check.show(simultaneous), accepted, "pass one of them")
    return _TOGETHER[simultaneous]
