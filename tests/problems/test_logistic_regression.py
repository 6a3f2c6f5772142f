"""Logistic regression: quadratures, compiled pieces far out, the data set as the population; see also test_laws."""

import numpy as np
import pytest
from helpers import draw_normals, drift, hessian_product, in_lanes, noise
from scipy.integrate import quad
from scipy.special import expit

import rdasde as rs
from rdasde._compiled import random as _random
from rdasde._compiled.jit import Kernel
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._problems.logistic_means import joint_means, slope_means


@Kernel
def draw_uniforms(streams, out):
    _random.uniforms(streams, out)


def on_rows():
    generator = np.random.default_rng(3)
    rows = generator.standard_normal((130, 4)) @ np.diag([1.0, 0.5, 2.0, 1.0]) + 0.2
    return rs.LogisticRegression.from_data(rows, generator.uniform(size=130) < expit(rows @ [1.0, 0.0, -0.5, 0.3]))


MATRIX = np.array([[1.0, 0.4, 0.1], [0.4, 0.8, 0.0], [0.1, 0.0, 1.5]])
COMPILED = {"dense": rs.LogisticRegression([1.0, -2.0, 0.0], MATRIX), "rows": on_rows()}
PROBLEMS = COMPILED | {
    "identity": rs.LogisticRegression([0.5, 0.0]),
    "null": rs.LogisticRegression([0.0, 0.0, 0.0], MATRIX),
    "AR1": rs.LogisticRegression([3.0, 0.0, 1.0, -1.0, 4.0], rs.AR1(5, 0.8)),
    "one": rs.LogisticRegression([1.5], [2.0]),
    "degenerate": rs.LogisticRegression([1.0, 0.0, 2.0], [0.0, 1.0, 2.0]),
}
each = pytest.mark.parametrize("problem", list(PROBLEMS.values()), ids=list(PROBLEMS))
each_compiled = pytest.mark.parametrize("problem", list(COMPILED.values()), ids=list(COMPILED))


def point(problem):
    return np.linspace(0.5, -1.0, problem.dimension)


def slope(s):
    return expit(s) * expit(-s)


def second(s):
    return slope(s) * (1.0 - 2.0 * expit(s))


@pytest.mark.parametrize("q", [0.0, 1e-6, 0.3, 5.0, 18.0, 25.0, 100.0, 1e4])
def test_means_of_one_normal(q):
    def mean(function):
        ends = min(10.0, 40.0 / np.sqrt(q)) if q > 0.0 else 10.0
        return quad(
            lambda z: function(np.sqrt(q) * z) * np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi), -ends, ends, epsabs=1e-13
        )[0]

    first, third = slope_means(q)
    assert first == pytest.approx(mean(slope), abs=1e-10)
    assert third == pytest.approx(mean(lambda s: slope(s) * (1.0 - 6.0 * slope(s))), abs=1e-10)


PAIRS = [(1.0, 0.5, 1.0), (0.1, 0.1, 0.3), (25.0, 20.0, 25.0), (25.0, 25.0, 25.0), (25.0, -25.0, 25.0), (4.0, 3.0, 9.0)]
PAIRS += [
    (100.0, 50.0, 100.0),
    (100.0, 100.0, 100.0),
    (9.0, 0.3, 0.01),
    (1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0),
    (0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("q", "c", "q_star"), PAIRS)
def test_means_of_two_normals(q, c, q_star):
    # against a much finer rule in other directions: s first, s* given s
    z = np.linspace(-9.0, 9.0, 1201)
    weight = np.exp(-0.5 * z * z) / np.exp(-0.5 * z * z).sum()
    along = c / np.sqrt(q) if q > 0.0 else 0.0
    s = np.sqrt(q) * z[:, None]
    star = along * z[:, None] + np.sqrt(max(q_star - along**2, 0.0)) * z
    target = [
        weight @ (f * g) @ weight
        for f, g in [
            (expit(s) - 0.5, expit(star) - 0.5),
            (slope(s), slope(star)),
            (expit(s) - 0.5, second(star)),
            (second(s), expit(star) - 0.5),
        ]
    ]
    np.testing.assert_allclose(joint_means(q, c, q_star), target, atol=3e-8)


def test_means_of_two_normals_stay_bounded_far_out():
    for q in (1e4, 1e8):
        assert np.all(np.abs(joint_means(q, 0.5 * q, q)) <= 0.26)


@each
def test_at_the_minimizer_the_noise_is_the_hessian(problem):
    # E (p - Y)^2 XX' = E p (1 - p) XX' where the model holds; on rows it does not
    if problem is not PROBLEMS["rows"]:
        w = problem.minimizer
        image = problem.covariance.multiply(w)
        np.testing.assert_allclose(
            problem.noise_covariance(w), problem.hessian(w), atol=1e-7 * max(1.0, float(image @ image))
        )


@each
def test_noise_factor_squares_to_the_covariance(problem):
    d = problem.dimension
    for w in (point(problem), problem.minimizer, -2.0 * problem.minimizer, np.zeros(d), problem.minimizer + 1e-9):
        factor = problem.noise_factor(w)
        covariance = problem.noise_covariance(w)
        # next to the minimizer w and coef are parallel up to rounding, known to the root of it
        np.testing.assert_allclose(factor @ factor.T, covariance, atol=1e-12 if w[0] == point(problem)[0] else 1e-7)


@each_compiled
def test_compiled_pieces_equal_numpy(problem):
    # another point in every lane
    d = problem.dimension
    w, u, out = lane_array(d), in_lanes(np.linspace(1.0, 2.0, d)), lane_array(d)
    w[:] = point(problem)[:, None] * np.linspace(0.0, 5.0, LANES)
    drift(problem.parameters, w, problem.scratch.allocate(), out)
    expected = np.array([problem.mean_gradient(lane) for lane in w.T]).T
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    hessian_product(problem.parameters, w, u, problem.scratch.allocate(), out)
    expected = np.array([problem.hessian(a) @ b for a, b in zip(w.T, u.T, strict=True)]).T
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_compiled_noise_is_the_noise_factor_times_the_numbers_drawn():
    problem = COMPILED["dense"]
    out, scratch, xi = lane_array(3), problem.scratch.allocate(), lane_array(4)
    for w in (point(problem), problem.minimizer, np.zeros(3)):
        noise(problem.parameters, in_lanes(w), _random.streams(7, np.arange(LANES)), scratch, out)
        draw_normals(_random.streams(7, np.arange(LANES)), xi)
        np.testing.assert_allclose(out, problem.noise_factor(w) @ xi[:3], rtol=1e-7, atol=1e-7)


def test_uniforms():
    # null: uniform on [0, 1). n = 16 * 20000; mean and mean square within 4.5 standard errors: false alarm 1.4e-5
    streams, out = _random.streams(0, np.arange(LANES)), np.empty((20_000, LANES))
    for row in out:
        draw_uniforms(streams, row)
    assert out.min() >= 0.0
    assert out.max() < 1.0
    assert np.all(out * 2.0**53 == np.floor(out * 2.0**53))
    assert abs(out.mean() - 0.5) < 4.5 / np.sqrt(12 * out.size)
    assert abs((out**2).mean() - 1.0 / 3.0) < 4.5 * np.sqrt(4.0 / 45.0 / out.size)


def test_minimizer_of_a_data_set():
    problem = on_rows()
    np.testing.assert_allclose(problem.mean_gradient(problem.minimizer), 0.0, atol=1e-15)
    # collinear columns: the shortest of all minimizers
    twice = rs.LogisticRegression.from_data(np.hstack([problem.rows, problem.rows]), problem.labels)
    np.testing.assert_allclose(twice.minimizer, np.tile(problem.minimizer / 2.0, 2), atol=1e-12)
    np.testing.assert_array_equal(rs.LogisticRegression.from_data(np.zeros((3, 2)), [0, 1, 1]).minimizer, [0.0, 0.0])


def test_minimizer_is_none_where_classes_can_be_separated():
    x = np.linspace(-1.0, 1.0, 10)[:, None]
    ones = np.ones((10, 1))
    assert rs.LogisticRegression.from_data(x, x[:, 0] > 0.0).minimizer is None
    assert rs.LogisticRegression.from_data(1e3 * x, x[:, 0] > 0.0).minimizer is None
    assert rs.LogisticRegression.from_data(ones, np.ones(10)).minimizer is None
    # separated but for two rows on the boundary, one of each class
    border = np.vstack([np.hstack([x, ones]), [[0.0, 1.0], [0.0, 1.0]]])
    assert rs.LogisticRegression.from_data(border, np.append(x[:, 0] > 0.0, [True, False])).minimizer is None
    # one label turned: no longer
    y = x[:, 0] > 0.0
    y[0] = True
    assert rs.LogisticRegression.from_data(x, y).minimizer is not None


def test_labels_count_as_numbers_or_booleans():
    x = np.array([[1.0], [2.0], [-1.0]])
    for y in ([True, False, False], [1, 0, 0], np.array([1.0, 0.0, 0.0])):
        assert rs.LogisticRegression.from_data(x, y).labels.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("name", list(COMPILED))
def test_simulate_depends_on_seed_and_replicate_alone(name):
    problem = COMPILED[name]
    algorithm = rs.RDA(0.05, rs.L1(), rs.PowerLaw(c=0.05, mu=0.6))
    arguments = {"horizon": 20.0, "times": 3, "seed": 4}
    runs = rs.simulate(problem, algorithm, replicates=20, **arguments)
    again = rs.simulate(problem, algorithm, replicates=[17], **arguments)
    np.testing.assert_array_equal(runs["primal"].values[17], again["primal"].values[0])
    mean = runs["primal"].values[:, -1].mean(axis=0)
    assert np.linalg.norm(mean - problem.minimizer) < np.linalg.norm(problem.minimizer) / 2.0


def test_a_long_step_warns():
    # linear regression with H / 4: at d = 1 the critical step is 2/3 of 4
    problem = rs.LogisticRegression([0.0])
    assert problem.instability(2.6, 1) is None
    assert "eigenvalues / 4" in problem.instability(2.7, 1)
    assert "largest eigenvalue / 4" in problem.instability(4.1, 1)
    assert problem.instability(2.7, 10) is None
    with pytest.warns(rs.StabilityWarning, match="largest eigenvalue / 4"):
        rs.simulate(on_rows(), rs.RDA(1.5), 3.0, seed=2)


ERRORS = {
    "coef is an array of shape (1, 2), but must be an array of shape (n,) of finite numbers: "
    "give one number for each coordinate.": lambda: rs.LogisticRegression([[1.0, 2.0]]),
    "covariance is an array of shape (3,), but must be an array of shape (2,) of finite numbers: "
    "pass None, variances (2,), a matrix (2, 2), or rs.AR1(2, rho).": lambda: rs.LogisticRegression(
        [1.0, 2.0], np.ones(3)
    ),
    "y is -1 somewhere, but must be labels in {0, 1}: pass (y == positive).astype(float).": lambda: (
        rs.LogisticRegression.from_data(np.ones((2, 1)), [1, -1])
    ),
    "y is an array of shape (3,), but must be an array of shape (2,) of finite numbers: "
    "give one label for each row of X.": lambda: rs.LogisticRegression.from_data(np.ones((2, 1)), [1, 0, 1]),
    "X is an array of shape (2,), but must be an array of shape (n, n) of finite numbers: "
    "give one row for each observation.": lambda: rs.LogisticRegression.from_data(np.ones(2), [1, 0]),
}


@pytest.mark.parametrize("message", list(ERRORS))
def test_errors(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        ERRORS[message]()
    assert str(caught.value) == message
