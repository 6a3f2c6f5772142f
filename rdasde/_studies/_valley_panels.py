"""The panels of a valley: the loss on a plane, and axes along the way from one solution to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdasde import _drawing
from rdasde._engine.store import Arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FINE = 241  # points a side that the plane is drawn at


def contours(
    figure: Figure,
    axis: Axes,
    plane: Arrays,
    label: str,
    title: str,
    *,
    key: str = "loss",
    most: float | None = None,
    ends: tuple[str, str] = ("gRDA", "SGD"),
) -> None:
    """The loss on a plane (`key` of it, in color up to `most`), and on it the curve, the segment, and their ends."""
    from matplotlib.colors import LogNorm
    from scipy.interpolate import RectBivariateSpline

    low = max(float(plane[key].min()), 1e-4)
    top = float(plane[key].max())
    high = max(min(top, 3.0), 10.0 * low) if most is None else min(top, most)
    order = min(3, len(plane["x"]) - 1)
    spline = RectBivariateSpline(plane["y"], plane["x"], np.log(np.maximum(plane[key], low)), kx=order, ky=order)
    x, y = (np.linspace(plane[name][0], plane[name][-1], FINE) for name in ("x", "y"))
    loss = np.exp(spline(y, x))
    levels = np.geomspace(low, high, 15)
    filled = axis.contourf(
        x, y, np.clip(loss, low, None), levels, cmap="cividis", norm=LogNorm(low, high), extend="max"
    )
    axis.contour(x, y, loss, levels, colors="white", linewidths=0.3, alpha=0.5)
    digits = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8) if high < 5.0 * low else (1, 2, 5) if high < 100.0 * low else (1,)
    ticks = [a * 10.0**k for k in range(-4, 2) for a in digits]
    ticks = [tick for tick in ticks if low <= tick <= 1.01 * high]
    bar = figure.colorbar(filled, ax=axis, orientation="horizontal", label=label, pad=0.02, aspect=30)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    start, end, bend = plane["corners"]
    t = np.linspace(0.0, 1.0, 101)[:, None]
    axis.plot(*((1.0 - t) ** 2 * start + 2.0 * t * (1.0 - t) * bend + t**2 * end).T, color="white", lw=1.6)
    axis.plot(*plane["corners"][:2].T, color="white", lw=0.9, ls="--")
    for corner, name, mark in zip(plane["corners"], (*ends, "bend"), "ooD", strict=True):
        axis.plot(*corner, mark, color="black", mec="white", mew=0.6, ms=4.5 if mark == "o" else 3.5)
        axis.annotate(
            name,
            corner,
            xytext=(0, -10 if name == "bend" else 6),
            textcoords="offset points",
            ha="center",
            va="top" if name == "bend" else "bottom",
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85},
        )
    axis.set(xlabel="along the segment", ylabel="across the segment", title=title)


def over_the_way(axis: Axes, ends: tuple[str, str] = ("gRDA", "SGD"), named: bool = True) -> None:
    """The share of the way on the horizontal axis; without names, where another panel below has them."""
    axis.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0], [f"0\n{ends[0]}", ".25", ".5", ".75", f"1\n{ends[1]}"])
    if named:
        axis.set_xlabel("share of the way")
    else:
        axis.set_xticklabels([])
    axis.margins(x=0.02)
    _drawing.bare(axis)
