"""What a stream may consist of: rows and responses, at once or in batches, checked before they are taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check

_SLICE = 8192  # rows looked at, at a time


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
    rows = _numbers("X" + name, X, (None, dimension), mend)
    if not has_response:
        if y is not None:
            raise _check.bad("y" + name, y, f"None for {problem}", "leave it out")
        return rows, np.zeros(len(rows))
    if y is None:
        raise _check.bad("y" + name, None, f"the responses for {problem}", "pass one number for each row of X")
    response = _numbers("y" + name, y, (len(rows),), "give one number for each row of X")
    if is_binary:
        wrong = (response != 0) & (response != 1)
        if np.any(wrong):
            got = f"{response[np.argmax(wrong)]:g} somewhere"
            raise _check.bad("y" + name, got, "labels in {0, 1}", "recode them, for example y > 0")
    return rows, response


def _numbers(argument: str, value: Any, shape: tuple[int | None, ...], mend: str) -> NDArray[Any]:
    """As `_check.array`, but without a copy: rows may be many."""
    wanted = "(" + ", ".join("n" if k is None else str(k) for k in shape) + ("," if len(shape) == 1 else "") + ")"
    accepted = f"an array of shape {wanted} of finite numbers"
    try:
        raw = np.asarray(value)
    except ValueError:
        raise _check.bad(argument, "a ragged sequence", accepted, mend) from None
    if raw.dtype.kind not in "fiub":
        raise _check.wrong_kind(argument, value, accepted, mend)
    right = raw.ndim == len(shape) and all(
        have >= 1 if want is None else have == want for have, want in zip(raw.shape, shape, strict=True)
    )
    if not right:
        raise _check.bad(argument, f"an array of shape {raw.shape}", accepted, mend)
    wrong = 0
    for low in range(0, len(raw), _SLICE):
        finite = np.isfinite(raw[low : low + _SLICE])
        wrong += int(np.count_nonzero(~finite.reshape(len(finite), -1).all(axis=1)))
    if wrong:
        raise _check.bad(argument, f"an array with NaN or infinite entries in {wrong} rows", accepted, mend)
    return raw
