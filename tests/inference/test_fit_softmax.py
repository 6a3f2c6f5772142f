"""`fit` of several classes: the stream against a NumPy twin, the maximum likelihood estimate, intervals, refusals."""

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

import rdasde as rs
from rdasde._inference.reading import estimates

S, SGD = rs.SoftmaxRegression, rs.RDA(0.02)
COEF = np.array([[0.3, 0.6, -0.4, 0.0], [-0.2, 0.0, 0.5, 0.3]])  # of classes 1 and 2 against class 0
L1 = rs.RDA(0.02, rs.L1([0.0, 1.0, 1.0, 1.0] * 2), rs.PowerLaw(c=1.0, mu=0.6))
BATCHES = rs.RDA(0.05, rs.ElasticNet(0.2), rs.PowerLaw(c=0.4, mu=0.6), batch_size=3)


def rows_of(n, seed=0, coef=COEF):
    rng = np.random.default_rng([n, *np.atleast_1d(seed)])
    X = np.column_stack([np.ones(n), rng.standard_normal((n, coef.shape[1] - 1))])
    return X, (rng.random(n)[:, None] > np.cumsum(chances(X, coef), axis=1)[:, :-1]).sum(axis=1)


def chances(X, w):
    return softmax(np.column_stack([np.zeros(len(X)), X @ np.reshape(w, (-1, X.shape[1])).T]), axis=1)


def terms(X, y, w):
    """Gradients (n, d) and Hessians (n, d, d) of rows at w."""
    p, (n, d) = chances(X, w)[:, 1:], (len(X), np.size(w))
    off = p - (y[:, None] == np.arange(1, p.shape[1] + 1))
    bend = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])
    hessians = np.einsum("kij,ka,kb->kiajb", bend, X, X).reshape(n, d, d)
    return (off[:, :, None] * X[:, None, :]).reshape(n, d), hessians


def maximum_likelihood(X, y, classes=3):
    """The estimate, and the sandwich's standard errors."""
    w = np.zeros((classes - 1) * X.shape[1])
    for _ in range(12):
        gradients, hessians = terms(X, y, w)
        w = w - np.linalg.solve(hessians.sum(axis=0), gradients.sum(axis=0))
    inverse = np.linalg.inv(hessians.sum(axis=0))
    return w, np.sqrt(np.diag(inverse @ gradients.T @ gradients @ inverse))


def twin(X, y, algorithm):
    """Every step as it is written down, gradients linearized at the maximum likelihood; all rows in memory."""
    n, b, gamma, c = len(X), algorithm.batch_size, algorithm.step_size, maximum_likelihood(X, y)[0]
    g = algorithm.thresholds(np.arange(n // b + 1) * gamma)
    v, w, path = np.zeros(c.size), np.zeros(c.size), []
    for k in range(n // b):
        path += [w] * b
        v = v - gamma * terms(X[k * b : k * b + b], y[k * b : k * b + b], w)[0].mean(axis=0)
        w = algorithm.mirror.prox(v, g[k + 1])
    path, (there, hessians) = np.array(path), terms(X, y, c)
    hessian, mean = hessians.mean(axis=0), path.mean(axis=0)
    linear = there + np.einsum("kij,kj->ki", hessians, path - c)
    inverse = np.linalg.inv(hessian)
    coef = mean - inverse @ linear.mean(axis=0)
    at = there + hessians @ (coef - c)
    # a row pulls the estimate towards itself: HC3, by matrices
    alone = np.linalg.solve(np.eye(c.size) - hessians @ inverse / n, at[:, :, None])[:, :, 0]
    psi = alone + np.einsum("kij,kj->ki", hessians - hessian, path - mean)
    variance = inverse @ (psi.T @ psi / n) @ inverse / n
    along = (linear - (path - coef) @ hessian) @ inverse
    return {"w": w, "raw": mean, "coef": coef, "std_error": np.sqrt(np.diag(variance)), "along": along}


@pytest.mark.parametrize("algorithm", [SGD, L1, BATCHES], ids=["sgd", "l1", "batches"])
def test_the_stream_is_the_twin_s(algorithm):
    n = 720
    X, y = rows_of(n)
    fit, expected = rs.fit(S, X, y, algorithm), twin(X, y, algorithm)
    np.testing.assert_allclose(fit.iterate.raw, expected["w"], atol=1e-11)
    np.testing.assert_allclose(fit.raw, expected["raw"], atol=1e-11)
    np.testing.assert_allclose(fit.coef, expected["coef"], atol=1e-10)
    np.testing.assert_allclose(fit.std_error, expected["std_error"], rtol=1e-8)
    np.testing.assert_array_equal(fit.support, expected["w"] != 0.0)
    assert fit.average.freedom == n - 4  # each class has all rows for its columns
    if algorithm.batch_size > 1:
        return
    scaled = rs.fit(S, X, y, algorithm, inference="random-scaling")
    ends = np.r_[np.arange(32, 705, 32), 720]  # 23 units, the last a short one
    counts, partial = np.diff(ends, prepend=0), np.cumsum(expected["along"], axis=0)[ends - 1]
    bridge = partial - np.outer(ends / n, partial[-1])
    square = (counts + np.r_[counts[1:], 0]) / 2.0 / n @ bridge**2 / n * n / (n - 4)
    units = n**2 / np.sum(counts**2.0)
    np.testing.assert_array_equal(scaled.coef, fit.coef)
    np.testing.assert_allclose(scaled.std_error, np.sqrt(square / n / ((units**2 - 1.0) / (6.0 * units**2))), rtol=1e-7)


def test_the_roots_are_those_of_the_problem_s_hessian():
    """At the kept rows' minimizer, which is that of the problem on them, class 0 subtracted."""
    X, y = rows_of(1500, coef=np.array([[1.0, 2.0, 0.0], [0.0, -3.0, 1.0], [-2.0, 0.0, 4.0]]))
    fit, problem = rs.fit(S, X, y, SGD), S.from_data(X, y)
    place = fit._run.head.solution()
    least = problem.minimizer.reshape(4, 3)
    np.testing.assert_allclose(place.centre, (least[1:] - least[0]).ravel(), atol=1e-8)
    sums = fit._run.replay(place).sums()
    np.testing.assert_allclose(sums.roots / 1500, problem.hessian(problem.minimizer)[3:, 3:], atol=1e-10)
    centred = problem.noise_covariance(problem.minimizer)[3:, 3:]
    terms_at = fit._run.head.terms(place.centre, place.centre, place.parameters)
    np.testing.assert_allclose(terms_at.gradients.T @ terms_at.gradients / 1500, centred, atol=1e-10)
    assert not np.any(terms_at.bends)


def test_rows_that_are_certain():
    """Probabilities that are exactly zero or one have finite roots; scores that are no numbers show."""
    model = S.row_model.by_classes(4)
    head = rs.fit(S, [[1.0]] * 4, [0, 1, 2, 3], SGD)._run.head
    for w in itertools.product([-1e3, -30.0, 0.0, 1e3], repeat=3):
        found = head.terms(np.array(w), np.array(w), model.parameters)
        q = chances(np.ones((1, 1)), w)[0, 1:]
        np.testing.assert_allclose(found.roots[:3].T @ found.roots[:3], np.diag(q) - np.outer(q, q), atol=1e-15)
    for place in range(3):
        w = np.where(np.arange(3) == place, np.inf, 0.0)
        assert np.all(np.isnan(head.terms(w, np.zeros(3), model.parameters).gradients[0]))


@pytest.mark.parametrize("algorithm", [rs.RDA(0.02), rs.RDA(0.02, rs.L1(), rs.PowerLaw(0.5, 0.6), batch_size=3)])
@pytest.mark.parametrize("n", [300, 5000])
@pytest.mark.parametrize("options", [{}, {"inference": "random-scaling"}, {"covariance": "batch-means"}], ids=str)
def test_two_classes_are_a_logistic_regression(algorithm, n, options):
    X, y = rows_of(n)
    ours, theirs = (rs.fit(kind, X, y > 0, algorithm, **options) for kind in (S, rs.LogisticRegression))
    for one, two in ((ours.average, theirs.average), (ours.iterate, theirs.iterate)):
        np.testing.assert_allclose(one.raw, two.raw, atol=1e-13)
        np.testing.assert_allclose(one.interval, two.interval, atol=1e-12)
        assert (one.note, one.freedom) == (two.note, pytest.approx(two.freedom))
    np.testing.assert_allclose(ours.predict(X[:9])[:, 1], theirs.predict(X[:9]), atol=1e-13)
    assert ours.names == ["1: 0", "1: 1", "1: 2", "1: 3"]
    assert theirs.classes is None


@pytest.mark.parametrize("algorithm", [SGD, L1], ids=["sgd", "l1"])
def test_long_streams_have_the_maximum_likelihood_estimate_and_its_sandwich(algorithm):
    X, y = rows_of(30_000)
    fit = rs.fit(S, X, y, algorithm)
    assert fit.average.note == ""
    w, error = maximum_likelihood(X[-fit.rows_averaged :], y[-fit.rows_averaged :])
    assert np.all(np.abs(fit.coef - w) < 0.5 * error)
    np.testing.assert_allclose(fit.std_error, error, rtol=0.05)
    if algorithm is L1:
        assert np.max(np.abs(fit.raw - w) / error) > 2.0


def test_the_centre_is_scikit_learn_s_estimate():
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = rows_of(20_000, seed=1)
    fit = rs.fit(S, X, y, SGD)
    late = slice(len(X) - fit.rows_averaged, None)
    theirs = linear_model.LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8, max_iter=1000).fit(
        X[late], y[late]
    )
    coef = (theirs.coef_[1:] - theirs.coef_[0]).ravel()
    assert np.all(np.abs(fit.coef - coef) < 0.5 * fit.std_error)
    np.testing.assert_allclose(fit.predict(X[:50]), theirs.predict_proba(X[:50]), atol=0.01)


def assert_cover(algorithm, n, replicates, inference):
    """Null: the share of coordinates covered has a mean within 2 points of .95.

    The test fails if the sample mean lies more than 4 standard errors beyond: a false-alarm rate below 7e-5.
    """
    target, inside = COEF.ravel(), []
    for seed in range(replicates):
        fit = rs.fit(S, *rows_of(n, [seed, 24]), algorithm, inference=inference)
        inside.append(np.mean((fit.interval[:, 0] <= target) & (target <= fit.interval[:, 1])))
    assert abs(np.mean(inside) - 0.95) <= 0.02 + 4.0 * np.std(inside, ddof=1) / np.sqrt(replicates)
    return fit


@pytest.mark.parametrize("inference", ["plug-in", "random-scaling"])
def test_intervals_hold(inference):
    """In 80 streams of 3000 rows, under a threshold that shifts the average."""
    assert assert_cover(L1, 3000, 80, inference).average.note == ""


@pytest.mark.parametrize("n", [80, 160])
def test_intervals_of_few_rows_hold(n):
    """In 150 streams of 10 or 20 rows for each coefficient."""
    assert_cover(rs.RDA(0.05), n, 150, "plug-in")


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["plug-in", "random-scaling"])
@pytest.mark.parametrize("algorithm", [SGD, L1], ids=["sgd", "l1"])
def test_intervals_hold_in_long_streams(algorithm, inference):
    assert_cover(algorithm, 100_000, 300, inference)


@pytest.mark.parametrize("inference", ["plug-in", "random-scaling"])
def test_however_the_stream_is_cut(inference):
    X, y = rows_of(5000)
    whole = rs.fit(S, X, y, L1, inference=inference)
    cuts = [0, 20, 255, 300, 2047, 2600, 5000]
    parts = [(X[a:b], y[a:b]) for a, b in itertools.pairwise(cuts)]
    pieces = rs.fit(S, parts, None, L1, inference=inference)
    read = rs.fit(S, *parts[0], L1, inference=inference)
    for part in parts[1:]:
        read.update(*part)
        assert str(read.summary())
    for other in (pieces, read):
        np.testing.assert_array_equal(other.interval, whole.interval)
        np.testing.assert_array_equal(other.iterate.interval, whole.iterate.interval)
        for one, two in zip(other.sums(), whole.sums(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_reading_in_several_threads():
    """Compiled code lets other threads run: what it works in is no other reader's."""
    fit = rs.fit(S, *rows_of(1500), L1)

    def read(_):
        return estimates(fit._run, fit._subject.model, fit.method, 0.95)[0].interval

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(read, range(16)):
            np.testing.assert_array_equal(found, fit.interval)


def test_names_and_predictions():
    X, y = rows_of(900)
    frame = pd.DataFrame(X, columns=["one", "dose", "age", "sex"])
    fit, plain = rs.fit(S, frame, y, L1), rs.fit(S, X, y, L1, names=list(frame))
    assert fit.names == plain.names == [f"{k}: {name}" for k in (1, 2) for name in frame]
    assert list(fit.to_dataframe().index) == fit.names
    assert (fit.classes, fit.dimension, fit.coef.shape) == (3, 8, (8,))
    np.testing.assert_allclose(fit.predict(frame), chances(X, fit.coef), rtol=1e-12)
    assert "Online inference: SoftmaxRegression with 3 classes" in str(fit.summary())
    for other in (fit, plain):  # the names of coordinates are not those of columns
        with pytest.raises(ValueError, match=r"pass X\[\['one', 'dose', 'age', 'sex'\]\]\.$"):
            other.predict(frame[["dose", "one", "age", "sex"]])
    assert fit.update(X, y).rows == 1800


@pytest.mark.parametrize("n", [600, 6000])
def test_what_has_no_finite_estimate_is_said(n):
    X, y = rows_of(n)
    apart = np.argmax(np.column_stack([np.zeros(n), X @ COEF.T]), axis=1)
    one_apart = np.where(X[:, 1] > 1.0, 2, np.minimum(y, 1))
    for labels in (apart, one_apart):
        fit = rs.fit(S, X, labels, SGD)
        assert "classes are separated" in fit.average.note
        assert np.all(np.isnan(fit.std_error))
    fit = rs.fit(S, np.column_stack([X, X[:, 1]]), y, SGD)
    assert "columns are linearly dependent" in fit.average.note
    if n == 600:
        assert rs.fit(S, X[:15], y[:15], SGD).average.note == (
            "Standard errors need at least 16 rows, twice as many as coefficients."
        )
        assert rs.fit(S, X[:31], y[:31], SGD).average.note.endswith(
            "Standard errors are rough with fewer than 4 rows for each coefficient."
        )


def test_rows_that_come_again_and_passes():
    X, y = rows_of(1000)
    again = rs.fit(S, np.tile(X, (3, 1)), np.tile(y, 3), SGD)
    assert again.average.note.startswith("Runs of rows come again: about 10")
    passes = rs.fit(S, X, y, SGD, passes=3)
    w, error = maximum_likelihood(X, y)
    assert passes.average.note == ""
    assert np.all(np.abs(passes.coef - w) < 0.5 * error)
    np.testing.assert_allclose(passes.std_error, error, rtol=0.1)


def test_a_step_that_is_too_long_is_warned_of():
    X, y = rows_of(400)
    with pytest.warns(rs.StabilityWarning, match="step_size 3 is past mean-square stability") as caught:
        rs.fit(S, X, y, rs.RDA(3.0))
    assert [warning.filename for warning in caught] == [__file__]


def test_the_first_rows_say_how_many_classes_there_are():
    """Nothing is taken where they do not, and a later stranger leaves the fit as it was."""
    X, y = rows_of(300)
    with pytest.raises(ValueError, match="y of batch 2 is 3 somewhere") as caught:
        rs.fit(S, [(X[:100], y[:100]), (X[100:200], y[100:200]), (X, y + 1)], None, SGD)
    fit = caught.value.partial
    assert fit.rows == 200
    fit.update(X[200:], y[200:])
    np.testing.assert_array_equal(fit.interval, rs.fit(S, X, y, SGD).interval)
    with pytest.raises(ValueError, match="y is 0 everywhere") as caught:
        rs.fit(S, X, 0 * y, SGD)
    assert caught.value.partial is None
    # later rows need not have every class
    assert rs.fit(S, X, y, SGD).update(X[y == 1], y[y == 1]).rows == 300 + np.sum(y == 1)


def test_classes_that_come_later_are_declared():
    """The bits of a fit whose first rows have every class."""
    X, y = rows_of(2000)
    first = np.flatnonzero(y < 2)[:40]
    order = np.concatenate([first, np.setdiff1d(np.arange(2000), first)])
    X, y = X[order], y[order]
    together = rs.fit(S, X, y, SGD)
    fit = rs.fit(S, ((X[i : i + 20], y[i : i + 20]) for i in range(0, 1000, 20)), None, SGD, classes=3)
    assert fit.classes == 3
    fit = pickle.loads(pickle.dumps(fit)).update(X[1000:], y[1000:])
    np.testing.assert_array_equal(fit.interval, together.interval)
    assert "classes are separated" in rs.fit(S, X[:40], y[:40], SGD, classes=3).average.note  # of one there is no row
    with pytest.raises(ValueError, match="y is without a label 1 but with 2"):
        rs.fit(S, X[y != 1], y[y != 1], SGD)


X6, Y6 = np.arange(12.0).reshape(6, 2) / 10.0, np.array([0, 1, 2, 0, 1, 2])
FIRST = "labels 0, 1, ..., K - 1, each at least once in the first rows"
ANEW = "pass np.unique(y, return_inverse=True)[1]"
CASES = {
    f"y is 1 everywhere, but must be {FIRST}: let these have every class or give classes=.": lambda: rs.fit(
        S, X6, Y6 * 0 + 1, SGD
    ),
    f"y is without a label 1 but with 2, but must be {FIRST}: let these have every class or give classes=, "
    f"or {ANEW}.": (lambda: rs.fit(S, X6, 2 * (Y6 > 0), SGD)),
    f"y of batch 0 is -1 somewhere, but must be {FIRST}: {ANEW}.": lambda: rs.fit(S, [(X6, Y6 - 1)], None, SGD),
    f"y is 0.5 somewhere, but must be {FIRST}: {ANEW}.": lambda: rs.fit(S, X6, Y6 / 2.0, SGD),
    "y of batch 1 is 3 somewhere, but must be labels 0 to 2: "
    "fit anew with classes=, or with first rows that have every class.": lambda: rs.fit(
        S, [(X6, Y6), (X6, Y6 + 1)], None, SGD
    ),
    "y is 3 somewhere, but must be labels 0 to 2: "
    "fit anew with classes=, or with first rows that have every class.": lambda: rs.fit(S, X6, Y6 + 1, SGD, classes=3),
    "classes is 1, but must be a whole number >= 2: give K, the number of classes, or leave it out where the first "
    "rows have every class.": lambda: rs.fit(S, X6, Y6, SGD, classes=1),
    "classes is 2, but must be None for LogisticRegression: leave it out, or fit rs.SoftmaxRegression.": (
        lambda: rs.fit(rs.LogisticRegression, X6, Y6 > 0, SGD, classes=2)
    ),
    "y is 0.5 somewhere, but must be labels 0 to 2: "
    "fit anew with classes=, or with first rows that have every class.": lambda: rs.fit(S, X6, Y6, SGD).update(
        X6, Y6 / 2.0
    ),
    "y is None, but must be the responses for SoftmaxRegression: pass one number for each row of X.": (
        lambda: rs.fit(S, X6, None, SGD)
    ),
    "names is of length 4, but must be of length 2: give one for each column.": (
        lambda: rs.fit(S, X6, Y6, SGD, names=list("abcd"))
    ),
    "weights of L1 is of length 2, but must be of length 4, the problem's dimension: "
    "give one weight for each coordinate.": (
        lambda: rs.fit(S, X6, Y6, rs.RDA(0.02, rs.L1([0.0, 1.0]), rs.PowerLaw(1.0, 0.6)))
    ),
    "X is an array of shape (6, 1), but must be an array of shape (n, 2) of finite numbers: "
    "give the 2 columns as before.": lambda: rs.fit(S, X6, Y6, SGD).predict(X6[:, :1]),
}


@pytest.mark.parametrize("sentence", CASES, ids=range(len(CASES)))
def test_bad_input_is_refused_in_one_sentence(sentence):
    with pytest.raises((ValueError, TypeError)) as caught:
        CASES[sentence]()
    assert str(caught.value) == sentence
    assert len(sentence) <= 300
