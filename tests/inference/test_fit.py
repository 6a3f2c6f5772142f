"""`fit`: the stream against a naive NumPy twin, and laws that hold exactly."""

import itertools

import numpy as np
import pytest
from scipy.stats import t

import rdasde as rs
from rdasde._inference.laws import Known, iterate_law
from rdasde._inference.row_loop import add_products

L1 = rs.RDA(0.02, rs.L1(), rs.PowerLaw(c=0.3, mu=0.6))
SGD = rs.RDA(0.02)


def rows_of(kind, n, d=5, seed=0):
    """A stream with correlated columns; y is None for PCA."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(range(d), range(d)))).T
    coef = np.where(np.arange(d) < 3, [1.0, -0.5, 0.5] + [0.0] * (d - 3), 0.0)
    if kind is rs.LinearRegression:
        # heteroscedastic: sandwich and textbook differ
        return X, X @ coef + (0.5 + np.abs(X[:, 0])) * rng.standard_normal(n)
    if kind is rs.LogisticRegression:
        return X, (rng.random(n) < 1.0 / (1.0 + np.exp(-X @ coef))).astype(float)
    return X + np.outer(rng.standard_normal(n), 2.0 * coef), None


def twin(kind, X, y, algorithm):
    """Every step as it is written down: v, w, the mean of w, plug-in H and Sigma, and what curvature adds.

    For a stream that is still in memory: gradients are linearized where the mean gradient over all rows is zero.
    """
    d, b, gamma = X.shape[1], algorithm.batch_size, algorithm.step_size
    g = algorithm.thresholds(np.arange(len(X) // b + 1) * gamma)
    v = X[0] / np.linalg.norm(X[0]) if kind is rs.OnlinePCA else np.zeros(d)
    w = algorithm.mirror.prox(v, g[0])
    begin, centre, path, gradients, hessian = v.copy(), np.zeros(d), [], [], np.zeros((d, d))
    curvature, places, hessians = np.zeros(d), [], []
    for _ in range(20 * (kind is rs.LogisticRegression)):
        q = 1.0 / (1.0 + np.exp(-X @ centre))
        centre = centre + np.linalg.solve((X.T * (q * (1.0 - q))) @ X, X.T @ (y - q))
    for k in range(len(X)):
        x = X[k]
        if kind is rs.LinearRegression:
            gradient, weight = x * (x @ w - y[k]), 1.0
        elif kind is rs.LogisticRegression:
            p = 1.0 / (1.0 + np.exp(-x @ w))
            q = 1.0 / (1.0 + np.exp(-x @ centre))
            gradient, weight = x * (p - y[k]), q * (1.0 - q)
            curvature += x * (p - q - weight * (x @ (w - centre)))
        else:
            gradient, weight = w * (x @ w) ** 2 - x * (x @ w), 1.0
        gradients.append(gradient)
        places.append(w)
        hessians.append(weight * np.outer(x, x))
        hessian += hessians[-1]
        if (k + 1) % b == 0:
            path.append(w)
            v = v - gamma * np.mean(gradients[-b:], axis=0)
            w = algorithm.mirror.prox(v, g[(k + 1) // b])
    hessian, curvature = hessian / len(X), curvature / len(X)
    coef = np.mean(path, axis=0)
    if kind is rs.OnlinePCA:
        u = coef / np.linalg.norm(coef)
        hessian = (u @ hessian @ u) * np.eye(d) + 2.0 * np.outer(u, hessian @ u) - hessian
    mean = (begin - v) / (gamma * len(path))
    noise = np.transpose(gradients) @ gradients / len(X) - np.outer(mean, mean)
    inverse = np.linalg.inv(hessian)
    center = coef - inverse @ (mean - curvature)
    if kind is not rs.OnlinePCA:
        # the gradient at the centre, and what the row adds by being taken elsewhere
        if kind is rs.LinearRegression:
            there = [x * (x @ center - response) for x, response in zip(X, y, strict=True)]
        else:
            score = X @ centre
            q = 1.0 / (1.0 + np.exp(-score))
            there = X * (q - y + q * (1.0 - q) * (X @ center - score))[:, None]
        leverage = np.array([np.trace(inverse @ own) for own in hessians]) / len(X)
        psi = np.array(there) / (1.0 - leverage)[:, None]
        psi += [(own - hessian) @ (w - coef) for own, w in zip(hessians, places, strict=True)]
        noise = psi.T @ psi / len(X)
    covariance = inverse @ noise @ inverse.T / len(X)
    if kind is rs.OnlinePCA:
        center /= np.linalg.norm(center)
        projection = np.eye(d) - np.outer(center, center)
        covariance = projection @ covariance @ projection
    return {"w": w, "coef": coef, "center": center, "std_error": np.sqrt(np.diag(covariance))}


KINDS = [rs.LinearRegression, rs.LogisticRegression, rs.OnlinePCA]
ALGORITHMS = {
    "sgd": SGD,
    "l1": L1,
    "weighted": rs.RDA(0.02, rs.L1([1.0, 0.0, 1.0, 2.0, 1.0]), rs.PowerLaw(0.3, 0.6)),
    "elastic net": rs.RDA(0.02, rs.ElasticNet(0.5), rs.PowerLaw(0.3, 0.6)),
    "batches": rs.RDA(0.05, rs.L1(), rs.PowerLaw(0.2, 0.6), batch_size=3),
    "linear": rs.RDA(0.02, rs.L1(), rs.Linear(0.02)),
    "own schedule": rs.RDA(0.02, rs.L1(), lambda t, gamma: 0.01 * t**0.5),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_stream_is_the_twin_s(kind, algorithm):
    X, y = rows_of(kind, 900)
    found, expected = rs.fit(kind, X, y, algorithm), twin(kind, X, y, algorithm)
    assert (found.rows, found.steps) == (900, 900 // algorithm.batch_size)
    np.testing.assert_allclose(found.iterate.raw, expected["w"], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.raw, expected["coef"], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.coef, expected["center"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.std_error, expected["std_error"], rtol=1e-8)
    np.testing.assert_array_equal(found.support, expected["w"] != 0.0)


def bend(v, threshold, out):
    # a slope that differs from place to place: no theory of the last iterate
    out[:] = v / (1.0 + threshold * np.abs(v))


def soft(v, threshold, out):
    out[:] = np.sign(v) * np.maximum(np.abs(v) - threshold, 0.0)


@pytest.mark.parametrize(
    "regularizer",
    [rs.GroupLasso([0, 0, 1, 1, 1]), rs.NonNegativeL1(), rs.Box(-0.3, 0.3), rs.CustomRegularizer(bend)],
    ids=lambda regularizer: type(regularizer).__name__,
)
def test_every_mirror_map_can_be_iterated(regularizer):
    X, y = rows_of(rs.LinearRegression, 300)
    algorithm = rs.RDA(0.02, regularizer, rs.PowerLaw(0.3, 0.6))
    found, expected = rs.fit(rs.LinearRegression, X, y, algorithm), twin(rs.LinearRegression, X, y, algorithm)
    np.testing.assert_allclose(found.iterate.raw, expected["w"], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.raw, expected["coef"], rtol=0, atol=1e-11)
    assert np.all(np.isnan(found.interval))
    assert found.average.note.startswith("Standard errors are known for L1, ElasticNet and no regularizer, not for ")


def test_a_soft_threshold_of_ones_own_has_the_intervals_of_l1():
    X, y = rows_of(rs.LinearRegression, 700)
    fits = [
        rs.fit(rs.LinearRegression, X, y, rs.RDA(0.02, regularizer, rs.PowerLaw(0.3, 0.6)))
        for regularizer in (rs.CustomRegularizer(soft), rs.L1())
    ]
    np.testing.assert_allclose(fits[0].interval, fits[1].interval, rtol=1e-9)
    np.testing.assert_allclose(fits[0].iterate.interval, fits[1].iterate.interval, rtol=1e-9)


def test_the_centre_solves_the_normal_equations_but_for_a_martingale():
    """``H center = X'y / n + mean of (xx' - H)(w - mean w)``: shift of the threshold and start drop out exactly."""
    X, y = rows_of(rs.LinearRegression, 700)
    found = rs.fit(rs.LinearRegression, X, y, L1)
    v, w, path = np.zeros(5), np.zeros(5), []
    for n, (x, response) in enumerate(zip(X, y, strict=True), 1):
        path.append(w)
        v = v - L1.step_size * x * (x @ w - response)
        w = L1.mirror.prox(v, L1.thresholds(np.array([n * L1.step_size]))[0])
    away = np.array(path) - np.mean(path, axis=0)
    martingale = np.mean(X * np.sum(X * away, axis=1)[:, None], axis=0)
    np.testing.assert_allclose(X.T @ X @ found.coef / 700, X.T @ y / 700 - martingale, atol=1e-12)


@pytest.mark.parametrize("algorithm", [L1, ALGORITHMS["batches"]], ids=["rows", "batches of 3"])
@pytest.mark.parametrize("kind", KINDS)
def test_however_the_stream_is_cut(kind, algorithm):
    """Arrays at once, in uneven updates that are read in between, or batches from an iterator: the same bits."""
    X, y = rows_of(kind, 5000)
    if kind is rs.OnlinePCA:
        X[:7] = 0.0  # the start is the first row that is not zero, wherever that comes
    whole = rs.fit(kind, X, y, algorithm)
    cuts = [0, 1, 4, 300, 301, 2600, 5000]
    parts = [(X[a:b], None if y is None else y[a:b]) for a, b in itertools.pairwise(cuts)]
    pieces = rs.fit(kind, *parts[0], algorithm)
    for part in parts[1:]:
        assert pieces.update(*part) is pieces
        assert str(pieces.summary())
    lazy = rs.fit(kind, (x if y is None else (x, labels) for x, labels in parts), None, algorithm)
    for other in (pieces, lazy, rs.fit(kind, iter([parts[0][0] if y is None else parts[0]]), None, algorithm)):
        if other.rows < 5000:
            other.update((x if y is None else (x, labels) for x, labels in parts[1:]))
        for name in ("coef", "raw", "shift", "std_error", "interval", "support"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
        for name in ("raw", "shift", "std_error"):
            np.testing.assert_array_equal(getattr(other.iterate, name), getattr(whole.iterate, name))
        assert other.rows_averaged == whole.rows_averaged


def test_reading_changes_nothing_and_a_copy_is_independent():
    X, y = rows_of(rs.LinearRegression, 600)
    read, unread = (rs.fit(rs.LinearRegression, X[:300], y[:300], L1) for _ in range(2))
    fork = read.copy()
    read.raw[:], read.interval[:], read.support[:] = 9.0, 9.0, False
    _ = read.iterate.interval, read.summary(), read.plot(), repr(read), read._repr_html_()
    fork.update(X[:50], y[:50])
    read.update(X[300:], y[300:])
    unread.update(X[300:], y[300:])
    np.testing.assert_array_equal(read.interval, unread.interval)
    assert fork.rows == 350


@pytest.mark.parametrize("n", [1, 2047, 2048, 4096, 40_000, 65_536, 65_535])
def test_the_average_leaves_out_at_most_one_row_in_eight(n):
    X = np.ones((n, 1))
    out = n - rs.fit(rs.LinearRegression, X, X[:, 0], rs.RDA(0.01)).rows_averaged
    assert out <= n / 8
    assert out == 0 if n < 2048 else out > n / 16
    assert out == 0 or (out // 256 * 256 == out and out // 256 & (out // 256 - 1) == 0)


def test_the_average_after_the_start_is_left_out():
    X, y = rows_of(rs.LinearRegression, 4096)
    found = rs.fit(rs.LinearRegression, X, y, SGD)
    w, path = np.zeros(5), []
    for x, response in zip(X, y, strict=True):
        path.append(w)
        w = w - 0.02 * x * (x @ w - response)
    assert found.rows_averaged == 4096 - 512
    np.testing.assert_allclose(found.raw, np.mean(path[512:], axis=0), atol=1e-11)
    np.testing.assert_allclose(found.iterate.raw, w, atol=1e-11)


def test_several_passes_average_the_last_and_count_rows_once():
    X, y = rows_of(rs.LinearRegression, 500)
    found = rs.fit(rs.LinearRegression, X, y, L1, passes=3)
    again = rs.fit(rs.LinearRegression, np.tile(X, (3, 1)), np.tile(y, 3), L1)
    np.testing.assert_array_equal(found.iterate.raw, again.iterate.raw)
    assert (found.rows, found.rows_averaged) == (1500, 500)
    ours = np.linalg.inv(X.T @ X / 500)
    residual = y - X @ np.linalg.solve(X.T @ X, X.T @ y)
    sandwich = np.sqrt(np.diag(ours @ (X.T * residual**2 @ X / 500) @ ours) / 500)
    assert np.all(np.abs(found.std_error / sandwich - 1.0) < 0.1)  # iterates jitter: gamma tr(H) / 2 is 5 %
    least_squares = np.linalg.solve(X.T @ X, X.T @ y)
    assert np.all(np.abs(found.coef - least_squares) < sandwich)
    assert rs.fit(rs.LinearRegression, np.tile(X, (3, 1)), np.tile(y, 3), L1)._run.repeats.rows == 1500
    assert found._run.repeats.rows == 500


def test_the_shift_is_that_of_the_threshold():
    """Without noise: w_S follows w*_S - H_SS^-1 sgn(w*_S) g', and the average its time average (theory, section 5)."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40_000, 3)) @ np.linalg.cholesky([[1.0, 0.4, 0.0], [0.4, 1.0, 0.3], [0.0, 0.3, 1.0]]).T
    coef = np.array([1.0, -0.8, 0.0])
    algorithm = rs.RDA(2e-3, rs.L1(), rs.PowerLaw(c=0.5, mu=0.7))
    found = rs.fit(rs.LinearRegression, X, X @ coef, algorithm)
    H, e, path = (X.T @ X / 40_000)[:2, :2], -coef[:2], []
    g = algorithm.thresholds(np.arange(40_001) * 2e-3)
    for growth in np.diff(g):
        path.append(e)
        e = e - 2e-3 * H @ e - np.sign(coef[:2]) * growth
    expected = np.mean(path[-found.rows_averaged :], axis=0)
    np.testing.assert_allclose(found.shift[:2], expected, rtol=0.02)
    np.testing.assert_allclose(found.raw[:2] - coef[:2], expected, rtol=0.02)
    np.testing.assert_allclose(found.coef, coef, atol=2e-4)
    np.testing.assert_allclose(found.iterate.shift[:2], e, rtol=0.02)
    # both are the leading terms of the theory, but for what is left of the start
    pull = -np.linalg.solve(H, np.sign(coef[:2])) / 2e-3
    np.testing.assert_allclose(expected, pull * (g[-1] - g[-1 - found.rows_averaged]) / found.rows_averaged, rtol=0.06)
    np.testing.assert_allclose(e, pull * (g[-1] - g[-2]), rtol=0.02)
    assert not found.support[2]
    assert np.isnan(found.iterate.std_error[2])
    assert found.iterate.note == "Coordinates that are exactly zero have no normal law."


def test_the_law_of_the_iterate_is_that_of_the_recursion():
    rng = np.random.default_rng(2)
    d, steps, rate = 4, 700, 0.03
    root = rng.standard_normal((d, d))
    H = root @ root.T / d + 0.3 * np.eye(d)
    noise = np.diag([1.0, 2.0, 0.5, 1.0]) + 0.2
    start, pull = rng.standard_normal((2, d))

    def straight(ages):
        return 0.1 * (steps - ages)

    mean, covariance = iterate_law(H, noise, rate, start, pull, steps, straight)
    e, C, step = start.copy(), np.zeros((d, d)), np.eye(d) - rate * H
    for _ in range(steps):
        e, C = step @ e - pull * 0.1, step @ C @ step.T + rate**2 * noise
    np.testing.assert_allclose(mean, e, rtol=1e-9)
    np.testing.assert_allclose(covariance, C, rtol=1e-9)
    # a curved threshold is followed by straight pieces
    g = 0.5 * np.arange(steps + 1) ** 0.6
    e = start.copy()
    for n in range(steps):
        e = step @ e - pull * (g[n + 1] - g[n])
    mean, _ = iterate_law(H, noise, rate, start, pull, steps, lambda ages: g[steps - ages])
    np.testing.assert_allclose(mean, e, rtol=1e-3)


def test_what_is_not_known_of_the_target_decays_as_the_start_does():
    """Row by row: the error of the target is minus ``K`` times the mean of the xi that move the recursion."""
    rng = np.random.default_rng(3)
    d, steps, rate = 3, 60, 0.02
    root, K = rng.standard_normal((2, d, d))
    H, noise = root @ root.T / d + 0.3 * np.eye(d), np.diag([1.0, 2.0, 0.5]) + 0.2
    nothing, step = np.zeros(d), np.eye(d) - rate * H
    known = Known(noise @ K.T / steps, K @ noise @ K.T / steps)
    _, covariance = iterate_law(H, noise, rate, nothing, nothing, steps, lambda ages: 0.0 * ages, known)
    left, expected = np.linalg.matrix_power(step, steps), np.zeros((d, d))
    for k in range(steps):
        weight = rate * np.linalg.matrix_power(step, k) + left @ K / steps
        expected += weight @ noise @ weight.T
    np.testing.assert_allclose(covariance, expected, rtol=1e-9)


def test_the_long_run_is_lyapunov_s():
    H, noise = np.array([[1.0, 0.5], [0.5, 2.0]]), np.array([[1.0, 0.2], [0.2, 3.0]])
    rate = 1e-6
    nothing = np.zeros(2)
    _, covariance = iterate_law(H, noise, rate, nothing, nothing, 10**8, lambda ages: 0.0 * ages)
    np.testing.assert_allclose((H @ covariance + covariance @ H) / rate, noise, rtol=1e-5)
    assert iterate_law(H, noise, 3.0, nothing, nothing, 10, lambda ages: 0.0 * ages) is None


@pytest.mark.parametrize(("n", "d"), [(8, 1), (256, 5), (264, 33)])
def test_products_are_numpy_s(n, d):
    rows = np.random.default_rng(0).standard_normal((n, d))
    total = np.ones((d, d))
    add_products(rows, total)
    np.testing.assert_allclose(np.triu(total), np.triu(1.0 + rows.T @ rows), rtol=1e-12)
    np.testing.assert_array_equal(np.tril(total, -1), np.tril(np.ones((d, d)), -1))


def test_kinds_of_numbers():
    X, y = rows_of(rs.LogisticRegression, 400)
    X = X.astype(np.float32)
    expected = rs.fit(rs.LogisticRegression, X.astype(float), y, L1).interval
    for some, labels in ((X, y > 0), (X[:, ::-1][:, ::-1], y.astype(int)), (X.tolist(), y.tolist())):
        np.testing.assert_array_equal(rs.fit(rs.LogisticRegression, some, labels, L1).interval, expected)


def test_a_level_only_scales():
    X, y = rows_of(rs.LinearRegression, 400)
    wide, narrow = (rs.fit(rs.LinearRegression, X, y, L1, level=level) for level in (0.99, 0.5))
    np.testing.assert_array_equal(wide.raw, narrow.raw)
    quantiles = t.ppf([0.995, 0.75], 395)
    np.testing.assert_allclose(np.diff(wide.interval) / np.diff(narrow.interval), quantiles[0] / quantiles[1])
    np.testing.assert_allclose(wide.interval.mean(axis=1), wide.coef)


def test_where_theory_has_no_standard_error_there_is_a_reason():
    X, y = rows_of(rs.LinearRegression, 400)
    found = rs.fit(rs.LinearRegression, X, y, rs.RDA(0.02, rs.Box(-0.3, 0.3)))
    assert np.all(np.abs(found.raw) <= 0.3)
    assert np.all(np.isnan(found.std_error))
    reason = "Standard errors are known for L1, ElasticNet and no regularizer, not for Box(-0.3, 0.3)."
    assert found.average.note == found.iterate.note == reason
    assert reason in str(found.summary())
    found = rs.fit(rs.LinearRegression, X[:9], y[:9], L1)
    assert found.average.note == "Standard errors need at least 10 rows, twice as many as columns."
    found = rs.fit(rs.LinearRegression, np.column_stack([X, X[:, 0]]), y, L1)
    dependent = "Some direction has no curvature: columns are linearly dependent, or the classes are separated."
    assert found.average.note == dependent
    found = rs.fit(rs.LinearRegression, X[:2], y[:2], rs.RDA(0.02, batch_size=3))
    assert found.average.note == "No step is finished: fewer rows than batch_size 3."
    found = rs.fit(rs.LinearRegression, X, 0.0 * y, L1)
    assert found.iterate.note == "All coordinates are exactly zero."
    found = rs.fit(rs.OnlinePCA, np.zeros((400, 3)), None, rs.RDA(0.05))
    assert found.average.note == "The average is not near a leading eigenvector whose eigenvalue stands alone."


def test_summary_and_plot():
    X, y = rows_of(rs.LinearRegression, 3000)
    found = rs.fit(rs.LinearRegression, X, y, L1)
    text = str(found.summary())
    lines = text.splitlines()
    assert lines[0].strip() == "Online inference: LinearRegression"
    assert all(len(line) <= 100 for line in lines)
    assert lines[7].split() == ["coef", "std", "err", "z", "P>|z|", "[0.025", "0.975]", "shift", "last", "s.e."]
    cells = lines[9].split()
    assert cells[0] == "0"
    expected = [found.coef[0], found.std_error[0]]
    np.testing.assert_allclose([float(cell) for cell in cells[1:3]], expected, atol=5.1e-5)
    expected = [*found.interval[0], found.shift[0], found.iterate.raw[0]]
    np.testing.assert_allclose([float(cell) for cell in cells[5:9]], expected, atol=5.1e-5)
    page = found._repr_html_()
    assert page.count("<tr>") == 4 + 1 + 5
    assert "P&gt;|z|" in page
    wide = rs.fit(rs.LinearRegression, np.random.default_rng(0).standard_normal((200, 60)), np.zeros(200), SGD)
    assert "20 more coordinates: see .interval." in str(wide.summary())
    assert repr(found).startswith("<OnlineFit of LinearRegression: 3000 rows, d = 5, ")
    assert found.plot()._repr_png_()[:4] == b"\x89PNG"
    assert rs.fit(rs.LinearRegression, X[:9], y[:9], L1).plot()._repr_png_()[:4] == b"\x89PNG"


def test_divergence_says_where_and_keeps_what_was():
    X, y = rows_of(rs.LinearRegression, 5000)
    algorithm = rs.RDA(0.8)
    with (
        pytest.warns(rs.StabilityWarning, match="from the first 1000 rows"),
        pytest.raises(rs.DivergenceError) as caught,
    ):
        rs.fit(rs.LinearRegression, X, y, algorithm)
    error = caught.value
    w, n = np.zeros(5), 0
    with np.errstate(all="ignore"):
        while np.all(np.isfinite(w)):
            w = w - 0.8 * X[n] * (X[n] @ w - y[n])
            n += 1
    assert abs(error.step - n) <= 1  # the twin adds in another order
    assert error.time == 0.8 * error.step
    assert str(error).startswith(f"The stream diverged at step {error.step} (t = ")
    assert len(str(error)) <= 300
    assert error.partial.rows == error.step // 256 * 256
    assert np.all(np.isfinite(error.partial.iterate.raw))


@pytest.mark.parametrize("passes", [1, 2])
def test_the_warning_points_at_who_called(passes):
    X, y = rows_of(rs.LinearRegression, 200)
    with pytest.warns(rs.StabilityWarning) as caught:
        rs.fit(rs.LinearRegression, X, y, rs.RDA(0.3), passes=passes)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("n", [256, 900])
def test_sums_are_those_of_all_rows(n):
    X, y = rows_of(rs.LinearRegression, n)
    fit = rs.fit(rs.LinearRegression, X, y, L1)
    sums = fit.sums()
    np.testing.assert_allclose(sums.roots, X.T @ X, rtol=1e-12, atol=1e-10)
    np.testing.assert_array_equal(sums.primal, fit.iterate.raw)
    assert (sums.rows, sums.steps) == (n, n)
    sums.roots[:], sums.primal[:] = 0.0, 0.0
    np.testing.assert_allclose(fit.sums().roots, X.T @ X, rtol=1e-12, atol=1e-10)


def batches(*parts):
    return iter(parts)


X4, Y4 = np.arange(12.0).reshape(4, 3), np.array([0.0, 1.0, 1.0, 0.0])
HOLE = np.where(X4 == 4.0, np.nan, X4)
CASES = {
    "problem_class is the class StochasticProblem (ABCMeta), but must be rs.LinearRegression, rs.LogisticRegression, "
    "rs.SoftmaxRegression, rs.OnlinePCA, or a loss such as rs.PoissonLoss(): pass the class itself.": lambda: rs.fit(
        rs.StochasticProblem, X4, Y4, SGD
    ),
    "problem_class is LinearRegression(<coef, d=1>, covariance=None, noise_std=1) (LinearRegression), but must be "
    "rs.LinearRegression, rs.LogisticRegression, rs.SoftmaxRegression, rs.OnlinePCA, or a loss such as "
    "rs.PoissonLoss(): "
    "pass the class itself.": lambda: rs.fit(rs.LinearRegression([1.0]), X4, Y4, SGD),
    "algorithm is 0.1 (float), but must be an algorithm: pass for example rs.RDA(step_size=1e-3).": lambda: rs.fit(
        rs.LinearRegression, X4, Y4, 0.1
    ),
    "level is 1.5, but must be a finite number > 0 and < 1: give for example level=0.95.": lambda: rs.fit(
        rs.LinearRegression, X4, Y4, SGD, level=1.5
    ),
    "passes is 0, but must be a whole number >= 1: give how often to go through the rows.": lambda: rs.fit(
        rs.LinearRegression, X4, Y4, SGD, passes=0
    ),
    "passes is 2, but must be 1 where X is an iterator: pass arrays, which can be read again.": lambda: rs.fit(
        rs.LinearRegression, batches((X4, Y4)), None, SGD, passes=2
    ),
    "X is an array with NaN or infinite entries in 1 rows, but must be an array of shape (n, n) of finite numbers: "
    "give one row for each observation.": lambda: rs.fit(rs.LinearRegression, HOLE, Y4, SGD),
    "X is an array of shape (3,), but must be an array of shape (n, n) of finite numbers: "
    "give one row for each observation.": lambda: rs.fit(rs.LinearRegression, X4[0], Y4, SGD),
    "X is an array of shape (4, 2), but must be an array of shape (n, 3) of finite numbers: "
    "give the 3 columns as before.": lambda: rs.fit(rs.LinearRegression, X4, Y4, rs.RDA(1e-3)).update(X4[:, :2], Y4),
    "X of batch 1 is an array of shape (4, 2), but must be an array of shape (n, 3) of finite numbers: "
    "give the 3 columns as before.": lambda: rs.fit(
        rs.LinearRegression, batches((X4, Y4), (X4[:, :2], Y4)), None, rs.RDA(1e-3)
    ),
    "X is an array of shape (0, 3), but must be an array of shape (n, n) of finite numbers: "
    "give at least one row.": lambda: rs.fit(rs.LinearRegression, X4[:0], Y4[:0], SGD),
    "X is an exhausted iterator, but must be an iterator with at least one batch: make it anew.": lambda: rs.fit(
        rs.LinearRegression, batches(), None, SGD
    ),
    "X is [['a']] (list), but must be an array of shape (n, n) of finite numbers: "
    "give one row for each observation.": lambda: rs.fit(rs.LinearRegression, [["a"]], [1.0], SGD),
    "X is a ragged sequence, but must be an array of shape (n, n) of finite numbers: "
    "give one row for each observation.": lambda: rs.fit(rs.LinearRegression, [[1.0], [1.0, 2.0]], [1.0, 2.0], SGD),
    "batch 0 of X is an array of shape (4, 3) (ndarray), but must be a pair (X, y): "
    "let the iterator yield pairs.": lambda: rs.fit(rs.LinearRegression, batches(X4), None, SGD),
    "y is an array of shape (4,), but must be None where X is an iterator: let X yield pairs (X, y).": lambda: rs.fit(
        rs.LinearRegression, batches((X4, Y4)), Y4, SGD
    ),
    "y is None, but must be the responses for LinearRegression: pass one number for each row of X.": lambda: rs.fit(
        rs.LinearRegression, X4, None, SGD
    ),
    "y is an array of shape (3,), but must be an array of shape (4,) of finite numbers: "
    "give one number for each row of X.": lambda: rs.fit(rs.LinearRegression, X4, Y4[:3], SGD),
    "y is an array of shape (4,), but must be None for OnlinePCA: leave it out.": lambda: rs.fit(
        rs.OnlinePCA, X4, Y4, SGD
    ),
    "y is -1 somewhere, but must be labels in {0, 1}: recode them, for example y > 0.": lambda: rs.fit(
        rs.LogisticRegression, X4, 2 * Y4 - 1, SGD
    ),
    "weights of L1 is of length 2, but must be of length 3, the problem's dimension: "
    "give one weight for each coordinate.": lambda: rs.fit(
        rs.LinearRegression, X4, Y4, rs.RDA(0.1, rs.L1([1.0, 2.0]), rs.PowerLaw(1.0, 0.6))
    ),
}


@pytest.mark.parametrize("sentence", CASES, ids=range(len(CASES)))
def test_bad_input_is_refused_in_one_sentence(sentence):
    with pytest.raises((ValueError, TypeError)) as caught:
        CASES[sentence]()
    assert str(caught.value) == sentence
    assert len(sentence) <= 300


def test_a_bad_batch_leaves_the_stream_as_it_was():
    X, y = rows_of(rs.LinearRegression, 300)
    found = rs.fit(rs.LinearRegression, X, y, L1)
    before = found.interval
    with pytest.raises(ValueError, match="NaN"):
        found.update(np.where(np.arange(5) == 2, np.nan, X), y)
    np.testing.assert_array_equal(found.interval, before)
    assert found.rows == 300
