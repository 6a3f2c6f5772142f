"""The battery of random problems, at a small size."""

import warnings

import numpy as np
import pytest

import rdasde as rs
from rdasde import _studies
from rdasde._studies import calibration


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return _studies.Pieces(tmp_path_factory.mktemp("store"), small=True)


@pytest.fixture(scope="module")
def report(pieces):
    return _studies.run("calibration", pieces)


def test_a_problem_depends_on_its_number_alone():
    cases = [calibration.drawn(number) for number in range(40)]
    again = calibration.drawn(17)
    assert again.words == cases[17].words
    assert again.problem == cases[17].problem
    np.testing.assert_array_equal(again.start, cases[17].start)
    # everything is drawn: 40 problems miss a map of probability .1 with .9^40 = .015, so not all are asked for
    assert len({case.words["map"] for case in cases}) >= 5
    assert len({case.words["loss"].split(",")[0] for case in cases}) == 3
    assert len({case.words["batch"] for case in cases}) == 3


def test_steps_go_up_to_the_stability_warning():
    problem = rs.LinearRegression(np.ones(5))
    step = calibration.largest_step(problem, 1)
    assert problem.instability(step, 1) is None
    assert problem.instability(step * 1.01, 1) is not None
    for number in range(20):
        case = calibration.drawn(number)
        assert case.problem.instability(case.algorithm.step_size, case.algorithm.batch_size) is None


def test_pieces_are_those_of_the_validation(report, pieces):
    case, result = calibration.measured(pieces, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same = rs.validate.calibration(
            case.problem,
            case.algorithm,
            case.horizon,
            replicates=100,
            paths=200,
            times=np.array([0.0, *calibration.TIMES]) * case.horizon,
            start=case.start,
            seed=1,
        )
    for name in ("coverage", "bias", "below", "average", "worst_allowed"):
        np.testing.assert_array_equal(result[name], same[name])
    for name in ("verdict_closure", "reason_paths", "warning_closure", "diverged"):
        assert result.attrs[name] == same.attrs[name]


def test_failures_are_listed_with_their_warnings(report):
    failures, everything = report.table.split("### All")
    assert failures.startswith("### Not trusted")
    rows = [line for line in everything.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 2 * 2
    assert {row.count("|") for row in rows} == {rows[0].count("|")}
    wrong = [row for row in rows if "| too " in row]
    assert [line for line in failures.splitlines() if line.startswith("|")][2:] == wrong
    assert len(report.figure.axes) == 2


def test_goes_on_where_it_was(report, pieces, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a finished piece is computed again")

    monkeypatch.setattr(rs.validate, "calibration", refuse)
    assert _studies.run("calibration", pieces).table == report.table
