"""The discrete algorithm: a NumPy twin, determinism, stores, divergence."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from helpers import draw_normals

import rdasde as rs
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.random import streams
from rdasde._engine import march as _march
from rdasde._engine import memory, progress


def twin(problem, algorithm, steps, seed, replicate):
    """Ten lines of NumPy: one replicate of linear regression from the normals of its stream."""
    d, gamma, mirror = problem.dimension, algorithm.step_size, algorithm.mirror
    stream, normals = streams(seed, np.array([replicate])), lane_array(d + 1 + (d + 1) % 2)
    factor = np.linalg.cholesky(problem.covariance.dense())
    g = algorithm.thresholds(np.arange(steps + 1) * gamma)
    v = np.zeros(d)
    path = [v]
    for n in range(1, steps + 1):
        w, gradient = mirror.prox(v, g[n - 1]), np.zeros(d)
        for _ in range(algorithm.batch_size):
            draw_normals(stream, normals)
            x = factor @ normals[:d, 0]
            gradient += x * (x @ (w - problem.coef) - problem.noise_std * normals[d, 0])
        v = v - gamma / algorithm.batch_size * gradient
        path.append(v)
    return np.array(path), mirror.prox(np.array(path), g[:, None])


DESIGNS = {"identity": None, "diagonal": np.linspace(0.5, 2.0, 5), "AR1": rs.AR1(5, 0.6), "dense": np.eye(5) + 0.3}


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("design", DESIGNS)
def test_equals_its_twin(design, batch_size):
    problem = rs.LinearRegression([0.5, -0.4, 0.0, 0.0, 0.1], DESIGNS[design], noise_std=0.7)
    algorithm = rs.RDA(0.02, rs.L1([1, 1, 2, 0, 1]), rs.PowerLaw(0.5, 0.6), batch_size=batch_size)
    runs = rs.simulate(problem, algorithm, 2.0, replicates=[0, 5, 40], times=101, seed=3)
    for replicate in (0, 5, 40):
        dual, primal = twin(problem, algorithm, 100, 3, replicate)
        np.testing.assert_allclose(runs.dual.sel(replicate=replicate), dual, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(runs.primal.sel(replicate=replicate), primal, rtol=1e-11, atol=1e-13)


def test_rows_are_drawn_uniformly_and_followed():
    """With noise-free rows and one of them at a time, a step is exactly the one of some row."""
    generator = np.random.default_rng(0)
    rows, response = generator.standard_normal((7, 3)), generator.standard_normal(7)
    problem = rs.LinearRegression.from_data(rows, response)
    runs = rs.simulate(problem, rs.RDA(0.1), 0.1, replicates=7000, times=2, seed=1)
    step = runs.dual.values[:, 1] / 0.1  # from v = 0: row times response
    distance = np.abs(step[:, None] - rows * response[:, None]).max(axis=2)
    assert distance.min(axis=1).max() < 1e-12
    # null: uniform over 7 rows; chi-square, 1e-4
    assert scipy.stats.chisquare(np.bincount(distance.argmin(axis=1), minlength=7)).pvalue > 1e-4


def test_labels(small_problem, small_algorithm):
    runs = rs.simulate(small_problem, small_algorithm, 1.0, replicates=3, times=[0.1, 0.104, 0.5], seed=0)
    assert runs.dual.dims == runs.primal.dims == ("replicate", "time", "coordinate")
    np.testing.assert_allclose(runs.time, [0.1, 0.5])  # rounded to steps, duplicates dropped
    np.testing.assert_allclose(runs.threshold, 0.5 * np.sqrt(0.01) * runs.time**0.6)
    assert runs.attrs["seed"] == 0
    assert runs.attrs["diverged"] == 0
    fresh = rs.simulate(small_problem, small_algorithm, 1.0)
    again = rs.simulate(small_problem, small_algorithm, 1.0, seed=fresh.attrs["seed"])
    xr.testing.assert_identical(fresh, again)


def test_starts_from_the_dual(small_problem, small_algorithm):
    start = np.array([1.0, -0.5, 0.0, 0.01, 0.0, 0.0])
    algorithm = rs.RDA(0.01, rs.L1(), rs.Constant(0.1))
    runs = rs.simulate(small_problem, algorithm, 0.1, start=start, seed=0)
    np.testing.assert_allclose(runs.dual[0, 0], start)
    np.testing.assert_allclose(runs.primal[0, 0], [0.9, -0.4, 0.0, 0.0, 0.0, 0.0])


def test_same_bits_for_any_executor_and_number_of_replicates(small_problem, small_algorithm):
    def run(**options):
        return rs.simulate(small_problem, small_algorithm, 1.0, seed=8, times=11, **options)

    reference = run(replicates=40)
    with concurrent.futures.ThreadPoolExecutor(1) as one, concurrent.futures.ThreadPoolExecutor(5) as five:
        for executor in (one, five):
            xr.testing.assert_identical(reference, run(replicates=40, executor=executor))
    more = run(replicates=100)
    xr.testing.assert_identical(reference.dual, more.dual[:40])
    replayed = run(replicates=[37, 3])
    np.testing.assert_array_equal(replayed.dual, reference.dual[[37, 3]])
    kept = run(replicates=40, coordinates=[4, 1])
    np.testing.assert_array_equal(kept.dual, reference.dual[:, :, [4, 1]])


def test_same_bits_in_other_processes(small_problem, small_algorithm):
    options = {"seed": 8, "times": 11, "replicates": 40}
    with concurrent.futures.ProcessPoolExecutor(2) as processes:
        elsewhere = rs.simulate(small_problem, small_algorithm, 1.0, executor=processes, **options)
    xr.testing.assert_identical(elsewhere, rs.simulate(small_problem, small_algorithm, 1.0, **options))


def test_same_bits_however_a_run_is_cut(small_problem, small_algorithm, monkeypatch):
    whole = rs.simulate(small_problem, small_algorithm, 1.0, seed=8, replicates=3, times=21)
    monkeypatch.setattr(_march, "_WORK", 7 * 6 * LANES)
    monkeypatch.setattr(_march, "_BUFFER", 2 * 6 * LANES)
    xr.testing.assert_identical(whole, rs.simulate(small_problem, small_algorithm, 1.0, seed=8, replicates=3, times=21))


def test_summary_is_that_of_the_paths(small_problem, small_algorithm):
    options = {"replicates": 50, "seed": 2, "times": 6, "coordinates": [0, 3, 5]}
    paths = rs.simulate(small_problem, small_algorithm, 1.0, **options)
    summary = rs.simulate(small_problem, small_algorithm, 1.0, keep="summary", **options)
    for space in ("dual", "primal"):
        np.testing.assert_allclose(summary[f"{space}_mean"], paths[space].mean("replicate"), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(summary[f"{space}_std"], paths[space].std("replicate", ddof=1), rtol=1e-10)
    np.testing.assert_allclose(summary.probability_zero, (paths.primal == 0.0).mean("replicate"))
    assert summary.attrs["replicates"] == 50


def test_statistics_by_state_or_all_at_once(small_problem, small_algorithm):
    statistics = {
        "norm": lambda w: (w**2).sum(-1),
        "count": lambda w: int(np.count_nonzero(w)),
        "first": lambda w: w[0],
    }
    options = {"replicates": 20, "seed": 2, "times": 6}
    paths = rs.simulate(small_problem, small_algorithm, 1.0, **options)
    runs = rs.simulate(
        small_problem, small_algorithm, 1.0, keep="summary", coordinates=[1], statistics=statistics, **options
    )
    np.testing.assert_allclose(runs.norm, (paths.primal**2).sum("coordinate"))
    np.testing.assert_allclose(runs["count"], (paths.primal != 0.0).sum("coordinate"))
    np.testing.assert_allclose(runs["first"], paths.primal[:, :, 0])
    assert runs.norm.dims == ("replicate", "time")


def test_quadratic_variation():
    """Theory, section 7: E (v_j(n+1) - v_j(n))^2 = gamma^2 [H_jj (sigma^2 + e'He) + 2 (He)_j^2] from a fixed state."""
    # null: that mean. 16 000 first steps from one start; z-scores in 4 coordinates beyond 4.2 with probability 1e-4
    problem = rs.LinearRegression([0.5, 0.0, -0.2, 0.1], rs.AR1(4, 0.5), noise_std=0.8)
    gamma, start = 1e-3, np.array([0.0, 0.3, 0.2, -0.1])
    runs = rs.simulate(problem, rs.RDA(gamma), gamma, replicates=16_000, times=2, start=start, seed=4)
    squares = np.diff(runs.dual.values, axis=1)[:, 0] ** 2
    error = start - problem.coef
    gradient = problem.hessian(start) @ error
    exact = gamma**2 * (np.diag(problem.hessian(start)) * (0.64 + error @ gradient) + 2.0 * gradient**2)
    z = (squares.mean(axis=0) - exact) / squares.std(axis=0) * np.sqrt(len(squares))
    assert np.abs(z).max() < 4.2


def test_saved_and_loaded(small_problem, small_algorithm, tmp_path):
    runs = rs.simulate(small_problem, small_algorithm, 1.0, replicates=3, times=5, seed=0)
    runs.to_netcdf(tmp_path / "runs.nc")
    with xr.open_dataset(tmp_path / "runs.nc") as loaded:
        xr.testing.assert_equal(loaded, runs)
        xr.testing.assert_equal(rs.band(loaded), rs.band(runs))


class TestStore:
    """Finished blocks survive; a resumed run has the same numbers."""

    options = {"seed": 5, "replicates": 40, "times": 5}

    def test_resumes_to_the_same_numbers(self, small_problem, small_algorithm, tmp_path):
        plain = rs.simulate(small_problem, small_algorithm, 1.0, **self.options)
        first = rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path / "run", **self.options)
        files = sorted((tmp_path / "run").glob("block-*.npz"))
        assert len(files) == 3
        stamps = [file.stat().st_mtime_ns for file in files]
        files[1].unlink()
        second = rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path / "run", **self.options)
        xr.testing.assert_identical(first, plain)
        xr.testing.assert_identical(second, plain)
        assert files[0].stat().st_mtime_ns == stamps[0]  # not computed again

    def test_statistics_of_one_name_are_told_apart(self, small_problem, small_algorithm, tmp_path):
        """By what they give: also where only a captured number of a function changed."""

        def sizes(factor, **where):
            size = {"size": lambda w: factor * (w**2).sum(axis=-1)}
            return rs.simulate(small_problem, small_algorithm, 1.0, statistics=size, **where, **self.options)

        first = sizes(1.0, store=tmp_path)
        xr.testing.assert_identical(first, sizes(1.0, store=tmp_path))
        with pytest.raises(ValueError, match=r"a directory with another run \(it differs in values_of_statistics\)"):
            sizes(2.0, store=tmp_path)

    @pytest.mark.parametrize("place", ["file", "file/below", "nul\0"])
    def test_a_place_where_no_directory_can_be(self, small_problem, small_algorithm, tmp_path, place):
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match=r"^store is .*, which cannot be made \(.*\), but must be a directory"):
            rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path / place, **self.options)

    def test_takes_the_seed_that_is_there(self, small_problem, small_algorithm, tmp_path):
        first = rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path)
        xr.testing.assert_identical(first, rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path))

    def test_grows_with_more_replicates(self, small_problem, small_algorithm, tmp_path):
        few = self.options | {"replicates": 32}
        rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path, **few)
        rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path, **self.options)
        assert len(list(tmp_path.glob("block-*.npz"))) == 3

    def test_refuses_another_run(self, small_problem, small_algorithm, tmp_path):
        rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path, **self.options)
        with pytest.raises(ValueError, match=r"differs in seed\).*give another path"):
            rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path, **(self.options | {"seed": 6}))

    def test_a_killed_run_goes_on(self, tmp_path):
        script = """
import sys
import rdasde as rs
problem = rs.LinearRegression([0.5] * 20, rs.AR1(20, 0.5))
rs.simulate(problem, rs.RDA(1e-4), 8.0, replicates=96, times=3, seed=1, store=sys.argv[1])
"""
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "run")])
        deadline = time.monotonic() + 120.0
        while not list((tmp_path / "run").glob("block-*.npz")) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        finished = list((tmp_path / "run").glob("block-*.npz"))
        assert finished
        problem, options = rs.LinearRegression([0.5] * 20, rs.AR1(20, 0.5)), {"replicates": 96, "times": 3, "seed": 1}
        resumed = rs.simulate(problem, rs.RDA(1e-4), 8.0, store=tmp_path / "run", **options)
        xr.testing.assert_identical(resumed, rs.simulate(problem, rs.RDA(1e-4), 8.0, **options))

    def test_holds_no_pickles(self, small_problem, small_algorithm, tmp_path):
        rs.simulate(small_problem, small_algorithm, 1.0, store=tmp_path, **self.options)
        for file in tmp_path.glob("*.npz"):
            with np.load(file, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype != object for name in arrays.files)
        json.loads((tmp_path / "run.json").read_text())


def _kill_this_worker(*_):
    os._exit(1)


def test_a_dead_worker_costs_nothing(small_problem, small_algorithm):
    options = {"seed": 8, "times": 11, "replicates": 40}
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        broken = processes.submit(_kill_this_worker)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            broken.result()
        with pytest.warns(RuntimeWarning, match="A worker died"):
            runs = rs.simulate(small_problem, small_algorithm, 1.0, executor=processes, **options)
    xr.testing.assert_identical(runs, rs.simulate(small_problem, small_algorithm, 1.0, **options))


def test_an_interrupt_carries_what_was_finished(small_problem, small_algorithm, monkeypatch):
    reference = rs.simulate(small_problem, small_algorithm, 1.0, seed=8, replicates=40, times=3)
    seen = []

    def result(self, timeout=None, get=concurrent.futures.Future.result):
        seen.append(self)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return get(self, timeout)

    monkeypatch.setattr(concurrent.futures.Future, "result", result)
    with pytest.raises(KeyboardInterrupt) as caught:
        rs.simulate(small_problem, small_algorithm, 1.0, seed=8, replicates=40, times=3)
    partial = caught.value.partial
    np.testing.assert_array_equal(partial.dual[:16], reference.dual[:16])
    assert np.isnan(partial.dual[16:]).all()


class TestDivergence:
    """gamma tr(H) far past stability."""

    problem = rs.LinearRegression([0.5, 0.0], noise_std=1.0)
    algorithm = rs.RDA(3.0)

    def run(self, **options):
        with pytest.warns(rs.StabilityWarning, match="take a smaller step or a larger batch"):
            return rs.simulate(self.problem, self.algorithm, 6000.0, seed=0, times=41, **options)

    def exact_step(self, replicate):
        with np.errstate(all="ignore"):
            dual, _ = twin(self.problem, self.algorithm, 2000, 0, replicate)
        return int(np.argmin(np.isfinite(dual).all(axis=1)))

    def test_raises_with_what_it_had(self):
        with pytest.raises(
            rs.DivergenceError, match=r"trace of the Hessian is 6 .* take a smaller step_size"
        ) as caught:
            self.run(replicates=3)
        error = caught.value
        assert error.replicate == 0
        assert error.step == self.exact_step(0)
        assert error.time == error.step * 3.0
        late = error.partial.time.values >= error.time
        assert 0 < late.sum() < len(late)
        assert np.isnan(error.partial.dual[0, late]).all()
        assert np.isfinite(error.partial.dual[0, ~late]).all()

    def test_keeps_and_counts(self):
        runs = self.run(replicates=3, on_divergence="keep")
        assert runs.attrs["diverged"] == 3
        for replicate in range(3):
            late = runs.time.values >= 3.0 * self.exact_step(replicate)
            assert np.isnan(runs.dual[replicate, late]).all()
            assert np.isnan(runs.primal[replicate, late]).all()
            assert np.isfinite(runs.dual[replicate, ~late]).all()

    def test_keeps_in_a_summary(self):
        runs = self.run(replicates=3, on_divergence="keep", keep="summary")
        assert runs.attrs["diverged"] == 3
        assert np.isnan(runs.dual_mean[-1]).all()
        assert np.isnan(runs.probability_zero[-1]).all()

    def test_travels_between_processes(self):
        import pickle

        with pytest.raises(rs.DivergenceError) as caught:
            self.run()
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (copy.step, copy.replicate, str(copy)) == (caught.value.step, 0, str(caught.value))


def test_memory_is_estimated_before_the_start(small_problem, small_algorithm, monkeypatch):
    monkeypatch.setattr(memory, "_available_memory", lambda: 1e6)
    with pytest.raises(MemoryError, match=r'The result would take .* GiB, .* use keep="summary"'):
        rs.simulate(small_problem, small_algorithm, 1.0, replicates=1000)
    rs.simulate(small_problem, small_algorithm, 1.0, replicates=100, keep="summary")


def test_a_bar_for_who_wants_one(small_problem, small_algorithm, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SILENT", 0.0)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # another test may have started a notebook
    rs.simulate(small_problem, small_algorithm, 1.0, replicates=40)
    assert capsys.readouterr().err == ""  # no terminal
    rs.simulate(small_problem, small_algorithm, 1.0, replicates=40, progress=True)
    bar = capsys.readouterr().err
    assert "simulate: 100%" in bar
    assert "4.00k/4.00k" in bar
