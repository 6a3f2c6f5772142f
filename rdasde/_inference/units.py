"""Sums over short runs of rows that follow on one another: what tells dependent rows from independent ones."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats

_IN_A_BLOCK = 8
_MOST = 128


class Sums(NamedTuple):
    """Over units of rows; all but `counts` of shape (units, d)."""

    counts: NDArray[np.int64]  # rows of each
    gradients: Floats
    path: Floats
    squares: Floats  # of gradients


class Units:
    """Sums over units of rows, 64 to 128 of them in a long stream; a value: `added` returns another one.

    A unit starts as an eighth of a block. Where there are 128 of them, each is added to its neighbour, and those that
    follow are as long, so that units grow as the stream does and memory stays flat.
    """

    def __init__(self, block: int, dimension: int, begin: int = 0) -> None:
        self._edges = np.arange(_IN_A_BLOCK + 1) * block // _IN_A_BLOCK
        self._sizes = np.diff(self._edges)
        self._begin, self._parts = begin, 1  # first row, and how many eighths of a block make a unit
        self._eighth = begin // block * _IN_A_BLOCK + int(np.sum(self._edges[1:] <= begin % block))  # the first one's
        self._next = self._eighth  # after the last one
        self._counts = np.zeros(0, dtype=np.int64)
        self._tables = np.zeros((3, 0, dimension))

    def added(self, rows: int, gradients: Floats, path: Floats) -> Units:
        """With a block, from row `rows` of the stream on."""
        units = copy.copy(self)
        new = self._of_block(rows, int(self._edges[-1]), gradients, path)
        if not len(new.counts):
            return units
        eighths = self._next + np.arange(len(new.counts))
        if self._next % self._parts and len(self._counts):  # the last unit is not complete
            eighths = np.concatenate([[eighths[0] - 1], eighths])
            new = Sums(*(np.concatenate([old[-1:], late]) for old, late in zip(self._all(), new, strict=True)))
            kept = len(self._counts) - 1
        else:
            kept = len(self._counts)
        units._next = int(eighths[-1]) + 1
        grouped = _grouped(new, eighths // self._parts)
        units._counts = np.concatenate([self._counts[:kept], grouped.counts])
        units._tables = np.stack(
            [np.concatenate([old[:kept], late]) for old, late in zip(self._tables, grouped[1:], strict=True)]
        )
        while len(units._counts) >= _MOST:
            places = units._eighth // units._parts + np.arange(len(units._counts))
            halved = _grouped(units._all(), places // 2)
            units._parts *= 2
            units._counts, units._tables = halved.counts, np.stack(halved[1:])
        return units

    def since(self, first: int, rows: int, gradients: Floats, path: Floats) -> Sums:
        """Those that begin at row `first` or later; the last ones are of an unfinished block, from row `rows` on."""
        new = self._of_block(rows, len(gradients), gradients, path)
        late = self._begin + np.cumsum(self._counts) - self._counts >= first
        return Sums(*(np.concatenate([old[late], part]) for old, part in zip(self._all(), new, strict=True)))

    def _all(self) -> Sums:
        return Sums(self._counts, *self._tables)

    def _of_block(self, rows: int, length: int, gradients: Floats, path: Floats) -> Sums:
        """Of the first `length` rows of a block, but none before the begin."""
        edges, counts = self._edges, self._sizes
        if self._begin > rows or length < edges[-1]:
            edges = np.unique(np.clip(edges, min(max(self._begin - rows, 0), length), length))
            counts = np.diff(edges)
        if not len(counts):
            return Sums(counts, *np.zeros((3, 0, gradients.shape[1])))
        gradients, path = gradients[: edges[-1]], path[: edges[-1]]
        with np.errstate(over="ignore", invalid="ignore"):  # `fit` says where a stream diverges
            sums = (np.add.reduceat(array, edges[:-1], axis=0) for array in (gradients, path, gradients * gradients))
            return Sums(counts, *sums)


def _grouped(sums: Sums, places: NDArray[np.int64]) -> Sums:
    """Neighbours of the same place added up."""
    starts = np.flatnonzero(np.diff(places, prepend=places[0] - 1))
    with np.errstate(over="ignore", invalid="ignore"):
        return Sums(*(np.add.reduceat(array, starts, axis=0) for array in sums))
