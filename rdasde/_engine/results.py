"""What a result says about itself, in its attributes: written and read here.

Those of `simulate`, `approximate` and `weak_error`, and of validations that carry one of them on:

===================  ===================================================================================================
``produced_by``      The verb, ``"rdasde.simulate"``
``problem``          Its repr
``step_size``        gamma, or a name for a function of n; where a result is over several, they are a coordinate instead
``batch_size``       Gradients averaged in a step
``regularizer``      The mirror map, as JSON: `mirror_of` makes it again
``schedule``         Its repr; a function of the user's own by its name or source
``momentum``         Where there is any
``description``      Problem and schedule, as JSON: `problem_of` and `algorithm_of` make them again
===================  ===================================================================================================

Verbs add what is theirs: ``seed`` wherever something was drawn, ``replicates`` and ``paths``, how many; `simulate`
``diverged``, how many runs did; `approximate` its ``method`` and ``equation_order``, with paths the ``tolerance`` of
their time steps, the ``time_steps`` themselves, ``drift`` and ``noise``, and where it was compared with the algorithm,
``checked_replicates`` and what they found: ``checked_mean``, ``checked_std``, ``checked_quantile``, ``checked_zero``,
``checked_tail``, and of bands that are off in the tails ``tail_off_...`` (`rdasde._bands.tails`); the closure
``cut_off``, in how many coordinates tails reach beyond its grid, where there are any.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rdasde import _check, _schedule
from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._problems import kinds
from rdasde._problems.base import Problem
from rdasde._regularizers.base import Regularizer
from rdasde._regularizers.custom import NotCarried
from rdasde._regularizers.kinds import from_json
from rdasde._schedule import schedule_name
from rdasde._step_size import said, steps_from

if TYPE_CHECKING:
    import xarray as xr

_SHOWN = 400  # letters of a description


def result_attributes(problem: Problem, algorithm: RDA, verb: str) -> dict[str, Any]:
    """What every result says about itself, in types that netCDF keeps."""
    momentum = {"momentum": algorithm.momentum} if algorithm.momentum else {}
    return momentum | {
        "produced_by": f"rdasde.{verb}",
        "problem": repr(problem),
        "step_size": said(algorithm.step_size),
        "batch_size": algorithm.batch_size,
        "regularizer": algorithm.mirror.to_json(),
        "schedule": schedule_name(algorithm.schedule),
        "description": describe(problem, algorithm),
    }


_CARRIED = ("problem", "step_size", "batch_size", "regularizer", "schedule", "momentum", "description")


def carried(result: xr.Dataset, verb: str) -> dict[str, Any]:
    """What something made of a result says about itself: the same, but for the verb."""
    known = {name: result.attrs[name] for name in _CARRIED if name in result.attrs}
    return {"produced_by": f"rdasde.{verb}"} | known


class Packed(str):
    """A long text that shows itself short: notebooks print all attributes of a Dataset, and arrays are packed here."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"<{len(self):,} letters of JSON>" if len(self) > _SHOWN else self[:]

    def __repr__(self) -> str:
        return str(self) if len(self) > _SHOWN else repr(self[:])


def describe(problem: Problem, algorithm: RDA) -> str:
    """What makes problem and schedule again. Packing the arrays takes a while, so that a problem keeps its own text."""
    packed = vars(problem).get("_packed")
    if packed is None:
        packed = vars(problem)["_packed"] = json.dumps(kinds.settings_of(problem))
    schedule = json.dumps(_schedule.settings_of(algorithm.schedule))
    return Packed(f'{{"problem": {packed}, "schedule": {schedule}}}')


_STRANGE = (KeyError, TypeError, IndexError, AttributeError, OverflowError)  # at what no version writes
_UNKNOWN = "its description is none that this version knows"


def problem_of(result: xr.Dataset) -> Problem | str:
    """The problem that a result describes, or a sentence on why there is none."""
    try:
        return kinds.from_settings(_described(result)["problem"])
    except _STRANGE:
        return f"The problem of this result cannot be made again: {_UNKNOWN}; make it as you did before."
    except ValueError as error:
        return f"The problem of this result cannot be made again: {error}; make it as you did before."


def algorithm_of(result: xr.Dataset) -> RDA | str:
    """The algorithm that a result describes, or a sentence on why there is none."""
    try:
        schedule = _schedule.from_settings(_described(result)["schedule"])
        if "step_size" not in result.attrs:
            raise ValueError("the result is over several step sizes")
        mirror = mirror_of(result)
        step_size = steps_from(result.attrs["step_size"])
        batch_size, momentum = int(result.attrs["batch_size"]), float(result.attrs.get("momentum", 0.0))
        return RDA(step_size, None if mirror.is_identity else mirror, schedule, batch_size, momentum)
    except _STRANGE:
        return f"The algorithm of this result cannot be made again: {_UNKNOWN}; make it as you did before."
    except ValueError as error:
        reason = str(error).rstrip(".").replace("The regularizer is", "its regularizer is").split(": pass ")[0]
        return f"The algorithm of this result cannot be made again: {reason}; make it as you did before."


def _described(result: xr.Dataset) -> dict[str, Any]:
    try:
        described: dict[str, Any] = json.loads(result.attrs["description"])
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError("it does not say what it is of, or was made by version 0.1") from None
    return described


def mirror_of(result: xr.Dataset, regularizer: Regularizer | None = None) -> Regularizer:
    """The mirror map of a result: the one given, or what its attributes say."""
    if regularizer is not None:
        _check.instance("regularizer", regularizer, Regularizer, "a regularizer", "pass for example rs.L1()")
        return regularizer
    try:
        settings = json.loads(str(result.attrs["regularizer"]))
    except (KeyError, json.JSONDecodeError):
        raise _check.bad(
            "result",
            "a Dataset that does not say its mirror map",
            "one with it",
            "pass regularizer=, for example rs.L1()",
        ) from None
    return from_json(json.dumps(settings))


def mirror_if_known(result: xr.Dataset, regularizer: Regularizer | None = None) -> Regularizer | None:
    """`mirror_of`, or None for a function of the user's own, where it is not given."""
    try:
        return mirror_of(result, regularizer)
    except NotCarried:
        return None


def minimizer_of(result: xr.Dataset) -> Floats | None:
    """The minimizer of the problem that a result describes; None where it does not, or where there is none."""
    problem = problem_of(result)
    return None if isinstance(problem, str) else problem.minimizer
