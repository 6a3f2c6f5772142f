"""Online PCA: closed forms, fixed points, flows, for both rules; the laws of every problem are in test_laws."""

import numpy as np
import pytest
from helpers import (
    add_gradient,
    colored,
    correlated,
    draw_integers,
    draw_normals,
    drift,
    hessian_product,
    in_lanes,
    noise,
)

import rdasde as rs
from rdasde._compiled import random as _random
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._problems.spiked import Spiked

DIRECTIONS = np.linalg.qr(np.random.default_rng(5).standard_normal((5, 2)))[0].T
MATRIX = np.array([[1.0, 0.4, 0.1], [0.4, 0.8, 0.0], [0.1, 0.0, 1.5]])


def spiked(variant="oja"):
    return rs.OnlinePCA.spiked([2.0, 0.5], DIRECTIONS, variant)


def on_rows(variant="oja"):
    generator = np.random.default_rng(3)
    return rs.OnlinePCA.from_data(generator.standard_normal((130, 4)) @ np.diag([1.0, 0.5, 2.0, 1.0]) + 0.2, variant)


COMPILED = {
    "spiked-oja": spiked(),
    "spiked-krasulina": spiked("krasulina"),
    "dense-oja": rs.OnlinePCA(MATRIX),
    "dense-krasulina": rs.OnlinePCA(MATRIX, "krasulina"),
    "rows-oja": on_rows(),
    "rows-krasulina": on_rows("krasulina"),
}
PROBLEMS = COMPILED | {
    "diagonal-oja": rs.OnlinePCA([0.5, 2.0, 0.0]),
    "diagonal-krasulina": rs.OnlinePCA([0.5, 2.0, 0.0], variant="krasulina"),
    "AR1-oja": rs.OnlinePCA(rs.AR1(4, -0.6)),
    "AR1-krasulina": rs.OnlinePCA(rs.AR1(4, -0.6), "krasulina"),
}
each = pytest.mark.parametrize("problem", list(PROBLEMS.values()), ids=list(PROBLEMS))
each_compiled = pytest.mark.parametrize("problem", list(COMPILED.values()), ids=list(COMPILED))


def point(problem):
    return np.linspace(0.6, -0.8, problem.dimension)


@each
def test_minimizer_is_a_unit_vector_of_the_largest_variance(problem):
    minimizer = problem.minimizer
    assert np.linalg.norm(minimizer) == pytest.approx(1.0, abs=1e-14)
    assert minimizer[np.argmax(np.abs(minimizer))] > 0.0
    assert minimizer @ problem.covariance.dense() @ minimizer == pytest.approx(problem.covariance.largest, rel=1e-12)


@each
def test_flow_is_safe_at_any_time(problem):
    start, times = 0.3 * point(problem), np.array([0.0, 0.2, 1.0, 4.0])
    flow = problem.flow(start, times)
    if problem.variant == "krasulina":
        np.testing.assert_allclose(np.linalg.norm(flow, axis=1), np.linalg.norm(start), rtol=1e-13)
    # far beyond where exp overflows it stands at the minimizer, on the side of the start
    end = np.sign(problem.minimizer @ start) * problem.minimizer
    size = np.linalg.norm(start) if problem.variant == "krasulina" else 1.0
    np.testing.assert_allclose(problem.flow(start, np.array([1e4, 1e300]))[0], size * end, atol=1e-12)
    assert np.all(np.isfinite(problem.flow(start, np.array([1e300]))))
    np.testing.assert_array_equal(problem.flow(0.0 * start, times), 0.0)


def test_flow_from_a_saddle_stays_in_its_subspace():
    # no component along the leading axis: the second one is what it finds, whatever the size of the start
    for variant, size in (("oja", 1.0), ("krasulina", 1e-3)):
        problem = rs.OnlinePCA([1.0, 3.0, 2.0], variant)
        flow = problem.flow(np.array([1e-3, 0.0, 1e-9]), np.array([500.0]))
        np.testing.assert_allclose(flow[0], [0.0, 0.0, size], rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("problem", [COMPILED["dense-oja"], COMPILED["spiked-krasulina"]], ids=["oja", "krasulina"])
def test_compiled_noise_is_the_factored_form_of_the_numbers_drawn(problem):
    # xi from the same streams; equal to sqrt(q) L(I - uu')xi + sqrt(2)(Aw - r w) eta for each, so exact in law
    d, w = problem.dimension, point(problem)
    out, scratch = lane_array(d), problem.scratch.allocate()
    noise(problem.parameters, in_lanes(w), _random.streams(7, np.arange(LANES)), scratch, out)
    xi = lane_array(d + 1 + (d + 1) % 2)
    draw_normals(_random.streams(7, np.arange(LANES)), xi)
    factor = problem.noise_factor(w)
    np.testing.assert_allclose(out, factor @ xi[: d + 1], rtol=1e-12, atol=1e-12)


@each_compiled
def test_zero_is_absorbing_lane_by_lane(problem):
    d = problem.dimension
    w, scratch = in_lanes(point(problem)), problem.scratch.allocate()
    w[:, 3] = 0.0
    streams, out = _random.streams(0, np.arange(LANES)), lane_array(d)
    for piece in ((add_gradient, (streams, scratch, out)), (noise, (streams, scratch, out)), (drift, (scratch, out))):
        out[:] = 0.0
        piece[0](problem.parameters, w, *piece[1])
        assert np.all(out[:, 3] == 0.0)
        assert np.all(np.isfinite(out))
        assert np.all(np.any(out != 0.0, axis=0) == (np.arange(LANES) != 3))
    hessian_product(problem.parameters, w, w, problem.scratch.allocate(), out)
    assert np.all(np.isfinite(out))
    np.testing.assert_array_equal(problem.mean_gradient(np.zeros(d)), 0.0)
    np.testing.assert_array_equal(problem.noise_covariance(np.zeros(d)), 0.0)
    np.testing.assert_array_equal(problem.noise_factor(np.zeros(d)), 0.0)
    np.testing.assert_array_equal(problem.hessian(np.zeros(d)), -problem.covariance.dense())


def test_spiked_equals_dense():
    covariance = Spiked([2.0, 0.5], DIRECTIONS)
    dense = covariance.dense()
    np.testing.assert_allclose(dense, np.eye(5) + DIRECTIONS.T @ np.diag([2.0, 0.5]) @ DIRECTIONS, atol=1e-14)
    np.testing.assert_allclose(covariance.root() @ covariance.root().T, dense, atol=1e-14)
    np.testing.assert_allclose(covariance.eigenvalues(), np.linalg.eigvalsh(dense), atol=1e-14)
    assert covariance.trace == pytest.approx(7.5)
    for x in (np.arange(5.0), np.arange(10.0).reshape(5, 2)):
        np.testing.assert_allclose(covariance.multiply(x), dense @ x, atol=1e-13)
    x, out = lane_array(5), lane_array(5)
    x[:] = np.random.default_rng(0).standard_normal(x.shape)
    correlated(covariance.parameters, x, lane_array(4), out)
    np.testing.assert_allclose(out, dense @ x, atol=1e-13)
    out[:] = x
    colored(covariance.parameters, out, lane_array(4))
    np.testing.assert_allclose(out, covariance.root() @ x, atol=1e-13)
    for variant in ("oja", "krasulina"):
        one, other, w = spiked(variant), rs.OnlinePCA(dense, variant), np.linspace(0.1, 0.5, 5)
        np.testing.assert_allclose(one.minimizer, other.minimizer, atol=1e-12)
        np.testing.assert_allclose(one.noise_covariance(w), other.noise_covariance(w), atol=1e-13)
        times = np.array([0.0, 1.0, 30.0])
        np.testing.assert_allclose(one.flow(w, times), other.flow(w, times), atol=1e-12)


def test_minimizer_is_none_without_a_leading_direction():
    for covariance in ([2.0, 1.0, 2.0], np.eye(3), [0.0, 0.0]):
        assert rs.OnlinePCA(covariance).minimizer is None
    assert rs.OnlinePCA.spiked([1.0, 1.0], DIRECTIONS).minimizer is None
    np.testing.assert_array_equal(rs.OnlinePCA([3.0]).minimizer, [1.0])


def test_stationary_covariance_at_the_minimizer():
    # theory, section 4: C_kk = l_1 l_k / (2 (l_1 - l_k)), 0 along w
    values = np.array([3.0, 1.0, 0.5])
    problem = rs.OnlinePCA(values)
    rates = np.diag(problem.hessian(problem.minimizer))
    np.testing.assert_allclose(rates, [6.0, 2.0, 2.5])
    level = np.diag(problem.noise_covariance(problem.minimizer)) / (2.0 * rates)
    np.testing.assert_allclose(level, [0.0, 3.0 / 4.0, 1.5 / 5.0], atol=1e-15)


@pytest.mark.parametrize("variant", ["oja", "krasulina"])
def test_simulate_depends_on_seed_and_replicate_alone(variant):
    problem = rs.OnlinePCA(MATRIX, variant)
    algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.05, mu=0.6))
    arguments = {"horizon": 10.0, "times": 3, "start": [0.5, 0.5, 0.5], "seed": 4}
    runs = rs.simulate(problem, algorithm, replicates=20, **arguments)
    again = rs.simulate(problem, algorithm, replicates=[17], **arguments)
    np.testing.assert_array_equal(runs["primal"].values[17], again["primal"].values[0])
    last = runs["primal"].values[:, -1]
    angle = last @ problem.minimizer / np.linalg.norm(last, axis=1)
    # replicates scatter by sqrt(step_size C): about 0.1 from the leading direction
    assert np.mean(angle) > 0.95


def test_simulate_by_hand():
    # Oja's rule without regularizer, step by step, on the rows that the streams draw
    problem, gamma = on_rows(), 0.01
    runs = rs.simulate(problem, rs.RDA(gamma), 0.05, times=6, start=[0.5, 0.0, 0.5, 0.0], seed=2)
    streams, drawn, w = _random.streams(2, np.arange(1)), lane_array(1), np.array([0.5, 0.0, 0.5, 0.0])
    for state in runs["primal"].values[0, 1:]:
        draw_integers(streams, 130, drawn[0])
        z = problem.rows[int(drawn[0, 0])]
        y = z @ w
        w = w + gamma * (z * y - w * y**2)
        np.testing.assert_allclose(state, w, rtol=1e-13)


def test_a_long_step_warns():
    problem = rs.OnlinePCA([1.0])
    assert problem.instability(0.33, 1) is None  # gamma l < 1/3
    assert "not below 1" in problem.instability(0.34, 1)
    assert problem.instability(0.34, 10) is None
    many = rs.OnlinePCA(np.append(2.0, np.ones(100)))  # 3 gamma^2 l (tr A - l) < 1
    assert many.instability(0.0408, 1) is None
    assert "no balance" in many.instability(0.0409, 1)
    assert rs.OnlinePCA(np.append(2.0, np.ones(100)), "krasulina").instability(0.0709, 1) is not None
    assert rs.OnlinePCA(np.append(2.0, np.ones(100)), "krasulina").instability(0.07, 1) is None
    assert on_rows().instability(0.01, 1) is None
    assert on_rows().instability(1.0, 1) is not None
    assert rs.OnlinePCA([0.0, 0.0]).instability(1.0, 1) is None
    with pytest.warns(rs.StabilityWarning, match="not below 1"):
        rs.simulate(on_rows(), rs.RDA(0.2), 0.2, start=[0.5, 0.0, 0.5, 0.0], seed=2)


ERRORS = {
    "covariance is None (NoneType), but must be variances or a matrix: "
    "pass variances (d,), a matrix (d, d), or rs.AR1(d, rho).": lambda: rs.OnlinePCA(None),
    "covariance is -1 somewhere, but must be variances >= 0: "
    "pass variances (d,), a matrix (d, d), or rs.AR1(d, rho).": lambda: rs.OnlinePCA([1.0, -1.0]),
    "covariance is an array of shape (2, 3), but must be square: "
    "pass variances (d,), a matrix (d, d), or rs.AR1(d, rho).": lambda: rs.OnlinePCA(np.ones((2, 3))),
    "variant is 'sanger', but must be one of 'oja', 'krasulina': choose one of these.": lambda: rs.OnlinePCA(
        [1.0], "sanger"
    ),
    "spikes is 0 somewhere, but must be > 0: drop directions of unit variance.": lambda: rs.OnlinePCA.spiked(
        [1.0, 0.0], DIRECTIONS
    ),
    "directions is an array of shape (2, 5), but must be an array of shape (1, n) of finite numbers: "
    "give one row for each spike.": lambda: rs.OnlinePCA.spiked([1.0], DIRECTIONS),
    "directions is rows whose inner products are off by 3, but must be orthonormal to 1e-8: "
    "pass np.linalg.qr(directions.T)[0].T.": lambda: rs.OnlinePCA.spiked([1.0, 1.0], 2.0 * DIRECTIONS),
    "Z is an array of shape (3,), but must be an array of shape (n, n) of finite numbers: "
    "give one row for each observation.": lambda: rs.OnlinePCA.from_data(np.ones(3)),
    "start is None, but must be an array of shape (2,) other than zero, a fixed point of online PCA: "
    "pass start=, for example a random unit vector.": lambda: rs.simulate(rs.OnlinePCA([2.0, 1.0]), rs.RDA(0.01), 1.0),
}


@pytest.mark.parametrize("message", list(ERRORS))
def test_errors(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        ERRORS[message]()
    assert str(caught.value) == message
