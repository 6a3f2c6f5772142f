"""Sums over short runs of rows that follow on one another: what tells dependent rows from independent ones."""

from __future__ import annotations

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
    """Sums over units of rows, 64 to 128 of them in a long stream.

    A unit starts as an eighth of a block; where there are 128 of them, each is added to its neighbour, so that units
    grow as the stream does and memory stays flat.
    """

    def __init__(self, block: int, dimension: int) -> None:
        self._edges = np.arange(_IN_A_BLOCK + 1) * block // _IN_A_BLOCK
        self._sizes = np.diff(self._edges)
        self._begin = self._taken = 0
        self._counts = np.zeros(_MOST + _IN_A_BLOCK, dtype=np.int64)
        self._tables = np.zeros((3, len(self._counts), dimension))

    def forget(self, rows: int) -> None:
        """Begin anew at this row of the stream."""
        self._begin, self._taken = rows, 0

    def add(self, rows: int, gradients: Floats, path: Floats) -> None:
        """A block, from row `rows` of the stream on."""
        new = self._of_block(rows, int(self._edges[-1]), gradients, path)
        here = slice(self._taken, self._taken + len(new.counts))
        self._counts[here] = new.counts
        for table, sums in zip(self._tables, new[1:], strict=True):
            table[here] = sums
        self._taken = here.stop
        if self._taken >= _MOST:
            even = self._taken // 2 * 2
            # one that has no neighbour stays as it is
            for array in (self._counts, *self._tables):
                merged = np.concatenate([array[:even:2] + array[1:even:2], array[even : self._taken]])
                array[: len(merged)] = merged
            self._taken = len(merged)

    def since(self, first: int, rows: int, gradients: Floats, path: Floats) -> Sums:
        """Those that begin at row `first` or later; the last ones are of an unfinished block, from row `rows` on."""
        new = self._of_block(rows, len(gradients), gradients, path)
        counts = self._counts[: self._taken]
        late = self._begin + np.cumsum(counts) - counts >= first
        old = (table[: self._taken][late] for table in self._tables)
        sums = (np.concatenate(pair) for pair in zip(old, new[1:], strict=True))
        return Sums(np.concatenate([counts[late], new.counts]), *sums)

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
