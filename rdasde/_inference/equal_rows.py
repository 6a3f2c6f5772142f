"""Whether single rows come again, in whatever order: shuffled copies, or rows drawn with replacement.

Rows are also equal by chance, where columns are discrete; copies are told from that by the noise. Where `X` is equal by
chance, the response is another draw, and differs about as often as it does where some column is nearly equal; where a
row is a copy, it never differs. Likewise, where the response is equal by chance, `X` differs. Hence two tests.

*X decides.* Rows equal in X are equal in the response, with at most a 50th of the differences expected by chance: of
those between rows that are nearly equal, neighbours in a column or nearest in all, whichever say most of the response
(``1 - xi`` of it is noise then, Chatterjee's coefficient; Azadkia & Chatterjee for several columns). Where they say
nearly all of it there is no noise, and nothing is said. Where X may be equal by chance, as several discrete columns
are, far more rows would be equal in half of the columns than in all of them, and nothing is said, either.

*The response decides.* Rows equal in the response are equal in X, with at most a 50th of the differences that there
are, in some column, between neighbours in the response; and rows equal in X do differ in the response, which hence has
noise.

False alarms: rows that are independent, with noise in the response however discrete, have those differences. A sample
with `again` rows that are equal to an earlier one would show none of them with the probability ``(1 - p)**again``, p
the share expected: ``again p`` is to be 14 at least, which makes it 1e-6. Single values that come very often (rows of
zeros, say: a 20th of the equal pairs or more) are left out beforehand. What is discrete throughout, the response
included, cannot be told from copies and is left alone, as are copies that are too few to be sure of (a few rows in a
hundred, of long streams). Without a response (PCA) the last column is taken for it. Rows that are looked up by a
category, the response included, *are* copies here.

Where rows are copies, a row that is there m times weighs as much as m, so that the variance is that of
``n**2 / sum m**2`` different ones: as many as there are where each comes equally often, fewer where rows are drawn with
replacement.
"""

from __future__ import annotations

import copy
import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel

_MOST = 1024  # different rows that are remembered
_SLOTS = 2048  # for them, a power of two
_COLUMNS = 64  # of X that are looked at
_NEAREST = 1024  # rows among which the nearest is looked for
_PARTS = 32
_LEAST = 1.02  # of copies by which no standard error changes by more than 1 % nothing is said
_DIFFER = 0.02  # of the differences expected by chance, that copies may show
_HALF = 0.1  # equal halves for each equal row, that copies may show
_NOISE = 0.1  # the least share of noise
_SURE = 14.0  # differences expected by chance: none of them has the probability 1e-6
_OFTEN, _OFTENER = 0.05, 8.0  # of all equal pairs, and times as often as others: an atom

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]


class Part(NamedTuple):
    """Different rows, in the order in which they came."""

    selectors: Hashes
    keys: Hashes
    x: Floats
    y: Floats

    def selected(self, mask: np.uint64) -> Part:
        """Those that this mask selects."""
        here = self.selectors & mask == 0
        return Part(*(array[here] for array in self))


class Found(NamedTuple):
    """Different rows of a sample, in random order: groups by the part that selects them."""

    groups: Places
    counts: Floats
    x: Floats
    y: Floats
    rate: float  # rows of the stream for each of the sample

    @property
    def equal(self) -> float:
        """Pairs of equal rows."""
        return float(np.sum(self.counts * (self.counts - 1.0))) / 2.0

    @property
    def again(self) -> float:
        """Rows that are equal to an earlier one."""
        return float(np.sum(self.counts - 1.0))

    @property
    def copies(self) -> float:
        """``sum m**2 / sum m``."""
        return 1.0 + 2.0 * self.equal / max(float(np.sum(self.counts)), 1.0)

    @property
    def differing(self) -> float:
        """The share of different ones in pairs of rows that are equal in the part that selects them."""
        pairs = _pairs(self.groups, self.counts)
        return (pairs - self.equal) / pairs if pairs > 0.0 else 1.0

    def without_atoms(self, times: float = 0.0) -> Found:
        """Less groups that alone have a large share of all equal pairs, and come so many times as often as others."""
        totals = np.bincount(self.groups, self.counts)
        pairs = totals * (totals - 1.0)
        order = np.argsort(-pairs)
        left = np.cumsum(pairs[order][::-1])[::-1]
        many = pairs[order] > _OFTEN * left
        atoms = order[: len(order) if np.all(many) else int(np.argmin(many))]
        others = np.setdiff1d(np.arange(len(totals)), atoms)
        if others.size:
            atoms = atoms[totals[atoms] > times * np.mean(totals[others])]
        rest = ~np.isin(self.groups, atoms)
        groups = np.unique(self.groups[rest], return_inverse=True)[1]
        return Found(groups.reshape(-1), self.counts[rest], self.x[rest], self.y[rest], self.rate)


class Sample:
    """Different rows and how often they came; which are remembered is decided by the hash of a part of them.

    Of rows that are equal in that part all are remembered, or none: a value, `taken` returns another one.
    """

    def __init__(self) -> None:
        self._mask = np.zeros(1, dtype=np.uint64)
        self._table = np.zeros((2, _SLOTS), dtype=np.uint64)
        self._counts = np.zeros(_SLOTS, dtype=np.int64)
        self._parts: tuple[Part, ...] = ()

    def taken(self, selectors: Hashes, keys: Hashes, x: Floats, y: Floats) -> Sample:
        """With rows more, by the hashes of that part and of all; they are sampled alike however they are cut."""
        after = copy.copy(self)
        after._mask, after._table, after._counts = self._mask.copy(), self._table.copy(), self._counts.copy()
        fresh = np.zeros(len(keys), dtype=np.bool_)
        if not count_rows(selectors, keys, np.uint64(_MOST), after._mask, after._table, after._counts, fresh):
            return after
        new = np.flatnonzero(fresh)
        new = new[selectors[new] & after._mask[0] == 0]
        columns = x[new] if x.shape[1] <= _COLUMNS else x[new[:, None], _columns(x.shape[1])]
        after._parts = (*self._parts, Part(selectors[new], keys[new], columns, y[new]))
        if len(after._parts) > _PARTS or sum(len(part.keys) for part in after._parts) > _MOST:
            after._parts = (_together(after._parts).selected(after._mask[0]),)
        return after

    @property
    def copies(self) -> float:
        """``sum m**2 / sum m``."""
        return float(np.sum(self._counts.astype(np.float64) ** 2)) / max(int(np.sum(self._counts)), 1)

    def found(self) -> Found:
        """What there is, in the order of hashes."""
        used = np.flatnonzero(self._counts)
        used = used[np.argsort(self._table[1, used])]
        groups = np.unique(self._table[0, used], return_inverse=True)[1]
        if not self._parts:
            return Found(groups, np.zeros(0), np.zeros((0, 0)), np.zeros(0), 1.0)
        part, counts, rate = (
            _together(self._parts).selected(self._mask[0]),
            self._counts[used].astype(np.float64),
            float(self._mask[0]) + 1.0,
        )
        order = np.argsort(part.keys)
        return Found(groups.reshape(-1), counts, part.x[order], part.y[order], rate)


class EqualRows:
    """How many different rows those of a stream are worth; a value: `taken` returns another one."""

    def __init__(self) -> None:
        self._by_x, self._by_y = Sample(), Sample()

    def taken(self, x: Floats, y: Floats, keys: Hashes, of_x: Hashes, of_y: Hashes) -> EqualRows:
        """With rows more, and the hashes of all of each, of its X and of its response."""
        after = EqualRows()
        after._by_x = self._by_x.taken(of_x, keys, x, y)
        after._by_y = self._by_y.taken(of_y, keys, x, y)
        return after

    def copies(self) -> float:
        """Of each row, weighed by how many there are; 1 where they may be equal by chance."""
        if max(self._by_x.copies, self._by_y.copies) < _LEAST:
            return 1.0
        all_x, all_y = self._by_x.found(), self._by_y.found()
        by_x, by_y = all_x.without_atoms(), all_y.without_atoms()
        noise = _noise_in_response(by_x)
        if by_x.differing <= _DIFFER * noise:
            is_copy = by_x.again * noise >= _SURE and _equal_halves(by_x) <= _HALF * by_x.equal
            found = all_x
        else:
            noise = _noise_in_columns(by_y)
            is_copy = by_y.differing <= _DIFFER * noise and by_y.again * noise >= _SURE
            found = all_y
        # of few rows that come again each has a large share of the pairs: leaving them out would be to choose
        return found.without_atoms(_OFTENER).copies if is_copy else 1.0


def _together(parts: tuple[Part, ...]) -> Part:
    return Part(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


@functools.cache
def _columns(number: int) -> Places:
    """Those of X that are looked at."""
    return np.unique(np.linspace(0, number - 1, _COLUMNS).astype(np.intp))


def _pairs(groups: Places, counts: Floats) -> float:
    """Of rows in the same group."""
    totals = np.bincount(groups, counts)
    return float(np.sum(totals * (totals - 1.0))) / 2.0


def _varying(found: Found) -> Floats:
    """Columns of X that are not constant."""
    return found.x[:, np.any(found.x != found.x[:1], axis=0)] if len(found.x) else found.x[:, :0]


def _noise_in_response(found: Found) -> float:
    """How often responses differ between rows that are nearly equal in X; 0 where they are nearly equal, too."""
    columns = _varying(found)
    if found.differing > _DIFFER or not columns.size:  # it is not asked for
        return 0.0
    pairs = [*(_neighbours(column) for column in columns.T), _nearest(columns[:_NEAREST])]
    least = min(_noise(found.y, *pair) for pair in pairs)
    return least * _different(found.y, found.counts) if least >= _NOISE else 0.0


def _noise_in_columns(found: Found) -> float:
    """How often a column, the one with most of it, differs between rows whose responses are nearly equal."""
    if found.differing > _DIFFER:
        return 0.0
    near = _neighbours(found.y)
    columns = [(_noise(column, *near), _different(column, found.counts)) for column in _varying(found).T]
    return max((noise * different for noise, different in columns if noise >= _NOISE), default=0.0)


def _different(values: Floats, counts: Floats) -> float:
    """The share of pairs of entries that differ, each as often as it came."""
    codes = np.unique(values, return_inverse=True)[1].reshape(-1)
    return float(1.0 - np.sum((np.bincount(codes, counts) / np.sum(counts)) ** 2))


def _neighbours(column: Floats) -> tuple[Places, Places]:
    """Pairs of rows that follow on one another in its order."""
    order = np.argsort(column, kind="stable")
    return order[:-1], order[1:]


def _nearest(columns: Floats) -> tuple[Places, Places]:
    """Pairs of a row and the one nearest to it, in ranks."""
    scaled = np.column_stack([_ranks(column)[0] / len(column) for column in columns.T])
    squares = np.sum(scaled**2, axis=1)
    apart = squares[:, None] + squares - 2.0 * scaled @ scaled.T
    np.fill_diagonal(apart, np.inf)
    return np.arange(len(scaled)), np.argmin(apart, axis=1)


def _noise(values: Floats, one: Places, other: Places) -> float:
    """1 less Chatterjee's coefficient: differences in rank within these pairs, in units of those between any two."""
    ranks, above = _ranks(values)
    spread = 2.0 * float(np.mean(above * (len(values) - above)))
    apart = len(values) * float(np.mean(np.abs(ranks[one] - ranks[other]))) if len(one) else 0.0
    return min(apart / spread, 1.0) if spread > 0.0 else 0.0


def _ranks(values: Floats) -> tuple[Floats, Floats]:
    """Of each entry how many are not larger, and how many are not smaller."""
    _, codes, often = np.unique(values, return_inverse=True, return_counts=True)
    codes, below = codes.reshape(-1), np.cumsum(often).astype(np.float64)
    return below[codes], (len(values) - below + often)[codes]


def _equal_halves(found: Found) -> float:
    """Pairs of rows that are equal in half of the columns of X, and not in all, for each of the sample's equal pairs.

    The halves have finer and coarser columns in turn, and the finest is in the first.
    """
    columns = _varying(found)
    codes = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in columns.T]
    ties = [_pairs(code, found.counts) for code in codes]
    half = [codes[j] for j in np.argsort(ties, kind="stable")[::2]]
    same = np.unique(np.column_stack(half), axis=0, return_inverse=True)[1].reshape(-1)
    # of two rows that differ in X, both are in the sample much more rarely than one
    return (_pairs(same, found.counts) - _pairs(found.groups, found.counts)) * found.rate


@Kernel
def count_rows(selectors: Any, keys: Any, most: Any, mask: Any, table: Any, counts: Any, fresh: Any) -> int:
    """Count rows in a table by open addressing, fewer of them where it gets full; marks those not seen before."""
    one, last = np.uint64(1), np.uint64(counts.size - 1)
    used, new = np.uint64(0), 0
    for slot in range(counts.size):
        if counts[slot] > 0:
            used += one
    for i in range(keys.size):
        if selectors[i] & mask[0] != np.uint64(0):
            continue
        place = keys[i] & last
        while counts[place] > 0 and table[1, place] != keys[i]:
            place = (place + one) & last
        if counts[place] == 0:
            table[0, place], table[1, place] = selectors[i], keys[i]
            fresh[i] = True
            used += one
            new += 1
        counts[place] += 1
        while used > most:
            mask[0] = (mask[0] << one) | one
            before, often = table.copy(), counts.copy()
            counts[:] = 0
            used = np.uint64(0)
            for slot in range(counts.size):
                if often[slot] > 0 and before[0, slot] & mask[0] == np.uint64(0):
                    place = before[1, slot] & last
                    while counts[place] > 0:
                        place = (place + one) & last
                    table[0, place], table[1, place] = before[0, slot], before[1, slot]
                    counts[place] = often[slot]
                    used += one
    return new
