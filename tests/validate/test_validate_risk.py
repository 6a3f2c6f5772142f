"""rs.validate.risk: exact averages, the identity behind the bound, closed forms, other problems and penalties."""

import re

import numpy as np
import pytest

import rdasde as rs
from rdasde.validate._averaged import AveragedState, averaged
from rdasde.validate._risk import _excess_risk, _penalty, _start_distance

COEF = np.array([0.5, -0.4, 0.3, 0.0, 0.0, 0.0])
PROBLEM = rs.LinearRegression(COEF, rs.AR1(6, 0.5), noise_std=0.7)
START = np.array([1.0, 0.2, -0.3, 0.5, 0.0, -1.0])
POWER = rs.PowerLaw(c=0.5, mu=0.6)
STEPS = np.arange(201) * 0.01


def exact_averages(runs, n, step_size, reference):
    """Averages over the first n steps, from all states of a run, naively."""
    w, gradients = runs.primal.values, -np.diff(runs.dual.values, axis=1) / step_size
    squares, along = (gradients**2).sum(axis=2), (gradients * (w[:, :-1] - reference)).sum(axis=2)
    return w[:, :n].mean(axis=1), squares[:, :n].mean(axis=1), along[:, :n].mean(axis=1)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_averages_are_those_of_every_step_of_the_same_run(batch_size):
    algorithm = rs.RDA(0.01, rs.L1(), POWER, batch_size)
    together = averaged(PROBLEM, algorithm, START, COEF)
    sums = rs.simulate(*together[:2], 2.0, start=together[2], replicates=5, times=STEPS, seed=1)
    runs = rs.simulate(PROBLEM, algorithm, 2.0, start=START, replicates=5, times=STEPS, seed=1)
    state = AveragedState.of(sums.primal.values)
    np.testing.assert_array_equal(state.iterate, runs.primal.values)  # the very bits
    np.testing.assert_array_equal(state.average[:, 0], runs.primal.values[:, 0])
    for n in (1, 17, 200):
        average, squares, along = exact_averages(runs, n, 0.01, COEF)
        np.testing.assert_allclose(state.average[:, n], average, rtol=0, atol=1e-12)
        np.testing.assert_allclose(state.squared_gradient[:, n], squares, rtol=1e-9)
        np.testing.assert_allclose(state.regret[:, n], along, rtol=1e-9, atol=1e-11)


def test_risk_is_the_mean_over_runs():
    algorithm = rs.RDA(0.01, rs.L1(), POWER)
    result = rs.validate.risk(PROBLEM, algorithm, 2.0, start=START, replicates=20, times=[0.0, 1.0, 2.0], seed=1)
    runs = rs.simulate(PROBLEM, algorithm, 2.0, start=START, replicates=20, times=STEPS, seed=1)
    hessian = PROBLEM.hessian(COEF)

    def excess(w):
        return 0.5 * ((w - COEF) @ hessian * (w - COEF)).sum(axis=1)

    for k, n in ((1, 100), (2, 200)):
        average, squares, along = exact_averages(runs, n, 0.01, COEF)
        assert result.average[k] == pytest.approx(excess(average).mean(), rel=1e-10)
        assert result.average_standard_error[k] == pytest.approx(excess(average).std(ddof=1) / np.sqrt(20), rel=1e-8)
        assert result["last"][k] == pytest.approx(excess(runs.primal.values[:, n]).mean(), rel=1e-10)
        assert result.regret[k] == pytest.approx(along.mean(), rel=1e-8)
        assert result.bound_noise[k] == pytest.approx(0.005 * squares.mean(), rel=1e-8)
        assert result.bound_start[k] == pytest.approx(0.5 * np.sum((START - COEF) ** 2) / (n * 0.01))
        g = float(algorithm.thresholds(np.array([n * 0.01]))[0])
        assert result.bound_regularizer[k] == pytest.approx(g * 1.2 / (n * 0.01))
        parts = result.bound_start + result.bound_noise + result.bound_regularizer
        np.testing.assert_allclose(result.average_bound[k], parts[k])
        assert result.bound_quadratic[k] == pytest.approx(0.5 * float(parts[k]))
    assert np.isnan(result.average_bound[0])
    assert result["last"][0] == pytest.approx(excess(START[None]).item())


def test_without_a_penalty_the_bound_loses_the_last_distance_and_nothing_else():
    # |w_n - w*|^2 = |w_0 - w*|^2 - 2 gamma sum grad'(w - w*) + gamma^2 sum |grad|^2, to rounding, run by run
    algorithm = rs.RDA(0.01)
    result = rs.validate.risk(PROBLEM, algorithm, 2.0, start=START, replicates=8, times=[2.0], seed=3)
    last = rs.simulate(PROBLEM, algorithm, 2.0, start=START, replicates=8, times=[2.0], seed=3).primal.values[:, 0]
    lost = 0.5 * np.mean(((last - COEF) ** 2).sum(axis=1)) / 2.0
    assert float(result.regret_bound[0] - result.regret[0]) == pytest.approx(lost, rel=1e-10)


def test_excess_risk_of_averaged_sgd_is_the_closed_form():
    # E of the average's excess risk for least squares: means and covariances of all steps, exactly.
    # Null: equal. 4000 runs, 5 standard errors at two times: false alarm < 2e-6.
    gamma, steps = 0.02, 150
    algorithm = rs.RDA(gamma)
    result = rs.validate.risk(PROBLEM, algorithm, 3.0, start=START, replicates=4000, times=[1.5, 3.0], seed=7)
    hessian, decay = PROBLEM.hessian(COEF), np.eye(6) - gamma * PROBLEM.hessian(COEF)
    error = START - COEF
    moment = np.outer(error, error)  # E e_k e_k'
    moments = []
    for _ in range(steps):
        moments.append(moment)
        he = hessian @ moment @ hessian
        noise = (np.trace(hessian @ moment) + 0.49) * hessian + he  # E Sigma(w)
        moment = decay @ moment @ decay + gamma**2 * noise
    for k, n in ((0, 75), (1, 150)):
        total = np.zeros((6, 6))
        for i in range(n):  # E e_i e_j' = E e_i e_i' decay^(j - i), j >= i
            ahead = np.eye(6)
            for j in range(i, n):
                total += moments[i] @ ahead if i == j else moments[i] @ ahead + (moments[i] @ ahead).T
                ahead = ahead @ decay
        expected = 0.5 * np.trace(hessian @ total) / n**2
        assert abs(float(result.average[k]) - expected) < 5.0 * float(result.average_standard_error[k])
        assert float(result.average_standard_error[k]) < 0.02 * expected  # it could fail


@pytest.mark.parametrize(
    "algorithm",
    [
        rs.RDA(0.02),
        rs.RDA(0.02, rs.L1(), POWER),
        rs.RDA(0.02, rs.L1(), rs.Linear(0.1), 4),
        pytest.param(rs.RDA(0.02, rs.ElasticNet(0.5), POWER), marks=pytest.mark.slow),
        rs.RDA(0.02, rs.GroupLasso([0, 0, 0, 1, 1, 1]), POWER),
        rs.RDA(0.02, rs.L1(), rs.Constant(0.05)),
    ],
    ids=lambda algorithm: f"{algorithm.regularizer}-{algorithm.schedule}",
)
def test_bounds_hold(algorithm):
    # A theorem: regret <= bound and average <= half of it, in expectation; 5 standard errors (200 runs, 3 x 2
    # comparisons): false alarm < 2e-6. They hold with room, and with little at late times without a penalty.
    result = rs.validate.risk(PROBLEM, algorithm, 4.0, start=START, replicates=200, times=[0.1, 1.0, 4.0], seed=2)
    spread = 5.0 * (result.regret_standard_error + result.bound_noise_standard_error)
    assert np.all(result.regret <= result.regret_bound + spread)
    half = result.bound_quadratic + 5.0 * result.average_standard_error
    assert np.all(result.average <= half)
    assert np.all(2.0 * result.average <= result.regret + spread)  # Jensen, and E G'e = 2 (f - f*)
    assert np.all(result.average <= result.bound_prior + 5.0 * result.average_standard_error)
    assert np.all(result.bound_prior >= 0.98 * result.bound_quadratic)


def test_logistic_regression_integrates_its_gradient():
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((120, 3))
    labels = (rows[:, 0] + generator.standard_normal(120) > 0.0).astype(int)
    problem = rs.LogisticRegression.from_data(rows, labels)

    def loss(w):
        return np.mean(np.logaddexp(0.0, rows @ w) - labels * (rows @ w))

    excess = _excess_risk(problem, problem.minimizer)
    for w in np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 0.5], [3.0, 2.0, -2.0]]):
        assert excess(w) == pytest.approx(loss(w) - loss(problem.minimizer), rel=1e-6)
    result = rs.validate.risk(
        problem, rs.RDA(0.1, rs.L1(), rs.PowerLaw(0.1, 0.6)), 10.0, replicates=32, times=3, seed=0
    )
    assert np.all(result.average[1:] < result.average_bound[1:])
    assert np.all(np.isnan(result.bound_quadratic))
    assert np.all(np.isnan(result.bound_prior))


def test_penalties_and_the_start():
    w = np.array([1.0, -2.0, 0.0, 3.0])
    assert _penalty(rs.L1(), w) == 6.0
    assert _penalty(rs.L1([1.0, 0.5, 1.0, 0.0]), w) == 2.0
    assert _penalty(rs.ElasticNet(0.5), w) == pytest.approx(6.0 + 0.25 * 14.0)
    assert _penalty(rs.GroupLasso([0, 0, 1, 1]), w) == pytest.approx(np.sqrt(2.0) * (np.sqrt(5.0) + 3.0))
    assert _penalty(rs.NonNegativeL1(), np.abs(w)) == 6.0
    assert _penalty(rs.Box(-5.0, 5.0), w) == 0.0
    dual, target, g = np.array([2.0, -0.1, 0.0, 1.0]), w, 0.3
    mirror = rs.L1()
    primal = mirror.prox(dual, g)
    conjugate = dual @ primal - g * np.abs(primal).sum() - 0.5 * primal @ primal
    expected = conjugate - dual @ target + g * 6.0 + 0.5 * target @ target
    assert _start_distance(mirror, dual, target, g, 6.0) == pytest.approx(expected, rel=1e-12)


def bend(v, threshold, out):
    # of no penalty whose value follows from its slope along rays
    out[:] = v / (1.0 + threshold * np.abs(v))


CASES = [
    (
        lambda: rs.validate.risk(rs.OnlinePCA([2.0, 1.0]), rs.RDA(0.01), 1.0, start=[1.0, 1.0]),
        "problem is one as good at -w as at w, but must be convex, with a known minimizer: pass for example "
        "rs.LinearRegression(coef).",
    ),
    (
        lambda: rs.validate.risk(PROBLEM, rs.RDA(0.1, rs.L1(), lambda t, gamma: 1.0 - 0.5 * t), 1.0),
        "schedule is falling at t = 0, but must be a threshold that never falls, which the bound needs: pass for "
        "example rs.PowerLaw(c=0.5, mu=0.6).",
    ),
    (
        lambda: rs.validate.risk(PROBLEM, rs.RDA(0.1, rs.CustomRegularizer(bend), POWER), 1.0),
        "but must be one whose value P(w) is known, which the bound needs: pass for example rs.L1().",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=range(len(CASES)))
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call()
    assert len(str(caught.value)) <= 300


def test_a_saved_risk_is_of_the_problem_itself(tmp_path):
    """Not of that with its average, which is what was run."""
    problem, algorithm = rs.LinearRegression([0.5, 0.0]), rs.RDA(0.05, rs.L1(), rs.PowerLaw(0.5, 0.6))
    rs.validate.risk(problem, algorithm, 1.0, replicates=8, times=3, seed=0).to_netcdf(tmp_path / "risk.nc")
    loaded = rs.load(tmp_path / "risk.nc")
    assert (loaded.problem, loaded.algorithm) == (problem, algorithm)
