"""What comes of a law: that it holds, that it was skipped, or one sentence that says how it is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from rdasde._check import Floats


def verdict(reason: str | None) -> str:
    return "holds" if reason is None else f"skipped: {reason}"


def show(w: Floats) -> str:
    """The first numbers of a point."""
    numbers = ", ".join(f"{x:.4g}" for x in w[:4])
    return f"[{numbers}, ...]" if len(w) > 4 else f"[{numbers}]"


def broken(law: str, where: str, size: float, allowed: float, mend: str) -> NoReturn:
    """The AssertionError of a law that does not hold."""
    raise AssertionError(f"{law}, but {where} it is off by {size:.3g} (allowed: {allowed:.2g}): {mend}.")


def hold(law: str, where: str, got: Any, expected: Any, allowed: float, mend: str) -> None:
    """Both equal up to `allowed`; a NaN breaks a law too."""
    gap = np.abs(np.asarray(got) - np.asarray(expected))
    size = float(gap.max()) if gap.size else 0.0
    if not size <= allowed:
        broken(law, where, size, allowed, mend)


def differences(function: Callable[[Floats], Floats], w: Floats, steps: Floats) -> Floats:
    """Central differences, column by column."""
    columns = []
    for j, step in enumerate(steps):
        ahead, behind = w.copy(), w.copy()
        ahead[j] += step
        behind[j] -= step
        columns.append((function(ahead) - function(behind)) / (ahead[j] - behind[j]))
    return np.array(columns).T
