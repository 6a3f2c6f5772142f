"""Paths whose drift is linearized around the closure, closures of coordinates that decouple, and what is returned."""

import concurrent.futures

import numpy as np
import pytest
import xarray as xr

import rdasde as rs
from rdasde._approximations import cost, linearization, paths
from rdasde._approximations.paths import dual_paths, path_grid
from rdasde._engine.run import MonteCarlo, Run
from rdasde._engine.time_axis import time_axis

COEF = np.array([0.6, -0.4, 0.3, 0.0, 0.0, 0.0])


def rows(n=400, seed=3):
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 6)) @ np.linalg.cholesky(rs.AR1(6, 0.5).dense()).T
    return X, (generator.random(n) < 1.0 / (1.0 + np.exp(-X @ COEF))).astype(float)


def huber(parameters, w, rng, out):
    z = rng.standard_normal(w.size)
    residual = z @ (w - parameters) - 0.5 * rng.standard_normal()
    out[:] = min(max(residual, -1.0), 1.0) * z


ALGORITHM = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))
OPTIONS = {"horizon": 5.0, "times": 6, "check": False}


@pytest.mark.parametrize("order", [1, 2])
def test_mean_of_linear_paths_is_the_closure(order):
    """Without a regularizer everything is linear: no noise is needed to see that the scheme keeps the mean."""
    X, y = rows()
    problem = rs.LogisticRegression.from_data(X, y)
    axis = time_axis(3.0, 7, 0.01)
    run = Run(problem, rs.RDA(0.01), np.full(6, 0.5), axis, order)
    grid = path_grid(run, MonteCarlo(1, 0))
    scheme, _ = linearization.linearize(run, grid, 0.01 if order == 2 else 0.0)
    v = np.full(6, 0.5)
    for n in range(1, len(grid.times)):
        h = grid.times[n] - grid.times[n - 1]
        early = 0.5 * (h - scheme.lag) if h > 1.5 * scheme.lag else 0.0
        slope = scheme.offset[n - 1] + scheme.hessian[n - 1] @ v
        ahead = scheme.offset[n] + scheme.hessian[n] @ (v - h * slope)
        v = v - (h - early) * slope - early * ahead + scheme.defect[n - 1]
    closure = rs.approximate(problem, run.algorithm, 3.0, times=7, start=run.dual_start, equation_order=order)
    np.testing.assert_allclose(v, closure.dual_mean[-1], atol=1e-3 * float(closure.dual_std[-1].min()))


@pytest.mark.parametrize("regularizer", [rs.L1(), pytest.param(rs.NonNegativeL1(), marks=pytest.mark.slow)])
def test_of_least_squares_they_are_the_exact_ones(regularizer):
    """H is constant: only the noise forgets the state. 8 000 paths each, 5 standard errors of 90 comparisons: 5e-5."""
    X, _ = rows()
    y = X @ COEF + np.random.default_rng(0).normal(size=len(X))
    problem = rs.LinearRegression.from_data(X, y)
    algorithm = rs.RDA(0.01, regularizer, rs.PowerLaw(0.5, 0.6))
    exact, linear = (
        rs.approximate(problem, algorithm, method="paths", paths=8000, seed=seed, drift=drift, **OPTIONS)
        for seed, drift in ((0, "exact"), (1, "linearized"))
    )
    assert (exact.attrs["drift"], linear.attrs["drift"]) == ("exact", "linearized")
    std = exact.dual_std.values[1:]
    assert np.abs((exact.dual_mean - linear.dual_mean)[1:] / std).max() < 5.0 * np.sqrt(2.0 / 8000) + 0.01
    assert np.abs(np.log(linear.dual_std[1:] / std)).max() < 5.0 * np.sqrt(1.0 / 8000) + 0.02
    assert np.abs(exact.probability_zero - linear.probability_zero).max() < 5.0 * np.sqrt(0.5 / 8000) + 0.01


def test_the_default_over_rows_is_right():
    """400 rows of 6: 4 000 runs, 30 coverages within 4.5 standard errors and a point (paths have an error too)."""
    X, y = rows()
    problem = rs.LogisticRegression.from_data(X, y)
    law = rs.approximate(problem, ALGORITHM, method="paths", paths=4000, seed=0, **OPTIONS)
    assert law.attrs["drift"] == "linearized"
    runs = rs.simulate(problem, ALGORITHM, 5.0, times=6, replicates=4000, seed=0)
    held = rs.coverage(runs, rs.band(law, space="dual")).values[1:]
    assert np.abs(held - 0.95).max() < 4.5 * np.sqrt(2.0 * 0.0475 / 4000) + 0.01
    zeros = (runs.primal == 0.0).mean("replicate")
    assert np.abs(law.probability_zero.values - zeros.values).max() < 4.5 * np.sqrt(0.5 / 4000) + 0.01


def test_what_is_far_from_linear_stays_exact():
    """Steps so large that p bends within a standard deviation, and steep rows."""
    X, y = rows()
    problem = rs.LogisticRegression.from_data(40.0 * X, y)
    with pytest.warns(rs.StabilityWarning):
        law = rs.approximate(problem, rs.RDA(0.01), 0.5, method="paths", paths=16, times=2, check=False, seed=0)
    assert law.attrs["drift"] == "exact"


def test_where_the_closure_has_no_moments_paths_are_exact(monkeypatch):
    def without(*arguments):
        raise ArithmeticError("The moments of the algorithm have no finite value past t = 0.")

    monkeypatch.setattr(paths, "linearize", without)
    X, y = rows()
    problem = rs.LogisticRegression.from_data(X, y)
    theory = rs.approximate(problem, ALGORITHM, method="paths", paths=16, seed=0, **OPTIONS)
    assert theory.attrs["drift"] == "exact"
    with pytest.raises(ArithmeticError):
        rs.approximate(problem, ALGORITHM, method="paths", paths=16, seed=0, drift="linearized", **OPTIONS)


def test_a_gradient_alone_has_paths():
    problem = rs.StochasticProblem(huber, COEF, 6, samples=4000)
    law = rs.approximate(problem, ALGORITHM, method="paths", paths=2000, seed=0, **OPTIONS)
    assert law.attrs["drift"] == "linearized"
    runs = rs.simulate(problem, ALGORITHM, 5.0, times=6, replicates=2000, seed=0)
    # 30 comparisons at 4.5 standard errors of 2 000 runs and paths; beside that the error of 4 000 draws
    assert (
        np.abs((law.dual_mean.values - runs.dual.mean("replicate").values)[1:] / law.dual_std[1:]).max() < 0.145 + 0.1
    )
    held = rs.coverage(runs, rs.band(law, space="dual")).values[1:]
    assert np.abs(held - 0.95).max() < 4.5 * np.sqrt(2.0 * 0.0475 / 2000) + 0.015


def test_results_do_not_depend_on_workers_or_number():
    X, y = rows()
    problem = rs.LogisticRegression.from_data(X, y)
    few = rs.approximate(problem, ALGORITHM, method="paths", paths=20, seed=3, **OPTIONS)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        many = rs.approximate(problem, ALGORITHM, method="paths", paths=50, seed=3, executor=pool, **OPTIONS)
    xr.testing.assert_identical(few.dual, many.dual[:20])


def test_a_closure_of_coordinates_that_decouple_is_the_full_one():
    generator = np.random.default_rng(0)
    variance, coef = generator.uniform(0.2, 2.0, 60), np.where(np.arange(60) < 15, 0.3, 0.0)
    algorithm = rs.RDA(2e-3, rs.L1(), rs.PowerLaw(0.5, 0.6), batch_size=2)
    for order in (1, 2):
        alone, full = (
            rs.approximate(rs.LinearRegression(coef, h), algorithm, equation_order=order, **OPTIONS)
            for h in (variance, np.diag(variance))
        )
        assert (alone.attrs["closure"], full.attrs["closure"]) == ("diagonal", "full")
        std = full.dual_std.values[1:]
        for name in ("dual_mean", "dual_std", "primal_mean", "primal_std"):
            assert np.abs((alone[name] - full[name])[1:] / std).max() < 3e-3, name
        assert np.abs(alone.probability_zero - full.probability_zero).max() < 3e-3


@pytest.mark.parametrize("method", ["closure", "limit", "paths"])
@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 1.5, 6)])
def test_coordinates_are_those_of_all(method, weights):
    problem = rs.LinearRegression(COEF, rs.AR1(6, 0.5))
    algorithm = rs.RDA(0.01, rs.L1(weights), rs.PowerLaw(0.5, 0.6))
    options = OPTIONS | {"method": method, "paths": 20, "seed": 0}
    whole = rs.approximate(problem, algorithm, **options)
    part = rs.approximate(problem, algorithm, coordinates=[4, 1], **options)
    xr.testing.assert_allclose(part, whole.isel(coordinate=[4, 1]), rtol=1e-12)


def test_many_coordinates_take_little():
    problem = rs.LinearRegression(np.where(np.arange(20_000) < 50, 0.3, 0.0))
    algorithm = rs.RDA(1e-6, rs.L1(), rs.PowerLaw(0.5, 0.6))
    law = rs.approximate(problem, algorithm, 1.0, times=3, coordinates=[0, 19_999], check=False)
    assert law.sizes["coordinate"] == 2
    assert np.isfinite(law.dual_std).all()


def test_what_does_not_fit_is_said_before():
    problem = rs.LinearRegression(np.zeros(300_000), rs.AR1(300_000, 0.5))
    with pytest.raises(rs.TooMuchMemoryError, match="The covariances of the closure would take"):
        rs.approximate(problem, rs.RDA(1e-7), 1e-6, times=2, check=False)


def test_refusals():
    problem = rs.StochasticProblem(huber, COEF, 6, samples=100, rate=1.0)
    group = rs.RDA(0.01, rs.GroupLasso([0, 0, 0, 1, 1, 1]), rs.PowerLaw(0.5, 0.6))

    def refused(match, *arguments, **options):
        with pytest.raises(ValueError, match=match):
            rs.approximate(*arguments, 1.0, method="paths", **options)

    refused("'paths' with GroupLasso.* for a problem without a compiled mean gradient", problem, group)
    refused("'paths' with drift='exact' for a problem without", problem, ALGORITHM, drift="exact")
    refused("'paths' with noise='gradients' for a problem without", problem, ALGORITHM, noise="gradients")
    least_squares = rs.LinearRegression(COEF)
    refused("drift is 'linearized' with GroupLasso", least_squares, group, drift="linearized")
    refused(
        "drift is 'linearized' with noise='gradients'", least_squares, ALGORITHM, drift="linearized", noise="gradients"
    )
    refused("drift is 'other'", least_squares, ALGORITHM, drift="other")


def test_where_runs_are_cheaper_it_is_said(monkeypatch):
    """200 runs are 20 000 gradients, as many as one evaluation of the closure; a second is not waited for."""
    problem = rs.StochasticProblem(huber, COEF, 6, samples=20_000, rate=1.0)
    options = {"horizon": 0.1, "times": 2, "check": False}
    monkeypatch.setattr(cost, "_NOTHING", 1e3)
    rs.approximate(problem, rs.RDA(1e-3), **options)  # nothing that anyone waits for: no word
    monkeypatch.setattr(cost, "_NOTHING", 0.0)
    with pytest.warns(rs.CostWarning, match=r"method='closure' will take about .* s of processor time here, 200 runs"):
        rs.approximate(problem, rs.RDA(1e-3), **options)


def test_dual_paths_are_exact_unless_asked():
    X, y = rows()
    run = Run(rs.LogisticRegression.from_data(X, y), ALGORITHM, np.zeros(6), time_axis(0.2, 2, 0.01), 2)
    a, b = (dual_paths(run, MonteCarlo(16, 0, drift=drift))[0] for drift in ("exact", "linearized"))
    assert not np.array_equal(a, b)
