"""A low-loss curve between two solutions: a quadratic Bezier curve whose bend is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._check import Floats
from rdasde._errors import note_partial
from rdasde._network import Data, Loss, Network, batches, count_weights, exact, flatten, loss_of

from ._given import checked_network, solution

_POINTS = 10**6

if TYPE_CHECKING:
    import xarray as xr


def bezier(a: Tensor, bend: Tensor, b: Tensor, t: float) -> Tensor:
    """``(1 - t)^2 a + 2 t (1 - t) bend + t^2 b``."""
    return (1.0 - t) ** 2 * a + 2.0 * t * (1.0 - t) * bend + t**2 * b


def curve(
    model: nn.Module,
    a: Any,
    b: Any,
    loss: Loss,
    data: Data,
    *,
    epochs: int = 10,
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    batch_size: int = 64,
    points: int = 25,
    evaluate: Data | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Connect two solutions by a curve along which the loss is low, and measure it and the straight segment.

    ``w(t) = (1 - t)^2 a + 2 t (1 - t) bend + t^2 b``, t in [0, 1]; the bend alone is trained, from the middle of the
    segment, by SGD with momentum on the loss of a batch at ``w(t)``, t uniform, a fresh one for each batch (Garipov,
    Izmailov, Podoprikhin, Vetrov & Wilson, NeurIPS 2018). The learning rate is constant for half of the epochs and then
    falls linearly to 1 % of it. At every point measured, batch-norm statistics are estimated anew on `data`.

    Parameters
    ----------
    model : torch.nn.Module
        The architecture; it is not changed.
    a, b : torch.nn.Module, Tensor or array_like of shape (d,)
        The ends: networks, or their weights in the order of ``model.parameters()``. They stay as they are.
    loss : callable
        ``loss(outputs, targets)``, the mean over a batch.
    data : (Tensor, Tensor) or iterable of such pairs
        Training data; a pair of tensors is shuffled in every epoch.
    epochs, learning_rate, momentum, batch_size
        Of the training of the bend.
    points : int
        At how many equally spaced t to measure, ends included.
    evaluate : as `data`, optional
        Data on which loss and accuracy are measured; `data` when not given.
    seed : int
        Of the batches and the t.

    Returns
    -------
    xarray.Dataset
        ``loss``, ``accuracy`` (path, t) for the paths "curve" and "segment", accuracy in [0, 1], NaN where the
        targets are not classes; ``bend`` (weight); ``training_loss`` (epoch), a mean over the epoch's batches and t.

    Raises
    ------
    ValueError, TypeError
        For bad arguments.
    ArithmeticError
        If the training of the bend diverges.
    KeyboardInterrupt
        Its ``partial`` is the Dataset, once an epoch is finished: with the bend after the last one, NaN where nothing
        was measured yet.

    Examples
    --------
    >>> import torch
    >>> from rdasde.landscape import curve
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    >>> data = torch.ones(8, 1), torch.ones(8, 1)
    >>> found = curve(model, [2.0, 0.5], [0.5, 2.0], torch.nn.functional.mse_loss, data, epochs=20, points=3)
    >>> found.loss.sel(path="segment").values.round(1)
    array([0. , 0.3, 0. ])
    >>> found.loss.sel(path="curve").values.round(1)
    array([0. , 0.1, 0. ])
    """
    rows = _check.count("batch_size", batch_size)
    network = checked_network(model, loss, data, rows, gradient=True, evaluate=evaluate)
    number = count_weights(model)
    ends = solution("a", a, number), solution("b", b, number)
    epochs = _check.count("epochs", epochs, mend="give the number of passes over the data")
    rate = _check.number("learning_rate", learning_rate, above=0.0, mend="give for example learning_rate=0.05")
    momentum = _check.number("momentum", momentum, least=0.0, below=1.0, mend="give for example momentum=0.9")
    points = _check.count("points", points, least=2, mend="the ends count")
    if points > _POINTS:
        raise _check.bad("points", points, f"at most {_POINTS}", "the network is evaluated at each of them")
    times = np.linspace(0.0, 1.0, points)
    generator = torch.Generator().manual_seed(_check.seed(seed))

    measurements = np.full((2, len(times), 2), np.nan)
    steps = Steps(epochs, rate, momentum, rows)
    training = Training.begin(network, *ends, generator)
    middle = training.bend
    try:
        train_bend(network, *ends, loss, lambda epoch: data, steps, training)
        measured = data if evaluate is None else evaluate
        # with the bend in the middle the curve is the segment
        for k, through in enumerate((training.bend, middle)):
            points_of = BezierCurve(network, ends[0], through.to("cpu", torch.float64), ends[1])
            for i, t in enumerate(times):
                measurements[k, i] = network.at(points_of(t), loss, measured, data, max(rows, 512))
    except KeyboardInterrupt as interrupt:
        if training.losses:
            what = f"the bend after {len(training.losses)} of {epochs} epochs, and losses, NaN where not measured yet"
            note_partial(interrupt, _dataset(measurements, times, training), what)
        raise
    return _dataset(measurements, times, training)


class BezierCurve:
    """The weights at t, on the device of a network."""

    def __init__(self, network: Network, a: Tensor, bend: Tensor, b: Tensor) -> None:
        self._a, self._bend, self._b = (network.hold(point) for point in (a, bend, b))

    def __call__(self, t: float) -> Tensor:
        return bezier(self._a, self._bend, self._b, t)


class Steps(NamedTuple):
    """How the bend is trained."""

    epochs: int
    rate: float
    momentum: float
    rows: int  # of a batch, where data are a pair of tensors


@dataclasses.dataclass
class Training:
    """What the training of a bend goes on from after a finished epoch."""

    bend: Tensor  # in the network's precision, on its device
    speed: Tensor
    generator: torch.Generator
    losses: list[float]  # the mean of each epoch

    @classmethod
    def begin(cls, network: Network, a: Tensor, b: Tensor, generator: torch.Generator) -> Training:
        """From the middle of the segment."""
        start, end = (point.to(network.device, network.dtype) for point in (a, b))
        bend = 0.5 * (start + end)
        return cls(bend, torch.zeros_like(bend), generator, [])


def _dataset(measurements: Floats, times: Floats, training: Training) -> xr.Dataset:
    import xarray as xr

    return xr.Dataset(
        {
            "loss": (("path", "t"), measurements[..., 0]),
            "accuracy": (("path", "t"), measurements[..., 1]),
            "bend": (("weight",), training.bend.to("cpu", torch.float64).numpy()),
            "training_loss": (("epoch",), np.array(training.losses)),
        },
        coords={"path": ["curve", "segment"], "t": times},
    )


def train_bend(
    network: Network,
    a: Tensor,
    b: Tensor,
    loss: Loss,
    data: Callable[[int], Data],
    steps: Steps,
    training: Training,
    after_epoch: Callable[[Training], None] | None = None,
) -> None:
    """Train the bend on the data of each epoch, from where `training` is; after every epoch it is kept there."""
    start, end = (point.to(network.device, network.dtype) for point in (a, b))
    parameters = list(network.model.parameters())
    for epoch in range(len(training.losses), steps.epochs):
        network.model.train()
        progress = epoch / steps.epochs
        now = steps.rate * (1.0 if progress <= 0.5 else max(0.01, 1.0 - 0.99 * (progress - 0.5) / 0.4))
        bend, speed = training.bend, training.speed
        total, seen = torch.zeros((), dtype=exact(network.device), device=network.device), 0
        for inputs, targets in batches(data(epoch), steps.rows, network.device, training.generator):
            t = float(torch.rand((), generator=training.generator, dtype=torch.float64))
            network.move(bezier(start, bend, end, t))
            _, value = loss_of(loss, network.model, inputs, targets)
            slope = torch.autograd.grad(value, parameters, materialize_grads=True)
            speed = steps.momentum * speed + 2.0 * t * (1.0 - t) * flatten(slope)
            bend = bend - now * speed
            total += value.detach().to(total.dtype) * len(inputs)
            seen += len(inputs)
        mean = float(total) / seen
        if not np.isfinite(mean):
            raise ArithmeticError(
                f"The training of the bend diverged in epoch {epoch + 1}: give a smaller learning_rate."
            )
        training.bend, training.speed = bend, speed
        training.losses.append(mean)
        if after_epoch is not None:
            after_epoch(training)
