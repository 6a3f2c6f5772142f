"""A user's own functions in compiled code: what they do is told by a digest, and kept on disk under it."""

import math
import os
import pickle
import subprocess
import sys
import types
from typing import NamedTuple

import cloudpickle
import numba
import numpy as np
import pytest

import rdasde as rs
from rdasde._compiled import disk, functions_of_users
from rdasde._compiled.functions import apply, call, for_compiled_code, plain_records
from rdasde._compiled.jit import Kernel
from rdasde._compiled.snapshot import NoDigest, Snapshot

SCRIPT = """
import sys
from typing import NamedTuple
import numba, numpy as np
import rdasde as rs
from rdasde._compiled.functions import apply
from rdasde._compiled.jit import Kernel
from rdasde._losses import base
from rdasde._regularizers import custom

SCALE = 2.0
TABLE = np.array([1.0, 3.0])

class Parameters(NamedTuple):
    coef: np.ndarray
    std: float

@numba.njit
def helper(x):
    return SCALE * x

def maker(level):
    def derivative(eta, y):
        return level * (eta - y) + TABLE[1]
    return derivative

def gradient(parameters, w, rng, out):
    out[:] = helper(w - parameters.coef) + parameters.std * rng.standard_normal()

def mean_gradient(parameters, w):
    return helper(w - parameters.coef)

def prox(v, threshold, out):
    for j in range(v.size):
        out[j] = np.sign(v[j]) * max(abs(v[j]) - SCALE * threshold, 0.0)

problem = rs.StochasticProblem(gradient, Parameters(np.ones(3), 0.5), 3, mean_gradient=mean_gradient)
assert problem.has_compiled_drift
image = rs.CustomRegularizer(prox).prox([5.0, -1.0], 1.0)
slope = rs.CustomLoss(maker(4.0)).derivative(2.0, 1.0)
print(problem.parameters.gradient.__class__.__name__, float(image[0]), float(slope))
kernels = (apply, custom._images, base._derivatives)
stats = [dispatcher.stats for kernel in kernels for dispatcher in kernel._dispatchers.values()]
print(*(sum(sum(getattr(s, kind).values()) for s in stats) for kind in ("cache_misses", "cache_hits")))
"""


def start(script, folder):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)


def finish(process):
    """What was printed, by line, each as words."""
    output, _ = process.communicate()
    assert process.returncode == 0
    return [line.split() for line in output.splitlines()]


def test_a_second_process_compiles_nothing_and_an_edit_anew(tmp_path):
    """Two at once fill an empty cache without harm; later ones find what they need, and nothing of before an edit."""
    pair = [start(SCRIPT, tmp_path), start(SCRIPT, tmp_path)]
    firsts = [finish(process) for process in pair]
    assert firsts[0][0] == firsts[1][0]
    assert firsts[0][0][1:] == ["3.0", "7.0"]
    (name, *numbers), (misses, hits) = finish(start(SCRIPT, tmp_path))
    assert (name, *numbers) == tuple(firsts[0][0])
    assert (misses, hits) == ("0", "6")  # apply for each of four functions, and two kernels that call them

    (other, *numbers), (misses, _) = finish(start(SCRIPT.replace("SCALE = 2.0", "SCALE = 3.0"), tmp_path))
    assert numbers == ["2.0", "7.0"]
    assert (other == name, misses) == (False, "4")

    for file in tmp_path.rglob("*_images*.nbc"):  # what cannot be read is compiled
        file.write_bytes(file.read_bytes()[:50])
    (name, *numbers), (misses, hits) = finish(start(SCRIPT, tmp_path))
    assert (numbers, misses, hits) == (["3.0", "7.0"], "1", "5")


SIZE = 2.0
BIG = np.zeros(200_000)
LABELS = {"a": 1}


def doubled(a, b):
    return SIZE * a + b


@numba.njit
def factorial(n):
    return 1.0 if n <= 1 else n * factorial(n - 1)


def recursive(a, b):
    return factorial(a) + math.sqrt(b)


def spread(a, b):
    return np.sum(a) + np.linalg.norm(b) + math.pi + np.float64(2.0)


def made(value, default=1.0):
    def function(a, b=default):
        return a + b * value

    return function


def variant(text, **names):
    """A function of two arguments from its source, with global names of its own."""
    space = {"np": np, "numba": numba, "math": math, **names}
    exec(text, space)
    return space["f"]


PLAIN = "def f(a, b):\n    return a * k + b\n"
DESCRIBED = "def f(a, b):\n    'Of two'\n    return a * k + b\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (made(1.0), made(1.0)),
        (made(np.arange(3)), made(np.arange(3))),
        (variant(PLAIN, k=1), variant("# a comment\n\n" + PLAIN, k=1)),
        (variant(PLAIN, k=(1, 2.0, "x", None, True)), variant(PLAIN, k=(1, 2.0, "x", None, True))),
        (variant(PLAIN, k=1, unused=1), variant(PLAIN, k=1, unused=2)),
        (variant(PLAIN, k=1), variant("from __future__ import annotations\n" + PLAIN, k=1)),
        (variant(DESCRIBED, k=1), variant(DESCRIBED.replace("Of two", "A sum"), k=1)),
    ],
)
def test_functions_that_do_the_same_share_a_digest(one, other):
    assert Snapshot(one).digest == Snapshot(other).digest
    assert for_compiled_code(one, 2) == for_compiled_code(other, 2)


def module_with(**names):
    module = types.ModuleType("some_module")
    vars(module).update(names)
    return module


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (variant(PLAIN, k=1), variant(PLAIN.replace("*", "-"), k=1)),
        (variant(PLAIN, k=1), variant(PLAIN.replace("+ b", "+ 2"), k=1)),
        (variant(PLAIN, k=1), variant(PLAIN, k=1.0)),
        (variant(PLAIN, k=1), variant(PLAIN, k=True)),
        (variant(PLAIN, k=0.0), variant(PLAIN, k=-0.0)),
        (variant(PLAIN, k=np.arange(3)), variant(PLAIN, k=np.arange(3)[::-1].copy())),
        (variant(PLAIN, k=np.arange(3)), variant(PLAIN, k=np.arange(3).astype(np.int32))),
        (variant(PLAIN, k=np.arange(4).reshape(2, 2)), variant(PLAIN, k=np.arange(4))),
        (variant(PLAIN, k=("a", "bc")), variant(PLAIN, k=("ab", "c"))),
        (variant(PLAIN.replace("k", "math.sin(a)")), variant(PLAIN.replace("k", "math.cos(a)"))),
        (
            variant(PLAIN.replace("k", "k(a)"), k=numba.njit(made(1.0))),
            variant(PLAIN.replace("k", "k(a)"), k=numba.njit(made(2.0))),
        ),
        (
            variant(PLAIN.replace("k", "k(a)"), k=numba.njit(made(1.0))),
            variant(PLAIN.replace("k", "k(a)"), k=numba.njit(fastmath=True)(made(1.0))),
        ),
        (
            variant(PLAIN.replace("k", "m.k"), m=module_with(k=1)),
            variant(PLAIN.replace("k", "m.k"), m=module_with(k=2)),
        ),
        (made(1.0), made(2.0)),
        (made(1.0, default=1.0), made(1.0, default=2.0)),
        (
            variant("def f(a, b):\n    return sum([a * k for _ in range(3)])", k=1),
            variant("def f(a, b):\n    return sum([a * k for _ in range(3)])", k=2),
        ),
    ],
)
def test_functions_that_differ_do_not(one, other):
    assert Snapshot(one).digest != Snapshot(other).digest
    assert for_compiled_code(one, 2) != for_compiled_code(other, 2)


@pytest.mark.parametrize(
    "function",
    [
        variant(PLAIN, k=BIG),
        variant(PLAIN, k=np.zeros((4, 4))[::2, ::2]),
        variant(PLAIN, k=LABELS),
        variant(PLAIN, k=np.random.default_rng(0)),
        variant(PLAIN.replace("k", "k(a)"), k=made(1.0)),
        variant(PLAIN.replace("k", "k(a)"), k=numba.njit("f8(f8, f8)")(made(1.0))),
        variant("def f(a, b):\n    import math\n    return math.sin(a)"),
        math.hypot,
    ],
)
def test_what_cannot_be_told_has_no_digest(function):
    with pytest.raises(NoDigest):
        Snapshot(function)


def test_what_has_no_digest_is_compiled_in_memory():
    large = BIG + 1.0

    def function(a, b):
        return a + b * large[3]

    known = for_compiled_code(function, 2)
    assert known == for_compiled_code(function, 2)
    assert apply(known, (1.0, 2.0)) == 3.0
    assert apply.dispatcher_for((known,)) is apply._dispatchers[False]


def test_a_digest_is_of_now_and_so_is_what_is_compiled(monkeypatch):
    """Not of when it is compiled: a value that changes in between would be kept under the digest of the old one."""
    early = for_compiled_code(doubled, 2)
    monkeypatch.setitem(doubled.__globals__, "SIZE", 5.0)
    late = for_compiled_code(doubled, 2)
    assert early != late
    assert apply(early, (1.0, 0.0)) == 2.0
    assert apply(late, (1.0, 0.0)) == 5.0
    table = np.array([1.0, 2.0])
    known = for_compiled_code(variant(PLAIN.replace("k", "k[1]"), k=table), 2)
    table[1] = 7.0
    assert apply(known, (1.0, 0.0)) == 2.0


def test_recursion_and_functions_of_numpy():
    assert apply(for_compiled_code(recursive, 2), (4, 9.0)) == 27.0
    a = np.array([3.0, 4.0])
    assert apply(for_compiled_code(spread, 2), (a, a)) == pytest.approx(14.0 + math.pi)


class Pair(NamedTuple):
    a: float
    bc: np.ndarray


def test_records_have_classes_that_other_processes_can_make():
    pair = Pair(1.0, np.arange(2.0))
    record = plain_records((pair, 3.0))[0]
    assert record._fields == Pair._fields
    assert type(record).__module__ == functions_of_users.__name__
    assert type(plain_records(pair)) is type(record)
    for dumps in (pickle.dumps, cloudpickle.dumps):
        again = pickle.loads(dumps(record))
        assert type(again) is type(record)
        assert again.a == 1.0
    assert plain_records([1]) == [1]


READER = """
import pickle, sys
import numpy as np
from rdasde._compiled.functions import apply
problem, regularizer, loss = pickle.loads(sys.stdin.buffer.read())
out = np.zeros(2)
apply(problem.parameters.gradient, (problem.parameters.parameters, np.ones(2), np.random.default_rng(0), out))
print(out.tolist(), regularizer.prox([3.0], 1.0).tolist(), float(loss.derivative(1.0, 0.0)))
"""


def test_pickles_go_to_other_processes():
    """By value where they cannot import a function: of `__main__`, or within another one."""
    large = BIG + 1.0

    def gradient(parameters, w, rng, out):
        out[:] = w * parameters[0] + large[0] + rng.standard_normal() * 0.0

    def prox(v, threshold, out):
        out[:] = v - threshold

    problem = rs.StochasticProblem(gradient, np.ones(1), 2, samples=2)
    things = problem, rs.CustomRegularizer(prox), rs.CustomLoss(made(2.0))
    assert pickle.loads(pickle.dumps(problem)) == problem
    content = cloudpickle.dumps(things)
    result = subprocess.run([sys.executable, "-c", READER], input=content, check=True, capture_output=True)
    assert result.stdout.split() == b"[2.0, 2.0] [2.0] 1.0".split()


def test_the_same_name_twice_is_no_confusion(tmp_path):
    """Machine code that was kept meets code that is compiled now, of a function of the same name and place."""
    script = """
import sys, numba
from rdasde._compiled.functions import apply, for_compiled_code
def made(k):
    @numba.njit
    def inner(n):
        return k if n <= 0 else inner(n - 1) + k
    def function(a, b):
        return inner(a) + b
    return function
print(*(apply(for_compiled_code(made(int(k)), 2), (2, 0)) for k in sys.argv[1:]))
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for values in ("1", "2 1", "3 2 1", "1 4 2"):
        command = [sys.executable, "-c", script, *values.split()]
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        assert [int(number) for number in output.split()] == [3 * int(k) for k in values.split()]


def test_no_folder_can_be_written_to(monkeypatch):
    """numba finds no place for its cache: said once, compiled all the same."""
    from numba.core.caching import CacheImpl, CompileResultCacheImpl

    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    disk._say_that_nothing_is_kept.cache_clear()

    def kernel(function, a):
        return call(function, a, a)

    known = for_compiled_code(made(3.0), 2)
    with pytest.warns(RuntimeWarning, match="No folder for compiled code can be written to") as caught:
        assert Kernel(kernel)(known, 1.0) == 4.0
    assert Kernel(kernel)(known, 1.0) == 4.0  # and without a second warning
    assert len(caught) == 1
    assert "NUMBA_CACHE_DIR" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_old_entries_go(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_KEPT", 2)
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))

    def kernel(function, a):
        return call(function, a, a)

    for value in range(4):
        assert Kernel(kernel)(for_compiled_code(made(float(value)), 2), 1.0) == 1.0 + value
    assert len(list(tmp_path.rglob("*.nbc"))) == 2


def test_a_function_that_numba_refuses_is_quoted():
    def slope(eta, y):
        table = LABELS
        return table["a"] * eta

    with pytest.raises(ValueError, match="derivative is a function that numba cannot compile") as caught:
        rs.CustomLoss(slope)
    assert "of test_functions.py, `table = LABELS`: Untyped global name 'LABELS'" in str(caught.value)
    assert len(str(caught.value)) <= 300

    def wrong(eta, y):
        return eta, y

    with pytest.raises(TypeError, match=r"derivative is a function that returns .*Tuple.* but must be"):
        rs.CustomLoss(wrong)

    def prox(v, threshold, out):
        out[:] = v.nothing

    with pytest.raises(ValueError, match=r"prox is a function that numba cannot .*`out\[:\] = v.nothing`"):
        rs.CustomRegularizer(prox)
