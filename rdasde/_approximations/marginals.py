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

It is solved by finite volumes (`fokker_planck`).

Where the closure's variance falls while part of the mass lies inside the threshold, that part does not move and the
unit s of x shrinks under it, so that tails grow out of any fixed grid. A coordinate with mass at the edge of its grid
is solved again on one several times as long, and counted as cut off if it reaches the edge of the longest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._approximations.fokker_planck import Drift, Elimination, Grid, Points, Readings, Way, follow
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._normal import normal_cdf
from rdasde._regularizers.base import Regularizer

SCORES = np.linspace(-3.5, 3.5, 15)  # normal scores at which quantiles are kept
_LEVELS = normal_cdf(SCORES)
_CELLS, _REACH = 130, 6.5  # of the density, in standard deviations
_WIDTH = 2.0 * _REACH / _CELLS
_FINE = 3  # points in a cell, for integrals with the mirror map's kinks
_LONGER, _LONGEST = 2, 16 * _CELLS  # by how much a grid grows, and cells at most
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
            between = _between(times[after], at)
            d_mean, d_std, d_primal_mean, d_primal_std, d_zero = (
                _interpolated(between, values[:, settled]) for values in shape[:-1]
            )
            unit = std[here]
            to = Places(after, part[settled], np.flatnonzero(settled))
            _spread_quantiles(mean, std, shape.dual_quantile, between, to, quantile)
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
    diffusion = 0.5 * noise / np.where(variance > 0.0, variance, 1.0)
    drift = Drift(*(np.ascontiguousarray(x[:, bent]) for x in (pull / std, diffusion - pull * slope, diffusion)))
    edge = np.linspace(-0.5 * cells * _WIDTH, 0.5 * cells * _WIDTH, cells + 1)
    fine = (edge[:-1, None] + np.linspace(0.5, _FINE - 0.5, _FINE) * (_WIDTH / _FINE)).ravel()
    density = np.repeat(np.exp(-0.5 * (edge[:-1] + 0.5 * _WIDTH) ** 2)[:, None], len(bent), axis=1)
    density /= density.sum(axis=0) * _WIDTH
    grid = Grid(_WIDTH, _RIM, *(_points(x, len(rows), len(bent)) for x in (edge, fine)))
    at = np.unique(np.r_[0 : len(times) : _SELDOM, len(times) - 1])
    readings = Readings(
        np.append(at, -1),
        _LEVELS,
        np.zeros((len(at), 5, len(bent))),
        np.zeros((len(at), len(SCORES), len(bent))),
        np.zeros(len(bent)),
    )
    way = Way(times, levels, np.ascontiguousarray(mean[:, rows]), np.ascontiguousarray(std[:, rows]), drift)
    follow(regularizer.parameters, way, own, grid, density, Elimination.of(density), readings)
    gaussian, unit = regularizer.gaussian_moments(mean[at], std[at], levels[at, None]), std[np.ix_(at, bent)]
    dual_mean, dual_std, primal_mean, primal_std, zero = np.moveaxis(readings.moments, 1, 0)
    later = slice(1, None)  # the first of them is Gaussian
    dual_std[later] -= 1.0
    primal_mean[later] = ((primal_mean - gaussian.mean[:, bent]) / unit)[later]
    primal_std[later] -= (np.sqrt(gaussian.variance[:, bent]) / unit)[later]
    zero[later] -= gaussian.zero[later][:, bent]
    readings.quantile[0] = SCORES[:, None]
    return times[at], Shape(dual_mean, dual_std, primal_mean, primal_std, zero, readings.quantile), readings.rim


def _points(x: Floats, rows: int, bent: int) -> Points:
    return Points(x, np.empty((rows, len(x))), np.empty((rows, len(x))), np.empty((len(x), bent)))


class Between(NamedTuple):
    """Where times lie among others: before which, and how far on the way there."""

    right: NDArray[np.int64]
    weight: Floats


class Places(NamedTuple):
    """Which times and coordinates of a law are told by which of those that were followed."""

    times: NDArray[np.int64]
    coordinates: NDArray[np.int64]
    followed: NDArray[np.int64]


def _between(at: Floats, times: Floats) -> Between:
    right = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    return Between(right, (at - times[right - 1]) / (times[right] - times[right - 1]))


def _interpolated(between: Between, values: Floats) -> Floats:
    """Linear interpolation in time of `values` (time, coordinate)."""
    right, weight = between.right, between.weight[:, None]
    return (1.0 - weight) * values[right - 1] + weight * values[right]


@Kernel
def _spread_quantiles(mean: Floats, std: Floats, shape: Floats, between: Between, to: Places, out: Floats) -> None:
    """``mean + std x`` into `out` (score, time, coordinate), x interpolated from `shape` (time, score, followed)."""
    for a in range(to.times.size):
        n, right, weight = to.times[a], between.right[a], between.weight[a]
        for score in range(shape.shape[1]):
            before, after = shape[right - 1, score], shape[right, score]
            for b in range(to.coordinates.size):
                j, k = to.coordinates[b], to.followed[b]
                out[score, n, j] = mean[n, j] + std[n, j] * ((1.0 - weight) * before[k] + weight * after[k])
