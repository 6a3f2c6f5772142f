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
import sde
from measure import ASKED, asked, hire, interleave, machine, spread, table, where_time_goes

import rdasde as rs
from rdasde._figures import published
from rdasde._random import LANES, lane_array, streams

FOLDER = Path(__file__).parent
D, REPLICATES, STEPS, STEP_SIZE = 200, 200, 2000, 1e-3
HORIZON = STEPS * STEP_SIZE


def children_clock():
    """Wall seconds, and processor seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.perf_counter(), used.ru_utime + used.ru_stime])


def ceiling(replicates):
    """What a second core can gain, at most: replicates run in blocks of LANES."""
    blocks = -(-replicates // LANES)
    return f"{blocks} blocks, at most {blocks / -(-blocks // 2):.2f}"


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


def simulation_problems():
    factor = np.random.default_rng(0).standard_normal((D, 2 * D))
    dense = factor @ factor.T / (4 * D) + np.eye(D) / 2
    coef = np.repeat([0.5, -0.5, 0.0], [50, 50, 100])
    found = {
        name: rs.LinearRegression(coef, covariance)
        for name, covariance in (("identity", None), ("AR1(200, 0.8)", rs.AR1(D, 0.8)), ("dense", dense))
    }
    directions = np.kron(np.eye(2), np.ones(10) / np.sqrt(10.0))
    return found | {"spiked PCA": rs.OnlinePCA.spiked([4.0, 2.0], np.pad(directions, ((0, 0), (0, D - 20))))}


def simulation_setup(who, name):
    """One of the ways to run one of the problems: a function that returns summaries (None from parts of the work)."""
    algorithm = rs.RDA(STEP_SIZE, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    problem = simulation_problems()[name] if name else None
    start = peers.pca_start(D) if name == "spiked PCA" else None

    def ours():
        result = rs.simulate(
            problem, algorithm, HORIZON, replicates=REPLICATES, keep="summary", seed=0, start=start, executor=None
        )
        return {key: result[key].values for key in peers.SUMMARY}

    def white(fill):
        def run():
            for _ in range(STEPS):
                fill()

        return run

    if who == "rdasde":
        return ours
    if who == "NumPy":
        return lambda: peers.vectorized(problem, algorithm, HORIZON, REPLICATES, 1, start)
    if who == "scalar numba":
        return lambda: peers.scalar(problem, algorithm, HORIZON, REPLICATES, 2)
    if who == "JAX":
        return peers.jax_simulation(problem, algorithm, HORIZON, REPLICATES, 3)
    if who == "SFC64":
        generator, buffer = peers.sfc64(0), np.empty((REPLICATES, D + 1))
        return white(lambda: generator.standard_normal(out=buffer))
    if who == "our normals":
        stream, lanes, blocks = streams(0, np.arange(LANES)), lane_array(D + 2), -(-REPLICATES // LANES)
        return lambda: peers.fill(stream, lanes, blocks * STEPS)
    left, right, product = np.ones((REPLICATES, D)), np.ones((D, D)), np.empty((REPLICATES, D))
    return white(lambda: np.matmul(left, right, out=product))


def simulation(out, quick):
    rounds = 2 if quick else 5
    names = list(simulation_problems())
    regressions, pca = names[:-1], names[-1]
    one = {(who, ""): (simulation_setup, (who, ""), ()) for who in ("SFC64", "our normals", "products")}
    one |= {("rdasde", name): (simulation_setup, ("rdasde", name), ()) for name in names}
    one |= {("NumPy", name): (simulation_setup, ("NumPy", name), ()) for name in names}
    one |= {("scalar numba", name): (simulation_setup, ("scalar numba", name), ()) for name in regressions}
    one |= {("JAX", name): (simulation_setup, ("JAX", name), ()) for name in ("identity", "dense")}
    two = {(who, name): setup for (who, name), setup in one.items() if who in ("rdasde", "JAX")}
    workers, lines = {}, []
    for cores, staff in ((1, one), (2, two)):
        found, skipped = hire({" ".join(key).strip(): setup for key, setup in staff.items()}, cores)
        keys = {" ".join(key).strip(): key for key in staff}
        workers |= {(*keys[name], cores): worker for name, worker in found.items()}
        lines += skipped
    for (who, name, cores), worker in workers.items():
        base = workers["rdasde", name, 1] if name else None
        if who == "rdasde" and cores == 2:
            assert all(np.array_equal(worker.value[key], base.value[key], equal_nan=True) for key in peers.SUMMARY)
        elif base is not None and who != "rdasde":
            peers.check(base.value, worker.value, REPLICATES)
    taken = {key: [] for key in workers}
    for _ in range(rounds):
        for key, worker in workers.items():
            taken[key].append(worker()[0])
    taken = {key: np.array(t) for key, t in taken.items()}
    for worker in workers.values():
        worker.close()

    sfc64, white, products = (taken[who, "", 1] for who in ("SFC64", "our normals", "products"))
    seconds = []
    for (who, name, cores), t in taken.items():
        if name:
            per = spread(1e9 * t / (D * REPLICATES * STEPS))
            seconds.append([name, f"{who}, {('one core', 'two cores')[cores - 1]}", spread(t), per, spread(t / sfc64)])
    seconds.sort(key=lambda row: names.index(row[0]))
    rows = []
    for name, must, aim in (("identity", 0.45, 0.3), ("AR1(200, 0.8)", 0.55, 0.38), (pca, 0.55, 0.38)):
        rows.append(asked(f"{name}: time / SFC64 for as many normals", taken["rdasde", name, 1] / sfc64, must, aim))
    dense = taken["rdasde", "dense", 1]
    rows.append(asked("dense: time / (NumPy's matrix products + SFC64)", dense / (products + sfc64), 1.5, 1.1))
    rows.append(asked("dense: time / (NumPy's matrix products + our normals)", dense / (products + white), 1.5, 1.1))
    for name in names:
        rows.append(asked(f"{name}: second core", taken["rdasde", name, 1] / taken["rdasde", name, 2], 1.8, 1.95))
    for name in names:
        ratio = taken["NumPy", name, 1] / taken["rdasde", name, 2]
        rows.append(asked(f"{name}: vectorized NumPy / two threads", ratio, 6, 10))
    others = []
    for who, cores in (("NumPy", 1), ("scalar numba", 1), ("JAX", 1), ("JAX", 2)):
        for name in names:
            if (who, name, cores) in taken:
                ratio = taken[who, name, cores] / taken["rdasde", name, cores]
                others.append([f"{who} / rdasde, {('one core', 'two cores')[cores - 1]} each", name, spread(ratio)])
    return "\n".join(
        [
            "## `simulate`\n",
            f"d = {D}, {REPLICATES} replicates x {STEPS} steps, L1 with a power law, summaries at 201 times, {rounds} "
            "rounds, each way in a process of its own. Linear regression under three covariances, Oja's rule with "
            "two spikes. `NumPy` is vectorized over replicates and draws from one SFC64 generator; `scalar numba` is a "
            "loop over coordinates with an SFC64 generator for each replicate; `JAX` is scan and vmap, in doubles. "
            "All have the same means and deviations (checked). SFC64 alone fills as many normals "
            f"({REPLICATES} x {D + 1} a step) in {spread(sfc64)} s, our generator in {spread(white)} s; the matrix "
            f"products of a dense covariance alone ({REPLICATES} x {D} by {D} x {D} a step, NumPy) take "
            f"{spread(products)} s. The second core: {ceiling(REPLICATES)}.\n",
            table(ASKED, rows),
            table(["problem", "", "seconds", "ns a coordinate-step", "times SFC64 alone"], seconds),
            table(["", "problem", "ratio"], others),
            _where_time_goes(taken, names, white, products),
            *lines,
        ]
    )


def _where_time_goes(taken, names, white, products):
    """What is known of the parts, beside the whole."""
    rows = []
    for name in names:
        whole = taken["rdasde", name, 1]
        known = white + (products / 2 if name == "dense" else 0.0)
        parts = "normals" + (", half of the products (the factor is triangular)" if name == "dense" else "")
        rows.append([name, parts, spread(known / whole), spread((whole - known) / (D * REPLICATES * STEPS) * 1e9)])
    return "Where the time goes, one core:\n\n" + table(
        ["problem", "known parts", "their share", "the rest, ns a coordinate-step"], rows
    )


def bands(out, quick):
    problem, algorithm, horizon = published.problem(), published.algorithm(), published.HORIZON
    short, number, parts = 10 * published.STEP_SIZE, *((64, 2) if quick else (500, 4))
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [max(cores)])
    try:
        with ThreadPoolExecutor(1) as one:

            def runs(which, horizon=horizon):
                rs.simulate(problem, algorithm, horizon, replicates=which, keep="summary", seed=0, executor=one)

            def theory(method, horizon=horizon):
                rs.approximate(problem, algorithm, horizon, method=method, seed=0, executor=one)

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
            paths = interleave({"paths": lambda: theory("paths")}, 1 if quick else 3)["paths"]
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
                    [f"{number} replicates", f"{whole:.3g}"],
                    ["dual diffusion, 1000 paths", spread(paths)],
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
    "simulate": simulation,
    "sde": sde.section,
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
