"""RigL (Evci et al. 2020, arXiv 1911.11134): sparse from the start, connections moved to where gradients are large.

Ours, since nothing that is kept fits: the package of it for PyTorch on the index, rigl-torch 0.5.2 of 2020, knows only
the uniform distribution, not Erdos-Renyi-Kernel, which the best results of the paper have; it needs torchvision, and
replaces the optimizer's methods. torch.nn.utils.prune and Torch-Pruning only remove.

docs/guides/full-scale.md has how far it falls behind in a short training, and masks that stay beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rdasde.pruning._training.magnitude import mask_out, tensors

# the paper's: steps between moves, share moved at first, share of the run after which nothing moves
EVERY, SHARE, END = 100, 0.3, 0.75


def densities(shapes: Sequence[Sequence[int]], left: int) -> list[int]:
    """Weights left in each tensor, `left` together: by Erdos-Renyi-Kernel.

    The density of a tensor is proportional to the sum of its sizes over their product; where that is more than 1 it is
    1, and the others share the rest.
    """
    sizes = [math.prod(shape) for shape in shapes]
    raw = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]
    full: set[int] = set()
    while True:
        rest = [k for k in range(len(sizes)) if k not in full]
        scale = (left - sum(sizes[k] for k in full)) / sum(raw[k] * sizes[k] for k in rest)
        over = {k for k in rest if scale * raw[k] > 1.0}
        if not over:
            break
        full |= over
    counts = [sizes[k] if k in full else round(scale * raw[k] * sizes[k]) for k in range(len(sizes))]
    largest = max(rest, key=lambda k: sizes[k])
    counts[largest] += left - sum(counts)  # what rounding left over
    return counts


class RigL:
    """Masks by Erdos-Renyi-Kernel, moved every `EVERY` steps in place of the optimizer's step, as in algorithm 1."""

    def __init__(self, module: nn.Module, count: int, steps: int, seed: int, every: int) -> None:
        self._weights = tensors(module)
        self._count, self._last, self._seed, self._every = count, END * steps, seed, every
        self.masks: list[Tensor] = []

    def begin(self) -> None:
        """Draw the masks, by the seed alone, and cut."""
        left = densities([p.shape for p in self._weights], sum(p.numel() for p in self._weights) - self._count)
        generator = torch.Generator().manual_seed(self._seed)
        for weight, count in zip(self._weights, left, strict=True):
            drawn = torch.zeros(weight.numel())
            drawn[torch.randperm(weight.numel(), generator=generator)[:count]] = 1.0
            self.masks.append(torch.empty_like(weight, requires_grad=False).copy_(drawn.view(weight.shape)))
        self.after(0)

    def instead(self, step: int) -> bool:
        """Whether this is a step of moves; then they are made."""
        if step % self._every or step >= self._last:
            return False
        share = SHARE / 2.0 * (1.0 + math.cos(math.pi * step / self._last))
        for weight, mask in zip(self._weights, self.masks, strict=True):
            _move(weight, mask, share)
        return True

    def after(self, step: int) -> None:
        """Keep at zero what is not connected."""
        mask_out(self._weights, self.masks)


@torch.no_grad()
def _move(weight: nn.Parameter, mask: Tensor, share: float) -> None:
    """Cut the smallest of the connections, and make as many where the gradient is largest; new ones start at zero.

    One that was cut may come back at once, and then keeps its value, as in the authors' code.
    """
    if weight.grad is None:
        return
    there = mask.reshape(-1) > 0
    moved = int(share * int(there.sum()))
    if not moved:
        return
    sizes = weight.abs().reshape(-1).masked_fill(~there, torch.inf)
    kept = there.clone()
    kept[sizes.topk(moved, largest=False).indices] = False
    slopes = weight.grad.abs().reshape(-1).masked_fill(kept, -1.0)
    kept[slopes.topk(moved).indices] = True
    mask.copy_(kept.view(mask.shape))
    weight.mul_(mask)  # where there was no connection there was zero
