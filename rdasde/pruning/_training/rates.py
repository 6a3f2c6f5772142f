"""How the learning rate goes down: what share of the first one is in force in an epoch, counted from 0."""

from __future__ import annotations


def held(epoch: int, epochs: int) -> float:
    """The first one throughout."""
    return 1.0


def lowered(epoch: int, epochs: int) -> float:
    """All of it for half of the epochs, linearly down to 1 % at nine tenths, then held: the paper's CIFAR logs."""
    share = (epoch + 1) / epochs
    return 1.0 - 0.99 * min(max((share - 0.5) / 0.4, 0.0), 1.0)


def dropped(epoch: int, epochs: int) -> float:
    """All of it, from epoch 140 on a tenth: the paper's ImageNet."""
    return 1.0 if epoch < 140 else 0.1
