"""The compiled loops: the discrete algorithm, the dual diffusion, the fluctuation limit, and moments over lanes.

Each works on a block of replicates in lanes, `v` and `w` of shape (d, lanes), and is composed with a problem and a
regularizer through the types of their parameters. Everything is elementwise over lanes, except `lane_moments`.
"""

from __future__ import annotations

import numpy as np

from rdasde._compiled.jit import Kernel, compilable, fma, one_row
from rdasde._compiled.random import LANES, block_streams
from rdasde._problems.base import add_gradient, drift, hessian_along, noise, noise_along
from rdasde._regularizers.base import mirror


@compilable
def _record(v, w, coordinates, dual, primal):
    for k in range(coordinates.size):
        j = coordinates[k]
        for lane in range(v.shape[1]):
            dual[k, lane] = v[j, lane]
            primal[k, lane] = w[j, lane]


@Kernel
def advance(
    problem,
    regularizer,
    thresholds,
    step_size,
    batch_size,
    streams,
    scratch,
    v,
    w,
    gradient,
    start,
    stop,
    steps,
    coordinates,
    dual,
    primal,
):
    """Steps start + 1, ..., stop of the algorithm; ``dual[k]``, ``primal[k]`` get the state after step ``steps[k]``.

    `gradient` (d, lanes) is scratch, zero on entry and on return.
    """
    rate = -step_size / batch_size
    flat, flat_gradient = one_row(v), one_row(gradient)
    k = 0
    for n in range(start + 1, stop + 1):
        for _ in range(batch_size):
            add_gradient(problem, w, streams, scratch, gradient)
        for i in range(flat.size):
            flat[i] = fma(rate, flat_gradient[i], flat[i])
            flat_gradient[i] = 0.0
        mirror(regularizer, v, thresholds[n], w)
        if k < steps.size and steps[k] == n:
            _record(v, w, coordinates, dual[k], primal[k])
            k += 1


@compilable
def _move(v, step, slope, out):
    """``out = v - step slope``, over lanes."""
    flat, flat_slope, target = one_row(v), one_row(slope), one_row(out)
    for i in range(flat.size):
        target[i] = fma(-step, flat_slope[i], flat[i])


@compilable
def _diffuse(
    problem,
    regularizer,
    thresholds,
    defect,
    feedback,
    times,
    noise_level,
    streams,
    scratch,
    v,
    w,
    work,
    start,
    stop,
    steps,
    dual,
    primal,
):
    """The dual diffusion on the grid `times`: the trapezoidal rule in the drift, noise as it is half a step ahead.

    ``dV = -G(W) dt + noise_level Sigma(W)^(1/2) dB``, ``W = prox(V, g(t))``. `thresholds` are at the times and middles
    of the grid in turn; `defect` (time, d) is what a step misses of the noiseless flow, from `follow`. For smooth
    coefficients every term of the weak expansion to second order in the step is met but those of fourth order in the
    noise level: the weak error is O(noise_level h^2 + noise_level^4 h) (Milstein & Tretyakov, SIAM J. Sci. Comput. 18,
    1997, on small noise). With `feedback` the noise is drawn in two halves, the second where the first and the drift
    have led: then the covariance meets its terms of fourth order too, and of these only a third of the coupling to the
    third moments is missed. `work` (4 d, lanes).
    """
    d = v.shape[0]
    xi, slope, ahead, slope_ahead = work[:d], work[d : 2 * d], work[2 * d : 3 * d], work[3 * d :]
    flat, flat_xi, flat_slope, flat_ahead = one_row(v), one_row(xi), one_row(slope), one_row(slope_ahead)
    half, lanes = np.sqrt(0.5), np.uint64(LANES)
    k = 0
    for n in range(start + 1, stop + 1):
        h = times[n] - times[n - 1]
        spread = noise_level * np.sqrt(h)
        drift(problem, w, slope)
        if feedback:
            noise(problem, w, streams, scratch, xi)
            _move(v, h, slope, ahead)
            _move(ahead, -spread, xi, ahead)
            mirror(regularizer, ahead, thresholds[2 * n], w)
            noise(problem, w, streams, scratch, slope_ahead)
            for i in range(flat.size):
                flat_xi[i] = half * (flat_xi[i] + flat_ahead[i])
        else:
            _move(v, 0.5 * h, slope, ahead)
            mirror(regularizer, ahead, thresholds[2 * n - 1], w)
            noise(problem, w, streams, scratch, xi)
        _move(v, -spread, xi, v)
        _move(v, h, slope, ahead)
        mirror(regularizer, ahead, thresholds[2 * n], w)
        drift(problem, w, slope_ahead)
        for j in range(d):
            missed, row = defect[n - 1, j], np.uint64(j) * lanes
            for lane in range(lanes):
                i = row + lane
                flat[i] = fma(-0.5 * h, flat_slope[i] + flat_ahead[i], flat[i]) + missed
        mirror(regularizer, v, thresholds[2 * n], w)
        if k < steps.size and steps[k] == n:
            dual[k] = v
            primal[k] = w
            k += 1


@Kernel
def diffuse(
    problem,
    regularizer,
    thresholds,
    defect,
    feedback,
    times,
    noise_level,
    streams,
    scratch,
    v,
    w,
    work,
    start,
    stop,
    steps,
    dual,
    primal,
):
    """`_diffuse` of blocks, one after the other, along the first axis of `v`, `w`, `dual`, `primal` and `streams`."""
    for block in range(v.shape[0]):
        _diffuse(
            problem,
            regularizer,
            thresholds,
            defect,
            feedback,
            times,
            noise_level,
            block_streams(streams, block),
            scratch,
            v[block],
            w[block],
            work,
            start,
            stop,
            steps,
            dual[block],
            primal[block],
        )


@Kernel
def follow(problem, regularizer, thresholds, times, nodes, v, w, work, defect):
    """The noiseless flow ``dv/dt = -G(prox(v, g(t)))``, and what one step of `_diffuse` without noise misses of it.

    `times` is a fine grid, stepped by the classical Runge-Kutta method; `thresholds` are at its times and middles in
    turn. ``nodes[n]`` is where node n of the grid of `_diffuse` stands in it; ``defect[n - 1]`` (d,) gets the flow at
    node n less a step of `_diffuse` from node n - 1. `work` (4 d, lanes).
    """
    d = v.shape[0]
    slope, total, ahead, coarse = work[:d], work[d : 2 * d], work[2 * d : 3 * d], work[3 * d :]
    for n in range(1, nodes.size):
        first, last = nodes[n - 1], nodes[n]
        h = times[last] - times[first]
        mirror(regularizer, v, thresholds[2 * first], w)
        drift(problem, w, slope)
        _move(v, h, slope, ahead)
        _move(v, 0.5 * h, slope, coarse)
        mirror(regularizer, ahead, thresholds[2 * last], w)
        drift(problem, w, slope)
        _move(coarse, 0.5 * h, slope, coarse)
        for k in range(first, last):
            h = times[k + 1] - times[k]
            mirror(regularizer, v, thresholds[2 * k], w)
            drift(problem, w, slope)
            _move(v, h / 6.0, slope, total)
            for stage in range(1, 4):
                _move(v, h if stage == 3 else 0.5 * h, slope, ahead)
                mirror(regularizer, ahead, thresholds[2 * k + (2 if stage == 3 else 1)], w)
                drift(problem, w, slope)
                _move(total, h / (6.0 if stage == 3 else 3.0), slope, total)
            v[:] = total
        for j in range(d):
            defect[n - 1, j] = v[j, 0] - coarse[j, 0]


@compilable
def _fluctuation(u, slope, shift, kink):
    """``slope S(u - shift, kink)``."""
    moved = u - shift
    excess = abs(moved) - kink
    return slope * np.copysign(0.0 if excess <= 0.0 else excess, moved)  # a NaN stays one


@compilable
def _fluctuate(
    along,
    slope,
    shift,
    kink,
    times,
    noise_level,
    streams,
    scratch,
    u,
    mapped,
    work,
    start,
    stop,
    steps,
    dual,
    primal,
):
    """The fluctuation limit ``dU = -H(w(t)) D_t(U) dt + noise_level Sigma(w(t))^(1/2) dB`` around the flow w(t).

    The scheme of `_diffuse`, here O(h^2) for any noise level but for the kinks, as Sigma does not depend on U. `slope`,
    `shift` and `kink` are (time, d), `along` is the problem at times and middles of the grid in turn. Records U and
    D_t(U). `work` (4 d, lanes).
    """
    d = u.shape[0]
    xi, first, second, spare = work[:d], work[d : 2 * d], work[2 * d : 3 * d], work[3 * d :]
    flat, flat_xi, flat_mapped = one_row(u), one_row(xi), one_row(mapped)
    flat_first, flat_second = one_row(first), one_row(second)
    lanes = np.uint64(u.shape[1])
    k = 0
    for n in range(start + 1, stop + 1):
        h = times[n] - times[n - 1]
        spread = noise_level * np.sqrt(h)
        hessian_along(along, 2 * n - 2, spare, mapped, first)
        noise_along(along, 2 * n - 1, spare, streams, scratch, xi)
        for j in range(d):
            a, b, c, row = slope[n, j], shift[n, j], kink[n, j], np.uint64(j) * lanes
            for lane in range(lanes):
                i = row + lane
                moved = fma(spread, flat_xi[i], flat[i])
                flat[i] = moved
                flat_mapped[i] = _fluctuation(fma(-h, flat_first[i], moved), a, b, c)
        hessian_along(along, 2 * n, spare, mapped, second)
        for j in range(d):
            a, b, c, row = slope[n, j], shift[n, j], kink[n, j], np.uint64(j) * lanes
            for lane in range(lanes):
                i = row + lane
                moved = fma(-0.5 * h, flat_first[i] + flat_second[i], flat[i])
                flat[i] = moved
                flat_mapped[i] = _fluctuation(moved, a, b, c)
        if k < steps.size and steps[k] == n:
            dual[k] = u
            primal[k] = mapped
            k += 1


@Kernel
def fluctuate(
    along,
    slope,
    shift,
    kink,
    times,
    noise_level,
    streams,
    scratch,
    u,
    mapped,
    work,
    start,
    stop,
    steps,
    dual,
    primal,
):
    """`_fluctuate` of blocks, like `diffuse`."""
    for block in range(u.shape[0]):
        _fluctuate(
            along,
            slope,
            shift,
            kink,
            times,
            noise_level,
            block_streams(streams, block),
            scratch,
            u[block],
            mapped[block],
            work,
            start,
            stop,
            steps,
            dual[block],
            primal[block],
        )


@Kernel
def lane_moments(states, count, mean, squares, zeros):
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
