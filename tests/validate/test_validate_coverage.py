"""How often bands hold: the counting against a plain loop, the noise that counting leaves, and the theory itself."""

import re

import numpy as np
import pytest
import scipy.stats

import rdasde as rs
from rdasde._engine import blocks
from rdasde.validate import _coverage

COEF = np.array([0.5, -0.4, 0.05, -0.03, 0.0, 0.0])
PROBLEM = rs.LinearRegression(COEF, rs.AR1(6, 0.5), noise_std=0.7)
ALGORITHM = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
OPTIONS = {"times": 6, "seed": 3, "levels": (0.8, 0.95)}


def coverage(method="paths", number=200, **options):
    return rs.validate.coverage(
        PROBLEM, ALGORITHM, 2.0, method=method, replicates=number, paths=number, **(OPTIONS | options)
    )


@pytest.mark.parametrize("method", ["paths", "closure", "limit"])
def test_counts_as_a_plain_loop_does(method, monkeypatch):
    monkeypatch.setattr(blocks, "_CHUNK", 2 * 6 * 6 * 48)  # 48 runs at a time
    result = coverage(method)
    runs = rs.simulate(PROBLEM, ALGORITHM, 2.0, replicates=200, times=6, seed=3)
    theory = rs.approximate(PROBLEM, ALGORITHM, 2.0, method=method, paths=200, times=6, seed=3, check=False)
    late = theory.time.values > 0.2
    for space in ("dual", "primal"):
        for level in (0.8, 0.95):
            held = rs.coverage(runs, rs.band(theory, level, space=space))
            at = result.sel(space=space, level=level)
            np.testing.assert_allclose(at.coverage, held, atol=1e-12)
            for group in ("all", "zero", "weak", "strong"):
                member = result.member.sel(group=group).values
                if member.any():
                    inside = held.values[late][:, member]
                    cell = at.sel(group=group)
                    np.testing.assert_allclose(cell.estimate, inside.mean(), atol=1e-12)
                    np.testing.assert_allclose(cell.lowest_time, inside.mean(axis=1).min(), atol=1e-12)
                    np.testing.assert_allclose(cell.worst, inside.min(), atol=1e-12)
    np.testing.assert_array_equal(result.member.sel(group="zero"), COEF == 0.0)
    bound = theory.threshold.values[-1] + 2.0 * theory.dual_std.values[-1]
    np.testing.assert_array_equal(result.member.sel(group="strong"), np.abs(COEF) > bound)
    np.testing.assert_array_equal(result.member.sum("group"), 2)  # "all" and one other


def test_the_primal_holds_whenever_the_dual_does():
    """The mirror map is nondecreasing (theory, section 3): run by run, so also in every count."""
    covered = coverage().coverage
    assert np.all(covered.sel(space="primal").values >= covered.sel(space="dual").values)


@pytest.mark.parametrize("paths", [100, None])
def test_the_worst_case_is_judged_rightly(paths):
    """Null: 20 independent nominal bands; their extremes leave the allowed range in one of 100 trials at most.

    n = 2 000 trials, false alarm 1e-4. And the range is not idle: a level 12 points too low is seen in most.
    """
    generator = np.random.default_rng(0)
    trials, cases, replicates, level = 2000, 20, 200, 0.9
    if paths is None:
        inside = np.full((trials, cases), level)
    else:
        drawn = generator.random((trials, cases, paths))
        ends = np.quantile(drawn, [0.05, 0.95], axis=2, method="weibull")
        inside = ends[1] - ends[0]
    low, high = _coverage.allowed(level, cases, replicates, paths)

    def outside(probability):
        counts = generator.binomial(replicates, probability) / replicates
        return int(np.count_nonzero((counts.min(axis=1) < low) | (counts.max(axis=1) > high)))

    assert outside(inside) <= scipy.stats.binom.isf(1e-4, trials, 0.01)
    assert outside(inside - 0.12) > trials / 2


def test_standard_error_of_the_mean():
    """Of coordinates that move as one, and bands from as many paths: 300 repetitions of the whole count.

    Null: bias over standard error has variance 1 at least roughly: between .6 and 1.5 (chi-square with 299 degrees of
    freedom leaves .73 to 1.35 with probability 1 - 1e-4).
    """
    generator = np.random.default_rng(1)
    number, level, scores = 400, 0.8, []
    for _ in range(300):
        states, runs = generator.standard_normal((2, number))
        low, high = np.quantile(states, [0.1, 0.9])
        inside = (runs >= low) & (runs <= high)
        error = np.sqrt(inside.var(ddof=1) * (2.0 / number))
        scores.append((inside.mean() - level) / error)
    assert 0.6 < np.var(scores) < 1.5


def test_bands_from_paths_hold():
    """The claim itself, at gamma tr(H) = .06, 1 500 runs and paths: the mean over coordinates within 1.5 points, and
    no coordinate where counting noise (probability .99, so one false alarm in 100 seeds, this seed not chosen) forbids.
    """
    result = coverage(number=1500, levels=(0.8, 0.9, 0.95, 0.99))
    dual = result.sel(space="dual", group="all")
    assert np.all(np.abs(dual.bias) < 0.015 + 4.0 * dual.standard_error)
    assert np.all(dual.worst >= dual.worst_allowed)
    assert np.all(dual.best <= dual.best_allowed)


def test_a_wrong_theory_is_seen():
    """Bands of half the step size, as it were: runs noisier than the theory says are not covered."""
    noisy = rs.LinearRegression(COEF, rs.AR1(6, 0.5), noise_std=1.0)
    theory = rs.approximate(PROBLEM, ALGORITHM, 2.0, method="paths", times=6, paths=400, seed=3)
    runs = rs.simulate(noisy, ALGORITHM, 2.0, replicates=400, times=6, seed=3)
    held = rs.coverage(runs, rs.band(theory, 0.95, space="dual")).values[1:]
    assert held.min() < _coverage.allowed(0.95, held.size, 400, 400)[0]


def test_table():
    result = coverage()
    table = rs.validate.table(result)
    assert table.index.names == ["space", "level", "group"]
    assert list(table.columns)[:4] == ["Estimate", "Bias against theory", "Standard error", "Interval"]
    row = table.loc[("dual", 0.95, "zero")]
    at = result.sel(space="dual", level=0.95, group="zero")
    assert row["Estimate"] == float(at.estimate)
    assert row["Bias against theory"] == pytest.approx(float(at.estimate) - 0.95)
    assert row["Interval"] == f"[{float(at.lower):.4f}, {float(at.upper):.4f}]"


CASES = [
    ({"levels": (0.8, 1.0)}, "level is 1.0, but must be a finite number > 0 and < 1: give for example level=0.95."),
    (
        {"method": "exact"},
        "method is 'exact', but must be one of 'paths', 'closure', 'limit': choose one of these.",
    ),
    (
        {"paths": 100},
        "level is 0.99 from 100 paths, but must be one whose quantiles lie among them: pass paths=199 or more, "
        "or a lower level, or use method='closure'.",
    ),
    ({"replicates": 1}, "replicates is 1, but must be a whole number >= 2: give the number of runs to count."),
    (
        {"times": [0.0, 0.1]},
        "times is an array that ends in the first tenth of the horizon, but must be one with a later time: "
        "give for example times=11.",
    ),
]


@pytest.mark.parametrize(("options", "message"), CASES)
def test_bad_values(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        rs.validate.coverage(PROBLEM, ALGORITHM, 2.0, **options)


def test_bad_kinds():
    with pytest.raises(TypeError, match=r"^levels is 0\.9 \(float\), but must be a sequence of levels: give for"):
        rs.validate.coverage(PROBLEM, ALGORITHM, 2.0, levels=0.9)
    with pytest.raises(TypeError, match=r"must be what a function of rs\.validate returned: pass that Dataset"):
        rs.validate.table({"estimate": 1})
