"""Magnitude pruning, to compare with: the smallest weights are cut, at once or step by step in training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def tensors(module: nn.Module) -> list[nn.Parameter]:
    """What is pruned: matrices and filters, neither biases nor the parameters of batch norm."""
    return [parameter for parameter in module.parameters() if parameter.ndim > 1]


@torch.no_grad()
def cut(module: nn.Module, count: int) -> list[Tensor]:
    """Set the `count` smallest weights of the whole module to zero; returns what is left, 1 or 0 by weight."""
    weights = tensors(module)
    sizes = torch.cat([weight.abs().flatten() for weight in weights])
    left = torch.ones_like(sizes)
    left[sizes.topk(count, largest=False).indices] = 0.0
    masks = [
        mask.view(weight.shape)
        for mask, weight in zip(left.split([weight.numel() for weight in weights]), weights, strict=True)
    ]
    for weight, mask in zip(weights, masks, strict=True):
        weight.mul_(mask)
    return masks


def gradually(count: int, steps: int, every: int) -> Callable[[nn.Module, int], None]:
    """Cut up to `count` weights in the course of `steps` steps, most of them early, and keep them cut.

    After step n, a multiple of `every`, ``count (1 - (1 - n / steps)^3)`` weights are zero (Zhu & Gupta 2017,
    arXiv 1710.01878, equation 1).
    """
    masks: list[Tensor] = []

    def after_step(module: nn.Module, step: int) -> None:
        if step == steps or (step < steps and step % every == 0):
            masks[:] = cut(module, round(count * (1.0 - (1.0 - step / steps) ** 3)))
        elif masks:
            with torch.no_grad():
                for weight, mask in zip(tensors(module), masks, strict=True):
                    weight.mul_(mask)

    return after_step
