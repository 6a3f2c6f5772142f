"""Measure rdasde: ``python benchmarks/run.py`` prints a report and writes it, with two pictures, beside this file.

``--only NAME`` (more than once) runs some sections and prints them; it writes nothing but pictures into ``--out DIR``.

What is compared is interleaved (A B A B ...), so that drift of the machine hits all alike; ratios are taken within
each round. Nothing here is a test: only that the peers simulate the same law is checked. A section that fails says so
in its place, and the others go on.

BLAS and OpenMP are held to one thread, here and in child processes; "one core" means that the process was bound to it
before anything was imported.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import functools
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cost
import numpy as np
import peers
import precision
import simulation
from measure import ASKED, asked, interleave, machine, spread, table, where_time_goes

import rdasde as rs
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.random import streams
from rdasde._figures import published

FOLDER = Path(__file__).parent


def children_clock():
    """Wall seconds, and processor seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.perf_counter(), used.ru_utime + used.ru_stime])


# What is measured: each returns its section of the report


def random_numbers(out, quick):
    rounds, repetitions = (3, 500) if quick else (9, 5000)
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


def bands(out, quick):
    problem, algorithm, horizon = published.problem(), published.algorithm(), published.HORIZON
    short, number, parts = 10 * published.STEP_SIZE, *((64, 2) if quick else (500, 4))
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [max(cores)])
    try:
        with ThreadPoolExecutor(1) as one:

            def runs(which, horizon=horizon):
                rs.simulate(problem, algorithm, horizon, replicates=which, keep="summary", seed=0, executor=one)

            def theory(method, horizon=horizon, check=False):
                rs.approximate(problem, algorithm, horizon, method=method, check=check, seed=0, executor=one)

            runs(16, short)
            for method in ("closure", "paths"):
                theory(method, short)
            theory("closure")
            closure, simulated = [], []
            for part in np.array_split(np.arange(-(-number // LANES)), parts):
                which = np.arange(part[0] * LANES, min(number, (part[-1] + 1) * LANES))
                measures = {"closure": lambda: theory("closure"), "runs": functools.partial(runs, which)}
                taken = interleave(measures, 1)
                closure.append(taken["closure"][0])
                simulated.append(taken["runs"][0])
            others = {"paths": lambda: theory("paths"), "checked": lambda: theory("closure", check="auto")}
            others = interleave(others, 1 if quick else 3)
            note = where_time_goes(lambda: theory("closure"))
    finally:
        os.sched_setaffinity(0, cores)
    whole = sum(simulated)
    ratio = whole / np.array(closure)
    return "\n".join(
        [
            "## Bands at the published settings\n",
            f"d = {problem.dimension}, {published.STEPS:,} steps, 201 times, one core each; {number} replicates in "
            f"{parts} parts ({', '.join(f'{t:.2f}' for t in simulated)} s), a closure before each.\n",
            table(ASKED, [asked(f"{number} replicates / closure", ratio, 100, 1000)]),
            table(
                ["", "seconds"],
                [
                    ["closure", spread(np.array(closure))],
                    ["closure with its check", spread(others["checked"])],
                    [f"{number} replicates", f"{whole:.3g}"],
                    ["dual diffusion, 1000 paths", spread(others["paths"])],
                ],
            ),
            f"The closure. {note}\n",
        ]
    )


def processes(out, quick):
    """A child's first words, and how its memory grows."""
    rounds, sizes = (2, (16, 1_000, 10_000)) if quick else (7, (16, 1_000, 100_000))
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
        memory = {n: [int(child("-c", run(200, n) + peak)) / 1024 for _ in range(3)] for n in sizes}

    rows = [[name, spread(t[:, 0]), spread(t[:, 1])] for name, t in taken.items()]
    base, few, many = (np.median(memory[n]) for n in sizes)
    wanted = [
        asked("`import rdasde`, processor seconds", taken["`import rdasde`"][:, 1], 0.3, 0.1),
        asked("first `simulate` in a later process", taken["first `simulate`, warm disk cache"][:, 1], 2.2, 1.5),
        asked(f"memory, {sizes[2]:,} / {sizes[1]:,} replicates", many / few, 1.1, 1.02, 4),
    ]
    return "\n".join(
        [
            f"## Start\n\nA fresh process from start to end, {rounds} rounds (the cold one once).\n",
            table(ASKED, wanted),
            table(["", "wall seconds", "processor seconds"], rows),
            '## Memory\n\nPeak resident memory of a process that simulates d = 20, 200 steps, `keep="summary"`.\n',
            table(["replicates", "MiB"], [[f"{n:,}", spread(m, 4)] for n, m in memory.items()]),
            f"Over the process with {sizes[0]} replicates: {few - base:+.1f} MiB for {sizes[1]:,}, "
            f"{many - base:+.1f} MiB for {sizes[2]:,}.\n",
        ]
    )


SECTIONS = {
    "random": random_numbers,
    "simulate": simulation.section,
    "sde": precision.section,
    "bands": bands,
    "start": processes,
    "cost": cost.section,
}


def main():
    parser = argparse.ArgumentParser(description="Measure rdasde against its peers.")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section alone; may be repeated")
    parser.add_argument("--out", type=Path, help="where the report and the pictures go")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that it runs")
    arguments = parser.parse_args()
    partial = arguments.only is not None or arguments.quick
    out = arguments.out or (Path(tempfile.mkdtemp()) if partial else FOLDER)
    out.mkdir(parents=True, exist_ok=True)

    start, load = time.perf_counter(), os.getloadavg()[0]
    parts = [
        "# Measurements\n\n"
        "Written by `benchmarks/run.py` in one run. Medians and [quartiles]; what is compared is interleaved, ratios "
        f"are within rounds. BLAS and OpenMP on one thread.\n\n{machine()}, rdasde {rs.__version__}.\n"
    ]
    print(parts[0])
    for name in arguments.only or SECTIONS:
        begun = time.perf_counter()
        try:
            parts.append(SECTIONS[name](out, arguments.quick))
        except Exception as error:
            traceback.print_exc()
            parts.append(f"## {name}\n\nNot measured: {type(error).__name__}: {error}\n")
        print(parts[-1], flush=True)
        print(f"({name} took {time.perf_counter() - begun:.0f} s)\n", file=sys.stderr)
    took = f"All of it took {time.perf_counter() - start:.0f} s; "
    parts.append(took + f"load average {load:.2f} at the start, {os.getloadavg()[0]:.2f} at the end.\n")
    print(parts[-1])
    if not partial or arguments.out:
        (out / "results.md").write_text("\n".join(parts))
    print(f"In {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
