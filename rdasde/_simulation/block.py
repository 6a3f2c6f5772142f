"""One block of replicates of the discrete algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdasde._bands.inside import Counts, Inside
from rdasde._check import Floats
from rdasde._compiled.lanes import lane_array
from rdasde._engine.dynamics import Dynamics
from rdasde._engine.loops import Record, Rule, Source, Span, State, advance, lane_moments
from rdasde._engine.march import march
from rdasde._engine.progress import Signals
from rdasde._engine.statistics import Statistic, evaluated
from rdasde._engine.store import Arrays


@dataclass(frozen=True)
class Job:
    """All that a block needs; travels to other processes."""

    dynamics: Dynamics
    step_size: float | None  # where it is constant
    rates: Floats  # of a step, less the step size over the batch size: one for all, or for each from step 0 on
    batch_size: int
    seed: int
    steps: NDArray[np.int64]
    coordinates: NDArray[np.int64]
    summary: bool
    statistics: Mapping[str, Statistic]
    vectorized: Mapping[str, bool]
    stop_at_divergence: bool
    inside: Inside | None = None
    average: bool = False
    momentum: float = 0.0

    @property
    def spaces(self) -> tuple[str, ...]:
        """What is kept of every run."""
        return ("dual", "primal", "average") if self.average else ("dual", "primal")


def simulate_block(job: Job, block: NDArray[np.int64], signals: Signals | None) -> Arrays:
    """One block of replicates from start to end."""
    dynamics, count = job.dynamics, len(block)
    d = len(dynamics.dual_start)
    state = State(lane_array(d), lane_array(d), lane_array(d), lane_array(d if job.average else 0))
    state.dual[:], state.primal[:] = dynamics.dual_start[:, None], dynamics.primal_start[:, None]
    state.average[:] = state.primal[: len(state.average)]
    source = Source(dynamics.make_streams(job.seed, block), dynamics.scratch.allocate())
    rule = Rule(dynamics.thresholds, job.rates, job.batch_size, job.momentum)
    everything = np.arange(d)
    recorded = everything if job.statistics else job.coordinates
    where = job.coordinates if job.statistics else np.arange(len(job.coordinates))
    shape = (len(job.steps), len(job.coordinates))
    out: Arrays = {name: np.empty((count, len(job.steps))) for name in job.statistics}
    if job.summary:
        for space in job.spaces:
            out[f"{space}_mean"], out[f"{space}_squares"] = np.empty(shape), np.empty(shape)
        out["zeros"] = np.empty(shape)
        ignored = np.empty(shape)
    else:
        out |= {space: np.empty((count, *shape)) for space in job.spaces}
    counts = None if job.inside is None else Counts(job.inside, count)

    def kernel(begin: int, end: int, steps: NDArray[np.int64], dual: Floats, primal: Floats, average: Floats) -> None:
        record = Record(steps, recorded, dual, primal, average)
        advance(dynamics.problem, dynamics.mirror, rule, source, state, Span(begin, end), record)

    def consume(part: slice, dual: Floats, primal: Floats, average: Floats) -> None:
        if job.statistics:
            states = np.ascontiguousarray(np.moveaxis(primal, 2, 0)[:count])  # (replicate, time, d)
            for name, function in job.statistics.items():
                out[name][:, part] = evaluated(name, function, job.vectorized[name], states)
        kept = dict(zip(job.spaces, (dual, primal, average), strict=False))
        if job.statistics:
            kept = {space: np.ascontiguousarray(values[:, where]) for space, values in kept.items()}
        if counts is not None:
            in_lanes = kept.get(counts.variable)
            counts.add(part, out[counts.variable][:, part] if in_lanes is None else np.moveaxis(in_lanes, 2, 0)[:count])
        for space, values in kept.items():
            if job.summary:
                zeros = out["zeros"] if space == "primal" else ignored
                lane_moments(values, count, out[f"{space}_mean"][part], out[f"{space}_squares"][part], zeros[part])
            else:
                out[space][:, part] = np.moveaxis(values, 2, 0)[:count]

    out["diverged"] = march(
        kernel,
        (*state, source.streams),
        recorded,
        job.steps,
        count,
        consume,
        signals,
        stop_at_divergence=job.stop_at_divergence,
    )
    if counts is not None:
        out["inside"] = counts.total()
    return out
