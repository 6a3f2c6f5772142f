"""A low-loss curve between two solutions: a quadratic Bezier curve whose bend is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._network import (
    Data,
    Loss,
    Network,
    batches,
    check,
    check_data,
    count_weights,
    flatten,
    weights_of,
)

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
    import xarray as xr

    check(model, loss, data)
    if evaluate is not None:
        check_data("evaluate", evaluate)
    number = count_weights(model)
    ends = weights_of("a", a, number), weights_of("b", b, number)
    epochs = _check.count("epochs", epochs, least=0, mend="give the number of passes over the data")
    rate = _check.number("learning_rate", learning_rate, above=0.0, mend="give for example learning_rate=0.05")
    momentum = _check.number("momentum", momentum, least=0.0, most=1.0)
    rows = _check.count("batch_size", batch_size)
    times = np.linspace(0.0, 1.0, _check.count("points", points, least=2, mend="the ends count"))
    generator = torch.Generator().manual_seed(_check.seed(seed))

    network = Network(model)
    bend, history = _train(network, *ends, loss, data, epochs, rate, momentum, rows, generator)
    middle = 0.5 * (ends[0] + ends[1])
    measured = data if evaluate is None else evaluate
    measurements = np.array(
        [
            [network.at(bezier(ends[0], through, ends[1], t), loss, measured, data, max(rows, 512)) for t in times]
            for through in (bend, middle)  # with the bend in the middle the curve is the segment
        ]
    )
    return xr.Dataset(
        {
            "loss": (("path", "t"), measurements[..., 0]),
            "accuracy": (("path", "t"), measurements[..., 1]),
            "bend": (("weight",), bend.numpy()),
            "training_loss": (("epoch",), np.array(history)),
        },
        coords={"path": ["curve", "segment"], "t": times},
    )


def _train(
    network: Network,
    a: Tensor,
    b: Tensor,
    loss: Loss,
    data: Data,
    epochs: int,
    rate: float,
    momentum: float,
    rows: int,
    generator: torch.Generator,
) -> tuple[Tensor, list[float]]:
    """The bend after training, and the mean loss of each epoch."""
    start, end = (point.to(network.device, network.dtype) for point in (a, b))
    bend = 0.5 * (start + end)
    speed = torch.zeros_like(bend)
    parameters = list(network.model.parameters())
    history = []
    for epoch in range(epochs):
        network.model.train()
        progress = epoch / epochs
        now = rate * (1.0 if progress <= 0.5 else max(0.01, 1.0 - 0.99 * (progress - 0.5) / 0.4))
        total, seen = 0.0, 0
        for inputs, targets in batches(data, rows, network.device, generator):
            t = float(torch.rand((), generator=generator, dtype=torch.float64))
            network.move(bezier(start, bend, end, t))
            value = loss(network.model(inputs), targets)
            slope = torch.autograd.grad(value, parameters, materialize_grads=True)
            speed = momentum * speed + 2.0 * t * (1.0 - t) * flatten(slope)
            bend = bend - now * speed
            total, seen = total + float(value.detach()) * len(inputs), seen + len(inputs)
        history.append(total / seen)
        if not np.isfinite(history[-1]):
            raise ArithmeticError(
                f"The training of the bend diverged in epoch {epoch + 1}: give a smaller learning_rate."
            )
    return bend.to("cpu", torch.float64), history
