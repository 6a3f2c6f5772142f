"""What a stream may consist of: rows and responses, at once or in batches, checked before they are taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check


def batches(X: Any, y: Any, has_response: bool) -> Iterator[tuple[str, Any, Any]]:
    """``(what to call it, X, y)`` for each batch; arrays are one."""
    if not isinstance(X, Iterator):
        yield "", X, y
        return
    if y is not None:
        raise _check.bad("y", y, "None where X is an iterator", "let X yield pairs (X, y)")
    i = -1
    for i, batch in enumerate(X):
        if not has_response:
            yield f" of batch {i}", batch, None
        elif isinstance(batch, tuple | list) and len(batch) == 2:
            yield f" of batch {i}", *batch
        else:
            raise _check.wrong_kind(f"batch {i} of X", batch, "a pair (X, y)", "let the iterator yield pairs")
    if i < 0:
        raise _check.bad("X", "an exhausted iterator", "an iterator with at least one batch", "make it anew")


def checked(
    name: str, X: Any, y: Any, dimension: int | None, problem: str, has_response: bool, is_binary: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows and their responses (zeros where there are none), as they are: no copy."""
    mend = "give one row for each observation" if dimension is None else f"give the {dimension} columns as before"
    rows = _check.rows("X" + name, X, (None, dimension), mend=mend)
    if not has_response:
        if y is not None:
            raise _check.bad("y" + name, y, f"None for {problem}", "leave it out")
        return rows, np.zeros(len(rows))
    if y is None:
        raise _check.bad("y" + name, None, f"the responses for {problem}", "pass one number for each row of X")
    response = _check.rows("y" + name, y, (len(rows),), mend="give one number for each row of X")
    if is_binary:
        wrong = (response != 0) & (response != 1)
        if np.any(wrong):
            got = f"{response[np.argmax(wrong)]:g} somewhere"
            raise _check.bad("y" + name, got, "labels in {0, 1}", "recode them, for example y > 0")
    return rows, response
