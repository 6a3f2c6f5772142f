"""The step on the tensors of one group: accumulate, then map into the weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._mirror import mirror, multi_tensor_mirror

_BLOCK = 2**20  # entries: a block of the accumulator is still in the cache at the second pass
_SMALL = 2**16  # entries: up to here a call costs as much as the work


class Part(NamedTuple):
    """The tensors of a group that have a gradient, in lists that go together."""

    group: dict[str, Any]
    ws: list[Tensor]
    grads: list[Tensor]
    states: list[dict[str, Any]]
    accumulators: list[Tensor]
    momenta: list[Any]


def increment(n: int, mu: float) -> float:
    """``n^mu - (n - 1)^mu``, without cancellation at large n."""
    return 1.0 if n == 1 else -math.expm1(mu * math.log1p(-1.0 / n)) * float(n) ** mu


def update(part: Part, thresholds: Sequence[Any], left: Sequence[bool]) -> None:
    """``A <- A - lr grad``, ``w <- S(A, threshold)`` on tensors that are `left`.

    An accumulator that is the weight itself is not mapped.
    """
    group = part.group
    columns = _chosen((part.ws, part.grads, part.accumulators, part.momenta, thresholds), left)
    ws, foreach = columns[0], group["foreach"]
    at_once = [not group["capturable"] and (_goes_with_others(w) if foreach is None else foreach) for w in ws]
    if any(at_once):
        multi_tensor(group, *_chosen(columns, at_once))
    if not all(at_once):
        single_tensor(group, *_chosen(columns, [not x for x in at_once]))


def _chosen(columns: Sequence[Sequence[Any]], rows: Sequence[bool]) -> Any:
    return [list(itertools.compress(column, rows)) for column in columns]


def _goes_with_others(w: Tensor) -> bool:
    return w.is_cuda or (w.device.type == "cpu" and w.numel() <= _SMALL)


def single_tensor(
    group: dict[str, Any],
    ws: Sequence[Tensor],
    grads: Sequence[Any],
    accumulators: Sequence[Tensor],
    momenta: Sequence[Tensor | None],
    thresholds: Sequence[float | Tensor],
) -> None:
    """One tensor after the other, large ones on a CPU in blocks."""
    whole = group["regularizer"] == "group_lasso" or torch.compiler.is_compiling()
    sign = -1.0 if group["maximize"] else 1.0
    lr = group["lr"] if group["capturable"] else float(group["lr"])
    for w, grad, a, momentum, threshold in zip(ws, grads, accumulators, momenta, thresholds, strict=True):
        tensors = (w, grad, a) if momentum is None else (w, grad, a, momentum)
        for w_, grad_, a_, *momentum_ in [tensors] if whole else _blocks(tensors):
            if group["weight_decay"]:
                grad_ = torch.add(grad_, w_, alpha=sign * group["weight_decay"])
            if momentum_:
                grad_ = momentum_[0].mul_(group["momentum"]).add_(grad_)
            if isinstance(lr, Tensor):
                a_.addcmul_(grad_, lr.to(a_.device, a_.dtype), value=-sign)
            else:
                a_.add_(grad_, alpha=-sign * lr)
            if a is not w and group["groups"] is None:
                mirror(a_, threshold, group, w_)


def multi_tensor(
    group: dict[str, Any],
    ws: list[Tensor],
    grads: list[Any],
    accumulators: list[Tensor],
    momenta: list[Any],
    thresholds: list[float],
) -> None:
    """All tensors at once, in a handful of kernels whatever their number."""
    sign = -1.0 if group["maximize"] else 1.0
    if group["weight_decay"]:
        grads = list(torch._foreach_add(grads, ws, alpha=sign * group["weight_decay"]))
    if group["momentum"]:
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, grads)
        grads = momenta
    torch._foreach_add_(accumulators, grads, alpha=-sign * float(group["lr"]))
    mapped = [a is not w and group["groups"] is None for a, w in zip(accumulators, ws, strict=True)]
    if any(mapped):
        multi_tensor_mirror(group, *_chosen((accumulators, thresholds, ws), mapped))


def _blocks(tensors: Sequence[Tensor]) -> Iterable[Sequence[Tensor]]:
    """Tensors of one shape as flat pieces, where they lie alike in memory and are large; else as they are."""
    first = tensors[0]
    if first.numel() > _BLOCK and first.device.type == "cpu":
        if all(t.is_contiguous() for t in tensors):
            return zip(*(t.view(-1).split(_BLOCK) for t in tensors), strict=True)
        if first.dim() == 4 and all(t.is_contiguous(memory_format=torch.channels_last) for t in tensors):
            return zip(*(t.permute(0, 2, 3, 1).view(-1).split(_BLOCK) for t in tensors), strict=True)
    return [tensors]
