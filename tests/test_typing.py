"""What a user's type checker sees: every verb passes in strict mode, from another directory, and slips are caught."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "typing" / "uses_every_verb.py"
CHECKERS = {
    "mypy": [sys.executable, "-m", "mypy", "--strict"],
    "pyright": [sys.executable, "-m", "pyright", "--pythonpath", sys.executable],
}
SLIPS = {
    'rs.simulate(problem, rda, 1.0, keep="pahts")': "pahts",
    'rs.simulate(problem, rda, 1.0, on_divergence="rise")': "rise",
    'rs.band(theory, space="prime")': "prime",
    'rs.approximate(problem, rda, 1.0, method="path")': "path",
    'rs.validate.coverage(problem, rda, 1.0, method="sdeint")': "sdeint",
    'rs.OnlinePCA([2.0, 1.0], variant="sanger")': "sanger",
    'rs.OnlinePCA.from_data([[2.0, 1.0]], "ojas")': "ojas",
    'rs.OnlinePCA.spiked([2.0], [[1.0, 0.0]], "Oja")': "Oja",
    'GRDA([], lr=0.1, regularizer="l2")': "l2",
}


def check(checker, script, folder, **options):
    command = [*CHECKERS[checker], script.name]
    if checker == "mypy":  # the types of NumPy, xarray and PyTorch are read once (tests/test_wheel.py)
        command += ["--cache-dir", os.path.join(os.environ["RDASDE_TEST_CACHE"], "mypy")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, **options)


@pytest.mark.parametrize("checker", list(CHECKERS))
def test_every_verb_passes(checker, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("# pyright: strict\n" + SCRIPT.read_text())
    process = check(checker, script, tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize("checker", list(CHECKERS))
def test_words_that_no_verb_knows_are_caught(checker, tmp_path):
    lines = [
        "import rdasde as rs",
        "from rdasde.pruning import GRDA",
        "problem = rs.LinearRegression([0.5, 0.0])",
        "rda = rs.RDA(0.1)",
        "theory = rs.approximate(problem, rda, 1.0)",
    ]
    script = tmp_path / "script.py"
    script.write_text("\n".join([*lines, *SLIPS]) + "\n")
    process = check(checker, script, tmp_path)
    assert process.returncode == 1, process.stdout + process.stderr
    errors = [line for line in process.stdout.splitlines() if "script.py:" in line and "error:" in line]
    for number, word in enumerate(SLIPS.values(), start=len(lines) + 1):
        assert any(f"script.py:{number}:" in line and word in line for line in errors), word
    assert len(errors) == len(SLIPS), process.stdout
