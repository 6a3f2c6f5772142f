"""Figures of a page's width, letters of panels, and the caption beside."""

from __future__ import annotations

import functools
import io
import re
import string
import textwrap
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._drawing.arguments import LEAST, MOST, inches, need_figure, need_text, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SINGLE, DOUBLE = 3.3, 6.8  # inches: one column of a journal, and both
_PRINTED = 8.0  # points: the size of text in the print style, which the widths above are meant for


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
    return _figure_class()(figsize=(inches("width", width), inches("height", height)), layout="constrained")


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

    height, width = inches("height", height), inches("width", width)
    scale = matplotlib.rcParams["font.size"] / _PRINTED
    return new_figure(*(min(max(scale * side, LEAST), MOST) for side in (width, height)))


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
    for letter, axis in zip(string.ascii_lowercase, panels_of(axes), strict=False):
        text = axis.get_title("center") or axis.get_title("left")
        for place in ("center", "left"):
            axis.set_title("", loc=place)
        axis.set_title(rf"$\mathbf{{{letter}}}$   {text}".rstrip(), loc="left")


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
    need_figure(figure)
    need_text("text", text, "Runs, and their band.")
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

    need_figure(figure)
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
