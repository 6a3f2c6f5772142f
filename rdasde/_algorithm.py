"""The algorithm: generalized regularized dual averaging."""

from __future__ import annotations

from dataclasses import dataclass, field

from rdasde import _check
from rdasde._check import Floats
from rdasde._html import card
from rdasde._regularizers.base import Regularizer
from rdasde._regularizers.unregularized import Unregularized
from rdasde._schedule import Schedule, schedule_name, thresholds


@dataclass(frozen=True, repr=False)
class RDA:
    """Generalized regularized dual averaging at a constant step size.

    ``v <- v - gamma grad f(w; Z)`` in the dual, ``w = prox(v, g(n, gamma))`` in the primal (Chao & Cheng 2019).
    Without a regularizer it is stochastic gradient descent.

    Parameters
    ----------
    step_size : float
        gamma > 0.
    regularizer : Regularizer, optional
        Its mirror map takes the dual to the primal, for example ``rs.L1()``.
    schedule : callable, optional
        ``schedule(t, step_size) -> threshold``, for example ``rs.PowerLaw(c=0.5, mu=0.6)``.
    batch_size : int
        Gradients averaged in each step.

    Attributes
    ----------
    reasons : tuple of str
        Why these settings, where `rdasde.suggest` chose them.

    Raises
    ------
    ValueError
        If `step_size` is not positive, `batch_size` below 1, or a regularizer that uses a threshold comes
        without a schedule.
    TypeError
        If an argument is of the wrong kind.
    """

    step_size: float
    regularizer: Regularizer | None = None
    schedule: Schedule | None = None
    batch_size: int = 1
    reasons: tuple[str, ...] = field(default=(), init=False, compare=False)

    def __post_init__(self) -> None:
        step_size = _check.number("step_size", self.step_size, above=0.0, mend="give for example step_size=1e-3")
        object.__setattr__(self, "step_size", step_size)
        batch_size = _check.count("batch_size", self.batch_size, mend="give the number of gradients averaged in a step")
        object.__setattr__(self, "batch_size", batch_size)
        if self.regularizer is not None:
            _check.instance(
                "regularizer", self.regularizer, Regularizer, "a regularizer or None", "pass for example rs.L1()"
            )
        if self.schedule is not None and not callable(self.schedule):
            raise _check.wrong_kind(
                "schedule", self.schedule, "a function schedule(t, step_size)", "pass for example rs.PowerLaw(0.5, 0.6)"
            )
        if self.mirror.needs_schedule and self.schedule is None:
            raise _check.bad(
                "schedule",
                None,
                f"given, since {self.regularizer!r} uses a threshold",
                "pass for example schedule=rs.PowerLaw(c=0.5, mu=0.6)",
            )

    @property
    def mirror(self) -> Regularizer:
        """The regularizer, or the one that does nothing."""
        return Unregularized() if self.regularizer is None else self.regularizer

    def thresholds(self, times: Floats) -> Floats:
        """``g`` at every time; zero where the mirror map does not use it."""
        schedule = self.schedule if self.mirror.needs_schedule else None
        return thresholds(schedule, times, self.step_size)

    def __repr__(self) -> str:
        schedule = schedule_name(self.schedule)
        return (
            f"RDA(step_size={self.step_size!r}, regularizer={self.regularizer!r}, schedule={schedule}, "
            f"batch_size={self.batch_size!r})"
        )

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {"step size": f"{self.step_size:.6g}", "batch size": self.batch_size}
        rows["regularizer"] = "none" if self.regularizer is None else repr(self.regularizer)
        rows["schedule"] = "none" if self.schedule is None else schedule_name(self.schedule)
        rows |= {f"reason {number}": reason for number, reason in enumerate(self.reasons, 1)}
        return card("RDA", rows)
