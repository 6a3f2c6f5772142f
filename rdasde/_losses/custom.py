"""A user's own loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rdasde import _check
from rdasde._compiled.jit import compiled, implements
from rdasde._losses.base import Loss, derivative, second_derivative

_DIFFERENCE = float(np.cbrt(np.finfo(float).eps))  # step of central differences, in units of the predictor's size
_TRIED = (-1.0, 0.0, 0.5, 1.0)  # predictors, and 0 and 1 as responses, one pair of which must have a finite derivative


class CustomParameters(NamedTuple):
    derivative: Any  # numba's dispatcher of the user's function
    second_derivative: Any


class DifferencedParameters(NamedTuple):
    derivative: Any
    unused: float


@implements(derivative, CustomParameters)
def _(loss, eta, y):
    return loss.derivative(eta, y)


@implements(second_derivative, CustomParameters)
def _(loss, eta, y):
    return loss.second_derivative(eta, y)


@implements(derivative, DifferencedParameters)
def _(loss, eta, y):
    return loss.derivative(eta, y)


@implements(second_derivative, DifferencedParameters)
def _(loss, eta, y):
    step = _DIFFERENCE * max(1.0, abs(eta))
    return (loss.derivative(eta + step, y) - loss.derivative(eta - step, y)) / (2.0 * step)


class CustomLoss(Loss):
    """A loss of your own, by its derivative.

    Parameters
    ----------
    derivative : callable
        ``derivative(eta, y) -> float``, that of the loss in the linear predictor ``eta = x'w``. A function that numba
        can compile, or one already compiled by ``numba.njit``.
    second_derivative : callable, optional
        ``second_derivative(eta, y) -> float``. By central differences when not given.

    Raises
    ------
    TypeError
        If one is not a function, or does not return a number.
    ValueError
        If numba cannot compile one, or it is not finite anywhere near 0.

    Notes
    -----
    The loss should be convex in eta for a minimizer to be found, and its derivative continuous. Where it has kinks,
    means over normal predictors are as accurate as a quadrature that does not know them: to a percent or so of what
    bends within a standard deviation.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> def log_cosh(eta, y):
    ...     return np.tanh(eta - y)
    >>> rs.CustomLoss(log_cosh).derivative([0.0, 1.0], [0.0, 0.0]).round(3)
    array([0.   , 0.762])
    """

    def __init__(
        self,
        derivative: Callable[[float, float], float],
        second_derivative: Callable[[float, float], float] | None = None,
    ) -> None:
        for name, function in (("derivative", derivative), ("second_derivative", second_derivative)):
            if not callable(function) and not (function is None and name == "second_derivative"):
                accepted = f"a function {name}(eta, y) that returns a number"
                raise _check.wrong_kind(name, function, accepted, "pass one that numba can compile")
        self._name = getattr(derivative, "__name__", "derivative")
        first = _number_of("derivative", derivative)
        self.parameters: NamedTuple = DifferencedParameters(first, 0.0)
        if second_derivative is not None:
            self.parameters = CustomParameters(first, _number_of("second_derivative", second_derivative))

    def __repr__(self) -> str:
        by = ", second derivative by differences" if isinstance(self.parameters, DifferencedParameters) else ""
        return f"CustomLoss({self._name}{by})"


def _number_of(name: str, function: Any) -> Any:
    """numba's dispatcher of a function of two numbers that returns one."""
    import numba

    types, accepted = (numba.float64, numba.float64), f"a function {name}(eta, y) that returns a number"
    mend = f"write {name} for two numbers, and return one"
    try:
        dispatcher = function if hasattr(function, "py_func") else compiled(function)
        dispatcher.compile(types)
        kind = dispatcher.overloads[types].signature.return_type
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("Failed in")]
        reason = " ".join(lines[0].split())[:100] if lines else type(error).__name__
        raise ValueError(
            f"{name} is a function that numba cannot compile for two numbers ({reason}), but must be {accepted}: {mend}."
        ) from error
    if not isinstance(kind, numba.types.Integer | numba.types.Float):
        raise TypeError(f"{name} is a function that returns {str(kind)[:60]}, but must be {accepted}: {mend}.")
    with np.errstate(all="ignore"):
        tried = [dispatcher(eta, y) for eta in _TRIED for y in (0.0, 1.0)]
    if not np.any(np.isfinite(tried)):
        raise ValueError(f"{name} is a function that is not finite at any eta near 0, but must be {accepted}: {mend}.")
    return dispatcher
