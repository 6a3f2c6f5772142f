"""Bands and coverage: quantiles through the map, intervals of means, simultaneous bands."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import rdasde as rs

LEVEL = 0.9


@pytest.fixture(scope="module")
def problem():
    return rs.LinearRegression([0.5, -0.3, 0.0, 0.0], rs.AR1(4, 0.4), noise_std=0.7)


@pytest.fixture(scope="module")
def algorithm():
    return rs.RDA(0.005, rs.L1(), rs.PowerLaw(0.5, 0.6))


@pytest.fixture(scope="module")
def runs(problem, algorithm):
    return rs.simulate(problem, algorithm, 2.0, replicates=2000, times=9, seed=1)


@pytest.fixture(scope="module")
def paths(problem, algorithm):
    return rs.approximate(problem, algorithm, 2.0, method="paths", paths=4000, times=9, seed=1)


@given(arrays(float, 41, elements=st.floats(-5, 5)), st.floats(0, 3), st.floats(0.05, 0.95))
def test_quantiles_pass_through_the_mirror_map(values, threshold, level):
    """For order statistics exactly: prox is nondecreasing."""
    mapped = np.quantile(rs.L1().prox(values, threshold), level, method="inverted_cdf")
    assert mapped == rs.L1().prox(np.quantile(values, level, method="inverted_cdf"), threshold)


def test_primal_band_is_the_mapped_dual_band(paths):
    for source in (paths, paths.drop_vars(["dual", "primal"])):
        dual, primal = rs.band(source, LEVEL, space="dual"), rs.band(source, LEVEL)
        g = source.threshold.values[:, None]
        for end in ("lower", "upper"):
            np.testing.assert_array_equal(primal[end], rs.L1().prox(dual[end], g))


def test_gaussian_bands(problem, algorithm):
    theory = rs.approximate(problem, algorithm, 2.0, times=9, method="limit")
    found = rs.band(theory, LEVEL, space="dual")
    z = scipy.stats.norm.ppf(0.95)
    np.testing.assert_allclose(found.upper - found.lower, 2 * z * theory.dual_std, atol=1e-15)
    assert found.attrs["quantiles"] == "gaussian"


def test_bands_from_the_shapes_of_the_marginals(problem, algorithm):
    theory = rs.approximate(problem, algorithm, 2.0, times=9)
    found = rs.band(theory, 2 * scipy.stats.norm.cdf(1.5) - 1, space="dual")
    assert found.attrs["quantiles"] == "marginals"
    np.testing.assert_allclose(found.lower, theory.dual_quantile.sel(score=-1.5), rtol=1e-9)
    np.testing.assert_allclose(found.upper, theory.dual_quantile.sel(score=1.5), rtol=1e-9)
    # coordinates that are never near the threshold stay Gaussian
    sgd = rs.approximate(problem, rs.RDA(0.005), 2.0, times=9)
    wide = rs.band(sgd, LEVEL, space="dual")
    np.testing.assert_allclose(wide.upper - wide.lower, 2 * scipy.stats.norm.ppf(0.95) * sgd.dual_std, atol=1e-12)


@pytest.mark.parametrize("space", ["dual", "primal"])
def test_paths_cover_the_algorithm(runs, paths, space):
    """Equal in the dual, at least nominal in the primal (theory, section 5.2)."""
    # null: coverage 0.9 of 2 000 runs by a band from 4 000 paths: standard error .0082; 32 comparisons at 4.8 and
    # 1.5 points for the diffusion itself (probabilities are O(sqrt(gamma)))
    held = rs.coverage(runs, rs.band(paths, LEVEL, space=space)).values[1:]
    assert held.min() > LEVEL - 4.8 * 0.0082 - 0.015
    if space == "dual":
        assert held.max() < LEVEL + 4.8 * 0.0082 + 0.015


def test_simultaneous_band_holds_whole_paths(runs, paths):
    band = rs.band(paths, LEVEL, simultaneous=True, space="dual")
    held = rs.coverage(runs, band)
    assert held.dims == ("coordinate",)
    assert np.abs(held - LEVEL).max() < 4.8 * 0.0082 + 0.015
    pointwise = rs.band(paths, LEVEL, space="dual")
    assert np.all(band.upper[1:] > pointwise.upper[1:])
    assert np.all(rs.coverage(runs, rs.band(paths, LEVEL, simultaneous=True)) >= held)


def test_interval_of_the_mean(runs, problem, algorithm):
    found = rs.band(runs, LEVEL, of="mean")
    z = scipy.stats.norm.ppf(0.95)
    half = z * runs.primal.std("replicate", ddof=1) / np.sqrt(2000)
    np.testing.assert_allclose(found.upper, runs.primal.mean("replicate") + half, atol=1e-15)
    theory = rs.approximate(problem, algorithm, 2.0, times=9)
    few = rs.band(theory, LEVEL, of="mean", replicates=50)
    np.testing.assert_allclose(few.upper - few.lower, 2 * z * theory.primal_std / np.sqrt(50), atol=1e-15)
    # null: the interval for the mean of 50 runs holds in 90 % of 40 batches, on average over coordinate and time; the
    # 288 indicators are correlated: bound by the binomial of 40, 1e-4
    means = runs.dual.values.reshape(40, 50, 9, 4).mean(axis=1)
    dual = rs.band(theory, LEVEL, of="mean", replicates=50, space="dual")
    inside = (means >= dual.lower.values) & (means <= dual.upper.values)
    assert inside[:, -1].mean() > scipy.stats.binom.ppf(1e-4, 40, LEVEL) / 40


def test_simultaneous_interval_of_the_mean_is_wider(paths):
    wide, narrow = (rs.band(paths, of="mean", simultaneous=s) for s in (True, False))
    assert np.all((wide.upper - wide.lower)[1:] > (narrow.upper - narrow.lower)[1:])


def test_summary_says_that_it_is_gaussian(problem, algorithm):
    summary = rs.simulate(problem, algorithm, 1.0, replicates=50, times=3, keep="summary", seed=0)
    assert rs.band(summary).attrs["quantiles"] == "gaussian"


def test_bands_of_some_coordinates(problem, runs):
    weighted = rs.RDA(0.005, rs.L1([1.0, 2.0, 0.0, 3.0]), rs.PowerLaw(0.5, 0.6))
    some = rs.simulate(problem, weighted, 1.0, replicates=30, times=3, coordinates=[3, 1], seed=0)
    every = rs.simulate(problem, weighted, 1.0, replicates=30, times=3, seed=0)
    xr.testing.assert_identical(rs.band(some).lower, rs.band(every).lower.sel(coordinate=[3, 1]))
    np.testing.assert_array_equal(rs.coverage(some, rs.band(every)).coordinate, [1, 3])


def test_nan_counts_as_outside(runs):
    broken = runs.isel(replicate=slice(0, 10)).copy(deep=True)
    broken.primal.values[:5, 4:] = np.nan
    held = rs.coverage(broken, rs.band(runs, 0.999999))
    assert np.all(held[:4] == 1.0)
    assert np.all(held[4:] == 0.5)


def test_everything_at_the_start_is_inside(runs, paths, problem, algorithm):
    for theory in (paths, rs.approximate(problem, algorithm, 2.0, times=9, method="limit")):
        for space in ("dual", "primal"):
            assert np.all(rs.coverage(runs, rs.band(theory, space=space))[0] == 1.0)


def test_works_on_what_was_saved(paths, tmp_path):
    paths.to_netcdf(tmp_path / "paths.nc")
    with xr.open_dataset(tmp_path / "paths.nc") as loaded:
        xr.testing.assert_equal(rs.band(loaded, simultaneous=True), rs.band(paths, simultaneous=True))
