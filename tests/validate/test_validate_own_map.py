"""Every validation takes a mirror map of one's own: a soft-threshold written by hand is as good as `L1`."""

import numpy as np
import pytest

import rdasde as rs

PROBLEM = rs.LinearRegression([0.5, -0.4, 0.0], rs.AR1(3, 0.5), noise_std=0.7)
FLAT = rs.LinearRegression([0.5, -0.4, 0.3], np.ones((3, 3)), noise_std=0.7)  # of rank 1
SCHEDULE = rs.PowerLaw(c=0.5, mu=0.6)
OPTIONS = {"times": 4, "seed": 3, "replicates": 100}


def soft(v, threshold, out):
    for j in range(v.size):
        out[j] = np.sign(v[j]) * max(abs(v[j]) - threshold, 0.0)


OWN = rs.CustomRegularizer(soft)  # compiled once


def calibration(algorithm):
    return rs.validate.calibration(PROBLEM, algorithm, 2.0, paths=200, **OPTIONS)


def coverage(algorithm):
    return rs.validate.coverage(PROBLEM, algorithm, 2.0, levels=(0.8, 0.95), paths=200, **OPTIONS)


def support(algorithm):
    return rs.validate.support(PROBLEM, algorithm, 2.0, paths=100, **OPTIONS)


def risk(algorithm):
    return rs.validate.risk(PROBLEM, algorithm, 2.0, **OPTIONS)


def flat_directions(algorithm):
    return rs.validate.flat_directions(FLAT, algorithm, 2.0, start=[0.5, -1.0, 2.0], **OPTIONS)


SLOW = [pytest.param(verb, marks=pytest.mark.slow) for verb in (risk, flat_directions)]  # kernels of their own
VERBS = (calibration, coverage, support, *SLOW)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: getattr(verb, "__name__", None))
def test_a_soft_threshold_written_by_hand_is_l1(verb):
    """Random numbers are the same; the closure's moments are by quadrature, to 1e-6 or so."""
    own, built_in = (verb(rs.RDA(0.01, mirror, SCHEDULE)) for mirror in (OWN, rs.L1()))
    assert set(own.data_vars) == set(built_in.data_vars)
    for name, values in built_in.data_vars.items():
        if not name.startswith("seconds") and values.dtype.kind == "f":
            # a count may differ by one run where the end of a band does in its seventh digit
            np.testing.assert_allclose(own[name], values, rtol=1e-3, atol=0.0101, err_msg=name)
