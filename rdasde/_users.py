"""Functions of the user's own, called: one that fails is named in a sentence, its own exception kept as the cause."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check


def called(name: str, function: Callable[..., Any], *arguments: Any, at: str, accepted: str, mend: str) -> Any:
    """What a user's function makes of the arguments, which the sentence of one that raises calls `at`."""
    try:
        return function(*arguments)
    except Exception as error:
        raise failed(name, function, error, len(arguments), at, accepted, mend) from error


def failed(
    name: str, function: Callable[..., Any], error: Exception, number: int, at: str, accepted: str, mend: str
) -> ValueError:
    """The sentence about a user's function that raised an exception when it was called with so many arguments."""
    if isinstance(error, TypeError) and not takes(function, number):
        got = f"a function that does not take {number} argument{'s' if number > 1 else ''}"
    else:
        got = f"a function that raises {said(error)} {at}"
    return _check.bad(name, got, accepted, mend)


def said(error: Exception) -> str:
    """The name of an exception, and what it says."""
    words = str(error)
    return f"{type(error).__name__} ({_check.show(words)})" if words else type(error).__name__


def takes(function: Callable[..., Any], number: int) -> bool:
    """Whether it can be called with so many arguments; True where it does not say."""
    try:
        inspect.signature(getattr(function, "py_func", function)).bind(*[None] * number)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def numbers(value: Any) -> NDArray[Any] | None:
    """What a function returned as an array of real numbers, NaN and infinite ones too; None for anything else."""
    if value is None or isinstance(value, str | bytes) or _check.masked_entries(value):
        return None
    try:
        array = np.asarray(value)
    except Exception:  # ragged; a tensor with a gradient, or on a device
        return None
    return array if array.dtype.kind in "biuf" else None


def number(value: Any) -> float | None:
    """One real number that a function returned, NaN and infinite ones too; None for anything else."""
    array = numbers(value)
    return float(array) if array is not None and array.ndim == 0 else None


def returned(value: Any) -> str:
    """What is said of a value that a function should not return."""
    array = numbers(value)
    if array is None and isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return _check.show(value if array is None else array)
