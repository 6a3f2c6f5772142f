"""The mirror maps: from an accumulator and a threshold to the weight, written in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

REGULARIZERS = ("l1", "elastic_net", "group_lasso")

# before PyTorch 2.6 softshrink made 0 of NaN on some devices: a diverged weight would have passed for a pruned one
_SOFTSHRINK_KEEPS_NAN = bool(F.softshrink(torch.full((9,), math.nan), 0.5).isnan().all())


def soft_threshold(a: Tensor, threshold: Any, out: Tensor, l2: float = 0.0) -> None:
    """``out <- sign(a) max(|a| - threshold, 0) / (1 + l2 threshold)``, NaN where `a` is NaN."""
    if out.dtype != a.dtype:  # computed in the accumulator's precision, rounded once
        exact = torch.empty_like(a)
        soft_threshold(a, threshold, exact, l2)
        out.copy_(exact)
        return
    if isinstance(threshold, float) and _SOFTSHRINK_KEEPS_NAN:
        F.softshrink(a, threshold, out=out)  # type: ignore[call-arg]  # one pass; its stub lacks out
    else:
        torch.clamp(a, -threshold, threshold, out=out)
        torch.sub(a, out, out=out)
    if l2:
        out.div_(1.0 + l2 * threshold)


def group_norms(a: Tensor, axis: int) -> tuple[Tensor, int]:
    """The norm of each slice of `a` along `axis`, keeping dimensions, and the number of entries of a slice."""
    others = [k for k in range(a.dim()) if k != axis % a.dim()]
    if not others:
        return a.abs(), 1
    return torch.linalg.vector_norm(a, dim=others, keepdim=True), math.prod(a.shape[k] for k in others)


def group_soft_threshold(a: Tensor, threshold: Any, axis: int, out: Tensor) -> None:
    """``out_a <- a max(1 - sqrt(|a|) threshold / ||a||, 0)`` for every slice along `axis`."""
    norms, size = group_norms(a, axis)
    # a group of norm 0 is 0 whatever the factor; where it is at most the threshold, the factor is exactly 0
    factor = ((norms - math.sqrt(size) * threshold) / norms.masked_fill(norms == 0, 1.0)).clamp_(min=0.0)
    if out.dtype == a.dtype:
        torch.mul(a, factor, out=out)
    else:
        out.copy_(a * factor)


def joint_norms(accumulators: Sequence[Tensor], labels: Sequence[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The norm of each of `count` groups across tensors, and how many entries it has.

    The labels of a tensor have its shape, or 1 along dimensions whose entries all belong together; -1 is no group.
    """
    first = accumulators[0]
    squares, sizes = first.new_zeros(2, count + 1).unbind()  # the last is for -1
    for a, label in zip(accumulators, labels, strict=True):
        inner = [k for k in range(a.dim()) if label.shape[k] == 1 != a.shape[k]]
        square = a.square().sum(inner, keepdim=True) if inner else a.square()
        where = label.to(first.device).flatten() % (count + 1)
        squares.index_add_(0, where, square.flatten().to(squares))
        sizes.index_add_(0, where, torch.full_like(square.flatten(), a.numel() / max(label.numel(), 1)).to(sizes))
    return squares[:count].sqrt(), sizes[:count]


def joint_soft_threshold(
    accumulators: Sequence[Tensor], labels: Sequence[Tensor], count: int, threshold: Any, outs: Sequence[Tensor | None]
) -> None:
    """``out_a <- a max(1 - sqrt(|a|) threshold / ||a||, 0)`` for groups across tensors; None is not written."""
    norms, sizes = joint_norms(accumulators, labels, count)
    factor = ((norms - sizes.sqrt() * threshold) / norms.masked_fill(norms == 0, 1.0)).clamp_(min=0.0)
    factor = torch.cat([factor, torch.ones_like(factor[:1])]) if count else factor.new_ones(1)
    for a, label, out in zip(accumulators, labels, outs, strict=True):
        if out is not None:
            out.copy_(a * factor[label.to(factor.device)].to(a))


def mirror(a: Tensor, threshold: Any, group: dict[str, Any], out: Tensor) -> None:
    """The mirror map that the parameter group asks for."""
    if group["regularizer"] == "group_lasso":
        group_soft_threshold(a, threshold, group["axis"], out)
    else:
        soft_threshold(a, threshold, out, group["l2"] if group["regularizer"] == "elastic_net" else 0.0)


def multi_tensor_mirror(
    group: dict[str, Any], accumulators: list[Tensor], thresholds: list[float], outs: list[Tensor]
) -> None:
    """The same for many tensors: on a GPU in as few kernels as can be, on a CPU in as few passes."""
    if group["regularizer"] != "group_lasso" and all(a.is_cuda for a in accumulators):
        mirror_at_once(accumulators, thresholds, outs, group["l2"] if group["regularizer"] == "elastic_net" else 0.0)
        return
    for a, threshold, out in zip(accumulators, thresholds, outs, strict=True):
        mirror(a, threshold, group, out)


def mirror_at_once(accumulators: list[Tensor], thresholds: list[float], outs: list[Tensor], l2: float) -> None:
    """The soft-threshold of the elastic net as ``-(clip(A) - A) / (1 + l2 threshold)``."""
    below = [-threshold for threshold in thresholds]
    if all(out.dtype == a.dtype for a, out in zip(accumulators, outs, strict=True)):
        clipped = outs
        torch._foreach_copy_(outs, accumulators)
        torch._foreach_clamp_min_(outs, below)
    else:  # computed in the accumulators' precision, rounded once
        clipped = list(torch._foreach_clamp_min(accumulators, below))
    torch._foreach_clamp_max_(clipped, thresholds)
    torch._foreach_sub_(clipped, accumulators)
    torch._foreach_div_(clipped, [-(1.0 + l2 * threshold) for threshold in thresholds])
    if clipped is not outs:
        torch._foreach_copy_(outs, clipped)
