"""Training as a pure function: the same arguments, the same weights, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rdasde import _check
from rdasde.pruning._sparsity import sparsity
from rdasde.pruning._training.data import Data

Weights = dict[str, Tensor]
Network = Callable[[], nn.Module]


class Trained(NamedTuple):
    """Weights (a state dict, batch-norm statistics included) and, by epoch, what they did."""

    weights: Weights
    train_loss: NDArray[np.float64]  # mean over the epoch's batches, as they were met
    test_loss: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    zeros: NDArray[np.int64]  # exact zeros among all parameters
    kept: dict[int, Weights]  # the weights after the epochs asked for


def train(
    network: Network,
    data: Data,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
    rate: Callable[[int], float] | None = None,
    start: Weights | None = None,
    first_epoch: int = 0,
    keep: tuple[int, ...] = (),
    after_step: Callable[[nn.Module, int], None] | None = None,
    memory_format: torch.memory_format = torch.channels_last,
) -> Trained:
    """Train a new network by cross-entropy.

    Parameters
    ----------
    network : callable
        Returns a new module. Its first weights depend on the `seed` alone, so that methods start from the same ones.
    data : Data
        From `load`.
    optimizer : callable
        Makes the optimizer of a module.
    epochs, first_epoch : int
        Passes over the data: from `first_epoch` up to, not including, `epochs`. Which rows a batch holds depends on
        seed and epoch alone.
    batch_size, seed : int
        Rows a step; what initial weights, batches and dropout are drawn from.
    rate : callable, optional
        The learning rate of an epoch; without it the optimizer's own.
    start : dict, optional
        Weights to start from instead of the drawn ones.
    keep : tuple of int
        Numbers of epochs after which the weights are kept.
    after_step : callable, optional
        Called with the module and the number of steps done since `first_epoch`.
    memory_format : torch.memory_format
        Of pictures and filters. With numbers of channels that are odd, oneDNN's convolutions corrupt memory going
        backward through channels-last tensors (PyTorch 2.13 on CPUs): train those in `torch.contiguous_format`.

    Returns
    -------
    Trained
        Weights and history.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, before anything is trained.
    """
    first_epoch = _check.count("first_epoch", first_epoch, least=0)
    epochs = _check.count("epochs", epochs, least=first_epoch)
    batch_size = _check.count("batch_size", batch_size)
    seed = _check.seed(seed)
    with alone(seed):
        module = network()
        if start is not None:
            module.load_state_dict(start)
        torch.manual_seed(seed + first_epoch)  # dropout
        module.to(memory_format=memory_format)  # type: ignore[call-overload]  # absent from the stubs
        updates = optimizer(module)
        inputs, labels = data.train_inputs.contiguous(memory_format=memory_format), data.train_labels
        rows: list[tuple[float, float, float, float]] = []
        kept: dict[int, Weights] = {}
        step = 0
        for epoch in range(first_epoch, epochs):
            if rate is not None:
                for group in updates.param_groups:
                    group["lr"] = rate(epoch)
            module.train()
            total = 0.0
            for batch in batches(len(labels), batch_size, seed, epoch):
                updates.zero_grad(set_to_none=True)
                loss = functional.cross_entropy(module(inputs[batch]), labels[batch])
                loss.backward()
                updates.step()
                step += 1
                if after_step is not None:
                    after_step(module, step)
                total += loss.item() * len(batch)
            rows.append(
                (total / len(labels), *_evaluate(module, data.test_inputs, data.test_labels), sparsity(module).zeros)
            )
            if epoch + 1 in keep:
                kept[epoch + 1] = weights_of(module)
        loss_there, test_loss, accuracy, none = np.array(rows, dtype=np.float64).reshape(-1, 4).T
        return Trained(weights_of(module), loss_there, test_loss, accuracy, none.astype(np.int64), kept)


def evaluate(network: Network, weights: Weights, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of a network with these weights, in evaluation mode."""
    with alone(0):
        module = network()
        module.load_state_dict(weights)
        return _evaluate(module, inputs, labels)


def weights_of(module: nn.Module) -> Weights:
    """A copy of the state dict, laid out plainly."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in module.state_dict().items()
    }


def batches(rows: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """The rows of each batch of an epoch, by seed and epoch alone."""
    order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(rows))
    return iter(order.split(batch_size))


@contextmanager
def alone(seed: int) -> Iterator[None]:
    """One thread, so that sums have one order on every machine; random numbers of our own, put back afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def _evaluate(module: nn.Module, inputs: Tensor, labels: Tensor, batch_size: int = 500) -> tuple[float, float]:
    module.eval()
    loss, right = 0.0, 0
    with torch.no_grad():
        for i in range(0, len(labels), batch_size):
            scores, here = module(inputs[i : i + batch_size]), labels[i : i + batch_size]
            loss += functional.cross_entropy(scores, here, reduction="sum").item()
            right += int((scores.argmax(1) == here).sum())
    return loss / len(labels), right / len(labels)
