"""A user's own problem in the compiled loops: its functions are called lane by lane."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.functions import call
from rdasde._compiled.jit import Kernel, fma, implements
from rdasde._compiled.lanes import add
from rdasde._compiled.random import Streams, block_streams, normals
from rdasde._compiled.scratch import Layout, Lines
from rdasde._problems.base import add_gradient, drift, hessian_product, noise

_BLOCK = 128  # pairs of states whose gradients are multiplied at once
_DRAWS = 32  # gradients that one noise vector is made of
_DIFFERENCE = float(np.cbrt(np.finfo(float).eps))  # step of central differences, in units of the point's size


class CustomStreams(NamedTuple):
    """The random streams of one block: a numpy Generator for each replicate, and normals in lanes."""

    generators: tuple[np.random.Generator, ...]  # LANES of them, the first `used` in use
    used: int
    lanes: Streams


class CustomParameters(NamedTuple):
    gradient: Any  # what `call` takes, of the user's function
    parameters: Any
    mean_gradient: Any  # likewise, or None


class CustomScratch(NamedTuple):
    normals: Floats  # (draws, lanes)
    point: Floats  # (d,), as all below: the user's functions know nothing of lanes
    sample: Floats
    ahead: Floats
    behind: Floats


def custom_layout(dimension: int) -> Layout:
    """The scratch of a problem of this dimension."""
    line = Lines(dimension)
    return Layout(CustomScratch, normals=_DRAWS, point=line, sample=line, ahead=line, behind=line)


@implements(add_gradient, CustomParameters)
def _(problem, w, streams, scratch, out):
    d = w.shape[0]
    point, sample = scratch.point, scratch.sample
    for lane in range(streams.used):
        for j in range(d):
            point[j] = w[j, lane]
            sample[j] = 0.0  # nothing of another replicate, whatever the function does
        call(problem.gradient, problem.parameters, point, streams.generators[lane], sample)
        for j in range(d):
            out[j, lane] += sample[j]


@implements(noise, CustomParameters)
def _(problem, w, streams, scratch, out):
    # (K - 1)^-1/2 sum_i (g_i - mean g) xi_i = (K - 1)^-1/2 sum_i g_i (xi_i - mean xi)
    d = w.shape[0]
    xi, point, sample = scratch.normals, scratch.point, scratch.sample
    normals(streams.lanes, xi)
    out[:] = 0.0
    for lane in range(streams.used):
        centre = 0.0
        for i in range(_DRAWS):
            centre += xi[i, lane] / _DRAWS
        for j in range(d):
            point[j] = w[j, lane]
        for i in range(_DRAWS):
            sample[:] = 0.0
            call(problem.gradient, problem.parameters, point, streams.generators[lane], sample)
            weight = (xi[i, lane] - centre) / np.sqrt(_DRAWS - 1.0)
            for j in range(d):
                out[j, lane] = fma(weight, sample[j], out[j, lane])


@implements(block_streams, CustomStreams)
def _(streams, block):
    return streams  # of one block only


@implements(drift, CustomParameters)
def _(problem, w, scratch, out):
    d = w.shape[0]
    point = scratch.point
    for lane in range(w.shape[1]):
        for j in range(d):
            point[j] = w[j, lane]
        slope = call(problem.mean_gradient, problem.parameters, point)
        for j in range(d):
            out[j, lane] = slope[j]


@implements(hessian_product, CustomParameters)
def _(problem, w, u, scratch, out):
    # central differences of the mean gradient along u
    d = w.shape[0]
    ahead, behind = scratch.ahead, scratch.behind
    for lane in range(w.shape[1]):
        size, length = 1.0, 0.0
        for j in range(d):
            size = max(size, abs(w[j, lane]))
            length = max(length, abs(u[j, lane]))
        h = _DIFFERENCE * size / length if length > 0.0 else 1.0
        for j in range(d):
            ahead[j], behind[j] = w[j, lane] + h * u[j, lane], w[j, lane] - h * u[j, lane]
        right = call(problem.mean_gradient, problem.parameters, ahead)
        left = call(problem.mean_gradient, problem.parameters, behind)
        for j in range(d):
            out[j, lane] = (right[j] - left[j]) / (2.0 * h)


@Kernel
def moments(
    gradient: Any,
    parameters: Any,
    generator: np.random.Generator,
    w: Floats,
    samples: int,
    mean: Floats,
    squares: Floats,
) -> None:
    """Mean, and unless `squares` is empty the sum of squared deviations (d, d), of gradients at w (Welford 1962)."""
    d = w.size
    point, sample = np.empty(d), np.empty(d)
    mean[:] = 0.0
    squares[:] = 0.0
    for n in range(samples):
        for j in range(d):
            point[j] = w[j]
            sample[j] = 0.0
        call(gradient, parameters, point, generator, sample)
        for j in range(d):
            sample[j] -= mean[j]
            mean[j] += sample[j] / (n + 1.0)
        for i in range(squares.shape[0]):
            for j in range(d):
                squares[i, j] += sample[i] * sample[j] * (n / (n + 1.0))


@Kernel
def joint_moments(
    gradient: Any,
    parameters: Any,
    generators: tuple[np.random.Generator, ...],
    mean: Floats,
    root: Floats,
    pairs: int,
    sums: Floats,
) -> None:
    """Of gradients g at random states ``mean +- root xi``, both of a pair from the same sample: `sums` (3 d + 2, d).

    Rows of sums: the first g; then totals, with g as it differs from that one, of g, of ``(g_+ - g_-) xi' / 2``, of
    ``xi xi'`` and of ``g g'``. The first two generators start in the same state, the third draws xi.
    """
    d = mean.size
    point, origin = np.empty(d), np.zeros(d)
    xi, ahead, behind = np.empty((_BLOCK, d)), np.empty((_BLOCK, d)), np.empty((_BLOCK, d))
    turned = np.ascontiguousarray(root.T)
    sums[:] = 0.0
    for start in range(0, pairs, _BLOCK):
        count = min(_BLOCK, pairs - start)
        for n in range(count):
            for j in range(d):
                xi[n, j] = generators[2].standard_normal()
        moved = np.dot(xi[:count], turned)
        for n in range(count):
            for sign, generator, out in ((1.0, generators[0], ahead[n]), (-1.0, generators[1], behind[n])):
                for i in range(d):
                    point[i] = mean[i] + sign * moved[n, i]
                out[:] = 0.0
                call(gradient, parameters, point, generator, out)
            if start == 0 and n == 0:
                for i in range(d):
                    origin[i] = ahead[0, i]
            for i in range(d):
                ahead[n, i] -= origin[i]
                behind[n, i] -= origin[i]
                sums[1, i] += ahead[n, i] + behind[n, i]
        x, plus, minus = xi[:count], ahead[:count], behind[:count]
        add(0.5 * np.dot((plus - minus).T, x), sums[2 : 2 + d])
        add(np.dot(x.T, x), sums[2 + d : 2 + 2 * d])
        add(np.dot(plus.T, plus) + np.dot(minus.T, minus), sums[2 + 2 * d :])
    for i in range(d):
        sums[0, i] = origin[i]
