"""How a user's own functions are called."""

from __future__ import annotations

import inspect
from typing import Any

from rdasde import _check


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
