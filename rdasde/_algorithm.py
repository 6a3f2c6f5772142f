"""The algorithm: generalized regularized dual averaging."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._html import card
from rdasde._regularizers.base import Regularizer
from rdasde._regularizers.unregularized import Unregularized
from rdasde._schedule import Constant, Linear, PowerLaw, Schedule, accumulated, schedule_name, thresholds
from rdasde._step_size import Scaled, StepSizes, said


@dataclass(frozen=True, repr=False)
class RDA:
    """Generalized regularized dual averaging.

    ``v <- v - gamma grad f(w; Z)`` in the dual, ``w = prox(v, g(n, gamma))`` in the primal (Chao & Cheng 2019).
    Without a regularizer it is stochastic gradient descent.

    Parameters
    ----------
    step_size : float or callable
        gamma > 0, or a function of the number of the step, 1, 2, ..., for example ``rs.PowerStep(0.1, 0.5)``; it is
        called with an array of numbers, once before a run. Time is then ``t = gamma_1 + ... + gamma_n``, and the
        threshold grows by the increments ``g(n gamma_n, gamma_n) - g((n - 1) gamma_n, gamma_n)``. In `simulate` and
        `approximate`.
    regularizer : Regularizer, optional
        Its mirror map takes the dual to the primal, for example ``rs.L1()``.
    schedule : callable, optional
        ``schedule(t, step_size) -> threshold``, for example ``rs.PowerLaw(c=0.5, mu=0.6)``.
    batch_size : int
        Gradients averaged in each step.
    momentum : float
        beta of the heavy ball, in [0, 1): ``m <- beta m + grad f(w; Z)``, ``v <- v - gamma m``. In the long run it is a
        step of ``gamma / (1 - beta)``, the *effective* step: time is ``t = n gamma / (1 - beta)``, and the schedule of
        thresholds is called with these. In `simulate` and `approximate`.

    Attributes
    ----------
    reasons : tuple of str
        Why these settings, where `rdasde.suggest` chose them.

    Raises
    ------
    ValueError
        If `step_size` is not positive, `batch_size` below 1, `momentum` outside [0, 1), or a regularizer that uses a
        threshold comes without a schedule.
    TypeError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    RDA(step_size=0.01, regularizer=L1(), schedule=PowerLaw(c=0.5, mu=0.6), batch_size=1)
    >>> sgd = rs.RDA(0.01, batch_size=8, momentum=0.9)
    >>> round(sgd.effective.step_size, 3)
    0.1
    """

    step_size: float  # or a function of the number of the step: `simulate` and `approximate` alone ask
    regularizer: Regularizer | None = None
    schedule: Schedule | None = None
    batch_size: int = 1
    momentum: float = 0.0
    reasons: tuple[str, ...] = field(default=(), init=False, compare=False)

    if TYPE_CHECKING:

        def __init__(
            self,
            step_size: float | StepSizes,
            regularizer: Regularizer | None = None,
            schedule: Schedule | None = None,
            batch_size: int = 1,
            momentum: float = 0.0,
        ) -> None: ...

    def __post_init__(self) -> None:
        if isinstance(self.step_size, PowerLaw | Linear | Constant):
            raise _check.bad(
                "step_size",
                f"{self.step_size!r}, a schedule of thresholds",
                "a number > 0 or a function of the number of the step",
                "pass for example rs.PowerStep(0.1, 0.5), or it as schedule=",
            )
        if self.is_falling:
            accepted = "a number > 0 or a function of the number of the step"
            _check.function("step_size", self.step_size, accepted, "pass for example rs.PowerStep(0.1, 0.5)")
        else:
            step_size = _check.number("step_size", self.step_size, above=0.0, mend="give for example step_size=1e-3")
            object.__setattr__(self, "step_size", step_size)
        momentum = _check.number("momentum", self.momentum, least=0.0, below=1.0, mend="give for example momentum=0.9")
        object.__setattr__(self, "momentum", momentum)
        batch_size = _check.count("batch_size", self.batch_size, mend="give the number of gradients averaged in a step")
        object.__setattr__(self, "batch_size", batch_size)
        if self.regularizer is not None:
            _check.instance(
                "regularizer", self.regularizer, Regularizer, "a regularizer or None", "pass for example rs.L1()"
            )
        if self.schedule is not None:
            accepted = "a function schedule(t, step_size)"
            _check.function("schedule", self.schedule, accepted, "pass for example rs.PowerLaw(0.5, 0.6)")
        if self.mirror.needs_schedule and self.schedule is None:
            raise _check.bad(
                "schedule",
                None,
                f"given, since {self.regularizer!r} uses a threshold",
                "pass for example schedule=rs.PowerLaw(c=0.5, mu=0.6)",
            )

    @property
    def is_falling(self) -> bool:
        """Whether the step size is a function of the number of the step."""
        return callable(self.step_size)

    @property
    def effective(self) -> RDA:
        """The same without momentum, at the effective step."""
        if not self.momentum:
            return self
        steps: Any = self.step_size
        share = 1.0 - self.momentum
        sizes: Any = Scaled(steps, share) if callable(steps) else steps / share
        return dataclasses.replace(self, step_size=sizes, momentum=0.0)

    @property
    def mirror(self) -> Regularizer:
        """The regularizer, or the one that does nothing."""
        return Unregularized() if self.regularizer is None else self.regularizer

    def accumulated(self, sizes: Floats) -> Floats:
        """The threshold after the steps 0, 1, ..., of these sizes; zero where the mirror map does not use it."""
        sizes = _check.reals("sizes", sizes)
        if sizes.ndim != 1:
            mend = "give those of the steps"
            raise _check.bad("sizes", f"an array of shape {sizes.shape}", "one of shape (n,)", mend)
        return accumulated(self.schedule if self.mirror.needs_schedule else None, sizes)

    def thresholds(self, times: Floats) -> Floats:
        """``g`` at every time; zero where the mirror map does not use it."""
        schedule = self.schedule if self.mirror.needs_schedule else None
        return thresholds(schedule, np.atleast_1d(_check.reals("times", times)), self.step_size)

    def __repr__(self) -> str:
        schedule = schedule_name(self.schedule)
        momentum = f", momentum={self.momentum!r}" if self.momentum else ""
        return (
            f"RDA(step_size={said(self.step_size)}, regularizer={self.regularizer!r}, schedule={schedule}, "
            f"batch_size={self.batch_size!r}{momentum})"
        )

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {"step size": f"{self.step_size:.6g}", "batch size": self.batch_size}
        rows["regularizer"] = "none" if self.regularizer is None else repr(self.regularizer)
        rows["schedule"] = "none" if self.schedule is None else schedule_name(self.schedule)
        rows |= {f"reason {number}": reason for number, reason in enumerate(self.reasons, 1)}
        return card("RDA", rows)


_STEP = "the step size is step_size"
_THRESHOLD = "how large the threshold is says schedule, for example rs.PowerLaw(c=0.5, mu=0.6)"
RDA.__init__ = _check.with_hints(  # type: ignore[method-assign]
    lr=_STEP,
    learning_rate=_STEP,
    gamma=_STEP,
    c=_THRESHOLD,
    mu=_THRESHOLD,
    lam=_THRESHOLD,
    weight_decay="a ridge is regularizer=rs.ElasticNet(l2=...)",
    average="the law of the running average is approximate(..., average=True), fit estimates it from rows",
    nesterov="momentum= is that of the heavy ball",
)(RDA.__init__)
