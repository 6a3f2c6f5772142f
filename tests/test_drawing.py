"""Figures as a journal prints them: widths, sizes, fonts, captions beside, colors that everybody tells apart."""

import itertools
import re

import matplotlib
import matplotlib.style
import numpy as np
import pytest

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
