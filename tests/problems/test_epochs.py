"""Rows drawn without replacement: every row once an epoch, in an order of its own for each run and epoch."""

import itertools
import re

import numpy as np
import pytest
import scipy.stats
import xarray as xr

import rdasde as rs
from rdasde._compiled.lanes import LANES
from rdasde._engine import march as _march

GENERATOR = np.random.default_rng(0)
ROWS, RESPONSE = GENERATOR.standard_normal((7, 3)), GENERATOR.standard_normal(7)
PROBLEMS = {
    "linear": rs.LinearRegression.from_data(ROWS, RESPONSE, replacement=False),
    "logistic": rs.LogisticRegression.from_data(ROWS, RESPONSE > 0.0, replacement=False),
    "oja": rs.OnlinePCA.from_data(ROWS, replacement=False),
    "huber": rs.LinearModel.from_data(rs.HuberLoss(0.5), ROWS, RESPONSE, replacement=False),
}
START = np.array([0.3, -0.2, 0.5])


def rows_taken(problem, runs, step_size):
    """Which row each step of each run took, (replicate, step), from the moves themselves."""
    dual = runs.dual.values
    moves = -np.diff(dual, axis=1) / step_size
    taken = np.empty(moves.shape[:2], dtype=int)
    for r, n in np.ndindex(*taken.shape):
        distance = np.abs(problem.row_gradients(dual[r, n]) - moves[r, n]).max(axis=1)
        taken[r, n] = distance.argmin()
        assert distance.min() < 1e-9
    return taken


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_row_once_in_an_epoch(name):
    problem = PROBLEMS[name]
    runs = rs.simulate(problem, rs.RDA(0.01), 0.28, replicates=20, times=29, start=START, seed=1)
    taken = rows_taken(problem, runs, 0.01).reshape(20, 4, 7)
    np.testing.assert_array_equal(np.sort(taken, axis=2), np.broadcast_to(np.arange(7), taken.shape))
    assert len({tuple(order) for order in taken.reshape(80, 7)}) > 70  # of 5 040 orders


def test_orders_are_uniform_and_independent_from_one_epoch_to_the_next():
    """Of three rows there are six orders, and 36 pairs of them."""
    # null: uniform over 36 pairs, chi-square of 7 200 runs, 1e-4
    problem = rs.LinearRegression.from_data(ROWS[:3], RESPONSE[:3], replacement=False)
    runs = rs.simulate(problem, rs.RDA(0.01), 0.06, replicates=7200, times=7, start=START, seed=2)
    taken = rows_taken(problem, runs, 0.01)
    number = {order: k for k, order in enumerate(itertools.permutations(range(3)))}
    pairs = [6 * number[tuple(row[:3])] + number[tuple(row[3:])] for row in taken.tolist()]
    assert scipy.stats.chisquare(np.bincount(pairs, minlength=36)).pvalue > 1e-4


def test_mini_batches_are_the_next_rows():
    """A batch of all rows is the mean gradient, whatever the order."""
    problem = PROBLEMS["linear"]
    runs = rs.simulate(problem, rs.RDA(0.1, batch_size=7), 1.0, replicates=2, times=11, start=START, seed=3)
    w = START
    for n in range(1, 11):
        w = w - 0.1 * problem.mean_gradient(w)
        np.testing.assert_allclose(runs.dual[:, n], [w, w], rtol=1e-12)


def test_the_same_bits_however_runs_are_cut(monkeypatch, tmp_path):
    problem, algorithm = PROBLEMS["logistic"], rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.1, 0.6), batch_size=2)
    options = {"times": 21, "start": START, "seed": 8}
    whole = rs.simulate(problem, algorithm, 1.0, replicates=20, store=tmp_path, **options)
    xr.testing.assert_identical(
        whole.dual[[17, 3]], rs.simulate(problem, algorithm, 1.0, replicates=[17, 3], **options).dual
    )
    monkeypatch.setattr(_march, "_WORK", 7 * 3 * LANES)
    monkeypatch.setattr(_march, "_BUFFER", 2 * 3 * LANES)
    xr.testing.assert_identical(whole, rs.simulate(problem, algorithm, 1.0, replicates=20, **options))
    again = rs.LogisticRegression.from_data(ROWS, RESPONSE > 0.0)
    with pytest.raises(ValueError, match=r"differs in problem\)"):
        rs.simulate(again, algorithm, 1.0, replicates=20, store=tmp_path, **options)


def test_they_scatter_less_than_with_replacement():
    """A run ends with its epoch: what is left is of the next order in the step size."""
    # null: variances of 400 runs each are known to 7 %, so that a ratio far below .2 does not come out above it
    with_, without = (
        rs.simulate(
            rs.LinearRegression.from_data(ROWS, RESPONSE, replacement=replacement),
            rs.RDA(0.005), 7.0, replicates=400, times=[7.0], seed=4,
        ).dual.values[:, 0].var(axis=0)
        for replacement in (True, False)
    )  # fmt: skip
    assert np.all(without < 0.2 * with_)


def test_it_is_part_of_the_problem():
    replaced = rs.LinearRegression.from_data(ROWS, RESPONSE)
    assert replaced != PROBLEMS["linear"]
    assert replaced == rs.LinearRegression.from_data(ROWS, RESPONSE, replacement=True)
    assert repr(PROBLEMS["linear"]) == "LinearRegression.from_data(<n=7, d=3>, replacement=False)"
    with pytest.raises(TypeError, match=r"^replacement is 'no' \(str\), but must be True or False"):
        rs.OnlinePCA.from_data(ROWS, replacement="no")


@pytest.mark.parametrize("verb", [rs.approximate, rs.validate.coverage, rs.validate.calibration, rs.validate.risk])
def test_there_is_no_diffusion_of_it(verb):
    message = (
        "problem is one of rows without replacement, whose noise cancels over an epoch to first order in the step "
        "size, but must be one of independent draws here: use simulate, or replacement=True."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        verb(PROBLEMS["linear"], rs.RDA(0.01), 1.0)
