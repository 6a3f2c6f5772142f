"""Runs that are interrupted, workers that die, results that are saved."""

import concurrent.futures
import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import xarray as xr

import rdasde as rs
from rdasde import _check
from rdasde._approximations import limit
from rdasde._approximations.check import price_of_a_step
from rdasde._compiled.jit import Kernel
from rdasde._engine import march
from rdasde._engine.blocks import run_blocks
from rdasde._engine.progress import Progress, Signals
from rdasde._engine.run import MonteCarlo, Run
from rdasde._engine.time_axis import time_axis
from rdasde._errors import note_partial

PROBLEM, RULE = rs.LinearRegression([0.5, 0.0]), rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))


def signals():
    return Signals(Progress(False, 1, "test"))


def test_an_interrupt_does_not_wait_for_threads():
    """One thread is deaf for a while, as when it compiles."""
    deaf = threading.Event()

    def task(job, block, signals):
        deaf.wait(20.0)
        return {}

    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(run_blocks(task, None, [np.arange(2)], executor=None, signals=signals(), steps=1))
    assert time.monotonic() - begin < 10.0
    deaf.set()


@pytest.mark.parametrize("store", [False, True])
def test_an_interrupt_says_what_it_holds(monkeypatch, tmp_path, store):
    from rdasde._simulation import simulate

    def blocks(*arguments, **named):
        yield from list(run_blocks(*arguments, **named))[:1]
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "run_blocks", blocks)
    with pytest.raises(KeyboardInterrupt) as caught:
        rs.simulate(PROBLEM, RULE, 0.1, replicates=40, seed=0, store=tmp_path if store else None)
    note = caught.value.__notes__[-1]
    assert note.startswith("rdasde: .partial of this KeyboardInterrupt (sys.last_value) holds the 16 of 40 replicates")
    assert int(caught.value.partial.primal.notnull().all(("time", "coordinate")).sum()) == 16


def test_steps_are_cut_by_the_clock(monkeypatch):
    """Calls of a slow kernel shrink until an interrupt would be heard in time; those of a fast one grow."""
    for seconds, expected in ((0.05, 1), (0.0, 2**10)):
        lengths, clock = [], [0.0]
        monkeypatch.setattr(march.time, "perf_counter", lambda clock=clock: clock[0])

        def kernel(begin, end, steps, dual, primal, average, seconds=seconds, lengths=lengths, clock=clock):
            lengths.append(end - begin)
            clock[0] += seconds * (end - begin)

        state = (np.zeros((2**12, 16)), np.zeros((2**12, 16)), np.zeros((0, 16)), ())
        steps = np.array([0, 4000])
        march.march(kernel, state, np.arange(1), steps, 1, lambda *_: None, None, stop_at_divergence=True)
        assert sum(lengths) == 4000
        assert lengths[0] == 16
        if expected == 1:
            assert max(lengths[1:-1]) * seconds <= march._LONG
        else:
            assert max(lengths) >= expected


class KilledWorker(Exception):
    """As Dask's."""


class Dying(concurrent.futures.Executor):
    def submit(self, function, /, *arguments, **named):
        future = concurrent.futures.Future()
        future.set_exception(KilledWorker("worker killed"))
        return future


def test_blocks_of_workers_that_dask_gives_up_are_computed_here(monkeypatch):
    monkeypatch.setattr(KilledWorker, "__module__", "distributed.scheduler")
    with pytest.warns(RuntimeWarning, match="A worker died; its replicates are computed in this process") as caught:
        runs = rs.simulate(PROBLEM, RULE, 0.1, replicates=20, seed=0, executor=Dying())
    assert {warning.filename for warning in caught} == {__file__}
    xr.testing.assert_identical(runs, rs.simulate(PROBLEM, RULE, 0.1, replicates=20, seed=0))
    monkeypatch.setattr(KilledWorker, "__module__", "elsewhere")
    with pytest.raises(KilledWorker):
        rs.simulate(PROBLEM, RULE, 0.1, replicates=20, seed=0, executor=Dying())


def test_seeds_that_are_drawn_fit_every_file():
    assert all(0 <= _check.seed(None) < 2**31 for _ in range(200))
    assert len({_check.seed(None) for _ in range(20)}) == 20
    assert _check.kept_seed(5) == 5
    assert _check.kept_seed(2**31) == "2147483648"
    assert _check.seed("2147483648") == 2**31
    with pytest.raises(TypeError, match="seed"):
        _check.seed("many")


def results(seed):
    """Of the verbs, by name."""
    runs = rs.simulate(
        PROBLEM, RULE, 0.2, replicates=20, times=3, seed=seed, statistics={"norm": lambda w: (w**2).sum(-1)}
    )
    law = rs.approximate(PROBLEM, RULE, 0.2, times=3, check=False)
    paths = rs.approximate(PROBLEM, RULE, 0.2, times=3, method="paths", paths=50, seed=seed, check=True)
    yield "runs", runs
    yield "summary", rs.simulate(PROBLEM, RULE, 0.2, replicates=20, times=3, seed=seed, keep="summary")
    yield "some", rs.simulate(PROBLEM, RULE, 0.2, replicates=[3, 5], times=3, seed=seed, coordinates=[1])
    yield "law", law
    yield "paths", paths
    yield "limit", rs.approximate(PROBLEM, RULE, 0.2, times=3, method="limit", paths=50, seed=seed)
    band = rs.band(law)
    yield "band", band
    yield "mean", rs.band(paths, 0.8, of="mean", simultaneous=True)
    yield "coverage", rs.coverage(runs, band).to_dataset(name="coverage")


@pytest.mark.parametrize("seed", [None, 7, 2**62 + 1])
def test_results_save_without_further_packages(tmp_path, seed):
    """NetCDF-3, all that SciPy writes; the seed that is loaded replays the run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rs.AccuracyWarning)
        kept = dict(results(seed))
    for name, result in kept.items():
        result.to_netcdf(tmp_path / f"{name}.nc", engine="scipy")
        again = xr.load_dataset(tmp_path / f"{name}.nc", engine="scipy")
        xr.testing.assert_equal(again, result)
        assert again.attrs.keys() == result.attrs.keys()
        for key, value in result.attrs.items():
            assert again.attrs[key] == value, (name, key)
    loaded = xr.load_dataset(tmp_path / "runs.nc", engine="scipy")
    replay = rs.simulate(PROBLEM, RULE, 0.2, replicates=loaded.replicate, times=loaded.time, seed=loaded.attrs["seed"])
    xr.testing.assert_equal(replay.primal, kept["runs"].primal)
    rs.band(xr.load_dataset(tmp_path / "law.nc", engine="scipy"))


def test_an_interrupt_of_the_check_leaves_the_law(monkeypatch):
    """Nor does what was run for the check pass for the result."""
    law = rs.approximate(PROBLEM, RULE, 0.5, check=False)

    def interrupted(*arguments, **named):
        interrupt = KeyboardInterrupt()
        note_partial(interrupt, {"dual": None}, "the 0 of 32 replicates that were done")
        raise interrupt

    monkeypatch.setattr("rdasde._approximations.check.simulate", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        rs.approximate(PROBLEM, RULE, 0.5, check=True)
    assert caught.value.__notes__ == [
        "rdasde: .partial of this KeyboardInterrupt (sys.last_value) holds the law, which was not yet compared with "
        "runs of the algorithm."
    ]
    xr.testing.assert_equal(caught.value.partial, law)
    run = Run(PROBLEM, RULE, np.zeros(2), time_axis(0.5, 5, 0.01))
    with pytest.raises(KeyboardInterrupt) as caught:
        price_of_a_step(run, MonteCarlo(1, 0))
    assert not hasattr(caught.value, "partial")


def test_an_interrupt_of_the_limit_holds_states_and_not_fluctuations(monkeypatch):
    """Of the paths that were done, on the scale of the result."""
    rule = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.5))
    whole = rs.approximate(PROBLEM, rule, 0.5, method="limit", paths=8, seed=0, times=3, check=False)
    paths = limit.fluctuation_paths

    def interrupted(*arguments):
        interrupt = KeyboardInterrupt()
        note_partial(interrupt, dict(zip(("dual", "primal"), paths(*arguments), strict=True)), "the paths")
        raise interrupt

    monkeypatch.setattr(limit, "fluctuation_paths", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        rs.approximate(PROBLEM, rule, 0.5, method="limit", paths=8, seed=0, times=3, check=False)
    for space in ("dual", "primal"):
        np.testing.assert_allclose(caught.value.partial[space], whole[space], rtol=1e-12, atol=1e-15)


def test_an_interrupt_that_machine_code_is_lost_in_is_one(monkeypatch):
    """LLVM hands code over in a callback that no exception leaves; numba then says that there is none."""
    dispatcher = Kernel(lambda x: x + 1.0).dispatcher()

    def lost(*arguments):
        raise RuntimeError("no compiled object yet for <Library>")

    monkeypatch.setattr(type(dispatcher._cache._impl), "reduce", lost)
    with pytest.raises(KeyboardInterrupt):
        dispatcher(1.0)
    assert dispatcher(1.0) == 2.0
