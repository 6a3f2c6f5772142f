"""Magnitude pruning, to compare with: the smallest weights are cut, at once or step by step in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

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
        torch.empty_like(weight, requires_grad=False).copy_(mask.view(weight.shape))  # laid out as the weight is
        for mask, weight in zip(left.split([weight.numel() for weight in weights]), weights, strict=True)
    ]
    mask_out(weights, masks)
    return masks


@torch.no_grad()
def mask_out(weights: Sequence[Tensor], masks: list[Tensor]) -> None:
    """Set to zero what is not left, in place."""
    torch._foreach_mul_(list(weights), masks)


def gradually(
    count: int, steps: int, every: int, masks: list[Tensor] | None = None
) -> Callable[[nn.Module, int], None]:
    """Cut up to `count` weights in the course of `steps` steps, most of them early, and keep them cut.

    After step n, a multiple of `every`, ``count (1 - (1 - n / steps)^3)`` weights are zero (Zhu & Gupta 2017,
    arXiv 1710.01878, equation 1). The masks in force are kept in the list `masks`, if one is given.
    """
    masks = [] if masks is None else masks

    def after_step(module: nn.Module, step: int) -> None:
        if step == steps or (step < steps and step % every == 0):
            masks[:] = cut(module, round(count * (1.0 - (1.0 - step / steps) ** 3)))
        elif masks:
            mask_out(tensors(module), masks)

    return after_step


def filter_layers(module: nn.Module, example: Tensor | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The parameter groups of whole filters by layer, and those of them that make convolutions' channels.

    There most multiply-adds are; where the module has no convolution, those of all its layers.
    """
    groups = parameter_groups(module, structure="filters", example=example, by_layer=True)
    channels = [group for group in groups if "groups" in group]
    return groups, [group for group in channels if any(p.dim() > 2 for p in group["params"])] or channels


def _squares(module: nn.Module, example: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The channel of every weight, -1 for none, and by layer the sums of the squares of its channels' weights."""
    _, layers = filter_layers(module, example)
    labels = group_labels(module, layers)
    weights = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    inside = labels >= 0
    squares = torch.zeros(int(labels.max()) + 1).index_add_(0, labels[inside], weights[inside].square())
    counts = [1 + max(int(own.max()) for own in group["groups"]) for group in layers]
    return labels, list(squares.split(counts))


def zero_channels(module: nn.Module, example: Tensor) -> list[int]:
    """By layer, how many channels have no weight but zero."""
    return [int((squares == 0.0).sum()) for squares in _squares(module, example)[1]]


@torch.no_grad()
def cut_filters(module: nn.Module, example: Tensor, counts: Sequence[int]) -> None:
    """Set so many channels of each of `filter_layers` to zero, those of the smallest weights; in place.

    Li et al. 2017, arXiv 1608.08710.
    """
    labels, layers = _squares(module, example)
    gone: list[Tensor] = []
    start = 0
    for squares, count in zip(layers, counts, strict=True):
        gone.append(start + squares.topk(count, largest=False).indices)
        start += len(squares)
    values = list(module.parameters())
    weights = torch.cat([p.reshape(-1) for p in values])
    torch.nn.utils.vector_to_parameters(weights.masked_fill(torch.isin(labels, torch.cat(gone)), 0.0), values)
