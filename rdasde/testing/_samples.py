"""The compiled pieces of a problem: against NumPy, by replicate, and as samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._problems import base
from rdasde._problems.base import Problem
from rdasde.testing._values import ROUNDING, Values, quantile
from rdasde.testing._verdict import hold, show

_GRADIENTS, _NOISES = 2**25, 2**23  # numbers drawn at the first point; an eighth of them at the others
_MOST_GRADIENTS, _MOST_NOISES = 1_000_000, 200_000  # vectors that are enough in low dimensions
_CHUNK = 2**18  # numbers drawn at a time
_PURPOSE = (99,)  # a family of streams that no run uses
_DIFFERENCES = 1e-8  # of products with a Hessian that are differences of the mean gradient
_TEST = 17  # the replicate that is drawn in several blocks


@Kernel
def _draw_gradients(problem: NamedTuple, w: Floats, streams: Any, scratch: Any, out: Floats) -> None:
    for k in range(out.shape[0]):
        out[k] = 0.0
        base.add_gradient(problem, w, streams, scratch, out[k])


@Kernel
def _draw_noise(problem: NamedTuple, w: Floats, streams: Any, scratch: Any, out: Floats) -> None:
    for k in range(out.shape[0]):
        base.noise(problem, w, streams, scratch, out[k])


@Kernel
def _drift(problem: NamedTuple, w: Floats, scratch: Any, out: Floats) -> None:
    base.drift(problem, w, scratch, out)


@Kernel
def _hessian_product(problem: NamedTuple, w: Floats, u: Floats, scratch: Any, out: Floats) -> None:
    base.hessian_product(problem, w, u, scratch, out)


def _draw(kernel: Kernel[..., Any], problem: Problem, w: Floats, streams: Any, count: int) -> Floats:
    """`count` vectors in every lane at `w` (d, lanes), shape (count, d, lanes)."""
    d = problem.dimension
    out: Floats = lane_array(count * d).reshape(count, d, LANES)
    kernel(problem.parameters, w, streams, problem.scratch.allocate(), out)
    return out


def _in_lanes(points: Floats) -> Floats:
    """One of the `points` (k, d) in every lane, in turn."""
    out = lane_array(points.shape[1])
    out[:] = points[np.arange(LANES) % len(points)].T
    return out


def compiled_pieces(v: Values) -> str | None:
    problem = v.problem
    if not problem.has_compiled_drift:
        return "the mean gradient is not compiled"
    d = problem.dimension
    # another point in every lane, from a fifth to twice those asked for
    generator = np.random.default_rng(v.seed)
    places = v.points[np.arange(LANES) % len(v.points)] * generator.uniform(0.2, 2.0, (LANES, 1))
    w, u, out = _in_lanes(places), _in_lanes(generator.standard_normal((LANES, d))), lane_array(d)
    _drift(problem.parameters, w, problem.scratch.allocate(), out)
    law = "compiled drift is to equal mean_gradient"
    for place, got in zip(places, out.T, strict=True):
        expected = problem.mean_gradient(place)
        hold(law, f"at w = {show(place)}", got, expected, ROUNDING * v.slope, "mend drift or mean_gradient")
    _hessian_product(problem.parameters, w, u, problem.scratch.allocate(), out)
    law, known = "compiled hessian_product is to equal hessian(w) @ u", _hessian_accuracy(problem)
    for place, along, got in zip(places, u.T, out.T, strict=True):
        allowed = known * v.curvature * np.sqrt(d) * float(np.abs(along).max())
        expected = problem.hessian(place) @ along
        hold(law, f"at w = {show(place)}", got, expected, allowed, "mend hessian_product or hessian")
    return None


def _hessian_accuracy(problem: Problem) -> float:
    """Of products with the Hessian: some are differences of the mean gradient."""
    from rdasde._problems.mlp import MLP
    from rdasde._problems.stochastic_problem import StochasticProblem

    return _DIFFERENCES if isinstance(problem, MLP | StochasticProblem) else ROUNDING


def replay(v: Values) -> str | None:
    """A replicate beside others, beside one other, and alone."""
    for name, kernel in (("add_gradient", _draw_gradients), ("noise", _draw_noise)):
        samples = []
        for block in (2 + 3 * np.arange(LANES), np.array([5, _TEST]), np.array([_TEST])):
            lane = int(np.flatnonzero(block == _TEST)[0])
            w = _in_lanes(np.roll(v.points, lane % len(v.points), axis=0))  # the first point in its lane
            streams = v.problem.make_streams(v.seed, block.astype(np.int64), _PURPOSE)
            samples.append(_draw(kernel, v.problem, w, streams, 3)[:, :, lane])
            if len(block) > 1:
                w = _in_lanes(v.points[:1])
                streams = v.problem.make_streams(v.seed, block.astype(np.int64), _PURPOSE)
                several = _draw(kernel, v.problem, w, streams, 3)
                if v.noises[0].any() and np.array_equal(several[:, :, 0], several[:, :, lane]):
                    raise AssertionError(
                        f"Replicates are to draw numbers of their own, but {name} gives replicates {block[0]} and "
                        f"{_TEST} the same: key the streams by the replicate in make_streams."
                    )
        law = "What a replicate draws is to depend on (seed, replicate) alone"
        mend = "let a lane use nothing of another, and key the streams by the replicate"
        for sample in samples[1:]:
            hold(law, f"by {name} in another block", sample, samples[0], 0.0, mend)
    return None


@dataclass
class _Sums:
    """Means of the first three powers of variables whose means are known, and how many there were."""

    powers: list[Floats]
    count: int

    def scores(self, expected: Any, rounding: float) -> Floats:
        """z-scores of the means against `expected`, free of skewness (Hall 1992)."""
        first, second, third = (total / self.count for total in self.powers)
        variance = np.maximum(second - first**2, 0.0)
        cube = third - 3.0 * first * second + 2.0 * first**3
        gap = first - expected
        gap = np.sign(gap) * np.maximum(np.abs(gap) - rounding, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(gap == 0.0, 0.0, np.sqrt(self.count) * gap / np.sqrt(variance))
            skewness = np.where(variance > 0.0, cube / variance**1.5, 0.0) / np.sqrt(self.count)
        # where nothing varies t is infinite
        return np.where(np.isfinite(t), t + skewness * (t**2 / 3.0 + 1.0 / 6.0) + skewness**2 * t**3 / 27.0, t)


def _moments(v: Values, kernel: Kernel[..., Any], k: int, mean: Floats, count: int) -> tuple[_Sums, _Sums]:
    """Of samples at point k less their mean, and of products of two coordinates of these."""
    d = v.problem.dimension
    streams = v.problem.make_streams(v.seed, np.arange(LANES), (*_PURPOSE, k))
    w = _in_lanes(v.points[k : k + 1])
    calls = max(1, _CHUNK // (LANES * d))
    rounds = max(1, -(-count // (calls * LANES)))
    singles: list[Floats] = [np.zeros(d) for _ in range(3)]
    pairs: list[Floats] = [np.zeros((d, d)) for _ in range(3)]
    for _ in range(rounds):
        sample = np.moveaxis(_draw(kernel, v.problem, w, streams, calls), 1, 2).reshape(-1, d) - mean
        power = np.ones_like(sample)
        for single, pair in zip(singles, pairs, strict=True):
            power = power * sample
            single += power.sum(axis=0)
            pair += power.T @ power
    total = rounds * calls * LANES
    return _Sums(singles, total), _Sums(pairs, total)


class _Source(NamedTuple):
    """Where samples come from, and how many of them there are to be at the first point."""

    name: str
    kernel: Kernel[..., Any]
    numbers: int
    most: int


_SOURCES = (
    _Source("add_gradient", _draw_gradients, _GRADIENTS, _MOST_GRADIENTS),
    _Source("noise", _draw_noise, _NOISES, _MOST_NOISES),
)


def samples(v: Values) -> str | None:
    """Means and covariances, by z-scores none of which is beyond what chance allows."""
    d = v.problem.dimension
    limit = quantile(len(v.points) * len(_SOURCES) * (d + d * (d + 1) / 2.0))
    for k in range(len(v.points)):
        for source in _SOURCES:
            if source.name == "noise" or not v.estimates("mean_gradient"):
                _law_of_samples(v, k, source, limit)
    estimated = [name for name in ("mean_gradient", "noise_covariance") if v.estimates(name)]
    return f"what is estimated from such samples, {' and '.join(estimated)}; the rest holds" if estimated else None


def _law_of_samples(v: Values, k: int, source: _Source, limit: float) -> None:
    """Of samples at point k."""
    d, name = v.problem.dimension, source.name
    mean = np.zeros(d) if name == "noise" else v.gradients[k]
    count = min(source.numbers // d, source.most) // (1 if k == 0 else 8)
    singles, pairs = _moments(v, source.kernel, k, mean, count)
    law = f"The mean of samples of {name} is to be {'zero' if name == 'noise' else 'mean_gradient'}, in standard errors"
    hold(law, v.at(k), singles.scores(0.0, 1e-10 * v.slope), 0.0, limit, f"mend {name} or mean_gradient")
    if not v.estimates("noise_covariance"):
        law = f"The covariance of samples of {name} is to be noise_covariance, in standard errors"
        scores = pairs.scores(v.noises[k], 1e-7 * v.noise)
        hold(law, v.at(k), scores, 0.0, limit, f"mend {name} or noise_covariance")
