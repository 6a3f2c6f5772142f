"""A problem class says itself how it is fitted: one file for a new one, `fit` included."""

from typing import NamedTuple

import numpy as np
import pytest

import rdasde as rs
from rdasde._compiled.jit import implements
from rdasde._problems.row_terms import RowModel, row_terms


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


def test_a_class_without_a_row_model_is_refused():
    with pytest.raises(TypeError, match="problem_class is the class MLP"):
        rs.fit(rs.MLP, np.eye(3), np.zeros(3), rs.RDA(0.01))
