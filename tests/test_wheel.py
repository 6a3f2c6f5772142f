"""The wheel, installed away from the checkout, simulates, approximates, and tells a type checker what is in it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import rdasde

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("rdasde-*.whl")
    return wheel


@pytest.fixture(scope="module")
def site(wheel):
    site = wheel.parent / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel]
    subprocess.run(command, check=True, capture_output=True)
    return site


def run(command, site, folder):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"rdasde/py.typed", "rdasde/print.mplstyle", "rdasde/dark.mplstyle"} <= set(names)
    kept = ("valley-cifar100.npz", "sparsity-accuracy-cifar100.json", "theory-cifar100.json")
    assert {f"rdasde/_figures/results/{name}" for name in kept} <= set(names)
    assert {name for name in names if name.endswith(".pyi")} == {
        f"rdasde/{folder}__init__.pyi"
        for folder in ("", "interactions/", "landscape/", "plot/", "pruning/", "testing/", "validate/")
    }
    assert {Path(name).parts[0] for name in names} == {"rdasde", f"rdasde-{rdasde.__version__}.dist-info"}
    metadata = zipfile.ZipFile(wheel).read(f"rdasde-{rdasde.__version__}.dist-info/METADATA").decode()
    assert "Project-URL: Source, " in metadata


def test_wheel_works_outside_the_checkout(site, tmp_path):
    script = """
import rdasde as rs
problem = rs.LinearRegression([0.5, 0.0], rs.AR1(2, 0.5))
algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))
runs = rs.simulate(problem, algorithm, 1.0, replicates=20, seed=0)
theory = rs.approximate(problem, algorithm, 1.0)
assert float(rs.coverage(runs, rs.band(theory)).mean()) > 0.8
assert callable(rs.validate.coverage)
assert callable(rs.testing.check_problem)
print(rs.__file__)
"""
    process = run([sys.executable, "-c", script], site, tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip().startswith(str(site))


MYPY = ["mypy", "--strict", "--cache-dir", os.path.join(os.environ["RDASDE_TEST_CACHE"], "mypy")]


@pytest.mark.parametrize("checker", [MYPY, ["pyright", "--pythonpath", sys.executable]], ids=["mypy", "pyright"])
def test_wheel_is_typed(checker, site, tmp_path):
    # a name that only this copy has: it is the wheel that is looked at, not the checkout
    stub = site / "rdasde" / "__init__.pyi"
    text = stub.read_text()
    stub.write_text(text + "of_the_wheel: int\n")
    try:
        script = (ROOT / "tests" / "typing" / "uses_every_verb.py").read_text()
        (tmp_path / "script.py").write_text(f"{script}\nnumber: int = rs.of_the_wheel\n")
        process = run([sys.executable, "-m", *checker, "script.py"], site, tmp_path)
    finally:
        stub.write_text(text)
    assert process.returncode == 0, process.stdout + process.stderr
