"""From a table of any columns to integer codes, the same for rows seen later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._engine.store import write_whole

from ._columns import Column, classes_of, codes_of, learned, words_of
from ._given import path_of

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "rdasde codebook 1"
_FRAME = "pass a table with one column for each field"
_HASHED = "None or a mapping from names of columns to numbers of codes"
_FILE, _NAME = "the path of a file", "give for example 'codebook.json', in a folder that is there"


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
        mend = "make one by Codebook.from_data(table)"
        if not isinstance(columns, Mapping) or not all(isinstance(column, Column) for column in columns.values()):
            raise _check.wrong_kind("columns", columns, "a mapping from names to Column", mend)
        _check.instance("label", label, (str, type(None)), "the name of a column or None", mend)
        self._columns, self.label, self.classes = dict(columns), label, tuple(classes)

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
            The column with the two classes; all others are fields. Names that are no text, as numbers, count as text.
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
        series = _series(table)
        buckets = _check.count("buckets", buckets, least=2, mend="give for example buckets=10")
        least = _check.count("least", least, mend="give for example least=5")
        named = _names("categorical", categorical)
        _check.instance("hashed", {} if hashed is None else hashed, Mapping, _HASHED, "give for example {'user': 1000}")
        sizes = {
            str(name): _check.count("hashed", size, mend="give a number of codes")
            for name, size in (hashed or {}).items()
        }
        label = None if label is None else str(label)
        for argument, given in (("categorical", named), ("hashed", sizes), ("label", [] if label is None else [label])):
            for name in given:
                if name not in series:
                    raise _check.bad(argument, f"one with {name!r}", "among the columns of table", "check its spelling")
        columns = {
            name: learned(name, values, buckets=buckets, least=least, size=sizes.get(name), categorical=name in named)
            for name, values in series.items()
            if name != label
        }
        if len(columns) < 2:
            raise _check.bad(
                "table", f"one with {len(columns)} fields", "one with two or more beside the label", _FRAME
            )
        return cls(columns, label, () if label is None else classes_of(series[label], label))

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
        series = _series(table)
        missing = [name for name in self._columns if name not in series]
        if missing:
            raise _check.bad("table", f"one without the column {missing[0]!r}", "one with all fields", _FRAME)
        coded = [codes_of(name, column, series[name]) for name, column in self._columns.items()]
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
        series = _series(table)
        if self.label is None or self.label not in series:
            raise _check.bad(
                "table",
                f"one without the label {self.label!r}",
                "one with it",
                "name it in from_data(table, label=...)",
            )
        words = words_of(series[self.label])
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
        """Write the codes as JSON, from which `load` makes the same codebook.

        Raises
        ------
        ValueError, TypeError
            If no file can be written there.
        """
        place = path_of("path", path, _FILE, _NAME)
        columns = [{"name": name, **column._asdict()} for name, column in self._columns.items()]
        content = {"format": _FORMAT, "label": self.label, "classes": self.classes, "columns": columns}
        text = json.dumps(content, ensure_ascii=False, indent=1)
        try:
            if place.is_dir():
                raise IsADirectoryError(None, "it is a directory")
            write_whole(place, lambda stream: stream.write(text.encode()))
        except (OSError, ValueError) as error:
            got = f"{str(place)!r} ({getattr(error, 'strerror', None) or error})"
            raise _check.bad("path", got, "a file that can be written", _NAME) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Codebook:
        """Read what `save` wrote; nothing in the file is executed.

        Raises
        ------
        ValueError, TypeError
            If there is no such file, or it holds something else.
        """
        place = path_of("path", path, _FILE, _NAME)
        try:
            content = json.loads(place.read_text(encoding="utf-8"))
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
        except (OSError, KeyError, TypeError, ValueError, AssertionError):
            raise _check.bad(
                "path", repr(str(place)), "a file that Codebook.save wrote", "save the codebook anew"
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


def _series(table: Any) -> dict[str, pd.Series[Any]]:
    """The columns of a table by their names, as text."""
    import pandas as pd

    _check.instance("table", table, pd.DataFrame, "a pandas.DataFrame", _FRAME)
    if not len(table):
        raise _check.bad("table", "one without rows", "one with rows", "pass the rows to learn from")
    if isinstance(table.columns, pd.MultiIndex):
        got, mend = "one whose columns have names of several levels", "flatten them, for example by table.droplevel"
        raise _check.bad("table", got, "one with one name for each column", mend)
    names = [str(name) for name in table.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _check.bad("table", f"one with two columns {twice!r}", "one with a name for each", "rename one of them")
    return {name: table.iloc[:, k] for k, name in enumerate(names)}


def _names(argument: str, given: Any) -> list[str]:
    """Names of columns, as text."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise _check.wrong_kind(argument, given, "a sequence of names of columns", f"give for example {argument}=['a']")
    return [str(name) for name in given]
