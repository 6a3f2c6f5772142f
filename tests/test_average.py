"""The law of the running average of the primal: by runs exactly, by paths and by the closure."""

import re

import numpy as np
import pytest
import scipy.linalg
import xarray as xr

import rdasde as rs
from rdasde._compiled.lanes import LANES
from rdasde._engine import march as _march

LEVEL = 0.9


@pytest.fixture(scope="module")
def problem():
    return rs.LinearRegression([0.5, -0.3, 0.0, 0.0], rs.AR1(4, 0.5), noise_std=0.7)


@pytest.fixture(scope="module")
def algorithm():
    return rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))


@pytest.fixture(scope="module")
def runs(problem, algorithm):
    return rs.simulate(problem, algorithm, 4.0, replicates=2000, times=9, seed=1, average=True)


def test_the_average_of_runs_is_that_of_the_states_before_their_steps(problem, algorithm):
    options = {"replicates": 3, "seed": 2, "start": [0.3, 0.0, -0.2, 0.0]}
    every = rs.simulate(problem, algorithm, 1.0, times=101, average=True, **options)
    before = every.primal.cumsum("time").shift(time=1) / xr.DataArray(np.arange(101.0), dims="time")
    np.testing.assert_allclose(every.average[:, 1:], before[:, 1:], rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(every.average[:, 0], every.primal[:, 0])
    some = rs.simulate(problem, algorithm, 1.0, times=5, average=True, coordinates=[2, 0], **options)
    np.testing.assert_array_equal(some.average, every.average.sel(time=some.time, coordinate=[2, 0]))
    without = rs.simulate(problem, algorithm, 1.0, times=101, **options)
    xr.testing.assert_identical(without, every.drop_vars("average"))


def test_a_summary_has_the_moments_of_averages(problem, algorithm, runs):
    options = {"replicates": 2000, "times": 9, "seed": 1, "average": True, "keep": "summary"}
    band = rs.band(runs, LEVEL, of="average")
    statistics = {"size": lambda w: abs(w).sum(-1)}
    summary = rs.simulate(problem, algorithm, 4.0, inside=band, statistics=statistics, coordinates=[1, 3], **options)
    mine = runs.sel(coordinate=[1, 3])
    np.testing.assert_allclose(summary.average_mean, mine.average.mean("replicate"), rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(summary.average_std, mine.average.std("replicate", ddof=1), rtol=1e-10, atol=1e-15)
    xr.testing.assert_allclose(rs.coverage(summary, band), rs.coverage(mine, band))
    assert rs.band(summary, of="average").attrs["quantiles"] == "gaussian"


def test_the_same_bits_however_a_run_is_cut(problem, algorithm, tmp_path, monkeypatch):
    options = {"seed": 8, "replicates": 3, "times": 21, "average": True, "store": tmp_path}
    whole = rs.simulate(problem, algorithm, 1.0, **options)
    xr.testing.assert_identical(whole, rs.simulate(problem, algorithm, 1.0, **options))  # from the store
    with pytest.raises(ValueError, match=r"differs in average\)"):
        rs.simulate(problem, algorithm, 1.0, **(options | {"average": False}))
    monkeypatch.setattr(_march, "_WORK", 7 * 4 * LANES)
    monkeypatch.setattr(_march, "_BUFFER", 2 * 4 * LANES)
    del options["store"]
    xr.testing.assert_identical(whole, rs.simulate(problem, algorithm, 1.0, **options))


def recursion(problem, gamma, steps):
    """Ten lines of NumPy: moments of plain SGD on a Gaussian design, with the sum of its iterates beside it."""
    d, H, coef = problem.dimension, problem.covariance.dense(), problem.coef
    step = np.block([[np.eye(d) - gamma * H, np.zeros((d, d))], [np.eye(d), np.eye(d)]])  # of (error, sum of errors)
    mean, covariance = np.concatenate([-coef, np.zeros(d)]), np.zeros((2 * d, 2 * d))
    for _ in range(steps):
        second = np.outer(mean[:d], mean[:d]) + covariance[:d, :d]
        noise = (np.trace(H @ second) + problem.noise_std**2) * H + H @ second @ H
        covariance = step @ covariance @ step.T
        covariance[:d, :d] += gamma**2 * noise
        mean = step @ mean
    return coef + mean[d:] / steps, np.sqrt(np.diag(covariance)[d:]) / steps


def test_the_closure_of_plain_descent_has_the_moments_of_the_algorithm(problem):
    """Exactly, but for the tolerance of its time steps, also at a large step: it is a recursion itself."""
    for gamma in (0.01, 0.1):
        theory = rs.approximate(problem, rs.RDA(gamma), 4.0, times=5, average=True, check=False)
        for k in (1, 4):
            mean, std = recursion(problem, gamma, round(float(theory.time[k]) / gamma))
            np.testing.assert_allclose(theory.average_mean[k], mean, atol=1e-2 * std.min())
            np.testing.assert_allclose(theory.average_std[k], std, rtol=5e-3)


def test_the_closure_of_first_order_is_that_of_a_diffusion(problem):
    """Of small fluctuations around a settled mean: Var int W by the exponential of the augmented drift."""
    settled = rs.approximate(
        problem, rs.RDA(1e-4), 3.0, times=[1.5, 3.0], start=problem.coef, average=True, equation_order=1, check=False
    )
    d, H = 4, problem.covariance.dense()
    drift = np.block([[-H, np.zeros((d, d))], [np.eye(d), np.zeros((d, d))]])
    source = np.zeros((2 * d, 2 * d))
    source[:d, :d] = 1e-4 * 0.49 * H
    for k, t in enumerate((1.5, 3.0)):  # Van Loan's block exponential
        block = scipy.linalg.expm(t * np.block([[-drift, source], [np.zeros_like(drift), drift.T]]))
        covariance = block[2 * d :, 2 * d :].T @ block[: 2 * d, 2 * d :]
        np.testing.assert_allclose(settled.average_std[k], np.sqrt(np.diag(covariance)[d:]) / t, rtol=2e-3)
        np.testing.assert_allclose(settled.average_mean[k], problem.coef, atol=1e-12)


@pytest.mark.parametrize("method", ["closure", "paths"])
def test_bands_of_the_average_cover_the_algorithm(problem, algorithm, runs, method):
    # null: coverage .9 of 2 000 runs, by a band from 4 000 paths at most: standard error .0082; 32 comparisons at 4.8
    # of them (1e-4), and 2.5 points for the law itself
    theory = rs.approximate(
        problem, algorithm, 4.0, method=method, paths=4000, times=9, average=True, seed=3, check=False
    )
    held = rs.coverage(runs, rs.band(theory, LEVEL, of="average"))
    assert held.dims == ("time", "coordinate")
    assert np.all(held[0] == 1.0)
    assert np.abs(held[1:] - LEVEL).max() < 4.8 * 0.0082 + 0.025
    if method == "paths":
        whole = rs.coverage(runs, rs.band(theory, LEVEL, of="average", simultaneous="all"))
        assert abs(float(whole) - LEVEL) < 4.8 * 0.0082 + 0.025
        plain = rs.approximate(problem, algorithm, 4.0, method=method, paths=4000, times=9, seed=3, check=False)
        np.testing.assert_array_equal(plain.primal, theory.primal)
    else:
        plain = rs.approximate(problem, algorithm, 4.0, times=9, check=False)
        np.testing.assert_array_equal(plain.primal_mean, theory.primal_mean)


@pytest.mark.parametrize("order", [1, 2])
def test_the_average_of_paths_without_noise_is_the_integral_of_the_flow(order):
    """However few the time steps: what the trapezoidal rule misses is added."""
    problem = rs.LinearRegression([5.0, -3.0], rs.AR1(2, 0.5), noise_std=0.0)
    algorithm = rs.RDA(1e-3, batch_size=10**6)
    options = {"times": [0.0, 1.0, 4.0], "average": True, "check": False}
    theory = rs.approximate(problem, algorithm, 4.0, method="paths", paths=2, seed=0, equation_order=order, **options)
    mean, error, time = problem.covariance.dense(), -problem.coef, theory.time.values[1:]
    if order == 2:  # the sum of (1 - gamma H)^n
        power = [np.eye(2) - np.linalg.matrix_power(np.eye(2) - 1e-3 * mean, round(t / 1e-3)) for t in time]
    else:
        power = [np.eye(2) - scipy.linalg.expm(-t * mean) for t in time]
    exact = [problem.coef + np.linalg.solve(mean, p @ error) / t for p, t in zip(power, time, strict=True)]
    np.testing.assert_allclose(theory.average[:, 1:].mean("path"), exact, atol=3e-4)  # what noise a batch leaves


def test_what_has_no_average_is_refused(problem, algorithm):
    def refused(call, kind, message):
        with pytest.raises(kind, match=f"^{re.escape(message)}$"):
            call()

    refused(
        lambda: rs.approximate(problem, algorithm, 1.0, method="limit", average=True),
        ValueError,
        "average is True with method='limit', but must be False there: use method='closure' or 'paths'.",
    )
    refused(
        lambda: rs.simulate(problem, algorithm, 1.0, average="yes"),
        TypeError,
        "average is 'yes' (str), but must be True or False: choose one of these.",
    )
    refused(
        lambda: rs.simulate(problem, algorithm, 1.0, average=True, statistics={"average": np.mean}),
        ValueError,
        "statistics is named 'average', but must be named by other words than the results: rename it.",
    )


def test_averages_of_coordinates_that_were_never_active_are_zero():
    """In runs and in paths; then the band holds (R = P = 4000: .92 is passed with probability 1e-8)."""
    problem = rs.LinearRegression([0.8, -0.5, 0.2, 0.0, 0.0, 0.0], rs.AR1(6, 0.6))
    algorithm = rs.RDA(0.002, rs.L1(), rs.PowerLaw(2.0, 0.6))
    options = {"times": [0.0, 1.0], "average": True}
    runs = rs.simulate(problem, algorithm, 1.0, replicates=4000, seed=4, **options)
    paths = rs.approximate(problem, algorithm, 1.0, method="paths", paths=4000, seed=8, check=False, **options)
    resting = [2, 3, 4, 5]
    assert np.all((paths.average[:, 1, resting] == 0.0).mean("path") > 0.01)
    assert np.all(rs.coverage(runs, rs.band(paths, of="average"))[1] > 0.92)
