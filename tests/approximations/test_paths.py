"""The time steps of the dual diffusion: exact where there is no noise, of weak order two with it."""

import numpy as np
import pytest
from helpers import noise as problem_noise
from scipy.integrate import solve_ivp

import rdasde as rs
from rdasde._approximations import defect as defects
from rdasde._approximations import paths as _diffusion
from rdasde._approximations.pace import pace_of
from rdasde._approximations.paths import dual_paths
from rdasde._approximations.time_grid import diffusion_grid, has_feedback, resolution
from rdasde._compiled.lanes import lane_array
from rdasde._engine.run import TOLERANCE, MonteCarlo, Run
from rdasde._engine.time_axis import TimeAxis


def axis(*times):
    return TimeAxis(np.zeros(len(times), dtype=np.int64), np.array(times), 1)


def paths_of(problem, algorithm, start, at, number, seed, tolerance=TOLERANCE, order=1):
    return dual_paths(Run(problem, algorithm, start, at, order), MonteCarlo(number, seed, tolerance=tolerance))


COEF = np.array([3.0, -3.0, 2.0, 0.0, 0.0, 0.05])


@pytest.mark.parametrize("tolerance", [0.1, 1e-2])
def test_without_noise_paths_are_the_flow(tolerance):
    """Whatever the time step: the spread is 1e-7 here, the way the mean goes about 3."""
    problem = rs.LinearRegression(COEF, rs.AR1(6, 0.7))
    times = np.array([0.1, 0.5, 2.0])
    dual, _ = paths_of(problem, rs.RDA(1e-15), np.zeros(6), axis(0.0, *times), 16, 0, tolerance)
    exact = problem.flow(np.zeros(6), times)
    assert np.abs(dual[:, 1:] - exact).max() < 1e-4 * tolerance + 1e-6


def test_without_noise_a_steep_threshold_is_met():
    """g = 0.5 t^0.51, of infinite slope at 0, on coordinates that leave the region |v| <= g and others that stay."""
    step = 1e-15
    problem = rs.LinearRegression(COEF, rs.AR1(6, 0.7))
    algorithm = rs.RDA(step, rs.L1(), rs.PowerLaw(0.5 / np.sqrt(step), 0.51))

    def flow(t, v):
        return -problem.mean_gradient(algorithm.mirror.prox(v, 0.5 * t**0.51))

    times = np.array([0.05, 0.5, 2.0])
    exact = solve_ivp(flow, (0.0, 2.0), np.zeros(6), t_eval=times, rtol=1e-10, atol=1e-12, max_step=0.002).y.T
    dual, _ = paths_of(problem, algorithm, np.zeros(6), axis(0.0, *times), 16, 0)
    assert np.abs(dual[:, 1:] - exact).max() < 2e-4


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("step", [0.01, 0.001])
def test_twin(step, order):
    """Ten lines of NumPy, given the same noise; the larger step looks at the noise twice."""
    problem, algorithm = rs.OnlinePCA(np.diag([3.0, 2.0, 1.0])), rs.RDA(step, rs.L1(), rs.PowerLaw(0.5, 0.6))
    start, end = np.array([0.3, 0.6, -0.7]), 0.5
    lag = step if order == 2 else 0.0
    found, _ = paths_of(problem, algorithm, start, axis(end), 16, 3, 0.05, order)

    longest = resolution(problem, 0.05)
    twice = has_feedback(problem, algorithm, longest, 0.05)
    assert twice == (step == 0.01)
    grid = diffusion_grid(np.array([end]), longest, lag=lag)
    run = Run(problem, algorithm, start, axis(end), order)
    defect, _ = defects.defect(run, grid, pace_of(run, grid.times))
    streams = problem.make_streams(3, np.arange(16), (1,))
    scratch, xi, lanes = problem.scratch.allocate(), lane_array(3), lane_array(3)
    v = np.repeat(start[:, None], 16, axis=1)

    def primal(v, t):
        return algorithm.mirror.prox(v.T, algorithm.thresholds(np.array([t]))[0]).T

    def gradient(v, t):
        return np.array([problem.mean_gradient(point) for point in primal(v, t).T]).T

    def draw(v, t):
        lanes[:] = primal(v, t)
        problem_noise(problem.parameters, lanes, streams, scratch, xi)
        return np.sqrt(step) * xi

    for n, (a, b) in enumerate(zip(grid.times[:-1], grid.times[1:], strict=True)):
        h, slope = b - a, gradient(v, a)
        early = (h - lag) / 2 if h > 1.5 * lag else 0.0
        if twice and early:
            first = draw(v, a)
            kick = np.sqrt(h - early) * first + np.sqrt(early) * draw(v - h * slope + np.sqrt(h) * first, b)
        else:
            kick = np.sqrt(h) * draw(v - early * slope, a + early)
        v = v + kick - (h - early) * slope - early * gradient(v + kick - h * slope, b) + defect[n][:, None]
    np.testing.assert_allclose(found[:, -1], v.T, rtol=0, atol=1e-11)


def test_without_noise_paths_of_second_order_are_the_algorithm():
    """Rows that are all alike leave no noise; steps of 1 to 30 of the algorithm's own, up to gamma H = .3."""
    problem = rs.LinearRegression.from_data(np.array([[1.0, 0.5], [1.0, 0.5]]), np.array([1.0, 1.0]))
    algorithm = rs.RDA(0.08, rs.L1(), rs.PowerLaw(0.5, 0.6))
    options = {"horizon": 16.0, "times": [0.0, 0.08, 0.4, 1.6, 16.0], "start": np.array([0.2, -0.3])}
    runs = rs.simulate(problem, algorithm, seed=0, **options)
    theory = rs.approximate(problem, algorithm, method="paths", paths=16, check=False, **options)
    # the modified equation is off by (gamma H)^3 / 12 a step, half as much as it moves: 1e-3
    np.testing.assert_allclose(theory.dual[0], runs.dual[0], atol=1e-3)
    np.testing.assert_allclose(theory.dual[0, :3], runs.dual[0, :3], atol=1e-14)  # steps of one lag are exact


def test_noise_of_the_gradients_themselves():
    """Features in few rows: 4 000 runs and paths each, P(w_j = 0) within 5 standard errors, a false alarm in 2e-5."""
    generator = np.random.default_rng(1)
    rows = (generator.random((200, 5)) < np.array([0.5, 0.1, 0.02, 0.01, 0.005])).astype(float)
    rows[0] = 1.0
    problem = rs.LinearRegression.from_data(
        rows, rows @ np.array([1.0, -1.0, 0.0, 3.0, 0.0]) + generator.normal(size=200)
    )
    algorithm = rs.RDA(0.1, rs.L1(), rs.PowerLaw(0.5, 0.6))
    options = {"horizon": 20.0, "times": [0.1, 0.4, 2.0, 20.0]}
    zeros = [
        (run.primal == 0.0).mean(run.primal.dims[0]).values
        for run in (
            rs.simulate(problem, algorithm, replicates=4000, seed=0, **options),
            rs.approximate(
                problem, algorithm, method="paths", noise="gradients", paths=4000, seed=0, check=False, **options
            ),
        )
    ]
    pooled = np.clip(np.mean(zeros, axis=0), 1e-3, 1.0 - 1e-3)
    np.testing.assert_array_less(
        np.abs(zeros[0] - zeros[1]), 5.0 * np.sqrt(2.0 * pooled * (1.0 - pooled) / 4000) + 1e-12
    )
    gaussian = rs.approximate(problem, algorithm, method="paths", paths=4000, seed=0, check=False, **options)
    assert np.abs(gaussian.probability_zero.values - zeros[0]).max() > 0.1  # which Gaussian noise does not meet


def test_noise_of_the_gradients_sees_what_its_fluctuations_feed():
    """Standard deviations at gamma tr(H) = .6, where they were short by 11 %, are those of the exact moments.

    8 000 paths and the largest of 20 coordinates: a kurtosis of up to 6 leaves sqrt(5 / 32 000), five of these are a
    false alarm in 2e-5; and the tolerance of the time steps.
    """
    algorithm = rs.RDA(0.03)
    problem = rs.LinearRegression(np.repeat([1.0, 0.0], [5, 15]), rs.AR1(20, 0.9))
    options = {"horizon": 9.0, "times": [3.0, 9.0], "check": False}
    exact = rs.approximate(problem, algorithm, **options)
    drawn = rs.approximate(problem, algorithm, method="paths", noise="gradients", paths=8000, seed=0, **options)
    scores = (drawn.dual - drawn.dual_mean) / drawn.dual_std
    assert float((scores**4).mean("path").max()) < 6.0
    assert np.abs(drawn.dual_std / exact.dual_std - 1.0).max() < 0.01 + 5.0 * np.sqrt(5.0 / 32_000.0)


@pytest.mark.parametrize("paths", [20, 50])
def test_tasks_of_several_blocks_change_nothing(paths, monkeypatch):
    problem = rs.LinearRegression(COEF, rs.AR1(6, 0.5))
    algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))
    found = []
    for size in (1, 2**19):
        monkeypatch.setattr(_diffusion, "_TASK", size)
        found.append(paths_of(problem, algorithm, np.zeros(6), axis(0.0, 0.5, 1.0), paths, 0))
        limit = rs.approximate(problem, algorithm, 1.0, method="limit", start=COEF, paths=paths, times=3, seed=1)
        found[-1] += (limit.dual.values, limit.primal.values)
    for marched, together in zip(*found, strict=True):
        np.testing.assert_array_equal(marched, together)


def test_tasks_of_several_blocks_say_where_a_path_diverges(monkeypatch):
    problem, start = rs.OnlinePCA(np.diag([3.0, 2.0, 1.0])), np.array([40.0, 1.0, 1.0])
    algorithm = rs.RDA(0.1, rs.L1(), rs.PowerLaw(0.5, 0.6))
    said = []
    for size in (1, 2**19):
        monkeypatch.setattr(_diffusion, "_TASK", size)
        with pytest.raises(rs.DivergenceError) as caught:
            paths_of(problem, algorithm, start, axis(0.0, 1.0), 50, 0)
        said.append((str(caught.value), caught.value.step, caught.value.replicate))
    assert said[0] == said[1]
    assert said[0][2] == 0


def moments(problem, algorithm, times, tolerance, paths, seed):
    """Mean and standard deviation in the dual, and P(w_j = 0), from `paths` in blocks of 10^5."""
    total = 0.0
    for block in range(paths // 100_000):
        start = problem.default_start()
        run = paths_of(problem, algorithm, start, axis(0.0, *times), 100_000, seed + block, tolerance)
        dual, primal = (values[:, 1:] for values in run)
        total = total + np.array([dual.sum(axis=0), (dual**2).sum(axis=0), (primal == 0.0).sum(axis=0)])
    mean, square, zero = total / paths
    return mean, np.sqrt(square - mean**2), zero


@pytest.mark.slow
@pytest.mark.parametrize("step", [0.01, 0.1])  # the larger one's noise feeds on itself
@pytest.mark.parametrize("covariance", [None, rs.AR1(6, 0.6)], ids=["identity", "ar1"])
def test_bias_of_the_time_steps_is_within_the_tolerance(covariance, step):
    """Null: biases of mean and standard deviation are below the tolerance, in standard deviations, at every time.

    10^6 paths at each of two tolerances; 30 comparisons of each kind, each at 4.9 standard errors: false alarms 3e-5
    in all. The reference runs at a tolerance of 1e-3.
    """
    problem = rs.LinearRegression(COEF / 10.0, covariance)
    algorithm = rs.RDA(step, rs.L1(), rs.PowerLaw(0.5, 0.6))
    times, paths = np.array([0.1, 0.5, 1.0, 2.0, 4.0]), 1_000_000
    fine = moments(problem, algorithm, times, 1e-3, paths, 100)
    room = 4.9 * np.sqrt(2.0 / paths)
    for tolerance in (0.04, 0.01):
        coarse = moments(problem, algorithm, times, tolerance, paths, 200)
        assert np.abs((coarse[0] - fine[0]) / fine[1]).max() < tolerance + room
        assert np.abs(np.log(coarse[1] / fine[1])).max() < tolerance + room  # kurtosis is close to 3
        assert np.abs(coarse[2] - fine[2]).max() < tolerance + 0.5 * room


def test_responses_that_are_met_exactly_ask_for_no_shorter_steps_than_the_algorithm():
    """With fewer rows than coefficients residuals vanish, and the density of responses about them has no bound."""
    generator = np.random.default_rng(12)
    X = generator.standard_normal((10, 20))
    problem = rs.LinearModel.from_data(rs.QuantileLoss(0.7), X, generator.standard_normal(10))
    theory = rs.approximate(
        problem, rs.RDA(0.01, rs.L1(), rs.Constant(0.1)), 0.5, method="paths", paths=16, times=3, seed=0, check=False
    )
    assert theory.attrs["time_steps"] <= 50
