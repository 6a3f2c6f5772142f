"""Whether runs of rows come again: the same data given twice are not twice as many rows."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel

RUN = 32  # rows that follow on one another
_MOST = 4096  # runs that are remembered
_FEWEST = 5  # repeated runs that count
_CHANCE = 1e-6


class Repeats:
    """A sample of the runs of 32 rows in a stream, by their hashes; a value: `taken` returns another one.

    Rows alone may well be equal, where columns are discrete. That 32 of them come again in the same order is less
    likely than ``pairs * q**32``, q the chance that two rows are equal, which neighbours tell. Which runs are
    remembered is decided by the hash of the last row of each, so that of the same run all are or none.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._equal = 0  # neighbours
        self._mask = np.uint64(0)
        self._recent = np.zeros(RUN, dtype=np.uint64)
        self._rolling = np.zeros(1, dtype=np.uint64)
        self._keys, self._runs = np.zeros((2, 0), dtype=np.uint64)

    def taken(self, x: Floats, y: Floats) -> Repeats:
        """With contiguous rows more."""
        after = copy.copy(self)
        after._recent, after._rolling = self._recent.copy(), self._rolling.copy()
        keys, runs = np.empty((2, len(x)), dtype=np.uint64)
        seen = np.uint64(self.rows)
        after._equal += hash_runs(x.view(np.uint64), y.view(np.uint64), seen, after._recent, after._rolling, keys, runs)
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
        """About how many rows are not part of a repetition; all, where repetitions may be by chance."""
        sampled = len(self._runs)
        again = sampled - len(np.unique(self._runs))
        if again < _FEWEST or 0.5 * sampled**2 * (self._equal / (self.rows - 1.0)) ** RUN > _CHANCE:
            return self.rows
        return round((self.rows - RUN + 1) * (1.0 - again / sampled)) + RUN - 1


@Kernel
def hash_runs(x: Any, y: Any, seen: Any, recent: Any, rolling: Any, keys: Any, runs: Any) -> int:
    """Hash each row (the bits of its numbers) and the run that ends with it; returns how many equal the one before."""
    multiplier, factor = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1342543DE82EF95)
    half, short = np.uint64(32), np.uint64(29)
    oldest = np.uint64(1)
    for _ in range(recent.size):
        oldest = oldest * factor
    equal = 0
    n, d = x.shape
    for i in range(n):
        key = y[i]
        for j in range(d):
            key = (key ^ (key >> half) ^ x[i, j]) * multiplier
        key = (key ^ (key >> short)) * factor
        key = key ^ (key >> half)
        place = (seen + np.uint64(i)) % np.uint64(recent.size)
        before = recent[(place + np.uint64(recent.size - 1)) % np.uint64(recent.size)]
        if seen + np.uint64(i) > 0 and before == key:
            equal += 1
        rolling[0] = rolling[0] * factor + key - recent[place] * oldest
        recent[place] = key
        keys[i] = key
        runs[i] = rolling[0]
    return equal
