"""The mirror maps: from an accumulator and a threshold to the weight, written in place."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

REGULARIZERS = ("l1", "elastic_net", "group_lasso")

# before PyTorch 2.6 softshrink made 0 of NaN on some devices: a diverged weight would have passed for a pruned one
_SOFTSHRINK_KEEPS_NAN = bool(F.softshrink(torch.full((9,), math.nan), 0.5).isnan().all())


def soft_threshold(a: Tensor, threshold: float | Tensor, out: Tensor) -> None:
    """``out <- sign(a) max(|a| - threshold, 0)``, NaN where `a` is NaN."""
    if out.dtype != a.dtype:
        out.copy_(torch.sub(a, torch.clamp(a, -threshold, threshold)))
    elif isinstance(threshold, float) and _SOFTSHRINK_KEEPS_NAN:
        F.softshrink(a, threshold, out=out)  # one pass
    else:
        torch.clamp(a, -threshold, threshold, out=out)
        torch.sub(a, out, out=out)


def group_norms(a: Tensor, axis: int) -> tuple[Tensor, int]:
    """The norm of each slice of `a` along `axis`, keeping dimensions, and the number of entries of a slice."""
    others = [k for k in range(a.dim()) if k != axis % a.dim()]
    if not others:
        return a.abs(), 1
    return torch.linalg.vector_norm(a, dim=others, keepdim=True), math.prod(a.shape[k] for k in others)


def group_soft_threshold(a: Tensor, threshold: float | Tensor, axis: int, out: Tensor) -> None:
    """``out_a <- a max(1 - sqrt(|a|) threshold / ||a||, 0)`` for every slice along `axis`."""
    norms, size = group_norms(a, axis)
    # a group of norm 0 is 0 whatever the factor; where it is at most the threshold, the factor is exactly 0
    factor = ((norms - math.sqrt(size) * threshold) / norms.masked_fill(norms == 0, 1.0)).clamp_(min=0.0)
    if out.dtype == a.dtype:
        torch.mul(a, factor, out=out)
    else:
        out.copy_(a * factor)


def mirror(a: Tensor, threshold: float | Tensor, group: dict[str, Any], out: Tensor) -> None:
    """The mirror map that the parameter group asks for."""
    if group["regularizer"] == "group_lasso":
        group_soft_threshold(a, threshold, group["axis"], out)
        return
    soft_threshold(a, threshold, out)
    if group["regularizer"] == "elastic_net":
        out.div_(1.0 + group["l2"] * threshold)
