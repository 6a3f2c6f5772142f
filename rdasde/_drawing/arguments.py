"""What the drawing kit is given, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST, MOST = 0.1, 650.0  # inches that a figure has: at 100 points each, as many points as Matplotlib renders


def inches(name: str, value: float) -> float:
    return _check.number(name, value, least=LEAST, most=MOST, mend="give inches, for example 3.3")


def need_figure(figure: Any, *, whole: bool = True) -> None:
    from matplotlib.figure import Figure, FigureBase

    kind = Figure if whole else FigureBase
    _check.instance("figure", figure, kind, "a figure of Matplotlib", "pass for example plt.gcf(), or axes.figure")


def panels_of(axes: Any) -> list[Axes]:
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


def need_text(name: str, value: Any, example: str, *, or_none: bool = False) -> None:
    if not (isinstance(value, str) or (or_none and value is None)):
        raise _check.wrong_kind(name, value, f"text{' or None' if or_none else ''}", f"give for example {example!r}")


def need_color(name: str, value: Any) -> None:
    from matplotlib.colors import is_color_like

    try:
        right = value is None or is_color_like(value)
    except Exception:  # whatever it makes of being compared
        right = False
    if not right:
        accepted = "a color of Matplotlib"
        raise _check.bad(name, _check.show(value), accepted, "give for example rs.plot.BLUE, or rs.plot.inks(2)[1]")


def columns(ncols: int | None) -> int | None:
    mend = "give how many entries stand in a row, or None"
    return None if ncols is None else _check.count("ncols", ncols, mend=mend)


def curves(axis: Axes, time: ArrayLike, **curves: ArrayLike) -> list[Floats]:
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
