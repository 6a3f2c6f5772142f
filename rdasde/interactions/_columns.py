"""How one column of a table is learned and coded."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde import _check

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = {"buckets": "numbers", "dates": "dates", "durations": "durations"}  # by the kind of the column


class Column(NamedTuple):
    """How one column is coded: code 0 is kept for what is missing or was not seen."""

    kind: str  # "categories", "hashed", or buckets of "buckets" (numbers), "dates" or "durations"
    categories: tuple[str, ...] = ()  # codes from 1
    edges: tuple[float, ...] = ()  # between buckets; x is in bucket k (code k + 1) if k edges are <= x
    size: int = 0  # of the hash

    @property
    def cardinality(self) -> int:
        """The number of codes, code 0 among them."""
        buckets = dict.fromkeys(QUANTITIES, len(self.edges) + 1)
        return 1 + {"categories": len(self.categories), "hashed": self.size, **buckets}[self.kind]


def learned(
    name: str, values: pd.Series[Any], *, buckets: int, least: int, size: int | None, categorical: bool
) -> Column:
    """The codes of a column; `size` of a hash if there is to be one."""
    if size is not None:
        return Column("hashed", size=size)
    kind = _quantity(values)
    return _categories(name, values, least) if categorical or kind is None else _bucketed(name, values, kind, buckets)


def _quantity(values: pd.Series[Any]) -> str | None:
    """The kind of a column of quantities; None of names."""
    import pandas as pd

    kinds = pd.api.types
    if kinds.is_datetime64_any_dtype(values):
        return "dates"
    if kinds.is_timedelta64_dtype(values):
        return "durations"
    return "buckets" if kinds.is_numeric_dtype(values) and not kinds.is_bool_dtype(values) else None


def _numbers(name: str, values: pd.Series[Any], kind: str) -> NDArray[np.float64]:
    """As floats, NaN where missing; dates and durations in seconds."""
    import pandas as pd

    values = values.infer_objects()
    found = _quantity(values) or "buckets"
    if found != kind and not values.isna().all():
        raise _other(name, f"a column of {QUANTITIES[found]}", QUANTITIES[kind])
    if found == "dates":
        epoch = pd.Timestamp(0, tz=values.dt.tz)
        return np.asarray((values - epoch).dt.total_seconds(), dtype=np.float64)
    if found == "durations":
        return np.asarray(values.dt.total_seconds(), dtype=np.float64)
    try:
        numeric = pd.to_numeric(values)
    except (TypeError, ValueError):
        raise _other(name, "a column with text", QUANTITIES[kind]) from None
    if pd.api.types.is_complex_dtype(numeric):
        mend = "make columns of its real and imaginary parts"
        raise _check.bad(name, "a column of complex numbers", "of real numbers", mend)
    return np.asarray(numeric, dtype=np.float64)


def _other(name: str, got: str, wanted: str) -> ValueError:
    mend = "clean it, or learn a new codebook"
    return _check.bad(name, got, f"of {wanted}, as in the table of the codebook", mend)


def words_of(values: pd.Series[Any]) -> NDArray[Any]:
    """Every entry as text, None where missing; 3.0 is "3", since a gap makes floats of whole numbers."""
    words = np.full(len(values), None, dtype=object)
    present = ~np.asarray(values.isna(), dtype=bool)
    words[present] = [
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        for value in values[present].tolist()
    ]
    return words


def _bucketed(name: str, values: pd.Series[Any], kind: str, buckets: int) -> Column:
    numbers = _numbers(name, values, kind)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        raise _empty(name)
    inner = np.quantile(numbers, np.arange(1, buckets) / buckets, method="higher")
    edges = np.unique(inner[inner > numbers.min()])
    return Column(kind, edges=tuple(edges.tolist()))


def _categories(name: str, values: pd.Series[Any], least: int) -> Column:
    words = words_of(values)
    kinds, counts = np.unique(words[words != None].astype(str), return_counts=True)  # noqa: E711
    kept = kinds[counts >= least]
    if not kept.size:
        raise _empty(name, least)
    return Column("categories", categories=tuple(kept.tolist()))


def _empty(name: str, least: int = 1) -> ValueError:
    got = "a column without categories" if least == 1 else f"a column without a category in {least} rows"
    return _check.bad(name, got, "one with a value in some row", "leave it out, or fill it")


def classes_of(values: pd.Series[Any], label: str) -> tuple[str, ...]:
    words = words_of(values)
    kinds = sorted({str(word) for word in words})
    if len(kinds) != 2 or None in words:
        shown = ", ".join(kinds[:4]) + (", ..." if len(kinds) > 4 else "")
        raise _check.bad(label, f"a label of {len(kinds)} classes ({shown})", "a label of two", "make it two classes")
    return tuple(kinds)


def codes_of(name: str, column: Column, values: pd.Series[Any]) -> NDArray[np.int64]:
    if column.kind in QUANTITIES:
        numbers = _numbers(name, values, column.kind)
        codes = 1 + np.searchsorted(np.array(column.edges), numbers, side="right")
        return np.where(np.isnan(numbers), 0, codes).astype(np.int64)
    words = words_of(values)
    kinds = {word for word in words if word is not None}
    if column.kind == "hashed":
        known = {word: 1 + _hash(word) % column.size for word in kinds}
    else:
        known = {word: 1 + k for k, word in enumerate(column.categories)}
    return np.array([known.get(word, 0) for word in words], dtype=np.int64)


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
