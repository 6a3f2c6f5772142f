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
        self._begin = 0
        self._sums = Sums(np.zeros(0, dtype=np.int64), *np.zeros((3, 0, dimension)))

    def forget(self, rows: int) -> None:
        """Begin anew at this row of the stream."""
        self._begin = rows
        self._sums = Sums(*(array[:0] for array in self._sums))

    def add(self, rows: int, gradients: Floats, path: Floats) -> None:
        """A block, from row `rows` of the stream on."""
        new = self._of_block(rows, int(self._edges[-1]), gradients, path)
        self._sums = Sums(*(np.concatenate(pair) for pair in zip(self._sums, new, strict=True)))
        if len(self._sums.counts) >= _MOST:
            even = len(self._sums.counts) // 2 * 2
            # one that has no neighbour stays as it is
            self._sums = Sums(*(np.concatenate([a[:even:2] + a[1:even:2], a[even:]]) for a in self._sums))

    def since(self, first: int, rows: int, gradients: Floats, path: Floats) -> Sums:
        """Those that begin at row `first` or later; the last ones are of an unfinished block, from row `rows` on."""
        new = self._of_block(rows, len(gradients), gradients, path)
        begins = self._begin + np.cumsum(self._sums.counts) - self._sums.counts
        return Sums(*(np.concatenate([a[begins >= first], b]) for a, b in zip(self._sums, new, strict=True)))

    def _of_block(self, rows: int, length: int, gradients: Floats, path: Floats) -> Sums:
        """Of the first `length` rows of a block, but none before the begin."""
        edges = np.unique(np.clip(self._edges, min(max(self._begin - rows, 0), length), length))
        if len(edges) < 2:
            return Sums(np.zeros(0, dtype=np.int64), *np.zeros((3, 0, gradients.shape[1])))
        with np.errstate(over="ignore", invalid="ignore"):  # `fit` says where a stream diverges
            arrays = (gradients[: edges[-1]], path[: edges[-1]], gradients[: edges[-1]] ** 2)
            return Sums(np.diff(edges), *(np.add.reduceat(array, edges[:-1], axis=0) for array in arrays))
