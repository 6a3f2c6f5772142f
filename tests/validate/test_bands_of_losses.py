"""Bands by paths hold on and off the support for every loss: over rows, and over a Gaussian design."""

import numpy as np
import pytest

import rdasde as rs

D = 8
COEF = np.array([0.8, -0.6, 0.5, -0.7, 0.0, 0.0, 0.0, 0.0])
MANY = 16_000  # runs, and paths
ROOM = 0.015  # what a coverage may be off by
SCORE = 5.5  # of a normal variable, passed with probability 4e-8: 1e-4 over less than 3 000 looks


def _rows():
    generator = np.random.default_rng(3)
    X = generator.standard_normal((600, D)) @ np.linalg.cholesky(0.5 * np.eye(D) + 0.5).T * 0.5
    return X, X @ COEF, generator


def _over_rows():
    X, eta, generator = _rows()
    heavy, normal = eta + generator.standard_t(3, len(X)), eta + generator.standard_normal(len(X))
    counts = generator.poisson(np.exp(eta)).astype(float)
    sides = (eta + generator.logistic(size=len(X)) > 0.0).astype(float)
    classes = np.argmax(np.column_stack([np.zeros(len(X)), eta, -eta]) + generator.gumbel(size=(len(X), 3)), axis=1)
    model = rs.LinearModel.from_data
    return {
        "squared": model(rs.SquaredLoss(), X, normal),
        "logistic": model(rs.LogisticLoss(), X, sides),
        "Poisson": model(rs.PoissonLoss(), X, counts),
        "Huber": model(rs.HuberLoss(1.0), X, heavy),
        "quantile": model(rs.QuantileLoss(0.8), X, normal),
        "smoothed quantile": model(rs.QuantileLoss(0.8, 0.3), X, normal),
        "squared hinge": model(rs.SquaredHingeLoss(), X, sides),
        "softmax": rs.SoftmaxRegression.from_data(X, classes),
    }


def _gaussian():
    design = rs.AR1(D, 0.5)
    return {
        "Poisson": rs.LinearModel(rs.PoissonLoss(), 0.5 * COEF, design),
        "Huber": rs.LinearModel(rs.HuberLoss(1.0), COEF, design),
        "quantile": rs.LinearModel(rs.QuantileLoss(0.8), COEF, design),
        "logistic": rs.LogisticRegression(COEF, design),
    }


PROBLEMS = {f"{name} over rows": problem for name, problem in _over_rows().items()} | {
    f"{name}, Gaussian": problem for name, problem in _gaussian().items()
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rdasde.StabilityWarning")
@pytest.mark.parametrize("load", [0.1, 0.5])
@pytest.mark.parametrize("name", PROBLEMS)
def test_bands_by_paths_hold(name, load):
    """At ``step_size * trace of the Hessian`` = `load`, in the dual within ROOM and sampling; in the primal at least.

    Runs and paths share the error of a coverage, so that it has twice the variance of a binomial share.
    """
    problem = PROBLEMS[name]
    if "Poisson" in name:  # whose gradients grow exponentially, so that runs diverge where others do not
        load *= 0.5 if "rows" in name else 0.2
    step_size = load / problem.trace()
    algorithm = rs.RDA(step_size, rs.L1(), rs.PowerLaw(0.3, 0.6))
    horizon = max(4.0 / problem.typical_rate(), 60.0 * step_size)
    result = rs.validate.calibration(
        problem, algorithm, horizon, replicates=MANY, paths=MANY, times=5, seed=1, methods=("paths",)
    )
    assert result.attrs["diverged"] <= MANY / 1000  # they count as outside
    coverage = result["coverage"].sel(theory="paths").isel(time=slice(1, None))
    sampling = SCORE * np.sqrt(2.0 * 0.95 * 0.05 / MANY)
    dual, primal = coverage.sel(space="dual"), coverage.sel(space="primal")
    assert float(np.abs(dual.mean() - 0.95)) < 0.005
    assert float(np.abs(dual - 0.95).max()) < ROOM + sampling
    assert float(primal.min()) > 0.95 - ROOM - sampling
