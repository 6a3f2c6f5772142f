"""Whether rows come again, in the same order or not: the same data given twice are not twice as many rows."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._inference.equal_rows import EqualRows

RUN = 32  # rows that follow on one another
_MOST = 4096  # runs that are remembered
_FEWEST = 5  # repeated runs that count
_CHANCE = 1e-6
_FEWER = 0.9  # of the rows in different runs: fewer of them are different in whatever order


class Repeats:
    """A sample of the runs of 32 rows in a stream, by their hashes; a value: `taken` returns another one.

    Rows alone may well be equal, where columns are discrete. That 32 of them come again in the same order is less
    likely than ``pairs * q**32``, q the chance that two rows are equal, which neighbours tell. Which runs are
    remembered is decided by the hash of the last row of each, so that of the same run all are or none. Rows that come
    again in another order are found by `EqualRows`.

    Parameters
    ----------
    has_response : bool
        If not, the last column is the response to the others.
    """

    def __init__(self, has_response: bool = True) -> None:
        self.rows = 0
        self._has_response = has_response
        self._alone = EqualRows()
        self._equal = 0  # neighbours
        self._mask = np.uint64(0)
        self._recent = np.zeros(RUN, dtype=np.uint64)
        self._rolling = np.zeros(1, dtype=np.uint64)
        self._keys, self._runs = np.zeros((2, 0), dtype=np.uint64)

    def taken(self, x: Floats, y: Floats) -> Repeats:
        """With contiguous rows more."""
        after = copy.copy(self)
        after._recent, after._rolling = self._recent.copy(), self._rolling.copy()
        hashes = np.empty((4, len(x)), dtype=np.uint64)
        keys, runs, of_x, of_y = hashes
        if not self._has_response:
            y = np.ascontiguousarray(x[:, -1])
        width = x.shape[1] - (not self._has_response)
        seen = np.uint64(self.rows)
        bits = (x.view(np.uint64), y.view(np.uint64))
        after._equal += hash_runs(*bits, width, seen, after._recent, after._rolling, hashes)
        after._alone = self._alone.taken(x[:, :width], y, keys, of_x, of_y)
        whole = slice(max(RUN - 1 - self.rows, 0), None)
        after.rows += len(x)
        after._keys = np.concatenate([self._keys, self._sampled(keys[whole], keys[whole])])
        after._runs = np.concatenate([self._runs, self._sampled(keys[whole], runs[whole])])
        while len(after._runs) > _MOST and after._mask < 2**60:
            after._mask = np.uint64(2 * int(after._mask) + 1)
            after._runs = after._sampled(after._keys, after._runs)
            after._keys = after._sampled(after._keys, after._keys)
        return after

    def _sampled(self, keys: NDArray[np.uint64], values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return values[keys & self._mask == 0]

    def different(self) -> int:
        """About how many different rows they are worth; all, where repetitions may be by chance."""
        return min(self._counted)

    @property
    def is_in_order(self) -> bool:
        """Whether it is runs that come again."""
        in_order, alone = self._counted
        return in_order <= alone

    @property
    def _counted(self) -> tuple[int, int]:
        """By runs, and by single rows where these say much less."""
        in_order, alone = self._in_order(), round(self.rows / self._alone.copies())
        return in_order, alone if alone < _FEWER * in_order or in_order == self.rows else in_order

    def _in_order(self) -> int:
        """About how many rows are not part of a run that came before."""
        sampled = len(self._runs)
        again = sampled - len(np.unique(self._runs))
        if again < _FEWEST or 0.5 * sampled**2 * (self._equal / (self.rows - 1.0)) ** RUN > _CHANCE:
            return self.rows
        return round((self.rows - RUN + 1) * (1.0 - again / sampled)) + RUN - 1


@Kernel
def hash_runs(x: Any, y: Any, width: Any, seen: Any, recent: Any, rolling: Any, hashes: Any) -> int:
    """Hash each row (the bits of its numbers), the run that ends with it, its first columns and its response.

    Returns how many equal the one before.
    """
    multiplier, factor = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1342543DE82EF95)
    half, short = np.uint64(32), np.uint64(29)
    oldest = np.uint64(1)
    for _ in range(recent.size):
        oldest = oldest * factor
    equal = 0
    for i in range(x.shape[0]):
        of_x = multiplier
        for j in range(width):
            of_x = (of_x ^ (of_x >> half) ^ x[i, j]) * multiplier
        of_x = (of_x ^ (of_x >> short)) * factor
        of_y = (factor ^ y[i] ^ (y[i] >> half)) * multiplier
        of_y = (of_y ^ (of_y >> short)) * factor
        key = (of_x ^ (of_x >> half) ^ of_y) * multiplier
        key = (key ^ (key >> short)) * factor
        key = key ^ (key >> half)
        place = (seen + np.uint64(i)) % np.uint64(recent.size)
        before = recent[(place + np.uint64(recent.size - 1)) % np.uint64(recent.size)]
        if seen + np.uint64(i) > 0 and before == key:
            equal += 1
        rolling[0] = rolling[0] * factor + key - recent[place] * oldest
        recent[place] = key
        hashes[0, i] = key
        hashes[1, i] = rolling[0]
        hashes[2, i] = of_x ^ (of_x >> half)
        hashes[3, i] = of_y ^ (of_y >> half)
    return equal
