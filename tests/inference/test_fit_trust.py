"""Intervals of `fit` where they used to fail in silence: steep slopes, few rows, rows that are not fresh.

Coverage of R independent streams, each giving the share of coordinates covered. Null: its mean is within 1.5 points of
.95. A test fails if the sample mean lies more than 4 standard errors beyond: a false-alarm rate below 7e-5 a test.
"""

import itertools

import numpy as np
import pytest
from scipy.signal import lfilter

import rdasde as rs
from rdasde._inference.average import DEPENDENT, batch_means, excess, trend
from rdasde._inference.repeats import Repeats
from rdasde._inference.units import Units

SGD = rs.RDA(0.02)
STEEP = np.r_[4.0, -4.0, 2.0, np.zeros(7)]
WEAK = np.r_[np.full(3, 0.5), np.zeros(7)]


def labels(rng, X, coef):
    return rng.random(len(X)) < 1.0 / (1.0 + np.exp(-X @ coef))


def autoregressive(rng, n, rho):
    """Linear regression whose rows and errors are each correlated ``rho**lag``."""
    root = np.sqrt(1.0 - rho * rho)
    fresh = rng.standard_normal((n, 11))
    fresh[1:] *= root
    series = lfilter([1.0], [1.0, -rho], fresh, axis=0)
    return series[:, :10], series[:, :10] @ WEAK + series[:, 10]


def assert_holds(fits, coef):
    inside = [np.mean((fit.interval[:, 0] <= coef) & (coef <= fit.interval[:, 1])) for fit in fits]
    error = np.std(inside, ddof=1) / np.sqrt(len(inside))
    assert abs(np.mean(inside) - 0.95) <= 0.015 + 4.0 * error, (np.mean(inside), error)


@pytest.mark.parametrize(
    ("n", "algorithm"),
    [
        (2000, rs.RDA(0.2, rs.L1(), rs.PowerLaw(0.2, 0.6))),
        (20_000, rs.RDA(0.05, rs.L1(), rs.PowerLaw(0.2, 0.6))),
        (20_000, rs.RDA(0.2, rs.L1(), rs.PowerLaw(0.2, 0.6))),
        (6000, rs.RDA(0.6)),
    ],
    ids=["short", "long", "long, large steps", "no regularizer"],
)
def test_intervals_of_a_steep_logistic_regression_hold(n, algorithm):
    """Where the average is off by tens of standard errors, and no early average is a place to linearize at."""
    fits = []
    for seed in range(60):
        rng = np.random.default_rng([seed, 11])
        X = rng.standard_normal((n, 10))
        fits.append(rs.fit(rs.LogisticRegression, X, labels(rng, X, STEEP), algorithm))
    assert_holds(fits, STEEP)
    assert np.mean([abs(fit.raw[0] - 4.0) / fit.std_error[0] for fit in fits]) > 3.0
    assert all(fit.average.note == "" for fit in fits)


@pytest.mark.parametrize(("n", "step_size"), [(200, 2e-3), (500, 2e-3), (500, 0.01), (2500, 2e-3)])
def test_fifty_columns(n, step_size):
    """Standard errors are the spread, though the start is not forgotten: its way to w* is not noise."""
    coef = np.r_[np.tile([1.0, 0.5, -1.0, -0.5], 3)[:10], np.zeros(40)]
    fits = []
    for seed in range(80):
        rng = np.random.default_rng([seed, 12])
        X = rng.standard_normal((n, 50))
        fits.append(rs.fit(rs.LinearRegression, X, X @ coef + rng.standard_normal(n), rs.RDA(step_size)))
    assert_holds(fits, coef)
    # 4000 nearly independent numbers know a spread to 1.2 %: four of these, and 6 %
    spread = np.sqrt(np.mean([(fit.coef - coef) ** 2 for fit in fits]))
    assert abs(np.mean([fit.std_error for fit in fits]) / spread - 1.0) < 0.11


def test_few_rows_for_many_columns_are_said_to_be_few():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 30))
    fit = rs.fit(rs.LinearRegression, X, rng.standard_normal(100), rs.RDA(1e-3))
    assert fit.average.note == "Standard errors are rough with fewer than 4 rows for each column."
    assert np.all(np.isfinite(fit.std_error))


@pytest.mark.parametrize("n", [400, 6000])
def test_separated_classes_and_a_single_class_are_noticed(n):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, 3))
    for y, word in ((X @ [1.0, 1.0, 0.0] > 0.0, "classes are separated"), (np.ones(n), "All labels are the same")):
        fit = rs.fit(rs.LogisticRegression, X, y, rs.RDA(0.1))
        assert word in fit.average.note
        assert np.all(np.isnan(fit.std_error))
        np.testing.assert_array_equal(fit.coef, fit.raw)
        assert "Average: " in str(fit.summary())
    # once the other class has come, there is an answer
    X = rng.standard_normal((3 * n, 3))
    fit.update(X, labels(rng, X, [1.0, 0.0, 0.0]))
    assert "All labels" not in fit.average.note


def test_passes_of_a_logistic_regression_find_the_maximum_likelihood():
    """Over rows that are all in memory, and over more; a short stretch is no better place to linearize at."""
    rng = np.random.default_rng(2)
    for n in (900, 3000):
        X = rng.standard_normal((n, 3))
        y = labels(rng, X, [3.0, -2.0, 0.0])
        fit = rs.fit(rs.LogisticRegression, X, y, rs.RDA(0.05), passes=3)
        mle = np.zeros(3)
        for _ in range(20):
            p = 1.0 / (1.0 + np.exp(-X @ mle))
            information = (X.T * (p * (1.0 - p))) @ X
            mle += np.linalg.solve(information, X.T @ (y - p))
        assert np.all(np.abs(fit.coef - mle) < 0.5 * fit.std_error)
        np.testing.assert_allclose(fit.std_error, np.sqrt(np.diag(np.linalg.inv(information))), rtol=0.2)
        assert fit.rows_averaged == n
        assert fit.average.note == ""


def test_independent_rows_raise_no_alarm():
    """Null: each of 300 fits is noted with a chance of at most 1e-4; three or more of them are a chance of 5e-6."""
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng([seed, 13])
        X = rng.standard_normal((3000, 4))
        coef = np.r_[1.0, -1.0, 0.0, 0.0]
        error = rng.standard_normal(3000) * np.exp(0.5 * X[:, 0])  # heteroscedastic, with tails
        alarms += rs.fit(rs.LinearRegression, X, X @ coef + error, SGD).average.note != ""
        alarms += rs.fit(rs.LinearRegression, X[:700], (X @ coef + error)[:700], SGD).average.note != ""
        alarms += rs.fit(rs.LogisticRegression, X, labels(rng, X, coef), rs.RDA(0.1)).average.note != ""
    assert alarms < 3


def test_the_tests_of_independence_have_their_size():
    """P-values of sums over runs of independent rows, 4000 times: .05 in 5 %, to four standard errors and a point."""
    found = []
    rng = np.random.default_rng(14)
    for _ in range(4000):
        rows = rng.standard_normal((40, 32, 3)) * np.linspace(0.7, 1.4, 40)[:, None, None]
        rows -= rows.mean(axis=(0, 1))
        counts, sums = np.full(40, 32), rows.sum(axis=1)
        noise = np.einsum("bki,bkj->ij", rows, rows) / (40 * 32)
        found.append([excess(counts, sums, (rows**2).sum(axis=1), noise), trend(counts, sums)])
    slack = 4.0 * np.sqrt(0.05 * 0.95 / 4000)
    share = np.mean(np.array(found) <= 0.05, axis=0)
    assert abs(share[0] - 0.05) < slack + 0.01
    assert share[1] < 0.05 + slack  # a bound


def test_dependent_rows_are_noticed_and_batch_means_hold():
    """Rows correlated .5 a row, errors alike: the variance of sums is 5/3 of that of independent rows."""
    algorithm = rs.RDA(5e-3, rs.L1(), rs.PowerLaw(0.5, 0.6))
    fits, plain = [], []
    for seed in range(100):
        X, y = autoregressive(np.random.default_rng([seed, 15]), 5000, 0.5)
        fits.append(rs.fit(rs.LinearRegression, X, y, algorithm, covariance="batch-means"))
        plain.append(rs.fit(rs.LinearRegression, X, y, algorithm))
    assert all("not independent" in fit.average.note for fit in plain)
    assert all(fit.average.note == "" for fit in fits)
    assert_holds(fits, WEAK)
    ratio = np.mean([fit.std_error / other.std_error for fit, other in zip(fits, plain, strict=True)])
    assert abs(ratio / np.sqrt(5.0 / 3.0) - 1.0) < 0.05
    np.testing.assert_array_equal(fits[0].raw, plain[0].raw)
    np.testing.assert_array_equal(fits[0].coef, plain[0].coef)
    assert 15 <= fits[0].average.freedom < 32
    half = np.diff(fits[0].interval)[:, 0] / 2.0
    assert np.all(half > 2.0 * fits[0].std_error)


def test_batches_too_short_for_the_dependence_are_noticed():
    """Rows correlated .9 a row, errors alike: a row is worth a tenth, a batch of 155 rows of them about 16.

    What a batch is worth is known to 9 %: all are below 25 but for one in 1e6 or so.
    """
    algorithm = rs.RDA(5e-3, rs.L1(), rs.PowerLaw(0.5, 0.6))
    for seed in range(10):
        X, y = autoregressive(np.random.default_rng([seed, 16]), 5000, 0.9)
        note = rs.fit(rs.LinearRegression, X, y, algorithm, covariance="batch-means").average.note
        assert "too few to forget the rows before them" in note or "depend on the runs before them" in note


def test_batch_means_make_room_for_neighbours_that_are_correlated():
    """Sums over 30 batches with ``x_b = e_b + c e_(b-1)`` in 8 coordinates: variance ``(1 + c)^2`` of a total.

    The mean of 400 estimates has a standard error below 1.5 %; five of these, and 8 % for the bias of a correlation
    that is estimated and not below zero (2 E max(0, rho) = 5 % where c = 0, as rho has the deviation 1 / sqrt(240);
    less than there is where c is large). Without it c = .3 would be short by 35 %.
    """
    rng, eye, counts = np.random.default_rng(17), np.eye(8), np.full(30, 100)
    for c in (0.0, 0.1, 0.3):
        found, freedom = [], 0.0
        for _ in range(400):
            e = 10.0 * rng.standard_normal((31, 8))
            sums = e[1:] + c * e[:-1]
            noise, freedom, note = batch_means(counts, sums - sums.mean(axis=0), eye, eye, 1.0)
            found.append(np.mean(np.diag(noise)))
            assert note == ""
        assert freedom == pytest.approx(29.0)
        assert np.mean(found) == pytest.approx((1.0 + c) ** 2, rel=0.155)


def test_sorted_rows_are_noticed():
    X, y = autoregressive(np.random.default_rng(3), 5000, 0.0)
    order = np.argsort(y)
    fit = rs.fit(rs.LinearRegression, X[order], y[order], rs.RDA(5e-3))
    assert "shuffle sorted rows" in fit.average.note
    fit = rs.fit(rs.LinearRegression, X[order], y[order], rs.RDA(5e-3), covariance="batch-means")
    assert "depend on the runs before them" in fit.average.note


def test_repeated_rows_are_counted_once():
    X, y = autoregressive(np.random.default_rng(4), 1250, 0.0)
    once = rs.fit(rs.LinearRegression, X, y, SGD)
    fit = rs.fit(rs.LinearRegression, np.vstack([X] * 4), np.tile(y, 4), SGD)
    assert fit.average.note.startswith("Runs of rows come again: about 12")
    np.testing.assert_allclose(fit.std_error, once.std_error, rtol=0.15)
    for _ in range(3):
        once.update(X, y)
    np.testing.assert_array_equal(once.interval, fit.interval)
    assert once.average.note == fit.average.note


def test_equal_rows_are_no_repetition():
    """Discrete rows are equal by chance; a constant row says nothing."""
    rng = np.random.default_rng(5)
    X = (rng.random((30_000, 2)) < 0.5).astype(float)
    fit = rs.fit(rs.LogisticRegression, X, rng.random(30_000) < 0.5, SGD)
    assert fit._run.repeats.different() == 30_000
    ones = np.ones((3000, 1))
    assert rs.fit(rs.LinearRegression, ones, ones[:, 0], SGD)._run.repeats.different() == 3000


def test_a_sample_of_runs_tells_what_is_repeated():
    """Of 160 000 rows, 4096 runs at most are remembered: half of them repeated, to 5 %, however they come."""
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((80_000, 2)), rng.standard_normal(80_000)
    found = []
    for step in (8192, 1000):
        repeats = Repeats()
        for low in itertools.chain(range(0, 80_000, step), range(0, 80_000, step)):
            repeats = repeats.taken(x[low : low + step], y[low : low + step])
        assert len(repeats._runs) <= 4096
        found.append(repeats.different())
    assert found[0] == found[1]
    assert abs(found[0] / 80_000 - 1.0) < 0.05


@pytest.mark.parametrize("begin", [0, 100, 4096])
def test_units_stay_few_and_alike(begin):
    """Each row is in one of 64 to 128 units, all but the first and the last of the same length."""
    units = Units(256, 2, begin)
    rows = np.ones((256, 2))
    for k in range(begin // 256, 3000):
        units = units.added(256 * k, rows, 2.0 * rows)
    counts, gradients, path, squares = units.since(begin, 256 * 3000, rows[:0], rows)
    assert 64 <= len(counts) <= 128
    assert counts.sum() == 256 * 3000 - begin
    assert len(set(counts[1:-1])) == 1
    assert max(counts[0], counts[-1]) <= counts[1]
    np.testing.assert_array_equal(gradients[:, 0], counts)
    np.testing.assert_array_equal(path[:, 1], 2.0 * counts)
    np.testing.assert_array_equal(squares[:, 1], counts)
    unfinished = units.since(begin, 256 * 3000, rows[:40], rows)
    assert unfinished.counts.sum() == 256 * 3000 - begin + 40


def test_covariance_is_one_of_two_words():
    with pytest.raises(ValueError, match="covariance is 'hac', but must be one of 'independent', 'batch-means'"):
        rs.fit(rs.LinearRegression, np.eye(3), np.ones(3), SGD, covariance="hac")
    X, y = autoregressive(np.random.default_rng(7), 100, 0.0)
    fit = rs.fit(rs.LinearRegression, X, y, SGD, covariance="batch-means")
    assert fit.average.note == "Batch means need at least 8 batches of rows, and there are 4."
    assert np.all(np.isnan(fit.std_error))
    assert DEPENDENT == 1e-4
