"""Figures as a journal prints them: widths, sizes, fonts, captions beside, colors that everybody tells apart."""

import itertools
import re

import matplotlib
import matplotlib.style
import numpy as np
import pytest

import rdasde as rs
from rdasde import _drawing, _figures

# what remains of linear red, green, blue without one kind of cones (Vienot, Brettel & Mollon 1999)
BLIND = {
    "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
}


def linear(ink):
    return np.array([int(ink[k : k + 2], 16) / 255.0 for k in (1, 3, 5)]) ** 2.2


def lightness(rgb):
    """CIE L*, 0 to 100."""
    y = float(np.clip(rgb, 0.0, 1.0) @ [0.2126, 0.7152, 0.0722])
    return 116.0 * np.cbrt(y) - 16.0 if y > 0.008856 else 903.3 * y


def lab(rgb):
    """CIE Lab of linear sRGB, white D65."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    f = np.cbrt(matrix @ np.clip(rgb, 0.0, 1.0) / [0.9505, 1.0, 1.089])
    return np.array([116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])])


@pytest.fixture
def figure():
    with _drawing.printed():
        figure, axes = _drawing.panels()
        t = np.linspace(0.0, 1.0, 20)
        for axis, title in zip(axes, ("dual", "primal"), strict=True):
            _drawing.draw_band(axis, t, t - 1.0, t + 1.0)
            _drawing.draw_mean(axis, t, t, _drawing.BLUE, r"$\Phi_j(t) \pm \sqrt{\gamma/2}$")
            axis.set(title=title, ylabel="γ, −1 and √2 as letters")
        _drawing.shade_threshold(axes[0], t, -t, t)
        _drawing.finish(axes, "95 % band")
        _drawing.letters(axes)
        _drawing.caption(figure, r"**a**: one run; $H_{ij} = 0.5^{|i - j|}$, and so on. " * 4)
    return figure


def test_files(figure, tmp_path):
    files = _figures.save(figure, "name", tmp_path, table="| a |\n|---|\n| 1 |\n")
    assert [file.name for file in files] == ["name.png", "name.pdf", "name.md"]
    pdf = files[1].read_bytes()
    kinds = set(re.findall(rb"/Subtype /(Type3|Type0|CIDFontType2|Type1|TrueType)", pdf))
    assert b"Type3" not in kinds
    assert kinds & {b"CIDFontType2", b"TrueType"}
    assert b"CreationDate" not in pdf
    text = files[2].read_text()
    assert text.startswith("**a**: one run; $H_{ij} = 0.5^{|i - j|}$, and so on.")
    assert text.endswith("\n\n| a |\n|---|\n| 1 |\n")
    assert _figures.save(figure, "again", tmp_path)[1].read_bytes() == pdf


def test_captions_stand_beside_the_picture_unless_asked_for(figure, tmp_path):
    height = figure.get_figheight()
    _figures.save(figure, "beside", tmp_path)
    assert figure._supxlabel is None
    assert figure.get_figheight() == height
    _figures.save(figure, "within", tmp_path, caption=True)
    lines = figure._supxlabel.get_text().split("\n")
    assert len(lines) > 1
    assert lines[0].startswith(r"$\mathbf{a}$: one run;")
    assert all(line.count("$") % 2 == 0 for line in lines)  # no formula is torn apart
    assert figure.get_figheight() > height
    with _drawing.printed():
        figure.draw_without_rendering()
        assert figure._supxlabel.get_window_extent().width <= figure.bbox.width


def test_a_page_is_as_wide_as_a_journals_and_legible(figure):
    assert figure.get_figwidth() == 6.8
    with _drawing.printed():
        assert _drawing.page(2.0, _drawing.SINGLE).get_figwidth() == 3.3
        figure.draw_without_rendering()
    sizes = {text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()}
    assert min(sizes) >= 7.0
    assert max(sizes) <= 9.0
    assert [axis.get_title("left") for axis in figure.axes] == [r"$\mathbf{a}$   dual", r"$\mathbf{b}$   primal"]


def test_pages_grow_with_the_text():
    with matplotlib.style.context({"font.size": 16.0}, after_reset=True):
        assert _drawing.page(2.0).get_size_inches() == pytest.approx((13.6, 4.0))


def test_style_sheets_come_with_the_package():
    with matplotlib.style.context("rdasde.print"):
        assert matplotlib.rcParams["pdf.fonttype"] == 42
        assert _drawing.inks(3) == list(_drawing.INK[:3])
    with matplotlib.style.context("rdasde.dark"):
        inks = _drawing.inks(6)
        assert min(lightness(linear(ink)) for ink in inks) > lightness(linear("#16181d")) + 40.0
    with matplotlib.style.context({"axes.prop_cycle": matplotlib.cycler(color=["#123456", "#654321"])}):
        assert _drawing.inks(3) == ["#123456", "#654321", "#123456"]


def test_inks_are_told_apart_by_everybody_and_in_grey():
    """The first four, which pictures use beside each other, in grey; all of them under either colour blindness."""
    for one, other in itertools.combinations(_drawing.INK[:4], 2):
        assert abs(lightness(linear(one)) - lightness(linear(other))) > 12.0, (one, other)
    for kind, matrix in BLIND.items():
        for one, other in itertools.combinations(_drawing.INK, 2):
            seen = [lab(np.array(matrix) @ linear(ink)) for ink in (one, other)]
            assert np.linalg.norm(seen[0] - seen[1]) > 15.0, (kind, one, other)


def test_ticks_of_short_logarithmic_axes_are_ordinary_numbers():
    with _drawing.printed():
        axis = _drawing.page(2.0).subplots()
        axis.set(xscale="log", yscale="log", xlim=(1.0, 1e6), ylim=(0.025, 0.7))
        _drawing.decimal_ticks(axis, "x")
        _drawing.decimal_ticks(axis, "y")
        axis.figure.draw_without_rendering()
    assert [text.get_text() for text in axis.get_yticklabels()] == ["0.05", "0.1", "0.2", "0.5"]
    assert r"10^{3}" in "".join(text.get_text() for text in axis.get_xticklabels())


def test_legends_find_their_rows():
    with _drawing.printed():
        for number in (3, 7, 20):
            figure = _drawing.page(3.0)
            axis = figure.subplots()
            handles = [axis.plot([], [], label=f"coordinate {k}")[0] for k in range(number)]
            _drawing.legend_above(figure, handles)
            figure.draw_without_rendering()
            assert figure.legends[0].get_window_extent().width <= figure.bbox.width


TIME = np.linspace(0.0, 1.0, 5)
SIZE = "but must be a finite number >= 0.1 and <= 650: give inches, for example 3.3."
FIGURE = "but must be a figure of Matplotlib: pass for example plt.gcf(), or axes.figure."
AXES = "but must be axes of Matplotlib, one or more: pass for example plt.subplots(1, 2)[1]."
HANDLES = "but must be lines, patches and the like, which have labels: pass for example what axes.plot returns."
COLOR = "but must be a color of Matplotlib: give for example rs.plot.BLUE, or rs.plot.inks(2)[1]."


class Strange:
    """Neither an array nor shown."""

    def __array__(self, *arguments, **named):
        raise RuntimeError("no array")

    def __repr__(self):
        raise RuntimeError("no repr")


def panel():
    return _drawing.panels()[1][0]


def line():
    return panel().plot([0.0, 1.0], label="line")


MESSAGES = {
    "width is 'x' (str)": (lambda: rs.plot.new_figure("x", 2.0), SIZE),
    "width is nan": (lambda: rs.plot.new_figure(np.nan, 2.0), SIZE),
    "height is -1": (lambda: rs.plot.new_figure(3.0, -1), SIZE),
    "height is [] (list)": (lambda: rs.plot.new_figure(3.0, []), SIZE),
    "height is 1e+300": (lambda: rs.plot.page(1e300), SIZE),
    "width is None (NoneType)": (lambda: rs.plot.page(2.0, None), SIZE),
    "height is 0": (lambda: rs.plot.panels(0), SIZE),
    "height is an object of Strange (Strange)": (lambda: rs.plot.panels(Strange()), SIZE),
    "number is 9223372036854775807": (
        lambda: rs.plot.inks(2**63 - 1),
        "but must be at most 1000000: give how many colors are wanted.",
    ),
    "figure is 3 (int)": (lambda: rs.plot.bake(3), FIGURE),
    "figure is the class Figure (type)": (lambda: rs.plot.bake(matplotlib.figure.Figure), FIGURE),
    "figure is None (NoneType)": (lambda: rs.plot.caption(None, "text"), FIGURE),
    "text is 3 (int)": (
        lambda: rs.plot.caption(panel().figure, 3),
        "but must be text: give for example 'Runs, and their band.'.",
    ),
    "baked is 'yes' (str)": (
        lambda: rs.plot.caption(panel().figure, "text", "yes"),
        "but must be True or False: choose one of these.",
    ),
    "axes is 3 (int)": (lambda: rs.plot.letters(3), AXES),
    "axes is 'x' (str)": (lambda: rs.plot.letters("x"), AXES),
    "axes is [] (list)": (lambda: rs.plot.letters([[]]), AXES),
    "axes is without any panel": (lambda: rs.plot.finish([]), AXES),
    "axes is an object of Strange (Strange)": (lambda: rs.plot.finish(Strange()), AXES),
    "band_label is None (NoneType)": (
        lambda: rs.plot.finish([panel()], None),
        "but must be text: give for example '95 % band'.",
    ),
    "ncols is 0": (
        lambda: rs.plot.finish([panel()], ncols=0),
        "but must be a whole number >= 1: give how many entries stand in a row, or None.",
    ),
    "ncols is 2.5 (float)": (
        lambda: rs.plot.legend_above(panel().figure, line(), 2.5),
        "but must be a whole number >= 1: give how many entries stand in a row, or None.",
    ),
    "figure is 'x' (str)": (lambda: rs.plot.legend_above("x", line()), FIGURE),
    "handles is 3 (int)": (lambda: rs.plot.legend_above(panel().figure, 3), HANDLES),
    "handles is one with 'x'": (lambda: rs.plot.legend_above(panel().figure, "x"), HANDLES),
    "handles is one with None": (lambda: rs.plot.legend_above(panel().figure, [None]), HANDLES),
    "axis is 3 (int)": (
        lambda: rs.plot.draw_band(3, TIME, TIME, TIME),
        "but must be axes of Matplotlib: pass for example plt.gca().",
    ),
    "color is 'no color'": (lambda: rs.plot.draw_band(panel(), TIME, TIME, TIME, "no color"), COLOR),
    "ink is an object of Strange": (lambda: rs.plot.draw_path(panel(), TIME, TIME, Strange()), COLOR),
    "ink is 3": (lambda: rs.plot.draw_mean(panel(), TIME, TIME, 3), COLOR),
    "label is 3 (int)": (
        lambda: rs.plot.draw_mean(panel(), TIME, TIME, "r", 3),
        "but must be text or None: give for example 'mean'.",
    ),
    "path is an array of shape (5,) (ndarray)": (
        lambda: rs.plot.draw_path(panel(), TIME, TIME * 1j, "r"),
        "but must be numbers, one for each time: pass an array.",
    ),
    "upper is an object of Strange (Strange)": (
        lambda: rs.plot.shade_threshold(panel(), TIME, TIME, Strange()),
        "but must be numbers, one for each time: pass an array.",
    ),
    "mean is an array with 1 masked entries": (
        lambda: rs.plot.draw_mean(panel(), TIME, np.ma.masked_array(TIME, TIME == 0.0), "r"),
        "but must be numbers, one for each time: pass for example values.filled(np.nan).",
    ),
}


@pytest.mark.parametrize("got", MESSAGES)
def test_what_the_kit_cannot_draw_is_one_sentence(got):
    call, rest = MESSAGES[got]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == f"{got}, {rest}"


def test_what_the_kit_draws_all_the_same():
    axis = panel()
    rs.plot.letters(axis)
    rs.plot.letters(np.array([[axis]]))
    rs.plot.letters(iter([axis]))
    assert axis.get_title("left").count("mathbf") == 3
    rs.plot.finish(axis)
    rs.plot.legend_above(axis.figure, ())
    rs.plot.draw_mean(axis, TIME, np.array(list(TIME), dtype=object), None)
    with matplotlib.rc_context({"font.size": 1.0}):
        assert rs.plot.page(0.1).get_size_inches()[1] == 0.1
