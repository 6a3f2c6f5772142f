"""The plane through three solutions, and the loss on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from rdasde import _check
from rdasde._check import Floats
from rdasde._errors import note_partial
from rdasde._network import Data, Loss, count_weights, weights_of

from ._given import checked_network
from ._given import solution as vector_of

_MOST = 10**4  # places along an axis

if TYPE_CHECKING:
    import xarray as xr


class Plane(NamedTuple):
    """``origin + x axes[0] + y axes[1]``, with orthonormal axes: distances on it are distances of weights.

    Examples
    --------
    >>> import numpy as np
    >>> from rdasde.landscape import plane
    >>> through = plane(np.zeros(4), [2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0])
    >>> through.point(1.0, 0.5).tolist()
    [1.0, 0.5, 0.0, 0.0]
    >>> through.project(np.ones(4))
    array([1., 1.])
    >>> [len(side) for side in through.grid(5)]
    [5, 5]
    """

    origin: Tensor  # (d,), the solution a
    axes: Tensor  # (2, d)
    corners: Floats  # (3, 2): where a, b and c lie; a at (0, 0), b at (|b - a|, 0), c at y > 0

    def point(self, x: float, y: float) -> Tensor:
        """The weights at a place of the plane, (d,)."""
        x = _check.number("x", x, mend="give a distance along the first axis")
        y = _check.number("y", y, mend="give a distance along the second axis")
        return self.origin + x * self.axes[0] + y * self.axes[1]

    def project(self, solution: Any) -> Floats:
        """The place nearest to a solution, (2,)."""
        vector = vector_of("solution", solution, len(self.origin))
        return np.asarray((self.axes @ (vector - self.origin)).numpy())

    def grid(self, size: int = 21, margin: float = 0.2) -> tuple[Floats, Floats]:
        """Equally spaced x (size,) and y (size,) over the three solutions, and a margin in units of their extent."""
        size = _check.count("size", size, least=2, mend="give how many places along each axis, for example size=21")
        if size > _MOST:
            raise _check.bad("size", size, f"at most {_MOST}", "the network is evaluated at its square of places")
        margin = _check.number("margin", margin, least=0.0, mend="give a share of the extent, for example margin=0.2")
        low, high = self.corners.min(axis=0), self.corners.max(axis=0)
        room = margin * (high - low)
        return np.linspace(low[0] - room[0], high[0] + room[0], size), np.linspace(
            low[1] - room[1], high[1] + room[1], size
        )


def plane(a: Any, b: Any, c: Any) -> Plane:
    """The plane through three solutions, with orthonormal coordinates: a at the origin, b on the first axis.

    Parameters
    ----------
    a, b, c : torch.nn.Module, Tensor or array_like of shape (d,)
        Networks of one architecture, or their weights in the order of ``model.parameters()``; for example the ends
        and the bend of a curve.

    Returns
    -------
    Plane
        With ``origin``, ``axes``, ``corners``, and the methods ``point(x, y)``, ``project(solution)``, ``grid(size)``.

    Raises
    ------
    ValueError
        If the three lie on one line, or are not of one length.

    Examples
    --------
    >>> import numpy as np
    >>> from rdasde.landscape import plane
    >>> plane(np.zeros(4), [2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]).corners
    array([[0., 0.],
           [2., 0.],
           [0., 1.]])
    """
    origin = vector_of("a", a)
    along = vector_of("b", b, len(origin)) - origin
    across = vector_of("c", c, len(origin)) - origin
    length = float(along.norm())
    first = along / length if length > 0.0 else along
    reach = float(across.norm())
    for _ in range(2):
        across = across - (first @ across) * first
    height = float(across.norm())
    if length == 0.0 or height <= 1e-7 * max(length, reach):
        raise _check.bad(
            "c" if length > 0.0 else "b",
            "on the line through a and b" if length > 0.0 else "the same as a",
            "a solution elsewhere",
            "pass three solutions that are not on one line",
        )
    axes = torch.stack([first, across / height])
    here = float(axes[0] @ (vector_of("c", c, len(origin)) - origin))
    return Plane(origin, axes, np.array([[0.0, 0.0], [length, 0.0], [here, height]]))


def surface(
    model: nn.Module,
    plane: Plane,
    loss: Loss,
    data: Data,
    *,
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    statistics: Data | None = None,
    batch_size: int = 512,
) -> xr.Dataset:
    """Loss and accuracy on a grid of a plane of weights.

    Parameters
    ----------
    model : torch.nn.Module
        The architecture; it is not changed.
    plane : Plane
        From `plane`.
    loss : callable
        ``loss(outputs, targets)``, the mean over a batch.
    data : (Tensor, Tensor) or iterable of such pairs
        On which loss and accuracy are measured.
    x, y : array_like, optional
        The grid, increasing; ``plane.grid()`` when not given.
    statistics : as `data`, optional
        Training data on which batch-norm statistics are estimated anew at every point; `data` when not given.
    batch_size : int
        How many rows of a pair of tensors at a time.

    Returns
    -------
    xarray.Dataset
        ``loss``, ``accuracy`` (y, x), accuracy in [0, 1], NaN where the targets are not classes; ``corner``
        (solution, axis).

    Raises
    ------
    ValueError, TypeError
        For bad arguments.
    KeyboardInterrupt
        Its ``partial`` is the Dataset, NaN where nothing was measured yet.

    Examples
    --------
    >>> import torch
    >>> from rdasde.landscape import plane, surface
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> data = torch.eye(2), torch.tensor([[1.0], [0.0]])
    >>> through = plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    >>> losses = surface(model, through, torch.nn.functional.mse_loss, data, x=[0.0, 1.0], y=[0.0, 1.0])
    >>> losses.loss.values
    array([[0.5, 0. ],
           [1. , 0.5]])
    """
    _check.instance("plane", plane, Plane, "what landscape.plane returned", "pass that")
    rows = _check.count("batch_size", batch_size)
    network = checked_network(model, loss, data, rows, statistics=statistics)
    weights_of("plane", plane.origin, count_weights(model))
    usual = plane.grid()
    wheres = []
    for name, value, default in (("x", x, usual[0]), ("y", y, usual[1])):
        where = default if value is None else _check.array(name, value, (None,), mend="give increasing numbers")
        if np.any(np.diff(where) <= 0.0):
            raise _check.bad(name, "an array that does not increase", "strictly increasing", "pass np.unique of it")
        wheres.append(where)
    known = data if statistics is None else statistics
    measurements = np.full((len(wheres[1]), len(wheres[0]), 2), np.nan)
    finished = 0
    held = Plane(network.hold(plane.origin), network.hold(plane.axes), plane.corners)
    try:
        for i, v in enumerate(wheres[1]):
            for j, u in enumerate(wheres[0]):
                measurements[i, j] = network.at(held.point(u, v), loss, data, known, rows)
                finished += 1
    except KeyboardInterrupt as interrupt:
        if finished:
            what = f"the surface at {finished} of {measurements[..., 0].size} places, NaN at the others"
            note_partial(interrupt, _dataset(measurements, plane, wheres), what)
        raise
    return _dataset(measurements, plane, wheres)


def _dataset(measurements: Floats, plane: Plane, wheres: list[Floats]) -> xr.Dataset:
    import xarray as xr

    return xr.Dataset(
        {
            "loss": (("y", "x"), measurements[..., 0]),
            "accuracy": (("y", "x"), measurements[..., 1]),
            "corner": (("solution", "axis"), plane.corners),
        },
        coords={"x": wheres[0], "y": wheres[1], "solution": ["a", "b", "c"], "axis": ["x", "y"]},
    )
