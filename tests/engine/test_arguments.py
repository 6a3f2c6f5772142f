"""Arguments that verbs share: a warning about them points at the line that called the verb."""

import numpy as np
import pytest

import rdasde as rs

PROBLEM = rs.LinearRegression(np.array([0.5, 0.0, -0.2]))
UNSTABLE = rs.RDA(1.0)


def simulate():
    rs.simulate(PROBLEM, UNSTABLE, 2.0, on_divergence="keep", seed=0)


def approximate():
    rs.approximate(PROBLEM, UNSTABLE, 2.0, method="sdeint", paths=1, times=2, seed=0)


def weak_error():
    # what is wrong with progress is found after the warning and before any work
    with pytest.raises(TypeError, match="progress is 'no'"):
        rs.weak_error(
            PROBLEM,
            UNSTABLE,
            2.0,
            step_sizes=[1.0, 0.9],
            test_functions={"norm": lambda w: (w**2).sum(axis=-1)},
            replicates=16,
            paths=16,
            progress="no",
        )


@pytest.mark.parametrize("verb", [simulate, approximate, weak_error])
def test_a_step_size_past_stability_points_at_the_caller(verb):
    with pytest.warns(rs.StabilityWarning) as caught:
        verb()
    assert {warning.filename for warning in caught} == {__file__}
