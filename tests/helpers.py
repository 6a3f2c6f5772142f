"""What several test modules share: the compiled pieces called from Python."""

import numpy as np

from rdasde._compiled import random as _random
from rdasde._compiled.jit import Kernel
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._problems import base as _problem
from rdasde._problems import covariance as _covariance

# those of the laws, so that they are compiled once for all
from rdasde.testing._samples import _drift as drift  # noqa: F401
from rdasde.testing._samples import _hessian_product as hessian_product  # noqa: F401


@Kernel
def draw_normals(streams, out):
    _random.normals(streams, out)


@Kernel
def draw_words(streams, out):
    for row in range(out.shape[0]):
        _random.random_words(streams.state, out[row])


@Kernel
def draw_integers(streams, bound, out):
    _random.integers(streams, bound, out)


@Kernel
def correlated(covariance, x, spare, out):
    _covariance.correlate(covariance, x, spare, out)


@Kernel
def colored(covariance, z, spare):
    _covariance.color(covariance, z, spare)


@Kernel
def add_gradient(problem, w, streams, scratch, out):
    _problem.add_gradient(problem, w, streams, scratch, out)


@Kernel
def noise(problem, w, streams, scratch, out):
    _problem.noise(problem, w, streams, scratch, out)


@Kernel
def noise_along(along, k, spare, streams, scratch, out):
    _problem.noise_along(along, k, spare, streams, scratch, out)


@Kernel
def hessian_along(along, k, spare, u, scratch, out):
    _problem.hessian_along(along, k, spare, u, scratch, out)


def in_lanes(vector):
    """The same vector in every lane."""
    out = lane_array(len(vector))
    out[:] = np.asarray(vector, dtype=float)[:, None]
    return out


def sample(kernel, problem, w, count, seed):
    """`count` vectors (a multiple of LANES) from add_gradient or noise at one point w."""
    d = problem.dimension
    streams = _random.streams(seed, np.arange(LANES), (99,))
    scratch, lanes, out = problem.scratch.allocate(), in_lanes(w), lane_array(d)
    vectors = np.empty((count // LANES, LANES, d))
    for block in vectors:
        out[:] = 0.0
        kernel(problem.parameters, lanes, streams, scratch, out)
        block[:] = out.T
    return vectors.reshape(-1, d)


def covariance_z_scores(samples, covariance):
    """How far the sample second moments around the known mean lie from `covariance`, in standard errors.

    Standard errors come from the samples themselves (fourth moments).
    """
    n = len(samples)
    centred = samples - samples.mean(axis=0)
    product = centred[:, :, None] * centred[:, None, :]
    error = product.std(axis=0) / np.sqrt(n)
    return (product.mean(axis=0) - covariance) / np.where(error > 0, error, 1.0)
