"""DataFrames and Series as numbers: each column is converted, or refused by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._check import Floats


def is_frame(value: Any) -> bool:
    """Whether it is a DataFrame of pandas (which is not imported for the asking)."""
    return _is_of_pandas(value) and hasattr(value, "columns")


def labels(value: Any) -> list[str] | None:
    """The columns' names, if they have any."""
    return [str(label) for label in value.columns] if is_frame(value) else None


def plain(argument: str, value: Any) -> Any:
    """An array of what pandas holds; anything else as it is, but a list that holds masked arrays, which is refused."""
    if isinstance(value, list | tuple):
        masked = _check.masked_entries(value)
        if masked:
            got = f"a {type(value).__name__} with {masked} masked entries"
            raise _check.bad(argument, got, "of finite numbers", "drop or fill these rows")
        return value
    if is_frame(value):
        if len({str(kind) for kind in value.dtypes}) == 1 and _is_plain(value.dtypes.iloc[0]):
            for j, label in enumerate(value.columns):
                _complete(f"column {label!r} of {argument}", value.iloc[:, j].to_numpy())
            return value.to_numpy()
        columns = [
            _column(f"column {label!r} of {argument}", value.iloc[:, j]) for j, label in enumerate(value.columns)
        ]
        return np.column_stack(columns) if columns else np.empty((len(value), 0))
    if _is_of_pandas(value) and hasattr(value, "dtype"):
        return value.to_numpy() if _is_plain(value.dtype) else _column(argument, value)
    return value


def pair(X: Any, y: Any) -> tuple[Any, Any]:
    """Rows and their responses as `plain` leaves them, where their labels do not differ."""
    aligned("", X, y)
    return plain("X", X), plain("y", y)


def same_columns(argument: str, found: list[str], first: list[str], mend: str) -> None:
    """ValueError where columns are not those of the first rows, in their order."""
    if found == first:
        return
    missing = [label for label in first if label not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        got = f"a DataFrame without the column {_check.show(missing[0])}{more}"
    elif len(found) > len(first):
        got = f"a DataFrame with {len(found)} columns instead of {len(first)}"
    else:
        got = "a DataFrame with its columns in another order"
    raise _check.bad(argument, got, "one with the columns of the first rows in their order", mend)


def aligned(name: str, X: Any, y: Any) -> None:
    """ValueError where both have labelled rows and the labels differ."""
    if is_frame(X) and _is_of_pandas(y) and hasattr(y, "index") and len(X) == len(y) and not X.index.equals(y.index):
        raise _check.bad(
            f"y{name}", "a Series whose index differs from that of X", "in the order of X", "pass y.loc[X.index]"
        )


def _is_of_pandas(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "pandas"


def _is_plain(kind: Any) -> bool:
    return isinstance(kind, np.dtype) and kind.kind in "fiub"


def _column(argument: str, column: Any) -> Floats:
    """Numbers and truth values, those that may be missing too; NaN where they are."""
    kind = column.dtype
    if not _is_plain(kind) and not (getattr(kind, "kind", "O") in "fiub" and not isinstance(kind, np.dtype)):
        mend = "encode it, for example by pandas.get_dummies"
        if argument.startswith("y"):
            mend = "convert it by astype(float), or encode labels by pandas.factorize"
        raise TypeError(f"{argument} is of dtype {kind}, but must be of numbers or truth values: {mend}.")
    numbers: Floats = column.to_numpy(dtype=np.float64, na_value=np.nan)
    _complete(argument, numbers)
    return numbers


def _complete(argument: str, numbers: NDArray[Any]) -> None:
    missing = int(np.count_nonzero(np.isnan(numbers)))
    if missing:
        raise _check.bad(argument, f"without a value in {missing} rows", "of finite numbers", "drop or fill these rows")
