"""A small network as a problem: the compiled pieces, NumPy, torch as an oracle, and the theory on it."""

import numpy as np
import pytest
from helpers import add_gradient, drift, hessian_product, in_lanes, sample

import rdasde as rs
from rdasde._compiled.lanes import LANES, lane_array


def make(n=60, p=3, classes=3, hidden=4, seed=0, **options):
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((n, p))
    labels = (rows[:, 0] + 0.7 * generator.standard_normal(n) > 0.0).astype(int)
    labels += (classes > 2) * (rows[:, 1] > 0.8)
    return rs.MLP(rows, labels, hidden, **options)


PROBLEM = make()
W = PROBLEM.initial(1)


def test_gradient_hessian_and_noise_are_those_of_torch():
    torch = pytest.importorskip("torch")
    rows, labels = torch.from_numpy(PROBLEM.rows), torch.from_numpy(PROBLEM.labels)
    sizes = [(4, 4), (3, 5)]

    def loss(w, x, y):
        inner, outer = (part.view(size) for part, size in zip(w.split([16, 15]), sizes, strict=True))
        z = torch.tanh(x @ inner[:, :-1].T + inner[:, -1])
        return torch.nn.functional.cross_entropy(z @ outer[:, :-1].T + outer[:, -1], y)

    w = torch.from_numpy(W)
    np.testing.assert_allclose(PROBLEM.mean_gradient(W), torch.func.grad(loss)(w, rows, labels), atol=1e-14)
    hessian = torch.func.jacrev(torch.func.grad(loss))(w, rows, labels)
    np.testing.assert_allclose(PROBLEM.hessian(W), hessian, atol=1e-14)
    by_row = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(w, rows[:, None], labels[:, None]).numpy()
    np.testing.assert_allclose(PROBLEM.row_gradients(W), by_row, atol=1e-14)
    np.testing.assert_allclose(PROBLEM.noise_covariance(W), np.cov(by_row.T, bias=True), atol=1e-14)
    factor = PROBLEM.noise_factor(W)
    np.testing.assert_allclose(factor @ factor.T, PROBLEM.noise_covariance(W), atol=1e-14)


def test_compiled_drift_and_hessian_product_are_those_of_numpy():
    d = PROBLEM.dimension
    points = lane_array(d)
    points[:] = np.random.default_rng(2).standard_normal((d, LANES))
    along, out = lane_array(d), lane_array(d)
    along[:] = np.random.default_rng(3).standard_normal((d, LANES))
    drift(PROBLEM.parameters, points, PROBLEM.scratch.allocate(), out)
    for lane in range(LANES):
        np.testing.assert_allclose(out[:, lane], PROBLEM.mean_gradient(points[:, lane]), atol=1e-14)
    hessian_product(PROBLEM.parameters, points, along, PROBLEM.scratch.allocate(), out)
    for lane in range(LANES):
        target = PROBLEM.hessian(points[:, lane]) @ along[:, lane]
        np.testing.assert_allclose(out[:, lane], target, atol=1e-8 * np.abs(target).max() + 1e-9)


def test_one_stochastic_gradient_is_that_of_a_row():
    drawn = sample(add_gradient, PROBLEM, W, 64, seed=4)
    rows = PROBLEM.row_gradients(W)
    gaps = np.abs(drawn[:, None] - rows[None]).max(axis=2)
    assert gaps.min(axis=1).max() < 1e-13
    # every row equally often: 6 000 draws of 60 rows; a chi-square of 59 degrees beyond 128 has chance 5e-7
    many = sample(add_gradient, PROBLEM, W, 6000, seed=5)
    which = np.abs(many[:, None, :6] - rows[None, :, :6]).max(axis=2).argmin(axis=1)
    counts = np.bincount(which, minlength=60)
    assert np.sum((counts - 100.0) ** 2 / 100.0) < 128.0


def test_large_weights_do_not_overflow():
    w = np.full(PROBLEM.dimension, 800.0)
    w[::2] *= -1.0
    out = lane_array(PROBLEM.dimension)
    drift(PROBLEM.parameters, in_lanes(w), PROBLEM.scratch.allocate(), out)
    np.testing.assert_allclose(out[:, 0], PROBLEM.mean_gradient(w), atol=1e-12)
    assert np.all(np.isfinite(out))


def test_two_classes_are_logistic_regression_of_the_hidden_layer():
    # p_1 = 1 / (1 + exp(s_0 - s_1)): the gradient of the outer layer, the last 2 x (hidden + 1) numbers
    problem = make(classes=2, seed=7)
    w = problem.initial(2)
    inner, outer = problem.layers(w)
    z = np.hstack([np.tanh(problem.rows @ inner[:, :-1].T + inner[:, -1]), np.ones((60, 1))])
    logistic = rs.LogisticRegression.from_data(z, problem.labels)
    slope = logistic.mean_gradient(outer[1] - outer[0])
    np.testing.assert_allclose(problem.layers(problem.mean_gradient(w))[1], [-slope, slope], atol=1e-14)
    np.testing.assert_allclose(problem.predict(w, problem.rows)[:, 1], 1 / (1 + np.exp(-z @ (outer[1] - outer[0]))))


def test_biases_are_marked_and_start_at_zero():
    assert PROBLEM.bias.sum() == 4 + 3
    assert not W[PROBLEM.bias].any()
    assert W[~PROBLEM.bias].all()
    inner, outer = PROBLEM.layers(PROBLEM.bias)
    assert inner[:, -1].all()
    assert outer[:, -1].all()


def test_rate_is_about_the_largest_curvature_along_the_way():
    # the flow from the initial weights, its curvature by dense algebra
    theory = rs.approximate(PROBLEM, rs.RDA(1e-3), 10.0, method="paths", times=21, paths=1, start=PROBLEM.initial())
    steepest = max(np.linalg.eigvalsh(PROBLEM.hessian(w)).max() for w in theory["primal_ode"].values)
    assert PROBLEM.fastest_rate() == pytest.approx(steepest, rel=0.2)
    assert make(rate=3.0).fastest_rate() == 3.0


def test_the_discrete_algorithm_is_that_of_a_plain_loop():
    # the rows drawn are found from the gradients: here only w after one step from a known start, all replicates
    algorithm = rs.RDA(0.1, rs.L1(weights=1.0 - PROBLEM.bias), rs.PowerLaw(0.3, 0.6))
    runs = rs.simulate(PROBLEM, algorithm, 0.1, times=2, replicates=40, start=W, seed=8)
    g = algorithm.thresholds(np.array([0.0, 0.1]))[1]
    for v, w in zip(runs["dual"].values[:, 1], runs["primal"].values[:, 1], strict=True):
        steps = W - 0.1 * PROBLEM.row_gradients(W)
        assert np.abs(steps - v).max(axis=1).min() < 1e-13
        target = np.where(PROBLEM.bias, v, np.sign(v) * np.maximum(np.abs(v) - g, 0.0))
        np.testing.assert_allclose(w, target, atol=1e-15)


def test_paths_of_the_diffusion_cover_the_discrete_algorithm():
    # Null: the bands hold in 95 %. 400 runs, bands from 800 paths; averaged over 31 coordinates, taken as one for they
    # depend on each other, coverage has a standard error of .011 (runs) and .008 (paths); five of these at each of
    # five times and two sides: one false alarm in 200 000.
    algorithm = rs.RDA(5e-3, rs.L1(weights=1.0 - PROBLEM.bias), rs.PowerLaw(c=1.5, mu=0.6), batch_size=2)
    settings = {"times": 6, "start": W}
    runs = rs.simulate(PROBLEM, algorithm, 10.0, replicates=400, seed=9, **settings)
    theory = rs.approximate(PROBLEM, algorithm, 10.0, method="paths", paths=800, seed=9, **settings)
    held = rs.coverage(runs, rs.band(theory, space="dual")).values[1:]
    assert held.mean(axis=1).min() > 0.95 - 5.0 * np.hypot(0.011, 0.008)
    assert held.mean(axis=1).max() < 0.95 + 5.0 * np.hypot(0.011, 0.008)
    zero = (runs["primal"] == 0.0).mean("replicate").values
    np.testing.assert_allclose(zero[-1], theory["probability_zero"].values[-1], atol=0.15)
    assert 0.1 < zero[-1].mean() < 0.9


def test_the_closure_runs_on_it_too():
    problem = make(n=30, p=2, classes=2, hidden=2, seed=10)
    algorithm = rs.RDA(2e-3, rs.L1(), rs.PowerLaw(c=0.3, mu=0.6))
    settings = {"times": 4, "start": problem.initial(3)}
    theory = rs.approximate(problem, algorithm, 3.0, **settings)
    runs = rs.simulate(problem, algorithm, 3.0, replicates=400, seed=11, **settings)
    gap = np.abs(runs["dual"].mean("replicate") - theory["dual_mean"])[1:] / runs["dual"].std("replicate")[1:]
    assert float(gap.max()) < 0.3


CASES = [
    (
        lambda: rs.simulate(PROBLEM, rs.RDA(0.1), 1.0),
        "start is None, but must be given for an MLP, where zero is a saddle: "
        "pass for example start=problem.initial(seed=0).",
    ),
    (
        lambda: rs.MLP(np.ones((3, 2)), [0, 2, 2]),
        "y is labels [0, 2], but must be whole numbers 0, 1, ..., each of which occurs, at least two: "
        "pass np.unique(y, return_inverse=True)[1].",
    ),
    (
        lambda: rs.MLP(np.ones((3, 2)), [0.5, 0, 1]),
        "y is an array with fractions, but must be whole numbers 0, 1, ..., each of which occurs, at least two: "
        "pass np.unique(y, return_inverse=True)[1].",
    ),
    (
        lambda: rs.MLP(np.ones((3, 2)), [0, 1]),
        "y is an array of shape (2,), but must be an array of shape (3,) of finite numbers: "
        "give one label for each row of X.",
    ),
    (
        lambda: rs.MLP(np.ones((3, 2)), [0, 1, 1], hidden=0),
        "hidden is 0, but must be a whole number >= 1: give the number of units of the hidden layer.",
    ),
    (
        lambda: PROBLEM.predict(W, np.ones((2, 5))),
        "X is an array of shape (2, 5), but must be an array of shape (n, 3) of finite numbers: "
        "give rows like those of the problem.",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with pytest.raises((ValueError, TypeError)) as found:
        call()
    assert str(found.value) == message


def test_a_step_size_past_stability_warns():
    with pytest.warns(rs.StabilityWarning, match="largest eigenvalue of the Hessian"):
        rs.simulate(make(rate=5.0), rs.RDA(0.5), 1.0, times=2, start=W, seed=0)


def test_repr():
    assert repr(PROBLEM) == "MLP(<n=60, 3 inputs, 3 classes>, hidden=4)"
