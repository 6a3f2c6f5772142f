"""What a validation returns: kept as a piece of a study, and its table in Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rdasde import validate
from rdasde._studies._pieces import Pieces, markdown

if TYPE_CHECKING:
    import xarray as xr

_ATTRIBUTES = "attributes"


def kept(pieces: Pieces, name: str, settings: Mapping[str, Any], compute: Callable[[], xr.Dataset]) -> xr.Dataset:
    """The Dataset that ``compute()`` returns, by way of arrays."""
    import xarray as xr

    arrays = pieces(name, settings, lambda: _to_arrays(compute()))
    attributes = json.loads(str(arrays.pop(_ATTRIBUTES)))
    fields: dict[str, dict[str, Any]] = {"data": {}, "coordinate": {}}
    for key, values in arrays.items():
        kind, field, dimensions = key.split(":")
        fields[kind][field] = (tuple(filter(None, dimensions.split(","))), values)
    return xr.Dataset(fields["data"], coords=fields["coordinate"], attrs=attributes)


def _to_arrays(result: xr.Dataset) -> dict[str, NDArray[Any]]:
    arrays = {_ATTRIBUTES: np.array(json.dumps(result.attrs, default=float))}
    for kind, fields in (("data", result.data_vars), ("coordinate", result.coords)):
        for name, field in fields.items():
            arrays[f"{kind}:{name}:{','.join(map(str, field.dims))}"] = field.values
    return arrays


def report(result: xr.Dataset, **options: Any) -> str:
    """`rdasde.validate.table` in Markdown."""
    table = validate.table(result, **options)
    columns = {"": list(table.index)}
    for name, form in (("Estimate", "{:.4g}"), ("Bias against theory", "{:+.2g}"), ("Standard error", "{:.2g}")):
        columns[name] = ["" if np.isnan(x) else form.format(x) for x in table[name]]
    return markdown(columns | {"Interval": list(table["Interval"])})
