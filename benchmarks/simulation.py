"""The section on `simulate`: four problems by rdasde, NumPy, a scalar loop and JAX, each in a process of its own."""

from __future__ import annotations

import numpy as np
import peers
from measure import ASKED, asked, hire, spread, table

import rdasde as rs
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.random import streams

D, REPLICATES, STEPS, STEP_SIZE = 200, 200, 2000, 1e-3
HORIZON = STEPS * STEP_SIZE


def ceiling(replicates):
    """What a second core can gain, at most: replicates run in blocks of LANES."""
    blocks = -(-replicates // LANES)
    return f"{blocks} blocks, at most {blocks / -(-blocks // 2):.2f}"


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


def section(out, quick=False):
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
