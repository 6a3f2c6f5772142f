"""Nouns that are copied are equal, and nobody changes half of one."""

import copy
import pickle

import numpy as np
import pytest
from registry import PROBLEMS

import rdasde as rs

COVARIANCES = {
    name: problem.covariance for name, problem in PROBLEMS.items() if getattr(problem, "covariance", None) is not None
}


@pytest.mark.parametrize("name", COVARIANCES)
def test_copies_of_a_covariance_are_equal(name):
    covariance = COVARIANCES[name]
    for same in (copy.copy(covariance), copy.deepcopy(covariance), pickle.loads(pickle.dumps(covariance))):
        assert same == covariance
        assert hash(same) == hash(covariance)
    assert covariance != rs.AR1(2, 0.123)


@pytest.mark.parametrize(
    ("noun", "attribute"),
    [
        (rs.LinearRegression([0.5, 0.0]), "coef"),
        (rs.LinearRegression([0.5, 0.0]), "minimizer"),
        (rs.LinearRegression.from_data(np.eye(2), [0.0, 1.0]), "coef"),
        (rs.LogisticRegression([0.5, 0.0]), "coef"),
        (rs.LinearModel(rs.HuberLoss(1.0), [0.5, 0.0]), "coef"),
        (rs.L1([1.0, 2.0]), "weights"),
        (rs.GroupLasso([0, 0, 1]), "groups"),
        (rs.Box([0.0, 1.0], 2.0), "lower"),
    ],
)
def test_what_was_computed_from_an_attribute_cannot_fall_behind_it(noun, attribute):
    with pytest.raises(ValueError, match="read-only"):
        getattr(noun, attribute)[:] = 9


def test_a_problem_of_ones_own_keeps_its_parameters():
    """Whatever happens to the array that they were given as."""

    def gradient(c, w, rng, out):
        out[:] = w - c + rng.standard_normal()

    mine = np.array([0.5, 1.0])
    problem = rs.StochasticProblem(gradient, mine, 2, mean_gradient=lambda c, w: w - c)
    mine[:] = 9.0
    np.testing.assert_array_equal(problem.mean_gradient(np.zeros(2)), [-0.5, -1.0])
