"""`rs.load`: results, and the problem and the algorithm they are of, made again from what the file says."""

import json
import pickle
import re

import numpy as np
import pytest
import xarray as xr
from registry import PROBLEMS

import rdasde as rs
from rdasde._engine.results import Packed, algorithm_of, problem_of, result_attributes
from rdasde._problems import kinds
from rdasde._schedule import schedule_name

ALGORITHM = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
OWN = [name for name in PROBLEMS if name.split("-")[0] in ("own", "custom", "uneven")]


def result(problem, algorithm=ALGORITHM, **attributes):
    """A Dataset that says what a verb's would."""
    data = xr.Dataset({"threshold": (("time",), np.zeros(2))}, coords={"time": [0.0, 1.0]})
    data.attrs = result_attributes(problem, algorithm, "simulate") | attributes
    return data


@pytest.mark.parametrize("name", [name for name in PROBLEMS if name not in OWN])
def test_problems_are_made_again(name):
    problem = PROBLEMS[name]
    again = kinds.from_settings(json.loads(json.dumps(kinds.settings_of(problem))))
    assert type(again) is type(problem)
    assert again == problem
    point = np.linspace(-1.0, 1.0, problem.dimension)
    np.testing.assert_array_equal(again.mean_gradient(point), problem.mean_gradient(point))
    assert repr(again) == repr(problem)


@pytest.mark.parametrize(
    "algorithm",
    [
        rs.RDA(1e-3),
        rs.RDA(0.1 + 0.2, rs.L1([1.0, 0.1 + 0.2]), rs.PowerLaw(1.0 / 3.0, 0.51), batch_size=7),
        rs.RDA(1e-3, rs.ElasticNet(2.0), rs.Linear(0.1)),
        rs.RDA(1e-3, rs.GroupLasso([0, 0, 1]), rs.Constant(0.01)),
        rs.RDA(1e-3, rs.Box(-1.0, [1.0, 2.0])),
        rs.RDA(1e-3, rs.NonNegativeL1(), rs.PowerLaw(0.0, 1.0)),
        rs.RDA(1e-3, rs.L1(), rs.PowerLaw(0.5, 0.6), momentum=0.9),
        rs.RDA(rs.PowerStep(0.1 + 0.2, 0.5), rs.L1(), rs.PowerLaw(0.5, 0.6)),
    ],
    ids=repr,
)
def test_algorithms_are_made_again(algorithm):
    assert algorithm_of(result(PROBLEMS["linear-one"], algorithm)) == algorithm


def test_a_file_is_loaded_with_what_it_is_of(tmp_path):
    path = tmp_path / "result.nc"
    problem = PROBLEMS["linear-rows"]
    result(problem).to_netcdf(path, engine="scipy")
    loaded = rs.load(path)
    data, same_problem, same_algorithm = loaded
    assert (same_problem, same_algorithm) == (problem, ALGORITHM)
    assert loaded.result is data
    assert data.attrs["description"] == result(problem).attrs["description"]
    path.unlink()
    np.testing.assert_array_equal(data["threshold"], 0.0)  # in memory


def test_a_zarr_directory_is_loaded(tmp_path):
    pytest.importorskip("zarr")
    result(PROBLEMS["oja-spiked"]).to_zarr(tmp_path / "result.zarr", consolidated=False)
    assert rs.load(tmp_path / "result.zarr").problem == PROBLEMS["oja-spiked"]


def test_functions_of_the_users_own_are_not_made_again(tmp_path):
    path = tmp_path / "result.nc"
    own = rs.RDA(0.01, rs.L1(), lambda t, step_size: 0.1 * t)
    result(PROBLEMS["own"], own).to_netcdf(path, engine="scipy")
    with pytest.warns(UserWarning, match="of this result cannot be made again") as said:
        loaded = rs.load(path)
    assert loaded[1:] == (None, None)
    assert [str(warning.message) for warning in said] == [
        "The problem of this result cannot be made again: it has functions of your own, which a result does not carry; "
        "make it as you did before.",
        "The algorithm of this result cannot be made again: its schedule is the function lambda t, step_size: 0.1 * t, "
        "which a result does not carry; make it as you did before.",
    ]


def test_other_reasons():
    def prox(v, threshold, out):
        out[:] = v

    custom = rs.RDA(0.01, rs.CustomRegularizer(prox, separable=True), rs.Constant(0.1))
    assert algorithm_of(result(PROBLEMS["linear-one"], custom)) == (
        "The algorithm of this result cannot be made again: its regularizer is a function of the user's own, which a "
        "result does not carry; make it as you did before."
    )
    old = result(PROBLEMS["linear-one"])
    del old.attrs["description"]
    assert problem_of(old) == (
        "The problem of this result cannot be made again: it does not say what it is of, or was made by version 0.1; "
        "make it as you did before."
    )
    large = rs.OnlinePCA.from_data(np.ones((2**19 // 10 + 1, 10)) * np.arange(10.0))
    assert problem_of(result(large)) == (
        "The problem of this result cannot be made again: its rows take 4 MiB, and a result carries 4 at most; "
        "make it as you did before."
    )
    steps = result(PROBLEMS["linear-one"])
    del steps.attrs["step_size"]
    assert "the result is over several step sizes" in algorithm_of(steps)


def test_a_description_executes_nothing():
    for settings in ({"kind": "os.system", "X": "true"}, {"kind": "Problem"}, {"kind": "__import__('os')"}):
        with pytest.raises(ValueError, match="of a kind that this version does not know"):
            kinds.from_settings(settings)


def test_what_is_no_result_is_refused(tmp_path):
    message = "path is nothing.nc, but must be that of a saved result: there is nothing here by this name."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        rs.load("nothing.nc")
    with pytest.raises(TypeError) as caught:
        rs.load(3)
    assert str(caught.value) == (
        "path is 3 (int), but must be the path of a saved result: name a netCDF file or a zarr directory."
    )
    xr.Dataset({"x": 1.0}).to_netcdf(tmp_path / "other.nc", engine="scipy")
    with pytest.raises(ValueError, match=r"must be a result of rdasde: save what a verb returned by its to_netcdf"):
        rs.load(tmp_path / "other.nc")
    (tmp_path / "text.nc").write_text("not a result")
    with pytest.raises(ValueError, match=r"must be a netCDF file or a zarr directory: xarray says"):
        rs.load(tmp_path / "text.nc")


def test_long_descriptions_show_themselves_short():
    text = result(PROBLEMS["linear-rows"]).attrs["description"]
    assert isinstance(text, Packed)
    assert len(text) > 1000
    assert str(text) == f"<{len(text):,} letters of JSON>"
    assert pickle.loads(pickle.dumps(text)) == text
    assert json.loads(text)["problem"]["kind"] == "_RowRegression"
    assert len(result(PROBLEMS["linear-rows"])._repr_html_()) < 20_000


def named(t, step_size):
    return 0.1 * t


def test_schedules_have_short_names():
    assert schedule_name(rs.PowerLaw(0.5, 0.6)) == "PowerLaw(c=0.5, mu=0.6)"
    assert schedule_name(named) == "named"
    assert schedule_name(lambda t, step_size: 0.1 * t**0.6) == "lambda t, step_size: 0.1 * t ** 0.6"
    pair = (lambda t, step_size: t, lambda t, step_size: 2.0 * t * t)
    assert schedule_name(pair[1]) == "lambda t, step_size: 2.0 * t * t"

    class Schedule:
        def __call__(self, t, step_size):
            return t

    assert schedule_name(Schedule()) == "Schedule"
    algorithm = rs.RDA(0.01, rs.L1(), named)
    assert repr(algorithm) == "RDA(step_size=0.01, regularizer=L1(), schedule=named, batch_size=1)"
    assert repr(ALGORITHM) == ("RDA(step_size=0.01, regularizer=L1(), schedule=PowerLaw(c=0.5, mu=0.6), batch_size=1)")
    assert result(PROBLEMS["linear-one"], algorithm).attrs["schedule"] == "named"


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_nouns_show_themselves_in_notebooks(name):
    shown = PROBLEMS[name]._repr_html_()
    assert f"<td style='text-align:left'>{PROBLEMS[name].dimension}</td>" in shown
    assert "<coef" not in shown  # escaped


def test_algorithms_show_themselves_in_notebooks():
    shown = ALGORITHM._repr_html_()
    assert "PowerLaw(c=0.5, mu=0.6)" in shown
    assert "L1()" in shown
    assert "not used" in rs.Box(-1.0, 1.0)._repr_html_()
