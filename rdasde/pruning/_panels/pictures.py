"""The network and the pictures of a checkpoint, on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde.pruning._training.distributed import shares
from rdasde.pruning._training.pictures import Pictures, plain_batches, training_batches

from . import checkpoints

_PLAIN = 500  # pictures of a batch that is not trained on


class Training:
    """All rows of the training set in an order, cropped and flipped, by seed and epoch alone."""

    def __init__(self, pictures: Pictures, batch_size: int, seed: int, epoch: int) -> None:
        self._pictures, self._seed, self._epoch = pictures, seed, epoch
        self._rows = shares(len(pictures.train_labels), batch_size, seed, epoch, 0, 1)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return training_batches(self._pictures, self._rows, self._seed, self._epoch)


class Plain:
    """So many pictures at most of the training or the test set, as they are: always the same ones, of all classes."""

    def __init__(self, pictures: Pictures, part: str, most: int, batch_size: int = _PLAIN) -> None:
        inputs: Tensor = getattr(pictures, f"{part}_inputs")
        labels: Tensor = getattr(pictures, f"{part}_labels")
        order = np.random.default_rng(0).permutation(len(labels))[:most]  # a batch is of all classes
        rows = torch.from_numpy(order).to(labels.device)
        inputs, labels = inputs[rows].contiguous(memory_format=torch.channels_last), labels[rows]
        self._pictures, self._inputs, self._labels, self._batch_size = pictures, inputs, labels, batch_size

    def __len__(self) -> int:
        return -(-len(self._labels) // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return plain_batches(self._pictures, self._inputs, self._labels, self._batch_size)


def device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def named(device: torch.device) -> str:
    """A device in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


class Known(NamedTuple):
    """The recipes, as the program that they make up hands them over."""

    recipes: Mapping[str, Any]
    network_of: Callable[..., Callable[[], nn.Module]]  # of a recipe, for so many classes
    source_of: Callable[..., Any]  # of a recipe, from a folder, on a device
    rate: float

    def network(self, checkpoint: checkpoints.Checkpoint, argument: str) -> nn.Module:
        """The network of a checkpoint, with its weights, channels last in memory."""
        module = self.network_of(self._recipe(checkpoint, argument), checkpoint.settings.get("classes"))()
        checkpoints.load_into(module, checkpoint, argument)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent from the stubs
        return module

    def pictures(
        self, checkpoint: checkpoints.Checkpoint, folder: Path | None, device: torch.device, argument: str
    ) -> Pictures:
        """The pictures that a checkpoint was trained and tested on."""
        recipe = self._recipe(checkpoint, argument)
        cut = {name: checkpoint.settings.get(name) for name in ("pictures", "classes", "side")}
        source = self.source_of(recipe, folder, device, **cut)
        if not isinstance(source, Pictures):
            got = f"{checkpoint.path}, of {recipe.data}"
            raise _check.bad(argument, got, "one of pictures that lie on the device", "pass a run on smaller data")
        return source

    def rates(self, checkpoint: checkpoints.Checkpoint, argument: str) -> list[float]:
        """The learning rates of the epochs of a checkpoint."""
        recipe, epochs = self._recipe(checkpoint, argument), int(checkpoint.settings["epochs"])
        return [self.rate * recipe.rate(epoch, epochs) for epoch in range(checkpoint.epoch)]

    def _recipe(self, checkpoint: checkpoints.Checkpoint, argument: str) -> Any:
        name = str(checkpoint.settings.get("recipe"))
        if name not in self.recipes:
            got = f"{checkpoint.path}, of a recipe {name!r}"
            raise _check.bad(argument, got, f"one of {', '.join(self.recipes)}", "use the version that trained it")
        return self.recipes[name]
