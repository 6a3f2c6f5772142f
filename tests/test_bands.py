"""Bands and coverage: quantiles through the map, intervals of means, simultaneous bands."""

import re

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import rdasde as rs
from rdasde._bands import quantiles as _bands
from rdasde._bands.mean import _reach

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
    theory = rs.approximate(problem, algorithm, 2.0, times=9, method="limit", check=False)
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


@pytest.mark.parametrize(("number", "level"), [(39, 0.95), (200, 0.99), (399, 0.95), (250, 0.953)])
def test_quantiles_by_rank_cover_what_they_say(number, level):
    """A new draw lies between the ranks with probability `level`, whatever the law and however few the draws."""
    # null: the mean content of 4 000 bands is the level, for an exponential law; the content of each is known, and its
    # variance that of a beta: 1e-4 is 3.9 standard errors. Between ranks the law bends: up to 1e-3 more
    generator = np.random.default_rng(3)
    draws = generator.exponential(size=(number, 4000))
    lower, upper = _bands.by_rank(draws, (0.5 - level / 2, 0.5 + level / 2))
    content = np.exp(-lower) - np.exp(-upper)
    exact = abs((number + 1) * (1 - level) / 2 % 1) < 1e-9
    assert abs(content.mean() - level) < 3.9 * content.std() / np.sqrt(4000) + (0.0 if exact else 1e-3)


@pytest.mark.parametrize(
    ("number", "level", "options", "least"),
    [
        (200, 0.999, {}, "paths=1999 or more, or a lower level, or use method='closure'"),
        (38, 0.95, {}, "paths=39 or more, or a lower level, or use method='closure'"),
        (18, 0.95, {"simultaneous": True}, "paths=19 or more, or a lower level"),
        (1, 0.95, {}, "paths=39 or more, or a lower level, or use method='closure'"),
    ],
)
def test_a_level_that_so_few_paths_cannot_tell_is_refused(paths, number, level, options, least):
    some = paths.isel(path=slice(0, number))
    got = f"{level:g} from {number} path{'s' if number > 1 else ''}"
    message = f"level is {got}, but must be one whose quantiles lie among them: pass {least}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        rs.band(some, level, **options)
    enough = int(re.search(r"paths=(\d+)", least)[1])
    rs.band(paths.isel(path=slice(0, enough)), level, **options)


@pytest.mark.parametrize("number", [2, 10, 38])
def test_beyond_the_ranks_of_few_runs_a_normal_law_goes_on(number):
    """One more normal run lies inside with probability `level`, from however few: 4 000 independent coordinates."""
    # null: a binomial of 4 000, 3.9 standard errors (1e-4)
    generator = np.random.default_rng(4)
    few, one = generator.standard_normal((number, 1, 4000)), generator.standard_normal(4000)
    dims = ("replicate", "time", "coordinate")
    data = {"dual": (dims, few), "primal": (dims, few), "threshold": (("time",), [0.0])}
    coords = {"time": [1.0], "coordinate": np.arange(4000)}
    result = xr.Dataset(data, coords=coords, attrs={"regularizer": rs.RDA(0.1).mirror.to_json()})
    found = rs.band(result, 0.95)
    assert found.attrs["quantiles"] == "gaussian"
    held = np.mean((one >= found.lower.values[0]) & (one <= found.upper.values[0]))
    assert abs(held - 0.95) < 3.9 * np.sqrt(0.95 * 0.05 / 4000)


def test_runs_enough_are_taken_by_rank(runs):
    assert rs.band(runs.isel(replicate=slice(0, 39))).attrs["quantiles"] == "paths"
    assert rs.band(runs.isel(replicate=slice(0, 38))).attrs["quantiles"] == "gaussian"
    message = "level is 0.99 from 98 runs, but must be one whose quantiles lie among them: pass replicates=99 or more"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}, or a lower level\\.$"):
        rs.band(runs.isel(replicate=slice(0, 98)), 0.99, simultaneous="all")
    with pytest.raises(ValueError, match=r"^result is of a single path or run, but must be of several, whose spread"):
        rs.band(runs.isel(replicate=[0]))


def test_beyond_the_scores_that_are_kept_the_tail_is_normal(problem, algorithm):
    """From the closure: the quantile goes on as that of the normal law through the last two scores."""
    theory = rs.approximate(problem, algorithm, 2.0, times=9)
    level = 2 * scipy.stats.norm.cdf(4.0) - 1
    found = rs.band(theory, level, space="dual")
    last, before = (theory.dual_quantile.sel(score=score) for score in (3.5, 3.0))
    np.testing.assert_allclose(found.upper, 2 * last - before, rtol=1e-6)


@pytest.mark.parametrize("number", [25, 200])
def test_few_paths_hold_simultaneously_all_the_same(number):
    """The largest deviation is taken from the mean of the others: a new path is not in it, either."""
    # null: of 400 bands, each from its own paths, the mean share of 400 new paths inside is .9, or .6 / n more; its
    # standard error from the bands themselves, 3.9 of them. (Deviations within the sample hold in .79 at n = 25)
    generator = np.random.default_rng(5)

    def walks(size):
        return np.cumsum(generator.standard_normal((size, 6, 3)), axis=1)

    def held(together):
        shares = []
        for _ in range(400):
            lower, upper = _bands.sup_band(walks(number), 0.9, together)
            new = walks(400)
            hit = ((new >= lower) & (new <= upper)).all(axis=1)
            shares.append(hit.all(axis=1).mean() if together == 2 else hit.mean())
        return np.mean(shares), np.std(shares) / np.sqrt(400)

    for together in (1, 2):
        mean, error = held(together)
        assert -3.9 * error < mean - 0.9 < 3.9 * error + 0.6 / number


def test_all_coordinates_at_once(runs, paths, tmp_path):
    every = rs.band(paths, LEVEL, simultaneous="all", space="dual")
    held = rs.coverage(runs, every)
    assert held.dims == ()
    assert every.attrs["simultaneous"] == 2
    # null: coverage .9 of 2 000 runs by a band from 4 000 paths, standard error .0082 at most; 4.8 of them, and 1.5
    # points for the diffusion itself
    assert abs(float(held) - LEVEL) < 4.8 * 0.0082 + 0.015
    each = rs.band(paths, LEVEL, simultaneous="coordinate", space="dual")
    xr.testing.assert_identical(each, rs.band(paths, LEVEL, simultaneous=True, space="dual"))
    assert np.all(every.upper[1:] > each.upper[1:])
    mapped = rs.band(paths, LEVEL, simultaneous="all")
    assert float(rs.coverage(runs, mapped)) >= float(held)
    # counted as a plain loop does, on what was saved, too
    inside = (runs.primal >= mapped.lower) & (runs.primal <= mapped.upper)
    assert float(rs.coverage(runs, mapped)) == float(inside.all(["time", "coordinate"]).mean())
    mapped.to_netcdf(tmp_path / "band.nc")
    with xr.open_dataset(tmp_path / "band.nc") as loaded:
        assert rs.coverage(runs, loaded).dims == ()


def test_interval_of_a_mean_has_room_for_its_own_error():
    """The mean of n normal runs lies in the interval from P paths with probability `level`: n, P small and large."""
    # null: the share over 4 000 independent coordinates, a binomial, 3.9 standard errors; with a bias it may hold more
    # often. False alarm 1e-4 each
    generator = np.random.default_rng(2)
    size, error = 4000, np.sqrt(0.9 * 0.1 / 4000)
    for number, draws in ((3, 5), (100, 400), (50, 20), (4000, 1000)):
        states = generator.standard_normal((draws, 1, size))
        data = {"dual": (("path", "time", "coordinate"), states), "threshold": (("time",), [0.0])}
        coords = {"path": np.arange(draws), "time": [1.0], "coordinate": np.arange(size)}
        attributes = {"regularizer": rs.RDA(0.1).mirror.to_json(), "method": "paths", "tolerance": 1e-12}
        result = xr.Dataset(data, coords=coords, attrs=attributes)
        means = generator.standard_normal(size) / np.sqrt(number)
        for shift in (0.0, 0.02):
            found = rs.band(
                result.assign_attrs(tolerance=max(shift, 1e-12)), LEVEL, of="mean", replicates=number, space="dual"
            )
            held = np.mean((means + shift >= found.lower.values[0]) & (means + shift <= found.upper.values[0]))
            assert abs(held - LEVEL) < 3.9 * error
        without = rs.band(result, LEVEL, of="mean", space="dual")
        assert abs(np.mean((without.lower <= 0) & (without.upper >= 0)) - LEVEL) < 3.9 * error


def test_interval_of_a_mean_knows_its_result(paths, tmp_path):
    """The number of paths and their tolerance are in the attributes of what was loaded, or reduced to moments."""
    assert paths.attrs["paths"] == 4000
    assert paths.attrs["tolerance"] == 0.01
    expected = rs.band(paths, of="mean", replicates=100)
    paths.drop_vars(["dual", "primal", "path"]).to_netcdf(tmp_path / "moments.nc")
    with xr.open_dataset(tmp_path / "moments.nc") as loaded:
        xr.testing.assert_allclose(rs.band(loaded, of="mean", replicates=100), expected)
    earlier = paths.copy()
    del earlier.attrs["tolerance"], earlier.attrs["paths"]
    xr.testing.assert_equal(rs.band(earlier, of="mean", replicates=100), expected)
    finer = rs.band(paths.assign_attrs(tolerance=1e-4), of="mean", replicates=100)
    assert np.all(finer.upper[1:] < expected.upper[1:])


def test_interval_of_a_mean_knows_what_a_closure_was_off_by(problem, algorithm):
    theory = rs.approximate(problem, algorithm, 1.0, times=3)
    off = theory.assign_attrs(checked_mean=0.5, checked_replicates=400)
    near = theory.assign_attrs(checked_mean=0.2, checked_replicates=400)  # as chance may have it
    plain, wide, same = (rs.band(result, of="mean", replicates=1000) for result in (theory, off, near))
    xr.testing.assert_equal(plain, same)
    half = (wide.upper - wide.lower)[1:] / 2
    z = scipy.stats.norm.ppf(0.95)  # all of the bias is on one side
    np.testing.assert_allclose(half, (0.25 + z / np.sqrt(1000)) * theory.primal_std[1:], rtol=1e-3)


def test_simultaneous_interval_of_the_mean_over_all(paths):
    every, each = (rs.band(paths, of="mean", simultaneous=how) for how in ("all", "coordinate"))
    assert np.all((every.upper - every.lower)[1:] > (each.upper - each.lower)[1:])


def test_the_mean_of_one_path_says_nothing(paths):
    message = (
        "result is of a single path or run, but must be of several, whose spread is seen: draw at least two of them."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        rs.band(paths.isel(path=[0]), of="mean")


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
    for theory in (paths, rs.approximate(problem, algorithm, 2.0, times=9, method="limit", check=False)):
        for space in ("dual", "primal"):
            assert np.all(rs.coverage(runs, rs.band(theory, space=space))[0] == 1.0)


def test_works_on_what_was_saved(paths, tmp_path):
    paths.to_netcdf(tmp_path / "paths.nc")
    with xr.open_dataset(tmp_path / "paths.nc") as loaded:
        xr.testing.assert_equal(rs.band(loaded, simultaneous=True), rs.band(paths, simultaneous=True))


@pytest.mark.parametrize("freedom", [None, 3, 99])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999999])
def test_reach_of_a_biased_mean(freedom, level):
    """Its interval has the level for any bias, for one that rounding takes for none, too."""
    law = scipy.stats.norm if freedom is None else scipy.stats.t(freedom)
    for bias in (0.0, 1e-300, 1e-12, 1e-9, 1e-8, 1e-6, 1e-3, 1.0, 30.0):
        reach = _reach(level, bias, freedom)
        assert law.sf(reach - bias) + law.sf(reach + bias) == pytest.approx(1.0 - level, rel=1e-6)


def test_dimensions_may_come_in_any_order(problem, algorithm, runs, paths):
    """Results are read by the names of their dimensions."""
    options = {"times": 4, "check": False}
    theory = rs.approximate(problem, algorithm, 2.0, **options)
    summary = rs.simulate(problem, algorithm, 2.0, replicates=64, times=4, seed=1, keep="summary")
    few = paths.isel(path=slice(50))
    for result in (theory, summary, few):
        turned = result.transpose(*reversed(list(result.sizes)))
        for question in ({}, {"space": "dual"}, {"of": "mean", "replicates": 9}):
            xr.testing.assert_identical(rs.band(turned, LEVEL, **question), rs.band(result, LEVEL, **question))
    edges, many = rs.band(paths, LEVEL), runs.isel(replicate=slice(99))
    xr.testing.assert_identical(rs.coverage(many.transpose(), edges.transpose()), rs.coverage(many, edges))
    counting = {"replicates": 32, "times": 9, "seed": 1, "keep": "summary"}
    counted = rs.simulate(problem, algorithm, 2.0, inside=edges.transpose(), **counting)
    assert rs.coverage(counted, edges).dims == ("time", "coordinate")


@pytest.mark.parametrize(
    ("select", "sentence"),
    [
        (
            {"coordinate": 0},
            "result is a Dataset without the dimension 'coordinate', but must be what simulate or approximate "
            "returned, or a part of it: select with a list, for example isel(coordinate=[0]).",
        ),
        (
            {"time": []},
            "result is a Dataset with no time, but must be what simulate or approximate returned, or a part of it: "
            "select at least one.",
        ),
    ],
)
def test_parts_that_have_no_band(paths, select, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        rs.band(paths.isel(select))


def test_weights_for_fewer_coordinates(paths):
    with pytest.raises(ValueError, match="of length 2, but must be of length 4, the problem's dimension"):
        rs.band(paths, regularizer=rs.L1([1.0, 1.0]))


def test_bands_and_coverages_say_what_they_are_of(problem, algorithm, paths, runs, tmp_path):
    edges = rs.band(paths, LEVEL)
    for name, made in (("band", edges), ("coverage", rs.coverage(runs, edges))):
        made.to_netcdf(tmp_path / f"{name}.nc")
        loaded = rs.load(tmp_path / f"{name}.nc")
        assert loaded.problem == problem
        assert loaded.algorithm == algorithm
        assert loaded.result.attrs["produced_by"] == f"rdasde.{name}"
