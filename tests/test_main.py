"""``python -m rdasde`` is the command line."""

import resource
import subprocess
import sys
from pathlib import Path

import rdasde


def run(*arguments):
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_is_the_command_line():
    for arguments in (["--help"], ["--version"], ["figure", "--list"], ["figure", "nothing"]):
        process, other = run("rdasde", *arguments), run("rdasde._cli", *arguments)
        assert (process.returncode, process.stdout) == (other.returncode, other.stdout)
    assert run("rdasde", "--version").stdout == f"rdasde {rdasde.__version__}\n"
    assert run("rdasde", "--help").stdout.startswith("usage: rdasde ")


def test_help_is_quick():
    run("rdasde", "--help")  # compiles the sources where that has not been done
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run("rdasde", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.3


def test_the_version_is_the_same_everywhere():
    """`rdasde.__version__` is the one that `setup.cfg` reads; others name it."""
    folder = Path(__file__).parents[1]
    assert "version = attr: rdasde.__version__" in (folder / "setup.cfg").read_text()
    assert f"\nversion: {rdasde.__version__}\n" in (folder / "CITATION.cff").read_text()
    assert f"  version = {{{rdasde.__version__}}},\n" in (folder / "README.md").read_text()
