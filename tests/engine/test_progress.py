"""What a bar says, and when: nothing within the first seconds, then phases and the time left."""

import re
import sys

import pytest

from rdasde._engine import progress
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
