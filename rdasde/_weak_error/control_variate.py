"""A control variate for any algorithm and its diffusion: the noise alone, carried along the mean.

Beside the dual process runs ``u <- u - gamma (J(t) u + grad f(w; Z) - G(w))`` from 0, on the same samples, with
``J(t) = H(w(t)) D(t)`` taken along a path that is not random. Its noise has mean 0 at every state, and J is linear: so
its mean is exactly 0, whatever J, for the algorithm, for the diffusion and for its time steps. With J from the Gaussian
closure it follows ``v - E v`` to first order in the noise: regressing a function of w on u takes most of its variance
and adds no bias.

To the kernels all this is one more problem, of states ``(v, u, t)``, under one more mirror map.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde._algorithm import RDA
from rdasde._approximations.closure import gaussian_closure
from rdasde._approximations.mean_flow import MeanFlow
from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._compiled.lanes import LANES, add, copy, lane_array
from rdasde._compiled.random import Streams, streams
from rdasde._compiled.scratch import Layout
from rdasde._engine.extended import Extended
from rdasde._engine.run import Run
from rdasde._engine.time_axis import TimeAxis
from rdasde._problems.base import Problem, add_gradient, drift, hessian_product, noise

_NODES = 200  # of the table of J, in time


class ControlledParameters(NamedTuple):
    problem: NamedTuple
    path: Floats  # (node, d), where the Hessian is taken
    slope: Floats  # (node, d), the diagonal D of the mirror map's Jacobian
    per_time: float  # nodes in a unit of time
    half_step: float  # of the algorithm, where the drift is corrected to second order; 0 where not
    passes_zero: bool  # whether the mirror map has slope 1 at 0 too


class ControlledScratch(NamedTuple):
    inner: NamedTuple  # of the problem itself
    sample: Floats  # (d, lanes), as all below
    change: Floats
    along: Floats
    moved: Floats


@compilable
def _decay(problem, state, scratch, out):
    """``J(t) u`` into `out`."""
    d = out.shape[0]
    node = min(int(state[2 * d, 0] * problem.per_time + 0.5), problem.path.shape[0] - 1)
    along, moved = scratch.along, scratch.moved
    for j in range(d):
        place, slope = problem.path[node, j], problem.slope[node, j]
        for lane in range(LANES):
            along[j, lane] = place
            moved[j, lane] = slope * state[d + j, lane]
    hessian_product(problem.problem, along, moved, scratch.inner, out)


@implements(add_gradient, ControlledParameters)
def _(problem, state, streams, scratch, out):
    d = (state.shape[0] - 1) // 2
    w = state[:d]
    sample, other = scratch.sample, scratch.change
    sample[:] = 0.0
    add_gradient(problem.problem, w, streams, scratch.inner, sample)
    add(sample, out[:d])
    drift(problem.problem, w, scratch.inner, other)
    flat, flat_mean = sample.reshape(-1), other.reshape(-1)
    for i in range(flat.size):
        flat[i] -= flat_mean[i]
    _decay(problem, state, scratch, other)
    add(other, sample)
    add(sample, out[d : 2 * d])
    for lane in range(LANES):
        out[2 * d, lane] -= 1.0


@compilable
def _add_curvature(problem, w, scratch, out):
    """``out += (gamma / 2) H D out`` at w."""
    moved, change = scratch.moved, scratch.change
    flat, flat_w, flat_out, flat_change = moved.reshape(-1), w.reshape(-1), out.reshape(-1), change.reshape(-1)
    for i in range(flat.size):
        flat[i] = flat_out[i] if problem.passes_zero or flat_w[i] != 0.0 else 0.0
    hessian_product(problem.problem, w, moved, scratch.inner, change)
    for i in range(flat.size):
        flat_out[i] = fma(problem.half_step, flat_change[i], flat_out[i])


@implements(drift, ControlledParameters)
def _(problem, state, scratch, out):
    d = (state.shape[0] - 1) // 2
    w = state[:d]
    drift(problem.problem, w, scratch.inner, out[:d])
    if problem.half_step > 0.0:
        _add_curvature(problem, w, scratch, out[:d])
    _decay(problem, state, scratch, out[d : 2 * d])
    out[2 * d, :] = -1.0


@implements(noise, ControlledParameters)
def _(problem, state, streams, scratch, out):
    d = (state.shape[0] - 1) // 2
    w = state[:d]
    if problem.half_step > 0.0:
        before, change = scratch.sample, scratch.change
        drift(problem.problem, w, scratch.inner, change)
        flat, flat_w, flat_change = before.reshape(-1), w.reshape(-1), change.reshape(-1)
        for i in range(flat.size):  # where the flow was half a step ago
            active = problem.passes_zero or flat_w[i] != 0.0
            flat[i] = fma(problem.half_step, flat_change[i], flat_w[i]) if active else flat_w[i]
        noise(problem.problem, before, streams, scratch.inner, out[:d])
        _add_curvature(problem, w, scratch, out[:d])
    else:
        noise(problem.problem, w, streams, scratch.inner, out[:d])
    copy(out[:d], out[d : 2 * d])
    out[2 * d, :] = 0.0


class Controlled(Extended):
    """A problem with its control variate beside it: states (w, u, t), dimension 2 d + 1.

    `algorithm` says along which path J is taken, up to time `end`. With ``second_order=True`` drift and noise of the
    diffusion are those of the stochastic modified equation of second order (`rdasde.weak_error`), with D the slope of
    the mirror map, which must be 0 where the map is 0 and 1 elsewhere. `rate` sets the diffusion's time step.
    """

    def __init__(
        self,
        problem: Problem,
        algorithm: RDA,
        dual_start: Floats,
        end: float,
        *,
        second_order: bool = False,
        rate: float | None = None,
    ) -> None:
        super().__init__(problem, problem.dimension + 1)
        areas = dict.fromkeys(("sample", "change", "along", "moved"), problem.dimension)
        self.scratch = Layout(ControlledScratch, inner=problem.scratch, **areas)
        if type(problem).make_streams is Problem.make_streams:
            self.make_streams = _block_streams  # type: ignore[method-assign]
        self._rate = problem.fastest_rate() if rate is None else rate
        path, slope = _mean_path(problem, algorithm, dual_start, end)
        self.parameters: NamedTuple = ControlledParameters(
            problem.parameters,
            path,
            slope,
            (len(path) - 1) / end,
            0.5 * algorithm.step_size if second_order else 0.0,
            not algorithm.mirror.needs_schedule,
        )

    def _split(self, w: ArrayLike) -> tuple[Floats, Floats, int]:
        state = self._point(w)
        d = self.inner.dimension
        parameters: Any = self.parameters
        node = min(int(state[2 * d] * parameters.per_time + 0.5), len(parameters.path) - 1)
        return state[:d], parameters.slope[node] * state[d : 2 * d], node

    def mean_gradient(self, w: ArrayLike) -> Floats:
        parameters: Any = self.parameters
        here, moved, node = self._split(w)
        gradient = self.inner.mean_gradient(here)
        if parameters.half_step:
            active = np.ones_like(here) if parameters.passes_zero else (here != 0.0)
            gradient = gradient + parameters.half_step * self.inner.hessian(here) @ (active * gradient)
        decay = self.inner.hessian(parameters.path[node]) @ moved
        return np.concatenate([gradient, decay, [-1.0]])

    def noise_factor(self, w: Floats) -> Floats:
        parameters: Any = self.parameters
        here = w[: self.inner.dimension]
        if parameters.half_step:
            active = np.ones_like(here) if parameters.passes_zero else (here != 0.0)
            before = here + parameters.half_step * active * self.inner.mean_gradient(here)
            factor = self.inner.noise_factor(before)
            factor = factor + parameters.half_step * self.inner.hessian(here) @ (active[:, None] * factor)
        else:
            factor = self.inner.noise_factor(here)
        return np.vstack([factor, factor, np.zeros((1, factor.shape[1]))])

    def noise_covariance(self, w: ArrayLike) -> Floats:
        factor = self.noise_factor(self._point(w))
        return factor @ factor.T

    def fastest_rate(self) -> float:
        return self._rate

    def typical_rate(self) -> float:
        return self._rate


def _block_streams(seed: int, replicates: NDArray[np.int64], purpose: tuple[int, ...] = ()) -> Streams:
    """Sixteen streams from one key: short runs would take longer to seed one by one than to simulate."""
    key = np.random.SeedSequence(seed, spawn_key=(int(replicates[0]), *purpose))
    state = lane_array(4, np.uint64)
    state[:] = key.generate_state(4 * LANES, np.uint64).reshape(4, LANES)
    return streams(seed, replicates[:0], purpose)._replace(state=state)


def _mean_path(problem: Problem, algorithm: RDA, dual_start: Floats, end: float) -> tuple[Floats, Floats]:
    """E W and E D along the run, (node, d): from the closure, or else the limiting flow."""
    times = np.linspace(0.0, end, _NODES + 1)
    mirror = algorithm.mirror
    if mirror.has_moments and mirror.separable:
        axis = TimeAxis(np.arange(len(times)), times, _NODES)
        law, _ = gaussian_closure(Run(problem, algorithm, dual_start, axis))
        thresholds = algorithm.thresholds(times)[:, None]
        slope = mirror.gaussian_moments(law["dual_mean"], law["dual_std"], thresholds).slope
        return np.ascontiguousarray(law["primal_mean"]), np.ascontiguousarray(slope)
    path = MeanFlow(problem, algorithm, dual_start, end)(times).primal
    return np.ascontiguousarray(path), np.ones_like(path)
