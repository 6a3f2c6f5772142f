"""Blocks of replicates in processes of MPI."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rdasde as rs

pytest.importorskip("mpi4py")
MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
PROBLEM, RULE = (
    rs.LinearRegression(np.linspace(-1.0, 1.0, 6), rs.AR1(6, 0.5)),
    rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6)),
)

SCRIPT = """
import os
import sys

import numpy as np
from mpi4py.futures import MPIPoolExecutor

import rdasde as rs


def process(_):
    return os.getpid()


if __name__ == "__main__":
    problem = rs.LinearRegression(np.linspace(-1.0, 1.0, 6), rs.AR1(6, 0.5))
    algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))
    with MPIPoolExecutor() as executor:
        assert os.getpid() not in executor.map(process, range(8))
        runs = rs.simulate(problem, algorithm, 2.0, replicates=64, seed=0, executor=executor)
        law = rs.approximate(
            problem, algorithm, 2.0, method="paths", paths=64, seed=0, executor=executor, check=False, drift="exact"
        )
    np.savez(sys.argv[1], runs=runs["dual"], law=law["dual"])
"""


@pytest.mark.slow
@pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec")
def test_processes_of_mpi_give_the_same_bits(tmp_path):
    script, out = tmp_path / "study.py", tmp_path / "out.npz"
    script.write_text(SCRIPT)
    started = [MPIEXEC, "--allow-run-as-root", "--oversubscribe", "-n", "3", sys.executable, "-m", "mpi4py.futures"]
    done = subprocess.run([*started, str(script), str(out)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    here = rs.simulate(PROBLEM, RULE, 2.0, replicates=64, seed=0)
    law = rs.approximate(PROBLEM, RULE, 2.0, method="paths", paths=64, seed=0, check=False, drift="exact")
    with np.load(out) as there:
        np.testing.assert_array_equal(there["runs"], here["dual"])
        np.testing.assert_array_equal(there["law"], law["dual"])
