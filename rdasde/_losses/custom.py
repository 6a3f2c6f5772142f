"""A user's own loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rdasde import _check
from rdasde._compiled.functions import call, for_compiled_code
from rdasde._compiled.jit import implements
from rdasde._compiled.trial import compile_for
from rdasde._losses.base import Loss, derivative, second_derivative

_DIFFERENCE = float(np.cbrt(np.finfo(float).eps))  # step of central differences, in units of the predictor's size


class CustomParameters(NamedTuple):
    derivative: Any  # what `call` takes, of the user's function
    second_derivative: Any


class DifferencedParameters(NamedTuple):
    derivative: Any
    unused: float


@implements(derivative, CustomParameters)
def _(loss, eta, y):
    return call(loss.derivative, eta, y)


@implements(second_derivative, CustomParameters)
def _(loss, eta, y):
    return call(loss.second_derivative, eta, y)


@implements(derivative, DifferencedParameters)
def _(loss, eta, y):
    return call(loss.derivative, eta, y)


@implements(second_derivative, DifferencedParameters)
def _(loss, eta, y):
    step = _DIFFERENCE * max(1.0, abs(eta))
    return (call(loss.derivative, eta + step, y) - call(loss.derivative, eta - step, y)) / (2.0 * step)


def _compiled(name: str, function: Callable[[float, float], float]) -> Any:
    import numba

    compiled = for_compiled_code(function, 2)
    returned = compile_for(name, compiled, (0.0, 0.0))
    if not isinstance(returned, numba.types.Number | numba.types.Boolean):
        accepted = f"a function {name}(eta, y) that returns a number"
        raise _check.bad(name, f"a function that returns {returned}", accepted, "return one number")
    return compiled


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
    ValueError
        If numba cannot compile one, or it returns no number.
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
        first = _compiled("derivative", derivative)
        self.parameters: NamedTuple = DifferencedParameters(first, 0.0)
        if second_derivative is not None:
            self.parameters = CustomParameters(first, _compiled("second_derivative", second_derivative))

    def __repr__(self) -> str:
        by = ", second derivative by differences" if isinstance(self.parameters, DifferencedParameters) else ""
        return f"CustomLoss({self._name}{by})"
