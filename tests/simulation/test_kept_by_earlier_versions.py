"""What 0.1 has written is read: stores go on where they were, saved results make bands."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import rdasde as rs
from rdasde._simulation import block as _block

# by rdasde 0.1.0: steps, thresholds and designs whose bits are the same on every machine, for they stand in run.json
KEPT = Path(__file__).parent / "kept-by-0.1"


def least_squares(store):
    problem = rs.LinearRegression([0.5, -0.4, 0.0], noise_std=0.7)
    algorithm = rs.RDA(1 / 128, rs.L1(), rs.Linear(0.125))
    return rs.simulate(problem, algorithm, 0.5, replicates=20, times=3, seed=7, store=store)


def logistic_groups(store):
    X = np.random.default_rng(0).standard_normal((30, 3))
    problem = rs.LogisticRegression.from_data(X, (X[:, 0] > 0).astype(float))
    algorithm = rs.RDA(1 / 128, rs.GroupLasso([0, 0, 1]), rs.Linear(0.125), batch_size=2)
    return rs.simulate(problem, algorithm, 0.5, replicates=3, times=3, seed=7, keep="summary", store=store)


@pytest.mark.parametrize(("name", "run"), [("store", least_squares), ("summary-store", logistic_groups)])
def test_a_store_is_gone_on_with(name, run, tmp_path, monkeypatch):
    shutil.copytree(KEPT / name, tmp_path / name)
    fresh = run(None)
    monkeypatch.setattr(_block, "advance", None)  # nothing is computed again
    kept = run(tmp_path / name)
    for variable in fresh.data_vars:
        # the logistic function is the machine's own, to the last digit
        np.testing.assert_allclose(kept[variable], fresh[variable], rtol=1e-12, atol=1e-14)


def test_a_saved_result_makes_a_band():
    runs = xr.open_dataset(KEPT / "runs.nc", engine="scipy")
    np.testing.assert_array_equal(runs.primal, least_squares(None).primal)
    band = rs.band(runs)
    assert (band.lower <= band.upper).all()
    assert rs.coverage(runs, band).min() > 0.8
