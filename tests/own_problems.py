"""Problems of a user's own that several test modules share: two gradients, with what is known of them."""

import numpy as np

import rdasde as rs

COEF = np.array([0.5, -0.4, 0.0, 0.0, 0.1])
STD = np.linspace(0.7, 1.3, 5)
LINEAR = (COEF, STD, 0.7)
KNOWN = rs.LinearRegression(COEF, STD**2, 0.7)


def linear(parameters, w, rng, out):
    """Linear regression with a diagonal design."""
    coef, std, noise_std = parameters
    residual = -noise_std * rng.standard_normal()
    for j in range(w.size):
        out[j] = std[j] * rng.standard_normal()
        residual += out[j] * (w[j] - coef[j])
    for j in range(w.size):
        out[j] *= residual


def linear_mean(parameters, w):
    coef, std, _ = parameters
    return std**2 * (w - coef)


def own_linear(**options):
    return rs.StochasticProblem(linear, LINEAR, 5, **options)


def retrieval(coef, w, rng, out):
    """Phase retrieval."""
    z = rng.standard_normal(w.size)
    y = (z @ coef) ** 2 + 0.5 * rng.standard_normal()
    out[:] = ((z @ w) ** 2 - y) * (z @ w) * z


def retrieval_mean(coef, w):
    return (3 * (w @ w) - coef @ coef) * w - 2 * (coef @ w) * coef
