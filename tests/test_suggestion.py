"""`rs.suggest`: settings that do what their reasons say."""

import numpy as np
import pytest
from registry import PROBLEMS
from scipy.special import ndtr

import rdasde as rs

HORIZON = 20.0
COEF = np.array([0.5, -0.4, 0.0, 0.3, 0.0])


@pytest.mark.parametrize("name", [name for name in PROBLEMS if name != "own"])
def test_every_problem_gets_a_stable_algorithm(name):
    problem = PROBLEMS[name]
    algorithm = rs.suggest(problem, HORIZON)
    at = problem.minimizer if problem.minimizer is not None else np.full(problem.dimension, problem.dimension**-0.5)
    trace = np.maximum(np.linalg.eigvalsh(problem.hessian(at)), 0.0).sum() if problem.minimizer is not None else 0.0
    assert algorithm.step_size * trace / algorithm.batch_size <= 0.101
    assert problem.instability(algorithm.step_size, algorithm.batch_size) is None
    assert isinstance(algorithm.regularizer, rs.L1)
    assert 0.5 < algorithm.schedule.mu < 1.0
    assert algorithm.reasons[0].startswith(f"step_size {algorithm.step_size:.3g}: ")
    assert all(reason.endswith(".") and "\n" not in reason for reason in algorithm.reasons)
    assert algorithm == rs.RDA(algorithm.step_size, rs.L1(), algorithm.schedule, algorithm.batch_size)
    assert "reasons" not in repr(algorithm)


def test_accuracy_is_the_spread_of_an_iterate():
    """Least squares: the variance of a coordinate at its place is gamma sigma^2 / 2, whatever the design."""
    problem = rs.LinearRegression(COEF, rs.AR1(5, 0.6), noise_std=2.0)
    algorithm = rs.suggest(problem, HORIZON, accuracy=0.01)
    assert algorithm.step_size == pytest.approx(2.0 * 0.01**2 / 2.0**2, rel=2e-2)
    assert "has a standard deviation of 0.01 at most" in algorithm.reasons[0]


def test_the_threshold_is_above_the_noise_of_resting_coordinates():
    algorithm = rs.suggest(rs.LinearRegression(COEF), HORIZON, level=0.9)
    threshold = float(algorithm.schedule(HORIZON, algorithm.step_size))
    scores = threshold / np.sqrt(algorithm.step_size * HORIZON)  # of a walk of variance gamma t
    assert (2.0 * ndtr(scores) - 1.0) ** 2 == pytest.approx(0.9, abs=2e-3)  # two coordinates are zero


def test_coefficients_are_held_back_by_half_at_most():
    problem = rs.LinearRegression(COEF, rs.AR1(5, 0.6))
    algorithm = rs.suggest(problem, 5.0)
    g, on = algorithm.schedule, COEF != 0.0
    growth = (g(5.0, algorithm.step_size) - g(4.999, algorithm.step_size)) / 0.001
    hessian = problem.hessian(COEF)[np.ix_(on, on)]
    lag = np.abs(np.linalg.solve(hessian, np.sign(COEF[on]))) * growth
    assert (lag / np.abs(COEF[on])).max() < 0.51


def test_larger_batches_spare_steps_while_steps_stay_short():
    problem = rs.LinearRegression(COEF)
    alone, together = rs.suggest(problem, HORIZON), rs.suggest(problem, HORIZON, steps=300)
    assert alone.batch_size == 1
    assert together.batch_size > 1
    assert together.step_size / together.batch_size == pytest.approx(alone.step_size, rel=1e-2)
    assert any("in place of" in reason for reason in together.reasons)
    assert rs.suggest(problem, HORIZON, steps=3).step_size <= 0.2
    assert any(reason.startswith("It takes ") for reason in rs.suggest(problem, HORIZON, steps=3).reasons)


def test_support_is_found():
    """P(no zero coordinate is active) is .95 by design, .943 with the noise of an iterate's spread.

    2 000 runs: below .922 with probability below 1e-4.
    """
    problem = rs.LinearRegression(COEF, rs.AR1(5, 0.3))
    algorithm = rs.suggest(problem, HORIZON)
    runs = rs.simulate(problem, algorithm, HORIZON, replicates=2000, times=2, seed=5)
    alive = runs["primal"].values[:, -1] != 0.0
    assert (~alive[:, COEF == 0.0]).all(axis=1).mean() > 0.922
    assert alive[:, COEF != 0.0].mean() > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear-ar1", "linear-rows", "logistic-identity"])
def test_bands_can_be_trusted_at_what_is_suggested(name):
    problem = PROBLEMS[name]
    trusted = rs.validate.calibration(problem, rs.suggest(problem, HORIZON), HORIZON, times=9, seed=20)
    assert trusted.attrs["verdict_paths"] == "trust"


def test_messages():
    with pytest.raises(TypeError) as caught:
        rs.suggest(COEF, HORIZON)
    assert str(caught.value) == (
        "problem is an array of shape (5,) (ndarray), but must be a problem: "
        "pass for example rs.LinearRegression(coef)."
    )
    with pytest.raises(ValueError, match=r"^accuracy is -1.0, but must be a finite number > 0: give a standard dev"):
        rs.suggest(rs.LinearRegression(COEF), HORIZON, accuracy=-1.0)
    with pytest.raises(ValueError, match=r"^horizon is 0, but must be a finite number > 0: give for example"):
        rs.suggest(rs.LinearRegression(COEF), 0)
