"""The way of a solver along time."""

from __future__ import annotations

from types import TracebackType

from rdasde._engine.progress import ALONG, Progress

BUDGET = 200_000  # evaluations of a right-hand side; equations that can be solved take some hundreds to thousands


class BudgetSpent(ArithmeticError):
    """A solver has asked for its right-hand side as often as it may."""


class Course:
    """A solver from time 0 to `end` that says where it is: it shows in a bar, and ends once its budget is spent."""

    def __init__(self, what: str, end: float, progress: bool | None = False, budget: int = BUDGET) -> None:
        self.what, self.end, self.budget = what, end, budget
        self.spent, self._furthest = 0, 0.0
        self._bar = Progress(progress, end, what, ALONG)

    def at(self, t: float) -> None:
        """The right-hand side is asked for at time t."""
        self.spent += 1
        if self.spent > self.budget:
            raise BudgetSpent(
                f"The {self.what} could not be solved past t = {self._furthest:g} (of {self.end:g}) in {self.budget} "
                "evaluations; use a shorter horizon, or rs.simulate."
            )
        if self._furthest < t <= self.end:
            self._bar.add(t - self._furthest)
            self._furthest = t

    def __enter__(self) -> Course:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
