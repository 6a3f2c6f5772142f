"""From a table of any columns to integer codes, the same for rows seen later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._engine.store import write_whole

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

_FORMAT = "rdasde codebook 1"
_FRAME = "pass a table with one column for each field"


class Column(NamedTuple):
    """How one column is coded: code 0 is kept for what is missing or was not seen."""

    kind: str  # "categories", "buckets" or "hashed"
    categories: tuple[str, ...] = ()  # codes from 1
    edges: tuple[float, ...] = ()  # between buckets; x is in bucket k (code k + 1) if k edges are <= x
    size: int = 0  # of the hash

    @property
    def cardinality(self) -> int:
        """The number of codes, code 0 among them."""
        return 1 + {"categories": len(self.categories), "buckets": len(self.edges) + 1, "hashed": self.size}[self.kind]


class Codebook:
    """How the columns of a table become integer codes.

    Text, booleans and pandas categories get a code for each category; numbers and dates are put into buckets between
    quantiles; columns named in `hashed` get a hash of given size, for categories too many to list. In every column code
    0 is for what is missing or was not seen. Make one by `from_data`, and use it on any table with the same columns.

    Parameters
    ----------
    columns : mapping from str to Column
        By name, in the order of fields.
    label : str, optional
        The name of the label column.
    classes : tuple of str
        The first and the second class, as text.

    Attributes
    ----------
    fields : list of str
    cardinalities : list of int
        How many codes each field has: what `FM` wants.

    Examples
    --------
    >>> import pandas as pd
    >>> from rdasde.interactions import Codebook
    >>> table = pd.DataFrame({"city": ["Bern", "Rome", "Bern"], "age": [30, 41, None], "bought": ["no", "yes", "no"]})
    >>> codebook = Codebook.from_data(table, label="bought", buckets=2)
    >>> codebook.encode(table).tolist()
    [[1, 1], [2, 2], [1, 0]]
    >>> codebook.outcome(table).tolist()
    [0, 1, 0]
    >>> codebook.encode(pd.DataFrame({"city": ["Oslo"], "age": [99]})).tolist()
    [[0, 2]]
    """

    def __init__(self, columns: Mapping[str, Column], label: str | None = None, classes: tuple[str, ...] = ()) -> None:
        self._columns, self.label, self.classes = dict(columns), label, classes

    @classmethod
    def from_data(
        cls,
        table: pd.DataFrame,
        label: str | None = None,
        *,
        buckets: int = 10,
        categorical: Sequence[str] = (),
        hashed: Mapping[str, int] | None = None,
        least: int = 1,
    ) -> Codebook:
        """Learn the codes of a table.

        Parameters
        ----------
        table : pandas.DataFrame
            Rows to learn from.
        label : str, optional
            The column with the two classes; all others are fields.
        buckets : int
            For a column of numbers, at most this many, between quantiles.
        categorical : sequence of str
            Columns of numbers that are names, such as identifiers: a code for each.
        hashed : mapping from str to int, optional
            Columns to hash, and into how many codes.
        least : int
            Categories in fewer rows than this share code 0, which is then learned from.

        Returns
        -------
        Codebook

        Raises
        ------
        ValueError, TypeError
            For bad arguments, a column without categories, a label that is not two classes.
        """
        _check_table(table)
        buckets = _check.count("buckets", buckets, least=2, mend="give for example buckets=10")
        least = _check.count("least", least, mend="give for example least=5")
        hashed = {} if hashed is None else dict(hashed)
        names = [str(name) for name in table.columns]
        for argument, given in (("categorical", categorical), ("hashed", hashed), ("label", [label] if label else [])):
            for name in given:
                if name not in names:
                    raise _check.bad(argument, f"one with {name!r}", "among the columns of table", "check its spelling")
        columns: dict[str, Column] = {}
        for name in names:
            if name == label:
                continue
            values = table[name]
            if name in hashed:
                columns[name] = Column(
                    "hashed", size=_check.count("hashed", hashed[name], mend="give a number of codes")
                )
            elif name not in categorical and _is_numeric(values):
                columns[name] = _bucketed(name, values, buckets)
            else:
                columns[name] = _categories(name, values, least)
        if len(columns) < 2:
            raise _check.bad(
                "table", f"one with {len(columns)} fields", "one with two or more beside the label", _FRAME
            )
        return cls(columns, label, _classes(table[label], label) if label else ())

    @property
    def fields(self) -> list[str]:
        """Names of the fields, in the order of codes."""
        return list(self._columns)

    @property
    def cardinalities(self) -> list[int]:
        """How many codes each field has, code 0 among them."""
        return [column.cardinality for column in self._columns.values()]

    def encode(self, table: pd.DataFrame) -> NDArray[np.int64]:
        """Codes of a table.

        Parameters
        ----------
        table : pandas.DataFrame
            With all fields among its columns, in any order.

        Returns
        -------
        ndarray of int64 of shape (n, fields)

        Raises
        ------
        ValueError, TypeError
            If a column is missing, or holds text where there were numbers.
        """
        _check_table(table)
        missing = [name for name in self._columns if name not in table]
        if missing:
            raise _check.bad("table", f"one without the column {missing[0]!r}", "one with all fields", _FRAME)
        coded = [_codes(name, column, table[name]) for name, column in self._columns.items()]
        return np.stack(coded, axis=1)

    def outcome(self, table: pd.DataFrame) -> NDArray[np.int64]:
        """Labels of a table: 1 for the second class.

        Parameters
        ----------
        table : pandas.DataFrame
            With the label column.

        Returns
        -------
        ndarray of int64 of shape (n,)

        Raises
        ------
        ValueError, TypeError
            If there is no such column, or it holds something else than the two classes.
        """
        _check_table(table)
        if self.label is None or self.label not in table:
            raise _check.bad(
                "table",
                f"one without the label {self.label!r}",
                "one with it",
                "name it in from_data(table, label=...)",
            )
        words = _words(table[self.label])
        strange = [word for word in words if word not in self.classes]
        if strange:
            raise _check.bad(
                self.label,
                f"a column with {strange[0]!r}",
                f"of {self.classes[0]!r} and {self.classes[1]!r}",
                "drop such rows",
            )
        return (words == self.classes[1]).astype(np.int64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codes as JSON, from which `load` makes the same codebook."""
        columns = [{"name": name, **column._asdict()} for name, column in self._columns.items()]
        content = {"format": _FORMAT, "label": self.label, "classes": self.classes, "columns": columns}
        text = json.dumps(content, ensure_ascii=False, indent=1)
        write_whole(Path(path), lambda stream: stream.write(text.encode()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Codebook:
        """Read what `save` wrote; nothing in the file is executed.

        Raises
        ------
        ValueError
            If the file holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise KeyError("format")
            columns = {
                entry["name"]: Column(
                    str(entry["kind"]),
                    tuple(map(str, entry["categories"])),
                    tuple(map(float, entry["edges"])),
                    int(entry["size"]),
                )
                for entry in content["columns"]
            }
            book = cls(columns, content["label"], tuple(map(str, content["classes"])))
            assert min(book.cardinalities) >= 1
        except (KeyError, TypeError, ValueError, AssertionError):
            raise _check.bad(
                "path", repr(str(path)), "a file that Codebook.save wrote", "save the codebook anew"
            ) from None
        return book

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codebook):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return tuple(self._columns.items()), self.label, self.classes

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {column.cardinality}" for name, column in self._columns.items())
        return f"Codebook({sizes}{f'; label {self.label}' if self.label else ''})"


def _check_table(table: Any) -> None:
    import pandas as pd

    _check.instance("table", table, pd.DataFrame, "a pandas.DataFrame", _FRAME)
    if not len(table):
        raise _check.bad("table", "one without rows", "one with rows", "pass the rows to learn from")


def _is_numeric(values: pd.Series[Any]) -> bool:
    import pandas as pd

    kinds = pd.api.types
    dates = kinds.is_datetime64_any_dtype(values) or kinds.is_timedelta64_dtype(values)
    return bool(dates or (kinds.is_numeric_dtype(values) and not kinds.is_bool_dtype(values)))


def _numbers(name: str, values: pd.Series[Any]) -> NDArray[np.float64]:
    """As floats, NaN where missing; dates in seconds."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        epoch = pd.Timestamp(0, tz=values.dt.tz)
        return np.asarray((values - epoch).dt.total_seconds(), dtype=np.float64)
    if pd.api.types.is_timedelta64_dtype(values):
        return np.asarray(values.dt.total_seconds(), dtype=np.float64)
    try:
        return np.asarray(pd.to_numeric(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise _check.bad(
            name,
            "a column with text",
            "of numbers, as in the table of the codebook",
            "clean it, or learn a new codebook",
        ) from None


def _words(values: pd.Series[Any]) -> NDArray[Any]:
    """Every entry as text, None where missing; 3.0 is "3", since a gap makes floats of whole numbers."""
    words = np.full(len(values), None, dtype=object)
    present = ~np.asarray(values.isna(), dtype=bool)
    words[present] = [
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        for value in values[present].tolist()
    ]
    return words


def _bucketed(name: str, values: pd.Series[Any], buckets: int) -> Column:
    numbers = _numbers(name, values)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        raise _empty(name)
    inner = np.quantile(numbers, np.arange(1, buckets) / buckets, method="higher")
    edges = np.unique(inner[inner > numbers.min()])
    return Column("buckets", edges=tuple(edges.tolist()))


def _categories(name: str, values: pd.Series[Any], least: int) -> Column:
    words = _words(values)
    kinds, counts = np.unique(words[words != None].astype(str), return_counts=True)  # noqa: E711
    kept = kinds[counts >= least]
    if not kept.size:
        raise _empty(name, least)
    return Column("categories", categories=tuple(kept.tolist()))


def _empty(name: str, least: int = 1) -> ValueError:
    got = "a column without categories" if least == 1 else f"a column without a category in {least} rows"
    return _check.bad(name, got, "one with a value in some row", "leave it out, or fill it")


def _classes(values: pd.Series[Any], label: str) -> tuple[str, ...]:
    words = _words(values)
    kinds = sorted({str(word) for word in words})
    if len(kinds) != 2 or None in words:
        shown = ", ".join(kinds[:4]) + (", ..." if len(kinds) > 4 else "")
        raise _check.bad(label, f"a label of {len(kinds)} classes ({shown})", "a label of two", "make it two classes")
    return tuple(kinds)


def _codes(name: str, column: Column, values: pd.Series[Any]) -> NDArray[np.int64]:
    if column.kind == "buckets":
        numbers = _numbers(name, values)
        codes = 1 + np.searchsorted(np.array(column.edges), numbers, side="right")
        return np.where(np.isnan(numbers), 0, codes).astype(np.int64)
    words = _words(values)
    kinds = {word for word in words if word is not None}
    if column.kind == "hashed":
        known = {word: 1 + _hash(word) % column.size for word in kinds}
    else:
        known = {word: 1 + k for k, word in enumerate(column.categories)}
    return np.array([known.get(word, 0) for word in words], dtype=np.int64)


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
