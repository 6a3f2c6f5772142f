"""Losses of a linear predictor, over rows and on a Gaussian design: means, minimizers, samplers; see also test_laws."""

import itertools

import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import ndtr
from sklearn.linear_model import PoissonRegressor, QuantileRegressor

import rdasde as rs
from rdasde._problems.design_means import bend_of, pull_of, scatter_of
from rdasde._problems.radial_means import radial_law
from rdasde._problems.responses import _count, _quantile, tabled_noise

RNG = np.random.default_rng(11)
ROWS = RNG.standard_normal((200, 4)) * [1.0, 0.5, 1.5, 1.0]
COEF = np.array([0.8, 0.0, -0.5, 0.3])
REAL = ROWS @ COEF + RNG.standard_t(2, size=200)
LABELS = (RNG.uniform(size=200) < 1.0 / (1.0 + np.exp(-ROWS @ COEF))).astype(float)
COUNTS = RNG.poisson(np.exp(ROWS @ COEF)).astype(float)


def log_cosh(eta, y):
    return np.tanh(eta - y)


def slope_of_log_cosh(eta, y):
    return 1.0 - np.tanh(eta - y) ** 2


def uneven(eta, y):  # not one of eta - y; convex within what is looked at
    return (1.0 + 0.3 * np.tanh(eta)) * np.tanh(eta - y)


LOSSES = {
    "squared": rs.SquaredLoss(),
    "logistic": rs.LogisticLoss(),
    "Poisson": rs.PoissonLoss(),
    "Huber": rs.HuberLoss(1.0),
    "quantile": rs.QuantileLoss(0.8),
    "smoothed quantile": rs.QuantileLoss(0.8, 0.3),
    "squared hinge": rs.SquaredHingeLoss(),
    "log cosh": rs.CustomLoss(log_cosh, slope_of_log_cosh),
    "log cosh by differences": rs.CustomLoss(log_cosh),
}
each_loss = pytest.mark.parametrize("name", list(LOSSES))


def responses(loss):
    return {"label": LABELS, "count": COUNTS, "real": REAL}[loss.response]


@each_loss
def test_means_of_a_normal_predictor(name):
    """Against adaptive quadrature between the places where l' bends or jumps."""
    loss = LOSSES[name]
    y = {"label": 1.0, "count": 2.0, "real": 0.4}[loss.response]
    kinks = [y - 1.0, y, y + 1.0, 1.0]
    for mean, std in ((0.3, 0.7), (-2.0, 0.2), (1.0, 2.5)):
        if std > 1.0 and name in ("logistic", "Poisson", "log cosh", "log cosh by differences"):
            continue  # not smooth on the scale of the predictor, or out of reach of the quadrature
        got = loss.gaussian_means(np.array([mean]), np.array([std]), np.array([y]))

        def expected(function, mean=mean, std=std, loss=loss, y=y):
            def integrand(s):
                return function(*(float(v) for v in loss.derivatives(s, y)), s) * scipy.stats.norm.pdf(s, mean, std)

            ends = sorted([mean - 9.0 * std, mean + 9.0 * std] + [k for k in kinks if abs(k - mean) < 9.0 * std])
            return sum(quad(integrand, a, b, epsabs=1e-11, limit=100)[0] for a, b in itertools.pairwise(ends))

        assert got.first[0] == pytest.approx(expected(lambda a, b, s: a), abs=1e-6)
        stein = expected(lambda a, b, s, mean=mean, std=std: a * (s - mean) / std**2)  # holds where l' jumps, too
        assert got.second[0] == pytest.approx(stein, abs=1e-6)
        assert got.square[0] == pytest.approx(expected(lambda a, b, s: a * a), abs=1e-6 * max(1.0, got.square[0]))


@each_loss
def test_means_without_spread_are_values(name):
    loss = LOSSES[name]
    y = responses(loss)
    eta = ROWS @ COEF
    got = loss.gaussian_means(eta, np.zeros(200), y)
    first, second = loss.derivatives(eta, y)
    np.testing.assert_allclose(got.first, first, atol=1e-12)
    np.testing.assert_allclose(got.second, second, atol=1e-12)
    np.testing.assert_allclose(got.square, first**2, rtol=1e-12, atol=1e-12)


def values(loss, w, y):
    """The losses themselves, summed up."""
    eta = ROWS @ w
    r = y - eta
    name = type(loss).__name__
    if name == "HuberLoss":
        return np.where(abs(r) <= 1.0, r**2 / 2.0, abs(r) - 0.5).sum()
    if name == "SquaredHingeLoss":
        return (np.maximum(1.0 - (2.0 * y - 1.0) * eta, 0.0) ** 2 / 2.0).sum()
    if name == "CustomLoss":
        return np.logaddexp(r, -r).sum()
    if name == "QuantileLoss":  # E |.| of a normal variable: the convolution
        z = -r / 0.3
        return (-r * (ndtr(z) - 0.8) + 0.3 * scipy.stats.norm.pdf(z)).sum()
    return (np.logaddexp(0.0, eta) - y * eta).sum() if name == "LogisticLoss" else (r**2 / 2.0).sum()


@each_loss
def test_minimizers_are_those_of_other_solvers(name):
    loss = LOSSES[name]
    y = responses(loss)
    if name == "quantile":
        target = QuantileRegressor(quantile=0.8, alpha=0.0, fit_intercept=False, solver="highs").fit(ROWS, y).coef_
    elif name == "Poisson":
        target = PoissonRegressor(alpha=0.0, fit_intercept=False, tol=1e-10, max_iter=1000).fit(ROWS, y).coef_
    else:
        options = {"gtol": 1e-9, "maxiter": 1000}
        jac = lambda w: ROWS.T @ loss.derivative(ROWS @ w, y)  # noqa: E731
        target = minimize(lambda w: values(loss, w, y), np.zeros(4), jac=jac, method="BFGS", options=options).x
    problem = rs.LinearModel.from_data(loss, ROWS, y)
    np.testing.assert_allclose(problem.minimizer, target, atol=1e-6)
    if loss.is_smooth:
        assert np.abs(problem.mean_gradient(problem.minimizer)).max() < 1e-14


def test_no_minimizer():
    x = np.linspace(-1.0, 1.0, 10)[:, None]
    assert rs.LinearModel.from_data(rs.LogisticLoss(), x, x[:, 0] > 0.0).minimizer is None
    assert rs.LinearModel.from_data(rs.PoissonLoss(), x**2, np.zeros(10)).minimizer is None
    # a margin is enough for the squared hinge
    hinge = rs.LinearModel.from_data(rs.SquaredHingeLoss(), x, x[:, 0] > 0.0)
    np.testing.assert_array_equal(hinge.mean_gradient(hinge.minimizer), [0.0])


def test_classes_of_few_rows_can_be_separated():
    """The gradient is 0 to the last digit before a step is short."""
    X = np.random.default_rng(12).standard_normal((30, 60))
    assert rs.LinearModel.from_data(rs.LogisticLoss(), X, np.arange(30) % 2).minimizer is None
    hinge = rs.LinearModel.from_data(rs.SquaredHingeLoss(), X, np.arange(30) % 2)
    np.testing.assert_allclose(hinge.mean_gradient(hinge.minimizer), 0.0, atol=1e-12)  # which has one nevertheless


def test_far_away_minimizers():
    generator = np.random.default_rng(2)
    x = np.column_stack([np.ones(300), generator.standard_normal(300)])
    for loss in (rs.HuberLoss(), rs.QuantileLoss(0.3, 0.01), rs.QuantileLoss(0.3)):
        w = rs.LinearModel.from_data(loss, x, 1e4 + x[:, 1] + generator.standard_normal(300)).minimizer
        np.testing.assert_allclose(w, [1e4, 1.0], atol=1.0)
    counts = generator.poisson(np.exp(6.0 + x[:, 1]))
    np.testing.assert_allclose(rs.LinearModel.from_data(rs.PoissonLoss(), x, counts).minimizer, [6.0, 1.0], atol=0.1)


# ---- the Gaussian design ----


@pytest.mark.parametrize("noise", ["normal", "t(2)", "laplace", "expon"])
def test_series_of_losses_of_the_residual(noise):
    """Against adaptive quadrature over the noise, the mean over the design in closed form."""
    frozen = {"normal": None, "t(2)": scipy.stats.t(2), "laplace": scipy.stats.laplace(), "expon": scipy.stats.expon()}
    law = frozen[noise] or scipy.stats.norm(0.0, 1.0)
    low, high = max(law.support()[0], -1e4), min(law.support()[1], 1e4)
    for loss in (rs.HuberLoss(1.0), rs.QuantileLoss(0.8), rs.QuantileLoss(0.8, 0.3)):
        series = radial_law(loss, frozen[noise], 1.0)
        for r in (0.3,):
            ends = sorted(
                {low, high} | {k + z * r for k in (-1.0, 0.0, 1.0) for z in (-6, -2, 0, 2, 6)} | {-30.0, 30.0}
            )
            ends = [end for end in ends if low <= end <= high]

            def mean(field, loss=loss, r=r, ends=ends):
                def integrand(e):
                    means = loss.gaussian_means(np.zeros(1), np.array([r]), np.array([e]))
                    return float(getattr(means, field)[0]) * law.pdf(e)

                middle = sum(quad(integrand, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(ends))
                edge = [loss.gaussian_means(np.zeros(1), np.array([r]), np.array([e])) for e in (low, high)]
                below, above = (float(getattr(means, field)[0]) for means in edge)
                return middle + below * law.cdf(low) + above * law.sf(high)

            q_star = 1.0  # w along coef, farther by r
            q, c = (1.0 + r) ** 2, 1.0 + r
            assert bend_of(series, q, c, q_star)[0] == pytest.approx(mean("second"), abs=1e-8)
            assert scatter_of(series, q, c, q_star)[0] == pytest.approx(mean("square"), abs=1e-8)


def plane(problem, q, c, q_star, count=401):
    """``E z l'``, ``E zz' l''`` and ``Cov z l'`` by a fine rule in the plane of (s*, s), and its axes."""
    z = np.linspace(-9.0, 9.0, count)
    weight = np.exp(-0.5 * z * z)
    weight /= weight.sum()
    p = np.sqrt(q_star)
    alpha = c / p
    rho = np.sqrt(q - alpha**2)
    star, s = p * z[:, None] + 0.0 * z, alpha * z[:, None] + rho * z
    first, second, square = (np.zeros_like(s) for _ in range(3))
    if problem.loss.response == "label":
        draws = [(1.0, 1.0 / (1.0 + np.exp(-star))), (0.0, 1.0 / (1.0 + np.exp(star)))]
    else:
        nodes, shares = np.polynomial.hermite_e.hermegauss(60)
        draws = [(star + node, share / shares.sum()) for node, share in zip(nodes, shares, strict=True)]
    for y, share in draws:
        a, b = problem.loss.derivatives(s, y)
        first, second, square = first + share * a, second + share * b, square + share * a * a
    axes = np.array([z[:, None] + 0.0 * s, z + 0.0 * s])
    joint = weight[:, None] * weight
    pulled = np.array([(joint * axis * first).sum() for axis in axes])
    curved, spread = (np.array([[(joint * x * y * f).sum() for x in axes] for y in axes]) for f in (second, square))
    return pulled, curved, spread - np.outer(pulled, pulled), np.array([[p, alpha], [0.0, rho]])


@pytest.mark.parametrize(("name", "known"), [("hinge", 3e-5), ("uneven", 1e-7)])
def test_tables_are_means_over_the_plane(name, known):
    """Where l' has kinks the rule in the plane is what is known less well."""
    loss = rs.SquaredHingeLoss() if name == "hinge" else rs.CustomLoss(uneven)
    problem = rs.LinearModel(loss, [1.0, 0.0])
    law = problem.parameters.law
    for q, c in ((1.0, 0.5), (0.3, -0.2), (2.0, 1.4)):
        pulled, curved, spread, axes = plane(problem, q, c, 1.0, 401 if name == "hinge" else 161)
        own, star = pull_of(law, q, c, 1.0)
        np.testing.assert_allclose(axes @ [star, own], pulled, atol=known)
        for numbers, target in ((bend_of(law, q, c, 1.0), curved), (scatter_of(law, q, c, 1.0), spread)):
            level, k_star, k_cross, k_own = numbers
            got = level * np.eye(2) + axes @ np.array([[k_star, k_cross], [k_cross, k_own]]) @ axes.T
            # the kink is a jump of l''
            np.testing.assert_allclose(got, target, atol=known if target is spread or name != "hinge" else 0.02)


def test_the_minimizer_is_along_coef():
    """A misspecified one by the mean gradient; independent noise shifts nothing, whatever its quantile."""
    problem = rs.LinearModel(rs.SquaredHingeLoss(), [0.8, 0.0, -0.4], rs.AR1(3, 0.5))
    w = problem.minimizer
    multiple = w[0] / 0.8
    np.testing.assert_allclose(w, multiple * problem.coef, atol=1e-15)
    assert 0.3 < multiple < 0.9
    pulled, _, _, _ = plane(
        problem,
        multiple**2 * problem.parameters.variance * (1.0 + 1e-9),
        *[multiple * problem.parameters.variance, problem.parameters.variance],
    )
    np.testing.assert_allclose(pulled, 0.0, atol=1e-4)
    for noise in (None, scipy.stats.expon(), scipy.stats.t(1.5)):
        quantile = rs.LinearModel(rs.QuantileLoss(0.9), [0.5, -1.0], noise=noise)
        np.testing.assert_array_equal(quantile.minimizer, [0.5, -1.0])
        np.testing.assert_allclose(quantile.mean_gradient([0.5, -1.0]), 0.0, atol=1e-15)


def test_twins_of_the_old_names():
    w = np.array([0.3, -0.2, 0.5])
    coef, covariance = [0.5, 0.0, -0.4], rs.AR1(3, 0.6)
    pairs = [
        (rs.LinearModel(rs.SquaredLoss(), coef, covariance, noise_std=0.7), rs.LinearRegression(coef, covariance, 0.7)),
        (rs.LinearModel(rs.LogisticLoss(), coef, covariance), rs.LogisticRegression(coef, covariance)),
        (
            rs.LinearModel.from_data(rs.SquaredLoss(), ROWS[:, :3], REAL),
            rs.LinearRegression.from_data(ROWS[:, :3], REAL),
        ),
        (
            rs.LinearModel.from_data(rs.LogisticLoss(), ROWS[:, :3], LABELS),
            rs.LogisticRegression.from_data(ROWS[:, :3], LABELS),
        ),
    ]
    for new, old in pairs:
        np.testing.assert_allclose(new.minimizer, old.minimizer, atol=1e-9)
        np.testing.assert_allclose(new.mean_gradient(w), old.mean_gradient(w), atol=1e-12)
        np.testing.assert_allclose(new.hessian(w), old.hessian(w), atol=1e-12)
        np.testing.assert_allclose(new.noise_covariance(w), old.noise_covariance(w), atol=1e-12)
        one, other = (p.expectations(w, 0.01 * np.eye(3)) for p in (new, old))
        known = 1e-12 if new.is_quadratic else 2e-3  # on a Gaussian design the old closure leaves terms out
        np.testing.assert_allclose(one.gradient, other.gradient, atol=known)
        np.testing.assert_allclose(one.hessian(np.eye(3)), other.hessian(np.eye(3)), atol=known)
        np.testing.assert_allclose(one.whole_noise(), other.whole_noise(), atol=known)


def test_expectations_are_means_over_w():
    """Against the mean over 2 000 normal W. Null: equality up to second order in Cov W and four standard errors."""
    generator = np.random.default_rng(5)
    problem = rs.LinearModel(rs.HuberLoss(1.0), [0.6, 0.0, -0.4], rs.AR1(3, 0.5), noise_std=0.5)
    mean, root = np.array([0.2, 0.1, 0.0]), 0.15 * np.array([[1.0, 0.0, 0.0], [0.4, 0.8, 0.0], [-0.3, 0.2, 0.9]])
    found = problem.expectations(mean, root @ root.T)
    w = mean + generator.standard_normal((1000, 3)) @ root.T
    w = np.concatenate([w, 2.0 * mean - w])  # antithetic: what is odd drops out
    assert np.abs(found.gradient - np.mean([problem.mean_gradient(p) for p in w], axis=0)).max() < 1.5e-3
    assert np.abs(found.hessian(np.eye(3)) - np.mean([problem.hessian(p) for p in w], axis=0)).max() < 1e-2
    assert np.abs(found.whole_noise() - np.mean([problem.noise_covariance(p) for p in w], axis=0)).max() < 1e-2


# ---- outcomes ----


@pytest.mark.parametrize("rate", [1e-300, 0.3, 4.0, 60.0, 900.0])
def test_counts_take_their_share_of_equally_spaced_numbers(rate):
    count = 20_000
    draws = np.array([_count(rate, (k + 0.5) / count) for k in range(count)])
    kinds, shares = np.unique(draws, return_counts=True)
    assert np.all(kinds == np.floor(kinds))
    assert np.abs(shares / count - scipy.stats.poisson.pmf(kinds, rate)).max() <= 2.0 / count


def test_counts_far_out_end():
    assert _count(0.0, 0.9999) == 0.0
    assert _count(np.inf, 0.5) == np.inf
    assert np.isnan(_count(np.nan, 0.5))
    assert _count(1e12, 0.5) == pytest.approx(1e12, rel=1e-5)
    assert _count(5.0, 1.0 - 2.0**-53) < 60.0


@pytest.mark.parametrize("law", [scipy.stats.t(3), scipy.stats.norm(), scipy.stats.expon(-1.0), scipy.stats.gamma(3.0)])
def test_tables_of_quantiles(law):
    probabilities = np.concatenate([np.random.default_rng(0).uniform(0.0, 0.5, 2000), 10.0 ** -np.arange(1.0, 16.0)])
    table = tabled_noise(law)
    for tail, function in ((table.lower, law.ppf), (table.upper, law.isf)):
        target = function(probabilities)
        got = np.array([_quantile(tail, p) for p in probabilities])
        np.testing.assert_allclose(got, target, rtol=1e-8, atol=1e-9)


# ---- sentences ----


def returns_a_pair(eta, y):
    return eta, y


def returns_nothing(eta, y):
    pass


def does_not_compile(eta, y):
    return {eta: y}.popitem() + undefined_name  # noqa: F821


def never_finite(eta, y):
    return np.nan * eta


ONE = [0.5, 0.0]
ERRORS = [
    (
        lambda: rs.LinearModel("huber", ONE),
        "loss is 'huber' (str), but must be a loss of a linear predictor: pass for example rs.HuberLoss().",
    ),
    (
        lambda: rs.LinearModel.from_data(rs.LogisticLoss, ROWS, LABELS),
        "loss is the class LogisticLoss (ABCMeta), but must be a loss of a linear predictor: "
        "pass for example rs.HuberLoss().",
    ),
    (
        lambda: rs.LinearModel(rs.HuberLoss(), ONE, noise=3.0),
        "noise is 3.0 (float), but must be a frozen continuous distribution of scipy.stats: "
        "pass for example scipy.stats.t(3).",
    ),
    (
        lambda: rs.LinearModel(rs.LogisticLoss(), ONE, noise=scipy.stats.t(3)),
        "noise is t(3), but must be None for LogisticLoss(), whose outcomes are labels: leave it out.",
    ),
    (
        lambda: rs.LinearModel(rs.HuberLoss(), ONE, noise=scipy.stats.t(3), noise_std=2.0),
        "noise_std is 2.0, but must be left out where noise is given: scale the noise, for example t(3, scale=2).",
    ),
    (
        lambda: rs.LinearModel(rs.SquaredLoss(), ONE, noise=scipy.stats.t(2)),
        "noise is t(2), of infinite variance, but must be of finite variance for SquaredLoss(): use HuberLoss.",
    ),
    (
        lambda: rs.LinearModel(rs.QuantileLoss(0.5), ONE, noise_std=0.0),
        "noise_std is 0.0, but must be > 0 for QuantileLoss(0.5), whose slope jumps: "
        "give noise, or the loss a bandwidth.",
    ),
    (
        lambda: rs.LinearModel.from_data(rs.PoissonLoss(), ROWS, COUNTS + 0.5),
        f"y is {COUNTS[0] + 0.5:g} somewhere, but must be whole numbers from 0 on: "
        "pass how often it happened for each row.",
    ),
    (
        lambda: rs.CustomLoss(returns_a_pair),
        "derivative is a function that returns UniTuple(float64 x 2), but must be a function derivative(eta, y) that "
        "returns a number: write derivative for two numbers, and return one.",
    ),
    (
        lambda: rs.CustomLoss(log_cosh, returns_nothing),
        "second_derivative is a function that returns none, but must be a function second_derivative(eta, y) that "
        "returns a number: write second_derivative for two numbers, and return one.",
    ),
    (
        lambda: rs.CustomLoss(never_finite),
        "derivative is a function that is not finite at any eta near 0, but must be a function derivative(eta, y) that "
        "returns a number: write derivative for two numbers, and return one.",
    ),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[message[:50] for _, message in ERRORS])
def test_errors(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message
    assert len(message) <= 300


def test_noise_that_is_not_frozen_or_not_continuous():
    for noise in (scipy.stats.t, scipy.stats.poisson(2.0)):
        with pytest.raises(TypeError, match="but must be a frozen continuous distribution of scipy") as caught:
            rs.LinearModel(rs.HuberLoss(), ONE, noise=noise)
        assert len(str(caught.value)) <= 300


def test_a_loss_that_does_not_compile():
    with pytest.raises(
        ValueError, match=r"^derivative is a function that numba cannot compile with these parameters \("
    ) as caught:
        rs.CustomLoss(does_not_compile)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_words():
    problem = rs.LinearModel(rs.HuberLoss(), ONE, noise=scipy.stats.t(3, scale=2.0))
    assert repr(problem) == ("LinearModel(HuberLoss(delta=1.345), <coef, d=2>, covariance=None, noise=t(3, scale=2))")
    assert repr(rs.LinearModel(rs.PoissonLoss(), ONE, rs.AR1(2, 0.5))) == (
        "LinearModel(PoissonLoss(), <coef, d=2>, covariance=AR1(2, 0.5))"
    )
    rows = rs.LinearModel.from_data(rs.QuantileLoss(0.9), ROWS, REAL)
    assert repr(rows) == "LinearModel.from_data(QuantileLoss(0.9), <n=200, d=4>)"
    assert isinstance(rows, rs.LinearModel)


def test_step_sizes_that_are_too_long():
    heavy = rs.LinearModel(rs.HuberLoss(), np.zeros(4))
    assert heavy.instability(0.3, 1) is None
    assert "largest eigenvalue" in heavy.instability(1.2, 1)
    steep = rs.LinearModel(rs.PoissonLoss(), [1.0, 1.0])
    assert "eigenvalues * 20.1" in steep.instability(0.03, 1)
    assert steep.instability(0.01, 1) is None
    rows = rs.LinearModel.from_data(rs.PoissonLoss(), ROWS, COUNTS)
    assert "the mean square grows by the factor" in rows.instability(1.0, 1)
    assert rows.instability(1e-3, 1) is None
    assert rs.LinearModel.from_data(rs.QuantileLoss(0.5), ROWS, REAL).instability(10.0, 1) is None


def asymmetric(eta, y):
    """Of expectiles: its derivative grows without bound and has a kink."""
    return 0.7 * (eta - y) if eta < y else 0.3 * (eta - y)


def linear_exponential(eta, y):
    return np.exp(0.5 * (eta - y)) - 1.0


def exponential(eta, y):
    return np.exp(eta) - y


def weighted(eta, y):
    return (1.0 + 0.1 * np.tanh(y)) * (0.7 * (eta - y) if eta < y else 0.3 * (eta - y))


def own_huber(eta, y):
    return min(max(eta - y, -1.345), 1.345)


def own_check(eta, y):
    return 0.3 if eta > y else -0.7


def steep(eta, y):
    return np.tanh(50.0 * (eta - y))


@pytest.mark.parametrize("noise", [None, scipy.stats.t(3), scipy.stats.laplace(0.2)])
@pytest.mark.parametrize(("own", "twin"), [(own_huber, rs.HuberLoss(1.345)), (own_check, rs.QuantileLoss(0.7))])
def test_kinks_and_jumps_of_an_own_loss_are_found(own, twin, noise):
    """Means over a Gaussian design and, beside jumps, over rows are those of the built-in loss."""
    own = rs.CustomLoss(own)
    np.testing.assert_allclose(own.kinks, twin.kinks, atol=1e-8)
    assert (own.is_bent or not own.is_smooth, own.is_smooth) == (True, twin.is_smooth)
    found, known = (rs.LinearModel(loss, COEF, rs.AR1(4, 0.5), noise=noise) for loss in (own, twin))
    w = np.array([0.5, 0.2, -0.1, 0.0])
    for name in ("mean_gradient", "hessian", "noise_covariance"):
        np.testing.assert_allclose(getattr(found, name)(w), getattr(known, name)(w), atol=1e-7)
    if not twin.is_smooth:
        assert known.instability(10.0, 1) is found.instability(10.0, 1) is None
        over_rows = (
            rs.LinearModel.from_data(loss, ROWS, REAL).expectations(w, 0.1 * np.eye(4)) for loss in (own, twin)
        )
        for a, b in zip(*(each[::2] for each in over_rows), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-10)


def test_what_is_steep_has_no_kinks():
    assert rs.CustomLoss(steep).kinks == rs.CustomLoss(log_cosh).kinks == ()
    assert rs.CustomLoss(steep).is_smooth


def test_an_own_loss_of_the_residual_may_grow_without_bound():
    """Against 10^6 draws: each of 18 numbers within 5.5 standard errors (1e-6)."""
    problem = rs.LinearModel(rs.CustomLoss(asymmetric), [0.7, -0.4, 0.0], rs.AR1(3, 0.5))
    generator = np.random.default_rng(0)
    X = generator.standard_normal((10**6, 3)) @ np.linalg.cholesky(problem.covariance.dense()).T
    for w in (np.array([-0.3, 0.5, 0.6]), np.array([3.0, 2.0, -4.0])):
        e = X @ (w - problem.coef) - generator.standard_normal(len(X))
        gradients = (np.where(e < 0.0, 0.7, 0.3) * e)[:, None] * X
        error = gradients.std(axis=0) / np.sqrt(len(X))
        assert np.all(np.abs(problem.mean_gradient(w) - gradients.mean(axis=0)) < 5.5 * error)
        squares = (gradients - gradients.mean(axis=0)) ** 2
        error = squares.std(axis=0) / np.sqrt(len(X))
        assert np.all(np.abs(np.diagonal(problem.noise_covariance(w)) - squares.mean(axis=0)) < 5.5 * error)


@pytest.mark.parametrize(
    ("loss", "noise"),
    [
        (rs.CustomLoss(linear_exponential), None),
        (rs.CustomLoss(exponential), None),
        (rs.CustomLoss(weighted), None),
        (rs.QuantileLoss(0.5), scipy.stats.chi2(1)),
        (rs.HuberLoss(1.0), scipy.stats.beta(0.5, 0.5)),
    ],
)
def test_means_that_are_not_known_are_refused(loss, noise):
    with pytest.raises(ValueError, match=r"^loss is .*, whose means over a normal predictor are not smooth"):
        rs.LinearModel(loss, [0.7, -0.4, 0.0], rs.AR1(3, 0.5), noise)
