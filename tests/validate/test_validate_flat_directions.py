"""rs.validate.flat_directions: the integral, its limit, and directional pruning in closed form."""

import re

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize

import rdasde as rs
from rdasde._directional import directional_prune, pruning_scores
from rdasde.validate._flat_directions import flat_projection

RANK, D = 2, 6
GENERATOR = np.random.default_rng(0)
LOADING = GENERATOR.standard_normal((D, RANK))
HESSIAN = LOADING @ LOADING.T / np.linalg.norm(LOADING, 2) ** 2
START = np.sign(GENERATOR.standard_normal(D)) * GENERATOR.uniform(1.0, 2.0, D)
PROBLEM = rs.LinearRegression(START + 0.3 * GENERATOR.standard_normal(D), HESSIAN, 0.5)
ALGORITHM = rs.RDA(2e-3, rs.L1(), rs.PowerLaw(c=1.0, mu=0.55))


@pytest.fixture(scope="module")
def result():
    return rs.validate.flat_directions(
        PROBLEM, ALGORITHM, 20.0, strengths=[0.05, 2.0], start=START, replicates=200, times=[0.0, 2.0, 20.0], seed=0
    )


def test_mean_flows_differ_by_the_integral_while_no_sign_is_lost(result):
    local = result.isel(strength=0)
    assert not local.sign_changes.any()
    np.testing.assert_allclose(local.flow_difference, local.difference_theory, rtol=0, atol=1e-9)
    assert abs(local.difference_theory[-1]).max() > 0.01  # of which that is less than the seventh digit
    # and by quadrature, in the eigenvectors of H: -int e^{-lambda (t - s)} dg(s), s = u^2
    values, vectors = np.linalg.eigh(HESSIAN)
    c, t = float(local.c), 20.0
    weights = [
        quad(lambda u, x=x: np.exp(-x * (t - u * u)) * 1.1 * u**0.1, 0.0, np.sqrt(t), epsabs=1e-13, epsrel=1e-12)[0]
        for x in np.maximum(values, 0.0)
    ]
    integral = -c * np.sqrt(2e-3) * vectors @ (np.array(weights) * (vectors.T @ np.sign(START)))
    np.testing.assert_allclose(local.difference_theory[-1], integral, rtol=0, atol=1e-9)
    # when signs are lost it is no longer so
    far = result.isel(strength=1)
    assert far.sign_changes[-1] > 0
    assert abs(far.flow_difference - far.difference_theory)[-1].max() > 0.05


def test_pairs_of_runs_differ_by_the_integral(result):
    # Null: the mean difference is the integral, up to O(gamma) of it. 12 comparisons of 200 pairs at 5 standard errors:
    # Student's t with 199 degrees of freedom, false alarm < 2e-5.
    local = result.isel(strength=0, time=slice(1, None))
    room = 5.0 * local.difference_standard_error + 2e-3 * abs(local.difference_theory)
    assert np.all(abs(local.difference - local.difference_theory) < room)
    assert local.difference_standard_error.max() < 0.05 * abs(local.difference_theory).max()  # it could fail
    # common random numbers: the pair without them would scatter like SGD does
    plain = rs.simulate(PROBLEM, rs.RDA(2e-3), 20.0, start=START, replicates=200, times=[20.0], seed=0).primal
    assert local.difference_standard_error[-1].max() < 0.2 * plain.std("replicate").max() / np.sqrt(200)


def test_the_limit_is_the_flat_part(result):
    projection = flat_projection(HESSIAN)
    assert np.trace(projection) == pytest.approx(D - RANK)
    np.testing.assert_allclose(projection @ HESSIAN, 0.0, atol=1e-14)
    assert result.attrs["flat"] == D - RANK
    late = result.isel(strength=0, time=-1)
    strength = float(late.c) * np.sqrt(2e-3) * 20.0**0.55
    assert strength == pytest.approx(0.05 * result.attrs["typical"])
    np.testing.assert_allclose(late.limit, -strength * projection @ np.sign(START), rtol=1e-12)
    # along flat directions the integral is its limit at every time; across them it decays like 1 / t
    np.testing.assert_allclose(projection @ (late.difference_theory - late.limit).values, 0.0, atol=1e-9)
    gap = abs(result.difference_theory - result.limit).isel(strength=0).max("coordinate") / result.limit[0].max(
        "coordinate"
    )
    assert gap[2] < 0.35 * gap[1]


def test_supports_agree_where_the_change_is_small():
    generator = np.random.default_rng(1)
    loading = generator.standard_normal((60, 6))
    hessian = loading @ loading.T / np.linalg.norm(loading, 2) ** 2
    coef, start = generator.standard_normal((2, 60))
    problem = rs.LinearRegression(coef, hessian, 0.5)
    result = rs.validate.flat_directions(
        problem, ALGORITHM, 20.0, strengths=[0.1, 1.0], start=start, replicates=50, times=[20.0], seed=0
    ).isel(time=-1)
    # measured .99 and .93; a closed form with P_0 replaced by I or by 0 does not reach the first
    assert result.agreement[0] > 0.97
    assert result.agreement[0] > result.agreement[1] > 0.8
    assert np.all(result.overlap > result.overlap_magnitude)
    np.testing.assert_allclose(result.sparsity, result.sparsity_directional, atol=0.06)
    assert result.sparsity[1] > 0.3
    plain = rs.simulate(problem, rs.RDA(2e-3), 20.0, start=start, replicates=50, times=[20.0], seed=0).primal[:, 0]
    pruned = rs.simulate(
        problem,
        rs.RDA(2e-3, rs.L1(), rs.PowerLaw(float(result.c[1]), 0.55)),
        20.0,
        start=start,
        replicates=50,
        times=[20.0],
        seed=0,
    ).primal[:, 0]
    strength = result.attrs["typical"]
    closed = directional_prune(plain.values, flat_projection(hessian), strength)
    assert float(result.agreement[1]) == pytest.approx(np.mean((closed == 0.0) == (pruned.values == 0.0)))


def test_closed_form_is_the_minimizer():
    generator = np.random.default_rng(2)
    w = generator.standard_normal(8)
    basis = np.linalg.qr(generator.standard_normal((8, 5)))[0]
    projection, strength = basis @ basis.T, 0.4
    scores = pruning_scores(w, projection)
    assert scores.min() < 0.0 < scores.max()
    assert scores.sum() == pytest.approx(np.sign(w) @ projection @ np.sign(w))
    pruned = directional_prune(w, projection, strength)
    for j in range(8):
        grid = np.linspace(-5.0, 5.0, 200_001)
        value = 0.5 * (w[j] - grid) ** 2 + strength * scores[j] * np.abs(grid)
        assert pruned[j] == pytest.approx(grid[np.argmin(value)], abs=1e-4)
        best = minimize(lambda x, j=j: 0.5 * (w[j] - x[0]) ** 2 + strength * scores[j] * abs(x[0]), [pruned[j]]).fun
        assert 0.5 * (w[j] - pruned[j]) ** 2 + strength * scores[j] * abs(pruned[j]) <= best + 1e-12
    grown = (scores < 0.0) & (w != 0.0)
    assert np.all(np.abs(pruned[grown]) > np.abs(w[grown]))
    # a function instead of a matrix, many states at once
    many = np.stack([w, -w])
    np.testing.assert_allclose(directional_prune(many, lambda x: (x @ basis) @ basis.T, strength), [pruned, -pruned])
    np.testing.assert_allclose(directional_prune(w, np.eye(8), strength), rs.L1().prox(w, strength))


CASES = [
    (
        lambda: rs.validate.flat_directions(PROBLEM, ALGORITHM, 1.0),
        "start is 0 in 6 coordinates, but must be different from 0 everywhere: give a start whose signs mean "
        "something.",
    ),
    (
        lambda: rs.validate.flat_directions(PROBLEM, rs.RDA(0.01), 1.0, start=START),
        "but must be one with L1 and PowerLaw, which the theory is about: pass for example "
        "rs.RDA(1e-3, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6)).",
    ),
    (
        lambda: rs.validate.flat_directions(PROBLEM, ALGORITHM, 1.0, start=START, strengths=[0.1, 0.0]),
        "strengths is 0 somewhere, but must be numbers > 0: leave SGD out, it is run anyway.",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES, ids=range(len(CASES)))
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call()
    assert len(str(caught.value)) <= 300
