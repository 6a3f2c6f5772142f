"""rs.validate.support: rates and laws against naive counts, closed forms and the diffusion; its table."""

import re

import numpy as np
import pytest
from scipy import stats

import rdasde as rs
from rdasde._algorithm import RDA
from rdasde.validate import _support
from rdasde.validate._support import Law, irrepresentable, normality

COEF = np.array([0.5, -0.4, 0.3, 0.0, 0.0, 0.0])
PROBLEM = rs.LinearRegression(COEF, rs.AR1(6, 0.5), noise_std=0.7)
ALGORITHM = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))


@pytest.fixture(scope="module")
def result():
    return rs.validate.support(PROBLEM, ALGORITHM, 8.0, replicates=2000, times=[0.0, 1.0, 8.0], paths=2000, seed=4)


def test_rates_are_those_of_the_runs(result):
    runs = rs.simulate(PROBLEM, ALGORITHM, 8.0, replicates=2000, times=[0.0, 1.0, 8.0], seed=4).primal.values
    nonzero, on = runs != 0.0, COEF != 0.0
    naive = [np.mean([np.array_equal(state, on) for state in states]) for states in nonzero.swapaxes(0, 1)]
    np.testing.assert_allclose(result.exact, naive)
    np.testing.assert_allclose(result.false_positive, nonzero[:, :, 3:].mean(axis=(0, 2)))
    np.testing.assert_allclose(result.true_positive, nonzero[:, :, :3].mean(axis=(0, 2)))
    np.testing.assert_array_equal(result.active, runs[:, :, :3])
    share = nonzero[:, 2, 3:].mean(axis=1)
    assert result.false_positive_standard_error[2] == pytest.approx(share.std(ddof=1) / np.sqrt(2000))


def test_rates_agree_with_the_diffusion(result):
    # Null: runs and paths have the same rates. The diffusion errs by O(gamma) = O(0.01) itself, a fifth of the room
    # below; 2 x 3 comparisons of 2000 runs with 2000 paths at 5 standard errors: false alarm < 1e-5.
    late = result.isel(time=slice(1, None))
    for name in ("exact", "false_positive", "true_positive"):
        spread = np.hypot(late[f"{name}_standard_error"], late[f"{name}_theory_standard_error"])
        assert np.all(np.abs(late[name] - late[f"{name}_theory"]) < 5.0 * spread + 0.01)
    assert 0.05 < float(late.exact[-1]) < 0.95  # a rate that could be wrong


def test_active_coordinates_follow_the_closure_and_not_the_asymptotic_law(result):
    late = result.isel(time=-1)
    # Null: N(closure). Kolmogorov-Smirnov at level 1e-5 for each of 3 coordinates, 2000 runs, with room for the
    # closure's own error of O(gamma) in mean and variance: 0.01.
    critical = stats.kstwo.isf(1e-5, 2000)
    assert np.all(late.ks.sel(law="closure") < critical + 0.01)
    # the lag of the threshold is a third of a standard deviation: this test can fail
    assert late.ks.sel(law="asymptotic").max() > 2.0 * critical
    shift = late.centre.sel(law="shifted") - late.centre.sel(law="asymptotic")
    on = np.ix_([0, 1, 2], [0, 1, 2])
    rate = ALGORITHM.thresholds(np.array([7.99, 8.0]))
    lag = np.linalg.solve(PROBLEM.hessian(COEF)[on], np.sign(COEF[:3]))
    np.testing.assert_allclose(shift, -lag * (rate[1] - rate[0]) / 0.01, rtol=1e-12)
    # and it dies like t^(mu - 1)
    np.testing.assert_allclose(rate[1] - rate[0], 0.5 * 0.1 * 0.6 * 8.0**-0.4 * 0.01, rtol=1e-3)


def test_asymptotic_scale_is_the_lyapunov_solution(result):
    # for least squares C = sigma^2 / 2 I whatever the design (theory, section 7)
    np.testing.assert_allclose(result.scale.sel(law="asymptotic"), 0.7 * np.sqrt(0.01 / 2.0), rtol=1e-12)
    assert np.all(np.isnan(result.z_mean.sel(law="closure").isel(time=0)))  # nothing has moved


def test_sgd_never_finds_zeros_and_is_not_shifted():
    result = rs.validate.support(PROBLEM, RDA(0.01), 1.0, replicates=32, times=[1.0], paths=32, seed=0)
    assert (float(result.exact[0]), float(result.false_positive[0]), float(result.true_positive[0])) == (0.0, 1.0, 1.0)
    np.testing.assert_array_equal(result.centre.sel(law="shifted"), result.centre.sel(law="asymptotic"))
    assert np.isnan(result.irrepresentable)
    assert result.exact_standard_error[0] > 0.0  # 32 failures are no proof of 0


def test_irrepresentable_constant():
    # AR(rho): the first inactive neighbour sees only the last active one: exactly rho
    for rho in (0.5, 0.8):
        problem = rs.LinearRegression([1.0, -1.0, 1.0, 0.0, 0.0], rs.AR1(5, rho))
        assert irrepresentable(problem, ALGORITHM) == pytest.approx(rho, rel=1e-12)
    problem = rs.LinearRegression([1.0, 1.0, 0.0], [[1.0, 0.0, 0.6], [0.0, 1.0, 0.6], [0.6, 0.6, 1.0]])
    assert irrepresentable(problem, ALGORITHM) == pytest.approx(1.2, rel=1e-12)
    weighted = rs.RDA(0.01, rs.L1([1.0, 1.0, 2.0]), rs.PowerLaw(0.5, 0.6))
    assert irrepresentable(problem, weighted) == pytest.approx(0.6, rel=1e-12)


def test_distances_are_scipys():
    sample = np.random.default_rng(0).standard_normal((500, 1, 2)) * [1.0, 1.3] + [0.0, 0.2]
    law = Law(np.zeros((1, 2)), np.ones((1, 2)))
    distances = normality(sample.copy(), law)
    for j in range(2):
        z = sample[:, 0, j]
        assert distances["ks"][0, j] == pytest.approx(stats.kstest(z, "norm").statistic, rel=1e-12)
        u = np.sort(stats.norm.cdf(z))
        i = np.arange(1, 501)
        naive = -500 - np.mean((2 * i - 1) * (np.log(u) + np.log1p(-u[::-1])))
        assert distances["anderson_darling"][0, j] == pytest.approx(naive, rel=1e-9)
        assert distances["z_mean"][0, j] == pytest.approx(z.mean())
        assert distances["z_variance"][0, j] == pytest.approx(z.var(ddof=1))
    # the critical values that attributes quote: 2000 samples of 500; the share above is within 5 standard errors of 5 %
    many = np.random.default_rng(1).standard_normal((500, 1, 2000))
    each = normality(many, Law(np.zeros((1, 2000)), np.ones((1, 2000))))
    error = np.sqrt(0.05 * 0.95 / 2000)
    assert abs(np.mean(each["anderson_darling"] > _support._AD_5_PERCENT) - 0.05) < 5.0 * error
    assert abs(np.mean(each["ks"] * np.sqrt(500) > _support._KS_5_PERCENT) - 0.05) < 5.0 * error + 0.005


def test_group_lasso_has_no_closure_but_everything_else():
    algorithm = rs.RDA(0.01, rs.GroupLasso([0, 0, 0, 1, 1, 1]), rs.PowerLaw(0.5, 0.6))
    result = rs.validate.support(PROBLEM, algorithm, 1.0, replicates=16, times=[1.0], paths=16, seed=0)
    assert list(result.law.values) == ["asymptotic", "shifted"]
    assert result.sizes["coordinate"] == 3


def test_table(result):
    table = rs.validate.table(result[[name for name in result if "z_" not in name]], times=[8.0])
    assert list(table.columns) == ["Estimate", "Bias against theory", "Standard error", "Interval"]
    assert list(table.index) == ["exact, t = 8", "false positive, t = 8", "true positive, t = 8"]
    late, row = result.isel(time=-1), table.loc["exact, t = 8"]
    error = np.hypot(late.exact_standard_error, late.exact_theory_standard_error)
    assert row["Estimate"] == late.exact
    assert row["Bias against theory"] == late.exact - late.exact_theory
    assert row["Standard error"] == pytest.approx(float(error))
    low, high = map(float, row["Interval"].strip("[]").split(", "))
    assert (low, high) == pytest.approx(
        (float(late.exact - 1.959964 * error), float(late.exact + 1.959964 * error)), rel=1e-3
    )


CASES = [
    (
        lambda: rs.validate.support(rs.LinearRegression([0.5, 0.4]), ALGORITHM, 1.0),
        "problem is one with 2 of 2 coordinates active, but must be one with a known minimizer, unique, with zero and "
        "nonzero coordinates: pass for example rs.LinearRegression(coef) with zeros in coef.",
    ),
    (
        lambda: rs.validate.support(rs.OnlinePCA([2.0, 1.0]), ALGORITHM, 1.0, start=[1.0, 1.0]),
        "problem is one as good at -w as at w, but must be one with a known minimizer, unique, with zero and nonzero "
        "coordinates: pass for example rs.LinearRegression(coef) with zeros in coef.",
    ),
    (
        lambda: rs.validate.support(PROBLEM, ALGORITHM, 1.0, coordinates=[0, 4]),
        "coordinates is [0, 4], but must be active ones, where the minimizer is not 0: drop those off the support.",
    ),
    (
        lambda: rs.validate.support(PROBLEM, ALGORITHM, 1.0, replicates=1),
        "replicates is 1, but must be a whole number >= 2: give how many runs, at least 2.",
    ),
    (
        lambda: rs.validate.support(PROBLEM, ALGORITHM, 1.0, paths=0),
        "paths is 0, but must be a whole number >= 2: give the number of Monte Carlo paths, at least 2.",
    ),
    (
        lambda: rs.validate.table(rs.approximate(PROBLEM, ALGORITHM, 1.0, times=3)),
        "result is a Dataset without an estimate and its standard error, but must be what a function of rs.validate "
        "returned: pass that Dataset.",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=range(len(CASES)))
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
