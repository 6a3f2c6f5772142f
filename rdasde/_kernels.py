"""The compiled loops: the discrete algorithm, the dual diffusion, the fluctuation limit, and moments over lanes.

Each works on a block of replicates in lanes, `v` and `w` of shape (d, lanes), and is composed with a problem and a
regularizer through the types of their parameters. Everything is elementwise over lanes, except `lane_moments`.
"""

from __future__ import annotations

import numpy as np

from rdasde._jit import Kernel, compilable, fma
from rdasde._problem import add_gradient, drift, hessian_product, noise
from rdasde._regularizer import mirror


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
    flat, flat_gradient = v.reshape(-1), gradient.reshape(-1)
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


@Kernel
def diffuse(
    problem,
    regularizer,
    thresholds,
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
    coordinates,
    dual,
    primal,
):
    """The dual diffusion on the grid `times`: the trapezoidal rule in the drift, noise frozen over a step.

    ``dV = -G(W) dt + noise_level Sigma(W)^(1/2) dB``, ``W = prox(V, g(t))``. For small noise the weak error of this
    scheme is O(h^2 + noise_level^2 h) (Milstein & Tretyakov, SIAM J. Sci. Comput. 18, 1997). `work` (4 d, lanes).
    """
    d = v.shape[0]
    xi, slope, ahead, slope_ahead = work[:d], work[d : 2 * d], work[2 * d : 3 * d], work[3 * d :]
    k = 0
    for n in range(start + 1, stop + 1):
        h = times[n] - times[n - 1]
        spread = noise_level * np.sqrt(h)
        noise(problem, w, streams, scratch, xi)
        drift(problem, w, slope)
        for j in range(d):
            for lane in range(v.shape[1]):
                v[j, lane] = fma(spread, xi[j, lane], v[j, lane])
                ahead[j, lane] = fma(-h, slope[j, lane], v[j, lane])
        mirror(regularizer, ahead, thresholds[n], w)
        drift(problem, w, slope_ahead)
        for j in range(d):
            for lane in range(v.shape[1]):
                v[j, lane] = fma(-0.5 * h, slope[j, lane] + slope_ahead[j, lane], v[j, lane])
        mirror(regularizer, v, thresholds[n], w)
        if k < steps.size and steps[k] == n:
            _record(v, w, coordinates, dual[k], primal[k])
            k += 1


@compilable
def _fluctuation_map(u, slope, shift, kink, out):
    """``slope S(u - shift, kink)``, coordinate by coordinate."""
    for j in range(u.shape[0]):
        a, b, c = slope[j], shift[j], kink[j]
        for lane in range(u.shape[1]):
            moved = u[j, lane] - b
            excess = abs(moved) - c
            out[j, lane] = a * np.copysign(0.0 if excess <= 0.0 else excess, moved)


@Kernel
def fluctuate(
    problem,
    slope,
    shift,
    kink,
    flow,
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
    coordinates,
    dual,
    primal,
):
    """The fluctuation limit ``dU = -H(w(t)) D_t(U) dt + noise_level Sigma(w(t))^(1/2) dB`` around the flow w(t).

    Same scheme as `diffuse`; `slope`, `shift`, `kink` and `flow` are (time, d). Records U and D_t(U).
    """
    d, lanes = u.shape
    xi, first, ahead, second, here = work[:d], work[d : 2 * d], work[2 * d : 3 * d], work[3 * d : 4 * d], work[4 * d :]
    k = 0
    for n in range(start + 1, stop + 1):
        h = times[n] - times[n - 1]
        spread = noise_level * np.sqrt(h)
        for j in range(d):
            for lane in range(lanes):
                here[j, lane] = flow[n - 1, j]
        noise(problem, here, streams, scratch, xi)
        hessian_product(problem, here, mapped, first)
        for j in range(d):
            for lane in range(lanes):
                u[j, lane] = fma(spread, xi[j, lane], u[j, lane])
                ahead[j, lane] = fma(-h, first[j, lane], u[j, lane])
                here[j, lane] = flow[n, j]
        _fluctuation_map(ahead, slope[n], shift[n], kink[n], mapped)
        hessian_product(problem, here, mapped, second)
        for j in range(d):
            for lane in range(lanes):
                u[j, lane] = fma(-0.5 * h, first[j, lane] + second[j, lane], u[j, lane])
        _fluctuation_map(u, slope[n], shift[n], kink[n], mapped)
        if k < steps.size and steps[k] == n:
            _record(u, mapped, coordinates, dual[k], primal[k])
            k += 1


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
