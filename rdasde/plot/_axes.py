"""Where a picture goes: axes of the user's, or a figure of its own; what its arguments must be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._bands.variables import in_order
from rdasde._drawing import SINGLE, page
from rdasde._engine.arguments import kept_coordinates

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def one(ax: Axes | None, height: float = 2.5, width: float = SINGLE) -> Axes:
    """The axes given, or those of a new figure."""
    from matplotlib.axes import Axes as MatplotlibAxes

    if ax is None:
        return page(height, width).subplots()
    _check.instance("ax", ax, MatplotlibAxes, "axes of Matplotlib or None", "pass for example plt.gca()")
    _need_plain(ax)
    return ax


def _need_plain(ax: Axes) -> None:
    if ax.name != "rectilinear":
        raise _check.bad("ax", f"{ax.name} axes", "ones with two straight sides", "pass for example plt.subplots()[1]")


def several(ax: Axes | Iterable[Axes], numbers: tuple[int, ...]) -> list[Axes]:
    """As many axes as are wanted, from one or from any array of them."""
    from matplotlib.axes import Axes as MatplotlibAxes

    try:
        shapes = [ax] if isinstance(ax, MatplotlibAxes) else list(np.ravel(np.array(ax, dtype=object)))
    except Exception:  # whatever it makes of being an array
        shapes = [ax]
    words = " or ".join(map(str, numbers))
    for shape in shapes:
        accepted = f"{words} axes of Matplotlib or None"
        _check.instance("ax", shape, MatplotlibAxes, accepted, "pass for example plt.subplots(1, 2)[1]")
        _need_plain(shape)
    if len(shapes) not in numbers:
        raise _check.bad("ax", f"{len(shapes)} axes", f"{words} of them", "pass for example plt.subplots(1, 2)[1]")
    return shapes


def figure_of(axis: Axes) -> Figure:
    """The whole figure, also where the axes are in a part of it."""
    part: Any = axis.figure
    while part is not getattr(part, "figure", part):
        part = part.figure
    return part


def dataset(argument: str, value: Any, source: str) -> xr.Dataset:
    """A result, its dimensions in order."""
    import xarray as xr

    _check.instance(argument, value, xr.Dataset, f"what {source} returned", "pass that Dataset")
    return in_order(argument, value)


def runs_and_theory(runs: Any, theory: Any) -> tuple[xr.Dataset, xr.Dataset]:
    """What `simulate` returned with its dual paths, and what `approximate` did."""
    runs, theory = dataset("runs", runs, "simulate"), dataset("theory", theory, "approximate")
    if "dual" not in runs or "dual_mean" not in theory:
        raise _check.bad(
            "runs" if "dual" not in runs else "theory",
            "a Dataset without dual paths" if "dual" not in runs else "a Dataset without dual_mean",
            "simulate(..., keep='paths') and approximate(...)",
            "pass those",
        )
    return runs, theory


def coordinates_of(coordinates: ArrayLike, *results: tuple[str, xr.Dataset]) -> NDArray[np.int64]:
    """Chosen coordinates, which all results must have."""
    number = max(int(result["coordinate"].values.max()) for _, result in results) + 1
    chosen = kept_coordinates(coordinates, number)
    for name, result in results:
        missing = np.setdiff1d(chosen, result["coordinate"].values)
        if missing.size:
            raise _check.bad(
                "coordinates", f"{missing.tolist()}, not in {name}", "among those kept", "keep them in simulate"
            )
    return chosen


def telling(theory: xr.Dataset, *others: xr.Dataset) -> list[int]:
    """Coordinates that show most: the largest at the end, the smallest that is not zero, one that is."""
    last = theory.isel(time=-1)
    common = last["coordinate"].values
    for other in others:
        common = np.intersect1d(common, other["coordinate"].values)
    last = last.sel(coordinate=common)
    size, zero = np.abs(last["primal_mean"].values), last["probability_zero"].values
    alive = zero < 0.5
    chosen = [int(np.argmax(size))]
    if alive.any():
        chosen.append(int(np.argmin(np.where(alive, size, np.inf))))
    if not alive.all():
        chosen.append(int(np.argmax(zero)))
    return [int(common[k]) for k in dict.fromkeys(chosen)]
