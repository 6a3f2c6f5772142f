"""Laws are compared with the algorithm: where they fail it is said, where they hold nothing is."""

import itertools
import re
import warnings

import numpy as np
import pytest

import rdasde as rs
from rdasde._approximations import check
from rdasde._compiled.lanes import LANES
from rdasde._engine.blocks import AtOnce
from rdasde._engine.run import MonteCarlo, Run
from rdasde._engine.time_axis import time_axis

COEF = np.r_[np.full(5, 0.5), np.full(5, -0.5), np.zeros(10)]
RULE = rs.PowerLaw(0.5, 0.6)
CHECKED = {"checked_mean", "checked_std", "checked_quantile", "checked_zero", "checked_replicates"}


def rare_features():
    generator = np.random.default_rng(1)
    rows = (generator.random((200, 5)) < np.array([0.5, 0.1, 0.02, 0.01, 0.005])).astype(float)
    rows[0] = 1.0
    return rs.LinearRegression.from_data(rows, rows @ np.array([1.0, -1.0, 0.0, 3.0, 0.0]) + generator.normal(size=200))


def large_step():
    return rs.LinearRegression(np.ones(1)), rs.RDA(0.6), 60.0


@pytest.mark.parametrize("method", ["closure", "paths"])
def test_a_law_that_holds_says_what_was_found(method):
    problem = rs.LinearRegression(COEF, rs.AR1(20, 0.8))
    law = rs.approximate(problem, rs.RDA(0.005, rs.L1(), RULE), 5.0, times=6, method=method, seed=0)
    assert set(law.attrs) >= CHECKED
    assert law.attrs["checked_replicates"] in (512, 1024, 2048, 4096, 8192)
    assert law.attrs["checked_mean"] < 0.3


def test_rare_features_are_noticed():
    with pytest.warns(rs.AccuracyWarning, match=r"its P\(w_j = 0\) is off by -?\+?0\.") as caught:
        law = rs.approximate(rare_features(), rs.RDA(0.1, rs.L1(), RULE), 20.0, times=[0.0, 0.4, 2.0, 20.0])
    assert caught[0].filename == __file__  # the line that asked
    assert caught[0].category is rs.ClosureWarning
    assert re.search(
        r"against \d+ runs of the algorithm; try method='paths', or take a smaller", str(caught[0].message)
    )
    assert law.attrs["checked_zero"] > 0.1


def test_the_first_order_at_large_steps_is_noticed():
    problem, algorithm, horizon = large_step()
    with pytest.warns(rs.AccuracyWarning, match=r"method='paths' is not right here: .*, against \d+ runs") as caught:
        rs.approximate(problem, algorithm, horizon, times=4, method="paths", seed=0, equation_order=1)
    assert "take a smaller step_size or a larger batch_size" in str(caught[0].message)


def test_tails_at_large_steps_are_noticed():
    """One coordinate at one time: a Gaussian of the right moments holds in 97.7 %, 2.7 points more than it says."""
    problem, algorithm, horizon = large_step()
    with pytest.warns(rs.ClosureWarning, match=r"its 95 % band in the dual holds 9[78]\.\d %"):
        rs.approximate(problem, algorithm, horizon, times=[0.0, horizon])


def test_nothing_is_run_where_that_is_not_wanted(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the algorithm was run")

    monkeypatch.setattr(check, "simulate", refuse)
    law = rs.approximate(rs.LinearRegression(COEF), rs.RDA(0.005, rs.L1(), RULE), 1.0, times=3, check=False)
    assert not set(law.attrs) & CHECKED


def test_where_runs_cost_too_much_what_is_known_decides(monkeypatch):
    monkeypatch.setattr(check, "_BUDGET", 0.0)
    monkeypatch.setattr(check, "price_of_a_step", lambda *arguments: np.inf)
    problem, algorithm, horizon = large_step()
    with pytest.warns(rs.ClosureWarning, match=r"step_size \* trace of the Hessian / batch_size is 0\.6"):
        law = rs.approximate(problem, algorithm, horizon, times=3)
    assert "checked_replicates" not in law.attrs
    with pytest.warns(rs.ClosureWarning, match=r"the noise of gradients leaves a skewness of about \d"):
        rs.approximate(rare_features(), rs.RDA(0.1, rs.L1(), RULE), 20.0, times=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rs.approximate(rs.LinearRegression(COEF, rs.AR1(20, 0.8)), rs.RDA(0.005, rs.L1(), RULE), 5.0, times=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"check": "always"}, "check is always, but must be 'auto', True or False: choose one of these."),
        ({"check": 1}, "check is 1, but must be 'auto', True or False: choose one of these."),
        ({"equation_order": 3}, "equation_order is 3, but must be 1 or 2: choose one of these."),
        ({"noise": "rows"}, "noise is 'rows', but must be one of 'gaussian', 'gradients': choose one of these."),
        (
            {"noise": "gradients"},
            "noise is 'gradients' with method='closure', but must be 'gaussian' there: use method='paths'.",
        ),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        rs.approximate(rs.LinearRegression(COEF), rs.RDA(0.01), 1.0, **arguments)
    assert str(caught.value) == message


SIX = rs.LinearRegression([0.8, -0.5, 0.2, 0.0, 0.0, 0.0], rs.AR1(6, 0.6))


def test_what_the_band_of_the_average_misses_is_noticed():
    """Coordinates that are rarely active: the closure takes too little of how long one stays so."""
    algorithm = rs.RDA(0.02, rs.L1(), rs.PowerLaw(2.0, 0.6))
    with pytest.warns(rs.ClosureWarning, match="its 95 % band of 'average' holds 9.* %"):
        rs.approximate(SIX, algorithm, 0.3, average=True, times=6)


def test_what_the_band_of_a_function_misses_is_noticed():
    """Squares of one row are common to all coordinates, which no marginal sees: past a large step they matter."""
    coef = np.r_[np.full(3, 0.5), np.zeros(37)]
    problem = rs.LinearRegression(coef, rs.AR1(40, 0.3))
    algorithm = rs.RDA(0.02, rs.L1(), rs.PowerLaw(0.5, 0.7))
    options = {
        "method": "paths",
        "paths": 2000,
        "seed": 5,
        "times": 6,
        "statistics": {"risk": lambda w: ((w - coef) ** 2).sum(axis=-1), "nonzeros": lambda w: (w != 0.0).sum(axis=-1)},
    }
    with pytest.warns(rs.AccuracyWarning, match="its 95 % band of 'risk' holds 99.* %.*; try noise='gradients', or "):
        rs.approximate(problem, algorithm, 2.0, **options)
    small = rs.RDA(0.002, rs.L1(), rs.PowerLaw(0.5, 0.7))
    law = rs.approximate(problem, small, 1.0, **options)  # without a word, nor on counts, whose bands are wide
    assert law.attrs["checked_replicates"] >= 512


def test_steps_that_no_clock_can_tell_have_a_price(monkeypatch):
    """A pilot of so few steps that it takes what one step does: a price of 0 would be no price, and nothing be said."""
    ticks = itertools.count()
    monkeypatch.setattr(check.time, "process_time", lambda: float(next(ticks)))
    run = Run(rs.LinearRegression([1.0, 0.0]), rs.RDA(0.01), np.zeros(2), time_axis(0.3, 2, 0.01))
    price = check.price_of_a_step(run, MonteCarlo(16, 0, AtOnce()))
    assert price == pytest.approx(0.05 / (2 * LANES * 30))
