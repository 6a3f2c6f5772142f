"""Linear regression: closed forms and stability; the laws of every problem are in test_laws."""

import numpy as np
import pytest
import scipy.linalg

import rdasde as rs


def gaussian():
    covariance = np.array([[1.0, 0.4, 0.1], [0.4, 0.8, 0.0], [0.1, 0.0, 1.5]])
    return rs.LinearRegression([0.5, -1.0, 0.0], covariance, noise_std=0.6)


def on_rows():
    generator = np.random.default_rng(3)
    rows = generator.standard_normal((130, 4)) @ np.diag([1.0, 0.5, 2.0, 1.0]) + 0.2
    return rs.LinearRegression.from_data(rows, rows @ [1.0, 0.0, -0.5, 0.3] + generator.exponential(size=130))


PROBLEMS = {
    "gaussian": gaussian,
    "identity": lambda: rs.LinearRegression([0.3, 0.0]),
    "diagonal": lambda: rs.LinearRegression([0.3, 0.0, 1.0], [0.5, 1.0, 2.0]),
    "AR1": lambda: rs.LinearRegression([0.3, 0.0, 1.0, -1.0, 0.2], rs.AR1(5, 0.8), 2.0),
    "rows": on_rows,
}
each = pytest.mark.parametrize("problem", [make() for make in PROBLEMS.values()], ids=list(PROBLEMS))


@each
def test_flow_is_the_matrix_exponential(problem):
    start, times = np.linspace(1.0, 2.0, problem.dimension), np.array([0.0, 0.3, 2.0])
    target = [
        problem.minimizer + scipy.linalg.expm(-t * problem.hessian(start)) @ (start - problem.minimizer) for t in times
    ]
    np.testing.assert_allclose(problem.flow(start, times), target, atol=1e-12)


@each
def test_gaussian_expectations(problem):
    """E G(W) and E Sigma(W) against an exact average over a two-point-per-axis rule (all is quadratic in W)."""
    d = problem.dimension
    root = np.random.default_rng(0).standard_normal((d, d)) / 3.0
    mean, covariance = np.linspace(0.0, 1.0, d), root @ root.T
    points = [mean + sign * np.sqrt(d) * column for column in root.T for sign in (1.0, -1.0)]
    found = problem.expectations(mean, covariance)
    np.testing.assert_allclose(found.gradient, np.mean([problem.mean_gradient(p) for p in points], axis=0), atol=1e-12)
    np.testing.assert_allclose(
        found.whole_noise(), np.mean([problem.noise_covariance(p) for p in points], axis=0), atol=1e-10
    )


def test_data_gradients_are_those_of_the_rows():
    problem = on_rows()
    w = np.ones(4)
    scores = problem.rows * (problem.rows @ w - problem.response)[:, None]
    np.testing.assert_allclose(problem.mean_gradient(w), scores.mean(axis=0))
    np.testing.assert_allclose(problem.noise_covariance(w), np.cov(scores.T, ddof=0))


@pytest.mark.parametrize(("d", "rho", "critical"), [(1, 0.0, 0.67), (8, 0.6, 1.29), (200, 0.8, 1.91)])
def test_critical_step_sizes_of_the_theory(d, rho, critical):
    """Theory, section 4: where mean-square stability ends at batch size 1, in units of gamma tr(H)."""
    problem = rs.LinearRegression(np.zeros(d), rs.AR1(d, rho))
    assert problem.instability(0.99 * critical / d, 1) is None
    assert problem.instability(1.01 * critical / d, 1) is not None
    assert problem.instability(1.01 * critical / d, 8) is None


def test_stability_on_rows_is_the_exact_second_moment_map():
    # d = 1: E(1 - gamma x^2)^2 = 1 - 2 gamma m2 + gamma^2 m4 < 1 iff gamma < 2 m2 / m4
    x = np.random.default_rng(2).standard_normal((50, 1))
    problem = rs.LinearRegression.from_data(x, x[:, 0])
    critical = 2.0 * np.mean(x**2) / np.mean(x**4)
    assert problem.instability(0.98 * critical, 1) is None
    assert problem.instability(1.02 * critical, 1) is not None


def test_more_columns_than_rows():
    rows = np.random.default_rng(0).standard_normal((5, 8))
    problem = rs.LinearRegression.from_data(rows, np.ones(5))
    np.testing.assert_allclose(problem.mean_gradient(problem.minimizer), 0.0, atol=1e-12)
    assert problem.instability(0.01, 1) is None
