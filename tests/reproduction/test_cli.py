"""The command line, as a subprocess."""

import resource
import subprocess
import sys

import pytest


def rdasde(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "rdasde._cli", *arguments], capture_output=True, text=True, check=False
    )


def test_help_is_quick_and_imports_nothing_heavy():
    script = "import sys, rdasde._cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass\n"
    script += "print(sorted({'numpy', 'numba', 'matplotlib', 'scipy', 'xarray'} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "usage: rdasde" in process.stdout
    assert process.stdout.strip().endswith("[]")


def test_import_pulls_in_nothing_heavy_either():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = "import rdasde, sys; print(sorted({'numba', 'matplotlib', 'xarray'} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
    assert before is not None


def test_problems_and_algorithms_need_no_numba():
    script = """
import sys, numpy as np, rdasde as rs
rs.RDA(1e-3, rs.L1(), rs.PowerLaw(0.5, 0.6))
rs.LinearRegression(np.ones(5), rs.AR1(5, 0.5)).mean_gradient(np.zeros(5))
print('numba' in sys.modules, 'matplotlib' in sys.modules)
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["False", "False"]


def test_lists_figures():
    process = rdasde("figure", "--list")
    assert process.returncode == 0
    assert [line.split()[0] for line in process.stdout.splitlines()][:3] == [
        "trajectories",
        "trajectories-corrected",
        "trajectories-diabetes",
    ]


@pytest.mark.parametrize("arguments", [["figure", "nothing"], ["figure"]])
def test_unknown_figures_are_refused(arguments, tmp_path):
    process = rdasde(*arguments, "--out", str(tmp_path))
    assert process.returncode == 2
    assert "there are trajectories, trajectories-corrected" in process.stderr
    assert "Traceback" not in process.stderr


def test_draws_figures_at_once(tmp_path):
    names = ("trajectories-diabetes", "trajectories-logistic")
    process = rdasde("figure", *names, "--jobs", "2", "--out", str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert process.stderr.startswith("[0/2] 2 figures at once ...")
    assert "Warning" not in process.stderr
    files = [tmp_path / f"{name}.{kind}" for name in names for kind in ("png", "pdf", "md")]
    assert sorted(process.stdout.split()) == sorted(map(str, files))
    for name in names:
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_where_figures_cannot_go_is_said_before_they_are_drawn(tmp_path):
    (tmp_path / "file").touch()
    process = rdasde("figure", "trajectories", "--out", str(tmp_path / "file"))
    assert process.returncode == 1
    assert process.stderr.startswith("\nrdasde figure: ")
    assert "File exists" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_number_of_processes_is_checked(tmp_path):
    process = rdasde("figure", "trajectories", "--jobs", "0", "--out", str(tmp_path))
    assert process.returncode == 2
    assert "argument --jobs: '0' is no number of processes: give 1 or more" in process.stderr


def test_version():
    assert rdasde("--version").stdout.startswith("rdasde ")
