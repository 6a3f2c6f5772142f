"""One fluctuation SDE, four schemes for it, and how large their weak errors are.

    dU = -H D_t(U) dt + L dB,  LL' = H,  U(0) = 0,    D_t(u)_j = u_j - sgn(w*_j) c t^mu   where w*_j != 0
                                                              = S(u_j, c t^mu)            where w*_j = 0

is the fluctuation limit of L1-regularized dual averaging on linear regression from its minimizer, half of whose
coordinates are zero: they stay on the kink of the soft-threshold. The weak error of a scheme with n equal steps is the
largest error over the coordinates of the mean and of the standard deviation of D_T(U), in units of that standard
deviation: bias of the time step, not sampling error.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

D, HORIZON = 20, 5.0
C, MU, RHO = 0.5, 0.6, 0.6
COEF = np.repeat([0.5, -0.5, 0.0], [5, 5, 10])
SIGN = np.sign(COEF)
H = RHO ** np.abs(np.subtract.outer(np.arange(D), np.arange(D)))
L = np.linalg.cholesky(H)
FINE = 960  # steps of the solution that the others are compared with
STEPS = {
    "Euler": (40, 80, 160, 320),
    "Heun": (10, 16, 24, 40, 60),
    "ShARK": (10, 16, 24, 40),
    "SRA1": (10, 16, 24, 40),
}
OUR_STEPS = (6, 10, 16, 24, 40, 60)


def mapped(t, u):
    """D_t(u)."""
    g = C * t**MU
    return np.where(SIGN != 0.0, u - SIGN * g, u - np.clip(u, -g, g))


def velocity(t, u):
    return -mapped(t, u) @ H


# One step of each scheme: `noise` is L dB and `area` L times the space-time Levy area, (1/h) int (B - chord) ds


def euler(t, u, h, noise, area):
    return u + h * velocity(t, u) + noise


def heun(t, u, h, noise, area):
    first = velocity(t, u)
    return u + noise + 0.5 * h * (first + velocity(t + h, u + h * first + noise))


def shark(t, u, h, noise, area):
    first = velocity(t, u + area)
    second = velocity(t + 5 / 6 * h, u + area + 5 / 6 * (h * first + noise))
    return u + noise + h * (0.4 * first + 0.6 * second)


def sra1(t, u, h, noise, area):
    first = velocity(t, u)
    second = velocity(t + 0.75 * h, u + 0.75 * h * first + 1.5 * (0.5 * noise + area))
    return u + noise + h * (first + 2.0 * second) / 3.0


SCHEMES = {"Euler": euler, "Heun": heun, "ShARK": shark, "SRA1": sra1}


# Weak errors


def moments(x):
    return np.concatenate([x.mean(axis=0), x.std(axis=0)])


def coupled_differences(paths, batches=10, seed=1):
    """How each scheme at each number of steps differs from the fine solution on the same Brownian paths.

    By (scheme, steps): differences of the moments, and their standard errors, from batches.
    """
    found = {(name, n): [] for name in SCHEMES for n in STEPS[name]}
    fine_h = HORIZON / FINE
    for batch in range(batches):
        rng = np.random.Generator(np.random.SFC64([seed, batch]))
        size = (paths // batches, D)
        states = {key: np.zeros(size) for key in found}
        fine = np.zeros(size)
        walk = np.zeros(size)  # L B
        gaps = {FINE // n for _, n in found}
        start, integral = ({gap: np.zeros(size) for gap in gaps} for _ in range(2))
        for k in range(FINE):
            step = np.sqrt(fine_h) * rng.standard_normal(size) @ L.T
            # the integral of the bridge within a fine step is Gaussian, given its ends
            bridge = np.sqrt(fine_h / 12.0) * rng.standard_normal(size) @ L.T
            fine = shark(k * fine_h, fine, fine_h, step, bridge)
            for gap in gaps:
                integral[gap] += fine_h * (walk + 0.5 * step + bridge)
            walk = walk + step
            for gap in gaps:
                if (k + 1) % gap:
                    continue
                h = gap * fine_h
                noise = walk - start[gap]
                area = integral[gap] / h - start[gap] - 0.5 * noise
                for name, n in found:
                    if FINE // n == gap:
                        state = states[name, n]
                        states[name, n] = SCHEMES[name]((k + 1 - gap) * fine_h, state, h, noise, area)
                start[gap] = walk
                integral[gap] = np.zeros(size)
        exact = moments(mapped(HORIZON, fine))
        for key, state in states.items():
            found[key].append(moments(mapped(HORIZON, state)) - exact)
    return {key: (np.mean(v, axis=0), np.std(v, axis=0, ddof=1) / np.sqrt(batches)) for key, v in found.items()}


@numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _heun_sums(rng, paths, n, h, powers, sign, matrix, factor, sums):
    """Sums of D_T(U) and of its square over paths of Heun's scheme, plain loops."""
    d = sign.size
    u, first, ahead, out, z = np.empty(d), np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    for _ in range(paths):
        u[:] = 0.0
        for k in range(n + 1):
            for j in range(d):
                g = powers[k]
                out[j] = u[j] - sign[j] * g if sign[j] != 0.0 else u[j] - min(max(u[j], -g), g)
            if k == n:
                break
            for j in range(d):
                z[j] = rng.standard_normal()
            for i in range(d):
                total, noise = 0.0, 0.0
                for j in range(d):
                    total += matrix[i, j] * out[j]
                    noise += factor[i, j] * z[j]
                first[i] = total
                u[i] += np.sqrt(h) * noise
                ahead[i] = u[i] - h * total
            g = powers[k + 1]
            for j in range(d):
                out[j] = ahead[j] - sign[j] * g if sign[j] != 0.0 else ahead[j] - min(max(ahead[j], -g), g)
            for i in range(d):
                total = 0.0
                for j in range(d):
                    total += matrix[i, j] * out[j]
                u[i] -= 0.5 * h * (first[i] + total)
        for j in range(d):
            sums[0, j] += out[j]
            sums[1, j] += out[j] * out[j]


def heun_moments(n, paths, seed=2, parts=16):
    """Moments of D_T(U) by Heun's scheme with n steps, from many independent paths; one thread a core."""
    powers = C * np.linspace(0.0, HORIZON, n + 1) ** MU

    def part(k):
        sums = np.zeros((2, D))
        rng = np.random.Generator(np.random.SFC64([seed, k]))
        _heun_sums(rng, paths // parts, n, HORIZON / n, powers, SIGN, H, L, sums)
        return sums

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        first, second = sum(pool.map(part, range(parts))) / (paths // parts * parts)
    return np.concatenate([first, np.sqrt(second - first**2)])


def steps_for(target, steps, errors):
    """The least number of steps at which the error is below target, interpolated between two measured ones."""
    below = [k for k in range(len(steps)) if all(e <= target for e in errors[k:])]
    if not below:
        return None
    k = below[0]
    if k == 0 or errors[k] <= 0.0:
        return steps[k]
    share = np.log(errors[k - 1] / target) / np.log(errors[k - 1] / errors[k])
    return int(np.ceil(np.exp(np.log(steps[k - 1]) + share * np.log(steps[k] / steps[k - 1])) - 1e-9))


def worst(differences, scale):
    """The weak error from differences of moments (2 d,)."""
    return float(np.max(np.abs(differences) / np.tile(scale, 2)))


def has_law(sample, expected):
    """Whether draws have these moments, within 5.5 standard errors of a mean (of a deviation, 7.8)."""
    return bool(np.all(np.abs(moments(sample) - expected) < 5.5 * np.tile(expected[D:], 2) / np.sqrt(len(sample))))
