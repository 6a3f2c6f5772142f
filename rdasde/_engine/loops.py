"""The compiled loops: the discrete algorithm, the dual diffusion, the fluctuation limit, and moments over lanes.

Each works on a block of replicates in lanes, states of shape (d, lanes), and is composed with a problem and a
regularizer through the types of their parameters. Everything is elementwise over lanes, except `lane_moments`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable, fma, generic, implements, one_row
from rdasde._compiled.lanes import LANES, copy, move, move_towards
from rdasde._compiled.random import block_streams
from rdasde._problems.base import add_gradient, drift, hessian_along, noise, noise_along
from rdasde._regularizers.base import Fluctuation, mirror


class Rule(NamedTuple):
    """The discrete algorithm's numbers."""

    thresholds: Floats  # g after every step, from step 0 on
    rates: Floats  # less the step size over the batch size: a single one, or that of every step, from step 0 on
    batch_size: int
    momentum: float  # the share of the last move's gradients that is taken again


class Gaussian(NamedTuple):
    """Noise of the diffusion is Gaussian."""

    gradients: float  # how many the algorithm takes in a unit of time


class Drawn(NamedTuple):
    """Noise of the diffusion is that of as many gradients as the algorithm takes in a step."""

    gradients: float  # how many the algorithm takes in a unit of time


@generic
def shock(kind, problem, h, w, streams, scratch, mean, out):
    """Noise for a step of length h into `out`: of covariance Sigma(w), and of the mean ``-sqrt(gradients h) mean``."""


@implements(shock, Gaussian)
def _(kind, problem, h, w, streams, scratch, mean, out):
    noise(problem, w, streams, scratch, out)


@implements(shock, Drawn)
def _(kind, problem, h, w, streams, scratch, mean, out):
    # the mean is taken off the drift rather than added here: what rests between rare gradients stays where it is
    number = max(1, int(np.rint(h * kind.gradients)))
    out[:] = 0.0
    for _ in range(number):
        add_gradient(problem, w, streams, scratch, out)
    drift(problem, w, scratch, mean)
    flat = one_row(out)
    scale = -1.0 / np.sqrt(number)  # the dual moves against the gradient
    for i in range(flat.size):
        flat[i] *= scale


class Scheme(NamedTuple):
    """How the dual diffusion is stepped."""

    times: Floats  # of the grid
    thresholds: Floats  # at its times and, in turn, at the middles, half a `lag` before them
    noise_level: Floats  # (time,), of each step
    defect: Floats  # (time, d): what each step misses of the noiseless flow, from `follow`
    feedback: bool  # whether the noise of a step is drawn in two halves
    lag: Floats  # (time,): the algorithm's step size for the equation of second order, 0 for that of first
    kind: Any  # of its noise, `Gaussian` or `Drawn`
    shares: Floats  # (time, 3): of the average before a step, and of the states at its ends, in that after it
    missed: Floats  # (time, d): what the averages so made miss of those of the noiseless flow, from `follow`


class Grid(NamedTuple):
    """How the fluctuation limit is stepped."""

    times: Floats
    noise_level: float


class FineGrid(NamedTuple):
    """A grid within another one."""

    times: Floats
    thresholds: Floats  # at its times and middles in turn
    back: Floats  # the same half a `lag` before
    nodes: NDArray[np.int64]  # where each node of the coarser grid stands in it
    lags: Floats  # (time,), of its own steps
    lag: Floats  # of the coarser grid's
    counts: Floats  # (time,): what its steps count for in an average
    ends: Floats  # (time, 2): what the states at both ends of a coarser step count for


class Source(NamedTuple):
    """Where samples come from, and where they are worked on."""

    streams: Any
    scratch: Any  # the areas of the problem's layout


class State(NamedTuple):
    """Of one block (d, lanes), or of several (block, d, lanes)."""

    dual: Floats
    primal: Floats
    work: Floats  # (d, lanes) for the algorithm, zero at first, then its momentum; (5 d, lanes) for the others
    average: Floats  # of the primal so far, which it starts at; without rows where nobody asks for it


class Span(NamedTuple):
    """Steps start + 1, ..., stop are taken."""

    start: int
    stop: int


class Record(NamedTuple):
    """``dual[k]``, ``primal[k]`` and, if kept, ``average[k]`` (coordinate, lanes) get the state after ``steps[k]``."""

    steps: NDArray[np.int64]
    coordinates: NDArray[np.int64]
    dual: Floats
    primal: Floats
    average: Floats  # without coordinates where nobody asks for it


@compilable
def keep(state, record, k):
    """The state into place k of the record."""
    for i in range(record.coordinates.size):
        j = record.coordinates[i]
        for lane in range(state.dual.shape[1]):
            record.dual[k, i, lane] = state.dual[j, lane]
            record.primal[k, i, lane] = state.primal[j, lane]
    for i in range(record.average.shape[1]):
        j = record.coordinates[i]
        for lane in range(state.dual.shape[1]):
            record.average[k, i, lane] = state.average[j, lane]


@Kernel
def advance(
    problem: Any, regularizer: Any, rule: Rule, source: Source, state: State, span: Span, record: Record
) -> None:
    """Steps of the algorithm; the average after step n is that of the states before steps 1, ..., n."""
    v, w, gradient, average = state
    flat, flat_gradient = one_row(v), one_row(gradient)
    k = 0
    for n in range(span.start + 1, span.stop + 1):
        rate = rule.rates[n if rule.rates.size > 1 else 0]
        if average.shape[0] > 0:
            move_towards(w, 1.0 / n, average)
        for _ in range(rule.batch_size):
            add_gradient(problem, w, source.streams, source.scratch, gradient)
        for i in range(flat.size):
            flat[i] = fma(rate, flat_gradient[i], flat[i])
            flat_gradient[i] = 0.0 if rule.momentum == 0.0 else rule.momentum * flat_gradient[i]
        mirror(regularizer, v, rule.thresholds[n], w)
        if k < record.steps.size and record.steps[k] == n:
            keep(state, record, k)
            k += 1


@compilable
def _of_block(source, state, record, block):
    """What belongs to one of several blocks."""
    return (
        Source(block_streams(source.streams, block), source.scratch),
        State(state.dual[block], state.primal[block], state.work, state.average[block]),
        Record(record.steps, record.coordinates, record.dual[block], record.primal[block], record.average[block]),
    )


@compilable
def end_step(v, h, early, slope, slope_ahead, defect):
    """The drift of a step of length h: `slope` at its beginning, at its end for the time `early`, and its defect."""
    flat, flat_slope, flat_ahead, lanes = one_row(v), one_row(slope), one_row(slope_ahead), np.uint64(v.shape[1])
    for j in range(v.shape[0]):
        missed, row = defect[j], np.uint64(j) * lanes
        for lane in range(lanes):
            i = row + lane
            flat[i] = fma(-early, flat_ahead[i], fma(early - h, flat_slope[i], flat[i])) + missed


@Kernel
def diffuse(
    problem: Any, regularizer: Any, scheme: Scheme, sources: Source, states: State, span: Span, records: Record
) -> None:
    """The dual diffusion on a grid: the trapezoidal rule in the drift, noise as it is half a step ahead.

    ``dV = -G(W) dt + noise_level Sigma(W)^(1/2) dB``, ``W = prox(V, g(t))``. For smooth
    coefficients every term of the weak expansion to second order in the step is met but those of fourth order in the
    noise level: the weak error is O(noise_level h^2 + noise_level^4 h) (Milstein & Tretyakov, SIAM J. Sci. Comput. 18,
    1997, on small noise). With `feedback` the noise is drawn in two halves, the second where the first and the drift
    have led: then the covariance meets its terms of fourth order too, and of these only a third of the coupling to the
    third moments is missed.

    Blocks are stepped one after the other, in the kernel itself: to compile a function of its own for one of them
    would compile all of it twice.
    """
    for block in range(states.dual.shape[0]):
        source, state, record = _of_block(sources, states, records, block)
        v, w, work, average = state
        streams, scratch = source
        times, thresholds = scheme.times, scheme.thresholds
        d = v.shape[0]
        xi, slope, ahead = work[:d], work[d : 2 * d], work[2 * d : 3 * d]
        slope_ahead, mean = work[3 * d : 4 * d], work[4 * d :]
        flat, flat_xi, flat_slope, flat_ahead = one_row(v), one_row(xi), one_row(slope), one_row(slope_ahead)
        flat_mean = one_row(mean)
        mean[:] = 0.0
        k = 0
        for n in range(span.start + 1, span.stop + 1):
            h = times[n] - times[n - 1]
            lag = scheme.lag[n - 1]
            early = 0.5 * (h - lag) if h > 1.5 * lag else 0.0
            spread = scheme.noise_level[n - 1] * np.sqrt(h)
            if average.shape[0] > 0:
                share, left = scheme.shares[n - 1, 0], scheme.shares[n - 1, 1]
                for j in range(d):
                    for lane in range(LANES):
                        average[j, lane] = fma(share, average[j, lane], left * w[j, lane])
            drift(problem, w, scratch, slope)
            # one place where noise is drawn (in `follow`, one where the drift is taken): compilers copy it to each
            for part in range(2 if scheme.feedback and early > 0.0 else 1):
                if part == 1:
                    move(v, h, slope, ahead)
                    move(ahead, -spread, xi, ahead)
                else:
                    move(v, 0.0 if scheme.feedback else early, slope, ahead)
                mirror(regularizer, ahead, thresholds[2 * n - 2 + (2 if part == 1 else 0 if scheme.feedback else 1)], w)
                shock(scheme.kind, problem, h, w, streams, scratch, mean, slope_ahead if part == 1 else xi)
                if part == 1:
                    begin, end = np.sqrt(1.0 - early / h), np.sqrt(early / h)
                    for i in range(flat.size):
                        flat_xi[i] = begin * flat_xi[i] + end * flat_ahead[i]
            for i in range(flat.size):
                flat_slope[i] -= flat_mean[i]
            move(v, -spread, xi, v)
            move(v, h, slope, ahead)
            mirror(regularizer, ahead, thresholds[2 * n], w)
            drift(problem, w, scratch, slope_ahead)
            for i in range(flat.size):
                flat_ahead[i] -= flat_mean[i]
            end_step(v, h, early, slope, slope_ahead, scheme.defect[n - 1])
            mirror(regularizer, v, thresholds[2 * n], w)
            if average.shape[0] > 0:
                right = scheme.shares[n - 1, 2]
                for j in range(d):
                    for lane in range(LANES):
                        so_far = fma(right, w[j, lane], average[j, lane])
                        # a coordinate that has been zero throughout has missed nothing
                        average[j, lane] = so_far + (0.0 if so_far == 0.0 else scheme.missed[n - 1, j])
            if k < record.steps.size and record.steps[k] == n:
                keep(state, record, k)
                k += 1


@Kernel
def follow(
    problem: Any, regularizer: Any, grid: FineGrid, scratch: Any, state: State, defect: Floats, integral: Floats
) -> None:
    """The noiseless flow ``dv/dt = -F(v, t)``, and what one step of `diffuse` without noise misses of it.

    The fine grid is stepped by the classical Runge-Kutta method, for the equation of second order with F where the flow
    was half a lag before; a step of one lag is one of the algorithm. ``defect[n - 1]`` (d,) gets the flow at node n of
    the coarser grid less a step of `diffuse` from node n - 1, and ``integral[n - 1]``, if it has rows, the integral of
    the primal from node n - 1 to node n less that by the two states there. `state.work` is (5 d, lanes).
    """
    v, w, work, _ = state
    times, thresholds, back, nodes, lags, coarse_lag, counts, ends = grid
    d = v.shape[0]
    slope, total, ahead = work[:d], work[d : 2 * d], work[2 * d : 3 * d]
    coarse, before = work[3 * d : 4 * d], work[4 * d :]
    for n in range(1, nodes.size):
        first, last = nodes[n - 1], nodes[n]
        h = times[last] - times[first]
        early = 0.5 * (h - coarse_lag[n - 1]) if h > 1.5 * coarse_lag[n - 1] else 0.0
        copy(v, ahead)
        copy(v, coarse)
        for stage in range(2):
            mirror(regularizer, ahead, thresholds[2 * (last if stage == 1 else first)], w)
            drift(problem, w, scratch, slope)
            move(coarse, early if stage == 1 else h - early, slope, coarse)
            if stage == 0 and integral.shape[0] > 0:
                for j in range(d):
                    integral[n - 1, j] = -ends[n - 1, 0] * w[j, 0]
            move(v, h, slope, ahead)
        for k in range(first, last):
            h, lag = times[k + 1] - times[k], lags[k]
            exact = h < 1.5 * lag
            copy(v, total)
            copy(v, ahead)
            for stage in range(1 if exact else 4):
                at = 2 * k + (stage + 1) // 2
                copy(ahead, before)
                for again in range(2 if lag > 0.0 and not exact else 1):
                    mirror(regularizer, before, back[at] if again == 1 else thresholds[at], w)
                    drift(problem, w, scratch, slope)
                    move(ahead, -0.5 * lag, slope, before)
                weight = 1.0 if exact else 1.0 / 6.0 if stage == 0 or stage == 3 else 1.0 / 3.0
                if integral.shape[0] > 0:
                    for j in range(d):
                        integral[n - 1, j] += weight * counts[k] * w[j, 0]
                move(total, weight * h, slope, total)
                move(v, h if stage == 2 else 0.5 * h, slope, ahead)
            copy(total, v)
        for j in range(d):
            defect[n - 1, j] = v[j, 0] - coarse[j, 0]
        if integral.shape[0] > 0:
            mirror(regularizer, v, thresholds[2 * last], w)
            for j in range(d):
                integral[n - 1, j] -= ends[n - 1, 1] * w[j, 0]


@compilable
def _fluctuation(u, slope, shift, kink):
    """``slope S(u - shift, kink)``."""
    moved = u - shift
    excess = abs(moved) - kink
    return slope * np.copysign(0.0 if excess <= 0.0 else excess, moved)  # a NaN stays one


@Kernel
def fluctuate(
    along: Any, table: Fluctuation, grid: Grid, sources: Source, states: State, span: Span, records: Record
) -> None:
    """The fluctuation limit ``dU = -H(w(t)) D_t(U) dt + noise_level Sigma(w(t))^(1/2) dB`` around the flow w(t).

    The scheme of `diffuse`, here O(h^2) for any noise level but for the kinks, as Sigma does not depend on U. The
    table of D_t is (time, d), `along` is the problem at times and middles of the grid in turn. The states are U and
    D_t(U).
    """
    for block in range(states.dual.shape[0]):
        source, state, record = _of_block(sources, states, records, block)
        u, mapped, work, _ = state
        streams, scratch = source
        d = u.shape[0]
        xi, first, second, spare = work[:d], work[d : 2 * d], work[2 * d : 3 * d], work[3 * d : 4 * d]
        flat, flat_xi, flat_mapped = one_row(u), one_row(xi), one_row(mapped)
        flat_first, flat_second = one_row(first), one_row(second)
        lanes = np.uint64(u.shape[1])
        k = 0
        for n in range(span.start + 1, span.stop + 1):
            h = grid.times[n] - grid.times[n - 1]
            spread = grid.noise_level * np.sqrt(h)
            hessian_along(along, 2 * n - 2, spare, mapped, scratch, first)
            noise_along(along, 2 * n - 1, spare, streams, scratch, xi)
            for j in range(d):
                a, b, c, row = table.slope[n, j], table.shift[n, j], table.kink[n, j], np.uint64(j) * lanes
                for lane in range(lanes):
                    i = row + lane
                    moved = fma(spread, flat_xi[i], flat[i])
                    flat[i] = moved
                    flat_mapped[i] = _fluctuation(fma(-h, flat_first[i], moved), a, b, c)
            hessian_along(along, 2 * n, spare, mapped, scratch, second)
            for j in range(d):
                a, b, c, row = table.slope[n, j], table.shift[n, j], table.kink[n, j], np.uint64(j) * lanes
                for lane in range(lanes):
                    i = row + lane
                    moved = fma(-0.5 * h, flat_first[i] + flat_second[i], flat[i])
                    flat[i] = moved
                    flat_mapped[i] = _fluctuation(moved, a, b, c)
            if k < record.steps.size and record.steps[k] == n:
                keep(state, record, k)
                k += 1


@Kernel
def lane_moments(states: Floats, count: int, mean: Floats, squares: Floats, zeros: Floats) -> None:
    """Over the first `count` lanes of `states` (time, coordinate, lanes): mean, sum of squared deviations, zeros."""
    for k in range(states.shape[0]):
        for j in range(states.shape[1]):
            total = 0.0
            exact = 0
            for lane in range(count):
                total += states[k, j, lane]
                exact += states[k, j, lane] == 0.0
            centre = total / count
            second = 0.0
            for lane in range(count):
                deviation = states[k, j, lane] - centre
                second += deviation * deviation
            mean[k, j] = centre
            squares[k, j] = second
            zeros[k, j] = exact
