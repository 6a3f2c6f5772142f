"""Which runs lie inside a band: counted of runs in memory, or of blocks of them as they finish."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._bands.variables import Space, in_order
from rdasde._check import Floats

if TYPE_CHECKING:
    import xarray as xr

_ROUNDING = 1e-12  # as a share of an end


class Inside(NamedTuple):
    """A band as it is counted: of which variable, on its times, at the `columns` of what the runs keep."""

    variable: str
    lower: Floats  # (time,), or (time, column)
    upper: Floats
    columns: NDArray[np.int64] | None  # None where the variable is one number at a time
    together: int  # 0 pointwise, 1 over times, 2 over all
    digest: str  # of the band


class Counts:
    """Of runs inside a band, from one stretch of times after the other."""

    def __init__(self, inside: Inside, runs: int) -> None:
        self._inside, self.variable = inside, inside.variable
        self.pointwise = np.zeros(inside.lower.shape)
        self._always = np.ones((runs, *inside.lower.shape[1:]), dtype=bool)

    def add(self, part: slice, states: Floats) -> None:
        """States (run, time, ...) at the times `part`."""
        inside = self._inside
        for run, state in enumerate(states):  # one run at a time: no copy of everything
            at = state if inside.columns is None else state[:, inside.columns]
            hit = (at >= inside.lower[part]) & (at <= inside.upper[part])
            self.pointwise[part] += hit
            self._always[run] &= hit.all(axis=0)

    def total(self) -> Floats:
        """How many runs are inside: by time and column, or at all times by column, or in all of it."""
        if self._inside.together == 0:
            return self.pointwise
        always = self._always.reshape(len(self._always), -1).all(axis=1) if self._inside.together == 2 else self._always
        return np.asarray(always.sum(axis=0), dtype=np.float64)


def digest_of(band: xr.Dataset) -> str:
    """What makes two bands the same, whose dimensions are in order."""
    digest = hashlib.sha256()
    for name in ("lower", "upper", "time", "coordinate"):
        if name in band.variables:
            digest.update(np.ascontiguousarray(band[name].values).tobytes())
    digest.update(repr((variable_of(band), int(band.attrs.get("simultaneous", 0)))).encode())
    return digest.hexdigest()[:16]


def variable_of(band: xr.Dataset) -> str:
    """The variable of runs that a band is about."""
    of = str(band.attrs.get("of", "iterate"))
    space: Space = "dual" if band.attrs.get("space") == "dual" else "primal"
    return space if of == "iterate" else of


def check_band(argument: str, band: object) -> None:
    """ValueError or TypeError for what is no band of runs."""
    import xarray as xr

    _check.instance(argument, band, xr.Dataset, "what rs.band returned", "pass that Dataset")
    assert isinstance(band, xr.Dataset)
    if not {"lower", "upper"} <= set(band.data_vars):
        raise _check.bad(argument, "a Dataset without lower and upper", "what rs.band returned", "pass that Dataset")
    if band.attrs.get("of") == "mean":
        raise _check.bad(
            argument,
            "that of a mean",
            "one of='iterate'",
            "runs scatter around their mean; use of='iterate' for where they lie",
        )


def check_times(argument: str, band: xr.Dataset, times: Floats) -> None:
    """ValueError where a band stands on other times than the runs."""
    other = band["time"].values
    if len(times) != len(other) or not np.allclose(times, other, rtol=1e-9, atol=1e-12):
        raise _check.bad(
            argument,
            f"given at {len(other)} times that are not the {len(times)} times of the runs",
            "on the same times",
            "pass the same horizon, times and step size to simulate and approximate",
        )


def common_coordinates(argument: str, band: xr.Dataset, coordinates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those that a band and the runs have in common; ValueError where there are none."""
    common: NDArray[np.int64] = np.intersect1d(coordinates, band["coordinate"].values)
    if not common.size:
        raise _check.bad(
            argument, "of other coordinates than the runs", "of the same ones", "keep the same coordinates"
        )
    return common


def inside_of(argument: str, band: xr.Dataset, times: Floats, coordinates: NDArray[np.int64]) -> Inside:
    """A band as it is counted of runs at these times that keep these coordinates; ValueError where they differ."""
    band = in_order(argument, band)
    check_times(argument, band, times)
    variable, together = variable_of(band), int(band.attrs.get("simultaneous", 0))
    if "coordinate" not in band["lower"].dims:
        return Inside(variable, *_up_to_rounding(band), None, together, digest_of(band))
    common = common_coordinates(argument, band, coordinates)
    within = band.sel(coordinate=common)
    columns = np.array([int(np.flatnonzero(coordinates == j)[0]) for j in common])
    return Inside(variable, *_up_to_rounding(within), columns, together, digest_of(band))


def _up_to_rounding(band: xr.Dataset) -> tuple[Floats, Floats]:
    """Both ends: what does not move lies on its band, whose ends are not computed as it is."""
    lower, upper = (np.asarray(band[end].values, dtype=np.float64) for end in ("lower", "upper"))
    return lower - _ROUNDING * np.abs(lower), upper + _ROUNDING * np.abs(upper)
