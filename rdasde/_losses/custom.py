"""A user's own loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rdasde import _check
from rdasde._compiled.jit import compiled, implements
from rdasde._losses.base import Loss, derivative, second_derivative

_DIFFERENCE = float(np.cbrt(np.finfo(float).eps))  # step of central differences, in units of the predictor's size


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
        If one is not a function.
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
        first = derivative if hasattr(derivative, "py_func") else compiled(derivative)
        self.parameters: NamedTuple = DifferencedParameters(first, 0.0)
        if second_derivative is not None:
            second = second_derivative if hasattr(second_derivative, "py_func") else compiled(second_derivative)
            self.parameters = CustomParameters(first, second)

    def __repr__(self) -> str:
        by = ", second derivative by differences" if isinstance(self.parameters, DifferencedParameters) else ""
        return f"CustomLoss({self._name}{by})"
