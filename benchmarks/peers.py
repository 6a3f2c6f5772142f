"""The same simulation by other means: vectorized NumPy, and a scalar loop in numba over one Generator a replicate.

Both run L1-regularized dual averaging on Gaussian linear regression from zero, and return the summaries that
``rs.simulate(..., keep="summary")`` returns. They draw from SFC64, NumPy's fastest stream.
"""

from __future__ import annotations

import numba
import numpy as np
from scipy.linalg.blas import dtrmm

import rdasde as rs
from rdasde._compiled.jit import Kernel
from rdasde._compiled.random import normals
from rdasde._engine.time_axis import time_axis
from rdasde._problems.covariance import Diagonal

SUMMARY = ("dual_mean", "dual_std", "primal_mean", "primal_std", "probability_zero")


def sfc64(seed, *key):
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


@Kernel
def fill(streams, out, repetitions):
    """The package's own normals, as its kernels call them."""
    for _ in range(repetitions):
        normals(streams, out)


def vectorized(problem, algorithm, horizon, replicates, seed, start=None):
    """Arrays (replicates, d), in place; all covariances but the identity by the triangular product of BLAS.

    (For AR1 as well: it is twice as fast as `scipy.signal.lfilter`, or as the recursion over rows of (d, replicates).)
    """
    if isinstance(problem, rs.OnlinePCA):
        return _vectorized_pca(problem, algorithm, horizon, replicates, seed, start)
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
            _summarize(moments, k, v, w)
            k += 1
    return _named(moments)


def pca_start(d):
    """Near the plane of the spikes, off the saddle at zero."""
    return np.where(np.arange(d) < 10, 0.25, 0.02)


def _vectorized_pca(problem, algorithm, horizon, replicates, seed, start):
    """Oja's rule for a spiked covariance, ``L = I + sum_k (sqrt(1 + theta_k) - 1) u_k u_k'``."""
    axis, thresholds = _grid(algorithm, horizon)
    rng, rate, d = sfc64(seed), algorithm.step_size, problem.dimension
    spikes = problem.covariance.parameters
    outward = spikes.gains[:, None] * spikes.directions
    v = np.tile(start, (replicates, 1))
    w = v - np.clip(v, -thresholds[0], thresholds[0])
    z, clipped, moved = np.empty_like(v), np.empty_like(v), np.empty_like(v)
    y = np.empty(replicates)
    moments = np.empty((5, len(axis.steps), d))
    k = 0
    for n in range(axis.total + 1):
        if n > 0:
            rng.standard_normal(out=z)
            np.matmul(z @ spikes.directions.T, outward, out=moved)
            z += moved
            np.einsum("ij,ij->i", z, w, out=y)
            np.multiply(w, y[:, None], out=moved)
            z -= moved
            z *= (rate * y)[:, None]
            v += z
            np.clip(v, -thresholds[n], thresholds[n], out=clipped)
            np.subtract(v, clipped, out=w)
        if n == axis.steps[k]:
            _summarize(moments, k, v, w)
            k += 1
    return _named(moments)


def _summarize(moments, k, v, w):
    for i, state in enumerate((v, w)):
        np.mean(state, axis=0, out=moments[2 * i, k])
        np.std(state, axis=0, ddof=1, out=moments[2 * i + 1, k])
    np.mean(w == 0.0, axis=0, out=moments[4, k])


def jax_simulation(problem, algorithm, horizon, replicates, seed):
    """Scan over steps, vmap over replicates, double precision, JAX's own keys; returns a function of nothing."""
    from solvers import one_thread_jax

    jax = one_thread_jax()
    jnp, jr = jax.numpy, jax.random
    axis, thresholds = _grid(algorithm, horizon)
    every, d = axis.steps[1] - axis.steps[0], problem.dimension
    assert np.all(np.diff(axis.steps) == every)
    white = isinstance(problem.covariance, Diagonal)
    factor = None if white else jnp.asarray(np.linalg.cholesky(problem.covariance.dense()))
    coef, noise_std, rate = jnp.asarray(problem.coef), problem.noise_std, algorithm.step_size

    def one_step(v, w, key, g):
        z = jr.normal(key, (d + 1,))
        x = z[:d] if white else factor @ z[:d]
        v = v - rate * (x @ (w - coef) - noise_std * z[d]) * x
        return v, v - jnp.clip(v, -g, g)

    def step(state, n_and_g):
        n, g = n_and_g
        v, w, keys = state
        v, w = jax.vmap(one_step, (0, 0, 0, None))(v, w, jax.vmap(jr.fold_in, (0, None))(keys, n), g)
        return (v, w, keys), None

    def chunk(state, part):
        state, _ = jax.lax.scan(step, state, part)
        v, w, _ = state
        out = (v.mean(0), v.std(0, ddof=1), w.mean(0), w.std(0, ddof=1), (w == 0.0).mean(0))
        return state, jnp.stack(out)

    @jax.jit
    def solve(key):
        shape = (len(axis.steps) - 1, int(every))
        steps = (jnp.arange(1, axis.total + 1).reshape(shape), jnp.asarray(thresholds[1:]).reshape(shape))
        zeros = jnp.zeros((replicates, d))
        _, found = jax.lax.scan(chunk, (zeros, zeros, jr.split(key, replicates)), steps)
        start = jnp.zeros((1, 5, d)).at[:, 4].set(1.0)
        return jnp.moveaxis(jnp.concatenate([start, found]), 1, 0)

    return lambda: _named(np.asarray(solve(jr.key(seed))))


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
    return dict(zip(SUMMARY, moments, strict=True))
