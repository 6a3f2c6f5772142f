"""Batches of a training or a test set, from pictures on the device or from datasets that are read as it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rdasde.pruning._training.pictures import Pictures, plain_batches, training_batches
from rdasde.pruning._training.processes import Place

_TESTED_AT_ONCE = 500  # pictures that lie on the device


class Loaded(NamedTuple):
    """Datasets whose pictures are read one by one, by so many processes beside each one that trains."""

    train: Dataset[Any]
    test: Dataset[Any]
    workers: int = 0


Source = Pictures | Loaded


def rows(source: Source) -> tuple[int, int]:
    """How many there are to train and to test with."""
    if isinstance(source, Pictures):
        return len(source.train_labels), len(source.test_labels)
    return len(source.train), len(source.test)  # type: ignore[arg-type]


def train_batches(
    source: Source, batches: Sequence[Sequence[int]], seed: int, epoch: int, stream: int, here: Place
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels of these rows on the device, augmented; `stream` seeds the workers of a loader."""
    if isinstance(source, Pictures):
        return training_batches(source, batches, seed, epoch)
    generator = torch.Generator().manual_seed(stream)
    return _loaded(source.train, batches, source.workers, here, generator)


def test_batches(source: Source, batch_size: int, here: Place) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels of this process' share of the test set on the device, as they are."""
    if isinstance(source, Pictures):
        inputs, labels = (part[here.rank :: here.world] for part in (source.test_inputs, source.test_labels))
        return plain_batches(source, inputs, labels, _TESTED_AT_ONCE)
    mine = range(here.rank, rows(source)[1], here.world)
    batches = [list(mine[i : i + batch_size]) for i in range(0, len(mine), batch_size)]
    return _loaded(source.test, batches, source.workers, here, None)


def _loaded(
    part: Dataset[Any],
    batches: Sequence[Sequence[int]],
    workers: int,
    here: Place,
    generator: torch.Generator | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    loader: Any = DataLoader(
        part,
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        generator=generator,
        pin_memory=here.gpu,
    )
    for inputs, labels in loader:
        there = inputs.to(here.device, non_blocking=True, memory_format=torch.channels_last)
        yield there, labels.to(here.device, non_blocking=True)
