"""The same simulation by other means: vectorized NumPy, and a scalar loop in numba over one Generator a replicate.

Both run L1-regularized dual averaging on Gaussian linear regression from zero, and return the summaries that
``rs.simulate(..., keep="summary")`` returns. They draw from SFC64, NumPy's fastest stream.
"""

from __future__ import annotations

import numba
import numpy as np
from scipy.linalg.blas import dtrmm

import rdasde as rs
from rdasde._covariance import Diagonal
from rdasde._grid import time_axis
from rdasde._jit import Kernel
from rdasde._random import normals


def sfc64(seed, *key):
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


@Kernel
def fill(streams, out, repetitions):
    """The package's own normals, as its kernels call them."""
    for _ in range(repetitions):
        normals(streams, out)


def vectorized(problem, algorithm, horizon, replicates, seed):
    """Arrays (replicates, d), in place; all covariances but the identity by the triangular product of BLAS.

    (For AR1 as well: it is twice as fast as `scipy.signal.lfilter`, or as the recursion over rows of (d, replicates).)
    """
    axis, thresholds = _grid(algorithm, horizon)
    rng, rate, coef = sfc64(seed), -algorithm.step_size, problem.coef
    white = isinstance(problem.covariance, Diagonal)
    factor = None if white else np.asfortranarray(np.linalg.cholesky(problem.covariance.dense()))
    v, w, x, clipped = (np.zeros((replicates, problem.dimension)) for _ in range(4))
    residual, eps = np.empty(replicates), np.empty(replicates)
    moments = np.empty((5, len(axis.steps), problem.dimension))
    k = 0
    for n in range(axis.total + 1):
        if n > 0:
            rng.standard_normal(out=x)
            rng.standard_normal(out=eps)
            if factor is not None:
                dtrmm(1.0, factor, x.T, lower=1, overwrite_b=1)  # x' <- L x'
            np.einsum("ij,ij->i", x, w, out=residual)
            residual -= x @ coef
            eps *= problem.noise_std
            residual -= eps
            residual *= rate
            x *= residual[:, None]
            v += x
            np.clip(v, -thresholds[n], thresholds[n], out=clipped)
            np.subtract(v, clipped, out=w)
        if n == axis.steps[k]:
            for i, state in enumerate((v, w)):
                np.mean(state, axis=0, out=moments[2 * i, k])
                np.std(state, axis=0, ddof=1, out=moments[2 * i + 1, k])
            np.mean(w == 0.0, axis=0, out=moments[4, k])
            k += 1
    return _named(moments)


def scalar(problem, algorithm, horizon, replicates, seed):
    """One replicate after the other, one number at a time."""
    axis, thresholds = _grid(algorithm, horizon)
    covariance, d = problem.covariance, problem.dimension
    rho = covariance.parameters.rho if isinstance(covariance, rs.AR1) else 0.0
    dense = rho == 0.0 and not isinstance(covariance, Diagonal)
    factor = np.linalg.cholesky(covariance.dense()) if dense else np.empty((0, d))
    sums = np.zeros((5, len(axis.steps), d))
    for r in range(replicates):
        rng = sfc64(seed, r)
        _replicate(rng, problem.coef, problem.noise_std, rho, factor, thresholds, algorithm.step_size, axis.steps, sums)
    means = sums[[0, 2]] / replicates
    sums[[1, 3]] = np.sqrt(np.maximum(sums[[1, 3]] - replicates * means**2, 0.0) / (replicates - 1))
    sums[[0, 2]], sums[4] = means, sums[4] / replicates
    return _named(sums)


@numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _replicate(rng, coef, noise_std, rho, factor, thresholds, step_size, steps, sums):
    d = coef.size
    v, w, x = np.zeros(d), np.zeros(d), np.empty(d)
    innovation = np.sqrt(1.0 - rho * rho)
    k = 0
    for n in range(thresholds.size):
        if n > 0:
            for j in range(d):
                x[j] = rng.standard_normal()
            if rho != 0.0:
                for j in range(1, d):
                    x[j] = rho * x[j - 1] + innovation * x[j]
            if factor.size > 0:
                for i in range(d - 1, -1, -1):  # the last row first: it needs the rows above it still white
                    total = 0.0
                    for j in range(i + 1):
                        total += factor[i, j] * x[j]
                    x[i] = total
            residual = -noise_std * rng.standard_normal()
            for j in range(d):
                residual += x[j] * (w[j] - coef[j])
            rate, g = -step_size * residual, thresholds[n]
            for j in range(d):
                v[j] += rate * x[j]
                w[j] = v[j] - min(max(v[j], -g), g)
        if n == steps[k]:
            for j in range(d):
                sums[0, k, j] += v[j]
                sums[1, k, j] += v[j] * v[j]
                sums[2, k, j] += w[j]
                sums[3, k, j] += w[j] * w[j]
                sums[4, k, j] += w[j] == 0.0
            k += 1


def check(ours, theirs, replicates):
    """Assert that two summaries are of one law: no closer than their sampling errors allow."""
    for space in ("dual", "primal"):
        mean, std = (np.asarray(ours[f"{space}_{what}"])[1:] for what in ("mean", "std"))
        other, other_std = theirs[f"{space}_mean"][1:], theirs[f"{space}_std"][1:]
        error = np.sqrt((std**2 + other_std**2) / replicates)
        gaps = (mean - other)[error > 0.0] / error[error > 0.0]
        spread = np.mean(other_std**2) / np.mean(std**2)
        assert np.sqrt(np.mean(gaps**2)) < 1.5, f"{space} means differ by {np.sqrt(np.mean(gaps**2)):.2f} errors"
        assert 0.9 < spread < 1.1, f"{space} variances have the ratio {spread:.3f}"
    gap = np.abs(np.asarray(ours["probability_zero"]) - theirs["probability_zero"]).mean()
    assert gap < 0.05, f"probabilities of zero differ by {gap:.3f}"


def _grid(algorithm, horizon):
    axis = time_axis(horizon, 201, algorithm.step_size)
    return axis, algorithm.thresholds(np.arange(axis.total + 1) * algorithm.step_size)


def _named(moments):
    return dict(zip(("dual_mean", "dual_std", "primal_mean", "primal_std", "probability_zero"), moments, strict=True))
