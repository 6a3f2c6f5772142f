"""Scratch memory: what compiled pieces work in, laid out once and reached by name.

A problem says which areas its pieces need; one `Layout` gives their size and cuts them out of one block of memory. So
no compiled piece slices by hand, where one row too few would overwrite a neighbour without a word.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._compiled.lanes import LANES, lane_array

Memory = NDArray[np.float64]


class Lines(NamedTuple):
    """An area of so many numbers in a line, for a piece that leaves the lanes: shape (numbers,)."""

    numbers: int


ROW = 0  # the size of an area that is a single row, of shape (LANES,)


def even(rows: int) -> int:
    """The next even number of rows: normals are drawn in pairs (`random.normals`)."""
    return rows + rows % 2


class Layout:
    """The areas of a NamedTuple class, one after the other.

    Parameters
    ----------
    areas : type
        A NamedTuple class: the names by which compiled code reaches the areas.
    sizes : int, Lines or Layout
        By name: rows of an area (rows, LANES), `ROW` for a single one (LANES,), `Lines` of numbers, or the layout of
        another problem whose pieces are called from this one's.
    """

    def __init__(self, areas: type[tuple[Any, ...]], **sizes: int | Lines | Layout) -> None:
        names: tuple[str, ...] = areas._fields  # type: ignore[attr-defined]
        if tuple(sizes) != names:
            raise TypeError(f"{areas.__name__} has the areas {', '.join(names)}, not {', '.join(sizes)}.")
        self.areas, self.sizes = areas, sizes

    def rows(self, guard: int = 0) -> int:
        """Of memory that the areas take, with `guard` more behind each."""
        return sum(_rows(size, guard) for size in self.sizes.values())

    def allocate(self) -> Any:
        """The areas, in memory of their own."""
        return self.place(lane_array(self.rows()))

    def place(self, memory: Memory, guard: int = 0) -> Any:
        """The areas cut out of `memory` (rows, LANES), `guard` untouched rows behind each."""
        views, start = [], 0
        for size in self.sizes.values():
            stop = start + _rows(size, guard)
            views.append(_view(size, memory[start:stop], guard))
            start = stop
        return self.areas(*views)


def _rows(size: int | Lines | Layout, guard: int) -> int:
    if isinstance(size, Layout):
        return size.rows(guard)
    return (-(-size.numbers // LANES) if isinstance(size, Lines) else max(size, 1)) + guard


def _view(size: int | Lines | Layout, memory: Memory, guard: int) -> Any:
    if isinstance(size, Layout):
        return size.place(memory, guard)
    if isinstance(size, Lines):
        return memory.reshape(-1)[: size.numbers]
    return memory[0] if size == ROW else memory[:size]
