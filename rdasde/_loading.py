"""`load`: a saved result, and what it is of."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._engine.results import Packed, algorithm_of, problem_of
from rdasde._problems.base import Problem

if TYPE_CHECKING:
    import xarray as xr


_ZARR = (".zgroup", ".zattrs", ".zmetadata", "zarr.json")  # what a zarr directory has


class Loaded(NamedTuple):
    """What `load` returns."""

    result: xr.Dataset
    problem: Problem | None
    algorithm: RDA | None


def load(path: str | os.PathLike[str]) -> Loaded:
    """A result saved by ``to_netcdf`` or ``to_zarr``, with the problem and the algorithm it is of.

    Parameters
    ----------
    path : path
        A netCDF file or a zarr directory.

    Returns
    -------
    tuple of (xarray.Dataset, Problem or None, RDA or None)
        The result in memory, and what it was computed from, made again from its attribute ``description``: built-in
        problems, also from data of up to 4 MiB, regularizers and schedules. Numbers are handed to constructors, and
        nothing is executed, so that files of others are safe to load.

    Raises
    ------
    ValueError, TypeError
        If there is no such file, or it holds no result of rdasde.

    Warns
    -----
    UserWarning
        Where problem or algorithm is None: functions of your own are not in the file, and make it anew.

    Examples
    --------
    >>> import tempfile
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, -0.3, 0.0], rs.AR1(3, 0.5))
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/theory.nc"
    ...     rs.approximate(problem, algorithm, 1.0).to_netcdf(path)
    ...     result, same_problem, same_algorithm = rs.load(path)
    >>> (same_problem == problem, same_algorithm == algorithm)
    (True, True)
    """
    import xarray as xr

    if not isinstance(path, str | os.PathLike):
        raise _check.wrong_kind("path", path, "the path of a saved result", "name a netCDF file or a zarr directory")
    place = Path(path)
    try:
        there = place.exists()
    except OSError:  # a name too long for any
        there = False
    if not there:
        raise _check.bad("path", str(place), "that of a saved result", "there is nothing here by this name")
    if place.is_dir() and not any((place / name).exists() for name in _ZARR):
        raise _check.bad("path", str(place), "that of a netCDF file or a zarr directory", "name the file in it")
    try:
        if place.is_dir():
            result = xr.open_zarr(place).load()
        else:
            with place.open("rb") as file:
                classic = file.read(3) == b"CDF"
            with xr.open_dataset(place, engine="scipy" if classic else None) as opened:
                result = opened.load()
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        first = " ".join(str(error).split()) or type(error).__name__
        raise _check.bad(
            "path", str(place), "a netCDF file or a zarr directory", f"xarray says {_check.show(first)}"
        ) from None
    if not result.attrs and len(result.data_vars) == 1:  # an array that was saved, as `coverage` returns one
        result.attrs = dict(next(iter(result.data_vars.values())).attrs)
    if not str(result.attrs.get("produced_by", "")).startswith("rdasde."):
        raise _check.bad("path", str(place), "a result of rdasde", "save what a verb returned by its to_netcdf(path)")
    if isinstance(result.attrs.get("description"), str):
        result.attrs["description"] = Packed(result.attrs["description"])
    problem, algorithm = problem_of(result), algorithm_of(result)
    for made in (problem, algorithm):
        if isinstance(made, str):
            warnings.warn(made, UserWarning, stacklevel=2)
    return Loaded(
        result, None if isinstance(problem, str) else problem, None if isinstance(algorithm, str) else algorithm
    )
