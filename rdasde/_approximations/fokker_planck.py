"""One Fokker-Planck equation for each coordinate, by finite volumes, along the way of a mean and a deviation.

In ``x = (v - m_j) / s_j``, with ``w = prox(m + s x)``, the density solves

    dp/dt = d/dx [(pull (w - E w) + rest (x - E x)) p] + diffusion d2p/dx2,

both terms of the drift centred by the density's own means. The flux is the exponentially fitted one of Scharfetter &
Gummel (IEEE Trans. Electron Devices 16, 1969), which keeps p positive; in time it is implicit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable
from rdasde._regularizers.base import mirror


class Points(NamedTuple):
    """Where the mirror map is looked at, in standard deviations around the mean, and what it makes of them."""

    x: Floats  # (x,)
    dual: Floats  # (coordinate, x)
    primal: Floats  # (coordinate, x)
    mapped: Floats  # (x, bent)


class Drift(NamedTuple):
    """At a place x: ``-(pull (mapped - its mean) + rest (x - its mean))``, by coordinate."""

    pull: Floats
    rest: Floats
    diffusion: Floats


class Way(NamedTuple):
    """Where the coordinates are, time by time; mean and std of all that the mirror map wants to see."""

    times: Floats  # (time,)
    threshold: Floats  # (time,)
    mean: Floats  # (time, coordinate)
    std: Floats  # (time, coordinate)
    drift: Drift  # of the coordinates that are followed, (time, coordinate)


class Grid(NamedTuple):
    """Of all densities, in standard deviations."""

    width: float  # of a cell
    rim: int  # cells at each end
    edges: Points
    fine: Points


class Readings(NamedTuple):
    """What is read off, at some times."""

    at: NDArray[np.int64]  # which, (reading,)
    levels: Floats  # of quantiles
    moments: Floats  # (reading, 5, coordinate)
    quantile: Floats  # (reading, level, coordinate)
    rim: Floats  # the largest mass in the cells at the ends so far, (coordinate,)


class Elimination(NamedTuple):
    """What solving a tridiagonal system for each coordinate works in."""

    upper: Floats  # (cell, coordinate)
    inverse: Floats  # of the diagonal, (cell, coordinate)
    rows: Floats  # (10, coordinate)

    @staticmethod
    def of(density: Floats) -> Elimination:
        """Room enough for a density (cell, coordinate)."""
        return Elimination(np.empty_like(density), np.empty_like(density), np.empty((10, density.shape[1])))


@compilable
def _map_points(
    regularizer: Any, mean: Floats, std: Floats, threshold: float, points: Points, bent: NDArray[np.int64]
) -> None:
    """prox(mean + std x) of the coordinates `bent` into ``points.mapped``."""
    x, v, w, out = points
    for j in range(v.shape[0]):
        for i in range(x.size):
            v[j, i] = mean[j] + std[j] * x[i]
    mirror(regularizer, v, threshold, w)
    for k in range(bent.size):
        for i in range(x.size):
            out[i, k] = w[bent[k], i]


@compilable
def _flows(
    level: Floats,
    rate: Floats,
    slope: Floats,
    mapped: Floats,
    x: float,
    factor: Floats,
    leftwards: Floats,
    rightwards: Floats,
) -> None:
    """Through an edge at x, per density in the cell that they come from, by coordinate."""
    for j in range(level.size):
        # Bernoulli's function w / (e^w - 1) from the reciprocal of a truncated series: positive, and to 1e-4 where
        # cells are as short as most (|w| < 1)
        w = level[j] - rate[j] * mapped[j] - slope[j] * x
        a = abs(w)
        small = 1.0 / (1.0 + a * (1 / 2 + a * (1 / 6 + a * (1 / 24 + a * (1 / 120 + a * (1 / 720))))))
        leftwards[j] = factor[j] * (small + max(-w, 0.0))
        rightwards[j] = factor[j] * (small + max(w, 0.0))


@compilable
def implicit_step(density: Floats, mapped: Floats, drift: Drift, dt: float, width: float, room: Elimination) -> None:
    """One implicit Euler step: `density` (cell, coordinate), `mapped` (edge, coordinate).

    Nothing flows through the outermost edges. Loops over coordinates are short and of few arrays, each a row of its
    own: then compilers see that they can be vectorized.
    """
    pull, rest, diffusion = drift
    upper, inverse, rows = room
    cells, n = density.shape
    rows[:] = 0.0
    centre, mean, level, rate, slope, factor = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    leftwards, rightwards, from_left, to_left = rows[6], rows[7], rows[8], rows[9]
    for i in range(cells):
        row, left, right, x = density[i], mapped[i], mapped[i + 1], (i + 0.5 - 0.5 * cells) * width
        for j in range(n):
            centre[j] += 0.5 * width * row[j] * (left[j] + right[j])
        for j in range(n):
            mean[j] += width * row[j] * x
    for j in range(n):
        unit = width / diffusion[j]
        rate[j], slope[j] = pull[j] * unit, rest[j] * unit
        level[j] = rate[j] * centre[j] + slope[j] * mean[j]
        factor[j] = dt * diffusion[j] / (width * width)
    for i in range(cells):
        row, here, above = density[i], inverse[i], upper[i]
        if i < cells - 1:
            x = (i + 1 - 0.5 * cells) * width
            _flows(level, rate, slope, mapped[i + 1], x, factor, leftwards, rightwards)
        else:
            leftwards[:], rightwards[:] = 0.0, 0.0
        before, pivot = density[max(i - 1, 0)], inverse[max(i - 1, 0)]
        for j in range(n):
            share = from_left[j] * pivot[j] if i > 0 else 0.0
            row[j] += share * before[j]
            here[j] = 1.0 / (1.0 + rightwards[j] + to_left[j] - share * to_left[j])
        for j in range(n):
            from_left[j], to_left[j] = rightwards[j], leftwards[j]
        for j in range(n):
            above[j] = leftwards[j]
    row, here = density[cells - 1], inverse[cells - 1]
    for j in range(n):
        row[j] *= here[j]
    for i in range(cells - 2, -1, -1):
        row, after, above, here = density[i], density[i + 1], upper[i], inverse[i]
        for j in range(n):
            row[j] = (row[j] + above[j] * after[j]) * here[j]


@compilable
def _further(mapped: Floats, inside: int, outside: int, j: int) -> float:
    """How far what is mapped to 0 goes past the middle between the last point that is and the first that is not.

    In units of their distance: to where the line through the first two that are not is 0, unless the map jumps.
    """
    beyond = 2 * outside - inside
    if beyond < 0 or beyond >= mapped.shape[0]:
        return 0.0
    first, slope = abs(mapped[outside, j]), abs(mapped[beyond, j] - mapped[outside, j])
    return 0.5 - first / slope if first <= slope else 0.0


@compilable
def _read_off(
    density: Floats, width: float, std: Floats, points: Points, levels: Floats, moments: Floats, quantile: Floats
) -> None:
    """Means, deviations, P(W = 0) into `moments` (5, coordinate), dual quantiles into `quantile` (level, coordinate).

    Those of the dual around its mean, in units of `std`, by which the deviation of the primal is divided, too. The
    points divide each cell evenly.
    """
    x, _, _, mapped = points
    cells, n = density.shape
    fine = x.size // cells
    moments[:] = 0.0
    dual, dual_square, primal, primal_square, zero = moments[0], moments[1], moments[2], moments[3], moments[4]
    for cell in range(cells):
        points_here = x[cell * fine : (cell + 1) * fine]
        centre, square, row = points_here.mean(), (points_here * points_here).mean(), density[cell]
        for j in range(n):
            dual[j] += width * centre * row[j]
            dual_square[j] += width * square * row[j]
        for i in range(cell * fine, (cell + 1) * fine):
            w = mapped[i]
            for j in range(n):
                primal[j] += width / fine * row[j] * w[j]
            for j in range(n):
                primal_square[j] += width / fine * row[j] * w[j] * w[j]
            for j in range(n):
                zero[j] += width / fine * row[j] if w[j] == 0.0 else 0.0
    for i in range(x.size - 1):
        w, after = mapped[i], mapped[i + 1]
        for j in range(n):
            if (w[j] == 0.0) != (after[j] == 0.0):
                inside, outside = (i, i + 1) if w[j] == 0.0 else (i + 1, i)
                further = _further(mapped, inside, outside, j)
                cell = (outside if further > 0.0 else inside) // fine
                zero[j] += width / fine * density[cell, j] * further
    for j in range(n):
        dual_square[j] = np.sqrt(max(dual_square[j] - dual[j] * dual[j], 0.0))
        primal_square[j] = np.sqrt(max(primal_square[j] - primal[j] * primal[j], 0.0)) / std[j]
        below, cell = 0.0, 0
        for k in range(levels.size):
            while cell < cells - 1 and below + density[cell, j] * width < levels[k]:
                below += density[cell, j] * width
                cell += 1
            inside = density[cell, j] * width
            share = (levels[k] - below) / inside if inside > 0.0 else 0.0
            quantile[k, j] = width * (cell - 0.5 * cells + min(share, 1.0))


@Kernel
def follow(
    regularizer: Any,
    way: Way,
    followed: NDArray[np.int64],
    grid: Grid,
    density: Floats,
    room: Elimination,
    readings: Readings,
) -> None:
    """The densities (cell, coordinate) of the coordinates `followed` along the way, from its first time on."""
    times, threshold, mean, std, drift = way
    width, rim, edges, fine = grid
    unit = np.empty(followed.size)
    next_reading = 1
    for n in range(1, times.size):
        _map_points(regularizer, mean[n], std[n], threshold[n], edges, followed)
        here = Drift(drift.pull[n], drift.rest[n], drift.diffusion[n])
        implicit_step(density, edges.mapped, here, times[n] - times[n - 1], width, room)
        for j in range(followed.size):
            outside = 0.0
            for i in range(rim):
                outside += density[i, j] + density[density.shape[0] - 1 - i, j]
            readings.rim[j] = max(readings.rim[j], outside * width)
        if n == readings.at[next_reading]:
            _map_points(regularizer, mean[n], std[n], threshold[n], fine, followed)
            for j in range(followed.size):
                unit[j] = std[n, followed[j]]
            moments, quantile = readings.moments[next_reading], readings.quantile[next_reading]
            _read_off(density, width, unit, fine, readings.levels, moments, quantile)
            next_reading += 1
