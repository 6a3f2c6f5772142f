"""Do the intervals of `fit` hold? Statistical tests at small sizes, with their false-alarm rates.

Of R independent replicates each gives the share of coordinates covered. Null: its mean is within one point of .95
(the nominal level is exact only in the limit). The test fails if the sample mean lies more than 4 standard errors
beyond: a false-alarm rate below 7e-5 a test.
"""

import numpy as np
import pytest

import rdasde as rs
from rdasde import _studies
from rdasde._studies import _online_inference_runs as online_inference

R, N = 400, 4096
COEF = np.array([1.0, -1.0, 0.05, 0.0])
ROOT = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(range(4), range(4)))).T


def design(rng):
    return rng.standard_normal((N, 4)) @ ROOT


def linear(rng):
    X = design(rng)
    return X, X @ COEF + rng.standard_t(6, size=N) * (0.6 + 0.4 * np.abs(X[:, 1]))  # heavy tails, heteroscedastic


def logistic(rng):
    X = design(rng)
    return X, rng.random(N) < 1.0 / (1.0 + np.exp(-X @ COEF))


def pca(rng):
    unit = np.array([0.8, 0.6, 0.0, 0.0])
    return rng.standard_normal((N, 4)) + 2.0 * np.outer(rng.standard_normal(N), unit), None


def replicates(kind, draw, algorithm, target):
    """(replicate, coordinate): average, its shift and error, iterate, its shift and error, all towards the target."""
    found = []
    for number in range(R):
        fit = rs.fit(kind, *draw(np.random.default_rng([7, number])), algorithm)
        sign = np.sign(fit.coef @ target) if kind is rs.OnlinePCA else 1.0
        average, iterate = fit.average, fit.iterate
        found.append(
            [
                sign * average.coef - target,
                average.std_error,
                sign * average.raw - target,
                sign * iterate.coef - target,
                iterate.std_error,
            ]
        )
    return np.moveaxis(np.array(found), 1, 0)


def assert_holds(shares, nominal=0.95, slack=0.01):
    error = shares.std(ddof=1) / np.sqrt(len(shares))
    assert abs(shares.mean() - nominal) <= slack + 4.0 * error, (shares.mean(), error)


CASES = {
    "linear": (rs.LinearRegression, linear, rs.RDA(0.01, rs.L1(), rs.PowerLaw(1.0, 0.7)), COEF),
    "linear, no regularizer": (rs.LinearRegression, linear, rs.RDA(0.02), COEF),
    "linear, elastic net, batches": (
        rs.LinearRegression,
        linear,
        rs.RDA(0.05, rs.ElasticNet(0.1), rs.PowerLaw(0.7, 0.6), batch_size=2),
        COEF,
    ),
    "logistic": (rs.LogisticRegression, logistic, rs.RDA(0.08, rs.L1(), rs.PowerLaw(0.3, 0.6)), COEF),
    "pca": (rs.OnlinePCA, pca, rs.RDA(4e-3, rs.L1(), rs.PowerLaw(0.4, 0.7)), np.array([0.8, 0.6, 0.0, 0.0])),
}


SLOW = ("linear, elastic net, batches", "linear, no regularizer")
EACH = [pytest.param(case, marks=pytest.mark.slow if name in SLOW else (), id=name) for name, case in CASES.items()]


@pytest.mark.parametrize("case", EACH)
def test_intervals_hold(case):
    center, error, raw, last, last_error = replicates(*case)
    assert_holds(np.mean(np.abs(center) <= 1.959964 * error, axis=1))
    strong = np.abs(case[3]) >= 0.5
    assert np.all(np.isfinite(last_error[:, strong]))
    # the last iterate has one interval fewer to average over, and its law is linearized: two points
    assert_holds(np.mean(np.abs(last[:, strong]) <= 1.959964 * last_error[:, strong], axis=1), slack=0.02)
    # the average's own spread is its standard error: 400 replicates know a spread to 3.5 %, four of these and 5 %
    assert np.all(np.abs(center.std(axis=0) / error.mean(axis=0) - 1.0) < 0.19)
    bias = center.mean(axis=0) / error.mean(axis=0)
    assert np.all(np.abs(bias) < 0.15 + 4.0 / np.sqrt(R))
    if case[2].mirror.needs_schedule and case[0] is not rs.OnlinePCA:  # without the correction they do not hold
        assert np.mean(np.abs(raw[:, strong]) <= 1.959964 * error[:, strong]) < 0.85


def test_pca_standard_errors_are_those_of_the_eigenvector():
    """``sum_k l_1 l_k / (l_1 - l_k)^2 u_k u_k' / m`` for Gaussian rows: at l = 5, 1, 1, 1 to 10 %."""
    fit = rs.fit(rs.OnlinePCA, *pca(np.random.default_rng(3)), rs.RDA(2e-3))
    unit = np.array([0.8, 0.6, 0.0, 0.0])
    expected = np.sqrt(5.0 / 16.0 * np.diag(np.eye(4) - np.outer(unit, unit)) / fit.rows_averaged)
    np.testing.assert_allclose(fit.std_error, expected, rtol=0.1)


@pytest.mark.parametrize("algorithm", [rs.RDA(0.1), rs.RDA(0.05, rs.L1(), rs.PowerLaw(0.5, 0.7))], ids=["SGD", "l1"])
def test_logistic_centre_is_the_maximum_likelihood_estimate_s(algorithm):
    """To a standard error, where the average is off by many: by the bias of the step, or by the threshold."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((60_000, 8))
    coef = np.array([1.0, -1.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    y = rng.random(len(X)) < 1.0 / (1.0 + np.exp(-X @ coef))
    fit = rs.fit(rs.LogisticRegression, X, y, algorithm)
    window, labels, mle = X[-fit.rows_averaged :], y[-fit.rows_averaged :], coef.copy()
    for _ in range(8):
        p = 1.0 / (1.0 + np.exp(-window @ mle))
        mle += np.linalg.solve((window.T * (p * (1.0 - p))) @ window, window.T @ (labels - p))
    assert np.max(np.abs(fit.raw - mle) / fit.std_error) > 5.0
    assert np.max(np.abs(fit.coef - mle) / fit.std_error) < 1.0


def test_the_study_at_a_small_size(tmp_path):
    pieces = _studies.Pieces(tmp_path, small=True)
    report = _studies.run("online-inference", pieces)
    assert len(report.table.splitlines()) == 2 + 2 * 13
    again = _studies.run("online-inference", pieces)
    assert again.table == report.table
    figure = report.figure
    assert len(figure.axes) == 4
    assert "One pass over 8,000 rows, 40 replicates" in figure.caption


def test_the_study_draws_the_rows_it_says():
    """Means of products over 40 streams within 5 of their standard errors (false alarms: 1e-5 for 15 entries)."""
    cell = online_inference.Design("test", 5, 0.5, 2048, 1)
    source = online_inference.streams(0, np.arange(16))
    numbers = online_inference.lane_array(2048 * 6 // 16)
    rows, response, products = np.empty((2048, 5)), np.empty(2048), np.zeros(6)
    grams = []
    for _ in range(40):
        online_inference.draw_rows(source, cell.coef, 0.5, numbers, rows, response, products)
        grams.append(np.column_stack([rows, response - rows @ cell.coef]).T @ rows / 2048)
    np.testing.assert_allclose(products[:5], np.sum([g[5] + cell.coef @ g[:5] for g in grams], axis=0) * 2048)
    grams = np.array(grams)
    error = grams.std(axis=0, ddof=1) / np.sqrt(40)
    assert np.all(np.abs(grams.mean(axis=0) - np.vstack([cell.covariance, np.zeros(5)])) < 5.0 * error)
