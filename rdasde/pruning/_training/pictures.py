"""Labelled pictures as they lie on a device: bytes, cropped, flipped and scaled there, batch by batch.

What happens to a row in an epoch depends on seed and epoch alone: not on the device, nor on the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rdasde import _check

_MOVES = 1  # of the streams of an epoch: that of crops and flips


class Pictures(NamedTuple):
    """Inputs ``(n, channels, height, width)``, bytes or numbers that are scaled already, and labels ``(n,)``.

    All on one device, channels last in memory. `mean` and `std`, ``(channels, 1, 1)``, scale bytes; training crops from
    pictures with a black margin of `margin` pixels, and flips, where there is one.
    """

    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    mean: Tensor
    std: Tensor
    margin: int
    classes: tuple[str, ...]

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.train_inputs.device

    def to(self, device: torch.device) -> Pictures:
        """The same on another device."""
        there: Any = {name: value.to(device) for name, value in self._asdict().items() if isinstance(value, Tensor)}
        return self._replace(**there)


class Moves(NamedTuple):
    """By row of the training set: where its crop begins, and whether it is flipped."""

    top: Tensor
    left: Tensor
    flip: Tensor


def scaled(pictures: Pictures, inputs: Tensor) -> Tensor:
    """Inputs of a network: float32, of the mean and standard deviation of the recipe."""
    if inputs.is_floating_point():
        return inputs
    return inputs.to(torch.float32).sub_(255.0 * pictures.mean).div_(255.0 * pictures.std)


def moves(rows: int, margin: int, seed: int, epoch: int, device: torch.device) -> Moves:
    """The crops and flips of an epoch: every place within the margin, and both ways round, are equally likely."""
    rng = np.random.default_rng([seed, epoch, _MOVES])
    top, left = rng.integers(0, 2 * margin + 1, (2, rows))
    flip = rng.integers(0, 2, rows)
    return Moves(*(torch.from_numpy(values).to(device) for values in (top, left, flip)))


def moved(inputs: Tensor, margin: int, top: Tensor, left: Tensor, flip: Tensor) -> Tensor:
    """Crops of the size of the pictures, from pictures with a black margin, some of them flipped."""
    rows, _, height, width = inputs.shape
    framed = functional.pad(inputs, (margin, margin, margin, margin)).permute(0, 2, 3, 1)
    across = torch.arange(width, device=inputs.device)
    across = torch.where(flip[:, None] == 1, width - 1 - across, across) + left[:, None]
    down = torch.arange(height, device=inputs.device) + top[:, None]
    each = torch.arange(rows, device=inputs.device)[:, None, None]
    return framed[each, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)  # channels last in memory


def training_batches(
    pictures: Pictures, rows: Sequence[Sequence[int]], seed: int, epoch: int, *, augment: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels of batches of these rows of the training set, made on its device without waiting for it."""
    device = pictures.device
    order = torch.from_numpy(np.concatenate([np.asarray(batch, dtype=np.int64) for batch in rows])).to(device)
    margin = pictures.margin if augment else 0
    drawn = moves(len(pictures.train_labels), margin, seed, epoch, device) if margin else None
    for batch in order.split([len(batch) for batch in rows]):
        inputs = pictures.train_inputs.index_select(0, batch)
        if drawn is not None:
            inputs = moved(inputs, margin, *(values.index_select(0, batch) for values in drawn))
        yield scaled(pictures, inputs), pictures.train_labels.index_select(0, batch)


def plain_batches(
    pictures: Pictures, inputs: Tensor, labels: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Scaled inputs, as they are, and labels, in their order: of the test set, or of rows of the training set."""
    for these, those in zip(inputs.split(batch_size), labels.split(batch_size), strict=True):
        yield scaled(pictures, these), those


def of_bytes(
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test: tuple[NDArray[np.uint8], NDArray[np.int64]],
    classes: Iterable[str],
    scale: tuple[Sequence[float], Sequence[float]],
    device: torch.device,
) -> Pictures:
    """From bytes ``(n, height, width, channels)``, labels, and mean and standard deviation by channel, in [0, 1].

    The margin of crops is an eighth of the side.
    """
    inputs = [torch.from_numpy(np.ascontiguousarray(part[0])).to(device).permute(0, 3, 1, 2) for part in (train, test)]
    labels = [torch.from_numpy(np.asarray(part[1], dtype=np.int64)).to(device) for part in (train, test)]
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in scale)
    margin = inputs[0].shape[-1] // 8
    return Pictures(inputs[0], labels[0], inputs[1], labels[1], mean, std, margin, tuple(classes))


def of_numbers(parts: Sequence[Tensor], device: torch.device) -> Pictures:
    """From numbers that are scaled, and are neither cropped nor flipped."""
    train, train_labels, test, test_labels = (part.to(device) for part in parts)
    train, test = (part.contiguous(memory_format=torch.channels_last) for part in (train, test))
    mean, std = torch.zeros(1, 1, 1, device=device), torch.ones(1, 1, 1, device=device)
    names = tuple(str(label) for label in range(int(train_labels.max()) + 1))
    return Pictures(train, train_labels, test, test_labels, mean, std, 0, names)


def reduced(
    pictures: Pictures, *, rows: int | None = None, classes: int | None = None, side: int | None = None
) -> Pictures:
    """Fewer of them, to try things: the first `classes`, `rows` evenly from these, `side` pixels by averages.

    Of the test set as large a share is taken as of the training set.
    """
    if classes is not None:
        pictures = _of_classes(pictures, _check.count("classes", classes, least=2))
    if rows is not None:
        pictures = _of_rows(pictures, _check.count("pictures", rows))
    return pictures if side is None else _of_side(pictures, _check.count("side", side))


def _of_classes(pictures: Pictures, classes: int) -> Pictures:
    if classes > len(pictures.classes):
        raise _check.bad("classes", classes, f"at most the {len(pictures.classes)} of the data", "give fewer")
    train, test = pictures.train_labels < classes, pictures.test_labels < classes
    return pictures._replace(
        train_inputs=_chosen(pictures.train_inputs, train),
        train_labels=pictures.train_labels[train],
        test_inputs=_chosen(pictures.test_inputs, test),
        test_labels=pictures.test_labels[test],
        classes=pictures.classes[:classes],
    )


def _of_rows(pictures: Pictures, rows: int) -> Pictures:
    there = len(pictures.train_labels)
    if rows > there:
        raise _check.bad("pictures", rows, f"at most the {there} there are", "give fewer")
    train = _evenly(pictures.train_labels, rows)
    test = _evenly(pictures.test_labels, -(-rows * len(pictures.test_labels) // there))
    return pictures._replace(
        train_inputs=_chosen(pictures.train_inputs, train),
        train_labels=pictures.train_labels[train],
        test_inputs=_chosen(pictures.test_inputs, test),
        test_labels=pictures.test_labels[test],
    )


def _evenly(labels: Tensor, rows: int) -> Tensor:
    """The first rows of each class, in the order of the data."""
    own = labels.cpu().numpy()
    by_class = np.argsort(own, kind="stable")
    sizes = np.bincount(own)
    rank = np.empty(len(own), dtype=np.int64)  # of a row in its class
    rank[by_class] = np.arange(len(own)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = np.sort(np.argsort(rank, kind="stable")[:rows])
    return torch.from_numpy(first).to(labels.device)


def _of_side(pictures: Pictures, side: int) -> Pictures:
    there = pictures.train_inputs.shape[-1]
    if there % side:
        raise _check.bad("side", side, f"a divisor of the pictures' {there} pixels", "give a divisor")
    train, test = (_averaged(inputs, there // side) for inputs in (pictures.train_inputs, pictures.test_inputs))
    return pictures._replace(train_inputs=train, test_inputs=test, margin=side // 8 if pictures.margin else 0)


def _averaged(inputs: Tensor, block: int, at_once: int = 10_000) -> Tensor:
    """Means of blocks of pixels; bytes stay bytes."""
    means = [functional.avg_pool2d(part.to(torch.float32), block) for part in inputs.split(at_once)]
    if not inputs.is_floating_point():
        means = [part.round_().to(inputs.dtype) for part in means]
    return torch.cat(means).contiguous(memory_format=torch.channels_last)


def _chosen(inputs: Tensor, rows: Tensor) -> Tensor:
    return inputs[rows].contiguous(memory_format=torch.channels_last)
