"""`fit` of a loss: the stream against a NumPy twin, the sandwich, and what is refused or noted."""

import itertools

import numpy as np
import pytest
import scipy.stats
from scipy.optimize import minimize

import rdasde as rs
from rdasde._inference.density import bandwidth
from rdasde._problems.row_terms import DensityModel

L1 = rs.RDA(0.02, rs.L1(), rs.PowerLaw(c=0.3, mu=0.6))
COEF = np.array([0.5, -0.4, 0.2, 0.0])


def cube(eta, y):
    r = eta - y
    return r + 0.1 * r**3


def cube_slope(eta, y):
    r = eta - y
    return 1.0 + 0.3 * r * r


def wave(eta, y):  # Welsch's: not convex
    r = eta - y
    return r * np.exp(-0.5 * r * r)


def log_cosh(eta, y):  # its second derivative vanishes where |eta - y| is large
    return np.tanh(eta - y)


LOSSES = {
    "poisson": rs.PoissonLoss(),
    "huber": rs.HuberLoss(1.0),
    "smoothed quantile": rs.QuantileLoss(0.7, bandwidth=0.5),
    "quantile": rs.QuantileLoss(0.7),
    "squared hinge": rs.SquaredHingeLoss(),
    "custom": rs.CustomLoss(cube, cube_slope),
    "custom, by differences": rs.CustomLoss(cube),
}


def rows_of(loss, n, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.standard_normal((n, 3))])
    X[:, 2] = 0.5 * X[:, 1] + np.sqrt(0.75) * X[:, 2]
    eta = X @ COEF
    if loss.response == "count":
        return X, rng.poisson(np.exp(eta))
    if loss.response == "label":
        return X, (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    return X, eta + (0.5 + 0.5 * np.abs(X[:, 1])) * rng.standard_normal(n)


def slopes(loss, model, eta, y):
    """l'' of a loss, or that of the kernel that stands for it."""
    if isinstance(model, DensityModel):
        return rs.QuantileLoss(model.level, model.bandwidth).second_derivative(eta, y)
    return loss.second_derivative(eta, y)


def twin(loss, X, y, algorithm, place):
    """Every step as it is written down, gradients linearized at `place`; while all rows are in memory."""
    (n, d), gamma, c = X.shape, algorithm.step_size, place.centre
    g = algorithm.thresholds(np.arange(n + 1) * gamma)
    v, w, path = np.zeros(d), np.zeros(d), []
    for k in range(n):
        path.append(w)
        v = v - gamma * X[k] * loss.derivative(X[k] @ w, y[k])
        w = algorithm.mirror.prox(v, g[k + 1])
    path = np.array(path)
    scores, slope = np.sum(X * path, axis=1), slopes(loss, place.parameters, X @ c, y)
    hessian = (X.T * slope) @ X / n
    linear = X * (loss.derivative(X @ c, y) + slope * (scores - X @ c))[:, None]  # of each row, at its w
    mean = path.mean(axis=0)
    inverse = np.linalg.inv(hessian)
    coef = mean - inverse @ linear.mean(axis=0)
    psi = linear - (path - coef) @ hessian
    there = X * (loss.derivative(X @ c, y) + slope * (X @ (coef - c)))[:, None]
    moving = X * (slope * np.sum(X * (path - mean), axis=1))[:, None] - (path - mean) @ hessian
    leverage = slope * np.einsum("ij,jk,ik->i", X, inverse, X) / n
    wide = there / (1.0 - leverage)[:, None] + moving
    variance = inverse @ (wide.T @ wide / n) @ inverse / n
    return {"w": w, "raw": mean, "coef": coef, "std_error": np.sqrt(np.diag(variance)), "psi": psi @ inverse.T}


@pytest.mark.parametrize("name", LOSSES)
def test_the_stream_is_the_twin_s(name):
    loss, n = LOSSES[name], 700
    X, y = rows_of(loss, n)
    fit = rs.fit(loss, X, y, L1)
    place = fit._run.head.solution()
    expected = twin(loss, X, y, L1, place)
    np.testing.assert_allclose(fit.iterate.raw, expected["w"], atol=1e-11)
    np.testing.assert_allclose(fit.raw, expected["raw"], atol=1e-11)
    np.testing.assert_allclose(fit.coef, expected["coef"], atol=1e-10)
    np.testing.assert_allclose(fit.std_error, expected["std_error"], rtol=1e-8)
    smooth = loss if loss.is_smooth else rs.QuantileLoss(0.7, place.parameters.bandwidth)
    zero = X.T @ smooth.derivative(X @ place.centre, y) / n  # the estimating equation is solved
    assert np.max(np.abs(zero)) < 1e-8
    scaled = rs.fit(loss, X, y, L1, inference="random-scaling")
    np.testing.assert_array_equal(scaled.coef, fit.coef)
    # partial sums at the ends of units of 32 rows (the block's last rows are not a whole unit)
    ends = np.r_[np.arange(32, 673, 32), 700]
    counts, partial = np.diff(ends, prepend=0), np.cumsum(expected["psi"], axis=0)[ends - 1]
    bridge = partial - np.outer(ends / n, partial[-1])
    weights = (counts + np.r_[counts[1:], 0]) / 2.0 / n
    square = weights @ bridge**2 / n * n / (n - 4)
    units = n**2 / np.sum(counts**2.0)
    expected_error = np.sqrt(square / n / ((units**2 - 1.0) / (6.0 * units**2)))
    np.testing.assert_allclose(scaled.std_error, expected_error, rtol=1e-7)


@pytest.mark.parametrize(
    ("loss", "kind"), [(rs.SquaredLoss(), rs.LinearRegression), (rs.LogisticLoss(), rs.LogisticRegression)]
)
def test_losses_that_are_classes_have_the_same_bits(loss, kind):
    X, y = rows_of(loss, 5000)
    ours, theirs = rs.fit(loss, X, y, L1), rs.fit(kind, X, y, L1)
    for name in ("coef", "raw", "std_error", "interval"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_array_equal(ours.iterate.interval, theirs.iterate.interval)
    assert ours.loss == loss
    assert theirs.loss is None


@pytest.mark.parametrize("name", ["poisson", "huber", "quantile", "squared hinge"])
def test_long_streams_have_the_sandwich_and_its_centre(name):
    """20 000 rows, of which the first 2048 are kept: the M-estimate of all rows but the first, to a standard error."""
    loss = LOSSES[name]
    X, y = rows_of(loss, 20_000)
    fit = rs.fit(loss, X, y, rs.RDA(0.005, rs.L1(), rs.PowerLaw(c=1.5, mu=0.6)))
    assert fit.average.note == ""
    late, labels = X[-fit.rows_averaged :], y[-fit.rows_averaged :]
    smooth = loss if loss.is_smooth else rs.QuantileLoss(0.7, 0.05)
    w = fit.coef
    for _ in range(10):
        first, second = smooth.derivatives(late @ w, labels)
        w = w - np.linalg.solve((late.T * second) @ late, late.T @ first)
    first = loss.derivative(late @ w, labels)
    second = smooth.second_derivative(late @ w, labels)
    inverse = np.linalg.inv((late.T * second) @ late)
    error = np.sqrt(np.diag(inverse @ ((late.T * first**2) @ late) @ inverse))
    assert np.all(np.abs(fit.coef - w) < 0.6 * error)
    # iterates jitter, and a kernel's density is known, to some per cent
    np.testing.assert_allclose(fit.std_error, error, rtol=0.12)
    assert np.max(np.abs(fit.raw - w) / error) > 1.0


@pytest.mark.parametrize("name", ["poisson", "quantile"])
@pytest.mark.parametrize("inference", ["plug-in", "random-scaling"])
def test_however_the_stream_is_cut(name, inference):
    loss = LOSSES[name]
    X, y = rows_of(loss, 5000)
    whole = rs.fit(loss, X, y, L1, inference=inference)
    cuts = [0, 1, 255, 300, 2047, 2600, 5000]
    pieces = rs.fit(loss, [(X[a:b], y[a:b]) for a, b in itertools.pairwise(cuts)], None, L1, inference=inference)
    np.testing.assert_array_equal(pieces.interval, whole.interval)
    np.testing.assert_array_equal(pieces.iterate.interval, whole.iterate.interval)


def test_the_bandwidth_is_hall_and_sheather_s():
    """For normal residuals: c is the distance of two quantiles, h = c / sqrt(3); it scales with the residuals."""
    from scipy.stats import norm

    n = 200_000
    residuals = norm.ppf((np.arange(n) + 0.5) / n)
    for level in (0.5, 0.9):
        z = norm.ppf(level)
        q = n ** (-1 / 3) * norm.ppf(0.975) ** (2 / 3) * (1.5 * norm.pdf(z) ** 2 / (2 * z * z + 1)) ** (1 / 3)
        expected = (norm.ppf(level + q) - norm.ppf(level - q)) / 2 / np.sqrt(3)
        np.testing.assert_allclose(bandwidth(residuals, level), expected, rtol=1e-3)
        np.testing.assert_allclose(bandwidth(1e5 * residuals, level), 1e5 * expected, rtol=1e-3)
    assert bandwidth(np.ones(100), 0.5) == 0.0


def test_units_of_y_do_not_matter():
    """Robust losses in units a thousand times as small."""
    X, y = rows_of(rs.HuberLoss(), 3000)
    big = rs.fit(rs.HuberLoss(1345.0), X, 1000.0 * y, rs.RDA(0.02))
    small = rs.fit(rs.HuberLoss(1.345), X, y, rs.RDA(0.02))
    np.testing.assert_allclose(big.interval, 1000.0 * small.interval, rtol=1e-6)
    big = rs.fit(rs.QuantileLoss(0.5), X, 1000.0 * y, rs.RDA(20.0))
    small = rs.fit(rs.QuantileLoss(0.5), X, y, rs.RDA(0.02))
    # a residual more or less at the last digits of the centre counts as one row
    np.testing.assert_allclose(big.interval, 1000.0 * small.interval, rtol=1e-3)


def test_what_theory_does_not_cover_is_said():
    X, y = rows_of(rs.HuberLoss(), 3000)
    fit = rs.fit(rs.CustomLoss(wave), X, 3.0 * y, rs.RDA(0.02))
    assert np.all(np.isnan(fit.std_error))
    assert "not convex" in fit.average.note or "second derivatives of the loss are negative" in fit.average.note
    for n in (600, 3000):
        fit = rs.fit(rs.QuantileLoss(0.5), X[:n], np.zeros(n), rs.RDA(0.02))
        assert np.all(np.isnan(fit.std_error))
        assert fit.average.note
        fit = rs.fit(rs.PoissonLoss(), X[:n], np.zeros(n), rs.RDA(0.02))
        assert np.all(np.isnan(fit.std_error))
        assert "classes" not in fit.average.note
        fit = rs.fit(rs.SquaredHingeLoss(), X[:n], X[:n, 1] > 0.0, rs.RDA(0.02))
        assert np.all(np.isnan(fit.std_error))
        assert "classes are separated" in fit.average.note
    fit = rs.fit(rs.PoissonLoss(), np.column_stack([X, X[:, 1]]), rows_of(rs.PoissonLoss(), 3000)[1], rs.RDA(0.02))
    assert "columns are linearly dependent" in fit.average.note
    fit = rs.fit(rs.PoissonLoss(), *rows_of(rs.PoissonLoss(), 3000), rs.RDA(0.02, rs.Box(-1.0, 1.0)))
    assert fit.average.note.startswith("Standard errors are known for L1, ElasticNet and no regularizer")


@pytest.mark.parametrize(
    ("n", "algorithm"), [(2000, L1), (6000, rs.RDA(0.05, rs.ElasticNet(0.5), rs.Constant(0.1)))], ids=["short", "long"]
)
def test_heavy_tails_are_no_concavity(n, algorithm):
    """Residuals where the derivative of a loss is flat: intervals at .95, binomial, one false alarm in 10 000.

    60 fits of three coefficients whose intervals are nearly independent.
    """
    coef, missed = np.array([0.6, -0.3, 0.0]), 0
    for run in range(60):
        rng = np.random.default_rng([run, 3])
        X = rng.standard_normal((n, 3))
        fit = rs.fit(rs.CustomLoss(log_cosh), X, X @ coef + rng.standard_t(1.5, n), algorithm)
        missed += int(np.sum(~((fit.interval[:, 0] < coef) & (coef < fit.interval[:, 1]))))
        assert not fit.average.note
    assert missed <= scipy.stats.binom.isf(1e-4, 180, 0.05)


CASES = {
    "y of batch 1 is -1 somewhere, but must be whole numbers from 0 on: pass how often it happened for each row.": (
        lambda X, y: rs.fit(rs.PoissonLoss(), [(X, y), (X, y - 1.0)], None, L1)
    ),
    "y is 2 somewhere, but must be labels in {0, 1}: pass (y == positive).astype(float).": (
        lambda X, y: rs.fit(rs.SquaredHingeLoss(), X, y + 1.0, L1)
    ),
    "problem_class is the class PoissonLoss (ABCMeta), but must be rs.LinearRegression, rs.LogisticRegression, "
    "rs.SoftmaxRegression, rs.OnlinePCA, or a loss such as rs.PoissonLoss(): pass an instance, for example "
    "rs.PoissonLoss().": (lambda X, y: rs.fit(rs.PoissonLoss, X, y, L1)),
    "y is None, but must be the responses for HuberLoss(delta=1.345): pass one number for each row of X.": (
        lambda X, y: rs.fit(rs.HuberLoss(), X, None, L1)
    ),
    "inference is 'bootstrap', but must be one of 'plug-in', 'random-scaling': choose one of these.": (
        lambda X, y: rs.fit(rs.HuberLoss(), X, y, L1, inference="bootstrap")
    ),
    "inference is 'random-scaling', but must be 'plug-in' for PCA, whose average is a direction: leave it out, or take "
    "covariance='batch-means'.": lambda X, y: rs.fit(rs.OnlinePCA, X, None, L1, inference="random-scaling"),
    "covariance is 'batch-means', but must be 'independent' with inference='random-scaling': leave it out: random "
    "scaling holds for rows that depend on rows shortly before, too.": (
        lambda X, y: rs.fit(rs.HuberLoss(), X, y, L1, inference="random-scaling", covariance="batch-means")
    ),
}


@pytest.mark.parametrize("sentence", CASES, ids=range(len(CASES)))
def test_bad_input_is_refused_in_one_sentence(sentence):
    X, y = np.arange(12.0).reshape(4, 3), np.array([0.0, 1.0, 1.0, 0.0])
    with pytest.raises((ValueError, TypeError)) as caught:
        CASES[sentence](X, y)
    assert str(caught.value) == sentence
    assert len(sentence) <= 300


def test_predictions_are_mean_responses():
    X, y = rows_of(rs.PoissonLoss(), 600)
    fit = rs.fit(rs.PoissonLoss(), X, y, L1)
    np.testing.assert_allclose(fit.predict(X[:5]), np.exp(X[:5] @ fit.coef))
    labels = rows_of(rs.LogisticLoss(), 600)[1]
    for kind in (rs.LogisticLoss(), rs.LogisticRegression):
        fit = rs.fit(kind, X, labels, L1)
        np.testing.assert_allclose(fit.predict(X[:5]), 1.0 / (1.0 + np.exp(-X[:5] @ fit.coef)))
    fit = rs.fit(rs.OnlinePCA, X, None, rs.RDA(0.02))
    np.testing.assert_allclose(fit.predict(X[:5].tolist()), X[:5] @ fit.coef)
    with pytest.raises(ValueError, match="X is an array of shape"):
        fit.predict(X[:, :2])


def test_another_level():
    X, y = rows_of(rs.HuberLoss(), 600)
    fit = rs.fit(rs.HuberLoss(), X, y, L1, level=0.9)
    np.testing.assert_array_equal(fit.conf_int(), fit.interval)
    np.testing.assert_array_equal(fit.conf_int(0.99), rs.fit(rs.HuberLoss(), X, y, L1, level=0.99).interval)
    with pytest.raises(ValueError, match="level is 2"):
        fit.conf_int(2)
    target = minimize(
        lambda w: np.sum(np.where(np.abs(r := y - X @ w) < 1.345, r * r / 2, 1.345 * np.abs(r) - 0.9045)), COEF
    )
    assert np.all(np.abs(fit.coef - target.x) < fit.std_error)
