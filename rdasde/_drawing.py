"""The drawing kit: figures of a page's width, inks, bands, paths and mean curves, panel letters, a caption beside.

Everything is drawn under Matplotlib's own settings. The package brings two style sheets, ``rdasde.print`` (a journal's
page) and ``rdasde.dark``; widths of lines and figures follow the sizes of whichever is in force.
"""

from __future__ import annotations

import functools
import io
import re
import string
import textwrap
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._bands.band import band
from rdasde._bands.variables import SPACES
from rdasde._check import Floats
from rdasde._engine.results import mirror_if_known

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from rdasde._regularizers.base import Regularizer

SINGLE, DOUBLE = 3.3, 6.8  # inches: one column of a journal, and both
# told apart under every kind of colour blindness, and by their lightness in grey
INK = ("#004488", "#bb5566", "#d9a01a", "#111111", "#2f9c8f", "#7fc4ea")
BLUE, RED, YELLOW, BLACK, TEAL, SKY = INK
GREEN = "#7fbf7b"
_PRINTED = 8.0  # points: the size of text in the print style, which the widths above are meant for
_ZONE = "zero region"
_LEAST, _MOST = 0.1, 650.0  # inches that a figure has: at 100 points each, as many points as Matplotlib renders
_INKS = 10**6


def _inches(name: str, value: float) -> float:
    return _check.number(name, value, least=_LEAST, most=_MOST, mend="give inches, for example 3.3")


def _need_figure(figure: Any, *, whole: bool = True) -> None:
    from matplotlib.figure import Figure, FigureBase

    kind = Figure if whole else FigureBase
    _check.instance("figure", figure, kind, "a figure of Matplotlib", "pass for example plt.gcf(), or axes.figure")


def _panels_of(axes: Any) -> list[Axes]:
    """Axes of Matplotlib, one or more, from one or from any array of them."""
    from matplotlib.axes import Axes as MatplotlibAxes

    accepted, mend = "axes of Matplotlib, one or more", "pass for example plt.subplots(1, 2)[1]"
    try:
        several = [axes] if isinstance(axes, MatplotlibAxes) else list(axes)
    except Exception:  # nothing to go through
        raise _check.wrong_kind("axes", axes, accepted, mend) from None
    flat = [axis for part in several for axis in (part.flat if isinstance(part, np.ndarray) else [part])]
    if not flat:
        raise _check.bad("axes", "without any panel", accepted, mend)
    for axis in flat:
        _check.instance("axes", axis, MatplotlibAxes, accepted, mend)
    return flat


def _need_text(name: str, value: Any, example: str, *, or_none: bool = False) -> None:
    if not (isinstance(value, str) or (or_none and value is None)):
        raise _check.wrong_kind(name, value, f"text{' or None' if or_none else ''}", f"give for example {example!r}")


def _need_color(name: str, value: Any) -> None:
    from matplotlib.colors import is_color_like

    try:
        right = value is None or is_color_like(value)
    except Exception:  # whatever it makes of being compared
        right = False
    if not right:
        accepted = "a color of Matplotlib"
        raise _check.bad(name, _check.show(value), accepted, "give for example rs.plot.BLUE, or rs.plot.inks(2)[1]")


def _columns(ncols: int | None) -> int | None:
    mend = "give how many entries stand in a row, or None"
    return None if ncols is None else _check.count("ncols", ncols, mend=mend)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches, which knows nothing of pyplot, and which a notebook shows all the same.

    Its attribute ``caption`` is what `caption` wrote.

    Examples
    --------
    >>> import rdasde as rs
    >>> figure = rs.plot.new_figure(3.3, 2.0)
    >>> figure.get_size_inches(), figure.axes, figure.caption
    (array([3.3, 2. ]), [], '')
    """
    return _figure_class()(figsize=(_inches("width", width), _inches("height", height)), layout="constrained")


@functools.cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        caption: str = ""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=110)
            return buffer.getvalue()

    return NotebookFigure


def printed() -> AbstractContextManager[None]:
    """Within it, what is drawn and saved has the print style, whatever the user's own settings are."""
    import matplotlib.style

    context: AbstractContextManager[None] = matplotlib.style.context("rdasde.print", after_reset=True)
    return context


def page(height: float, width: float = DOUBLE) -> Figure:
    """An empty figure of a journal's width in the print style; larger in the measure that text is larger than there.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import rdasde as rs
    >>> with plt.style.context("rdasde.print"):
    ...     figure = rs.plot.page(2.0)
    >>> figure.get_size_inches()
    array([6.8, 2. ])
    """
    import matplotlib

    height, width = _inches("height", height), _inches("width", width)
    scale = matplotlib.rcParams["font.size"] / _PRINTED
    return new_figure(*(min(max(scale * side, _LEAST), _MOST) for side in (width, height)))


def panels(height: float = 2.8) -> tuple[Figure, NDArray[np.object_]]:
    """Two empty panels side by side.

    Examples
    --------
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> len(figure.axes)
    2
    """
    figure = page(height)
    return figure, figure.subplots(1, 2)


def inks(number: int) -> list[str]:
    """That many colors: those of the style sheet in force; where it has none of its own, told apart by everybody.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.plot.inks(2)
    ['#004488', '#bb5566']
    """
    import matplotlib

    number = _check.count("number", number, least=0, mend="give how many colors are wanted")
    if number > _INKS:
        raise _check.bad("number", number, f"at most {_INKS}", "give how many colors are wanted")
    cycle = matplotlib.rcParams["axes.prop_cycle"]
    own = cycle == matplotlib.rcParamsDefault["axes.prop_cycle"] or "color" not in cycle.keys
    colors = INK if own else cycle.by_key()["color"]
    return [colors[i % len(colors)] for i in range(number)]


def line_width(share: float = 1.0) -> float:
    """In the measure of the style sheet in force."""
    import matplotlib

    return share * float(matplotlib.rcParams["lines.linewidth"])


def _curves(axis: Axes, time: ArrayLike, **curves: ArrayLike) -> list[Floats]:
    """Times and what is drawn over them, each as long; infinite or unknown values stay."""
    from matplotlib.axes import Axes as MatplotlibAxes

    _check.instance("axis", axis, MatplotlibAxes, "axes of Matplotlib", "pass for example plt.gca()")
    drawn: list[Floats] = []
    for name, values in {"time": time, **curves}.items():
        accepted = "numbers, one for each time"
        _check.not_masked(name, values, accepted, "pass for example values.filled(np.nan)")
        try:
            array = np.asarray(values)
            if array.dtype.kind not in "biufO":
                raise _check.wrong_kind(name, values, accepted, "pass an array")
            array = array.astype(np.float64)
        except Exception:  # whatever the values make of being an array
            raise _check.wrong_kind(name, values, accepted, "pass an array") from None
        if array.ndim != 1 or (drawn and len(array) != len(drawn[0])):
            length = f"({len(drawn[0])},)" if drawn else "(n,)"
            raise _check.bad(
                name, f"an array of shape {array.shape}", f"one of shape {length}", "give one number a time"
            )
        drawn.append(array)
    return drawn


def shade_threshold(axis: Axes, time: Floats, lower: Floats, upper: Floats) -> None:
    """The region of the dual that the mirror map sends to zero, as far down as the panel goes.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> time = np.linspace(0.0, 1.0, 11)
    >>> rs.plot.shade_threshold(left, time, *rs.L1().dead_zone(0.1 * time))
    >>> rs.plot.finish([left])
    >>> figure.legends[0].get_texts()[0].get_text()
    '$w_j = 0$ exactly'
    """
    time, lower, upper = _curves(axis, time, lower=lower, upper=upper)
    if np.any(upper > 0.0):
        bottom = np.where(np.isfinite(lower), lower, min(axis.get_ylim()[0], 0.0))
        axis.fill_between(time, bottom, upper, color=GREEN, alpha=0.35, lw=0, zorder=0).set_gid(_ZONE)


def draw_band(axis: Axes, time: Floats, lower: Floats, upper: Floats, color: str = BLUE) -> None:
    """A filled band with thin edges, so that bands that overlap can be told apart.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> time = np.linspace(0.0, 1.0, 11)
    >>> rs.plot.draw_band(left, time, time - 0.1, time + 0.1)
    >>> len(left.collections), len(left.lines)  # the inside, its edges
    (1, 2)
    """
    time, lower, upper = _curves(axis, time, lower=lower, upper=upper)
    _need_color("color", color)
    axis.fill_between(time, lower, upper, color=color, alpha=0.2, lw=0, zorder=1)
    for edge in (lower, upper):
        axis.plot(time, edge, color=color, lw=line_width(0.3), alpha=0.7, zorder=1.5)


def draw_path(axis: Axes, time: Floats, path: Floats, ink: str) -> None:
    """One run, as it jitters.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> steps = np.random.default_rng(0).standard_normal(100)
    >>> rs.plot.draw_path(left, np.arange(100) / 100, steps.cumsum(), rs.plot.inks(1)[0])
    >>> len(left.lines)
    1
    """
    time, path = _curves(axis, time, path=path)
    _need_color("ink", ink)
    axis.plot(time, path, color=ink, lw=line_width(0.4), alpha=0.8, zorder=2)


def draw_mean(axis: Axes, time: Floats, mean: Floats, ink: str, label: str | None = None) -> None:
    """A smooth curve, with a light rim so that it stands out of paths and bands.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> time = np.linspace(0.0, 1.0, 11)
    >>> rs.plot.draw_mean(left, time, time**2, rs.plot.BLUE, "mean")
    >>> left.lines[0].get_label()
    'mean'
    """
    import matplotlib
    from matplotlib import patheffects

    time, mean = _curves(axis, time, mean=mean)
    _need_color("ink", ink)
    _need_text("label", label, "mean", or_none=True)
    rim = patheffects.withStroke(linewidth=line_width(1.9), foreground=matplotlib.rcParams["axes.facecolor"], alpha=0.8)
    axis.plot(time, mean, color=ink, lw=line_width(1.1), zorder=3, label=label, path_effects=[rim])


def bare(axis: Axes) -> None:
    """Without a frame above and to the right."""
    axis.spines[["top", "right"]].set_visible(False)


def zero_line(axis: Axes, at: float = 0.0) -> None:
    """Something to compare with."""
    axis.axhline(at, color="0.5", lw=line_width(0.5), zorder=0.5)


def over_time(axis: Axes) -> None:
    """Time on the horizontal axis, the zero line."""
    zero_line(axis)
    axis.set_xlabel(r"time  $t = n\gamma$")
    axis.margins(x=0.0)
    bare(axis)


def finish(axes: Iterable[Axes], band_label: str = "", ncols: int | None = None) -> None:
    """Axes over time, zero lines and one legend above, with bands and the zero region where they are drawn.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> figure, axes = rs.plot.panels()
    >>> time = np.linspace(0.0, 1.0, 11)
    >>> rs.plot.draw_band(axes[0], time, time - 0.1, time + 0.1)
    >>> rs.plot.draw_mean(axes[0], time, time, rs.plot.BLUE, "mean")
    >>> rs.plot.finish(axes, "95 % band")
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['mean', '95 % band']
    """
    from matplotlib.patches import Patch

    axes = _panels_of(axes)
    _need_text("band_label", band_label, "95 % band")
    ncols = _columns(ncols)
    for axis in axes:
        over_time(axis)
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    patches = [Patch(color="0.5", alpha=0.3, lw=0, label=band_label)] if band_label else []
    if any(shape.get_gid() == _ZONE for axis in axes for shape in axis.collections):
        patches.append(Patch(color=GREEN, alpha=0.35, lw=0, label="$w_j = 0$ exactly"))
    legend_above(axes[0].figure, [*entries.values(), *patches], ncols)


def legend_above(figure: Figure | SubFigure, handles: list[Any], ncols: int | None = None) -> None:
    """One legend for the whole figure, outside of its panels, in rows as even as can be.

    Examples
    --------
    >>> import rdasde as rs
    >>> figure, (left, right) = rs.plot.panels()
    >>> rs.plot.legend_above(figure, left.plot([0.0, 1.0], label="one line"))
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['one line']
    """
    import matplotlib

    _need_figure(figure, whole=False)
    ncols = _columns(ncols)
    accepted, mend = "lines, patches and the like, which have labels", "pass for example what axes.plot returns"
    try:
        handles = list(handles)
    except Exception:  # nothing to go through
        raise _check.wrong_kind("handles", handles, accepted, mend) from None
    for handle in handles:
        if not hasattr(handle, "get_label") or isinstance(handle, type):
            raise _check.bad("handles", f"one with {_check.show(handle)}", accepted, mend)
    if not handles:
        return
    if ncols is None:  # as many as there is room for, letters being so wide on average
        size = matplotlib.font_manager.FontProperties(size=matplotlib.rcParams["legend.fontsize"]).get_size_in_points()
        lengths = [len(handle.get_label()) + 6 for handle in handles]
        room = figure.bbox.width / figure.dpi * 72.0 / (0.58 * size)
        ncols = len(handles) if sum(lengths) <= room else max(1, int(room // max(lengths)))
    rows = -(-len(handles) // ncols)
    figure.legend(handles=handles, loc="outside upper center", ncols=-(-len(handles) // rows), frameon=False)


def legend_below(axis: Axes, handles: list[Any], ncols: int, room: float) -> None:
    """A legend under the label of the axis, in a share `room` of the figure that is kept free of panels."""
    engine: Any = axis.figure.get_layout_engine()
    engine.set(rect=(0.0, room, 1.0, 1.0 - room))
    legend = axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=ncols, frameon=False)
    legend.set_in_layout(False)


def letters(axes: Iterable[Axes]) -> None:
    r"""A bold a, b, ... before the title of each panel.

    Examples
    --------
    >>> import rdasde as rs
    >>> figure, axes = rs.plot.panels()
    >>> title = axes[0].set_title("dual")
    >>> rs.plot.letters(axes)
    >>> print(axes[0].get_title("left"))
    $\mathbf{a}$   dual
    """
    for letter, axis in zip(string.ascii_lowercase, _panels_of(axes), strict=False):
        text = axis.get_title("center") or axis.get_title("left")
        for place in ("center", "left"):
            axis.set_title("", loc=place)
        axis.set_title(rf"$\mathbf{{{letter}}}$   {text}".rstrip(), loc="left")


def plain_ticks(axis: Axes, which: str, ticks: Iterable[float]) -> None:
    """These ticks of a logarithmic axis that lie within it, as ordinary numbers, and no others."""
    low, high = sorted(axis.get_xlim() if which == "x" else axis.get_ylim())
    shown = [tick for tick in ticks if 0.999 * low <= tick <= 1.001 * high]
    along = axis.xaxis if which == "x" else axis.yaxis
    along.set_ticks(shown, [f"{tick:g}" for tick in shown])
    along.set_ticks([], minor=True)


def signed(number: float) -> str:
    """A number with its sign, as text."""
    return f"{number:+g}".replace("-", "\N{MINUS SIGN}") if number else "0"


def decimal_ticks(axis: Axes, which: str) -> None:
    """On a logarithmic axis of a few decades ordinary numbers; powers of ten, as they are, on a longer one."""
    low, high = sorted(axis.get_xlim() if which == "x" else axis.get_ylim())
    decades = float(np.log10(high / low))
    digits = (1, 2, 3, 5, 7) if decades < 1.0 else (1, 2, 5)
    if decades < 2.3:
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        plain_ticks(axis, which, [digit * 10.0**power for power in powers for digit in digits])


def draw_pair(
    axes: Iterable[Axes],
    runs: xr.Dataset,
    theory: xr.Dataset,
    labels: dict[int, str],
    level: float = 0.95,
    spaces: tuple[str, ...] = SPACES,
    legend: bool = True,
    regularizer: Regularizer | None = None,
) -> None:
    """Fill a panel for each space, dual and primal, with the labelled coordinates; a legend above, or within."""
    axes = list(axes)
    run = runs["dual"].dims[0]
    theory = theory.sel(coordinate=list(labels))
    for axis, space in zip(axes, spaces, strict=True):
        edges = band(theory, level, space=space, regularizer=regularizer)  # type: ignore[arg-type]
        for (j, label), ink in zip(labels.items(), inks(len(labels)), strict=True):
            here = {"coordinate": j}
            time = edges["time"].values
            draw_band(axis, time, edges["lower"].sel(here).values, edges["upper"].sel(here).values, ink)
            path = runs[space].isel({run: 0}).sel(here)
            mean = theory[f"{space}_mean"].sel(here)
            draw_path(axis, path["time"].values, path.values, ink)
            draw_mean(axis, mean["time"].values, mean.values, ink, label)
        axis.set_ylabel(f"{space}  ${space_symbol(space)}_j$")
        if space == "dual":
            mirror = mirror_if_known(theory, regularizer)
            zone = None if mirror is None else mirror.dead_zone(theory["threshold"].values)
            if zone is not None:
                shade_threshold(axis, theory["time"].values, *zone)
    if legend:
        finish(axes, f"{100 * level:g} % band")
        return
    for axis in axes:
        over_time(axis)
    axes[-1].legend(frameon=False)


def space_symbol(space: str) -> str:
    """The letter of a space."""
    return {"dual": "v", "primal": "w"}[space]


def caption(figure: Figure, text: str, baked: bool = False) -> None:
    """Prose to stand beside a figure, kept as its attribute ``caption``; `baked`: also written into the picture.

    Examples
    --------
    >>> import rdasde as rs
    >>> figure, axes = rs.plot.panels()
    >>> rs.plot.caption(figure, "Runs, and their band.")
    >>> figure.caption
    'Runs, and their band.'
    """
    _need_figure(figure)
    _need_text("text", text, "Runs, and their band.")
    baked = _check.flag("baked", baked)
    figure.caption = text  # type: ignore[attr-defined]
    if baked:
        bake(figure)


def bake(figure: Figure) -> None:
    """Write the caption below the panels, wrapped to the width of the figure, which grows by as much.

    Examples
    --------
    >>> import rdasde as rs
    >>> figure, axes = rs.plot.panels(height=2.0)
    >>> height = figure.get_figheight()
    >>> rs.plot.caption(figure, "Runs, and their band.")
    >>> rs.plot.bake(figure)
    >>> figure.get_supxlabel(), bool(figure.get_figheight() > height)
    ('Runs, and their band.', True)
    """
    import matplotlib

    _need_figure(figure)
    size = 0.875 * matplotlib.rcParams["font.size"]
    width = max(1, int(figure.get_figwidth() * 72.0 / (0.53 * size)))
    # a formula is not to be torn apart
    text = re.sub(r"\*\*(\w)\*\*", r"$\\mathbf{\1}$", getattr(figure, "caption", ""))
    pieces = text.split("$")
    joined = "$".join(piece.replace(" ", "\0") if k % 2 else piece for k, piece in enumerate(pieces))
    lines = textwrap.wrap(joined, width)
    figure.set_figheight(figure.get_figheight() + (len(lines) + 1) * 1.3 * size / 72.0)
    prose = "\n".join(lines).replace("\0", " ")
    figure.supxlabel(prose, x=0.02, ha="left", fontsize=size, fontweight="normal", linespacing=1.25)
