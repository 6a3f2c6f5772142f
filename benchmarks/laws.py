"""What laws cost against the runs they stand for: ``python benchmarks/laws.py`` writes ``laws.md`` beside this file.

Processor seconds of second calls, all in one run on one thread. ``--only WORD`` (more than once) keeps the cases whose
name holds it, and prints only.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measure import machine, table

import rdasde as rs

HORIZON, STEP_SIZES, LONGEST = 5.0, (1e-2, 1e-3, 1e-4), 1e-3
ROOM = {"rows": (0.2, 0.2), "": (0.1, 0.1)}  # at most the larger of so many seconds and such a share of 200 runs


def standardized(X):
    X = X[:, X.std(axis=0) > 0.0]
    return (X - X.mean(axis=0)) / X.std(axis=0)


def over_rows():
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

    generator = np.random.default_rng(0)
    X, y = load_breast_cancer(return_X_y=True)
    yield "logistic, breast cancer", rs.LogisticRegression.from_data(standardized(X), y.astype(float)), None
    X, y = load_diabetes(return_X_y=True)
    yield "linear, diabetes", rs.LinearRegression.from_data(standardized(X), (y - y.mean()) / y.std()), None
    X, y = load_digits(return_X_y=True)
    X, y = X[(y == 3) | (y == 8)], (y == 3)[(y == 3) | (y == 8)]
    yield "logistic, digits 3 and 8", rs.LogisticRegression.from_data(standardized(X), y.astype(float)), None
    X, coef = generator.normal(size=(10_000, 50)), np.where(np.arange(50) < 10, 0.5, 0.0)
    yield "linear, 10 000 x 50", rs.LinearRegression.from_data(X, X @ coef + generator.normal(size=len(X))), None
    labels = generator.random(len(X)) < 1.0 / (1.0 + np.exp(-X @ coef))
    yield "logistic, 10 000 x 50", rs.LogisticRegression.from_data(X, labels.astype(float)), None


def losses_over_rows():
    """Every other loss, on real rows and many."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

    generator = np.random.default_rng(0)
    X, y = load_breast_cancer(return_X_y=True)
    hinge = rs.LinearModel.from_data(rs.SquaredHingeLoss(), standardized(X), y.astype(float))
    yield "squared hinge, breast cancer", hinge, None
    X, y = load_diabetes(return_X_y=True)
    X, y = standardized(X), (y - y.mean()) / y.std()
    yield "Huber, diabetes", rs.LinearModel.from_data(rs.HuberLoss(), X, y), None
    yield "median, diabetes", rs.LinearModel.from_data(rs.QuantileLoss(0.5), X, y), None
    yield "smoothed median, diabetes", rs.LinearModel.from_data(rs.QuantileLoss(0.5, 0.3), X, y), None
    X, y = load_digits(return_X_y=True)
    yield "softmax, digits 0 to 2", rs.SoftmaxRegression.from_data(standardized(X[y < 3]), y[y < 3]), None
    X, coef = generator.normal(size=(10_000, 50)), np.where(np.arange(50) < 10, 0.5, 0.0)
    score = X @ coef
    y = score + generator.normal(size=len(X))
    yield "Huber, 10 000 x 50", rs.LinearModel.from_data(rs.HuberLoss(), X, y), None
    yield "smoothed median, 10 000 x 50", rs.LinearModel.from_data(rs.QuantileLoss(0.5, 0.3), X, y), None
    labels = (generator.random(len(X)) < 1.0 / (1.0 + np.exp(-score))).astype(float)
    yield "squared hinge, 10 000 x 50", rs.LinearModel.from_data(rs.SquaredHingeLoss(), X, labels), None
    counts = generator.poisson(np.exp(0.3 * score)).astype(float)
    yield "Poisson, 10 000 x 50", rs.LinearModel.from_data(rs.PoissonLoss(), 0.3 * X, counts), None
    three = np.argmax(np.stack([0.0 * score, score, -score]) + generator.gumbel(size=(3, len(X))), axis=0)
    yield "softmax of three classes, 10 000 x 50", rs.SoftmaxRegression.from_data(X, three), None


def gaussian():
    generator = np.random.default_rng(0)
    for d in (50, 200):
        coef = np.where(np.arange(d) < d // 4, 0.3, 0.0)
        q = generator.normal(size=(d, d + 20))
        designs = {"identity": None, "AR(.6)": rs.AR1(d, 0.6), "dense": q @ q.T / (d + 20)}
        start = generator.normal(size=d)
        start /= np.linalg.norm(start)
        for name, covariance in designs.items():
            yield f"linear, d = {d}, {name}", rs.LinearRegression(coef, covariance), None
            yield f"logistic, d = {d}, {name}", rs.LogisticRegression(coef, covariance), None
            if covariance is not None:
                yield f"PCA, d = {d}, {name}", rs.OnlinePCA(covariance), start
        directions = np.linalg.qr(generator.normal(size=(d, 2)))[0].T
        yield f"PCA, d = {d}, spiked", rs.OnlinePCA.spiked([3.0, 1.5], directions), start


def losses_gaussian():
    """Every other loss, with neighbours that depend on each other."""
    losses = {
        "Huber": rs.HuberLoss(),
        "median": rs.QuantileLoss(0.5),
        "smoothed median": rs.QuantileLoss(0.5, 0.3),
        "squared hinge": rs.SquaredHingeLoss(),
        "Poisson": rs.PoissonLoss(),
    }
    for d in (50, 200):
        for name, loss in losses.items():
            coef = np.where(np.arange(d) < d // 4, 0.06 if name == "Poisson" else 0.3, 0.0)
            yield f"{name}, d = {d}, AR(.6)", rs.LinearModel(loss, coef, rs.AR1(d, 0.6)), None


def processor_seconds(work):
    """Of the second call."""
    work()
    begin = time.process_time()
    work()
    return time.process_time() - begin


def closures(cases, kind, only):
    share, least = ROOM[kind][1], ROOM[kind][0]
    lines = []
    for name, problem, start in cases:
        if only and not any(word in name for word in only):
            continue
        for step_size in STEP_SIZES:
            algorithm = rs.RDA(step_size, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))

            def law(check, problem=problem, algorithm=algorithm, start=start):
                rs.approximate(problem, algorithm, HORIZON, start=start, check=check)

            # a run's time is that of its steps: the longest runs are a tenth of the way, ten times
            horizon, times = (HORIZON, 1) if step_size >= LONGEST else (HORIZON / 10.0, 10)
            try:
                runs = times * processor_seconds(
                    lambda p=problem, a=algorithm, h=horizon, s=start: rs.simulate(
                        p, a, h, replicates=200, seed=0, start=s
                    )
                )
            except rs.DivergenceError:
                lines.append([name, f"{step_size:g}", *["–"] * 4, "runs diverge"])
                continue
            alone = processor_seconds(lambda law=law: law(False))
            checked = processor_seconds(lambda law=law: law("auto"))
            asked = max(least, share * runs)
            reached = "yes" if alone <= asked else f"**{alone / asked:.1f} times**"
            lines.append(
                [name, f"{step_size:g}", f"{runs:.3g}", f"{alone:.3g}", f"{checked:.3g}", f"{asked:.2g}", reached]
            )
            print(*lines[-1], sep=" | ", flush=True)
    return table(["problem", "step size", "200 runs", "closure", "with its check", "asked", "reached"], lines)


def paths(cases, only):
    lines = []
    for name, problem, start in cases:
        if only and not any(word in name for word in only):
            continue
        for step_size, most in ((1e-3, 3.0), (1e-5, 0.1)):
            algorithm = rs.RDA(step_size, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
            shorter = max(1, round(1e-3 / step_size))

            def law(problem=problem, algorithm=algorithm, start=start):
                return rs.approximate(
                    problem, algorithm, HORIZON, start=start, method="paths", seed=0, paths=1000, check=False
                )

            runs = shorter * processor_seconds(
                lambda p=problem, a=algorithm, h=HORIZON / shorter, s=start: rs.simulate(
                    p, a, h, replicates=1000, seed=0, start=s
                )
            )
            drift = law().attrs["drift"]
            taken = processor_seconds(law)
            verdict = "yes" if taken <= most * runs else f"**{taken / runs:.2g} times the runs**"
            lines.append([name, f"{step_size:g}", drift, f"{runs:.3g}", f"{taken:.3g}", f"{most:g} times", verdict])
            print(*lines[-1], sep=" | ", flush=True)
    return table(["problem", "step size", "drift", "1 000 runs", "1 000 paths", "asked", "reached"], lines)


def main():
    parser = argparse.ArgumentParser(description="What laws cost against the runs they stand for.")
    parser.add_argument("--only", action="append", help="cases whose name holds this; may be repeated")
    only = parser.parse_args().only
    warnings.simplefilter("ignore")
    begin, load = time.perf_counter(), os.getloadavg()[0]
    written = [
        "# What laws cost\n\nWritten by `benchmarks/laws.py` in one run: processor seconds of second calls, "
        f"horizon {HORIZON:g}, 201 times, L1 with `PowerLaw(c=0.5, mu=0.6)`, BLAS on one thread. 200 runs at 1e-4, "
        "and 1 000 at 1e-5, are those of a shorter horizon, scaled.\n\n"
        f"{machine()}, rdasde {rs.__version__}.\n"
    ]

    def write(*parts):
        """After each part, so that a run that is stopped keeps what it has."""
        written.extend(parts)
        if only:
            print(*parts, sep="\n", file=sys.stderr)
        else:
            (Path(__file__).parent / "laws.md").write_text("\n".join(written))

    with ThreadPoolExecutor(1):
        asked = "Asked: the larger of .2 s and a fifth of 200 runs.\n"
        write("## Closures over rows\n", asked, closures(over_rows(), "rows", only))
        write("## Closures over rows, other losses\n", asked, closures(losses_over_rows(), "rows", only))
        asked = "Asked: the larger of .1 s and a tenth of 200 runs.\n"
        write("## Closures of Gaussian designs\n", asked, closures(gaussian(), "", only))
        write("## Closures of Gaussian designs, other losses\n", asked, closures(losses_gaussian(), "", only))
        asked = "Asked: three times 1 000 runs at 1e-3, a tenth at 1e-5.\n"
        write("## Paths over rows\n", asked, paths(over_rows(), only))
    took = f"All of it took {time.perf_counter() - begin:.0f} s; "
    write(took + f"load average {load:.2f} at the start, {os.getloadavg()[0]:.2f} at the end.\n")


if __name__ == "__main__":
    main()
