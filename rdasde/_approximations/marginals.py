"""The shape of each coordinate's law in the dual, where it is not Gaussian: one Fokker-Planck equation a coordinate.

Inside the threshold nothing pulls a coordinate back, outside something does, so that its law is flatter than a normal
one of the same mean and variance. Given ``V_j = v``, the drift of the dual diffusion is taken to be
``-E G_j - k_j (prox(v) - E W_j) - b_j (v - m_j)``. What the coordinate does to itself is bent like prox, what the
others do to it is linear in v (Gaussian regression), except that a coordinate closely tied to j is bent in the same
way: in the Hermite expansion of ``E[prox(V_k) | V_j = v]`` the cubic term carries the cube of the correlation, so

    k_j = sum_k E H_jk corr(V_j, V_k)^3    (over coordinates no less bent than j; those less bent count in proportion)

and b_j makes up for the rest of the decay that the closure knows, so that a Gaussian keeps its variance. In
``x = (v - m_j) / s_j``, with p_j the mean slope of prox and ``D = gamma E Sigma_jj / (2 s^2)``, the density solves

    dp/dt = d/dx [((k_j / s) (prox(m + s x) - E W_j) + (D - k_j p_j) (x - E x)) p] + D d2p/dx2,

both terms of the drift centred by the density's own means: so that of x stays 0, also where ``D < k_j p_j``, that is
where the variance is above its equilibrium and falls.

It is solved by finite volumes with the exponentially fitted flux of
Scharfetter & Gummel (IEEE Trans. Electron Devices 16, 1969), which keeps p positive, implicitly in time.

Where the closure's variance falls while part of the mass lies inside the threshold, that part does not move and the
unit s of x shrinks under it, so that tails grow out of any fixed grid. A coordinate with mass at the edge of its grid
is solved again on one several times as long, and counted as cut off if it reaches the edge of the longest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._normal import normal_cdf
from rdasde._regularizers.base import Regularizer, mirror

SCORES = np.linspace(-3.5, 3.5, 15)  # normal scores at which quantiles are kept
_LEVELS = normal_cdf(SCORES)
_CELLS, _REACH = 130, 6.5  # of the density, in standard deviations
_WIDTH = 2.0 * _REACH / _CELLS
_EDGES = np.linspace(-_REACH, _REACH, _CELLS + 1)
_FINE = 6  # points in a cell, for integrals with the mirror map's kinks
_SUBSTEPS = 2  # implicit steps within one step of the closure
_LONGER, _LONGEST = 4, 16 * _CELLS  # by how much a grid grows, and cells at most
_RIM, _LEAK, _CUT = 5, 1e-5, 1e-4  # cells at each end, the mass in them at which it does, and that is noticeable
_GAUSSIAN = 0.98  # a coordinate whose mean slope never falls below this stays Gaussian


class Trace(NamedTuple):
    """What the closure leaves behind at its steps: the time, and by coordinate the rest."""

    times: Any  # a number, or (step,)
    mean: Floats
    variance: Floats
    slope: Floats  # E prox'
    pull: Floats  # k
    noise: Floats  # gamma E Sigma_jj


class Shape(NamedTuple):
    """By recorded time and coordinate; NaN where a coordinate is Gaussian."""

    dual_mean: Floats
    dual_std: Floats
    primal_mean: Floats
    primal_std: Floats
    probability_zero: Floats
    dual_quantile: Floats  # (score, time, coordinate)


class Course(NamedTuple):
    """What drives the densities, at their time steps."""

    at: Trace
    std: Floats  # (step, coordinate)
    levels: Floats  # (step,), thresholds


class Record(NamedTuple):
    """Where they are looked at, and what is seen there."""

    times: Floats
    mean: Floats  # (time, coordinate)
    std: Floats
    levels: Floats  # (time,)
    shape: Shape


class Points(NamedTuple):
    """Where the mirror map is looked at, in standard deviations around the mean, and what it makes of them."""

    x: Floats  # (x,)
    dual: Floats  # (coordinate, x)
    primal: Floats  # (coordinate, x)
    mapped: Floats  # (x, bent)


class Location(NamedTuple):
    """Mean and standard deviation of each coordinate."""

    mean: Floats
    std: Floats


class Drift(NamedTuple):
    """At a place x: ``-(pull (mapped - its mean) + rest (x - its mean))``, by coordinate."""

    pull: Floats
    rest: Floats
    diffusion: Floats


class Elimination(NamedTuple):
    """What solving a tridiagonal system for each coordinate works in."""

    upper: Floats  # (cell, coordinate)
    diagonal: Floats  # (cell, coordinate)
    rows: Floats  # (5, coordinate)


@Kernel
def _map_points(
    regularizer: Any, location: Location, threshold: float, points: Points, bent: NDArray[np.int64]
) -> None:
    """prox(mean + std x) of the coordinates `bent` into ``points.mapped``."""
    mean, std = location
    x, v, w, out = points
    for j in range(v.shape[0]):
        for i in range(x.size):
            v[j, i] = mean[j] + std[j] * x[i]
    mirror(regularizer, v, threshold, w)
    for k in range(bent.size):
        for i in range(x.size):
            out[i, k] = w[bent[k], i]


@Kernel
def _implicit_step(density: Floats, mapped: Floats, drift: Drift, dt: float, width: float, room: Elimination) -> None:
    """One implicit Euler step: `density` (cell, coordinate), `mapped` (edge, coordinate).

    Nothing flows through the outermost edges.
    """
    pull, rest, diffusion = drift
    upper, diagonal, rows = room
    cells, n = density.shape
    centre, from_left, to_left, before, mean = rows[0], rows[1], rows[2], rows[3], rows[4]
    rows[:] = 0.0
    for i in range(cells):
        for j in range(n):
            centre[j] += 0.5 * width * density[i, j] * (mapped[i, j] + mapped[i + 1, j])
            mean[j] += width * density[i, j] * (i + 0.5 - 0.5 * cells) * width
    for i in range(cells):
        x = (i + 1 - 0.5 * cells) * width
        inner = 1.0 if i < cells - 1 else 0.0
        for j in range(n):
            # Bernoulli's function w / (e^w - 1) from the reciprocal of a truncated series: positive, and to 1e-4 where
            # cells are as short as most (|w| < 1)
            w = -(pull[j] * (mapped[i + 1, j] - centre[j]) + rest[j] * (x - mean[j])) * width / diffusion[j]
            a = abs(w)
            small = 1.0 / (1.0 + a / 2.0 * (1.0 + a / 3.0 * (1.0 + a / 4.0 * (1.0 + a / 5.0 * (1.0 + a / 6.0)))))
            factor = inner * dt * diffusion[j] / (width * width)
            from_right = factor * (small + (a if w < 0.0 else 0.0))
            to_right = factor * (small + (a if w > 0.0 else 0.0))
            above = diagonal[i - 1, j] if i > 0 else 1.0
            share = from_left[j] / above
            if i > 0:
                density[i, j] += share * density[i - 1, j]
            diagonal[i, j] = 1.0 + to_right + to_left[j] - share * before[j]
            upper[i, j] = from_right
            from_left[j], to_left[j], before[j] = to_right, from_right, from_right
    for j in range(n):
        density[cells - 1, j] /= diagonal[cells - 1, j]
    for i in range(cells - 2, -1, -1):
        for j in range(n):
            density[i, j] = (density[i, j] + upper[i, j] * density[i + 1, j]) / diagonal[i, j]


@Kernel
def _read_off(
    density: Floats, width: float, location: Location, points: Points, levels: Floats, moments: Floats, quantile: Floats
) -> None:
    """Means, deviations, P(W = 0) into `moments` (5, coordinate), dual quantiles into `quantile` (level, coordinate).

    The points divide each cell evenly.
    """
    mean, std = location
    x, _, _, mapped = points
    cells, n = density.shape
    fine = x.size // cells
    moments[:] = 0.0
    for i in range(x.size):
        for j in range(n):
            mass = density[i // fine, j] * width / fine
            moments[0, j] += mass * x[i]
            moments[1, j] += mass * x[i] * x[i]
            moments[2, j] += mass * mapped[i, j]
            moments[3, j] += mass * mapped[i, j] * mapped[i, j]
            moments[4, j] += mass if mapped[i, j] == 0.0 else 0.0
    for j in range(n):
        moments[1, j] = std[j] * np.sqrt(max(moments[1, j] - moments[0, j] * moments[0, j], 0.0))
        moments[0, j] = mean[j] + std[j] * moments[0, j]
        moments[3, j] = np.sqrt(max(moments[3, j] - moments[2, j] * moments[2, j], 0.0))
        below, cell = 0.0, 0
        for k in range(levels.size):
            while cell < cells - 1 and below + density[cell, j] * width < levels[k]:
                below += density[cell, j] * width
                cell += 1
            inside = density[cell, j] * width
            share = (levels[k] - below) / inside if inside > 0.0 else 0.0
            quantile[k, j] = mean[j] + std[j] * width * (cell - 0.5 * cells + min(share, 1.0))


def marginal_shapes(
    regularizer: Regularizer,
    trace: Trace,
    times: Floats,
    mean: Floats,
    variance: Floats,
    threshold: Callable[[Floats], Floats],
) -> tuple[Shape, int]:
    """The laws at `times` of the coordinates that the mirror map keeps from being Gaussian, and how many are cut off.

    `mean` and `variance` (time, coordinate) are those of the closure at `times`.
    """
    d = mean.shape[1]
    shapes = [(len(times), d)] * 5 + [(len(SCORES), len(times), d)]
    shape = Shape(*(np.full(size, np.nan) for size in shapes))
    later = slice(1, None)  # at t = 0 nothing has spread yet
    if len(trace.times) < 3:
        return shape, 0
    spread = np.minimum(trace.variance, trace.noise)[later].min(axis=0) > 0.0
    bent = np.flatnonzero(spread & (trace.slope[later].min(axis=0) < _GAUSSIAN))
    if not bent.size:
        return shape, 0

    grid = np.concatenate(
        [trace.times[1:2], *(np.linspace(a, b, _SUBSTEPS + 1)[1:] for a, b in itertools.pairwise(trace.times[1:]))]
    )
    at = Trace(grid, *(_interpolated(grid, trace.times, values) for values in trace[1:]))
    course = Course(at, np.sqrt(np.maximum(at.variance, 0.0)), threshold(grid))
    record = Record(times, mean, np.sqrt(np.maximum(variance, 0.0)), threshold(times), shape)
    cells, leaking = _CELLS, bent
    while True:
        rim = _follow(regularizer, course, record, leaking, cells)
        if cells == _LONGEST or not np.any(rim > _LEAK):
            return shape, int(np.count_nonzero(rim > _CUT))
        cells, leaking = cells * _LONGER, leaking[rim > _LEAK]


def _follow(regularizer: Regularizer, course: Course, record: Record, bent: NDArray[np.int64], cells: int) -> Floats:
    """The laws of the coordinates `bent` on so many cells, into the record; the largest mass at the edge, of each."""
    at, std, levels = course
    d = std.shape[1]
    grid, times = at.times, record.times
    diffusion = (0.5 * at.noise / np.where(at.variance > 0.0, at.variance, 1.0))[:, bent]
    rest = diffusion - (at.pull * at.slope)[:, bent]
    pull = at.pull[:, bent] / std[:, bent]
    edge = np.linspace(-0.5 * cells * _WIDTH, 0.5 * cells * _WIDTH, cells + 1)
    within = np.linspace(0.5, _FINE - 0.5, _FINE) * (_WIDTH / _FINE)
    fine = (edge[:-1, None] + within).ravel()
    edges, points = _points(edge, d, len(bent)), _points(fine, d, len(bent))
    density = np.repeat(np.exp(-0.5 * (edge[:-1] + 0.5 * _WIDTH) ** 2)[:, None], len(bent), axis=1)
    density /= density.sum(axis=0) * _WIDTH
    before = density.copy()
    room = Elimination(np.empty_like(density), np.empty_like(density), np.empty((5, len(bent))))
    moments, quantile = np.empty((5, len(bent))), np.empty((len(SCORES), len(bent)))
    rim = np.zeros(len(bent))

    for n in range(1, len(grid)):
        before[:] = density
        dt = grid[n] - grid[n - 1]
        _map_points(regularizer.parameters, Location(at.mean[n], std[n]), levels[n], edges, bent)
        _implicit_step(density, edges.mapped, Drift(pull[n], rest[n], diffusion[n]), dt, _WIDTH, room)
        np.maximum(rim, (density[:_RIM].sum(axis=0) + density[-_RIM:].sum(axis=0)) * _WIDTH, out=rim)
        for k in np.flatnonzero((times > grid[n - 1]) & (times <= grid[n])):
            # a recorded time never moves a step: the result does not depend on which others are recorded
            now = before + (times[k] - grid[n - 1]) / dt * (density - before)
            here = Location(record.mean[k], record.std[k])
            _map_points(regularizer.parameters, here, record.levels[k], points, bent)
            location = Location(here.mean[bent], here.std[bent])
            _read_off(now, _WIDTH, location, points, _LEVELS, moments, quantile)
            for known, values in zip(record.shape[:5], moments, strict=True):
                known[k, bent] = values
            record.shape.dual_quantile[:, k, bent] = quantile
    return rim


def _points(x: Floats, d: int, bent: int) -> Points:
    return Points(x, np.empty((d, len(x))), np.empty((d, len(x))), np.empty((len(x), bent)))


def _interpolated(at: Floats, times: Floats, values: Floats) -> Floats:
    """Linear interpolation in time, column by column."""
    right = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    weight = ((at - times[right - 1]) / (times[right] - times[right - 1]))[:, None]
    return (1.0 - weight) * values[right - 1] + weight * values[right]
