"""A user's own function, compiled before it is needed: what numba says of one that it refuses, in a sentence."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from typing import Any

from rdasde._compiled.functions import apply

_NAME, _SHOWN, _REASON = 20, 50, 75  # characters of a file's name, of a line of it, and of what numba says of that


def compile_for(name: str, function: Any, arguments: tuple[Any, ...]) -> Any:
    """Compile what stands for a user's function (`for_compiled_code`) for such arguments; the type that it returns."""
    import numba

    typeof: Any = numba.typeof
    try:
        dispatcher: Any = apply.dispatcher_for((function,))
        types = typeof(function), typeof(arguments)
        dispatcher.compile(types)
        return dispatcher.overloads[types].signature.return_type
    except Exception as error:
        cause = error
        try:  # by itself, where numba's words are of the user's function alone
            type(function).dispatcher.compile(tuple(map(typeof, arguments)))
        except Exception as direct:
            cause = direct
        raise cannot_compile(name, cause) from cause


def cannot_compile(name: str, error: Exception) -> ValueError:
    """The sentence about a function that numba refuses: in which line, and why."""
    where = getattr(error, "loc", None)
    place = ""
    if where is not None and where.line:
        text = " ".join(linecache.getline(where.filename, where.line).split())
        place = f"line {where.line} of {_cut(Path(where.filename).name, _NAME)}"
        place += f", `{_cut(text, _SHOWN)}`: " if text else ": "
    return ValueError(
        f"{name} is a function that numba cannot compile with these parameters "
        f"({place}{_cut(_reason(error), _REASON)}): use arrays, numbers and what numba supports of NumPy."
    )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _reason(error: Exception) -> str:
    """The first line in which numba says something, without addresses in memory."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Failed in")] or [type(error).__name__]
    reason = re.sub(
        r"Function\(<(?:built-in |ufunc )?(?:function )?'?(\w+)'?[^>]*>\)", r"\1", " ".join(lines[0].split())
    )
    if reason.endswith("found for signature:") and len(lines) > 1:
        reason = f"{reason.removesuffix('found for signature:')}for {lines[1].removeprefix('>>> ')}"
    return reason.split(". Raised from")[0]
