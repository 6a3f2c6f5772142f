"""Bands of functions of the state, and counts of runs inside a band as they finish."""

import re

import numpy as np
import pytest
import scipy.stats
import xarray as xr

import rdasde as rs

LEVEL = 0.9
COEF = np.array([0.5, -0.3, 0.0, 0.0])


def risk(w):
    return ((w - COEF) ** 2).sum(axis=-1)


def nonzero(w):
    return int(np.count_nonzero(w))


STATISTICS = {"risk": risk, "nonzero": nonzero}


@pytest.fixture(scope="module")
def problem():
    return rs.LinearRegression(COEF, rs.AR1(4, 0.4), noise_std=0.7)


@pytest.fixture(scope="module")
def algorithm():
    return rs.RDA(0.005, rs.L1(), rs.PowerLaw(0.5, 0.6))


@pytest.fixture(scope="module")
def runs(problem, algorithm):
    return rs.simulate(problem, algorithm, 2.0, replicates=2000, times=9, statistics=STATISTICS, seed=1)


@pytest.fixture(scope="module")
def paths(problem, algorithm):
    options = {"method": "paths", "paths": 4000, "times": 9, "seed": 1}
    return rs.approximate(problem, algorithm, 2.0, statistics=STATISTICS, **options)


def test_statistics_of_paths_are_those_of_their_states(paths):
    np.testing.assert_allclose(paths.risk, risk(paths.primal.values), rtol=1e-14)
    np.testing.assert_array_equal(paths["nonzero"], (paths.primal != 0.0).sum("coordinate"))
    assert paths.risk.dims == ("path", "time")


def test_a_band_of_the_risk_covers_the_algorithm(runs, paths):
    # null: coverage .9 of 2 000 runs by a band from 4 000 paths: standard error .0082; 8 times at 4.3 of them (1e-4),
    # and 1.5 points for the diffusion itself
    band = rs.band(paths, LEVEL, of="risk")
    assert band.lower.dims == ("time",)
    held = rs.coverage(runs, band)
    assert held.dims == ("time",)
    assert float(held[0]) == 1.0
    assert np.abs(held[1:] - LEVEL).max() < 4.3 * 0.0082 + 0.015
    np.testing.assert_allclose(band.upper, np.quantile(paths.risk, 0.95, axis=0, method="weibull"))


def test_a_band_of_the_risk_holds_whole_runs(runs, paths):
    band = rs.band(paths, LEVEL, of="risk", simultaneous=True)
    held = rs.coverage(runs, band)
    assert held.dims == ()
    assert abs(float(held) - LEVEL) < 4.3 * 0.0082 + 0.015
    xr.testing.assert_equal(band, rs.band(paths, LEVEL, of="risk", simultaneous="all"))
    inside = ((runs.risk >= band.lower) & (runs.risk <= band.upper)).all("time")
    assert float(held) == float(inside.mean())


def test_variables_that_were_added(runs, paths):
    """Any variable of runs and time, whatever the order of its dimensions."""
    mine, theirs = runs.assign(size=abs(runs.primal)), paths.assign(size=abs(paths.primal))
    band = rs.band(theirs.transpose("time", "coordinate", ...), LEVEL, of="size")
    assert band.lower.dims == ("time", "coordinate")
    held = rs.coverage(mine.isel(coordinate=[2, 0]), band)
    assert held.dims == ("time", "coordinate")
    np.testing.assert_array_equal(held.coordinate, [0, 2])
    inside = (mine["size"] >= band.lower) & (mine["size"] <= band.upper)
    np.testing.assert_allclose(held, inside.mean("replicate").sel(coordinate=[0, 2]))


def test_bands_of_few_runs_and_of_what_was_saved(runs, tmp_path):
    few = runs[["risk", "threshold"]].isel(replicate=slice(0, 20))
    band = rs.band(few, 0.99, of="risk")
    assert band.attrs["quantiles"] == "gaussian"
    reach = scipy.stats.t.ppf(0.995, 19) * np.sqrt(1.05) * few.risk.std("replicate", ddof=1)
    np.testing.assert_allclose(band.upper - band.lower, 2.0 * reach, atol=1e-15)
    band.to_netcdf(tmp_path / "band.nc")
    with xr.open_dataset(tmp_path / "band.nc") as loaded:
        xr.testing.assert_equal(rs.coverage(runs, loaded), rs.coverage(runs, band))


@pytest.mark.parametrize("options", [{}, {"space": "dual"}, {"simultaneous": True}, {"simultaneous": "all"}])
def test_counts_of_a_summary_are_those_of_its_paths(problem, algorithm, runs, paths, options):
    band = rs.band(paths.isel(coordinate=[0, 1, 3]), LEVEL, **options)
    again = {"replicates": 2000, "times": 9, "seed": 1, "keep": "summary"}
    summary = rs.simulate(problem, algorithm, 2.0, inside=band, coordinates=[3, 2, 0], **again)
    assert "dual" not in summary
    xr.testing.assert_allclose(rs.coverage(summary, band), rs.coverage(runs.sel(coordinate=[3, 2, 0]), band))
    assert summary.inside.dims == rs.coverage(runs, band).dims


def test_counts_of_a_function_survive_a_store_and_a_file(problem, algorithm, runs, paths, tmp_path):
    band = rs.band(paths, LEVEL, of="risk", simultaneous=True)
    again = {"replicates": 2000, "times": 9, "seed": 1, "keep": "summary", "statistics": STATISTICS}
    first, second = (
        rs.simulate(problem, algorithm, 2.0, inside=band, store=tmp_path / "store", **again) for _ in range(2)
    )
    xr.testing.assert_identical(first, second)
    assert float(first.inside) == float(rs.coverage(runs, band))
    with pytest.raises(ValueError, match=r"differs in inside\)"):
        rs.simulate(problem, algorithm, 2.0, inside=rs.band(paths), store=tmp_path / "store", **again)
    kept = first[["inside"]]
    kept.to_netcdf(tmp_path / "runs.nc")
    with xr.open_dataset(tmp_path / "runs.nc") as loaded:
        assert float(rs.coverage(loaded, band)) == float(first.inside)
    message = (
        "band is another one than the runs were counted in, but must be the one that simulate(..., inside=band) was "
        "given: pass that band, or use simulate(..., keep='paths')."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        rs.coverage(kept, rs.band(paths, 0.8, of="risk", simultaneous=True))


def test_a_run_that_diverges_is_not_inside():
    problem, algorithm = rs.LinearRegression([0.5, 0.0]), rs.RDA(3.0)
    options = {"replicates": 3, "times": 41, "seed": 0, "on_divergence": "keep"}
    with pytest.warns(rs.StabilityWarning):
        runs = rs.simulate(problem, algorithm, 6000.0, **options)
    band = xr.Dataset(
        {"lower": runs.dual[0] * 0.0 - np.inf, "upper": runs.dual[0] * 0.0 + np.inf}, attrs={"space": "dual"}
    ).fillna(np.inf)
    band["lower"] = -abs(band.upper)
    with pytest.warns(rs.StabilityWarning):
        summary = rs.simulate(problem, algorithm, 6000.0, keep="summary", inside=band, **options)
    np.testing.assert_array_equal(rs.coverage(summary, band), np.isfinite(runs.dual).mean("replicate"))


def refused(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_what_there_is_no_band_of_is_refused(problem, algorithm, runs, paths):
    with pytest.raises(ValueError, match=r"^statistics is given with method='closure', which has no paths here"):
        rs.approximate(problem, algorithm, 1.0, statistics=STATISTICS)
    with pytest.raises(ValueError, match=r"^statistics is given with method='limit', .*: use method='paths'\.$"):
        rs.approximate(rs.LinearRegression([0.5, -0.3]), rs.RDA(0.01), 1.0, method="limit", statistics={"norm": np.max})
    with pytest.raises(ValueError, match=r"^statistics is named 'mean', but must be named by other words"):
        rs.approximate(problem, algorithm, 1.0, method="paths", statistics={"mean": risk})
    refused(
        lambda: rs.band(paths, of="norm"),
        "of is 'norm', but must be one of 'iterate', 'mean', 'risk', 'nonzero': choose one of these.",
    )
    refused(
        lambda: rs.band(paths, of="risk", space="dual"),
        "space is 'dual' for of='risk', but must be 'primal', of whose states it is a function: leave it out.",
    )
    refused(
        lambda: rs.coverage(runs.drop_vars("risk"), rs.band(paths, of="risk")),
        "runs is a Dataset without risk paths, but must be one with paths: record 'risk' there, too.",
    )
    refused(
        lambda: rs.coverage(runs.assign(risk=runs.primal), rs.band(paths, of="risk")),
        "band is by time, but must be by time, coordinate, as 'risk' of the runs is: make it from a result with the "
        "same variable.",
    )
    refused(
        lambda: rs.simulate(problem, algorithm, 2.0, times=9, inside=rs.band(paths)),
        "inside is given with keep='paths', but must be given with keep='summary': paths are counted by rs.coverage.",
    )
    refused(
        lambda: rs.simulate(problem, algorithm, 2.0, times=9, keep="summary", inside=rs.band(paths, of="risk")),
        "inside is a band of 'risk', but must be of what the runs have, 'dual', 'primal': record 'risk' with "
        "statistics=.",
    )
    refused(
        lambda: rs.simulate(problem, algorithm, 2.0, times=5, keep="summary", inside=rs.band(paths)),
        "inside is given at 9 times that are not the 5 times of the runs, but must be on the same times: pass the same "
        "horizon, times and step size to simulate and approximate.",
    )
