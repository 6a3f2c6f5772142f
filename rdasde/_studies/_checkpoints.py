"""SGD and gRDA from the same initial weights, with the weights they had on the way: what two studies look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rdasde._engine.store import Arrays
from rdasde._studies._pieces import Pieces

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rdasde.pruning._training import Data


class Plan(NamedTuple):
    """What determines the weights."""

    data: str = "mnist5000"
    network: str = "lenet"
    epochs: int = 40
    kept: tuple[int, ...] = (1, 2, 5, 10, 20, 40)
    batch_size: int = 64
    rate: float = 0.1
    c: float = 0.02
    mu: float = 0.55


SMALL = Plan("digits", "resnet8", 2, (1, 2), batch_size=64, c=0.005)


def weights(pieces: Pieces, plan: Plan, seed: int, method: str) -> Arrays:
    """A run of "sgd" or "grda": ``weights`` (epoch, d) after the epochs kept, test accuracy, exact zeros."""
    settings = plan._asdict() | {"seed": seed, "method": method}
    if method == "sgd":
        del settings["c"], settings["mu"]
    return pieces("checkpoints", settings, lambda: _run(plan, seed, method))


def _run(plan: Plan, seed: int, method: str) -> Arrays:
    import torch

    from rdasde.pruning import GRDA, parameter_groups
    from rdasde.pruning._training import train

    def optimizer(module: nn.Module) -> torch.optim.Optimizer:
        if method == "sgd":
            return torch.optim.SGD(module.parameters(), plan.rate)
        return GRDA(parameter_groups(module, c=plan.c), plan.rate, mu=plan.mu)

    trained = train(
        lambda: network(plan),
        data(plan),
        optimizer,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        seed=seed,
        keep=plan.kept,
    )
    module = network(plan)
    names = [name for name, _ in module.named_parameters()]
    flat = [torch.cat([trained.kept[epoch][name].reshape(-1) for name in names]).numpy() for epoch in plan.kept]
    return {"weights": np.array(flat), "test_accuracy": trained.test_accuracy, "zeros": trained.zeros}


def network(plan: Plan) -> nn.Module:
    """A new network."""
    from rdasde.pruning import _training

    module: nn.Module = getattr(_training, plan.network)()
    return module


def data(plan: Plan) -> Data:
    """The data set."""
    from rdasde.pruning._training import load

    return load(plan.data)


def about(plan: Plan) -> str:
    """Network and data in words."""
    words = {"lenet": "LeNet-5", "resnet8": "ResNet-8", "mnist5000": "5 000 digits of MNIST", "digits": "digits"}
    return f"{words[plan.network]} on {words[plan.data]}"


def training_rows(plan: Plan, rows: int | None = None) -> tuple[Tensor, Tensor]:
    """The first rows of the training set, which is in random order; all of them when not said."""
    pictures = data(plan)
    return pictures.train_inputs[:rows], pictures.train_labels[:rows]


@contextmanager
def one_thread() -> Iterator[None]:
    """So that sums have one order on every machine, and processes side by side do not get into each other's way."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
