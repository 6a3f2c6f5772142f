"""A user's own problem: against a NumPy twin, closed forms, and the problems of the package."""

import concurrent.futures

import numba
import numpy as np
import pytest
import xarray as xr
from helpers import covariance_z_scores, drift, hessian_product, in_lanes
from own_problems import COEF, KNOWN, LINEAR, STD, linear, linear_mean, own_linear, retrieval, retrieval_mean

import rdasde as rs
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._engine import march as _march

SIGNAL = np.array([0.8, -0.6, 0.0, 0.0])
NOISY = 5.0
LIMIT = 4.5  # standard errors: exceeded once in 150 000 Gaussian z-scores


def retrieval_hessian(w):
    return (3 * (w @ w) - SIGNAL @ SIGNAL) * np.eye(4) + 6 * np.outer(w, w) - 2 * np.outer(SIGNAL, SIGNAL)


def explosive(level, w, rng, out):
    """Pulled apart by a cubic force: some replicates leave, at some time."""
    out[0] = 0.5 * w[0] - 0.05 * w[0] * w[0] * w[0] + level * rng.standard_normal()


ALGORITHM = rs.RDA(0.02, rs.L1([1, 1, 2, 0, 1]), rs.PowerLaw(0.5, 0.6))


def twin(gradient, parameters, algorithm, start, steps, seed, replicate):
    """NumPy: one replicate from its Generator, dual states; stops where they stop being finite."""
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(replicate,))))
    g = algorithm.thresholds(np.arange(steps + 1) * algorithm.step_size)
    path, out = [start], np.empty_like(start)
    with np.errstate(over="ignore", invalid="ignore"):
        for n in range(1, steps + 1):
            total = np.zeros_like(start)
            for _ in range(algorithm.batch_size):
                gradient(parameters, algorithm.mirror.prox(path[-1], g[n - 1]), generator, out)
                total += out
            path.append(path[-1] - algorithm.step_size / algorithm.batch_size * total)
            if not np.all(np.isfinite(path[-1])):
                break
    return np.array(path)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("gradient", [linear, numba.njit(linear)], ids=["plain", "compiled before"])
def test_equals_its_twin(gradient, batch_size):
    problem = rs.StochasticProblem(gradient, LINEAR, 5)
    algorithm = rs.RDA(0.02, rs.L1([1, 1, 2, 0, 1]), rs.PowerLaw(0.5, 0.6), batch_size=batch_size)
    runs = rs.simulate(problem, algorithm, 2.0, replicates=[0, 5, 40], times=101, seed=3)
    for replicate in (0, 5, 40):
        dual = twin(linear, LINEAR, algorithm, np.zeros(5), 100, 3, replicate)
        np.testing.assert_allclose(runs.dual.sel(replicate=replicate), dual, rtol=1e-11, atol=1e-13)
    assert "mean_gradient" in runs.attrs["problem"]


def test_same_bits_for_any_executor_and_number_of_replicates():
    def run(**options):
        return rs.simulate(own_linear(), ALGORITHM, 1.0, seed=8, times=11, **options)

    reference = run(replicates=40)
    with (
        concurrent.futures.ThreadPoolExecutor(5) as threads,
        concurrent.futures.ProcessPoolExecutor(2) as processes,
    ):
        for executor in (threads, processes):
            xr.testing.assert_identical(reference, run(replicates=40, executor=executor))
    np.testing.assert_array_equal(run(replicates=[37, 3]).dual, reference.dual[[37, 3]])


def test_same_bits_however_a_run_is_cut(monkeypatch):
    whole = rs.simulate(own_linear(), ALGORITHM, 1.0, seed=8, replicates=3, times=21)
    monkeypatch.setattr(_march, "_WORK", 7 * 5 * LANES)
    monkeypatch.setattr(_march, "_BUFFER", 2 * 5 * LANES)
    xr.testing.assert_identical(whole, rs.simulate(own_linear(), ALGORITHM, 1.0, seed=8, replicates=3, times=21))


def test_a_store_resumes(tmp_path):
    options = {"replicates": 40, "seed": 5, "times": 6}
    first = rs.simulate(own_linear(), ALGORITHM, 1.0, store=tmp_path, **options)
    next(tmp_path.glob("block-*.npz")).unlink()
    xr.testing.assert_identical(first, rs.simulate(own_linear(), ALGORITHM, 1.0, store=tmp_path, **options))
    other = rs.StochasticProblem(linear, (COEF, STD, 0.8), 5)
    with pytest.raises(ValueError, match="another run"):
        rs.simulate(other, ALGORITHM, 1.0, store=tmp_path, **options)


def test_divergence_is_located_exactly():
    """Generators go back with the state: the bisection draws what the run drew, and others are not disturbed."""
    problem = rs.StochasticProblem(explosive, NOISY, 1, rate=0.5)
    algorithm, start = rs.RDA(0.05), np.array([1.0])
    options = {"start": start, "replicates": 24, "seed": 1, "times": 601}
    runs = rs.simulate(problem, algorithm, 30.0, on_divergence="keep", **options)
    paths = [twin(explosive, NOISY, algorithm, start, 600, 1, replicate) for replicate in range(24)]
    left = [not np.isfinite(path[-1, 0]) for path in paths]
    assert 3 < sum(left) == runs.attrs["diverged"] < 21
    for path, run in zip(paths, runs.dual.values[:, :, 0], strict=True):
        assert np.count_nonzero(np.isfinite(run)) == np.count_nonzero(np.isfinite(path[:, 0]))
        if np.isfinite(path[-1, 0]):
            np.testing.assert_allclose(run, path[:, 0], rtol=1e-9)
    with pytest.raises(rs.DivergenceError) as caught:
        rs.simulate(problem, algorithm, 30.0, **options)
    assert caught.value.step == len(paths[caught.value.replicate]) - 1


def draws(gradient, parameters, w, count):
    """The gradients that an estimate is made of, by NumPy."""
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(0, spawn_key=(0, 4))))
    found = np.empty((count, len(w)))
    for out in found:
        gradient(parameters, w, generator, out)
    return found


def test_estimates_against_closed_forms():
    problem, w = own_linear(samples=20_000), np.array([0.3, 0.2, -0.5, 1.0, 0.0])
    assert problem.estimated == ("mean_gradient", "hessian", "noise_covariance")
    gradients = draws(linear, LINEAR, w, 20_000)
    np.testing.assert_allclose(problem.mean_gradient(w), gradients.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(problem.noise_covariance(w), np.cov(gradients.T), rtol=1e-9)
    error = problem.monte_carlo_error(w)
    np.testing.assert_allclose(error, gradients.std(axis=0, ddof=1) / np.sqrt(20_000), rtol=1e-9)
    assert np.abs((problem.mean_gradient(w) - KNOWN.mean_gradient(w)) / error).max() < LIMIT
    assert np.abs(covariance_z_scores(gradients, KNOWN.noise_covariance(w))).max() < LIMIT
    # the Hessian is the mean of z z': standard deviation s_i s_j sqrt(1 + [i = j])
    spread = np.outer(STD, STD) * np.sqrt(1.0 + np.eye(5)) / np.sqrt(20_000)
    assert np.abs((problem.hessian(w) - KNOWN.hessian(w)) / spread).max() < LIMIT
    np.testing.assert_array_equal(problem.hessian(w), problem.hessian(w))
    factor = problem.noise_factor(w)
    np.testing.assert_allclose(factor @ factor.T, problem.noise_covariance(w), atol=1e-12)
    near, far = problem.mean_gradient(w + 1e-7), problem.mean_gradient(w)  # common random numbers: smooth
    np.testing.assert_allclose(near - far, problem.hessian(w) @ np.full(5, 1e-7), atol=1e-13)


def test_phase_retrieval():
    """Not quadratic: the estimated mean and Hessian, and the Hessian by differences of a given mean."""
    w = np.array([0.5, 0.3, -0.2, 0.1])
    estimated = rs.StochasticProblem(retrieval, SIGNAL, 4, samples=50_000)
    error = estimated.monte_carlo_error(w)
    assert np.abs((estimated.mean_gradient(w) - retrieval_mean(SIGNAL, w)) / error).max() < LIMIT
    # the Hessian is the mean of (3 (z'w)^2 - y) z z', its standard error here from other draws
    generator = np.random.default_rng(1)
    z = generator.standard_normal((50_000, 4))
    weight = 3 * (z @ w) ** 2 - (z @ SIGNAL) ** 2 - 0.5 * generator.standard_normal(50_000)
    spread = (weight[:, None, None] * z[:, :, None] * z[:, None, :]).std(axis=0) / np.sqrt(50_000)
    assert np.abs((estimated.hessian(w) - retrieval_hessian(w)) / spread).max() < LIMIT
    given = rs.StochasticProblem(retrieval, SIGNAL, 4, mean_gradient=retrieval_mean)
    np.testing.assert_allclose(given.hessian(w), retrieval_hessian(w), atol=1e-8)
    assert given.estimated == ("noise_covariance",)
    np.testing.assert_array_equal(given.monte_carlo_error(w), 0.0)


def test_what_is_given_is_used():
    problem = own_linear(
        mean_gradient=linear_mean,
        hessian=lambda w: KNOWN.hessian(w),
        noise_covariance=KNOWN.noise_covariance,
        minimizer=COEF,
    )
    w = np.ones(5)
    assert problem.estimated == ()
    assert repr(problem) == "StochasticProblem(linear, d=5)"
    for name in ("mean_gradient", "hessian", "noise_covariance"):
        np.testing.assert_allclose(getattr(problem, name)(w), getattr(KNOWN, name)(w))
    np.testing.assert_array_equal(problem.minimizer, COEF)
    assert problem.fastest_rate() == pytest.approx(STD.max() ** 2)
    assert problem.trace() == pytest.approx((STD**2).sum())
    assert own_linear(rate=3.0).fastest_rate() == 3.0
    assert problem.instability(1.0, 1) is None
    assert problem.instability(1.2, 1) == "step_size * largest eigenvalue of the Hessian is 2.03, not below 2"


def test_says_what_it_estimates():
    assert repr(own_linear()) == (
        "StochasticProblem(linear, d=5, mean_gradient and hessian and noise_covariance from 10000 draws)"
    )
    assert repr(own_linear(mean_gradient=linear_mean, samples=500)) == (
        "StochasticProblem(linear, d=5, hessian by differences, noise_covariance from 500 draws)"
    )


def test_whether_the_drift_compiles():
    def not_for_numba(parameters, w):
        return np.asarray({"a": linear_mean(parameters, w)}["a"], dtype=object).astype(float)

    assert own_linear(mean_gradient=linear_mean).has_compiled_drift
    assert own_linear(mean_gradient=numba.njit(linear_mean)).has_compiled_drift
    assert not own_linear().has_compiled_drift
    assert not own_linear(mean_gradient=KNOWN.mean_gradient).has_compiled_drift
    assert not own_linear(mean_gradient=not_for_numba).has_compiled_drift
    assert KNOWN.has_compiled_drift


def test_lanes_agree_with_the_formulas():
    problem = rs.StochasticProblem(retrieval, SIGNAL, 4, mean_gradient=retrieval_mean)
    w, u, out = np.array([0.5, 0.3, -0.2, 0.1]), np.array([1.0, -2.0, 0.0, 0.5]), lane_array(4)
    drift(problem.parameters, in_lanes(w), problem.scratch.allocate(), out)
    np.testing.assert_allclose(out, in_lanes(retrieval_mean(SIGNAL, w)), rtol=1e-12)
    hessian_product(problem.parameters, in_lanes(w), in_lanes(u), problem.scratch.allocate(), out)
    np.testing.assert_allclose(out, in_lanes(retrieval_hessian(w) @ u), rtol=1e-8)
    hessian_product(problem.parameters, in_lanes(w), in_lanes(0 * u), problem.scratch.allocate(), out)
    np.testing.assert_array_equal(out, 0.0)


def test_agrees_with_the_problem_of_the_package():
    options = {"replicates": 2000, "times": [0.5, 2.0], "seed": 0}
    ours = rs.simulate(KNOWN, ALGORITHM, 2.0, **options).dual
    own = rs.simulate(own_linear(), ALGORITHM, 2.0, **options).dual
    _same_law(ours.values, own.values)


def test_paths_agree_with_the_algorithm():
    problem = rs.StochasticProblem(retrieval, SIGNAL, 4, mean_gradient=retrieval_mean, minimizer=SIGNAL)
    algorithm, start = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(0.5, 0.6)), SIGNAL + 0.2
    options = {"times": [0.5, 2.0], "start": start, "seed": 0}
    runs = rs.simulate(problem, algorithm, 2.0, replicates=1000, **options)
    theory = rs.approximate(problem, algorithm, 2.0, method="paths", paths=1000, **options)
    _same_law(runs.dual.values, theory.dual.values)
    again = rs.approximate(problem, algorithm, 2.0, method="paths", paths=20, **options)
    np.testing.assert_array_equal(again.dual, theory.dual[:20])


def _same_law(first, second):
    """Means and variances of two samples (replicate, time, coordinate), z-scores; 1 % on top for the step size."""
    variances = [sample.var(axis=0, ddof=1) for sample in (first, second)]
    error = np.sqrt(sum(variance / len(first) for variance in variances))
    gap = np.abs(first.mean(axis=0) - second.mean(axis=0))
    assert np.all(gap < LIMIT * error + 0.01 * np.abs(first.mean(axis=0)))
    deviations = [(sample - sample.mean(axis=0)) ** 2 for sample in (first, second)]
    error = np.sqrt(sum(square.var(axis=0) / len(first) for square in deviations))
    assert np.all(np.abs(variances[0] - variances[1]) < LIMIT * error + 0.01 * variances[0])


def test_where_a_run_starts():
    np.testing.assert_array_equal(own_linear().default_start(), np.zeros(5))
    noise_only = rs.StochasticProblem(linear, (np.zeros(5), STD, 0.7), 5)  # zero is the minimizer, not a fixed point
    np.testing.assert_array_equal(noise_only.default_start(), np.zeros(5))


def wrong_shape(parameters, w, rng, out):
    out[w.size] = 1.0


def adds(parameters, w, rng, out):
    out += w


def moves_w(parameters, w, rng, out):
    out[:] = w
    w[0] += 1.0


def cannot_compile(parameters, w, rng, out):
    out[:] = np.apply_along_axis(lambda x: x, 0, w)


def logarithm(parameters, w, rng, out):
    out[:] = np.log(w)


def own(gradient=linear, parameters=LINEAR, dimension=5, **options):
    return rs.StochasticProblem(gradient, parameters, dimension, **options)


ACCEPTED = "must be a function gradient(parameters, w, rng, out) that overwrites out (d,)"
CASES = [
    (
        lambda: own(gradient=3),
        "gradient is 3 (int), but must be a function gradient(parameters, w, rng, out): "
        "pass one that writes a stochastic gradient at w into out.",
    ),
    (
        lambda: own(wrong_shape),
        "gradient is a function that raises IndexError ('index 5 is out of bounds for axis 0 with size 5') "
        f"at a point w (d,), but {ACCEPTED}: make it work for these parameters and dimension.",
    ),
    (
        lambda: own(adds),
        f"gradient is a function that leaves what was in out before, but {ACCEPTED}: "
        "write all of it, for example out[:] = ....",
    ),
    (lambda: own(moves_w), f"gradient is a function that changes w, but {ACCEPTED}: leave w as it is."),
    (
        lambda: own(dimension=0),
        "dimension is 0, but must be a whole number >= 1: give the number of coordinates.",
    ),
    (
        lambda: own(samples=1),
        "samples is 1, but must be a whole number >= 2: give how many gradients an estimate is made of.",
    ),
    (lambda: own(rate=0.0), "rate is 0.0, but must be a finite number > 0: give one finite number."),
    (
        lambda: own(minimizer=np.zeros(4)),
        "minimizer is an array of shape (4,), but must be an array of shape (5,) of finite numbers: "
        "give one number for each coordinate.",
    ),
    (
        lambda: own(hessian=1.0),
        "hessian is 1.0 (float), but must be a function hessian(parameters, w) or hessian(w): "
        "pass one, or leave it out.",
    ),
    (
        lambda: own(mean_gradient=lambda a, b, c: a),
        "mean_gradient is a function of 3 arguments, but must be mean_gradient(parameters, w) or mean_gradient(w): "
        "give other arguments default values.",
    ),
    (
        lambda: own(mean_gradient=lambda w: w[:2]),
        "mean_gradient is a function that returns an array of shape (2,), but must be one that returns shape (5,): "
        "give one number for each coordinate.",
    ),
    (
        lambda: own(hessian=lambda parameters, w: w),
        "hessian is a function that returns an array of shape (5,), but must be one that returns shape (5, 5): "
        "give one row for each coordinate.",
    ),
    (
        lambda: own().mean_gradient([1.0]),
        "w is an array of shape (1,), but must be an array of shape (5,) of finite numbers: "
        "give one number for each coordinate.",
    ),
    (
        lambda: rs.simulate(rs.StochasticProblem(retrieval, SIGNAL, 4), rs.RDA(0.1), 1.0),
        "start is None, but must be given where zero is a fixed point: give a start other than zero.",
    ),
    (
        lambda: rs.simulate(own(logarithm), rs.RDA(0.1), 1.0),
        "start is None, but must be given where the gradient at zero is not finite: give one where it is.",
    ),
    (
        lambda: rs.simulate(own(logarithm), rs.RDA(0.1), 1.0, start=np.ones(5)),
        "rate is None where the Hessian at zero is not finite, but must be a number > 0: "
        "give about the largest eigenvalue of the Hessian along a run.",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=[message[:50] for _, message in CASES])
def test_messages(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message
    assert len(message) <= 300


def test_what_numba_cannot_compile_is_one_sentence():
    with pytest.raises(ValueError, match="gradient is a function that numba cannot compile with these") as caught:
        own(cannot_compile)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300
    assert caught.value.__cause__ is not None  # all that numba says


def check_loss(coef, w, rng, out):
    z = rng.standard_normal(w.size)
    out[:] = ((1.0 if z @ (w - coef) > rng.standard_normal() else 0.0) - 0.7) * z


def test_a_gradient_that_jumps_is_enough():
    """Differences of it are zero, and so was the rate that steps were chosen by.

    4 000 replicates, 3 times and 4 coordinates: 4.5 standard errors, 1e-4 in all, those of the estimated gradient
    among them, which move a mean by up to 1 / .2 of theirs; a point of coverage for that and the closure's own error.
    """
    problem = rs.StochasticProblem(check_loss, np.array([0.5, -0.4, 0.0, 0.0]), 4)
    assert 0.2 < problem.fastest_rate() < 1.0  # phi(0) = .4 at the minimizer
    algorithm = rs.RDA(0.02, rs.L1(), rs.PowerLaw(0.4, 0.6))
    runs = rs.simulate(problem, algorithm, 3.0, times=4, replicates=4000, seed=0)
    law = rs.approximate(problem, algorithm, 3.0, times=4)
    off = np.abs(runs.dual.mean("replicate") - law.dual_mean)[1:]
    assert np.all(off < 4.5 * (law.dual_std[1:] / np.sqrt(4000) + problem.monte_carlo_error(np.zeros(4)) / 0.2))
    held = rs.coverage(runs, rs.band(law, space="dual"))[1:]
    assert np.abs(held - 0.95).max() < 4.5 * np.sqrt(0.0475 / 4000) + 0.01
