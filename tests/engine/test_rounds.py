"""Ctrl-C and kill -9 at random moments, many times: nothing that was finished is lost, nothing is counted twice."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import rdasde as rs

PROBLEM = rs.LinearRegression(np.linspace(-1.0, 1.0, 20), rs.AR1(20, 0.5))
RULE = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(0.5, 0.6))
RUNS = {"replicates": 320, "times": 5, "seed": 3}
PATHS = {"method": "paths", "paths": 320, "times": 5, "seed": 3, "check": False}
WEAK = {
    "step_sizes": [0.02, 0.01],
    "test_functions": {"risk": lambda w: (w**2).sum(axis=-1)},
    "replicates": 4000,
    "paths": 4000,
    "seed": 3,
}
ROUNDS = 100
HEARD_WITHIN = 2.0  # seconds


@contextlib.contextmanager
def ctrl_c_after(seconds):
    """The signal itself, from a timer."""
    before = signal.signal(signal.SIGALRM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def interrupted(work, seconds):
    """What the work returned, or the interrupt that ended it, and how long after the signal."""
    begin = time.monotonic()
    try:
        with ctrl_c_after(seconds):
            return work(), None, 0.0
    except KeyboardInterrupt as error:
        return None, error, time.monotonic() - begin - seconds


def seconds_of(work):
    work()
    begin = time.monotonic()
    result = work()
    return result, time.monotonic() - begin


def assert_finished_part(partial, whole, dimension):
    """Every replicate of a partial result is whole and right, or not there."""
    there = partial["dual"].notnull().all([name for name in partial["dual"].dims if name != dimension])
    nothing = partial["dual"].isnull().all([name for name in partial["dual"].dims if name != dimension])
    assert bool((there | nothing).all())
    for name in ("dual", "primal"):
        got, right = (result[name].sel({dimension: there.values}) for result in (partial, whole))
        np.testing.assert_array_equal(got.values, right.values)
    return int(there.sum())


@pytest.mark.slow
def test_simulate_and_its_store(tmp_path):
    whole, seconds = seconds_of(lambda: rs.simulate(PROBLEM, RULE, 5.0, **RUNS))
    generator, stopped, found = np.random.default_rng(1), 0, set()
    for number in range(ROUNDS):
        store = tmp_path / str(number) if number % 2 else None
        _, error, late = interrupted(
            lambda store=store: rs.simulate(PROBLEM, RULE, 5.0, store=store, **RUNS), generator.uniform(0.0, seconds)
        )
        if error is None:
            continue
        stopped += 1
        assert late < HEARD_WITHIN
        partial = getattr(error, "partial", None)
        if partial is not None:
            found.add(assert_finished_part(partial, whole, "replicate"))
        if store is not None and store.exists():
            kept = {file.name: file.stat().st_mtime_ns for file in store.glob("block-*.npz")}
            assert rs.simulate(PROBLEM, RULE, 5.0, store=store, **RUNS).identical(whole)
            assert all((store / name).stat().st_mtime_ns == when for name, when in kept.items())
            assert not list(store.glob("*.part"))
    assert stopped > ROUNDS / 3
    assert len(found) > 2  # moments differ, and so does what was finished


@pytest.mark.slow
def test_paths():
    whole, seconds = seconds_of(lambda: rs.approximate(PROBLEM, RULE, 5.0, **PATHS))
    generator, stopped = np.random.default_rng(2), 0
    for _ in range(ROUNDS):
        _, error, late = interrupted(
            lambda: rs.approximate(PROBLEM, RULE, 5.0, **PATHS), generator.uniform(0.0, seconds)
        )
        if error is not None:
            stopped += 1
            assert late < HEARD_WITHIN
            for name, finished in (getattr(error, "partial", None) or {}).items():
                np.testing.assert_array_equal(finished, whole[name].values[: len(finished)])
    assert stopped > ROUNDS / 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*too few:UserWarning")
def test_weak_error():
    _, seconds = seconds_of(lambda: rs.weak_error(PROBLEM, RULE, 1.0, **WEAK))
    generator, stopped = np.random.default_rng(3), 0
    for _ in range(ROUNDS // 4):
        _, error, late = interrupted(lambda: rs.weak_error(PROBLEM, RULE, 1.0, **WEAK), generator.uniform(0.0, seconds))
        if error is not None:
            stopped += 1
            assert late < HEARD_WITHIN
    assert stopped > ROUNDS / 12


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from test_rounds import PROBLEM, RULE, RUNS, rs
print("begins", flush=True)
rs.simulate(PROBLEM, RULE, 50.0, store=sys.argv[1], **RUNS)
"""


@pytest.mark.slow
def test_kill(tmp_path):
    """The process itself is killed; whoever comes after it goes on from what it had."""
    whole = rs.simulate(PROBLEM, RULE, 50.0, **RUNS)
    script = SCRIPT.format(folder=os.path.dirname(__file__))
    generator, kept = np.random.default_rng(4), []
    for number in range(20):
        store = tmp_path / str(number)
        wanted = generator.integers(0, RUNS["replicates"] // 16)
        with subprocess.Popen([sys.executable, "-c", script, str(store)], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            while len(list(store.glob("block-*.npz"))) < wanted and process.poll() is None:
                time.sleep(0.001)
            time.sleep(generator.uniform(0.0, 0.02))
            process.kill()
        kept.append(len(list(store.glob("block-*.npz"))))
        assert rs.simulate(PROBLEM, RULE, 50.0, store=store, **RUNS).identical(whole)
    assert len(set(kept)) > 3
