"""Bands through the mirror map, and how often they hold.

The mirror map of a separable penalty is nondecreasing in each coordinate, so quantiles pass through it: a band
``[l, u]`` of v_j becomes the band ``[prox(l), prox(u)]`` of w_j, at at least the same level (theory, section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._check import Floats
from rdasde._engine.results import mirror_of
from rdasde._regularizers.base import Regularizer

if TYPE_CHECKING:
    import xarray as xr

Space = Literal["primal", "dual"]
SPACES: tuple[Space, ...] = ("dual", "primal")
_BOOTSTRAP = 2000  # draws for the simultaneous band of a mean


def band(
    result: xr.Dataset,
    level: float = 0.95,
    *,
    of: Literal["iterate", "mean"] = "iterate",
    space: Space = "primal",
    simultaneous: bool = False,
    replicates: int | None = None,
    regularizer: Regularizer | None = None,
) -> xr.Dataset:
    """A confidence band from what `approximate` or `simulate` returned.

    Parameters
    ----------
    result : xarray.Dataset
        Also one that was saved and loaded: its attributes carry the mirror map.
    level : float
        Probability of lying inside, strictly between 0 and 1.
    of : {"iterate", "mean"}
        ``"iterate"``: where a run lies, quantiles of its law, taken in the dual and mapped. ``"mean"``: the confidence
        interval of the mean over `replicates` runs, ``mean +- z std / sqrt(replicates)``. Two different things.
    space : {"primal", "dual"}
    simultaneous : bool
        Pointwise: each time holds with probability `level`. Simultaneous: the whole path of a coordinate stays inside
        with probability `level` (sup-t, from paths; scaled in the dual, then mapped).
    replicates : int, optional
        For ``of="mean"``: how many runs are averaged. The number of paths or runs in `result` when not given.
    regularizer : Regularizer, optional
        The mirror map, where it is not one of rdasde's own.

    Returns
    -------
    xarray.Dataset
        ``lower``, ``upper`` (time, coordinate), ``threshold`` (time). ``attrs["quantiles"]`` says where the quantiles
        come from: ``"paths"``, or ``"gaussian"`` where only moments are known.

    Raises
    ------
    ValueError, TypeError
        For bad arguments; where a simultaneous band is asked of a result without paths, or the interval of a mean of a
        result that is no Monte Carlo, without `replicates`; where the mirror map couples coordinates and there are
        no primal paths.
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
    if not isinstance(simultaneous, bool):
        raise _check.wrong_kind("simultaneous", simultaneous, "True or False", "pass one of them")
    if replicates is not None:
        replicates = _check.count("replicates", replicates, mend="give how many runs are averaged")
        if of == "iterate":
            raise _check.bad("replicates", replicates, "None for of='iterate'", "it is for of='mean' only")
    sampled = "dual" in result
    if simultaneous and not sampled:
        raise _check.bad(
            "simultaneous",
            "True for a result without paths",
            "False, or a result with paths",
            "use approximate(..., method='paths') or simulate(..., keep='paths')",
        )
    mirror = mirror_of(result, regularizer)
    z = float(ndtri(0.5 + level / 2.0))

    if of == "mean":
        lower, upper = _mean_band(result, space, z, level, simultaneous, replicates)
    elif space == "primal" and not mirror.separable:
        if not sampled or simultaneous:
            raise _check.bad(
                "space",
                f"'primal' with {mirror!r}, which couples coordinates",
                "'dual', or pointwise from paths: quantiles do not pass through such a map",
                "use approximate(..., method='paths')",
            )
        lower, upper = _quantiles(_samples(result, "primal"), level)
    else:
        if simultaneous:
            lower, upper = _sup_band(_samples(result, "dual"), level)
        elif sampled:
            lower, upper = _quantiles(_samples(result, "dual"), level)
        elif "dual_quantile" in result:
            lower, upper = _at_score(result, -z), _at_score(result, z)
        else:
            mean, std = result["dual_mean"].values, result["dual_std"].values
            lower, upper = mean - z * std, mean + z * std
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
        "simultaneous": int(simultaneous),
        "quantiles": _source(result, of, simultaneous),
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
        ``(time, coordinate)``; for a simultaneous band ``(coordinate)``, the fraction of runs inside at all times. NaN
        counts as outside.

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
    inside = np.zeros(values.shape[1:])
    always = np.zeros(len(common))
    states = values.values
    for state in states:  # one run at a time: no copy of everything
        hit = (state >= lower) & (state <= upper)
        inside += hit
        always += hit.all(axis=0)
    if band.attrs.get("simultaneous"):
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


def _quantiles(samples: Floats, level: float) -> tuple[Floats, Floats]:
    ends = np.quantile(samples, [0.5 - level / 2.0, 0.5 + level / 2.0], axis=0)
    return ends[0], ends[1]


def _at_score(result: xr.Dataset, z: float) -> Floats:
    """Dual quantiles at the normal score z: linear in the score between those kept, and beyond the last ones."""
    scores, kept = result["score"].values, result["dual_quantile"].values
    right = int(np.clip(np.searchsorted(scores, z), 1, len(scores) - 1))
    weight = (z - scores[right - 1]) / (scores[right] - scores[right - 1])
    return (1.0 - weight) * kept[right - 1] + weight * kept[right]


def _standardized(samples: Floats) -> tuple[Floats, Floats, Floats]:
    mean = samples.mean(axis=0)
    std = samples.std(axis=0, ddof=1) if len(samples) > 1 else np.zeros_like(mean)
    moving = std > 0.0
    scaled = np.where(moving, (samples - mean) / np.where(moving, std, 1.0), 0.0)
    return mean, std, scaled


def _sup_band(samples: Floats, level: float) -> tuple[Floats, Floats]:
    mean, std, scaled = _standardized(samples)
    # times where nothing moves yet (t = 0) take no part
    reach = np.quantile(np.abs(scaled).max(axis=1), level, axis=0)
    return mean - reach * std, mean + reach * std


def _mean_band(
    result: xr.Dataset, space: str, z: float, level: float, simultaneous: bool, replicates: int | None
) -> tuple[Floats, Floats]:
    sampled = "dual" in result
    if sampled:
        samples = _samples(result, space)
        mean, std, scaled = _standardized(samples)
        number = len(samples)
    else:
        mean, std = result[f"{space}_mean"].values, result[f"{space}_std"].values
        number = int(result.attrs.get("replicates", 0))
    number = number if replicates is None else replicates
    if number < 1:
        raise _check.bad(
            "replicates",
            None,
            "given, since the result is no Monte Carlo",
            "pass replicates=n for the interval of the mean over n runs",
        )
    reach: Any = z
    if simultaneous:
        # the mean of n standardized paths is a Gaussian process with their correlation: a multiplier bootstrap
        generator = np.random.default_rng(0)
        weights = generator.standard_normal((_BOOTSTRAP, len(scaled))) / np.sqrt(len(scaled))
        largest = [np.abs(weights @ scaled[:, :, j]).max(axis=1) for j in range(scaled.shape[2])]
        reach = np.quantile(np.array(largest), level, axis=1)
    half = reach * std / np.sqrt(number)
    return mean - half, mean + half
