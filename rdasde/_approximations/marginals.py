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

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable
from rdasde._normal import normal_cdf
from rdasde._regularizers.base import Regularizer, mirror

SCORES = np.linspace(-3.5, 3.5, 15)  # normal scores at which quantiles are kept
_LEVELS = normal_cdf(SCORES)
_CELLS, _REACH = 130, 6.5  # of the density, in standard deviations
_WIDTH = 2.0 * _REACH / _CELLS
_FINE = 6  # points in a cell, for integrals with the mirror map's kinks
_LONGER, _LONGEST = 4, 16 * _CELLS  # by how much a grid grows, and cells at most
_RIM, _LEAK, _CUT = 5, 1e-5, 1e-4  # cells at each end, the mass in them at which it does, and that is noticeable
_SELDOM = 3  # steps after which they are read off
_TOGETHER = 256  # coordinates worked on at once
_GAUSSIAN = 0.98  # a coordinate whose mean slope never falls below this stays Gaussian


class Trace(NamedTuple):
    """What the closure leaves behind along its way: (time, coordinate)."""

    times: Floats  # (time,)
    mean: Floats
    variance: Floats
    slope: Floats  # E prox'
    pull: Floats  # k
    noise: Floats  # gamma E Sigma_jj


class Marginals(NamedTuple):
    """Of the closure at recorded times, (time, coordinate)."""

    times: Floats
    mean: Floats
    variance: Floats


class Shape(NamedTuple):
    """What a law is less a Gaussian of the closure's mean and variance: by (time, coordinate), in units of its std."""

    dual_mean: Floats
    dual_std: Floats
    primal_mean: Floats
    primal_std: Floats
    probability_zero: Floats  # a difference of probabilities
    dual_quantile: Floats  # (time, score, coordinate)


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
    rows: Floats  # (10, coordinate)

    @staticmethod
    def of(density: Floats) -> Elimination:
        """Room enough for a density (cell, coordinate)."""
        return Elimination(np.empty_like(density), np.empty_like(density), np.empty((10, density.shape[1])))


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


@Kernel
def _implicit_step(density: Floats, mapped: Floats, drift: Drift, dt: float, width: float, room: Elimination) -> None:
    """One implicit Euler step: `density` (cell, coordinate), `mapped` (edge, coordinate).

    Nothing flows through the outermost edges. Loops over coordinates are short and of few arrays, each a row of its
    own: then compilers see that they can be vectorized.
    """
    pull, rest, diffusion = drift
    upper, diagonal, rows = room
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
        row, here, above = density[i], diagonal[i], upper[i]
        if i < cells - 1:
            x = (i + 1 - 0.5 * cells) * width
            _flows(level, rate, slope, mapped[i + 1], x, factor, leftwards, rightwards)
        else:
            leftwards[:], rightwards[:] = 0.0, 0.0
        before, pivot = density[max(i - 1, 0)], diagonal[max(i - 1, 0)]
        for j in range(n):
            share = from_left[j] / pivot[j] if i > 0 else 0.0
            row[j] += share * before[j]
            here[j] = 1.0 + rightwards[j] + to_left[j] - share * to_left[j]
        for j in range(n):
            from_left[j], to_left[j] = rightwards[j], leftwards[j]
        for j in range(n):
            above[j] = leftwards[j]
    row, here = density[cells - 1], diagonal[cells - 1]
    for j in range(n):
        row[j] /= here[j]
    for i in range(cells - 2, -1, -1):
        row, after, above, here = density[i], density[i + 1], upper[i], diagonal[i]
        for j in range(n):
            row[j] = (row[j] + above[j] * after[j]) / here[j]


@Kernel
def _read_off(
    density: Floats, width: float, location: Location, points: Points, levels: Floats, moments: Floats, quantile: Floats
) -> None:
    """Means, deviations, P(W = 0) into `moments` (5, coordinate), dual quantiles into `quantile` (level, coordinate).

    Those of the dual in units of `location`. The points divide each cell evenly.
    """
    std = location.std
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
        moments[1, j] = np.sqrt(max(moments[1, j] - moments[0, j] * moments[0, j], 0.0))
        moments[3, j] = np.sqrt(max(moments[3, j] - moments[2, j] * moments[2, j], 0.0)) / std[j]
        below, cell = 0.0, 0
        for k in range(levels.size):
            while cell < cells - 1 and below + density[cell, j] * width < levels[k]:
                below += density[cell, j] * width
                cell += 1
            inside = density[cell, j] * width
            share = (levels[k] - below) / inside if inside > 0.0 else 0.0
            quantile[k, j] = width * (cell - 0.5 * cells + min(share, 1.0))


def marginal_shapes(
    regularizer: Regularizer,
    trace: Trace,
    marginals: Marginals,
    threshold: Callable[[Floats], Floats],
    coordinates: NDArray[np.int64],
) -> tuple[dict[str, Floats], int]:
    """The laws of some coordinates at recorded times: moments (time, coordinate), quantiles (score, time, coordinate).

    And of how many the tails are cut off. Gaussian, but for those that the mirror map keeps from being so: what they
    differ by is found along the trace, from its second time on, and is interpolated. A recorded time never moves a
    step: a result does not depend on which others are recorded.
    """
    times = marginals.times
    mean, std = marginals.mean, np.sqrt(np.maximum(marginals.variance, 0.0))
    mapped = regularizer.gaussian_moments(mean, std, threshold(times)[:, None])
    whole = (mean, std, mapped.mean, np.sqrt(mapped.variance), mapped.zero)
    mean, std, primal_mean, primal_std, zero = (np.ascontiguousarray(values[:, coordinates]) for values in whole)
    quantile = mean + SCORES[:, None, None] * std
    later = slice(1, None)  # at t = 0 nothing has spread yet
    after = np.flatnonzero(times >= trace.times[1]) if len(trace.times) > 2 else np.zeros(0, dtype=np.int64)
    spread = np.minimum(trace.variance, trace.noise)[later].min(axis=0, initial=np.inf) > 0.0
    straight = trace.slope[later].min(axis=0, initial=1.0) >= _GAUSSIAN
    places = np.flatnonzero((spread & ~straight)[coordinates])
    cut = 0
    for part in (places[i : i + _TOGETHER] for i in range(0, len(places) if after.size else 0, _TOGETHER)):
        cells = _CELLS
        while part.size:
            at, shape, rim = _shape(regularizer, trace, threshold, coordinates[part], cells)
            settled = (rim <= _LEAK) | (cells == _LONGEST)
            cut += int(np.count_nonzero(settled & (rim > _CUT)))
            here = np.ix_(after, part[settled])
            d_mean, d_std, d_primal_mean, d_primal_std, d_zero, d_quantile = (
                _interpolated(times[after], at, values[..., settled]) for values in shape
            )
            unit = std[here]
            quantile[:, here[0], here[1]] = np.moveaxis(mean[here][:, None] + unit[:, None] * d_quantile, 1, 0)
            mean[here] += unit * d_mean
            std[here] *= np.maximum(1.0 + d_std, 0.0)
            primal_mean[here] += unit * d_primal_mean
            primal_std[here] = np.maximum(primal_std[here] + unit * d_primal_std, 0.0)
            zero[here] = np.clip(zero[here] + d_zero, 0.0, 1.0)
            part, cells = part[~settled], cells * _LONGER
    law = {
        "dual_mean": mean,
        "dual_std": std,
        "primal_mean": primal_mean,
        "primal_std": primal_std,
        "probability_zero": zero,
        "dual_quantile": quantile,
    }
    return law, cut


def _shape(
    regularizer: Regularizer, trace: Trace, threshold: Callable[[Floats], Floats], bent: NDArray[np.int64], cells: int
) -> tuple[Floats, Shape, Floats]:
    """At some times of the trace, of the coordinates `bent`, on so many cells; and the largest mass at their edges."""
    count = regularizer.span(1)  # of coordinates that the map wants: the first, or all
    times, mean, variance, slope, pull, noise = Trace(trace.times[1:], *(values[1:] for values in trace[1:]))
    levels, std = threshold(times), np.sqrt(np.maximum(variance, 0.0))
    rows, own = (bent, np.arange(len(bent))) if count == 1 else (np.arange(mean.shape[1]), bent)
    diffusion = (0.5 * noise / np.where(variance > 0.0, variance, 1.0))[:, bent]
    rest = diffusion - (pull * slope)[:, bent]
    pull = pull[:, bent] / std[:, bent]
    gaussian = regularizer.gaussian_moments(mean, std, levels[:, None])
    edge = np.linspace(-0.5 * cells * _WIDTH, 0.5 * cells * _WIDTH, cells + 1)
    fine = (edge[:-1, None] + np.linspace(0.5, _FINE - 0.5, _FINE) * (_WIDTH / _FINE)).ravel()
    density = np.repeat(np.exp(-0.5 * (edge[:-1] + 0.5 * _WIDTH) ** 2)[:, None], len(bent), axis=1)
    density /= density.sum(axis=0) * _WIDTH
    edges, points = _points(edge, len(rows), len(bent)), _points(fine, len(rows), len(bent))
    room = Elimination.of(density)
    read = np.unique(np.r_[0 : len(times) : _SELDOM, len(times) - 1])
    moments, quantile = np.zeros((len(read), 5, len(bent))), np.zeros((len(read), len(SCORES), len(bent)))
    quantile[0] = SCORES[:, None]
    rim = np.zeros(len(bent))
    k = 1
    for n in range(1, len(times)):
        here = Location(mean[n, rows], std[n, rows])
        _map_points(regularizer.parameters, here, levels[n], edges, own)
        drift = Drift(pull[n], rest[n], diffusion[n])
        _implicit_step(density, edges.mapped, drift, times[n] - times[n - 1], _WIDTH, room)
        np.maximum(rim, (density[:_RIM].sum(axis=0) + density[-_RIM:].sum(axis=0)) * _WIDTH, out=rim)
        if n == read[k]:
            _map_points(regularizer.parameters, here, levels[n], points, own)
            _read_off(density, _WIDTH, Location(mean[n, bent], std[n, bent]), points, _LEVELS, moments[k], quantile[k])
            unit = std[n, bent]
            moments[k, 1] -= 1.0
            moments[k, 2] = (moments[k, 2] - gaussian.mean[n, bent]) / unit
            moments[k, 3] -= np.sqrt(gaussian.variance[n, bent]) / unit
            moments[k, 4] -= gaussian.zero[n, bent]
            k += 1
    dual_mean, dual_std, primal_mean, primal_std, zero = np.moveaxis(moments, 1, 0)
    return times[read], Shape(dual_mean, dual_std, primal_mean, primal_std, zero, quantile), rim


def _points(x: Floats, rows: int, bent: int) -> Points:
    return Points(x, np.empty((rows, len(x))), np.empty((rows, len(x))), np.empty((len(x), bent)))


def _interpolated(at: Floats, times: Floats, values: Floats) -> Floats:
    """Linear interpolation in time of `values` (time, ...)."""
    right = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    weight = (at - times[right - 1]) / (times[right] - times[right - 1])
    weight = weight.reshape(-1, *(1,) * (values.ndim - 1))
    return (1.0 - weight) * values[right - 1] + weight * values[right]
