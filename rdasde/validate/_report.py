"""One form of report for every validation: Estimate, Bias against theory, Standard error, Interval."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_ERROR, _THEORY, _BOUND = "_standard_error", "_theory", "_bound"


def table(result: xr.Dataset, *, times: ArrayLike | None = None, level: float = 0.95) -> pd.DataFrame:
    """What a validation found: one row for each number q that comes with a ``q_standard_error``.

    The bias is ``q - q_theory``, or ``q - q_bound`` where theory gives an upper bound: it should then be negative. The
    standard error includes that of the theory where this is Monte Carlo itself (``q_theory_standard_error``), and the
    interval is ``q +- z standard error``: theory holds where it lies inside.

    Parameters
    ----------
    result : xarray.Dataset
        From `coverage`, `support`, `risk` or `flat_directions`; select from it to shorten the table.
    times : array_like, optional
        Only the times nearest to these.
    level : float
        Of the intervals, each by itself.

    Returns
    -------
    pandas.DataFrame
        Columns "Estimate", "Bias against theory" (NaN where there is no theory), "Standard error", and "Interval" as
        text; the index says what and where. Of `coverage` also "Worst", over times and coordinates, and "Worst
        allowed".

    Raises
    ------
    ValueError, TypeError
        If `result` holds no estimate with a standard error, or the level is not between 0 and 1.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> result = rs.validate.risk(problem, algorithm, 5.0, replicates=100, times=6, seed=0)
    >>> table = rs.validate.table(result, times=[5.0])
    >>> table.index[0], bool(table["Bias against theory"].iloc[0] < 0.0)
    ('average (bound), t = 5', True)
    """
    import pandas as pd
    import xarray as xr
    from scipy.special import ndtri

    from rdasde.validate._coverage import coverage_table

    _check.instance("result", result, xr.Dataset, "what a function of rs.validate returned", "pass that Dataset")
    z = float(ndtri(0.5 + _check.level(level) / 2.0))
    if "worst_allowed" in result and "level" in result.dims:
        if times is not None:
            raise _check.bad("times", _check.show(times), "None for coverage, which is over all times", "leave it out")
        return coverage_table(result)
    names = [str(name) for name in result.data_vars if f"{name}{_ERROR}" in result and not str(name).endswith(_THEORY)]
    if not names:
        raise _check.bad(
            "result",
            "a Dataset without an estimate and its standard error",
            "what a function of rs.validate returned",
            "pass that Dataset",
        )
    if times is not None and "time" in result.dims:
        wanted = times if _check.has_axes(times) else [times]
        near = _check.array("times", wanted, (None,), mend="give one time or several")  # type: ignore[arg-type]
        low, high = (float(end) for end in (result["time"].min(), result["time"].max()))
        if near.min() < low * (1.0 - 1e-9) or near.max() > high * (1.0 + 1e-9):
            got = f"an array from {near.min():g} to {near.max():g}"
            raise _check.bad(
                "times", got, f"within [{low:g}, {high:g}], the times of the result", "drop what lies outside"
            )
        result = result.sel(time=near, method="nearest")
    rows = [row for name in names for row in _rows(result, name, z)]
    columns = ["", "Estimate", "Bias against theory", "Standard error", "Interval"]
    return pd.DataFrame(rows, columns=columns).set_index("")


def _rows(result: xr.Dataset, name: str, z: float) -> list[tuple[str, float, float, float, str]]:
    import xarray as xr

    estimate, error = result[name], result[name + _ERROR]
    theory = next((result[name + end] for end in (_THEORY, _BOUND) if name + end in result), np.nan * estimate)
    if name + _THEORY + _ERROR in result:
        error = (error**2 + result[name + _THEORY + _ERROR] ** 2) ** 0.5
    fields = xr.broadcast(estimate, error, theory)
    what = name.replace("_", " ") + (" (bound)" if name + _BOUND in result else "")
    rows = []
    for index in itertools.product(*(range(size) for size in fields[0].shape)):
        q, spread, expected = (float(field.values[index]) for field in fields)
        if not np.isnan(q):
            where = [_label(fields[0], str(dim), i) for dim, i in zip(fields[0].dims, index, strict=True)]
            interval = f"[{q - z * spread:.4g}, {q + z * spread:.4g}]"
            rows.append((", ".join([what, *where]), q, q - expected, spread, interval))
    return rows


def _label(field: xr.DataArray, dimension: str, index: int) -> str:
    value = field[dimension].values[index] if dimension in field.coords else index
    symbol = {"time": "t = ", "coordinate": "coordinate ", "strength": "strength "}.get(dimension, "")
    return f"{symbol}{value:.4g}" if isinstance(value, float | np.floating) else f"{symbol}{value}"
