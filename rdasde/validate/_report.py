"""One form of report for every validation: Estimate, Bias against theory, Standard error, Interval."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check

if TYPE_CHECKING:
    import xarray as xr

_ERROR, _THEORY, _BOUND = "_standard_error", "_theory", "_bound"
COLUMNS = ("", "Estimate", "Bias against theory", "Standard error", "Interval")


def table(result: xr.Dataset, *, times: ArrayLike | None = None, level: float = 0.95) -> str:
    """What a validation found, as a Markdown table.

    One row for each number q that comes with a ``q_standard_error``. The bias is ``q - q_theory`` (or ``q - q_bound``,
    where theory gives an upper bound: it should be negative), its standard error includes that of the theory where
    this is Monte Carlo (``q_theory_standard_error``), and the interval is that of the bias, ``bias +- z standard
    error``: theory holds where it contains 0, a bound where it is not above 0.

    Parameters
    ----------
    result : xarray.Dataset
        From a function of `rdasde.validate`; select from it to shorten the table.
    times : array_like, optional
        Only the times nearest to these.
    level : float
        Of the intervals, each by itself.

    Returns
    -------
    str

    Raises
    ------
    ValueError, TypeError
        If `result` holds no estimate with a standard error, or the level is not between 0 and 1.
    """
    import xarray as xr
    from scipy.special import ndtri

    _check.instance("result", result, xr.Dataset, "what a function of rs.validate returned", "pass that Dataset")
    z = float(ndtri(0.5 + _check.level(level) / 2.0))
    names = [str(name) for name in result.data_vars if f"{name}{_ERROR}" in result and not str(name).endswith(_THEORY)]
    if not names:
        raise _check.bad(
            "result",
            "a Dataset without an estimate and its standard error",
            "what a function of rs.validate returned",
            "pass that Dataset",
        )
    if times is not None and "time" in result.dims:
        result = result.sel(time=np.atleast_1d(np.asarray(times, dtype=np.float64)), method="nearest")
    rows = [row for name in names for row in _rows(result, name, z)]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _rows(result: xr.Dataset, name: str, z: float) -> list[tuple[str, ...]]:
    import xarray as xr

    estimate, error = result[name], result[name + _ERROR]
    theory = next((result[name + end] for end in (_THEORY, _BOUND) if name + end in result), None)
    spread = error
    if name + _THEORY + _ERROR in result:
        spread = (error**2 + result[name + _THEORY + _ERROR] ** 2) ** 0.5
    fields = [estimate, spread] if theory is None else [estimate, spread, theory]
    fields = list(xr.broadcast(*fields))
    against = " (bound)" if name + _BOUND in result else ""
    rows: list[tuple[str, ...]] = []
    for index in itertools.product(*(range(size) for size in fields[0].shape)):
        values = [float(field.values[index]) for field in fields]
        where = [_label(fields[0], str(dim), i) for dim, i in zip(fields[0].dims, index, strict=True)]
        if np.isnan(values[0]):
            continue
        bias = values[0] - values[2] if theory is not None else np.nan
        known = np.isfinite(bias)
        rows.append(
            (
                ", ".join([name.replace("_", " ") + against, *where]),
                f"{values[0]:.4g}",
                f"{bias:+.2g}" if known else "",
                f"{values[1]:.2g}",
                f"[{bias - z * values[1]:+.2g}, {bias + z * values[1]:+.2g}]" if known else "",
            )
        )
    return rows


def _label(field: xr.DataArray, dimension: str, index: int) -> str:
    value = field[dimension].values[index] if dimension in field.coords else index
    symbol = {"time": "t = ", "coordinate": "coordinate ", "strength": "strength "}.get(dimension, "")
    return f"{symbol}{value:.4g}" if isinstance(value, float | np.floating) else f"{symbol}{value}"
