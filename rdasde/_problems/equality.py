"""When parameters are the same, and how nobody changes them."""

from __future__ import annotations

from typing import Any

import numpy as np


def same(left: Any, right: Any) -> bool:
    """Whether parameters are equal, whatever they are nested in."""
    left, right = getattr(left, "py_func", left), getattr(right, "py_func", right)
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, tuple | list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    return bool(np.all(left == right))


def glance(value: Any) -> Any:
    """Something hashable that equal parameters share."""
    if isinstance(value, tuple):
        return tuple(map(glance, value))
    if isinstance(value, np.ndarray):
        return value.shape, tuple(value.flat[:4].tolist()) if value.dtype.kind in "biuf" else ()
    return value if isinstance(value, int | float | str) else None


def owned(parameters: Any) -> Any:
    """Arrays copied, whatever they are nested in: a user may write into theirs later."""
    if isinstance(parameters, np.ndarray):
        return np.array(parameters)
    if isinstance(parameters, tuple):
        parts = map(owned, parameters)
        return type(parameters)(*parts) if hasattr(parameters, "_fields") else tuple(parts)
    return parameters
