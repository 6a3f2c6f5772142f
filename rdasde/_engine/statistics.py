"""Functions of the primal state that are recorded beside it."""

from __future__ import annotations

import concurrent.futures
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rdasde import _check, _users
from rdasde._check import Floats

Statistic = Callable[[Floats], Any]
# names that results give to something else, or `band` to what it is asked of
_TAKEN = {f"{space}_{what}" for space in ("dual", "primal") for what in ("mean", "std", "ode", "quantile")}
_TAKEN |= {"dual", "primal", "threshold", "probability_zero", "inside", "iterate", "mean"}
_TAKEN |= {"replicate", "path", "time", "coordinate", "score"}
_AVERAGES = {"average", "average_mean", "average_std"}
_ACCEPTED, _MEND = "a dict from name to a function of w", "make it work at every w (d,)"
_CHUNK = 2**21  # numbers that a function is given at once


def probe_states(dimension: int) -> Floats:
    """A few states (n, d) to try a function on, n other than d: which axis it works on can be seen."""
    return np.random.default_rng(0).standard_normal((3 if dimension != 3 else 4, dimension))


def check_statistics(
    statistics: Mapping[str, Statistic] | None,
    dimension: int,
    executor: concurrent.futures.Executor | None,
    average: bool = False,
) -> dict[str, bool]:
    """By name, whether a statistic takes many states at once."""
    if statistics is None:
        return {}
    accepted = _ACCEPTED
    if not isinstance(statistics, Mapping) or not all(callable(f) for f in statistics.values()):
        raise _check.wrong_kind("statistics", statistics, accepted, "pass for example {'risk': lambda w: (w @ w)}")
    probe = probe_states(dimension)
    vectorized = {}
    for name, function in statistics.items():
        if not isinstance(name, str) or name in _TAKEN or (average and name in _AVERAGES):
            raise _check.bad("statistics", f"named {name!r}", "named by other words than the results", "rename it")
        told = {"at": "at a state w (d,)", "accepted": accepted, "mend": _MEND}
        alone = [_users.number(_users.called(_called(name), function, w.copy(), **told)) for w in probe]
        if None in alone:
            raise _check.bad(_called(name), "a function that does not return one number", accepted, "reduce over w")
        try:
            together = np.asarray(function(probe.copy()))
            vectorized[name] = together.shape == (len(probe),) and bool(
                np.allclose(together, np.array(alone, dtype=np.float64))
            )
        except Exception:  # a function of one state only
            vectorized[name] = False
    if isinstance(executor, concurrent.futures.ProcessPoolExecutor):
        try:
            pickle.dumps(dict(statistics))
        except Exception:
            raise _check.bad(
                "statistics",
                "functions that cannot be sent to another process",
                "functions defined at the top of a module",
                "use threads (executor=None) for lambdas",
            ) from None
    return vectorized


def _called(name: str) -> str:
    """The argument that a statistic is."""
    return f"statistics[{name!r}]"


def evaluated(name: str, function: Statistic, vectorized: bool, states: Floats) -> Floats:
    """A statistic of states (..., d), in the order in which they come: (...)."""
    flat = states.reshape(-1, states.shape[-1])
    out = np.empty(len(flat))
    size = max(1, _CHUNK // states.shape[-1])
    for begin in range(0, len(flat), size):
        part = flat[begin : begin + size].copy()  # a function may write into what it is given
        try:
            values = function(part) if vectorized else [function(row) for row in part]
        except Exception as error:
            at = "at states of the run"
            raise _users.failed(_called(name), function, error, 1, at, _ACCEPTED, _MEND) from error
        numbers = _users.numbers(values)
        if numbers is None or numbers.shape != (len(part),):
            got = "a function that does not return one number at states of the run"
            raise _check.bad(_called(name), got, _ACCEPTED, "return one number at every w (d,)")
        out[begin : begin + size] = numbers
    return out.reshape(states.shape[:-1])
