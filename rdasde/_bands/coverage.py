"""`coverage`: how often a band holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rdasde import _check
from rdasde._bands.inside import Counts, check_band, common_coordinates, digest_of, inside_of, variable_of
from rdasde._bands.variables import SPACES, drawn, in_order
from rdasde._engine.results import carried

if TYPE_CHECKING:
    import xarray as xr


def coverage(runs: xr.Dataset, band: xr.Dataset) -> xr.DataArray:
    """The fraction of runs inside a band.

    Parameters
    ----------
    runs : xarray.Dataset
        From ``simulate(..., keep="paths")``, or paths of `approximate`; or from
        ``simulate(..., keep="summary", inside=band)``, which has counted as runs finished.
    band : xarray.Dataset
        From `band`, on the same times: of the iterate, or of a function of the state, the average or another variable
        that the runs hold, too.

    Returns
    -------
    xarray.DataArray
        ``(time, coordinate)``, of a function of the state ``(time)``; for a simultaneous band ``(coordinate)``, the
        fraction of runs inside at all times, and for one over all coordinates, or of a function of the state, a single
        number, that of runs inside at all times in all coordinates (which the two have in common). NaN counts as
        outside.

    Raises
    ------
    ValueError, TypeError
        Where the time grids differ, the runs hold neither paths nor counts, the counts are those of another band, the
        coordinates have nothing in common, or the band is that of a mean.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> band = rs.band(rs.approximate(problem, algorithm, 5.0, times=6), 0.9, space="dual")
    >>> runs = rs.simulate(problem, algorithm, 5.0, times=6, replicates=2000, seed=0)
    >>> inside = rs.coverage(runs, band)
    >>> inside.dims, bool(abs(inside[1:] - 0.9).max() < 0.03)
    (('time', 'coordinate'), True)
    """
    import xarray as xr

    _check.instance("runs", runs, xr.Dataset, "what simulate returned", "pass that Dataset")
    check_band("band", band)
    runs, band = in_order("runs", runs), in_order("band", band)
    name = variable_of(band)
    values = drawn(runs, name)
    if values is None:
        return _counted(runs, band, name)
    coordinates = runs["coordinate"].values if "coordinate" in values.dims else np.zeros(0, dtype=np.int64)
    if set(values.dims[1:]) != set(band["lower"].dims):
        raise _check.bad(
            "band",
            f"by {', '.join(map(str, band['lower'].dims))}",
            f"by {', '.join(map(str, values.dims[1:]))}, as {name!r} of the runs is",
            "make it from a result with the same variable",
        )
    inside = inside_of("band", band, runs["time"].values, coordinates)
    counts = Counts(inside, len(values))
    counts.add(slice(None), values.values)
    coords: dict[str, Any] = {str(dim): runs[dim].values for dim in values.dims[1:]}
    if inside.columns is not None:
        coords["coordinate"] = coordinates[inside.columns]
    dims = [str(dim) for dim in values.dims[1:]][inside.together :] if inside.together < 2 else []
    shares = xr.DataArray(counts.total() / len(values), coords={dim: coords[dim] for dim in dims}, dims=dims)
    return _labelled(shares, band, len(values), str(values.dims[0]), runs)


def _counted(runs: xr.Dataset, band: xr.Dataset, name: str) -> xr.DataArray:
    """From the counts that `simulate` has kept."""
    if "inside" not in runs:
        mend = "use simulate(..., keep='paths')" if name in SPACES else f"record {name!r} there, too"
        raise _check.bad("runs", f"a Dataset without {name} paths", "one with paths", mend)
    if runs.attrs.get("inside_band") != digest_of(band):
        raise _check.bad(
            "band",
            "another one than the runs were counted in",
            "the one that simulate(..., inside=band) was given",
            "pass that band, or use simulate(..., keep='paths')",
        )
    shares = runs["inside"]
    if "coordinate" in shares.dims:
        shares = shares.sel(coordinate=common_coordinates("band", band, runs["coordinate"].values))
    return _labelled(shares.copy(), band, int(runs.attrs["replicates"]), "replicate", runs)


def _labelled(shares: xr.DataArray, band: xr.Dataset, number: int, over: str, runs: xr.Dataset) -> xr.DataArray:
    shares = shares.rename("coverage")
    space = str(band.attrs.get("space", "primal"))
    known = {"level": band.attrs.get("level"), "space": space, "runs": number, "over": over}
    shares.attrs = carried(runs, "coverage") | {name: value for name, value in known.items() if value is not None}
    return shares
