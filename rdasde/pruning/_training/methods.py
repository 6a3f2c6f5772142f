"""How a run becomes sparse: by gRDA alone, or by masks on the weights of SGD, at an equal number of epochs.

One-shot: dense for half of the epochs, then the smallest weights of the whole network are cut at once, and the rest is
trained on, while the learning rate falls. Gradual (Zhu & Gupta 2017, arXiv 1710.01878): the same, but cut in the course
of the third quarter, three times an epoch. RigL: `rigl`. Batches, first weights and learning rates are those of SGD.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde.pruning._training import rigl
from rdasde.pruning._training.magnitude import gradually, tensors
from rdasde.pruning._training.settings import Settings


class Method(Protocol):
    """What is done to the weights beside the optimizer's steps, which are counted from 1 over the whole run."""

    masks: list[Tensor]  # 1 where a weight is left, by tensor; none where all are

    def begin(self) -> None:
        """Before the first step of a run that does not go on from anywhere."""

    def instead(self, step: int) -> bool:
        """Called when gradients are there: whether something was done in place of the optimizer's step."""

    def after(self, step: int) -> None:
        """Called after the optimizer's step."""


class Plain:
    """The optimizer alone."""

    def __init__(self) -> None:
        self.masks: list[Tensor] = []

    def begin(self) -> None:
        """Nothing."""

    def instead(self, step: int) -> bool:
        """Never."""
        return False

    def after(self, step: int) -> None:
        """Nothing."""


class Magnitude(Plain):
    """The smallest weights are cut in the course of some steps, and stay so."""

    def __init__(self, module: nn.Module, count: int, first: int, steps: int, every: int) -> None:
        super().__init__()
        self._module, self._first = module, first
        self._cut: Callable[[nn.Module, int], None] = gradually(count, steps, every, self.masks)

    def after(self, step: int) -> None:
        """Cut, or keep cut."""
        if step > self._first:
            self._cut(self._module, step - self._first)


def method(module: nn.Module, settings: Settings, a_pass: int) -> Method:
    """The method of a run whose epochs have `a_pass` steps."""
    if settings.zeros is None:
        return Plain()
    count, steps = _count(module, settings.zeros), a_pass * settings.epochs
    if settings.method == "rigl":
        return rigl.RigL(module, count, steps, settings.seed, rigl.EVERY)
    half = steps // 2
    if settings.method == "one-shot":
        return Magnitude(module, count, max(half, 1) - 1, 1, 1)
    return Magnitude(module, count, half, max(steps // 4, 1), max(a_pass // 3, 1))


def _count(module: nn.Module, share: float) -> int:
    """How many weights are to be zero, so that this share of all parameters is."""
    total, there = sum(p.numel() for p in module.parameters()), sum(p.numel() for p in tensors(module))
    count = round(share * total)
    if count >= there:
        most = f"less than {there / total:.4f}, the share of matrices and filters"
        raise _check.bad("zeros", share, most, "biases and batch norm are not cut: give less")
    return count


def saved(masks: list[Tensor]) -> list[Tensor]:
    """Masks as a checkpoint holds them."""
    return [mask.bool().contiguous() for mask in masks]


def restore(there: Method, module: nn.Module, masks: list[Tensor]) -> None:
    """Go on with masks that were saved."""
    weights = tensors(module) if masks else []
    shapes, wanted = [getattr(mask, "shape", None) for mask in masks], [weight.shape for weight in weights]
    if shapes != wanted:
        got = f"one with {len(shapes)} masks that do not fit its {len(wanted)} matrices and filters"
        raise _check.bad("checkpoint", got, "that of a run of this recipe", "give another --checkpoint")
    there.masks[:] = [
        torch.empty_like(weight, requires_grad=False).copy_(mask) for weight, mask in zip(weights, masks, strict=True)
    ]
