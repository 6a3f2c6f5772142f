"""What of a result is a function of a run and of time: its states, and whatever was recorded beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rdasde import _check

if TYPE_CHECKING:
    import xarray as xr

Space = Literal["primal", "dual"]
SPACES: tuple[Space, ...] = ("dual", "primal")
_DRAWS = ("replicate", "path")
_ORDER = (*_DRAWS, "score", "time", "coordinate")


def in_order(argument: str, result: xr.Dataset) -> xr.Dataset:
    """Its variables by run, time and coordinate, in this order; ValueError where one of these is gone, or empty."""
    for dim in _ORDER:
        selected = dim in ("time", "coordinate") and dim in result.coords and dim not in result.dims
        if selected or result.sizes.get(dim, 1) == 0:
            got = f"a Dataset without the dimension {dim!r}" if selected else f"a Dataset with no {dim}"
            mend = f"select with a list, for example isel({dim}=[0])" if selected else "select at least one"
            raise _check.bad(argument, got, "what simulate or approximate returned, or a part of it", mend)
    return result.transpose(..., *(dim for dim in _ORDER if dim in result.dims))


def names_of(result: xr.Dataset) -> tuple[str, ...]:
    """Variables beside the states of which runs, or moments ``..._mean`` and ``..._std``, are known at every time."""
    sampled = [str(name) for name in result.data_vars if drawn(result, str(name)) is not None]
    moments = [str(name).removesuffix("_mean") for name in result.data_vars if str(name).endswith("_mean")]
    moments = [name for name in moments if f"{name}_std" in result and name not in sampled]
    return tuple(name for name in [*sampled, *moments] if name not in SPACES)


def drawn(result: xr.Dataset, name: str) -> xr.DataArray | None:
    """A variable by run and time, in this order before what else it has; None where the result has no such runs."""
    if name not in result.data_vars:
        return None
    values = result[name]
    draws = [dim for dim in _DRAWS if dim in values.dims]
    if len(draws) != 1 or "time" not in values.dims:
        return None
    return values.transpose(draws[0], "time", *(["coordinate"] if "coordinate" in values.dims else []), ...)
