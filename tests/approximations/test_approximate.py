"""The four ways to approximate: against closed forms, and against each other where theory says they agree."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import xarray as xr

import rdasde as rs
from rdasde._approximations.moment_equations import primal_covariance


def lyapunov_at(problem, t, step):
    """Covariance of U at time t for linear regression, by quadrature of exp(-(t-s)H) Sigma(w(s)) exp(-(t-s)H)."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    s = 0.5 * t * (nodes + 1.0)
    total = np.zeros((problem.dimension, problem.dimension))
    for point, weight in zip(s, 0.5 * t * weights, strict=True):
        decay = scipy.linalg.expm(-(t - point) * problem.hessian(problem.coef))
        w = problem.flow(np.zeros(problem.dimension), np.array([point]))[0]
        total += weight * decay @ problem.noise_covariance(w) @ decay.T
    return total


class TestLimit:
    coef = np.array([0.5, -0.4, 0.3])
    covariance = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.5], [0.2, 0.5, 1.0]])

    def problem(self):
        return rs.LinearRegression(self.coef, self.covariance, noise_std=0.7)

    def test_stationary_covariance_solves_lyapunov(self):
        """HC + CH = Sigma(w*); here sigma^2/2 I for any H."""
        problem = self.problem()
        sigma = problem.noise_covariance(self.coef)
        stationary = scipy.linalg.solve_continuous_lyapunov(problem.hessian(self.coef), sigma)
        np.testing.assert_allclose(stationary, 0.49 / 2.0 * np.eye(3), atol=1e-12)
        algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(0.3, 0.6))
        theory = rs.approximate(problem, algorithm, 60.0, method="limit", times=3, check=False)
        np.testing.assert_allclose(theory.dual_std[-1] ** 2 / 1e-3, np.diag(stationary), rtol=1e-6)
        np.testing.assert_allclose(theory.primal_std[-1], theory.dual_std[-1], rtol=1e-12)

    @pytest.mark.parametrize("batch_size", [1, 4])
    def test_covariance_on_the_way(self, batch_size):
        problem = self.problem()
        algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(0.3, 0.6), batch_size=batch_size)
        theory = rs.approximate(problem, algorithm, 1.5, method="limit", times=4, check=False)
        for t, std in zip(theory.time.values[1:], theory.dual_std.values[1:], strict=True):
            exact = np.diag(lyapunov_at(problem, t, 1e-3)) / batch_size
            np.testing.assert_allclose(std**2 / 1e-3, exact, rtol=1e-6)

    def test_shift_of_the_mean(self):
        """mean of D_t(U) = -int Phi d[sgn(w) c s^mu], over the changes of sign too (theory, section 2b)."""
        c, mu, step = 0.4, 0.6, 1e-4
        start = np.array([-0.3, 0.2, 0.1])  # two coordinates change sign on the way
        problem, algorithm = self.problem(), rs.RDA(step, rs.L1(), rs.PowerLaw(c, mu))
        theory = rs.approximate(problem, algorithm, 3.0, method="limit", times=4, start=start, check=False)
        hessian = problem.hessian(self.coef)
        t = 3.0
        fine = t * np.linspace(0.0, 1.0, 200_001) ** 2
        signs = np.sign(problem.flow(start, fine))
        assert np.count_nonzero(np.any(np.diff(signs, axis=0) != 0.0, axis=1)) == 2
        values, vectors = np.linalg.eigh(hessian)
        increments = np.diff(signs * (c * fine**mu)[:, None], axis=0) @ vectors
        middle = 0.5 * (fine[1:] + fine[:-1])
        shift = -vectors @ (np.exp(-np.outer(t - middle, values)) * increments).sum(axis=0)
        found = (theory.primal_mean - theory.primal_ode).values[-1] / np.sqrt(step)
        np.testing.assert_allclose(found, shift, atol=2e-5)

    def test_monte_carlo_where_a_coordinate_rests(self):
        """Identity design: coordinates decouple. Where w_j = 0, dU = -S(U, c t^mu) dt + Sigma(t)^(1/2) dB."""
        problem = rs.LinearRegression([1.0, 0.0], noise_std=0.5)
        algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(0.5, 0.6))
        theory = rs.approximate(problem, algorithm, 3.0, method="limit", times=4, paths=4000, seed=0, check=False)
        assert theory.dual.dims == ("path", "time", "coordinate")
        gaussian = rs.approximate(
            rs.LinearRegression([1.0], noise_std=0.5), algorithm, 3.0, method="limit", times=4, check=False
        )
        # null: the first coordinate is as in one dimension. n = 4 000:
        # mean 4.5 standard errors, variance 4.5 times sqrt(2/n); false alarm 7e-6 each
        z = (theory.dual_mean[1:, 0] - gaussian.dual_mean[1:, 0]) / gaussian.dual_std[1:, 0] * np.sqrt(4000)
        assert np.abs(z).max() < 4.5
        ratio = (theory.dual_std[1:, 0] / gaussian.dual_std[1:, 0]) ** 2
        assert np.abs(ratio - 1.0).max() < 4.5 * np.sqrt(2.0 / 4000)
        # the resting coordinate by its Fokker-Planck equation, on a fine grid
        exact = resting_density(lambda t: 0.25 + np.exp(-2.0 * t), 0.5, 0.6, 3.0)
        share = float(theory.probability_zero[-1, 1])
        assert abs(share - exact) < 4.5 * np.sqrt(exact * (1 - exact) / 4000) + 2e-3

    def test_linear_schedule_follows_the_theory(self):
        """g = lambda t: D_t(U)_j = U_j 1{|v_j(t)| > lambda t}; where the flow rests, v diffuses freely."""
        problem = rs.LinearRegression([1.0, 0.0], noise_std=0.5)
        algorithm = rs.RDA(1e-3, rs.L1(), rs.Linear(0.1))
        theory = rs.approximate(problem, algorithm, 2.0, method="limit", times=5, check=False)
        runs = rs.simulate(problem, algorithm, 2.0, times=5, replicates=4000, seed=1)
        np.testing.assert_allclose(theory.dual_ode, runs.dual.mean("replicate"), atol=6e-3)
        assert np.all(theory.probability_zero[1:, 1] == 1.0)
        np.testing.assert_allclose(theory.dual_std[1:], runs.dual.std("replicate")[1:], rtol=0.08)

    def test_a_schedule_of_ones_own_with_its_limit(self):
        """A class with `tuning` and `limit` is what PowerLaw is; one that says less is refused, as is a function."""

        class Own:
            def __call__(self, t, step_size):
                return 0.4 * np.sqrt(step_size) * t**0.6

            def limit(self, t):
                return 0.0 * t

            def tuning(self, t):
                return 0.4 * t**0.6

        class WithoutTuning:
            __call__, limit = Own.__call__, Own.limit

        class Steady(rs.Linear):
            """Does not vanish, so that there is nothing to tune."""

        def limit(schedule):
            algorithm = rs.RDA(1e-3, rs.L1(), schedule)
            return rs.approximate(self.problem(), algorithm, 2.0, method="limit", times=4, check=False)

        for own, ours in ((Own(), rs.PowerLaw(0.4, 0.6)), (Steady(0.1), rs.Linear(0.1))):
            mine, expected = limit(own), limit(ours)
            for name in expected:
                np.testing.assert_allclose(mine[name], expected[name], rtol=1e-12, atol=1e-14, err_msg=name)
        for schedule in (WithoutTuning(), Own().__call__):
            with pytest.raises(ValueError, match="'limit' with a schedule of your own, but must be 'limit' only with"):
                limit(schedule)


def resting_density(noise, c, mu, horizon):
    """P(|U| <= c t^mu) for dU = -S(U, c t^mu) dt + sqrt(noise(t)) dB from 0, by implicit finite volumes."""
    grid = np.linspace(-6.0, 6.0, 2402)
    centre, h = 0.5 * (grid[1:] + grid[:-1]), grid[1] - grid[0]
    density = np.where(np.abs(centre) < h, 1.0, 0.0)
    density /= density.sum() * h
    times = horizon * np.linspace(0.0, 1.0, 801) ** 2
    inner = grid[1:-1]
    for a, b in itertools.pairwise(times):
        drift = -np.sign(inner) * np.maximum(np.abs(inner) - c * b**mu, 0.0)
        up, down = np.maximum(drift, 0.0), np.minimum(drift, 0.0)
        rate = 0.5 * noise(0.5 * (a + b)) / h
        dt = (b - a) / h
        bands = np.zeros((3, len(centre)))
        bands[1] = 1.0
        bands[1, :-1] += dt * (up + rate)
        bands[1, 1:] += dt * (rate - down)
        bands[0, 1:] = dt * (down - rate)
        bands[2, :-1] = -dt * (up + rate)
        density = scipy.linalg.solve_banded((1, 1), bands, density)
    return float(density[np.abs(centre) <= c * horizon**mu].sum() * h)


class TestClosure:
    def test_without_a_regularizer_it_is_the_linear_law(self):
        """SGD: the mean is the flow, dC/dt = -HC - CH + gamma E Sigma exactly."""
        problem = rs.LinearRegression([0.5, -0.4, 0.3], rs.AR1(3, 0.5), noise_std=0.7)
        step = 0.05
        theory = rs.approximate(problem, rs.RDA(step), 2.0, times=5, equation_order=1)
        np.testing.assert_allclose(theory.dual_mean, theory.primal_ode, atol=2e-4)
        hessian = problem.hessian(problem.coef)

        def rhs(t, flat):
            covariance = flat.reshape(3, 3)
            mean = problem.flow(np.zeros(3), np.array([t]))[0]
            sigma = problem.expectations(mean, covariance).whole_noise()
            return (step * sigma - hessian @ covariance - covariance @ hessian).ravel()

        exact = scipy.integrate.solve_ivp(rhs, (0, 2.0), np.zeros(9), t_eval=theory.time.values, rtol=1e-9, atol=1e-14)
        variance = exact.y.T.reshape(-1, 3, 3).diagonal(axis1=1, axis2=2)
        np.testing.assert_allclose(theory.dual_std**2, variance, rtol=3e-3, atol=1e-9)
        assert np.all(theory.probability_zero[0] == 1.0)  # where it starts
        assert np.all(theory.probability_zero[1:] == 0.0)

    def test_primal_covariance_off_the_diagonal(self):
        """Mehler's series of Cov(S(V_1), S(V_2)), to second order: what is left falls like the correlation cubed."""
        mean, threshold = np.array([0.3, -0.2]), 0.6
        moments = rs.L1().gaussian_moments(mean, np.ones(2), threshold)
        grid = np.linspace(-9.0, 9.0, 1801)
        x, y = grid[:, None], grid
        left = []
        for correlation in (0.4, 0.2):
            found = primal_covariance(moments, np.array([[1.0, correlation], [correlation, 1.0]]))
            np.testing.assert_allclose(np.diag(found), moments.variance)
            # by the trapezoidal rule over the plane
            density = np.exp(-(x**2 - 2 * correlation * x * y + y**2) / (2 * (1 - correlation**2)))
            density /= density.sum()
            first, second = (rs.L1().prox(m + z, threshold) for m, z in ((mean[0], grid), (mean[1], grid)))
            left.append(first @ density @ second - moments.mean[0] * moments.mean[1] - found[0, 1])
        assert abs(left[0]) < 3e-3
        assert np.log2(left[0] / left[1]) == pytest.approx(3.0, abs=0.4)

    def test_agrees_with_monte_carlo_on_the_diffusion(self, small_problem, small_algorithm):
        options = {"horizon": 3.0, "times": 7}
        closure = rs.approximate(small_problem, small_algorithm, **options)
        paths = rs.approximate(small_problem, small_algorithm, method="paths", paths=4000, seed=0, **options)
        # null: equal up to Monte Carlo (4.5 standard errors, 36 comparisons: 2.5e-4 / 36 each) and the closure's own
        # error, which theory bounds by neglecting the shape of V: allow 0.03 standard deviations and 4 % on the spread
        late = slice(1, None)
        z = (closure.dual_mean - paths.dual_mean)[late] / paths.dual_std[late]
        assert np.abs(z).max() < 4.5 / np.sqrt(4000) + 0.03
        ratio = (closure.dual_std / paths.dual_std)[late]
        assert np.abs(ratio[:, :3] - 1.0).max() < 4.5 / np.sqrt(8000) + 0.04
        assert np.abs(closure.probability_zero - paths.probability_zero)[late].max() < 4.5 * 0.5 / np.sqrt(4000) + 0.04

    def test_standard_deviations_do_not_depend_on_the_grid_of_times(self, small_problem, small_algorithm):
        few = rs.approximate(small_problem, small_algorithm, 3.0, times=[0.0, 1.5, 3.0], check=False)
        many = rs.approximate(small_problem, small_algorithm, 3.0, times=301, check=False)
        picked = many.sel(time=few.time, method="nearest")
        np.testing.assert_allclose(few.dual_std, picked.dual_std, rtol=1e-10)
        np.testing.assert_allclose(few.dual_mean, picked.dual_mean, rtol=1e-9, atol=1e-12)


class TestPaths:
    def test_agree_with_sdeint(self):
        """An independent integrator of the same equation (theory, section 2c)."""
        # null: one law. Two-sample Kolmogorov-Smirnov on each coordinate of dual and primal at three times, 18 tests,
        # each at 1e-4 / 18: false alarms 1e-4 in all. 300 against 4 000 paths see a shift of 0.38 standard deviations.
        # sdeint steps eight times as finely up to the first time: an early one makes most of the way cheaper, and so
        # does the same covariance as a matrix
        coef, covariance = np.array([0.4, -0.3, 0.0]), rs.AR1(3, 0.5)
        problem = rs.LinearRegression(coef, covariance, noise_std=0.5)
        same_problem = rs.LinearRegression(coef, covariance.dense(), noise_std=0.5)
        algorithm = rs.RDA(0.02, rs.L1(), rs.PowerLaw(0.3, 0.6))
        options = {"horizon": 1.5, "times": [0.05, 0.5, 1.5], "equation_order": 1, "check": False}
        ours = rs.approximate(problem, algorithm, method="paths", paths=4000, seed=0, **options)
        theirs = rs.approximate(same_problem, algorithm, method="sdeint", paths=300, seed=0, **options)
        for space in ("dual", "primal"):
            for k in range(3):
                for j in range(3):
                    a, b = ours[space].values[:, k, j], theirs[space].values[:, k, j]
                    assert scipy.stats.ks_2samp(a, b).pvalue > 1e-4 / 18, (space, k, j)

    def test_have_the_moments_of_a_linear_equation(self):
        """Without a regularizer mean and variance are known exactly; the scheme's bias is below Monte Carlo."""
        problem = rs.LinearRegression([0.5, -0.4, 0.3], rs.AR1(3, 0.5), noise_std=0.7)
        paths = rs.approximate(problem, rs.RDA(0.05), 2.0, method="paths", paths=20_000, times=3, seed=0)
        exact = rs.approximate(problem, rs.RDA(0.05), 2.0, times=3)
        # null: equal; 20 000 paths: mean within 4.5 standard errors, variance 4.5 sqrt(2/n), and 1 % for the step
        z = (paths.dual_mean - exact.dual_mean)[1:] / exact.dual_std[1:] * np.sqrt(20_000)
        assert np.abs(z).max() < 4.5 + 1.5
        ratio = (paths.dual_std / exact.dual_std)[1:] ** 2
        assert np.abs(ratio - 1.0).max() < 4.5 * np.sqrt(2.0 / 20_000) + 0.01

    def test_do_not_depend_on_executor_or_number(self, small_problem, small_algorithm):
        import concurrent.futures

        few = rs.approximate(small_problem, small_algorithm, 1.0, method="paths", paths=20, times=3, seed=3)
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            many = rs.approximate(
                small_problem, small_algorithm, 1.0, method="paths", paths=50, times=3, seed=3, executor=pool
            )
        xr.testing.assert_identical(few.dual, many.dual[:20])

    def test_draw_other_numbers_than_the_algorithm(self, small_problem):
        algorithm = rs.RDA(0.01)
        paths = rs.approximate(small_problem, algorithm, 1.0, method="paths", paths=1000, times=2, seed=3)
        runs = rs.simulate(small_problem, algorithm, 1.0, replicates=1000, times=2, seed=3)
        # null: independent; |r| sqrt(n) beyond 4.5 with probability 7e-6, six coordinates
        for j in range(6):
            r = np.corrcoef(paths.dual[:, -1, j], runs.dual[:, -1, j])[0, 1]
            assert abs(r) * np.sqrt(1000) < 4.5

    def test_time_steps_follow_the_tolerance_not_the_step_size(self, small_problem):
        def steps(step_size, tolerance):
            run = rs.approximate(
                small_problem, rs.RDA(step_size), 5.0, method="paths", paths=2, times=3, seed=0, tolerance=tolerance
            )
            return run.attrs["time_steps"]

        assert abs(steps(1e-2, 1e-2) - steps(1e-5, 1e-2)) <= 2  # those of the grid are whole steps of the algorithm
        assert steps(1e-2, 1e-2) < 200
        assert 1.8 < steps(1e-5, 1e-3 / 4) / steps(1e-5, 1e-3) < 2.2  # of second order


def test_finite_step_mean_converges_to_the_flow(small_problem):
    """Theory, section 5.1: the closure's mean minus the limiting flow is O(sqrt(gamma)) for the square-root tuning."""
    gaps = []
    for step in (4e-4, 1e-4, 2.5e-5):
        theory = rs.approximate(small_problem, rs.RDA(step, rs.L1(), rs.PowerLaw(0.5, 0.6)), 2.0, times=[2.0])
        gaps.append(float(np.abs(theory.primal_mean - theory.primal_ode).max()))
    np.testing.assert_allclose(np.log2(np.array(gaps[:-1]) / gaps[1:]), 1.0, atol=0.15)


@pytest.mark.parametrize("method", ["closure", "limit", "paths", "sdeint"])
def test_labels(small_problem, small_algorithm, method):
    theory = rs.approximate(small_problem, small_algorithm, 0.5, method=method, times=3, paths=4, seed=0, check=False)
    runs = rs.simulate(small_problem, small_algorithm, 0.5, times=3)
    np.testing.assert_array_equal(theory.time, runs.time)
    np.testing.assert_array_equal(theory.threshold, runs.threshold)
    for name in ("primal_ode", "dual_ode", "dual_mean", "dual_std", "primal_mean", "primal_std", "probability_zero"):
        assert theory[name].dims == ("time", "coordinate")
        assert np.isfinite(theory[name]).all()
    assert ("dual" in theory) == (method in ("paths", "sdeint"))
    assert theory.attrs["method"] == method


def test_dual_curve_is_drawn_as_in_the_paper(small_problem, small_algorithm):
    theory = rs.approximate(small_problem, small_algorithm, 1.0, times=5)
    side = np.sign(small_problem.coef)
    np.testing.assert_allclose(
        theory.dual_ode, theory.primal_ode + theory.threshold * xr.DataArray(side, dims="coordinate")
    )
    linear = rs.RDA(0.01, rs.L1(), rs.Linear(0.1))
    theory = rs.approximate(small_problem, linear, 1.0, times=5)
    np.testing.assert_allclose(
        rs.L1().prox(theory.dual_ode, theory.threshold.values[:, None]), theory.primal_ode, atol=1e-12
    )


def test_sdeint_missing(small_problem, small_algorithm, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sdeint", None)
    with pytest.raises(ImportError, match=r"pip install 'rdasde\[sdeint\]'"):
        rs.approximate(small_problem, small_algorithm, 0.5, method="sdeint")
