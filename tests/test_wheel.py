"""The wheel, installed away from the checkout, simulates and approximates."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import rdasde

ROOT = Path(__file__).parents[1]


def test_wheel_works_outside_the_checkout(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("rdasde-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "rdasde/py.typed" in names
    assert "rdasde/__init__.pyi" in names
    assert {Path(name).parts[0] for name in names} == {"rdasde", f"rdasde-{rdasde.__version__}.dist-info"}

    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel]
    subprocess.run(command, check=True, capture_output=True)
    script = """
import rdasde as rs
problem = rs.LinearRegression([0.5, 0.0], rs.AR1(2, 0.5))
algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))
runs = rs.simulate(problem, algorithm, 1.0, replicates=20, seed=0)
theory = rs.approximate(problem, algorithm, 1.0)
assert float(rs.coverage(runs, rs.band(theory)).mean()) > 0.8
assert callable(rs.validate.coverage)
print(rs.__file__)
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    found = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert found.stdout.strip().startswith(str(site))
