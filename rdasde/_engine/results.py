"""What a result says about itself, in its attributes: written and read here.

Those of `simulate`, `approximate` and `weak_error`, and of validations that carry one of them on:

===================  ===================================================================================================
``produced_by``      The verb, ``"rdasde.simulate"``
``problem``          Its repr
``step_size``        gamma, or a name for a function of n; where a result is over several, they are a coordinate instead
``batch_size``       Gradients averaged in a step
``regularizer``      The mirror map, as JSON: `mirror_of` makes it again
``schedule``         Its repr
``momentum``         Where there is any
===================  ===================================================================================================

Verbs add what is theirs: ``seed`` wherever something was drawn, ``replicates`` and ``paths``, how many; `simulate`
``diverged``, how many runs did; `approximate` its ``method`` and ``equation_order``, with paths the ``tolerance`` of
their time steps and the ``time_steps`` themselves, and where it was compared with the algorithm, ``checked_replicates``
and what they found: ``checked_mean``, ``checked_std``, ``checked_quantile``, ``checked_zero``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._problems.base import Problem
from rdasde._regularizers.base import Regularizer
from rdasde._regularizers.kinds import from_json
from rdasde._step_size import said

if TYPE_CHECKING:
    import xarray as xr


def result_attributes(problem: Problem, algorithm: RDA, verb: str) -> dict[str, Any]:
    """What every result says about itself, in types that netCDF keeps."""
    momentum = {"momentum": algorithm.momentum} if algorithm.momentum else {}
    return momentum | {
        "produced_by": f"rdasde.{verb}",
        "problem": repr(problem),
        "step_size": said(algorithm.step_size),
        "batch_size": algorithm.batch_size,
        "regularizer": algorithm.mirror.to_json(),
        "schedule": repr(algorithm.schedule),
    }


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
