"""Products and colorings against the dense matrix."""

import numpy as np
import pytest
from helpers import colored, correlated

import rdasde as rs
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._problems.covariance import as_covariance


def wishart(d, rank, seed):
    root = np.random.default_rng(seed).standard_normal((d, rank))
    return root @ root.T / rank


CASES = {
    "identity": (None, 7),
    "diagonal": (np.linspace(0.0, 2.0, 7), 7),
    "AR1": (rs.AR1(7, -0.7), 7),
    "AR1 in one dimension": (rs.AR1(1, 0.3), 1),
    "AR1 without correlation": (rs.AR1(5, 0.0), 5),
    "dense": (wishart(11, 20, 0), 11),
    "dense, a multiple of four": (wishart(12, 20, 1), 12),
    "singular": (wishart(9, 3, 2), 9),
    "small": (wishart(2, 5, 3), 2),
}


@pytest.mark.parametrize("case", CASES)
def test_products_and_coloring(case):
    given, d = CASES[case]
    covariance = as_covariance(given, d)
    dense = covariance.dense()
    x, out, spare = lane_array(d), lane_array(d), lane_array(4)
    x[:] = np.random.default_rng(1).standard_normal((d, LANES))
    correlated(covariance.parameters, x, lane_array(4), out)
    np.testing.assert_allclose(out, dense @ x, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(covariance.multiply(x[:, 0].copy()), dense @ x[:, 0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(covariance.multiply(x), dense @ x, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(covariance.eigenvalues(), np.linalg.eigvalsh(dense), atol=1e-12)
    assert covariance.trace == pytest.approx(np.trace(dense))

    # coloring the unit vectors gives L, and L L' = H
    factor = np.empty((d, d))
    for j in range(d):
        z = lane_array(d)
        z[j] = 1.0
        colored(covariance.parameters, z, spare)
        factor[:, j] = z[:, 0]
        assert np.all(z == z[:, :1])
    np.testing.assert_allclose(factor @ factor.T, dense, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.triu(factor, 1), 0.0, atol=1e-15)


def test_autoregression_equals_its_dense_matrix():
    np.testing.assert_allclose(rs.AR1(4, 0.8).dense()[0], [1.0, 0.8, 0.64, 0.512])
