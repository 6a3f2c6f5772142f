"""Laws where there is no noise, and where the mean gradient jumps."""

import numpy as np
import pytest

import rdasde as rs
from rdasde._approximations.mean_flow import MeanFlow

ROW = np.array([[1.0, 2.0, -0.3]])
RULE = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))


@pytest.mark.parametrize(
    "problem",
    [
        rs.LinearRegression.from_data(ROW, [0.3]),
        rs.LinearRegression.from_data(np.tile(ROW, (7, 1)), [0.3] * 7),
        rs.LinearRegression.from_data(np.ones((5, 3)), np.ones(5)),
        rs.LogisticRegression.from_data(np.tile(ROW, (3, 1)), [1, 1, 1]),
    ],
    ids=["one row", "copies", "all ones", "labels"],
)
def test_without_noise_the_closure_is_the_algorithm(problem):
    """Every run is the same: std 0, and the mean that of the run; of first order up to the step size."""
    run = rs.simulate(problem, RULE, 3.0, times=4, seed=0).dual[0]
    for order, gap in ((2, 1e-9), (1, 0.2 * RULE.step_size)):
        law = rs.approximate(problem, RULE, 3.0, times=4, equation_order=order, check=False)
        assert float(law.dual_std.max()) == 0.0
        np.testing.assert_allclose(law.dual_mean, run, atol=gap, rtol=0)
        np.testing.assert_array_equal(law.probability_zero, law.primal_mean == 0.0)


class Signs(rs.Problem):
    """``G(w) = mean_i sign(w - c_i)``, of the absolute distance to a few points: a step function."""

    dimension, minimizer, has_exact_gradient = 2, None, True
    points = np.array([[0.0, 1.0], [0.5, 2.0], [3.0, 4.0]])

    def mean_gradient(self, w):
        return np.sign(w - self.points).mean(axis=0)

    def flow(self, start, times):
        return None

    hessian = noise_covariance = noise_factor = fastest_rate = trace = instability = None


def test_a_mean_flow_across_jumps_ends():
    """It reaches the medians (0.5, 2), in speed 1 and then 1/3, and rests there up to the size of a step."""
    Signs.__abstractmethods__ = frozenset()
    flow = MeanFlow(Signs(), rs.RDA(0.01), np.array([-1.0, 5.0]), 8.0)
    times = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
    expected = [[-1.0, 5.0], [0.0, 4.0], [1 / 3, 4 - 1 / 3], [0.5, 3.0], [0.5, 2.0]]
    np.testing.assert_allclose(flow(times).dual, expected, atol=1e-3)
