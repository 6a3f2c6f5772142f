"""Measure rdasde in one run: ``python benchmarks/run.py`` prints a report and writes it beside this file.

What is compared is interleaved (A B A B ...), so that drift of the machine hits all alike; ratios are taken within
each round. Nothing here is a test: only that the peers simulate the same law is asserted.

BLAS and OpenMP are held to one thread, here and in child processes, so that "one thread" means one for everybody;
it is set before NumPy is imported. Two threads are rdasde's own.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import importlib.metadata
import platform
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import peers

import rdasde as rs
from rdasde._ensemble import workers
from rdasde._figures import published
from rdasde._random import LANES, lane_array, streams

RESULTS = Path(__file__).with_name("results.md")
D, REPLICATES, STEPS, STEP_SIZE = 200, 200, 2000, 1e-3
HORIZON = STEPS * STEP_SIZE
ONE, TWO = ThreadPoolExecutor(1), ThreadPoolExecutor(2)


# How it is measured and written


def children_clock():
    """Wall seconds, and processor seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.perf_counter(), used.ru_utime + used.ru_stime])


def interleave(measures, rounds, *, least=0.0, clock=time.perf_counter):
    """By name, what `clock` advances by in each round; what takes under `least` seconds is repeated, and averaged."""
    taken = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            begun, start, repeated = time.perf_counter(), clock(), 0
            while repeated == 0 or time.perf_counter() - begun < least:
                measure()
                repeated += 1
            taken[name].append((clock() - start) / repeated)
    return {name: np.array(values) for name, values in taken.items()}


def spread(values, digits=3):
    """Median and range."""
    middle, low, high = (f"{x:#.{digits}g}".rstrip(".") for x in (np.median(values), np.min(values), np.max(values)))
    return f"{middle} [{low} .. {high}]" if np.size(values) > 1 else middle


def ceiling(replicates):
    """What a second core can gain, at most: replicates run in blocks of LANES."""
    blocks = -(-replicates // LANES)
    return f"{blocks} blocks, at most {blocks / -(-blocks // 2):.2f}"


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


# What is measured: each returns its section of the report


def random_numbers(rounds=9, repetitions=5000):
    shape = (200, LANES)
    ours, stream = lane_array(shape[0]), streams(0, np.arange(LANES))
    theirs = np.empty(shape)

    def fill(bits):
        generator = np.random.Generator(bits)
        return lambda: [generator.standard_normal(out=theirs) for _ in range(repetitions)]

    measures = {
        "rdasde": lambda: peers.fill(stream, ours, repetitions),
        "NumPy, SFC64": fill(np.random.SFC64(0)),
        "NumPy, PCG64": fill(np.random.PCG64(0)),
    }
    measures["rdasde"]()
    taken = interleave(measures, rounds)
    rows = [
        [name, spread(1e9 * t / (repetitions * ours.size)), spread(t / taken["rdasde"]) if name != "rdasde" else ""]
        for name, t in taken.items()
    ]
    title = f"## Random numbers\n\nStandard normals into an array {shape[0]} x {shape[1]}, one core, {rounds} rounds.\n"
    return title + "\n" + table(["generator", "ns a normal", "times rdasde"], rows)


def covariances():
    factor = np.random.default_rng(0).standard_normal((D, 2 * D))
    return {"identity": None, "AR1(200, 0.8)": rs.AR1(D, 0.8), "dense": factor @ factor.T / (4 * D) + np.eye(D) / 2}


def simulation(rounds=5):
    coef = np.repeat([0.5, -0.5, 0.0], [50, 50, 100])
    algorithm = rs.RDA(STEP_SIZE, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    problems = {name: rs.LinearRegression(coef, covariance) for name, covariance in covariances().items()}
    generator, buffer = peers.sfc64(0), np.empty((REPLICATES, D + 1))

    def ours(problem, executor):
        return rs.simulate(
            problem, algorithm, HORIZON, replicates=REPLICATES, keep="summary", seed=0, executor=executor
        )

    def variants(problem):
        return {
            "rdasde, one thread": lambda: ours(problem, ONE),
            "rdasde, two threads": lambda: ours(problem, TWO),
            "NumPy": lambda: peers.vectorized(problem, algorithm, HORIZON, REPLICATES, seed=1),
            "scalar numba": lambda: peers.scalar(problem, algorithm, HORIZON, REPLICATES, seed=2),
        }

    measures = {"SFC64": lambda: [generator.standard_normal(out=buffer) for _ in range(STEPS)]}
    for name, problem in problems.items():
        results = [simulate() for simulate in variants(problem).values()]  # compiles, and checks
        assert results[0].identical(results[1])
        for theirs in results[2:]:
            peers.check(results[0], theirs, REPLICATES)
        measures |= {(name, who): simulate for who, simulate in variants(problem).items()}
    taken = interleave(measures, rounds, least=0.5)

    sfc64 = taken.pop("SFC64")
    seconds = [
        [*key, spread(t), spread(1e9 * t / (D * REPLICATES * STEPS)), spread(t / sfc64)] for key, t in taken.items()
    ]
    ratios = []
    for name in problems:
        one, two, numpy, scalar = (taken[name, who] for who in variants(problems[name]))
        ratios.append([name, spread(numpy / one), spread(scalar / one), spread(one / two)])
    return "\n".join(
        [
            "## `simulate`\n",
            f"Linear regression, d = {D}, {REPLICATES} replicates x {STEPS} steps, L1 with a power law, summaries at "
            f"201 times, {rounds} rounds of at least 0.5 s. `NumPy` is vectorized over replicates and draws from one "
            "SFC64 generator; `scalar numba` is a loop over coordinates with an SFC64 generator for each replicate; "
            "both run on one thread, and were checked to have the same means and deviations. SFC64 alone fills as many "
            f"normals ({REPLICATES} x {D + 1} a step) in {spread(sfc64)} s. The second core: {ceiling(REPLICATES)}.\n",
            table(["covariance", "", "seconds", "ns a coordinate-step", "times SFC64 alone"], seconds),
            table(
                [
                    "covariance",
                    "NumPy / rdasde, one thread (asked: 2.5)",
                    "scalar numba / rdasde, one thread",
                    "one thread / two threads (asked: 1.7)",
                ],
                ratios,
            ),
        ]
    )


def bands(rounds=3, replicates=100, paths=1000):
    problem, algorithm, horizon = published.problem(), published.algorithm(), published.HORIZON
    short = 10 * published.STEP_SIZE

    def runs(executor, horizon=horizon):
        rs.simulate(problem, algorithm, horizon, replicates=replicates, keep="summary", seed=0, executor=executor)

    def theory(method, horizon=horizon):
        rs.approximate(problem, algorithm, horizon, method=method, paths=paths, seed=0)

    measures = {
        "closure": lambda: theory("closure"),
        f"{replicates} replicates, default threads": lambda: runs(None),
        f"{replicates} replicates, one thread": lambda: runs(ONE),
        f"dual diffusion, {paths} paths": lambda: theory("paths"),
    }
    runs(None, short)
    for method in ("closure", "paths"):
        theory(method, short)
    taken = interleave(measures, rounds, least=0.5)
    closure, default, one, _ = taken.values()
    asked = ["", *(f"{spread(t / closure)} (asked: 10)" for t in (default, one)), ""]
    rows = [[name, spread(t), times] for (name, t), times in zip(taken.items(), asked, strict=True)]
    title = (
        "## Bands at the published settings\n\n"
        f"d = {problem.dimension}, {published.STEPS:,} steps, 201 times, {rounds} rounds. Default threads: "
        f"{workers()}; one thread / default threads {spread(one / default)} ({ceiling(replicates)} on two).\n"
    )
    return title + "\n" + table(["", "seconds", "times the closure"], rows)


def processes(rounds=5):
    """A child's first words, and how its memory grows."""
    with tempfile.TemporaryDirectory() as cache:

        def child(*arguments):
            environment = os.environ | {"NUMBA_CACHE_DIR": cache}
            command = [sys.executable, *arguments]
            return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

        def run(steps, replicates):
            return (
                "import numpy as np, rdasde as rs\n"
                "algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))\n"
                f"rs.simulate(rs.LinearRegression(np.ones(20)), algorithm, {steps} * 1e-3, replicates={replicates}, "
                'keep="summary", seed=0)\n'
            )

        # the peak of this process image alone: ru_maxrss of a child would start from its parent's
        peak = 'print(next(s.split()[1] for s in open("/proc/self/status") if s.startswith("VmHWM")))'
        measures = {
            "`python -c pass`, for comparison": lambda: child("-c", "pass"),
            "`import rdasde`": lambda: child("-c", "import rdasde"),
            "`rdasde --help`": lambda: child("-m", "rdasde._cli", "--help"),
            "first `simulate`, warm disk cache": lambda: child("-c", run(200, 16)),
        }
        cold = {"first `simulate`, cold disk cache": lambda: child("-c", run(200, 16))}
        cold = interleave(cold, 1, clock=children_clock)
        interleave(measures, 1)  # writes bytecode
        taken = interleave(measures, rounds, clock=children_clock) | cold
        memory = {n: [int(child("-c", run(200, n) + peak)) / 1024 for _ in range(3)] for n in (1_000, 10_000)}

    rows = [[name, spread(t[:, 0]), spread(t[:, 1])] for name, t in taken.items()]
    growth = np.median(memory[10_000]) / np.median(memory[1_000])
    return "\n".join(
        [
            f"## Start\n\nA fresh process from start to end, {rounds} rounds (the cold one once).\n",
            table(["", "wall seconds", "processor seconds"], rows),
            '## Memory\n\nPeak resident memory of a process that simulates d = 20, 200 steps, `keep="summary"`.\n',
            table(["replicates", "MiB"], [[f"{n:,}", spread(m, 4)] for n, m in memory.items()]),
            f"Ratio {growth:.3f}; {np.median(memory[10_000]) - np.median(memory[1_000]):.1f} MiB more.\n",
        ]
    )


def machine():
    cpuinfo = Path("/proc/cpuinfo")
    names = [s.split(":")[1].strip() for s in cpuinfo.read_text().splitlines() if s.startswith("model name")]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "scipy", "numba", "xarray")]
    return (
        f"{names[0]}, {workers()} cores, {platform.system()}; Python {platform.python_version()}, "
        f"{', '.join(versions)}, rdasde {rs.__version__}."
    )


def main():
    start, load = time.perf_counter(), os.getloadavg()[0]
    parts = [
        "# Measurements\n\n"
        "Written by `benchmarks/run.py` in one run. Medians and [minimum .. maximum]; what is compared is interleaved, "
        f"ratios are within rounds. BLAS and OpenMP on one thread.\n\n{machine()}\n"
    ]
    print(parts[0])
    for measure in (random_numbers, simulation, bands, processes):
        parts.append(measure())
        print(parts[-1], flush=True)
    took = f"All of it took {time.perf_counter() - start:.0f} s; "
    parts.append(took + f"load average {load:.2f} at the start, {os.getloadavg()[0]:.2f} at the end.\n")
    print(parts[-1])
    RESULTS.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
