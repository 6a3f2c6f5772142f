"""Steps that fall, and momentum: twins of the algorithm, and laws against runs."""

import re

import numpy as np
import pytest
import xarray as xr
from helpers import draw_normals

import rdasde as rs
from rdasde import _step_size
from rdasde._compiled.lanes import lane_array
from rdasde._compiled.random import streams
from rdasde._engine.time_axis import time_axis

LEVEL = 0.9
PROBLEM = rs.LinearRegression([0.5, -0.3, 0.0, 0.0], rs.AR1(4, 0.5), noise_std=0.7)
FALLING = rs.RDA(rs.PowerStep(0.05, 0.4), rs.L1(), rs.PowerLaw(0.4, 0.6))


def halved(n):
    return np.where(n <= 100, 0.02, 0.01)


def twin(algorithm, sizes, replicate, seed):
    """Ten lines of NumPy; sizes are those of the algorithm itself, the threshold grows with the effective ones."""
    beta, c, mu = algorithm.momentum, algorithm.schedule.c, algorithm.schedule.mu
    stream, normals = streams(seed, np.array([replicate])), lane_array(6)
    factor, v, move, g, path = np.linalg.cholesky(PROBLEM.covariance.dense()), np.zeros(4), np.zeros(4), 0.0, []
    for n, size in enumerate(sizes, 1):
        w = algorithm.mirror.prox(v, g)
        draw_normals(stream, normals)
        x = factor @ normals[:4, 0]
        move = beta * move + x * (x @ (w - PROBLEM.coef) - PROBLEM.noise_std * normals[4, 0])
        v = v - size * move
        g += c * (size / (1 - beta)) ** (0.5 + mu) * (n**mu - (n - 1) ** mu)
        path.append(np.append(v, g))
    return np.array(path)


@pytest.mark.parametrize("beta", [0.0, 0.8])
@pytest.mark.parametrize("steps", [rs.PowerStep(0.05, 0.4), halved, 0.01])
def test_equals_its_twin(steps, beta):
    algorithm = rs.RDA(steps, rs.L1(), rs.PowerLaw(0.4, 0.6), momentum=beta)
    sizes = steps(np.arange(1, 121)) if callable(steps) else np.full(120, steps)
    clock = np.cumsum(sizes) / (1 - beta)
    runs = rs.simulate(PROBLEM, algorithm, clock[-1], times=clock, replicates=[0, 21], seed=4)
    np.testing.assert_allclose(runs.time, clock, rtol=1e-12)
    for replicate in (0, 21):
        path = twin(algorithm, sizes, replicate, 4)
        np.testing.assert_allclose(runs.dual.sel(replicate=replicate), path[:, :4], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(runs.threshold, path[:, 4], rtol=1e-10)


def test_steps_that_do_not_fall_are_constant_ones():
    """Up to rounding of the thresholds, which are added up."""
    options = {"times": 11, "replicates": 20, "seed": 1, "average": True}
    plain, power = (
        rs.simulate(PROBLEM, rs.RDA(steps, rs.L1(), rs.PowerLaw(0.4, 0.6)), 2.0, **options)
        for steps in (0.01, rs.PowerStep(0.01, 0.0))
    )
    for name in ("dual", "primal", "average", "threshold", "time"):
        np.testing.assert_allclose(power[name], plain[name], rtol=1e-9, atol=1e-12)
    for method in ("closure", "paths"):
        options = {"times": 5, "method": method, "paths": 50, "seed": 1, "average": True, "check": False}
        plain, power = (
            rs.approximate(PROBLEM, rs.RDA(steps, rs.L1(), rs.PowerLaw(0.4, 0.6)), 2.0, **options)
            for steps in (0.01, rs.PowerStep(0.01, 0.0))
        )
        if method == "closure":  # thresholds are linear between steps, and stages fall between them
            for name in ("dual_mean", "dual_std", "primal_mean", "average_mean", "average_std", "threshold"):
                np.testing.assert_allclose(power[name], plain[name], atol=2e-3 * float(plain.dual_std.max()))
        assert power.attrs["equation_order"] == 2


def test_time_is_the_sum_of_steps(monkeypatch):
    axis = time_axis(2.0, [0.0, 0.03, 0.5, 2.0], halved)
    assert axis.total == 100
    assert axis.steps.tolist() == [0, 1, 25, 100]  # .03 is as near to the second step; a tie goes to the earlier one
    axis = time_axis(2.5, 2, halved)
    assert axis.total == 150
    np.testing.assert_allclose(axis.times, [0.0, 2.5])
    monkeypatch.setattr(_step_size, "_MOST", 10**5)
    with pytest.raises(ValueError, match=r"^horizon is 5, which \d+ steps do not reach .*: give a shorter horizon"):
        time_axis(5.0, 2, lambda n: 1.0 / n**2)


@pytest.mark.parametrize("method", ["closure", "paths"])
def test_laws_of_steps_that_fall(method):
    # null: coverage .9 of 2 000 runs by a band from 4 000 paths: standard error .0082; 32 comparisons each at 4.8 of
    # them (1e-4), and 2 points for the law itself, 3 for that of the average; its standard deviations to 6 % and 10 %
    runs = rs.simulate(PROBLEM, FALLING, 4.0, replicates=2000, times=9, seed=1, average=True)
    theory = rs.approximate(
        PROBLEM, FALLING, 4.0, method=method, times=9, paths=4000, seed=2, average=True, check=False
    )
    np.testing.assert_array_equal(theory.time, runs.time)
    np.testing.assert_allclose(theory.threshold, runs.threshold, rtol=1e-12)
    held = rs.coverage(runs, rs.band(theory, LEVEL, space="dual"))[1:]
    assert np.abs(held - LEVEL).max() < 4.8 * 0.0082 + 0.02
    held = rs.coverage(runs, rs.band(theory, LEVEL, of="average"))[1:]
    assert np.abs(held - LEVEL).max() < 4.8 * 0.0082 + 0.03


def test_the_law_of_a_rate_that_is_halved_without_a_regularizer():
    """Exactly, for the closure: the moments of the recursion, with the sum of its iterates beside it."""
    theory = rs.approximate(PROBLEM, rs.RDA(halved), 2.5, times=[2.0, 2.5], average=True, check=False)
    d, H = 4, PROBLEM.covariance.dense()
    mean, covariance = np.concatenate([-PROBLEM.coef, np.zeros(d)]), np.zeros((2 * d, 2 * d))
    for n in range(1, 151):
        gamma = float(halved(n))
        step = np.block([[np.eye(d) - gamma * H, np.zeros((d, d))], [np.eye(d), np.eye(d)]])
        second = np.outer(mean[:d], mean[:d]) + covariance[:d, :d]
        noise = (np.trace(H @ second) + PROBLEM.noise_std**2) * H + H @ second @ H
        mean, covariance = step @ mean, step @ covariance @ step.T
        covariance[:d, :d] += gamma**2 * noise
        if n in (100, 150):
            found, std = theory.isel(time=0 if n == 100 else 1), np.sqrt(np.diag(covariance))
            np.testing.assert_allclose(found.dual_mean, PROBLEM.coef + mean[:d], atol=1e-2 * std[:d].min())
            np.testing.assert_allclose(found.dual_std, std[:d], rtol=1e-2)
            np.testing.assert_allclose(found.average_mean, PROBLEM.coef + mean[d:] / n, atol=1e-2 * std[d:].min() / n)
            np.testing.assert_allclose(found.average_std, std[d:] / n, rtol=1e-2)


@pytest.mark.parametrize("method", ["closure", "paths"])
def test_the_law_of_momentum_is_that_of_its_effective_step(method):
    # null: coverage .9 of 2 000 runs by a band from 4 000 paths at t = 2 and 4, 8 comparisons: 4.5 standard errors of
    # .0082 (1e-4), and 2 points for a law that is of first order
    algorithm = rs.RDA(0.002, rs.L1(), rs.PowerLaw(0.5, 0.6), momentum=0.8)
    options = {"times": [2.0, 4.0], "seed": 1}
    runs = rs.simulate(PROBLEM, algorithm, 4.0, replicates=2000, **options)
    theory = rs.approximate(PROBLEM, algorithm, 4.0, method=method, paths=4000, check=False, **options)
    assert theory.attrs["equation_order"] == 1
    assert theory.attrs["momentum"] == runs.attrs["momentum"] == 0.8
    np.testing.assert_array_equal(theory.time, runs.time)
    held = rs.coverage(runs, rs.band(theory, LEVEL, space="dual"))
    assert np.abs(held - LEVEL).max() < 4.5 * 0.0082 + 0.02


def test_the_check_compares_with_the_algorithm_itself():
    """So that what is not right at first is warned of: long memory, and a start far away."""
    short = rs.approximate(PROBLEM, rs.RDA(0.002, momentum=0.8), 4.0, times=[2.0, 4.0], check=True)
    assert short.attrs["checked_std"] < 0.15
    with pytest.warns(rs.AccuracyWarning, match="its mean is off by"):
        rs.approximate(PROBLEM, rs.RDA(0.001, momentum=0.99), 1.0, start=[9.0, 9.0, 9.0, 9.0], times=11, check=True)
    falling = rs.approximate(PROBLEM, FALLING, 4.0, times=5, check=True)
    assert falling.attrs["checked_replicates"] >= 512


def test_results_and_stores_say_what_the_steps_were(tmp_path):
    options = {"times": 3, "seed": 1, "replicates": 2, "store": tmp_path / "store"}
    runs = rs.simulate(PROBLEM, FALLING, 1.0, **options)
    assert runs.attrs["step_size"] == "PowerStep(first=0.05, decay=0.4)"
    xr.testing.assert_identical(runs, rs.simulate(PROBLEM, FALLING, 1.0, **options))
    runs.to_netcdf(tmp_path / "runs.nc")
    other = rs.RDA(rs.PowerStep(0.05, 0.3), rs.L1(), rs.PowerLaw(0.4, 0.6))
    with pytest.raises(ValueError, match=r"differs in .*step_size.*\)"):
        rs.simulate(PROBLEM, other, 1.0, **options)
    heavy = rs.RDA(rs.PowerStep(0.05, 0.4), rs.L1(), rs.PowerLaw(0.4, 0.6), momentum=0.5)
    with pytest.raises(ValueError, match=r"differs in .*momentum.*\)"):
        rs.simulate(PROBLEM, heavy, 1.0, **options)
    assert rs.simulate(PROBLEM, rs.RDA(halved), 1.0).attrs["step_size"] == "halved"


def test_the_largest_step_is_warned_of():
    with pytest.warns(rs.StabilityWarning, match="step_size 1.5 is past mean-square stability"):
        rs.simulate(PROBLEM, rs.RDA(rs.PowerStep(1.5, 0.9)), 2.0, on_divergence="keep")


CASES = [
    (
        lambda: rs.PowerStep(0.0, 0.5),
        "first is 0.0, but must be a finite number > 0: give for example first=0.1.",
    ),
    (
        lambda: rs.PowerStep(0.1, 1.5),
        "decay is 1.5, but must be a finite number >= 0 and <= 1: give for example decay=0.5.",
    ),
    (
        lambda: rs.RDA(0.1, momentum=1.0),
        "momentum is 1.0, but must be a finite number >= 0 and < 1: give for example momentum=0.9.",
    ),
    (
        lambda: rs.simulate(PROBLEM, rs.RDA(lambda n: 0.1), 1.0),
        "step_size is a function that makes array(0.1) of the numbers of 4096 steps, but must be one that gives each "
        "step its size: return an array of the same shape as n.",
    ),
    (
        lambda: rs.simulate(PROBLEM, rs.RDA(lambda n: 0.1 - 0.05 * n), 1.0),
        "step_size is 0 at n = 2, but must be finite and > 0 at every step: mend the function of n.",
    ),
    (
        lambda: rs.approximate(PROBLEM, FALLING, 1.0, method="limit"),
        "method is 'limit' with a step size that falls, but must be 'closure' or 'paths' there: use one of these.",
    ),
    (
        lambda: rs.approximate(PROBLEM, FALLING, 1.0, method="paths", noise="gradients"),
        "noise is 'gradients' with a step size that falls, but must be 'gaussian' there: simulate the algorithm "
        "itself.",
    ),
    (
        lambda: rs.validate.risk(PROBLEM, FALLING, 1.0),
        "algorithm is one with a step size that falls, but must be one of constant step size without momentum here: "
        "pass such a one.",
    ),
    (
        lambda: rs.fit(rs.LinearRegression, np.eye(3), np.ones(3), rs.RDA(0.1, momentum=0.5)),
        "algorithm is one with momentum, but must be one of constant step size without momentum here: pass such a one.",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES)
def test_messages(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
