"""Blocks of replicates on a real Dask cluster, whose workers are killed."""

import os
import signal
import threading
import warnings
from collections import Counter

import numpy as np
import pytest

import rdasde as rs
from rdasde._engine.store import Store

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

KILLED_AT = (5, 20, 40)  # of so many blocks that are finished
REPLICATES, IN_A_BLOCK = 1600, 16
PROBLEM = rs.LinearRegression(np.linspace(-1.0, 1.0, 50), rs.AR1(50, 0.5))
RULE = rs.RDA(1e-4, rs.L1(), rs.PowerLaw(0.5, 0.6))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Dask's own, on workers that are gone
@pytest.mark.parametrize("allowed_failures", [0, 10])
def test_workers_that_are_killed_three_times(tmp_path, monkeypatch, allowed_failures):
    """The same bits as in this process; no block that was finished is kept a second time."""
    saved, done = Counter(), threading.Event()
    save = Store.save

    def counted(store, block, arrays):
        saved[int(block[0])] += 1
        save(store, block, arrays)

    monkeypatch.setattr(Store, "save", counted)
    generator = np.random.default_rng(7)
    killed = []

    def kill(cluster):
        for blocks in KILLED_AT:
            while len(list(tmp_path.glob("block-*.npz"))) < blocks and not done.wait(0.01):
                pass
            alive = [nanny.pid for nanny in cluster.workers.values() if nanny.pid]
            if alive and not done.is_set():
                killed.append(int(generator.choice(alive)))
                os.kill(killed[-1], signal.SIGKILL)

    settings = {"distributed.scheduler.allowed-failures": allowed_failures}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(processes=True, n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        killer = threading.Thread(target=kill, args=(cluster,))
        killer.start()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", RuntimeWarning)
                runs = rs.simulate(
                    PROBLEM,
                    RULE,
                    1.0,
                    replicates=REPLICATES,
                    times=3,
                    seed=3,
                    executor=client.get_executor(),
                    store=tmp_path,
                )
        finally:
            done.set()
            killer.join()
    assert len(killed) == 3
    assert len(saved) == REPLICATES // IN_A_BLOCK
    assert set(saved.values()) == {1}
    here = rs.simulate(PROBLEM, RULE, 1.0, replicates=REPLICATES, times=3, seed=3)
    assert runs.identical(here)
    said = [str(warning.message) for warning in caught if "A worker died" in str(warning.message)]
    assert not said or allowed_failures == 0  # Dask gives a block to another worker where it may
