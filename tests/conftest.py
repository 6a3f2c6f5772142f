"""A fresh numba cache for every run, shared by its workers, and who of them runs what; problems that many tests use."""

import gc
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

# the workers of pytest-xdist inherit the controller's choice
if "RDASDE_TEST_CACHE" not in os.environ:
    os.environ["RDASDE_TEST_CACHE"] = tempfile.mkdtemp(prefix="rdasde-numba-")
os.environ["NUMBA_CACHE_DIR"] = os.environ["RDASDE_TEST_CACHE"]
# trainings are compared bit for bit, and kernels of GPUs add up in no fixed order; tests of theirs ask for one
if os.environ.get("RDASDE_TEST_DEVICE") != "cuda":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import rdasde as rs

gc.set_threshold(50_000, 20, 50)  # numba makes objects by the million as it compiles: a tenth of the time else
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: tests that press Ctrl-C would not end
    signal.signal(signal.SIGINT, signal.default_int_handler)

# files for one worker, one after the other: they share the folder where mypy keeps what it knows of other packages
TOGETHER = {"types": ("test_typing.py", "test_wheel.py")}
GROUPS = {file: group for group, files in TOGETHER.items() for file in files}
# what takes longest is started first, so that no worker is left alone at the end; all others after these
LONGEST = (
    "problems/test_laws.py",
    "compiled/test_scratch.py",
    "approximations/test_nonquadratic.py",
    "approximations/test_linearized.py",
    "types",
    "problems/test_stochastic_problem.py",
    "weak_error/test_weak_error.py",
    "test_examples.py",
    "approximations/test_paths.py",
    "reproduction/test_calibration_study.py",
    "problems/test_linear_model.py",
    "reproduction/test_deep_recipes.py",
    "approximations/test_approximate.py",
    "inference/test_fit_inference.py",
    "validate/test_validate_support.py",
    "reproduction/test_pages.py",
    "problems/test_mlp.py",
    "problems/test_online_pca.py",
    "pruning/test_directional.py",
    "inference/test_fit_losses.py",
    "reproduction/test_cli.py",
    "validate/test_validate_risk.py",
    "reproduction/test_published.py",
    "reproduction/test_landscape_studies.py",
    "pruning/test_pruning_grda.py",
    "regularizers/test_regularizers.py",
    "inference/test_fit.py",
    "compiled/test_functions.py",
    "compiled/test_jit.py",  # once others have compiled most of what its first process asks for
)


def group_of(file):
    """What a file of tests is handed out with."""
    name = file.removeprefix("tests/")
    return GROUPS.get(name, name)


def pytest_configure(config):
    """What is dear depends on the machine: other tests see that it is said."""
    config.addinivalue_line("filterwarnings", "ignore::rdasde.CostWarning")


def pytest_collection_modifyitems(items):
    """The longest first."""
    place = {group: number for number, group in enumerate(LONGEST)}
    folder = Path(__file__).parent
    items.sort(key=lambda item: place.get(group_of(item.path.relative_to(folder).as_posix()), len(LONGEST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """``pytest -n 2 --dist loadfile --no-loadscope-reorder`` hands out files that belong together in one."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return group_of(super()._split_scope(nodeid))

    return Scheduling(config, log)


@pytest.fixture
def small_problem():
    """d = 6, three active coordinates, correlated design."""
    coef = np.array([0.5, -0.4, 0.3, 0.0, 0.0, 0.0])
    return rs.LinearRegression(coef, rs.AR1(6, 0.5), noise_std=0.7)


@pytest.fixture
def small_algorithm():
    return rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
