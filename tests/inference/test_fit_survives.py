"""Whatever interrupts a stream, the fit is that of exactly `rows` rows, and whoever catches the exception has it."""

import collections
import signal
import sys

import numpy as np
import pytest

import rdasde as rs

ALGORITHM = rs.RDA(0.02, rs.L1(), rs.PowerLaw(c=0.3, mu=0.6), batch_size=3)
KINDS = {
    "linear": rs.LinearRegression,
    "logistic": rs.LogisticRegression,
    "poisson": rs.PoissonLoss(),
    "pca": rs.OnlinePCA,
    "softmax": rs.SoftmaxRegression,
}
NOTE = "The fit of the {} rows before is in .partial of this exception; .partial.update goes on with it."


def rows_of(kind, n, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = 0.5 * rng.standard_normal((n, d))
    if kind is rs.OnlinePCA:
        X[:5] = 0.0
        return X + np.outer(rng.standard_normal(n), np.r_[1.0, 1.0, np.zeros(d - 2)]), None
    mean = np.exp(X @ np.linspace(1.0, -0.5, d))
    if isinstance(kind, rs.PoissonLoss):
        return X, rng.poisson(mean)
    if kind is rs.SoftmaxRegression:
        classes = (3.0 * rng.random(n) + X[:, 0] > 1.0) * rng.integers(1, 3, n)
        classes[:3] = 0, 1, 2  # which the first rows have to have
        return X, classes
    return X, (rng.random(n) < mean / (1.0 + mean)).astype(float)


def part(X, y, low, high):
    return X[low:high], None if y is None else y[low:high]


def assert_same(fit, other):
    """All that a fit knows, bit for bit."""
    assert (fit.rows, fit.steps, fit.rows_averaged) == (other.rows, other.steps, other.rows_averaged)
    for one, two in ((fit.average, other.average), (fit.iterate, other.iterate)):
        np.testing.assert_array_equal(one.raw, two.raw)
        np.testing.assert_array_equal(one.interval, two.interval)
        assert (one.note, one.units, one.freedom) == (two.note, two.units, two.freedom)
    for one, two in zip(fit.sums(), other.sums(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert fit._run.repeats.different() == other._run.repeats.different()


class Interruption:
    """Raises at the given line, counted over the lines of the package's inference that are gone through."""

    def __init__(self, line):
        self.left, self.is_guarded = line, True

    def __call__(self, frame, event, argument):
        if "_inference" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                # before `with` is entered, or after it is left, nothing can be added to an exception
                self.is_guarded = "partial.py" not in frame.f_code.co_filename and frame.f_code.co_name != "update"
                raise KeyboardInterrupt
        return self


def interrupted(action, line):
    """The exception of an action that is interrupted at a line; None if it has fewer."""
    before, interruption = sys.gettrace(), Interruption(line)
    sys.settrace(interruption)
    try:
        action()
    except KeyboardInterrupt as error:
        assert hasattr(error, "partial") or not interruption.is_guarded
        return error
    finally:
        sys.settrace(before)
    return None


def check_interruptions(rounds, seed):
    rng = np.random.default_rng(seed)
    stopped = 0
    for number in range(rounds):
        kind = list(KINDS.values())[number % len(KINDS)]
        n = int(rng.choice([700, 2100, 9000]))
        X, y = rows_of(kind, n, seed=number)
        inference = "plug-in" if kind is rs.OnlinePCA or number % 2 else "random-scaling"
        start = max(int(rng.integers(1, 300)), 3)
        fit = rs.fit(kind, *part(X, y, 0, start), ALGORITHM, inference=inference)
        error = interrupted(lambda fit=fit, X=X, y=y, a=start, n=n: fit.update(*part(X, y, a, n)), rng.integers(1, 600))
        stopped += error is not None
        assert getattr(error, "partial", fit) is fit
        rows = fit.rows
        assert start <= rows <= n
        assert_same(fit, rs.fit(kind, *part(X, y, 0, rows), ALGORITHM, inference=inference))
        if rows < n:
            fit.update(*part(X, y, rows, n))
        assert_same(fit, rs.fit(kind, X, y, ALGORITHM, inference=inference))
    return stopped


def test_an_update_that_is_interrupted_anywhere():
    assert check_interruptions(20, 0) >= 10


@pytest.mark.slow
def test_an_update_that_is_interrupted_anywhere_at_length():
    assert check_interruptions(100, 1) >= 50


def test_every_line_of_a_short_update():
    """Two blocks' worth of rows, interrupted at each of the lines that they take."""
    X, y = rows_of(rs.LogisticRegression, 600)
    fit = rs.fit(rs.LogisticRegression, X[:100], y[:100], ALGORITHM)
    references = {rows: rs.fit(rs.LogisticRegression, X[:rows], y[:rows], ALGORITHM) for rows in (100, 600)}
    seen, line = set(), 0
    while True:
        line += 1
        fork = fit.copy()
        if interrupted(lambda fork=fork: fork.update(X[100:], y[100:]), line) is None:
            break
        seen.add(fork.rows)
        if line % 10 == 0:
            assert_same(fork, references[fork.rows])
        assert fork.rows in references
    assert line > 100
    assert seen == {100, 600}


def test_ctrl_c():
    """The signal itself, from a timer, while a stream runs that never ends."""

    def forever():
        X, y = rows_of(rs.LinearRegression, 1000)
        while True:
            yield X, y

    def press(number, frame):
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, press)
    try:
        for wait in (0.05, 0.11):
            signal.setitimer(signal.ITIMER_REAL, wait)
            with pytest.raises(KeyboardInterrupt) as caught:
                rs.fit(rs.LinearRegression, forever(), None, ALGORITHM)
            partial = caught.value.partial
            if partial is not None:
                X, y = rows_of(rs.LinearRegression, 1000)
                again = np.arange(partial.rows) % 1000
                assert_same(partial, rs.fit(rs.LinearRegression, X[again], y[again], ALGORITHM))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


class Frozen(Exception):
    def __setattr__(self, name, value):
        raise AttributeError(name)

    def add_note(self, note):
        raise AttributeError(note)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the disk"), ZeroDivisionError(), Frozen("no")])
@pytest.mark.parametrize("after", [0, 2])
def test_an_iterator_that_fails(error, after):
    X, y = rows_of(rs.LinearRegression, 1000)

    def stream():
        for low in range(0, 100 * after, 100):
            yield X[low : low + 100], y[low : low + 100]
        raise error

    with pytest.raises((type(error), RuntimeError)) as caught:
        rs.fit(rs.LinearRegression, stream(), None, ALGORITHM)
    if isinstance(error, Frozen):
        assert type(caught.value) is RuntimeError
        assert str(caught.value) == f"The stream ended with Frozen after {100 * after} rows."
        assert caught.value.__cause__ is error
    else:
        assert caught.value is error
    if not after:
        assert caught.value.partial is None
        return
    assert_same(caught.value.partial, rs.fit(rs.LinearRegression, X[:200], y[:200], ALGORITHM))
    assert caught.value.__notes__ == [NOTE.format(200)]


def test_a_bad_batch_and_an_empty_one():
    X, y = rows_of(rs.LinearRegression, 1000)
    hole = np.where(np.arange(4) == 1, np.nan, X[200:300])
    with pytest.raises(
        ValueError, match=r"X of batch 2 is an array with NaN or infinite entries in 100 rows"
    ) as caught:
        rs.fit(rs.LinearRegression, iter([(X[:100], y[:100]), (X[:0], y[:0]), (hole, y[200:300])]), None, ALGORITHM)
    assert caught.value.partial.rows == 100
    assert caught.value.__notes__ == [NOTE.format(100)]
    fit = caught.value.partial
    with pytest.raises(ValueError, match="y of batch 0 is an array of shape"):
        fit.update(iter([(X[100:200], y[:7])]))
    assert fit.update(iter([([], []), (X[100:], y[100:])])).rows == 1000
    assert_same(fit, rs.fit(rs.LinearRegression, X, y, ALGORITHM))
    with pytest.raises(ValueError, match="X is an exhausted iterator"):
        rs.fit(rs.LinearRegression, iter([(X[:0], y[:0])]), None, ALGORITHM)


def test_a_stream_that_diverges_has_its_finite_part():
    X, y = rows_of(rs.LinearRegression, 3000)
    X[2000:] *= 1e4
    with pytest.raises(rs.DivergenceError) as caught:
        rs.fit(rs.LinearRegression, X, y, ALGORITHM)
    fit = caught.value.partial
    block = 3 * 86  # the first multiple of batch_size from 256 on
    assert fit.rows == (3 * caught.value.step - 1) // block * block >= 2000 // block * block
    assert_same(fit, rs.fit(rs.LinearRegression, X[: fit.rows], y[: fit.rows], ALGORITHM))
    assert caught.value.__notes__ == [NOTE.format(fit.rows)]


def test_passes_that_are_interrupted():
    X, y = rows_of(rs.LinearRegression, 3000)

    class Once:
        turns = 0

        def __iter__(self):
            self.turns += 1
            yield X[:2000], y[:2000]
            if self.turns == 2:
                raise OSError
            yield X[2000:], y[2000:]

    with pytest.raises(OSError) as caught:  # noqa: PT011
        rs.fit(rs.LinearRegression, Once(), None, ALGORITHM, passes=3)
    fit = caught.value.partial
    assert (fit.rows, fit.rows_averaged) == (5000, 2000)
    assert fit._run.repeats.rows == 3000
    fit.update(*rows_of(rs.LinearRegression, 100, seed=9))
    assert fit._run.repeats.rows == 3100


def test_memory_is_flat():
    """What a stream holds after 20 000 rows and after 200 000."""

    def size(fit):
        seen, todo, total = set(), [fit._run], 0
        while todo:
            item = todo.pop()
            if id(item) in seen:
                continue
            seen.add(id(item))
            if isinstance(item, np.ndarray):
                total += item.nbytes
            elif isinstance(item, list | tuple):
                todo.extend(item)
            elif hasattr(item, "__dict__"):
                todo.extend(vars(item).values())
        return total

    X, y = rows_of(rs.PoissonLoss(), 20_000)
    fit = rs.fit(rs.PoissonLoss(), X, y, ALGORITHM)
    before = size(fit)
    for seed in range(1, 10):
        fit.update(*rows_of(rs.PoissonLoss(), 20_000, seed=seed))
    assert size(fit) < 1.2 * before


def streams():
    """The same thousand rows, in all the ways that a stream may come."""
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    X, y = rows_of(rs.LinearRegression, 1000)
    pairs = [(X[low : low + 300], y[low : low + 300]) for low in range(0, 1000, 300)]
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    return {
        "iterator": iter(pairs),
        "list of pairs": pairs,
        "tuple of lists": tuple([x.tolist(), labels.tolist()] for x, labels in pairs),
        "deque": collections.deque(pairs),
        "DataLoader": DataLoader(data, batch_size=64),
    }


@pytest.mark.parametrize("name", ["iterator", "list of pairs", "tuple of lists", "deque", "DataLoader"])
def test_what_a_stream_may_be(name):
    X, y = rows_of(rs.LinearRegression, 1000)
    assert_same(
        rs.fit(rs.LinearRegression, streams()[name], None, ALGORITHM), rs.fit(rs.LinearRegression, X, y, ALGORITHM)
    )
    if name != "iterator":
        again = rs.fit(rs.LinearRegression, streams()[name], None, ALGORITHM, passes=2)
        np.testing.assert_array_equal(again.interval, rs.fit(rs.LinearRegression, X, y, ALGORITHM, passes=2).interval)


def test_a_list_of_matrices_is_a_stream_for_pca():
    X, _ = rows_of(rs.OnlinePCA, 1000)
    assert_same(rs.fit(rs.OnlinePCA, [X[:300], X[300:]], None, ALGORITHM), rs.fit(rs.OnlinePCA, X, None, ALGORITHM))
    assert_same(rs.fit(rs.OnlinePCA, X[:300].tolist(), None, ALGORITHM), rs.fit(rs.OnlinePCA, X[:300], None, ALGORITHM))
