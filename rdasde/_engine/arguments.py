"""The arguments that verbs share: checked in one way, each failure one sentence."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.time_axis import TimeAxis
from rdasde._errors import StabilityWarning
from rdasde._problems.base import Problem


def check_pair(problem: Problem, algorithm: RDA, *, plain: bool = True) -> None:
    """The first two arguments of every verb, most of which are for `plain` algorithms."""
    check_instance_of_problem(problem)
    _check.instance("algorithm", algorithm, RDA, "an algorithm", "pass for example rs.RDA(step_size=1e-3)")
    algorithm.mirror.check_dimension(problem.dimension)
    if plain:
        need_plain(algorithm)
        need_independent_draws(problem)


def need_independent_draws(problem: Problem) -> None:
    """ValueError for rows drawn without replacement, whose noise cancels over an epoch."""
    if not problem.has_independent_draws:
        raise _check.bad(
            "problem",
            "one of rows without replacement, whose noise cancels over an epoch to first order in the step size",
            "one of independent draws here",
            "use simulate, or replacement=True",
        )


def check_instance_of_problem(problem: Problem) -> None:
    """The first argument alone."""
    _check.instance("problem", problem, Problem, "a problem", "pass for example rs.LinearRegression(coef)")


def need_plain(algorithm: RDA) -> None:
    """ValueError for steps that fall and for momentum."""
    if algorithm.is_falling or algorithm.momentum:
        what = "a step size that falls" if algorithm.is_falling else "momentum"
        raise _check.bad(
            "algorithm", f"one with {what}", "one of constant step size without momentum here", "pass such a one"
        )


def warn_if_unstable(problem: Problem, algorithm: RDA, axis: TimeAxis | None = None) -> None:
    """StabilityWarning where the unregularized algorithm would not be stable in mean square, at its largest step."""
    step_size = algorithm.step_size if axis is None or axis.sizes is None else float(axis.sizes.max())
    reason = problem.instability(step_size, algorithm.batch_size)
    if reason is not None:
        warnings.warn(
            f"step_size {step_size:g} is past mean-square stability without a regularizer ({reason}): "
            "the run may diverge; take a smaller step or a larger batch.",
            StabilityWarning,
            stacklevel=3,
        )


def start_point(start: ArrayLike | None, problem: Problem) -> Floats:
    """The dual start v_0, (d,); the problem's own where the user does not say."""
    if start is None:
        return problem.default_start()
    d = problem.dimension
    return _check.array("start", start, (d,), mend=f"give the dual start v_0, {d} numbers")


def kept_coordinates(coordinates: ArrayLike | None, dimension: int) -> NDArray[np.int64]:
    """Which coordinates to keep, counted from 0; all of them for None."""
    if coordinates is None:
        return np.arange(dimension)
    accepted = f"different whole numbers within 0..{dimension - 1}"
    mend = "coordinates count from 0"
    kept = _check.integers("coordinates", coordinates, accepted, mend)
    if kept.min() < 0 or kept.max() >= dimension or len(np.unique(kept)) < len(kept):
        raise _check.bad("coordinates", coordinates, accepted, mend)
    return kept


def check_equation_order(order: object) -> None:
    """ValueError for an order of the diffusion, in the step size, that there is not."""
    if not isinstance(order, int | np.integer) or isinstance(order, bool) or order not in (1, 2):
        raise _check.bad("equation_order", _check.show(order), "1 or 2", "choose one of these")
