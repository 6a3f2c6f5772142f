"""What makes two runs the same: by this a store knows its own."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any, cast

import numpy as np

from rdasde._engine.statistics import probe_states
from rdasde._problems.base import Problem
from rdasde._simulation.block import Job

_SCALES = (1.0, 1e-2)


def description(job: Job, problem: Problem) -> dict[str, Any]:
    """What makes two runs the same, in JSON's types."""

    def digest(value: Any) -> str:
        return hashlib.sha256(pickle.dumps(value, protocol=4)).hexdigest()[:16]

    return {
        "seed": job.seed,
        "problem": f"{problem!r} {digest(_plain(job.dynamics.problem))}",
        "regularizer": digest(_plain(job.dynamics.mirror)),
        "schedule": digest(job.dynamics.thresholds.tobytes()),
        "step_size": digest(job.rates.tobytes()) if job.step_size is None else job.step_size,
        "momentum": job.momentum or None,
        "batch_size": job.batch_size,
        "start": digest(job.dynamics.dual_start.tobytes()),
        "times": digest(job.steps.tobytes()),
        "coordinates": digest(job.coordinates.tobytes()),
        "keep": "summary" if job.summary else "paths",
        "statistics": sorted(job.statistics),
        "values_of_statistics": _told(job),
        "inside": None if job.inside is None else job.inside.digest,
        "average": True if job.average else None,
        "on_divergence": "raise" if job.stop_at_divergence else "keep",
    }


def _told(job: Job) -> dict[str, list[str]]:
    """What statistics give of a few states: two functions of one name are told apart by it."""
    states = probe_states(len(job.dynamics.dual_start))
    return {
        name: [repr(float(function(scale * w))) for scale in _SCALES for w in states]
        for name, function in sorted(job.statistics.items())
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple) and not getattr(type(value), "on_disk", True):
        # a user's function that has no digest: as much as can be told of it
        code = cast(Any, type(value)).dispatcher.py_func.__code__
        return (code.co_code, code.co_names, [c for c in code.co_consts if isinstance(c, int | float | str | bool)])
    if isinstance(value, tuple):
        return (type(value).__name__, *map(_plain, value))
    if isinstance(value, np.ndarray):
        return (value.shape, value.tobytes())
    return value
