"""A fresh numba cache for every run, shared by its workers; small problems that many tests use."""

import os
import tempfile

import numpy as np
import pytest

# the workers of pytest-xdist inherit the controller's choice
if "RDASDE_TEST_CACHE" not in os.environ:
    os.environ["RDASDE_TEST_CACHE"] = tempfile.mkdtemp(prefix="rdasde-numba-")
os.environ["NUMBA_CACHE_DIR"] = os.environ["RDASDE_TEST_CACHE"]

import rdasde as rs


@pytest.fixture
def small_problem():
    """d = 6, three active coordinates, correlated design."""
    coef = np.array([0.5, -0.4, 0.3, 0.0, 0.0, 0.0])
    return rs.LinearRegression(coef, rs.AR1(6, 0.5), noise_std=0.7)


@pytest.fixture
def small_algorithm():
    return rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
