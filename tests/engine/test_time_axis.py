"""The time axis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdasde._approximations.time_grid import diffusion_grid
from rdasde._engine.time_axis import time_axis


@given(st.floats(1e-4, 1.0), st.integers(1, 5000), st.integers(1, 300))
def test_counts_give_distinct_steps_from_zero(step_size, steps, count):
    axis = time_axis(step_size * steps, count, step_size)
    assert axis.total in (steps - 1, steps)  # the horizon itself may round down by one ulp, the tolerance mends it
    assert axis.total == int(np.floor(step_size * steps / step_size + 1e-9))
    assert axis.steps[0] == 0
    assert axis.steps[-1] == (axis.total if count > 1 else 0)
    assert np.all(np.diff(axis.steps) > 0)
    np.testing.assert_array_equal(axis.times, axis.steps * step_size)


def test_horizon_that_is_a_multiple_up_to_rounding():
    assert time_axis(0.3, 2, 0.1).total == 3
    assert time_axis(20.0, 2, 1e-4).total == 200_000


@given(
    st.lists(st.floats(0.0, 10.0), min_size=1, max_size=30, unique=True).map(sorted),
    st.floats(0.01, 50.0),
)
def test_diffusion_grid_passes_through_the_times_in_short_steps(times, longest):
    times = np.unique(np.rint(np.array(times) / 1e-3)) * 1e-3
    grid = diffusion_grid(times, longest)
    np.testing.assert_array_equal(grid.times[grid.recorded], times)
    assert np.all(np.diff(grid.times) > 0.0)
    if times[-1] > 0.0:
        assert np.diff(grid.times).max() <= min(longest, times[-1] / 16.0) * (1 + 1e-6)
        assert grid.times[0] == 0.0


@pytest.mark.parametrize(("horizon", "times"), [(0.5, 1), (0.05, [0.0])])
def test_a_single_time(horizon, times):
    assert time_axis(horizon, times, 0.01).steps.tolist() == [0]
