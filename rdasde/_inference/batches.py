"""What a stream may consist of: rows and responses, at once or in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rdasde import _check


class Batch(NamedTuple):
    """Rows as the user gave them."""

    name: str  # what follows "X" in a sentence about it
    X: Any
    y: Any


def batches(X: Any, y: Any, has_response: bool) -> Iterator[Batch]:
    """Each batch that has rows; arrays are one."""
    if not is_stream(X, y, has_response):
        yield Batch("", X, y)
        return
    if y is not None:
        raise _check.bad("y", y, "None where X is an iterator", "let X yield pairs (X, y)")
    rows = 0
    for i, batch in enumerate(X):
        if not has_response:
            part = Batch(f" of batch {i}", batch, None)
        elif isinstance(batch, tuple | list) and len(batch) == 2:
            part = Batch(f" of batch {i}", *batch)
        else:
            raise _check.wrong_kind(f"batch {i} of X", batch, "a pair (X, y)", "let the iterator yield pairs")
        if not is_empty(part.X):
            rows += 1
            yield part
    if not rows:
        raise _check.bad("X", "an exhausted iterator", "an iterator with at least one batch", "make it anew")


def is_stream(X: Any, y: Any, has_response: bool) -> bool:
    """Whether X yields batches: an iterator, what can be iterated but is no array (a DataLoader), a list of them."""
    if isinstance(X, Iterator):
        return True
    if isinstance(X, str | bytes | dict) or hasattr(X, "__array__") or hasattr(X, "shape"):
        return False
    if isinstance(X, list | tuple):
        if not X or y is not None:
            return False
        if not has_response:
            return all(_check.axes_of(batch) == 2 for batch in X)
        return all(isinstance(batch, tuple | list) and len(batch) == 2 and _has_rows(batch[0]) for batch in X)
    return isinstance(X, Iterable) and not isinstance(X, range)


def can_be_read_again(X: Any) -> bool:
    """Whether a second pass is possible."""
    return not isinstance(X, Iterator)


def _has_rows(X: Any) -> bool:
    """Whether this is a matrix, and not a number or one row."""
    shape = getattr(X, "shape", None)
    if shape is not None:
        return len(shape) == 2
    return isinstance(X, list | tuple) and (not X or isinstance(X[0], list | tuple) or _check.axes_of(X[0]) == 1)


def is_empty(X: Any) -> bool:
    """Whether this is no rows at all."""
    shape = getattr(X, "shape", None)
    if shape is not None:
        return len(shape) > 0 and shape[0] == 0
    return isinstance(X, list | tuple) and not X
