"""A problem class says itself how it is fitted: one file for a new one, `fit` included."""

from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import minimize

import rdasde as rs
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._problems.base import Problem
from rdasde._problems.row_terms import RowModel, dot, row_terms


class RidgeModel(NamedTuple):
    ridge: float


@implements(row_terms, RidgeModel)
def _(model, row, w, moments):
    # f = (x'w - y)^2 / 2 + ridge ||w||^2 / 2: a gradient that no built-in model has
    x, y, k = row
    residual = -y
    for j in range(x.size):
        residual += x[j] * w[j]
    for j in range(x.size):
        moments.gradients[k, j] = residual * x[j] + model.ridge * w[j]
        moments.roots[k, j] = x[j]


class Ridge(rs.LinearRegression):
    """Linear regression with a ridge in every gradient."""

    row_model = RowModel(RidgeModel(0.5))


def test_a_class_of_ones_own_goes_through_fit():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 3))
    y = X @ [0.6, -0.3, 0.0] + 0.2 * rng.standard_normal(len(X))
    fit = rs.fit(Ridge, X, y, rs.RDA(0.01))
    # E gradient = (1 + ridge) w - coef: the average of the iterates is near coef / 1.5; standard error .002
    np.testing.assert_allclose(fit.raw, np.array([0.6, -0.3, 0.0]) / 1.5, atol=0.02)
    assert "OnlineFit of Ridge" in repr(fit)


@compilable
def bounded(residual):
    """The derivative of ``sqrt(1 + r^2) - 1``, and its own."""
    size = np.sqrt(1.0 + residual * residual)
    return residual / size, 1.0 / (size * size * size)


class RobustModel(NamedTuple):
    unused: float


@implements(row_terms, RobustModel)
def _(model, row, w, moments):
    x, y, k = row
    gradient, root, curvature = moments.gradients[k], moments.roots[k], moments.curvature
    score, central = dot(x, w), dot(x, moments.centre)
    pull, _ = bounded(score - y)
    pull_there, slope = bounded(central - y)
    bend = pull - pull_there - slope * (score - central)
    for j in range(x.size):
        gradient[j] = pull * x[j]
        root[j] = np.sqrt(slope) * x[j]
        curvature[j] = fma(bend, x[j], curvature[j])


class RobustRegression(Problem):
    """Nothing is known of it but its gradient on a row, which is not linear in w."""

    row_model = RowModel(RobustModel(0.0), is_linearized=True)


def test_a_class_of_ones_own_that_is_not_quadratic_has_the_sandwich():
    """Under noise without a variance, towards the minimizer over all rows."""
    rng = np.random.default_rng(3)
    n, coef = 30_000, np.array([1.0, -0.5, 0.0, 0.0])
    X = rng.standard_normal((n, 4)) @ np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(range(4), range(4)))).T
    y = X @ coef + rng.standard_t(1.5, size=n)
    # a threshold that shifts the average by several standard errors
    fit = rs.fit(RobustRegression, X, y, rs.RDA(0.02, rs.L1(), rs.PowerLaw(c=1.0, mu=0.6)))
    target = minimize(lambda w: np.sum(np.sqrt(1.0 + (X @ w - y) ** 2)), np.zeros(4), tol=1e-9).x
    pull, slope = bounded(X @ target - y)
    inverse = np.linalg.inv((X.T * slope) @ X / n)
    sandwich = inverse @ ((X.T * pull**2) @ X / n) @ inverse
    np.testing.assert_allclose(fit.std_error, np.sqrt(np.diag(sandwich) / fit.rows_averaged), rtol=0.05)
    # both estimate w*, from the same rows but the first
    assert np.all(np.abs(fit.coef - target) < fit.std_error)
    assert np.all(np.abs(fit.raw - target)[:2] > 2.0 * fit.std_error[:2])
    assert np.all(np.isfinite(fit.iterate.std_error[fit.support]))


def test_a_class_without_a_row_model_is_refused():
    with pytest.raises(TypeError, match="problem_class is the class MLP"):
        rs.fit(rs.MLP, np.eye(3), np.zeros(3), rs.RDA(0.01))
