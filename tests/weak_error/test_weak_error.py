"""The weak error: against moments that close, and the fit of its order on errors whose order is known."""

import concurrent.futures
import re

import numpy as np
import pytest
import scipy.stats
from helpers import add_gradient, covariance_z_scores, drift, in_lanes, noise, sample

import rdasde as rs
from rdasde._compiled import random as _random
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._engine import blocks
from rdasde._weak_error import weak_error as _weak_error
from rdasde._weak_error.control_variate import Controlled
from rdasde._weak_error.order import fit_order

COEF = np.array([0.5, -0.3, 0.0])
PROBLEM = rs.LinearRegression(COEF, rs.AR1(3, 0.5), noise_std=0.5)
ALGORITHM = rs.RDA(0.02, rs.L1(), rs.PowerLaw(0.3, 0.6))
PLAIN = rs.RDA(0.02, rs.L1(), rs.PowerLaw(0.0, 0.6))  # no threshold: stochastic gradient descent
FUNCTIONS = {"first": lambda w: w[..., 0], "square": lambda w: w[..., 0] ** 2, "norm": lambda w: (w**2).sum(axis=-1)}
OPTIONS = {"step_sizes": [0.04, 0.02], "test_functions": FUNCTIONS, "replicates": 64, "paths": 64, "seed": 0}


def soft(v, threshold, out):
    for j in range(v.size):
        excess = abs(v[j]) - threshold
        out[j] = np.copysign(0.0 if excess <= 0.0 else excess, v[j])


def shrink(v, threshold, out):
    out[:] = v / (1.0 + threshold)


def weak_error(algorithm=ALGORITHM, horizon=0.4, **options):
    return rs.weak_error(PROBLEM, algorithm, horizon, **(OPTIONS | options))


class TestFit:
    step_sizes = np.array([0.02, 0.01, 0.005, 0.0025, 0.00125])

    def test_exact_power_law(self):
        error = -0.3 * self.step_sizes**1.3
        found = fit_order(self.step_sizes, error, 1e-4 * np.abs(error))
        assert found.value == pytest.approx(1.3, abs=1e-6)
        assert found.lower < 1.3 < found.upper < found.lower + 1e-3

    @pytest.mark.parametrize("noise", [0.03, 0.2])
    def test_interval_covers(self, noise):
        """Null: the interval holds the true order with probability .95 at least; n = 1 000, false alarm 1e-4."""
        generator = np.random.default_rng(0)
        truth = 0.3 * self.step_sizes
        deviation = noise * truth
        held = 0
        for _ in range(1000):
            found = fit_order(self.step_sizes, truth + deviation * generator.standard_normal(5), deviation)
            held += found.lower <= 1.0 <= found.upper
        assert held >= scipy.stats.binom.ppf(1e-4, 1000, 0.95)

    def test_noise_alone_has_no_order(self):
        """Null: of errors that are noise an order is given in one of ten cases at most; n = 1 000, false alarm 1e-4."""
        generator = np.random.default_rng(1)
        given = sum(
            np.isfinite(fit_order(self.step_sizes, generator.standard_normal(5), np.ones(5)).value) for _ in range(1000)
        )
        assert given <= scipy.stats.binom.isf(1e-4, 1000, 0.1)

    def test_errors_off_a_power_law_widen_the_interval(self):
        error = self.step_sizes + 30.0 * self.step_sizes**2
        found = fit_order(self.step_sizes, error, 1e-3 * error)
        slopes = np.diff(np.log(error)) / np.diff(np.log(self.step_sizes))
        assert found.scatter > 100.0
        assert slopes.min() < found.value < slopes.max()
        assert found.upper - found.lower > 10.0 * 1e-3

    def test_two_step_sizes(self):
        found = fit_order(np.array([0.02, 0.01]), np.array([0.2, 0.1]), np.array([0.01, 0.01]))
        assert found.value == pytest.approx(1.0, abs=1e-6)
        assert np.isnan(found.scatter)
        assert found.lower < 1.0 < found.upper


class TestExact:
    def test_one_dimension(self):
        """E (1 - gamma mean x^2)^2 = 1 - 2 gamma h + gamma^2 h^2 (1 + 2/b)."""
        h, sigma, gamma, b, n = 1.7, 0.6, 0.05, 3, 20
        found = rs.validate.exact_weak_error(
            rs.LinearRegression([0.4], [h], sigma), n * gamma, step_sizes=[gamma, gamma / 2], batch_size=b
        )
        factor = 1.0 - 2.0 * gamma * h + (gamma * h) ** 2 * (1.0 + 2.0 / b)
        added = gamma**2 * sigma**2 * h / b
        discrete = 0.16 * factor**n + added * (1.0 - factor**n) / (1.0 - factor)
        for order in (1, 2):
            factor_of_noise = 1.0 + (order - 1) * 0.5 * gamma * h
            pull = h * factor_of_noise
            rate = 2.0 * pull - 2.0 * gamma / b * h**2 * factor_of_noise**4
            t = n * gamma
            made = gamma / b * sigma**2 * h * factor_of_noise**2
            square = 0.16 * np.exp(-rate * t) + made * (1.0 - np.exp(-rate * t)) / rate
            first = -0.4 * ((1.0 - gamma * h) ** n - np.exp(-pull * t))
            at = found.isel(step_size=0, coordinate=0).sel(equation=order)
            np.testing.assert_allclose(at.first_moment, first, rtol=1e-10)
            np.testing.assert_allclose(at.second_moment, discrete - square + 0.8 * first, rtol=1e-9)

    def test_orders(self):
        """The two equations are of first and second order: local slopes on the way to 1 and 2."""
        gammas = 0.02 / 2.0 ** np.arange(6)
        start = np.array([1.5, 0.7, -1.0])
        found = rs.validate.exact_weak_error(PROBLEM, 1.0, step_sizes=gammas, start=start)
        for order in (1, 2):
            slopes = found.local_order.sel(equation=order).values[:-1]
            assert abs(slopes[-1] - order) < 0.05
            assert np.all(np.diff(np.abs(slopes - order)) < 0.0)
        # the first moments know of the drift only
        first = found.first_moment.values
        np.testing.assert_allclose(np.log2(first[0, -2] / first[0, -1]), 1.0, atol=0.01)
        np.testing.assert_allclose(np.log2(first[1, -2] / first[1, -1]), 2.0, atol=0.01)

    def test_a_data_set_is_refused(self):
        problem = rs.LinearRegression.from_data(np.eye(3), np.ones(3))
        with pytest.raises(TypeError, match="must be linear regression on a Gaussian design"):
            rs.validate.exact_weak_error(problem, 1.0, step_sizes=[0.02, 0.01])


class TestControl:
    def pair(self):
        """The controlled problem, and random states of it in lanes."""
        start = np.array([0.8, -0.5, 0.3])
        controlled = Controlled(PROBLEM, ALGORITHM, start, 0.4, second_order=True)
        states = lane_array(7)
        states[:6] = np.random.default_rng(0).standard_normal((6, LANES))
        states[2] = 0.0  # a coordinate at rest
        states[6] = 0.17
        return controlled, states

    def test_drift_as_in_numpy(self):
        controlled, states = self.pair()
        out = lane_array(7)
        drift(controlled.parameters, states, controlled.scratch.allocate(), out)
        for lane in range(LANES):
            np.testing.assert_allclose(out[:, lane], controlled.mean_gradient(states[:, lane]), rtol=1e-12)

    def test_noise_as_in_numpy(self):
        """Null: 8 000 draws have the covariance of the NumPy twin (4.5 standard errors, 28 moments, false alarm 2e-4
        at most by Bonferroni: so 5)."""
        controlled, states = self.pair()
        state = states[:, 0].copy()
        draws = sample(noise, controlled, state, 8000, seed=5)
        expected = controlled.noise_covariance(state)
        assert np.all(np.abs(covariance_z_scores(draws, expected)) < 5.0)
        plain = PROBLEM.noise_covariance(state[:3])
        assert np.linalg.norm(expected[:3, :3] - plain) > 1e-3 * np.linalg.norm(plain)

    def test_gradient_is_the_sample_of_the_inner_problem(self):
        """u gets the same sample less its mean, and J u; the clock one step."""
        controlled, states = self.pair()
        out, inner = lane_array(7), lane_array(3)
        scratch = controlled.scratch.allocate()
        streams = [_random.streams(3, np.arange(LANES)) for _ in range(2)]
        add_gradient(controlled.parameters, states, streams[0], scratch, out)
        add_gradient(PROBLEM.parameters, lane_copy(states[:3]), streams[1], PROBLEM.scratch.allocate(), inner)
        np.testing.assert_array_equal(out[:3], inner)
        for lane in range(LANES):
            decay = controlled.mean_gradient(states[:, lane])[3:6]
            expected = inner[:, lane] - PROBLEM.mean_gradient(states[:3, lane]) + decay
            np.testing.assert_allclose(out[3:6, lane], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(out[6], -1.0)

    def test_estimate_is_a_regression(self):
        """In chunks, the intercept of a regression on the controls."""
        generator = np.random.default_rng(2)
        controls = generator.standard_normal((500, 3)) * [1.0, 1e-3, 0.0]
        values = 2.0 + controls @ np.array([[1.0], [50.0], [0.0]]) + 0.1 * generator.standard_normal((500, 1))
        table = np.hstack([values, controls])
        estimate = _weak_error._Estimate.of(iter(np.split(table, [16, 200])), 1)
        mean, variance, plain = estimate.means()
        design = np.column_stack([np.ones(500), controls[:, :2]])
        fitted = np.linalg.lstsq(design, values[:, 0], rcond=None)[0]
        np.testing.assert_allclose(mean[0], fitted[0], rtol=1e-10)
        left = np.sum((values[:, 0] - design @ fitted) ** 2) / (500 - 4) / 500
        np.testing.assert_allclose(variance[0], left, rtol=1e-9)
        np.testing.assert_allclose(plain[0], values.var(ddof=1) / 500, rtol=1e-9)
        score = np.abs(controls[:, :2].mean(axis=0) / controls[:, :2].std(axis=0, ddof=1)).max() * np.sqrt(500)
        assert estimate.control_score() == pytest.approx(score)


def lane_copy(states):
    out = in_lanes(np.zeros(len(states)))
    out[:] = states
    return out


class TestWeakError:
    @pytest.mark.parametrize("equation_order", [1, 2])
    def test_agrees_with_moments_that_close(self, equation_order):
        """Null: without a threshold the error is the exact one (4.5 standard errors of 6 000 runs and paths, and a
        time-step bias of a tenth of it); false alarm 7e-6 each of six."""
        start = [1.0, -1.0, 0.8]
        found = weak_error(PLAIN, 0.4, start=start, replicates=6000, paths=6000, equation_order=equation_order)
        exact = rs.validate.exact_weak_error(PROBLEM, 0.4, step_sizes=[0.04, 0.02], start=start)
        exact = exact.sel(equation=equation_order)
        truth = {
            "first": exact.first_moment.sel(coordinate=0),
            "square": exact.second_moment.sel(coordinate=0),
            "norm": exact.squared_norm,
        }
        scale = rs.validate.exact_weak_error(PROBLEM, 0.4, step_sizes=[0.04, 0.02], start=start).sel(equation=1)
        room = {"first": scale.first_moment.sel(coordinate=0), "square": scale.second_moment.sel(coordinate=0)}
        room["norm"] = scale.squared_norm
        for name, expected in truth.items():
            at = found.sel(test_function=name)
            allowed = 4.5 * at.standard_error.values + 0.1 * np.abs(room[name].values)
            assert np.all(np.abs(at.error.values - expected.values) < allowed), name
        # to first order in the noise nothing is left of the variance
        assert np.all(found.gain.sel(test_function="first") > 20.0)

    def test_whatever_the_executor(self):
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            np.testing.assert_array_equal(weak_error(executor=pool).error, weak_error().error)

    def test_flat_memory(self, monkeypatch):
        """Chunks change nothing of the runs but rounding."""
        whole = weak_error(replicates=96)
        monkeypatch.setattr(blocks, "_CHUNK", 7 * 16)
        np.testing.assert_allclose(weak_error(replicates=96).discrete, whole.discrete, rtol=1e-12)

    def test_what_it_returns(self):
        found = weak_error(horizon=0.43, progress=False)
        np.testing.assert_allclose(found.time, [0.4, 0.42])  # whole steps within the horizon
        for name in ("error", "standard_error", "floor", "time_step_bias", "time_step_bias_error", "gain"):
            assert found[name].dims == ("test_function", "step_size")
            assert np.all(np.isfinite(found[name]))
        for name in ("order", "order_lower", "order_upper", "scatter"):
            assert found[name].dims == ("test_function",)
        np.testing.assert_allclose(found.error, found.discrete - found.diffusion)
        assert found.attrs["seed"] == 0
        assert found.test_function.values.tolist() == list(FUNCTIONS)

    def test_batches(self):
        """Null: means of 3 000 runs in batches of 4 are those of simulate (4.5 standard errors; false alarm 7e-6)."""
        algorithm = rs.RDA(0.04, rs.L1(), rs.PowerLaw(0.3, 0.6), batch_size=4)
        found = weak_error(algorithm, replicates=3000)
        runs = rs.simulate(PROBLEM, algorithm, 0.4, replicates=3000, times=[0.4], seed=1).primal.values[:, 0, 0]
        gap = float(found.discrete.sel(test_function="first", step_size=0.04)) - runs.mean()
        assert abs(gap) < 4.5 * runs.std() * np.sqrt(2.0 / 3000)

    CASES = [
        (
            {"step_sizes": [0.1]},
            "step_sizes is [0.1], but must be at least two different numbers > 0: "
            "give for example [0.02, 0.01, 0.005].",
        ),
        (
            {"step_sizes": [0.1, 0.0]},
            "step_sizes is [0.1, 0], but must be at least two different numbers > 0: "
            "give for example [0.02, 0.01, 0.005].",
        ),
        (
            {"step_sizes": [0.1, 0.5]},
            "horizon is 0.4, shorter than one step, but must be at least the step size 0.5: "
            "give a longer horizon, in units of t = n * step_size.",
        ),
        (
            {"test_functions": {"all": lambda w: w}},
            "test_functions['all'] is a function that makes float64 of shape (4, 3) of states of shape (4, 3), but "
            "must be one that returns shape (4,): work on the last axis, as in (w**2).sum(axis=-1).",
        ),
        (
            {"replicates": 10},
            "replicates is 10, but must be a whole number >= 16: give the number of runs.",
        ),
        ({"equation_order": 3}, "equation_order is 3, but must be 1 or 2: choose one of these."),
    ]

    @pytest.mark.parametrize(("options", "message"), CASES)
    def test_bad_values(self, options, message):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            weak_error(**options)

    def test_bad_kinds(self):
        message = (
            "test_functions is {} (dict), but must be a dict from name to a function of states (..., d): "
            "pass for example {'risk': lambda w: (w**2).sum(axis=-1)}."
        )
        with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
            weak_error(test_functions={})

    @pytest.mark.slow
    def test_a_soft_threshold_of_ones_own(self):
        """Like L1 at second order, up to the quadrature behind the control variate."""
        own = rs.RDA(0.02, rs.CustomRegularizer(soft), rs.PowerLaw(0.3, 0.6))
        ours, expected = (weak_error(algorithm, equation_order=2) for algorithm in (own, ALGORITHM))
        for name in ("error", "discrete", "diffusion", "standard_error", "time_step_bias"):
            np.testing.assert_allclose(ours[name], expected[name], atol=1e-6, err_msg=name)
        shrunk = rs.RDA(0.02, rs.CustomRegularizer(shrink), rs.PowerLaw(0.3, 0.6))
        with pytest.raises(ValueError, match=re.escape("equation_order is 2 with CustomRegularizer(shrink), but must")):
            weak_error(shrunk, equation_order=2)

    def test_second_order_needs_slopes_of_zero_or_one(self):
        message = (
            "equation_order is 2 with ElasticNet(l2=0.5), but must be 1 unless the regularizer is L1, NonNegativeL1 or "
            "none: its mirror map must have slope 0 or 1."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            weak_error(rs.RDA(0.02, rs.ElasticNet(0.5), rs.PowerLaw(0.3, 0.6)), equation_order=2)


@pytest.mark.slow
@pytest.mark.parametrize(("equation_order", "low", "high"), [(1, 0.85, 1.4), (2, 1.7, 2.4)])
def test_orders_with_a_threshold(equation_order, low, high):
    """All coordinates stay active: the orders are 1 and 2, each known to .3 (95 %)."""
    problem = rs.LinearRegression([1.0, -1.0, 1.0, -1.0], rs.AR1(4, 0.6), 0.5)
    found = rs.weak_error(
        problem,
        ALGORITHM,
        1.0,
        step_sizes=[0.04, 0.02, 0.01, 0.005],
        test_functions=FUNCTIONS,
        replicates=20_000,
        paths=20_000,
        start=[2.0, -0.5, 0.5, -2.0],
        seed=0,
        equation_order=equation_order,
    ).sel(test_function="first")
    assert low < float(found.order) < high
    assert float(found.order_upper - found.order_lower) < 0.6
