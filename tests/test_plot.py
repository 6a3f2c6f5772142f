"""`rs.plot`: what every function draws, and where; its defaults; its messages."""

import re

import matplotlib
import numpy as np
import pytest
import scipy.integrate
import xarray as xr

import rdasde as rs
from rdasde.plot._axes import telling

TIME = np.linspace(0.0, 2.0, 5)
COEF = np.array([0.5, -0.3, 0.1, 0.0, 0.0, 0.0])
PROBLEM = rs.LinearRegression(COEF)
ALGORITHM = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))


def attributes():
    from rdasde._engine.results import result_attributes

    return result_attributes(PROBLEM, ALGORITHM, "simulate")


@pytest.fixture
def runs():
    """Normal draws around a growing mean, soft-thresholded: nothing is compiled."""
    rng = np.random.default_rng(0)
    threshold = 0.1 * TIME
    mean = COEF * np.minimum(TIME, 1.0)[:, None] + np.sign(COEF) * threshold[:, None]
    dual = mean + 0.1 * np.sqrt(TIME)[:, None] * rng.standard_normal((200, len(TIME), len(COEF)))
    primal = np.sign(dual) * np.maximum(np.abs(dual) - threshold[:, None], 0.0)
    grid = ("replicate", "time", "coordinate")
    data = {"dual": (grid, dual), "primal": (grid, primal), "threshold": (("time",), threshold)}
    coords = {"time": TIME, "coordinate": np.arange(len(COEF)), "replicate": np.arange(200)}
    return xr.Dataset(data, coords=coords, attrs=attributes())


@pytest.fixture
def theory(runs):
    moments = {}
    for space in ("dual", "primal"):
        moments[f"{space}_mean"] = runs[space].mean("replicate")
        moments[f"{space}_std"] = runs[space].std("replicate")
    moments["probability_zero"] = (runs["primal"] == 0.0).mean("replicate")
    return xr.Dataset({**moments, "threshold": runs["threshold"]}, attrs=attributes() | {"method": "closure"})


@pytest.fixture
def paths(runs):
    renamed = runs.rename(replicate="path")
    means = {f"{space}_mean": renamed[space].mean("path") for space in ("dual", "primal")}
    zero = {"probability_zero": (renamed["primal"] == 0.0).mean("path")}
    return renamed.assign(means | zero).assign_attrs(method="paths")


def axes(number):
    return list(rs.plot.page(2.0).subplots(1, number, squeeze=False)[0])


def test_the_kit_is_public():
    names = dir(rs.plot)
    assert {"trajectories", "band", "coverage", "marginal", "support", "calibration"} <= set(names)
    assert {"page", "draw_band", "draw_mean", "draw_path", "shade_threshold", "letters", "INK"} <= set(names)
    for name in names:
        if callable(getattr(rs.plot, name)):
            assert getattr(rs.plot, name).__doc__, name


def test_default_coordinates(theory, runs):
    assert telling(theory) == [0, 2, int(np.argmax(theory["probability_zero"].values[-1]))]
    assert telling(theory, runs.sel(coordinate=[1, 4])) == [1, 4]
    figure = rs.plot.trajectories(runs, theory)
    assert len(figure.axes) == 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["coordinate 0", "coordinate 2"]
    assert labels[-2:] == ["95 % band", "$w_j = 0$ exactly"]


def test_bands_have_the_color_of_their_coordinate(theory, runs):
    figure = rs.plot.trajectories(runs, theory, [0, 1, 3])
    for axis in figure.axes:
        faces = {matplotlib.colors.to_hex(shape.get_facecolor()[0]) for shape in axis.collections}
        assert set(rs.plot.INK[:3]) <= faces


def test_every_function_draws_into_given_axes(theory, runs, paths):
    band = rs.band(theory, space="dual")
    two = axes(2)
    assert rs.plot.trajectories(runs, theory, ax=two) is two[0].figure
    assert [axis.get_ylabel() for axis in two] == ["dual  $v_j$", "primal  $w_j$"]
    (primal,) = axes(1)
    rs.plot.trajectories(runs, theory, ax=primal)
    assert primal.get_ylabel() == "primal  $w_j$"
    for draw in (
        lambda ax: rs.plot.band(band, ax=ax),
        lambda ax: rs.plot.coverage(runs, band, ax=ax),
        lambda ax: rs.plot.coverage(rs.coverage(runs, rs.band(paths, space="dual", simultaneous=True)), ax=ax),
        lambda ax: rs.plot.marginal(runs, theory, 3, ax=ax),
        lambda ax: rs.plot.marginal(runs, theory, 3, 1.0, space="primal", ax=ax),
        lambda ax: rs.plot.marginal(runs, paths, 3, space="primal", ax=ax),
        lambda ax: rs.plot.marginal(runs, theory, 0, kind="quantiles", ax=ax),
        lambda ax: rs.plot.support(runs, theory, ax=ax),
        lambda ax: rs.plot.support(xr.Dataset(theory.variables, attrs={}), ax=ax),
    ):
        (axis,) = axes(1)
        assert draw(axis) is axis.figure
        assert axis.has_data()
        axis.figure.draw_without_rendering()


def test_subfigures_are_axes_too(theory, runs):
    figure = rs.plot.page(2.0)
    left, _ = figure.subfigures(1, 2)
    assert rs.plot.band(rs.band(theory), ax=left.subplots()) is figure


def test_the_density_has_the_mass_that_is_not_at_zero(theory, paths):
    """The area under the drawn law and the mass at zero make 1, but for the tails beyond three scores."""
    from rdasde.plot._marginal import _law

    for result in (theory, paths):
        for space in ("dual", "primal"):
            law = _law(result, 2.0, 3, space)
            area = sum(scipy.integrate.trapezoid(values, places) for places, values in law.density())
            assert area + law.zero == pytest.approx(1.0, abs=0.03)
            assert (law.zero > 0.3) == (space == "primal")


def test_support_tells_positives_where_the_minimizer_is_known(runs):
    (axis,) = axes(1)
    rs.plot.support(runs, ax=axis)
    lines = {line.get_label(): line.get_ydata() for line in axis.get_lines()}
    alive = (runs["primal"].values != 0.0).mean(axis=0)
    np.testing.assert_allclose(lines["true positives"], alive[:, :3].mean(axis=1))
    np.testing.assert_allclose(lines["false positives"], alive[:, 3:].mean(axis=1))
    (axis,) = axes(1)
    rs.plot.support(runs, minimizer=np.ones(6), ax=axis)
    assert "false positives" not in {line.get_label() for line in axis.get_lines()}


def test_coverage_marks_what_counting_does_not_allow(runs):
    grid = ("time", "coordinate")
    share = xr.DataArray(np.full((4, 3), 0.95), dims=grid, coords={"time": TIME[1:], "coordinate": [0, 1, 2]})
    share[2, 1] = 0.7
    share.attrs = {"level": 0.95, "space": "dual", "runs": 500}
    (axis,) = axes(1)
    rs.plot.coverage(share, ax=axis)
    (marks,) = axis.get_lines()
    assert (list(marks.get_xdata()), list(marks.get_ydata())) == ([2], [1])


def call(name, *arguments, **named):
    return lambda: getattr(rs.plot, name)(*arguments, **named)


EMPTY = xr.Dataset({"x": 1.0})
MESSAGES = [
    (
        call("band", EMPTY),
        "band is a Dataset without lower and upper, but must be what rs.band returned: pass that Dataset.",
    ),
    (call("band", 3), "band is 3 (int), but must be what rs.band returned: pass that Dataset."),
    (
        call("coverage", EMPTY),
        "band is None, but must be given with runs: pass what rs.band returned, or what rs.coverage did.",
    ),
    (
        call("coverage", xr.DataArray([1.0], dims="coordinate")),
        "runs is a DataArray without its level, but must be what simulate or rs.coverage returned: "
        "pass that, of a band by coordinate.",
    ),
    (
        call("marginal", EMPTY, EMPTY, 0),
        "runs is a Dataset without dual paths, but must be simulate(..., keep='paths') and approximate(...): "
        "pass those.",
    ),
    (
        call("marginal", EMPTY, EMPTY, 0, kind="bars"),
        "kind is 'bars', but must be one of 'density', 'quantiles': choose one of these.",
    ),
    (
        call("support", EMPTY),
        "runs is a Dataset without primal states, but must be what simulate or approximate returned: pass it.",
    ),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_messages(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message


def test_messages_about_axes(theory, runs):
    band = rs.band(theory)
    with pytest.raises(TypeError) as caught:
        rs.plot.band(band, ax=3)
    assert str(caught.value) == ("ax is 3 (int), but must be axes of Matplotlib or None: pass for example plt.gca().")
    with pytest.raises(ValueError, match=r"^ax is 3 axes, but must be 1 or 2 of them: pass for example plt.subplots"):
        rs.plot.trajectories(runs, theory, ax=axes(3))
    with pytest.raises(ValueError, match=r"^minimizer is an array of shape \(3,\), but must be one with coordinate 5"):
        rs.plot.support(runs, minimizer=np.ones(3))
    with pytest.raises(ValueError, match=r"^time is 0, but must be one at which the coordinate has a spread"):
        rs.plot.marginal(runs, theory, 0, 0.0)


OWN = {"regularizer": '{"kind": "CustomRegularizer"}'}


class TestAMirrorMapOfOnesOwn:
    """Which a result does not carry: what paths tell without it is drawn, the rest asks for it."""

    def test_bands_of_paths(self, paths):
        here, given = rs.band(paths.assign_attrs(OWN)), rs.band(paths, regularizer=rs.L1())
        assert here.attrs["regularizer"] == OWN["regularizer"]
        # the quantile of what is mapped, and the map of a quantile: the same but between two ranks
        np.testing.assert_allclose(here.lower, given.lower, atol=0.02)
        np.testing.assert_allclose(here.upper, given.upper, atol=0.02)

    def test_what_needs_it_asks_for_it(self, paths, theory):
        message = "function of the user's own, which a result does not carry: pass regularizer="
        with pytest.raises(ValueError, match=message):
            rs.band(theory.assign_attrs(OWN))
        with pytest.raises(ValueError, match=message):
            rs.band(paths.assign_attrs(OWN), simultaneous=True)
        xr.testing.assert_identical(rs.band(theory.assign_attrs(OWN), regularizer=rs.L1()), rs.band(theory))
        xr.testing.assert_equal(rs.band(theory.assign_attrs(OWN), space="dual"), rs.band(theory, space="dual"))

    def test_trajectories(self, runs, paths):
        figure = rs.plot.trajectories(runs, paths.assign_attrs(OWN), [0, 3])
        shaded = rs.plot.trajectories(runs, paths.assign_attrs(OWN), [0, 3], regularizer=rs.L1())
        assert len(shaded.axes[0].collections) == len(figure.axes[0].collections) + 1  # |v| <= g in green
        with pytest.raises(TypeError, match="regularizer is 3 "):
            rs.plot.trajectories(runs, paths, [0, 3], regularizer=3)


def test_results_in_any_order_give_the_same_picture():
    import matplotlib.pyplot as plt

    problem, algorithm = rs.LinearRegression([0.5, 0.0, -0.2]), rs.RDA(0.02, rs.L1(), rs.PowerLaw(0.5, 0.6))
    runs = rs.simulate(problem, algorithm, 1.0, replicates=20, times=6, seed=0)
    theory = rs.approximate(problem, algorithm, 1.0, times=6, check=False)
    for draw in (rs.plot.support, rs.plot.trajectories, lambda *results: rs.plot.marginal(*results, 0)):
        straight, turned = draw(runs, theory), draw(runs.transpose(), theory.transpose())
        for one, other in zip(straight.axes, turned.axes, strict=True):
            for line, same in zip(one.lines, other.lines, strict=True):
                np.testing.assert_array_equal(line.get_xydata(), same.get_xydata())
    plt.close("all")


def test_a_band_of_a_function_of_the_state_is_drawn():
    problem, algorithm = rs.LinearRegression([0.5, 0.0]), rs.RDA(0.02)
    size = {"size": lambda w: (w**2).sum(axis=-1)}
    paths = rs.approximate(
        problem, algorithm, 1.0, method="paths", paths=50, times=6, seed=0, statistics=size, check=False
    )
    figure = rs.plot.band(rs.band(paths, 0.9, of="size"))
    assert figure.axes[0].get_ylabel() == "size"
    with pytest.raises(ValueError, match="given, but must be None for a band of 'size', which has none"):
        rs.plot.band(rs.band(paths, 0.9, of="size"), [0])


def test_what_no_picture_is_drawn_of():
    import matplotlib.pyplot as plt

    problem, algorithm = rs.LinearRegression([0.5, 0.0]), rs.RDA(0.02)
    runs = rs.simulate(problem, algorithm, 1.0, times=6, seed=0)
    theory = rs.approximate(problem, algorithm, 1.0, times=6, check=False)
    wide = rs.approximate(rs.LinearRegression([0.5, 0.0, 0.1]), algorithm, 1.0, times=6, check=False)
    polar = plt.figure().add_subplot(projection="polar")
    for call, sentence in (
        (
            lambda: rs.plot.support(runs, ax=polar),
            "ax is polar axes, but must be ones with two straight sides: pass for example plt.subplots()[1].",
        ),
        (
            lambda: rs.plot.support(runs, wide),
            "minimizer is an array of shape (2,), but must be one with coordinate 2: give all d numbers.",
        ),
        (
            lambda: rs.plot.marginal(runs, theory, 0),
            "runs is a Dataset of 1 runs there, but must be one of at least 3: simulate more.",
        ),
        (
            lambda: rs.plot.draw_path(plt.gca(), [0.0, 1.0], [1.0], "k"),
            "path is an array of shape (1,), but must be one of shape (2,): give one number a time.",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            call()
    plt.close("all")
