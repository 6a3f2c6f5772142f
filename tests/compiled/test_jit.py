"""Compilation on demand."""

import importlib
import pkgutil
import shutil
import subprocess
import sys

from rdasde._compiled import jit


def run(script):
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()


def test_problems_imported_after_a_kernel_was_used():
    """A module that is imported late brings functions that numba has not been told of yet."""
    script = """
import numpy as np, rdasde as rs
rule = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))
rs.simulate(rs.LinearRegression([0.5, 0.0]), rule, 0.1)
rs.simulate(rs.LogisticRegression.from_data(np.eye(3), [0, 1, 1]), rule, 0.1)
rs.simulate(rs.OnlinePCA([2.0, 1.0]), rs.RDA(0.01, rs.NonNegativeL1(), rs.Constant(0.1)), 0.1, start=[1.0, 1.0])
print("done")
"""
    assert run(script) == ["done"]


def test_a_second_process_compiles_nothing():
    """No miss in the disk cache for anything built in."""
    script = """
import numpy as np, rdasde as rs
from rdasde._approximations import closure as _closure
from rdasde._problems import covariance as _covariance
from rdasde._engine import loops as _kernels
from rdasde._approximations import marginals as _shape
from rdasde._compiled.jit import Kernel
rule = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))
for problem, start in (
    (rs.LinearRegression([0.5, 0.0], rs.AR1(2, 0.5)), None),
    (rs.LinearRegression.from_data(np.eye(3), [0.0, 1.0, 1.0]), None),
    (rs.LogisticRegression([0.5, 0.0], rs.AR1(2, 0.5)), None),
    (rs.OnlinePCA.spiked([2.0], [[1.0, 0.0]]), [1.0, 0.5]),
):
    rs.simulate(problem, rule, 0.1, start=start, keep="summary")
    for method in ("closure", "paths"):
        rs.approximate(problem, rule, 0.1, start=start, method=method, paths=4)
kernels = [k for module in (_covariance, _kernels, _shape) for k in vars(module).values() if isinstance(k, Kernel)]
stats = [d.stats for kernel in kernels for d in kernel._dispatchers.values()]
print(sum(sum(s.cache_misses.values()) for s in stats), sum(sum(s.cache_hits.values()) for s in stats))
"""
    run(script)
    misses, hits = map(int, run(script))
    assert misses == 0
    assert hits >= 8


def test_processes_that_compile_at_once_do_not_mix_up_their_code():
    """Nothing is numbered and nothing is shared: the types alone name the file, the same in every process."""
    script = """
import numba
from numba import types
import rdasde as rs
from rdasde._engine.loops import lane_moments

cache = lane_moments.dispatcher()._cache
codegen = numba.core.registry.cpu_target.target_context.codegen()
rows, columns = types.float64[:, ::1], types.float64[::1, :]
kinds = [rows, columns, types.float32[:, ::1], types.float64, types.int64, types.none, types.unicode_type]
kinds += [types.Tuple((rows, columns)), types.Tuple((columns, rows)), types.Tuple((types.Tuple((rows,)), columns))]
parameters = (rs.L1(), rs.ElasticNet(0.1), rs.NonNegativeL1(), rs.GroupLasso([0, 0, 1]), rs.Box(0.0, 1.0))
kinds += [numba.typeof(regularizer.parameters) for regularizer in parameters]
for kind in kinds:
    print(cache._file((kind,), codegen).name)
"""
    names = run(script)
    assert len(set(names)) == len(names) == 15
    assert run(script) == names


def test_machine_code_of_two_processes_has_no_name_in_common():
    """numba's names end in a number; those of a name and types alike, counted, would let one be called for the other.

    That happened: with a file of `diffuse` from a process that had compiled other kernels before, noise of the paths
    was added up (https://github.com/numba/numba/issues/10486). Null: 400 numbers of 62 bits, all different.
    """
    script = """
import os
from numba.core.bytecode import FunctionIdentity
import rdasde as rs
from rdasde._engine.loops import diffuse
diffuse.dispatcher()
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, b" ".join(b"%d" % next(FunctionIdentity._unique_ids) for _ in range(100)))
    os._exit(0)
os.wait()
print(*(next(FunctionIdentity._unique_ids) for _ in range(100)), os.read(reader, 10**5).decode())
"""
    numbers = run(script) + run(script)
    assert len(set(numbers)) == len(numbers) == 400
    assert min(map(int, numbers)) > 10**6


def test_implementations_of_one_module_have_names_of_their_own():
    for folder in ("_problems", "_losses", "_regularizers", "_engine", "_weak_error"):
        package = importlib.import_module(f"rdasde.{folder}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    names = [(body.__module__, body.__qualname__) for bodies in jit._generics.values() for body in bodies.values()]
    assert len(set(names)) == len(names) > 60


def test_a_class_of_the_users_own_stays_off_the_disk_cache():
    """Entries that name a class of one script could not be read by the next."""
    script = """
from typing import NamedTuple
import numpy as np
from rdasde._compiled.jit import implements
from rdasde._regularizers.base import mirror
from rdasde.testing._regularizer import _mirror
import rdasde as rs
class NAME(NamedTuple):
    factor: float
@implements(mirror, NAME)
def _(regularizer, v, threshold, w):
    w[:] = regularizer.factor * v
w = np.zeros((1, 16))
_mirror(NAME(3.0), np.ones((1, 16)), 0.1, w)
assert (w == 3.0).all()
_mirror(rs.L1().parameters, np.ones((1, 16)), 0.25, w)
assert (w == 0.75).all()
print(sorted(_mirror._dispatchers))
"""
    for name in ("First", "Second"):
        assert run(script.replace("NAME", name)) == ["[False,", "True]"]


def test_an_edit_in_any_folder_makes_the_cache_stale(tmp_path):
    """The stamp of cached machine code covers the whole package, however deep a file lies."""
    from rdasde._compiled import jit

    package = jit._PACKAGE
    assert package.name == "rdasde"
    assert (package / "__init__.pyi").exists()
    copy = tmp_path / "rdasde"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = jit.stamp_of(copy)
    folders = sorted({path.parent for path in copy.rglob("*.py")})
    assert len(folders) > 10
    for folder in folders:
        file = next(iter(sorted(folder.glob("*.py"))))
        text = file.read_text()
        file.write_text(text + "\n")
        assert jit.stamp_of(copy) != before
        file.write_text(text)
    assert jit.stamp_of(copy) == before
