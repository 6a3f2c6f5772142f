"""Rows that come again in scattered order: shuffled copies, and rows drawn with replacement."""

import pickle
import sys

import numpy as np
import pytest

import rdasde as rs
from rdasde._inference.equal_rows import Sample
from rdasde._inference.repeats import Repeats

COEF = np.array([0.3, 0.6, -0.4, 0.0])
ALGORITHM = rs.RDA(0.005, rs.L1([0.0, 1.0, 1.0, 1.0]), rs.PowerLaw(0.5, 0.6))
KINDS = {
    "linear": (rs.LinearRegression, ALGORITHM),
    "logistic": (rs.LogisticRegression, rs.RDA(0.05, rs.L1([0.0, 1.0, 1.0, 1.0]), rs.PowerLaw(0.3, 0.6))),
    "poisson": (rs.PoissonLoss(), ALGORITHM),
}
AGAIN = {
    "drawn with replacement": lambda rng, rows, n: rng.integers(0, rows, n),
    "shuffled copies": lambda rng, rows, n: rng.permutation(np.tile(np.arange(rows), n // rows)),
}


def labels(rng, eta):
    return (rng.random(len(eta)) < 1.0 / (1.0 + np.exp(-eta))).astype(float)


def rows_of(name, rng, n):
    # a Poisson regression diverges at a row far out
    X = np.column_stack([np.ones(n), np.sqrt(3.0) * rng.uniform(-1.0, 1.0, (n, 3))])
    eta = X @ COEF
    if name == "linear":
        return X, eta + rng.standard_normal(n)
    return X, labels(rng, eta) if name == "logistic" else rng.poisson(np.exp(eta)).astype(float)


def watched(X, y=None, step=8192):
    """What a stream watches, without the rest of it."""
    repeats = Repeats(y is not None)
    X = np.ascontiguousarray(X, dtype=float)
    y = np.zeros(len(X)) if y is None else np.ascontiguousarray(y, dtype=float)
    for low in range(0, len(X), step):
        repeats = repeats.taken(X[low : low + step], y[low : low + step])
    return repeats


def check_coverage(name, how, rows, n, replicates):
    """Null: the mean share of coordinates covered is between .93 and .97; four standard errors beyond: 3e-5 a test.

    It may be above .95: iterates are never at rest, and that part of the noise, which is new in each copy, counts as if
    it were copied, too.
    """
    kind, algorithm = KINDS[name]
    covered = []
    for seed in range(replicates):
        rng = np.random.default_rng([seed, n])
        X, y = rows_of(name, rng, rows)
        again = AGAIN[how](rng, rows, n)
        fit = rs.fit(kind, X[again], y[again], algorithm)
        assert fit.average.note.startswith(f"Rows come again, in another order: {n} rows are worth about ")
        covered.append(np.mean((fit.interval[:, 0] < COEF) & (fit.interval[:, 1] > COEF)))
    error = np.std(covered, ddof=1) / np.sqrt(replicates)
    assert 0.93 - 4.0 * error <= np.mean(covered) <= 0.97 + 4.0 * error


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("how", "rows", "n"), [("drawn with replacement", 500, 4000), ("shuffled copies", 500, 2000)], ids=list(AGAIN)
)
def test_intervals_hold(name, how, rows, n):
    """They held in .52 and .70 when each row counted as a new one: ten standard errors of the mean away."""
    check_coverage(name, how, rows, n, 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("how", "rows", "n"),
    [
        ("drawn with replacement", 500, 4000),
        ("shuffled copies", 500, 2000),
        ("drawn with replacement", 2000, 20_000),
        ("shuffled copies", 2000, 8000),
        ("drawn with replacement", 4000, 4000),
    ],
)
def test_intervals_hold_at_length(name, how, rows, n):
    check_coverage(name, how, rows, n, 200)


def test_the_note():
    rng = np.random.default_rng(0)
    X, y = rows_of("linear", rng, 500)
    again = rng.permutation(np.tile(np.arange(500), 4))
    fit = rs.fit(rs.LinearRegression, X[again], y[again], ALGORITHM)
    note = (
        "Rows come again, in another order: 2000 rows are worth about 500 different ones, and they are counted as so "
        "many."
    )
    assert fit.average.note == note
    assert f"Average: {note}" in str(fit.summary())
    assert fit.average.freedom == 496
    scaled = rs.fit(rs.LinearRegression, X[again], y[again], ALGORITHM, inference="random-scaling")
    assert "Random scaling has no law for rows that come again" in scaled.average.note


@pytest.mark.parametrize(("rows", "n"), [(500, 4000), (3000, 3000), (20_000, 100_000), (100_000, 20_000)])
def test_copies_are_worth_what_their_weights_say(rows, n):
    """``n**2 / sum m**2``: exactly where all rows are remembered, else from a sample of 512 or more, to 13 %.

    Of rows drawn with replacement as often as there are, ``m**2 - 2 m`` has the deviation 1.7: 3 % of 2 in a sample of
    that size; less where rows come more often or more rarely. Four of these.
    """
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((rows, 3)), rng.standard_normal(rows)
    again = rng.integers(0, rows, n)
    worth = n**2 / np.sum(np.bincount(again) ** 2.0)
    assert watched(X[again], y[again]).different() == pytest.approx(worth, rel=1e-3 if rows == 500 else 0.13)


def codes(rng, n, number, columns=8):
    return rng.standard_normal((number, columns))[rng.integers(0, number, n)]


def dummies(code, number):
    return (code[:, None] == np.arange(number)).astype(float)


def time_of_day(rng, n):
    hour = 2.0 * np.pi * rng.integers(0, 1440, n) / 1440
    waves = [np.ones(n), np.cos(2.0 * hour), np.sin(2.0 * hour), np.sin(hour), np.cos(hour)]
    return np.column_stack(waves).round(12)


def powers(rng, n):
    t = rng.standard_normal(n).round(2)
    return np.column_stack([np.ones(n), t, t**2, t**3])


def zeros_or(rng, share, X, y):
    off = rng.random(len(X)) < share
    return np.where(off[:, None], 0.0, X), np.where(off, 0.0, y)


def binary(rng, n, d=8):
    return (rng.random((n, d)) < 0.5).astype(float)


# what is equal by chance: names say of what, and of what response
DISCRETE = {
    "binary, labels": lambda rng, n: (X := binary(rng, n), labels(rng, X @ np.linspace(-2.0, 2.0, 8))),
    "binary, numbers": lambda rng, n: (X := binary(rng, n), X.sum(axis=1) + rng.standard_normal(n)),
    "binary, numbers to a tenth": lambda rng, n: (binary(rng, n), rng.standard_normal(n).round(1)),
    "binary, no noise": lambda rng, n: (X := binary(rng, n, 10), X @ np.sqrt(np.arange(1.0, 11.0))),
    "binary, no response": lambda rng, n: (binary(rng, n), None),
    "integers, labels": lambda rng, n: (X := rng.integers(0, 9, (n, 3)), labels(rng, X.sum(axis=1) - 12.0)),
    "integers, counts": lambda rng, n: (X := rng.integers(0, 99, (n, 3)), rng.poisson(X.mean(axis=1) / 20.0)),
    "counts, counts": lambda rng, n: (X := rng.poisson(2.0, (n, 4)), rng.poisson(np.exp(0.1 * X.sum(axis=1)))),
    "one rounded column, labels": lambda rng, n: (X := powers(rng, n)[:, :2], labels(rng, X[:, 1])),
    "one rounded column, rare labels": lambda rng, n: (X := powers(rng, n)[:, :2], labels(rng, X[:, 1] - 5.0)),
    "one rounded column, no noise": lambda rng, n: (X := powers(rng, n)[:, :2], np.exp(X[:, 1])),
    "its powers, rare labels": lambda rng, n: (X := powers(rng, n), labels(rng, X[:, 1] - 5.0)),
    "its powers, no response": lambda rng, n: (powers(rng, n), None),
    "rows to 1 digit": lambda rng, n: (X := rng.standard_normal((n, 2)).round(1), (X @ [1.0, 2.0]).round(1)),
    "rows to 2 digits": lambda rng, n: (
        X := rng.standard_normal((n, 3)).round(2),
        (X.sum(axis=1) + rng.standard_normal(n)).round(2),
    ),
    "dummies, labels": lambda rng, n: (dummies(rng.integers(0, 12, n), 12), labels(rng, np.zeros(n))),
    "dummies, far apart": lambda rng, n: (
        dummies(c := rng.integers(0, 12, n), 12),
        (20.0 * c + rng.standard_normal(n)).round(1),
    ),
    "dummies, no response": lambda rng, n: (dummies(rng.integers(0, 12, n), 12), None),
    "dummies and a rounded column, labels": lambda rng, n: (
        np.column_stack([dummies(rng.integers(0, 12, n), 12), rng.standard_normal(n).round(2)]),
        labels(rng, np.zeros(n)),
    ),
    "time of day, rare labels": lambda rng, n: (X := time_of_day(rng, n), labels(rng, 2.0 * X[:, 3] - 6.0)),
    "time of day, no response": lambda rng, n: (time_of_day(rng, n), None),
    "constant columns": lambda rng, n: (np.ones((n, 3)), rng.standard_normal(n).round(2)),
    "an intercept, labels": lambda rng, n: (np.ones((n, 1)), labels(rng, np.zeros(n))),
    "an intercept, integers": lambda rng, n: (np.ones((n, 1)), rng.integers(0, 500, n)),
    "zeros, or numbers": lambda rng, n: zeros_or(rng, 0.4, rng.standard_normal((n, 4)), rng.standard_normal(n)),
    "zeros but for a category, or numbers": lambda rng, n: (
        both := zeros_or(rng, 0.7, rng.standard_normal((n, 3)), rng.standard_normal(n)),
        (np.column_stack([both[0], dummies(rng.integers(0, 30, n), 30)]), both[1]),
    )[1],
    "codes of a category, labels": lambda rng, n: (X := codes(rng, n, 500), labels(rng, X[:, 0])),
    "codes of a category, rare labels": lambda rng, n: (X := codes(rng, n, 500), labels(rng, X[:, 0] - 5.0)),
    "codes of a category, steep labels": lambda rng, n: (X := codes(rng, n, 500), labels(rng, 5.0 * X.sum(axis=1))),
    "codes of a category, counts": lambda rng, n: (X := codes(rng, n, 500), rng.poisson(np.exp(0.3 * X[:, 0]))),
    "persons, ratings": lambda rng, n: (X := codes(rng, n, 300), (X[:, 0] + 0.5 * rng.standard_normal(n)).round()),
    "nothing equal": lambda rng, n: (X := rng.standard_normal((n, 4)), X.sum(axis=1) + rng.standard_normal(n)),
}


def assert_silent(name, sizes, seeds):
    for n in sizes:
        for seed in range(seeds):
            X, y = DISCRETE[name](np.random.default_rng([seed, n]), n)
            assert watched(X, y).different() == n


@pytest.mark.parametrize("name", DISCRETE)
def test_equal_by_chance(name):
    """False alarms: by construction below 1e-6 a sample, and there are six."""
    assert_silent(name, (1000, 4000, 20_000), 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", DISCRETE)
def test_equal_by_chance_at_length(name):
    assert_silent(name, (200, 500, 1000, 4000, 20_000), 20)
    assert_silent(name, (600_000,), 1)


@pytest.mark.parametrize("positives", [0, 1, 2, 4, 8, 16, 64])
def test_few_labels_tell_nothing(positives):
    """Whether the few ones of 3000 labels differ from rows equal to theirs tells copies from chance only if it does."""
    for seed in range(5):
        rng = np.random.default_rng([positives, seed])
        y = np.zeros(3000)
        y[rng.permutation(3000)[:positives]] = 1.0
        for X in (codes(rng, 3000, 50), codes(rng, 3000, 2000), powers(rng, 3000)):
            assert watched(X, y).different() == 3000


def test_rare_copies_change_nothing():
    """Nine rows in a thousand come twice: standard errors would change by less than 1 %; thirty are counted."""
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((1020, 3)), rng.standard_normal(1020)
    X[:9], y[:9] = X[500:509], y[500:509]
    again = rng.permutation(1020)
    assert watched(X[again], y[again]).different() == 1020
    X[9:30], y[9:30] = X[509:530], y[509:530]
    assert watched(X[again], y[again]).different() == round(1020**2 / (1020 + 2 * 30))


def test_few_responses_that_tell_copies():
    """Columns are discrete, and so are 92 % of the responses: the other 320 of 4000 know how many copies there are.

    Half of them are remembered, and tell it with the deviation 1.7 / sqrt(160), 7 %: the mean over ten to 2.2 %, and
    four of these. Taking for atoms those that come three times or more would be off by 15 %.
    """
    found = []
    for seed in range(10):
        rng = np.random.default_rng([seed, 12])
        X = rng.integers(0, 50, (4000, 2))
        y = np.where(rng.random(4000) < 0.92, 0.0, rng.standard_normal(4000))
        again = rng.integers(0, 4000, 4000)
        repeats = watched(X[again], y[again])
        assert repeats._alone._by_y.found().rate <= 2.0
        found.append(4000 / repeats.different())
    assert np.mean(found) == pytest.approx(2.0, rel=0.09)


@pytest.mark.parametrize("where", ["response", "columns", "columns alone", "rounded"])
def test_copies_of_partly_discrete_rows(where):
    """It is enough that X or the response is seldom equal by chance; without a response, that columns are."""
    rng = np.random.default_rng(3)
    y = rng.standard_normal(500)
    X, y = {
        "response": lambda: (binary(rng, 500, 4), y),
        "columns": lambda: (np.column_stack([binary(rng, 500, 4), rng.standard_normal(500)]), labels(rng, y)),
        "columns alone": lambda: (rng.standard_normal((500, 4)), None),
        "rounded": lambda: (rng.standard_normal((500, 4)).round(2), y.round(2)),
    }[where]()
    again = rng.integers(0, 500, 4000)
    assert watched(X[again], None if y is None else y[again]).different() == pytest.approx(444, rel=0.05)


def test_a_few_values_that_come_often_are_no_copies():
    """Fifteen rows that are there four times each may be values of their own; sixty are more than that."""
    rng = np.random.default_rng(13)
    X, y = rng.standard_normal((500, 4)), rng.standard_normal(500)
    few, many = (np.concatenate([np.tile(np.arange(k), 4), np.arange(k, 500)]) for k in (15, 60))
    few, many = rng.permutation(few), rng.permutation(many)
    assert watched(X[few], y[few]).different() == len(few)
    assert watched(X[many], y[many]).different() == round(680**2 / (440 + 60 * 16))


def test_rows_of_zeros_among_copies():
    """A row that is there by itself a thousand times says nothing of how often others are."""
    rng = np.random.default_rng(4)
    X, y = zeros_or(rng, 0.3, rng.standard_normal((2000, 4)), rng.standard_normal(2000))
    assert watched(X, y).different() == 2000
    again = rng.permutation(np.tile(np.arange(2000), 4))
    assert watched(X[again], y[again]).different() == 2000


def test_what_is_given_twice_in_order_is_counted_once():
    """By its runs, as it was; single rows count where they say more."""
    rng = np.random.default_rng(5)
    X, y = rows_of("linear", rng, 1000)
    fit = rs.fit(rs.LinearRegression, np.tile(X, (4, 1)), np.tile(y, 4), ALGORITHM)
    assert fit.average.note.startswith("Runs of rows come again: about 1031 of 4000 rows are different")
    again = rng.permutation(np.tile(np.arange(1000), 2))
    fit = rs.fit(rs.LinearRegression, np.tile(X[again], (2, 1)), np.tile(y[again], 2), ALGORITHM)
    assert fit.average.note.startswith("Rows come again, in another order: 4000 rows are worth about 1000 different")


def test_several_passes_are_none():
    rng = np.random.default_rng(6)
    X, y = rows_of("linear", rng, 1000)

    class Shuffled:
        def __iter__(self):
            again = rng.permutation(1000)
            yield X[again], y[again]

    fit = rs.fit(rs.LinearRegression, Shuffled(), None, ALGORITHM, passes=3)
    assert fit.average.note == ""
    again = rng.permutation(1000)
    fit.update(X[again], y[again])  # one's own pass is
    assert "2000 rows are worth about 1000 different ones" in fit.average.note


@pytest.mark.parametrize("rows", [300, 12_000])
def test_it_makes_no_difference_how_rows_come(rows):
    """In one batch or in many; many rows are sampled, few are all remembered."""
    rng = np.random.default_rng(7)
    X, y = rows_of("poisson", rng, rows)
    again = rng.integers(0, rows, 20_000)
    whole, parts = watched(X[again], y[again], 20_000), watched(X[again], y[again], 77)
    assert whole.different() == parts.different() < 20_000
    for one, two in ((whole._alone._by_x, parts._alone._by_x), (whole._alone._by_y, parts._alone._by_y)):
        for array, other in zip(one.found(), two.found(), strict=True):
            np.testing.assert_array_equal(array, other)
        assert len(one.found().counts) <= 1024


def test_a_sample_counts_what_it_selects():
    """Against a dictionary: each key as often as it came, with the first of its rows."""
    rng = np.random.default_rng(8)
    selectors = rng.integers(0, 2**64, 3000, dtype=np.uint64)[rng.integers(0, 3000, 30_000)]
    keys = selectors ^ rng.integers(0, 3, 30_000, dtype=np.uint64)
    x, y = rng.standard_normal((30_000, 2)), rng.standard_normal(30_000)
    sample = Sample()
    for low in range(0, 30_000, 500):
        part = slice(low, low + 500)
        sample = sample.taken(selectors[part], keys[part], x[part], y[part])
    found = sample.found()
    mask = np.uint64(found.rate) - np.uint64(1)
    here = np.flatnonzero(selectors & mask == 0)
    assert len(set(keys[selectors & (mask >> np.uint64(1)) == 0])) > 1024 >= len(set(keys[here]))
    expected, first, counts = np.unique(keys[here], return_index=True, return_counts=True)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_array_equal(found.y, y[here][first])
    np.testing.assert_array_equal(found.x, x[here][first])
    same = selectors[here][first]
    np.testing.assert_array_equal(found.groups[:, None] == found.groups, same[:, None] == same)
    assert len(expected) > 500


def test_many_columns_are_looked_at_in_part():
    rng = np.random.default_rng(9)
    X, y = rng.standard_normal((500, 300)), rng.standard_normal(500)
    again = rng.permutation(np.tile(np.arange(500), 4))
    repeats = watched(X[again], y[again])
    assert repeats.different() == 500
    assert repeats._alone._by_x.found().x.shape == (500, 64)


def test_a_fit_of_copies_that_was_put_away_goes_on():
    rng = np.random.default_rng(10)
    X, y = rows_of("linear", rng, 3000)
    again = rng.integers(0, 3000, 6000)
    fit = rs.fit(rs.LinearRegression, X[again[:2500]], y[again[:2500]], ALGORITHM)
    other = pickle.loads(pickle.dumps(fit)).update(X[again[2500:]], y[again[2500:]])
    fit.update(X[again[2500:]], y[again[2500:]])
    assert other.average.note == fit.average.note != ""
    np.testing.assert_array_equal(other.interval, fit.interval)


def test_rows_that_are_interrupted_are_not_counted():
    """Whatever line is the last: what was there before is the same, bit for bit, and goes on."""
    rng = np.random.default_rng(11)
    X, y = rows_of("linear", rng, 400)
    again = rng.integers(0, 400, 4000)
    before = watched(X[again[:3000]], y[again[:3000]], 50)
    after = before.taken(X[again[3000:]], y[again[3000:]])
    kept, line = pickle.dumps(before), 0

    class Stop(Exception):
        pass

    def trace(frame, event, argument):
        nonlocal left
        if "_inference" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise Stop
        return trace

    while True:
        line += 1
        left, old = line, sys.gettrace()
        sys.settrace(trace)
        try:
            before.taken(X[again[3000:]], y[again[3000:]])
            break
        except Stop:
            pass
        finally:
            sys.settrace(old)
        assert pickle.dumps(before) == kept
    assert line > 20
    assert pickle.dumps(before.taken(X[again[3000:]], y[again[3000:]])) == pickle.dumps(after)
