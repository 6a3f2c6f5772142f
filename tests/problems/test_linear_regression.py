"""Linear regression: closed forms, the compiled pieces, samples."""

import numpy as np
import pytest
import scipy.linalg
from helpers import add_gradient, covariance_z_scores, drift, hessian_product, in_lanes, noise, sample

import rdasde as rs
from rdasde._compiled.lanes import lane_array


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
def test_gradient_vanishes_at_the_minimizer_and_has_the_hessian_as_jacobian(problem):
    d = problem.dimension
    np.testing.assert_allclose(problem.mean_gradient(problem.minimizer), 0.0, atol=1e-13)
    w, h = np.linspace(-1.0, 1.0, d), 1e-4
    jacobian = [(problem.mean_gradient(w + h * e) - problem.mean_gradient(w - h * e)) / (2 * h) for e in np.eye(d)]
    np.testing.assert_allclose(np.array(jacobian).T, problem.hessian(w), atol=1e-9)


@each
def test_noise_factor_squares_to_the_covariance(problem):
    w = np.linspace(0.5, -1.0, problem.dimension)
    factor = problem.noise_factor(w)
    np.testing.assert_allclose(factor @ factor.T, problem.noise_covariance(w), rtol=1e-12, atol=1e-12)


@each
def test_compiled_pieces_equal_numpy(problem):
    d = problem.dimension
    w, u = np.linspace(0.5, -1.0, d), np.linspace(1.0, 2.0, d)
    out = lane_array(d)
    drift(problem.parameters, in_lanes(w), problem.scratch.allocate(), out)
    np.testing.assert_allclose(out, in_lanes(problem.mean_gradient(w)), rtol=1e-12, atol=1e-12)
    hessian_product(problem.parameters, in_lanes(w), in_lanes(u), problem.scratch.allocate(), out)
    np.testing.assert_allclose(out, in_lanes(problem.hessian(w) @ u), rtol=1e-12, atol=1e-12)


@each
@pytest.mark.parametrize("kernel", [add_gradient, noise], ids=["gradients", "noise"])
def test_samples_have_the_mean_and_covariance_of_the_theory(problem, kernel):
    # null: mean G (0 for the noise), covariance Sigma. n = 10^6 gradients: 0.1 % of the standard deviation; at most
    # 5 + 25 z-scores, each beyond 5.2 with probability 2e-7: false alarm 6e-6
    w = np.linspace(0.5, -1.0, problem.dimension)
    samples = sample(kernel, problem, w, 1_000_000 if kernel is add_gradient else 200_000, seed=1)
    mean = problem.mean_gradient(w) if kernel is add_gradient else np.zeros(problem.dimension)
    error = np.sqrt(np.diag(problem.noise_covariance(w)) / len(samples))
    assert np.abs((samples.mean(axis=0) - mean) / error).max() < 5.2
    assert np.abs(covariance_z_scores(samples, problem.noise_covariance(w))).max() < 5.2


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
    gradient, _, sigma = problem.expectations(mean, covariance)
    np.testing.assert_allclose(gradient, np.mean([problem.mean_gradient(p) for p in points], axis=0), atol=1e-12)
    np.testing.assert_allclose(sigma, np.mean([problem.noise_covariance(p) for p in points], axis=0), atol=1e-10)


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
