"""What rdasde raises and warns of, beyond ValueError and TypeError for bad arguments."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

_PACKAGE = os.path.dirname(__file__) + os.sep


class DivergenceError(ArithmeticError):
    """A state stopped being finite.

    Attributes
    ----------
    step : int
        The first step after which the dual state of `replicate` was not finite.
    time : float
        ``step * step_size``.
    replicate : int
        The replicate (or path) that diverged first in the order of replicates.
    partial : xarray.Dataset or None
        Everything that was computed until then, NaN where it was not.
    """

    def __init__(self, message: str, *, step: int, time: float, replicate: int, partial: Any = None) -> None:
        super().__init__(message)
        self.step, self.time, self.replicate, self.partial = step, time, replicate, partial

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.args[0], self.step, self.time, self.replicate, self.partial)
        return _divergence_error, fields


def _divergence_error(message: str, step: int, time: float, replicate: int, partial: Any) -> DivergenceError:
    return DivergenceError(message, step=step, time=time, replicate=replicate, partial=partial)


class StabilityWarning(UserWarning):
    """The step size is past the mean-square stability condition of the unregularized algorithm."""


class AccuracyWarning(UserWarning):
    """A law from `approximate` differs from runs of the algorithm itself by more than chance allows."""


class ClosureWarning(AccuracyWarning):
    """That of the Gaussian closure does."""


class CostWarning(UserWarning):
    """A law from `approximate` takes longer than runs of the algorithm itself that tell as much."""


class TooMuchMemoryError(MemoryError, ValueError):
    """The result asked for would not fit in memory."""


def warn(message: str, category: type[Warning]) -> None:
    """A warning that points to whoever called the package, however deep within it this is said."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def note_partial(interrupt: BaseException, partial: Any, what: str) -> None:
    """Let an interrupt, or whatever else ends a run, carry what was finished, and say so in its last line."""
    name = type(interrupt).__name__
    interrupt.partial = partial  # type: ignore[attr-defined]
    interrupt.__notes__ = [f"rdasde: .partial of this {name} (sys.last_value) holds {what}."]


def forget_partial(interrupt: KeyboardInterrupt) -> None:
    """Where what was finished is of no use to whoever asked for something else."""
    interrupt.__dict__.pop("partial", None)
    interrupt.__dict__.pop("__notes__", None)
