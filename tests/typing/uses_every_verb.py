"""Every verb and noun of the package as a user with a strict type checker would write them; checked, and run."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

import rdasde as rs

Array = NDArray[np.float64]


def gradient(coef: Array, w: Array, rng: np.random.Generator, out: Array) -> None:
    z = rng.standard_normal(w.size)
    out[:] = ((z @ w) - (z @ coef) - 0.5 * rng.standard_normal()) * z


def mean_gradient(coef: Array, w: Array) -> Array:
    return w - coef


def soft(v: Array, threshold: float, out: Array) -> None:
    for j in range(v.size):
        out[j] = np.sign(v[j]) * max(abs(v[j]) - threshold, 0.0)


def growing(t: float, step_size: float) -> float:
    return 0.1 * math.sqrt(step_size) * t


def problems() -> dict[str, rs.Problem]:
    rows: Array = np.random.default_rng(0).standard_normal((40, 3))
    return {
        "linear": rs.LinearRegression([0.5, 0.0, -0.3], rs.AR1(3, 0.5), noise_std=0.5),
        "rows": rs.LinearRegression.from_data(rows, rows[:, 0], replacement=True),
        "logistic": rs.LogisticRegression(np.array([0.5, 0.0, -0.3]), np.eye(3)),
        "labels": rs.LogisticRegression.from_data(rows, rows[:, 0] + rows[:, 1] > 0.3),
        "oja": rs.OnlinePCA([2.0, 1.0, 0.5]),
        "krasulina": rs.OnlinePCA(rs.AR1(3, 0.5), variant="krasulina"),
        "spiked": rs.OnlinePCA.spiked([2.0], np.eye(3)[:1], variant="oja"),
        "components": rs.OnlinePCA.from_data(rows),
        "network": rs.MLP(rows, np.arange(40) % 2, hidden=2),
        "own": rs.StochasticProblem(gradient, np.array([0.5, 0.0]), 2, mean_gradient=mean_gradient),
    }


def regularizers() -> list[rs.Regularizer]:
    return [
        rs.L1(),
        rs.L1([1.0, 0.0, 2.0]),
        rs.ElasticNet(0.1),
        rs.GroupLasso([0, 0, 1]),
        rs.NonNegativeL1(),
        rs.Box(-1.0, [1.0, np.inf, 2.0]),
        rs.CustomRegularizer(soft),
    ]


def schedules() -> list[rs.Schedule]:
    return [rs.PowerLaw(c=0.5, mu=0.6), rs.Linear(0.1), rs.Constant(0.01), growing]


def algorithm(regularizer: rs.Regularizer | None, schedule: rs.Schedule | None, step_size: float = 0.01) -> rs.RDA:
    return rs.RDA(step_size, regularizer, schedule, batch_size=1)


def theory_and_runs(problem: rs.Problem, rda: rs.RDA) -> tuple[xr.Dataset, xr.Dataset]:
    runs: xr.Dataset = rs.simulate(
        problem, rda, 1.0, replicates=40, times=5, seed=0, keep="paths", on_divergence="raise", progress=False
    )
    summary = rs.simulate(problem, rda, 1.0, replicates=[3, 4], times=[0.5, 1.0], seed=0, keep="summary")
    risk: dict[str, Callable[[Array], Array]] = {"risk": lambda w: (w**2).sum(axis=-1)}
    rs.simulate(problem, rda, 1.0, statistics=risk, coordinates=[0], start=np.zeros(problem.dimension))
    theory: xr.Dataset = rs.approximate(problem, rda, 1.0, times=5, method="closure")
    rs.approximate(problem, rda, 1.0, times=5, method="paths", paths=32, seed=0, tolerance=1e-2)
    paths = rs.approximate(problem, rda, 1.0, times=5, method="paths", paths=32, seed=0, statistics=risk)
    wide: xr.Dataset = rs.band(paths, 0.9, of="risk", simultaneous=True)
    counted = rs.simulate(problem, rda, 1.0, times=5, replicates=20, keep="summary", statistics=risk, inside=wide)
    assert 0.0 <= float(rs.coverage(counted, wide)) <= 1.0
    averages: xr.Dataset = rs.approximate(problem, rda, 1.0, times=5, average=True)
    rs.coverage(rs.simulate(problem, rda, 1.0, times=5, average=True), rs.band(averages, of="average"))
    falling = rs.RDA(rs.PowerStep(0.05, 0.5), rda.regularizer, rda.schedule, momentum=0.5)
    own = rs.RDA(lambda n: 0.1 / np.sqrt(n))
    assert {len(rs.simulate(problem, each, 1.0, times=3)["time"]) for each in (falling, own)} == {3}
    assert set(summary.dims) == {"time", "coordinate"}
    assert "path" in paths.dims
    return theory, runs


def bands(theory: xr.Dataset, runs: xr.Dataset) -> Figure:
    band: xr.Dataset = rs.band(theory, level=0.95, of="iterate", space="primal")
    rs.band(theory, 0.9, space="dual", of="mean", replicates=40)
    rs.band(runs, 0.9, simultaneous="all")
    held: xr.DataArray = rs.coverage(runs, band)
    assert 0.5 < float(held.mean()) <= 1.0
    figure: Figure = rs.plot.trajectories(runs, theory, coordinates=[0, 1], level=0.95)
    rs.plot.band(band, [0])
    rs.plot.coverage(held)
    rs.plot.marginal(runs, theory, 0, 1.0, space="dual", kind="quantiles")
    rs.plot.support(runs, theory, minimizer=[0.5, 0.0, -0.3])
    return figure


def orders(problem: rs.Problem, rda: rs.RDA) -> xr.Dataset:
    errors: xr.Dataset = rs.weak_error(
        problem,
        rda,
        0.5,
        step_sizes=[0.02, 0.01],
        test_functions={"risk": lambda w: (w**2).sum(axis=-1)},
        replicates=64,
        paths=64,
        seed=0,
    )
    return errors


def claims(problem: rs.LinearRegression, rda: rs.RDA) -> None:
    held: xr.Dataset = rs.validate.coverage(
        problem, rda, 1.0, method="closure", levels=(0.9,), replicates=64, paths=64, times=5, seed=0
    )
    reasons: tuple[str, ...] = rs.suggest(problem, 1.0, accuracy=0.1).reasons
    assert reasons
    table = rs.validate.table(held)
    assert len(table) > 0
    trusted: xr.Dataset = rs.validate.calibration(
        problem, rda, 1.0, methods="closure", level=0.9, replicates=64, times=5, seed=0
    )
    rs.plot.calibration(trusted, space="dual")
    support: xr.Dataset = rs.validate.support(problem, rda, 1.0, replicates=64, seed=0)
    risk: xr.Dataset = rs.validate.risk(problem, rda, 1.0, replicates=64, seed=0)
    flat: xr.Dataset = rs.validate.flat_directions(problem, rda, 1.0, replicates=64, start=[0.4, -0.2, 0.1], seed=0)
    exact: xr.Dataset = rs.validate.exact_weak_error(problem, 1.0, step_sizes=[0.02, 0.01])
    assert all(len(result.data_vars) for result in (support, risk, flat, exact))


def batches(rows: Array, response: Array) -> Iterator[tuple[Array, Array]]:
    for start in range(0, len(rows), 10):
        yield rows[start : start + 10], response[start : start + 10]


def online(rda: rs.RDA) -> rs.OnlineFit:
    rows: Array = np.random.default_rng(1).standard_normal((60, 3))
    response: Array = rows @ np.array([0.5, 0.0, -0.3])
    fit: rs.OnlineFit = rs.fit(rs.LinearRegression, rows, response, rda, passes=1, level=0.9)
    rs.fit(rs.LinearRegression, batches(rows, response), None, rda)
    fit.update(rows, response).summary()
    assert fit.coef.shape == fit.std_error.shape == (3,)
    lower, upper = fit.interval.T
    assert np.all(lower <= upper)
    assert fit.iterate.coef.shape == (3,)
    return fit


def laws(problem: rs.Problem, regularizer: rs.Regularizer) -> dict[str, str]:
    verdicts: dict[str, str] = rs.testing.check_problem(problem, points=[[0.5, 0.3, -0.2]], seed=1)
    return verdicts | rs.testing.check_regularizer(regularizer, dimension=3, seed=1)


def caught(problem: rs.Problem) -> tuple[int, float, int]:
    try:
        rs.simulate(problem, rs.RDA(1e3), 1e6, times=2, seed=0)
    except rs.DivergenceError as error:
        return error.step, error.time, error.replicate
    except rs.TooMuchMemoryError:
        raise
    return 0, 0.0, 0


def main() -> None:
    problem, same = problems()["linear"], problems()["linear"]
    assert problem == same
    minimizer: Array | None = problem.minimizer
    assert minimizer is not None
    assert problem.mean_gradient(minimizer).shape == (problem.dimension,)
    images = [regularizer.prox(minimizer, 0.1) for regularizer in regularizers()]
    assert len(images) == len(regularizers())
    assert len({algorithm(rs.L1(), schedule) for schedule in schedules()}) == 4
    rda = algorithm(rs.L1(), rs.PowerLaw(c=0.1, mu=0.6))
    bands(*theory_and_runs(problem, rda))
    orders(problem, rda)
    claims(rs.LinearRegression([0.5, 0.0, -0.3], rs.AR1(3, 0.5)), rda)
    online(rda)
    assert "holds" in laws(problem, rs.ElasticNet(0.1)).values()


if __name__ == "__main__":
    main()
