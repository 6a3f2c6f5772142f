"""What a bar says, and when: nothing within the first seconds, then phases and the time left."""

import re
import sys

import pytest

import rdasde as rs
from rdasde._engine import progress
from rdasde._engine.course import BudgetSpent, Course
from rdasde._engine.progress import Progress, phase


@pytest.fixture(autouse=True)
def no_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # another test may have started one


def test_what_is_done_at_once_has_no_bar(capsys):
    bar = Progress(True, 100, "simulate")
    bar.start()
    for _ in range(10):
        bar.add(10)
    bar.close()
    assert capsys.readouterr().err == ""


def test_nobody_sees_a_bar_who_does_not_want_one(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SILENT", 0.0)
    for wanted in (False, None):  # no terminal here
        bar = Progress(wanted, 100, "simulate")
        bar.start()
        bar.add(100)
        bar.close()
    assert capsys.readouterr().err == ""


def test_phases_and_the_time_left(capsys):
    bar = Progress(True, 4000, "simulate")
    bar._show()  # what the timer calls
    assert "simulate, compiling:   0%|" in capsys.readouterr().err
    bar.add(1000)
    bar.add(1000)
    bar._bar.refresh()
    running = capsys.readouterr().err
    assert "simulate, running:  50%|" in running
    assert re.search(r"2\.00k/4\.00k steps, \d\d:\d\d left", running)
    bar.add(2000)
    bar.close()
    assert "simulate: 100%|" in capsys.readouterr().err
    bar.close()  # twice is once


def test_a_phase_has_its_own_word(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SILENT", 0.0)
    with phase("checking"):
        bar = Progress(True, 10, "simulate")
    bar.add(5)
    assert "simulate, checking:  50%|" in capsys.readouterr().err
    bar.close()


def test_a_bar_that_never_showed_does_not_show_after_the_end(capsys):
    bar = Progress(True, 10, "simulate")
    bar.start()
    timer = bar._timer
    bar.close()
    assert timer.finished.is_set()  # cancelled
    bar._show()
    assert capsys.readouterr().err == ""


def test_a_solver_shows_how_far_along_time_it_is(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SILENT", 0.0)
    with Course("mean flow", 8.0, True) as course:
        course.at(0.0)
        for t in (2.0, 1.0, 6.0, 9.0):  # a step that is tried again, and a look past the end
            course.at(t)
        course._bar._bar.refresh()
        running = capsys.readouterr().err
        assert "mean flow, running:  75%|" in running
        assert re.search(r"\| (\d\d:\d\d|\?) left", running)
        assert "steps" not in running
    assert "mean flow:  75%|" in capsys.readouterr().err
    assert course.spent == 5


def test_a_solver_ends_when_its_budget_is_spent():
    course = Course("closure", 5.0, budget=3)
    for t in (0.0, 0.5, 0.25):
        course.at(t)
    with pytest.raises(BudgetSpent) as error:
        course.at(0.375)
    assert str(error.value) == (
        "The closure could not be solved past t = 0.5 (of 5) in 3 evaluations; use a shorter horizon, or rs.simulate."
    )


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("closure", ["closure", "mean flow"]),
        ("limit", ["mean flow", "mean of the fluctuations", "covariance of the fluctuations"]),
        ("paths", ["mean flow", "diffusion"]),
    ],
)
def test_every_solver_counts_in_a_bar(method, names, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SILENT", 0.0)
    problem, algorithm = rs.LogisticRegression([0.5, 0.0]), rs.RDA(0.01)
    rs.approximate(problem, algorithm, 1.0, method=method, paths=20, seed=0, progress=True, check=False)
    seen = capsys.readouterr().err
    for name in names:
        assert f"{name}, running" in seen or f"{name}, compiling" in seen
