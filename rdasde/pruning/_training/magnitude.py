"""Magnitude pruning, to compare with: the smallest weights are cut, at once or step by step in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rdasde.pruning._compact import compacted
from rdasde.pruning._filters import group_labels
from rdasde.pruning._groups import parameter_groups


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


def of_filters(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups of convolutions' channels, where most multiply-adds are; of all layers, where there is none."""
    channels = [group for group in groups if "groups" in group]
    return [group for group in channels if any(p.dim() > 2 for p in group["params"])] or channels


@torch.no_grad()
def cut_filters(module: nn.Module, example: Tensor, share: float) -> float:
    """Set to zero the filters of the smallest weights, the same part of each convolution's; in place.

    The groups are those of ``parameter_groups(module, structure="filters")``, and the part is the smallest with which,
    once they are taken out, at most a `share` of the multiply-adds is left (Li et al. 2017, arXiv 1608.08710). Returns
    what is left.
    """
    groups = of_filters(parameter_groups(module, structure="filters", example=example, by_layer=True))
    labels = group_labels(module, groups)
    weights = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    inside = labels >= 0
    squares = torch.zeros(int(labels.max()) + 1).index_add_(0, labels[inside], weights[inside].square())
    counts = [1 + max(int(own.max()) for own in group["groups"]) for group in groups]
    layer = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    # of each group, how many of its layer are smaller, as a part of all
    rank = torch.zeros(squares.shape)
    for k in layer.unique().tolist():
        members = torch.nonzero(layer == k).reshape(-1)
        rank[members[squares[members].argsort()]] = (torch.arange(len(members)) + 1.0) / len(members)

    def left(part: float) -> float:
        torch.nn.utils.vector_to_parameters(torch.where(inside & (rank[labels] <= part), 0.0, weights), values)
        report: Any = compacted(module, example, repeats=0).compacted
        return float(report.after.multiply_adds / report.before.multiply_adds)

    values = list(module.parameters())
    low, high = 0, 200  # in two hundredths
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if left(middle / 200) > share else (low, middle)
    return left(high / 200)
