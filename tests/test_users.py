"""Functions of the user's own, and what they return: one sentence each, pinned, the user's exception as its cause."""

import concurrent.futures
import re

import numpy as np
import pytest
import xarray as xr

import rdasde as rs

PROBLEM = rs.LinearRegression([0.5, 0.0, -0.2])
ALGORITHM = rs.RDA(0.1, rs.L1(), rs.PowerLaw(0.5, 0.6))
NORM = {"norm": lambda w: (w**2).sum(axis=-1)}
ONE = "but must be a function returning one number: return a float from schedule(t, step_size)."
EACH = "but must be one that gives each step its size: return an array of the same shape as n."


def fails(*_):
    raise KeyError("no")


def returning(value):
    return lambda *_: value


def scheduled(schedule):
    return rs.RDA(0.1, rs.L1(), schedule)


VERBS = {
    "simulate": lambda algorithm: rs.simulate(PROBLEM, algorithm, 1.0),
    "closure": lambda algorithm: rs.approximate(PROBLEM, algorithm, 1.0, times=3),
    "paths": lambda algorithm: rs.approximate(PROBLEM, algorithm, 1.0, times=3, method="paths", paths=4),
    "sdeint": lambda algorithm: rs.approximate(PROBLEM, algorithm, 1.0, times=3, method="sdeint", paths=4),
    "fit": lambda algorithm: rs.fit(rs.LinearRegression, np.eye(3), [1.0, 2.0, 3.0], algorithm),
    "weak_error": lambda algorithm: rs.weak_error(
        PROBLEM, algorithm, 1.0, step_sizes=[0.1, 0.05], test_functions=NORM, replicates=20, paths=20
    ),
    "calibration": lambda algorithm: rs.validate.calibration(PROBLEM, algorithm, 1.0, replicates=20, paths=200),
    "support": lambda algorithm: rs.validate.support(PROBLEM, algorithm, 1.0, replicates=20, paths=20),
    "risk": lambda algorithm: rs.validate.risk(PROBLEM, algorithm, 1.0, replicates=20),
}
SCHEDULES = {  # what a sentence says of each
    fails: "schedule is a function that raises KeyError (\"'no'\") at t = ",
    returning(None): f"schedule is None (NoneType), {ONE}",
    returning(b"1"): f"schedule is b'1' (bytes), {ONE}",
    returning(1j): f"schedule is 1j (complex), {ONE}",
    returning(np.complex128(1.0)): f"schedule is {np.complex128(1.0)!r} (complex128), {ONE}",
    returning([0.1, 0.2]): f"schedule is [0.1, 0.2] (list), {ONE}",
    returning([0.1, [0.2]]): f"schedule is [0.1, [0.2]] (list), {ONE}",
    returning(np.array("x")): f"schedule is array('x', dtype='<U1') (ndarray), {ONE}",
    returning(10**400): "schedule is 10000",
    returning(np.ma.masked): f"schedule is masked (MaskedConstant), {ONE}",
    returning(np.nan): "schedule is nan at t = ",
    returning(-1.0): "schedule is -1 at t = ",
    lambda: 0.1: "schedule is a function that does not take 2 arguments, but must be a function returning one number",
    lambda t: 0.1: "schedule is a function that does not take 2 arguments, but must be a function returning one number",
}


@pytest.mark.parametrize("verb", VERBS)
def test_schedules(verb):
    for schedule, sentence in SCHEDULES.items():
        with pytest.raises((ValueError, TypeError)) as caught:
            VERBS[verb](scheduled(schedule))
        assert str(caught.value).startswith(sentence), (verb, sentence)
        assert len(str(caught.value)) <= 300
    with pytest.raises(ValueError, match=r"^schedule is a function that raises KeyError") as caught:
        VERBS[verb](scheduled(fails))
    assert isinstance(caught.value.__cause__, KeyError)


STEPS = {
    fails: "step_size is a function that raises KeyError (\"'no'\") at n = 1, ..., 4096, an array, ",
    returning(None): "step_size is a function that makes None of the numbers of 4096 steps, ",
    returning("x"): "step_size is a function that makes 'x' of the numbers of 4096 steps, ",
    returning(1j): "step_size is a function that makes 1j of the numbers of 4096 steps, ",
    returning(np.ones(3)): "step_size is a function that makes an array of shape (3,) of the numbers of 4096 steps, ",
    lambda n: 0.1 if n < 10 else 0.05: "step_size is a function that raises ValueError ('The truth value of an array",
    lambda: 0.1: "step_size is a function that does not take 1 argument, ",
    lambda n, m: 0.1: "step_size is a function that does not take 1 argument, ",
    lambda n: np.array(["x"] * len(n)): "step_size is a function that makes an array of shape (4096,) and dtype <U1",
    lambda n: [object()] * len(n): "step_size is a function that makes [<object object at",
}


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("verb", ["simulate", "closure", "paths"])
def test_step_sizes(verb, momentum):
    for steps, sentence in STEPS.items():
        with pytest.raises(ValueError, match=r"^step_size is ") as caught:
            VERBS[verb](rs.RDA(steps, momentum=momentum))
        assert str(caught.value).startswith(sentence), sentence
        assert str(caught.value).endswith(EACH)
        assert len(str(caught.value)) <= 300
    with pytest.raises(ValueError, match=r"^step_size is nan at n = 1, but must be finite and > 0 at every step: "):
        VERBS[verb](rs.RDA(lambda n: np.nan * n, momentum=momentum))


class Vanishing:
    """A schedule with a limit and a tuning function."""

    def __init__(self, limit, tuning):
        self.limit, self.tuning = limit, tuning

    def __call__(self, t, step_size):
        return 0.0


@pytest.mark.parametrize("name", ["limit", "tuning"])
def test_limits_of_schedules(name):
    def zero(t):
        return 0.0 * t

    sentences = {
        fails: f"schedule.{name} is a function that raises KeyError (\"'no'\") at t = ",
        returning(None): f"schedule.{name} is a function that makes None of ",
        returning(np.ones(7)): f"schedule.{name} is a function that makes an array of shape (7,) of ",
        lambda t: -1.0 - t: f"schedule.{name} is -1",
        lambda t: np.nan * t: f"schedule.{name} is nan at t = ",
    }
    for function, sentence in sentences.items():
        both = {"limit": zero, "tuning": zero} | {name: function}
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
            rs.approximate(PROBLEM, scheduled(Vanishing(**both)), 1.0, times=3, method="limit", paths=4)


def late(function, calls, good):
    """Right so many times, and then as the function is."""
    count = iter(range(10**9))
    return lambda *arguments: good(*arguments) if next(count) < calls else function(*arguments)


STATISTICS = "but must be a dict from name to a function of w"


@pytest.mark.parametrize("calls", [0, 8])
def test_statistics(calls):
    def one(w):
        return 1.0

    at = "at states of the run" if calls else "at a state w (d,)"
    sentences = {
        fails: f"statistics['s'] is a function that raises KeyError (\"'no'\") {at}, {STATISTICS}",
        returning(None): "statistics['s'] is a function that does not return one number",
        returning("x"): "statistics['s'] is a function that does not return one number",
        returning(1j): "statistics['s'] is a function that does not return one number",
        returning([1.0, [2.0]]): "statistics['s'] is a function that does not return one number",
    }
    verbs = (
        lambda f: rs.simulate(PROBLEM, ALGORITHM, 1.0, replicates=3, seed=0, statistics={"s": f}),
        lambda f: rs.approximate(
            PROBLEM, ALGORITHM, 1.0, times=3, method="paths", paths=4, check=False, statistics={"s": f}
        ),
    )
    for function, sentence in sentences.items():
        for verb in verbs:
            with pytest.raises(ValueError, match=f"^{re.escape(sentence)}") as caught:
                verb(late(function, calls, one))
            assert hasattr(caught.value, "partial") == bool(calls)
            assert isinstance(caught.value.__cause__, KeyError) == (function is fails)


def test_test_functions_of_weak_error():
    sentences = {
        fails: "test_functions['f'] is a function that raises KeyError (\"'no'\") at states of shape ",
        returning(None): "test_functions['f'] is a function that makes None of states of shape ",
        returning(1.0): "test_functions['f'] is a function that makes float64 of shape () of states of shape ",
        returning([1.0, [2.0]]): "test_functions['f'] is a function that makes [1.0, [2.0]] of states of shape ",
    }
    for function, sentence in sentences.items():
        for calls in (0, 1):
            options = {"step_sizes": [0.1, 0.05], "replicates": 20, "paths": 20, "seed": 0}
            functions = {"f": late(function, calls, NORM["norm"])}
            with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
                rs.weak_error(PROBLEM, ALGORITHM, 1.0, test_functions=functions, **options)


def gradient(parameters, w, rng, out):
    out[:] = w - parameters + rng.standard_normal(w.size)


def ask(name, function):
    """A problem with this function, and then the function three times."""
    problem = rs.StochasticProblem(gradient, np.ones(2), 2, samples=50, **{name: lambda w: function(w)})
    for _ in range(3):
        getattr(problem, name)(np.ones(2))


@pytest.mark.parametrize(
    ("name", "good"),
    [("mean_gradient", lambda w: w - 1.0), ("hessian", lambda w: np.eye(2)), ("noise_covariance", lambda w: np.eye(2))],
)
def test_functions_of_a_stochastic_problem(name, good):
    shape = "(2,)" if name == "mean_gradient" else "(2, 2)"
    sentences = {
        fails: f"{name} is a function that raises KeyError (\"'no'\") at a point w (d,), but must be one that returns ",
        returning(None): f"{name} is a function that returns None, but must be one that returns shape {shape}: ",
        returning(1j): f"{name} is a function that returns 1j, but must be one that returns shape {shape}: ",
        returning(np.ones(3)): f"{name} is a function that returns an array of shape (3,), but must be one that ",
        returning([[1.0], [1.0, 2.0]]): f"{name} is a function that returns [[1.0], [1.0, 2.0]], but must be one ",
    }
    for function, sentence in sentences.items():
        for calls in (0, 2):
            with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
                ask(name, late(function, calls, good))


def leaves_out(v, threshold, out):
    out[0] = v[0]


def far(v, threshold, out):
    if v[0] > 1.0:
        raise ValueError("too far")
    out[:] = v


def far_gradient(parameters, w, rng, out):
    if w[0] > 1.0:
        raise ValueError("too far")
    out[:] = w - parameters


def far_derivative(eta, y):
    if eta > 50.0:
        raise ValueError("too far")
    return eta - y


def test_compiled_functions_that_raise_or_leave_things_out():
    sentence = "but must be one that works at whatever it is given in a run: mend it there."
    pulled, start = rs.LinearRegression([3.0, 0.0], noise_std=0.0), [0.0, 0.1]
    calls = {
        "far": lambda: rs.CustomRegularizer(far).prox([2.0, 3.0], 1.0),
        "far ": lambda: rs.simulate(
            pulled, rs.RDA(0.1, rs.CustomRegularizer(far), rs.Constant(0.0)), 10.0, start=start, seed=0
        ),
        "far_gradient": lambda: rs.simulate(
            rs.StochasticProblem(far_gradient, np.full(2, 3.0), 2, rate=1.0), rs.RDA(0.1), 10.0, start=start, seed=0
        ),
        "far_derivative": lambda: rs.CustomLoss(far_derivative).derivative([100.0], 0.0),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=rf"^{name.strip()} is a function that raises ValueError") as caught:
            call()
        assert re.search(r" \('too far'\) in line \d+ of test_users\.py, " + re.escape(sentence), str(caught.value))
        assert str(caught.value.__cause__) == "too far"
    with pytest.raises(ValueError, match=r"^prox is a function that leaves what was in out before, but must be a func"):
        rs.simulate(PROBLEM, rs.RDA(0.1, rs.CustomRegularizer(leaves_out), rs.Constant(0.1)), 1.0)


def test_projections():
    from rdasde.pruning import directional_prune

    with pytest.raises(
        ValueError, match=r"^flat_projection is a function that raises KeyError .* at a vector \(3,\), "
    ):
        directional_prune(np.ones(3), fails, 0.1)
    with pytest.raises(ValueError, match=r"^flat_projection is a function that does not take 1 argument, but must be "):
        directional_prune(np.ones(3), lambda: np.ones(3), 0.1)


class Idle(concurrent.futures.Executor):
    """Does with tasks whatever a function does."""

    def __init__(self, submit):
        self.submit = submit


def future_of(value):
    future = concurrent.futures.Future()
    future.set_result(value)
    return future


def cancelled(*_):
    future = concurrent.futures.Future()
    future.cancel()
    return future


def shut_down(pool):
    pool.shutdown()
    return pool


MEND = "but must be one that runs what it is given: make it anew, or leave it out for threads."
EXECUTORS = {
    "executor is one that was shut down, ": lambda: shut_down(concurrent.futures.ThreadPoolExecutor(1)),
    "executor is one that was shut down,  ": lambda: shut_down(concurrent.futures.ProcessPoolExecutor(1)),
    "executor is one that takes no task (NotImplementedError), ": lambda: concurrent.futures.Executor(),
    "executor is one that takes no task (KeyError (\"'no'\")), ": lambda: Idle(fails),
    "executor is one that makes None of a task, and no future, ": lambda: Idle(returning(None)),
    "executor is one whose task came to 7, ": lambda: Idle(lambda *_: future_of(7)),
    "executor is one that cancelled its tasks, ": lambda: Idle(cancelled),
}


@pytest.mark.parametrize("sentence", EXECUTORS)
def test_executors(sentence):
    options = {"replicates": 20, "executor": EXECUTORS[sentence]()}
    with pytest.raises(ValueError, match=f"^{re.escape(sentence.strip())} {re.escape(MEND)}"):
        rs.simulate(PROBLEM, ALGORITHM, 1.0, **options)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence.strip())} {re.escape(MEND)}"):
        rs.validate.coverage(PROBLEM, ALGORITHM, 1.0, levels=[0.5], paths=200, **options)


@pytest.mark.parametrize("executor", [concurrent.futures.ThreadPoolExecutor, "threads", 3])
def test_what_is_no_executor(executor):
    with pytest.raises(TypeError, match=r"^executor is .*, but must be None or a concurrent\.futures\.Executor: pass "):
        rs.simulate(PROBLEM, ALGORITHM, 1.0, executor=executor)


def interrupted_after(monkeypatch, name, calls):
    """A function of a module that is interrupted when it was called so many times."""
    module, function = name.rsplit(".", 1)
    real = getattr(__import__(module, fromlist=[function]), function)
    count = iter(range(10**9))

    def called(*arguments, **named):
        if next(count) >= calls:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(name, called)


SMALL = {"replicates": 96, "times": 3, "seed": 0, "progress": False}


def chunks(number, width):
    return [np.arange(first, min(first + 32, number)) for first in range(0, number, 32)]


def note(interrupt):
    (said,) = interrupt.__notes__
    return said.removeprefix("rdasde: .partial of this KeyboardInterrupt (sys.last_value) holds ")


def test_an_interrupt_of_coverage(monkeypatch):
    options = {"levels": [0.8], "method": "closure"}
    monkeypatch.setattr("rdasde.validate._coverage.chunks_of", chunks)
    known = rs.validate.coverage(PROBLEM, ALGORITHM, 1.0, **options, **SMALL | {"replicates": 64})
    for calls, told in ((2, "the theory, and coverage by the 64 of 96 runs that were counted."), (0, "the theory.")):
        with monkeypatch.context() as patch:
            interrupted_after(patch, "rdasde.validate._coverage.simulate", calls)
            with pytest.raises(KeyboardInterrupt) as caught:
                rs.validate.coverage(PROBLEM, ALGORITHM, 1.0, **options, **SMALL)
        assert note(caught.value) == told
        partial = caught.value.partial
        assert partial["theory"].attrs["produced_by"] == "rdasde.approximate"
        assert ("coverage" in partial) == bool(calls)
        if calls:
            xr.testing.assert_equal(partial["coverage"], known.coverage)


def test_an_interrupt_of_calibration(monkeypatch):
    options = {"methods": ("closure", "paths"), "paths": 400}
    monkeypatch.setattr("rdasde.validate._calibration.chunks_of", chunks)
    known = rs.validate.calibration(PROBLEM, ALGORITHM, 1.0, **options, **SMALL | {"replicates": 64})
    places = {
        ("approximate", 1): "the laws by method that were found: closure.",
        ("simulate", 0): "the laws by method.",
        ("simulate", 2): "the result by the 64 of 96 runs that were counted.",
    }
    for (name, calls), told in places.items():
        with monkeypatch.context() as patch:
            interrupted_after(patch, f"rdasde.validate._calibration.{name}", calls)
            with pytest.raises(KeyboardInterrupt) as caught:
                rs.validate.calibration(PROBLEM, ALGORITHM, 1.0, **options, **SMALL)
        assert note(caught.value) == told
        if calls == 2:
            xr.testing.assert_equal(caught.value.partial.drop_vars("seconds"), known.drop_vars("seconds"))
            assert caught.value.partial.attrs["replicates"] == 64
        else:
            assert list(caught.value.partial) == ["closure", "paths"][: 1 + (name == "simulate")]


def test_an_interrupt_of_support(monkeypatch):
    told = "which were not yet compared with the laws."
    places = {0: (f"the runs, {told}", ["runs"]), 1: (f"the runs and the diffusion, {told}", ["runs", "diffusion"])}
    for calls, (words, names) in places.items():
        with monkeypatch.context() as patch:
            interrupted_after(patch, "rdasde.validate._support.approximate", calls)
            with pytest.raises(KeyboardInterrupt) as caught:
                rs.validate.support(PROBLEM, ALGORITHM, 1.0, paths=32, **SMALL)
        assert note(caught.value) == words
        assert list(caught.value.partial) == names
        assert caught.value.partial["runs"].attrs["replicates"] == 96


def test_an_interrupt_of_flat_directions(monkeypatch):
    problem, options = rs.LinearRegression([1.0, 0.5, -0.5], [1.0, 1.0, 0.0]), {"start": [1.0, 0.5, -0.5]}
    known = rs.validate.flat_directions(problem, ALGORITHM, 1.0, strengths=[0.1], **options, **SMALL)
    interrupted_after(
        monkeypatch, "rdasde.validate._flat_directions.simulate", 2
    )  # plain runs, and those of a strength
    with pytest.raises(KeyboardInterrupt) as caught:
        rs.validate.flat_directions(problem, ALGORITHM, 1.0, strengths=[0.1, 0.2], **options, **SMALL)
    assert note(caught.value) == "the result at the first 1 of 2 strengths."
    xr.testing.assert_identical(caught.value.partial, known)
