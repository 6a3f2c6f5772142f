"""The loop of the dual diffusion whose drift is linear in the primal: a step costs d^2, whatever the problem."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable
from rdasde._compiled.lanes import move, multiply
from rdasde._compiled.random import block_streams, normals
from rdasde._engine.loops import Record, Span, State, end_step, keep
from rdasde._regularizers.base import mirror


class Linearized(NamedTuple):
    """``dV = -(c + H W) dt + noise_level B dB``, ``W = prox(V, g)``, c, H, g and B at the times of a grid."""

    times: Floats
    thresholds: Floats  # (time,)
    noise_level: float
    offset: Floats  # c (time, d)
    hessian: Floats  # H (time, d, d), or (1, d, d) where it is always the same
    factor: Floats  # B of each step (time - 1, d, d)
    defect: Floats  # (time - 1, d): what is added after each step
    lag: float  # as in `Scheme`


@compilable
def _slope(scheme, k, w, out):
    multiply(scheme.hessian[min(k, scheme.hessian.shape[0] - 1)], w, out)
    for j in range(out.shape[0]):
        for lane in range(out.shape[1]):
            out[j, lane] += scheme.offset[k, j]


@Kernel
def diffuse_linearized(
    regularizer: Any, scheme: Linearized, streams: Any, states: State, span: Span, records: Record
) -> None:
    """The steps of `rdasde._engine.loops`, whose noise is that of the middle of a step already."""
    for block in range(states.dual.shape[0]):
        state = State(states.dual[block], states.primal[block], states.work, states.average[block])
        kept = (records.dual[block], records.primal[block], records.average[block])
        record, stream = Record(records.steps, records.coordinates, *kept), block_streams(streams, block)
        v, w, work, _ = state
        d = v.shape[0]
        even = d + d % 2  # normals come in pairs
        normal, xi, slope = work[:even], work[even : even + d], work[even + d : even + 2 * d]
        ahead, slope_ahead = work[even + 2 * d : even + 3 * d], work[even + 3 * d : even + 4 * d]
        k = 0
        for n in range(span.start + 1, span.stop + 1):
            h = scheme.times[n] - scheme.times[n - 1]
            early = 0.5 * (h - scheme.lag) if h > 1.5 * scheme.lag else 0.0
            _slope(scheme, n - 1, w, slope)
            normals(stream, normal)
            multiply(scheme.factor[n - 1], normal[:d], xi)
            move(v, -scheme.noise_level * np.sqrt(h), xi, v)
            move(v, h, slope, ahead)
            mirror(regularizer, ahead, scheme.thresholds[n], w)
            _slope(scheme, n, w, slope_ahead)
            end_step(v, h, early, slope, slope_ahead, scheme.defect[n - 1])
            mirror(regularizer, v, scheme.thresholds[n], w)
            if k < record.steps.size and record.steps[k] == n:
                keep(state, record, k)
                k += 1
