"""The closure holds for every loss and design: bands in the dual, by coordinate, on and off the support."""

import numpy as np
import pytest
import scipy.stats

import rdasde as rs

RNG = np.random.default_rng(8)
ROWS = RNG.standard_normal((150, 4))
COEF = np.array([0.6, 0.0, -0.4, 0.0])
RESPONSES = {
    "real": ROWS @ COEF + RNG.standard_normal(150),
    "label": (RNG.uniform(size=150) < 1.0 / (1.0 + np.exp(-ROWS @ COEF))).astype(float),
    "count": RNG.poisson(np.exp(ROWS @ COEF)).astype(float),
}
LOSSES = {
    "squared": rs.SquaredLoss(),
    "logistic": rs.LogisticLoss(),
    "Poisson": rs.PoissonLoss(),
    "Huber": rs.HuberLoss(1.0),
    "quantile": rs.QuantileLoss(0.7),
    "smoothed quantile": rs.QuantileLoss(0.7, 0.3),
    "squared hinge": rs.SquaredHingeLoss(),
}
COUNT = 600
CASES = [(name, design) for name in LOSSES for design in ("rows", "Gaussian")]


@pytest.mark.parametrize(("name", "design"), CASES)
def test_bands_hold(name, design):
    """Null: each coordinate is inside with probability .935 to .965, means are within .1 standard deviation.

    600 replicates, 4 coordinates, 14 cases: a bound that each of 56 counts breaks with probability below 1e-4 / 112,
    and 5.5 standard errors of each mean.
    """
    loss = LOSSES[name]
    if design == "rows":
        problem = rs.LinearModel.from_data(loss, ROWS, RESPONSES[loss.response])
    else:
        noise = scipy.stats.t(3) if name in ("Huber", "quantile") else None
        problem = rs.LinearModel(loss, COEF, rs.AR1(4, 0.5), noise=noise)
    step_size = 0.1 / problem.trace()
    algorithm = rs.RDA(step_size, rs.L1(), rs.PowerLaw(c=0.3, mu=0.6))
    options = {"horizon": 150.0 * step_size, "times": 3}
    runs = rs.simulate(problem, algorithm, replicates=COUNT, seed=0, **options)
    theory = rs.approximate(problem, algorithm, check=False, **options)
    held = rs.coverage(runs, rs.band(theory, space="dual")).values[-1] * COUNT
    alarm = 1e-4 / 112.0
    assert held.min() >= scipy.stats.binom.ppf(alarm, COUNT, 0.935)
    assert held.max() <= scipy.stats.binom.isf(alarm, COUNT, 0.965)
    last = runs.dual.isel(time=-1)
    gap = abs(last.mean("replicate") - theory.dual_mean[-1]) / theory.dual_std[-1]
    assert float(gap.max()) < 0.1 + 5.5 / np.sqrt(COUNT)
