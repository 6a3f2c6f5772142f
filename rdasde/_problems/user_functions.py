"""Functions of the user's own: compiled, and looked at before they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rdasde import _check
from rdasde._compiled.jit import compiled


def compile_for(name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Any]:
    """numba's dispatcher of a function, compiled for such arguments, and the type that it returns."""
    import numba

    try:
        dispatcher: Any = function if hasattr(function, "py_func") else compiled(function)
        types = tuple(map(numba.typeof, arguments))
        dispatcher.compile(types)
        return dispatcher, dispatcher.overloads[types].signature.return_type
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("Failed in")]
        reason = " ".join(lines[0].split())[:120] if lines else type(error).__name__
        raise ValueError(
            f"{name} is a function that numba cannot compile with these parameters ({reason}): "
            "use arrays, numbers and what numba supports of NumPy."
        ) from error


def takes_parameters(name: str, function: Any) -> bool:
    """Whether a function is called ``(parameters, w)`` and not ``(w)``."""
    try:
        arguments = inspect.signature(getattr(function, "py_func", function)).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not say
        return False
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = sum(p.default is p.empty and p.kind in places for p in arguments)
    if needed not in (1, 2):
        raise _check.bad(
            name,
            f"a function of {needed} arguments",
            f"{name}(parameters, w) or {name}(w)",
            "give other arguments default values",
        )
    return needed == 2
