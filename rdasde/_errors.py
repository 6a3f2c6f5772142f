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

    Examples
    --------
    >>> import warnings
    >>> import rdasde as rs
    >>> warnings.simplefilter("ignore", rs.StabilityWarning)  # which says before that it may
    >>> try:
    ...     runs = rs.simulate(rs.LinearRegression([0.5, 0.0]), rs.RDA(10.0), 1e4, times=11, seed=0)
    ... except rs.DivergenceError as error:
    ...     print(error.step, error.time, error.partial.primal.shape)
    405 4050.0 (1, 11, 2)
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
    """The step size is past the mean-square stability condition of the unregularized algorithm.

    Examples
    --------
    >>> import warnings
    >>> import rdasde as rs
    >>> warnings.simplefilter("error", rs.StabilityWarning)
    >>> try:
    ...     runs = rs.simulate(rs.LinearRegression([0.5, 0.0]), rs.RDA(1.0), 10.0, seed=0)
    ... except rs.StabilityWarning as warning:
    ...     print(str(warning)[:41])
    step_size 1 is past mean-square stability
    """


class AccuracyWarning(UserWarning):
    """A law from `approximate`, or a band of it, differs from runs of the algorithm itself by more than chance allows.

    Examples
    --------
    >>> import warnings
    >>> import rdasde as rs
    >>> warnings.simplefilter("error", rs.AccuracyWarning)
    >>> algorithm = rs.RDA(0.6, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> try:
    ...     theory = rs.approximate(rs.LinearRegression([1.0]), algorithm, 20.0, times=2, check=True, seed=0)
    ... except rs.AccuracyWarning as warning:
    ...     print(type(warning).__name__)
    ClosureWarning
    """


class ClosureWarning(AccuracyWarning):
    """That of the Gaussian closure does.

    Examples
    --------
    >>> import warnings
    >>> import rdasde as rs
    >>> algorithm = rs.RDA(0.6, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     theory = rs.approximate(rs.LinearRegression([1.0]), algorithm, 20.0, times=2, check=True, seed=0)
    >>> caught[0].category.__name__, theory.attrs["checked_zero"] > 0.04  # P(w_j = 0) is off by that much
    ('ClosureWarning', True)
    """


class CostWarning(UserWarning):
    """A law from `approximate` takes longer than runs of the algorithm itself that tell as much.

    Examples
    --------
    >>> import warnings
    >>> import rdasde as rs
    >>> warnings.simplefilter("error", rs.CostWarning)  # an error before anything dear is begun; this is cheap
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> rs.approximate(rs.LinearRegression([0.5, 0.0]), algorithm, 5.0, times=6).primal_mean.shape
    (6, 2)
    """


class TooMuchMemoryError(MemoryError, ValueError):
    """The result asked for would not fit in memory.

    Examples
    --------
    >>> import rdasde as rs
    >>> options = {"times": 100_001, "replicates": 1_000_000}
    >>> try:
    ...     runs = rs.simulate(rs.LinearRegression([0.5, 0.0]), rs.RDA(0.01), 1000.0, **options)
    ... except rs.TooMuchMemoryError as error:
    ...     print(str(error).split(":")[-1].strip())
    use keep="summary", fewer times, or coordinates=.
    """


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
