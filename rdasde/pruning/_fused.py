"""Which tensors of a group a fused step can be had for, and where they lie."""

from __future__ import annotations

import functools
import importlib.util
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from . import _fused_cpu

_MANY = 2**18  # entries on a CPU: from here on it is worth what loading the compiled code takes
_PLAIN = {Tensor, nn.Parameter}
# of the weights: of the accumulators, which with these are the ones there is a fused step for
_KINDS = {
    "cpu": {torch.float32: torch.float32, torch.float64: torch.float64, torch.bfloat16: torch.float32},
    "cuda": {torch.float32: torch.float32, torch.bfloat16: torch.float32, torch.float16: torch.float32},
}


class Row(NamedTuple):
    """A tensor: addresses of weight, gradient, accumulator and momentum (0: none), and its entries.

    `group` is the number of entries of a group, 1 where each is thresholded by itself; `mapped` says whether the weight
    is written from the accumulator here.
    """

    weight: int
    grad: int
    accumulator: int
    momentum: int
    entries: int
    group: int
    mapped: int


@functools.cache
def _triton_is_there() -> bool:
    return importlib.util.find_spec("triton") is not None


def has_triton() -> bool:
    """Whether there is Triton, and its kernels can be compiled as far as is known."""
    return _triton_is_there() and not _failed


def many(tensors: Iterable[Sequence[Tensor]]) -> bool:
    """Whether there are so many weights that the compiled code is worth loading."""
    return sum(sum(map(Tensor.numel, ws)) for ws in tensors) >= _MANY


def wanted(group: dict[str, Any], ws: Sequence[Tensor], many: bool) -> bool:
    """Whether a fused step is asked for, or the faster where nothing is said; `many`: whether weights are."""
    fused = group.get("fused")
    if fused is False or (group["foreach"] is not None and not fused) or torch.compiler.is_compiling():
        return False
    if ws[0].is_cuda:
        return has_triton()
    return ws[0].is_cpu and not group["capturable"] and (bool(fused) or many)


def _row(w: Tensor, grad: Any, a: Tensor, momentum: Any, axis: int | None, joint: bool) -> Row | None:
    """Where a tensor lies, if there is a fused step for what it is; `axis`: along which it falls into groups."""
    others = (grad, a) if momentum is None else (grad, a, momentum)
    kind = _KINDS.get(w.device.type, {}).get(w.dtype)
    if kind is None or grad.dtype != w.dtype or grad.is_neg() or any(t.dtype != kind for t in others[1:]):
        return None
    if any(t.device != w.device or t.shape != w.shape for t in others) or not _alike(w, others):
        return None
    if w.numel() and not all(t.data_ptr() for t in (w, *others)):  # zeros that nobody has written down
        return None
    mapped = a is not w and not joint
    group = _entries_of_a_group(w, axis) if mapped and axis is not None else 1
    if group is None:
        return None
    at = 0 if momentum is None else momentum.data_ptr()
    return Row(w.data_ptr(), grad.data_ptr(), a.data_ptr(), at, w.numel(), group, int(mapped))


def _alike(w: Tensor, others: Sequence[Tensor]) -> bool:
    """Whether tensors fill their memory without gaps, in the same order."""
    if w.is_contiguous():
        return all(t.is_contiguous() for t in others)
    stride = w.stride()
    return _dense(w.shape, stride) and all(t.stride() == stride for t in others)


def _dense(shape: Sequence[int], stride: Sequence[int]) -> bool:
    axes = sorted((step, size) for step, size in zip(stride, shape, strict=True) if size != 1)
    wanted_ = itertools.accumulate((size for _, size in axes), lambda x, y: x * y, initial=1)
    return all(step == right for (step, _), right in zip(axes, wanted_, strict=False))


def _entries_of_a_group(w: Tensor, axis: int) -> int | None:
    """How many entries a group has; None where they do not lie together."""
    if w.dim() < 2 or not w.numel():
        return 1
    size = w.shape[axis]
    return w.numel() // size if size == 1 or w.stride(axis) == w.numel() // size else None


class Batch(NamedTuple):
    """The tensors of one dtype on one device: which of the group's they are, and where they lie."""

    device: torch.device
    dtype: torch.dtype
    chosen: list[int]
    entries: int
    table: Any


class Plan(NamedTuple):
    """Where the tensors of a group lie, and what that was found from."""

    signature: Any
    batches: list[Batch]
    taken: list[bool]


def plan(
    group: dict[str, Any],
    ws: Sequence[Tensor],
    grads: Sequence[Any],
    accumulators: Sequence[Tensor],
    momenta: Sequence[Any],
    before: Plan | None,
) -> Plan:
    """Where the tensors lie: `before`, as long as nothing has moved."""
    joint, axis = group["groups"] is not None, group["axis"] if group["regularizer"] == "group_lasso" else None
    plain = set(map(type, ws)) <= _PLAIN and set(map(type, grads)) == {Tensor}
    if not plain:  # what has no memory of its own
        return Plan(None, [], [False] * len(ws))
    tensors = [*ws, *grads, *accumulators, *(momenta if group["momentum"] else ())]
    signature = (
        joint,
        axis,
        list(map(Tensor.data_ptr, tensors)),
        list(map(Tensor.numel, ws)),
        [grad.dtype for grad in grads],
        all(map(Tensor.is_contiguous, tensors)) or list(map(Tensor.stride, tensors)),
    )
    if before is not None and before.signature == signature:
        return before
    alike: dict[Any, tuple[list[int], list[Row]]] = {}
    for k, (w, grad, a, momentum) in enumerate(zip(ws, grads, accumulators, momenta, strict=True)):
        found = _row(w, grad, a, momentum, axis, joint)
        if found is not None:
            chosen, rows = alike.setdefault((w.device, w.dtype), ([], []))
            chosen.append(k)
            rows.append(found)
    batches = [
        Batch(device, dtype, chosen, sum(found.entries for found in rows), np.array(rows, np.int64))
        for (device, dtype), (chosen, rows) in alike.items()
    ]
    taken = {k for batch in batches for k in batch.chosen}
    return Plan(signature, batches, [k in taken for k in range(len(ws))])


def step(
    group: dict[str, Any],
    ws: Sequence[Tensor],
    grads: Sequence[Any],
    accumulators: Sequence[Tensor],
    momenta: Sequence[Any],
    thresholds: Sequence[Any],
    plans: dict[Any, Any],
) -> Sequence[bool]:
    """The step on all tensors there is a fused one for; which those are."""
    here = plans[id(group)] = plan(group, ws, grads, accumulators, momenta, plans.get(id(group)))
    taken = here.taken
    for batch in here.batches:
        take = _on_cpu if batch.device.type == "cpu" else _on_cuda
        whole = len(batch.chosen) == len(ws)
        if take(group, batch, thresholds if whole else [thresholds[k] for k in batch.chosen], plans):
            _written(ws if whole else [ws[k] for k in batch.chosen])
        else:
            taken = [x and k not in batch.chosen for k, x in enumerate(taken)]
    return taken


def _written(ws: Sequence[Tensor]) -> None:
    """Tell autograd, for a graph that needs the weights as they were."""
    try:
        torch.autograd.graph.increment_version(ws)
    except TypeError:  # before PyTorch 2.4 one after the other
        for w in ws:
            torch.autograd.graph.increment_version(w)


def numbers(group: dict[str, Any]) -> tuple[float, float, float]:
    """Minus the rate, the momentum, and the weight decay."""
    sign = -1.0 if group["maximize"] else 1.0
    return -sign * float(group["lr"]), group["momentum"], sign * group["weight_decay"]


def _on_cpu(group: dict[str, Any], batch: Batch, thresholds: Sequence[float], _: dict[Any, Any]) -> bool:
    kind: Any = np.float64 if batch.dtype == torch.float64 else np.float32
    levels = np.empty((len(thresholds), 2), kind)
    levels[:, 0] = thresholds
    if group["regularizer"] == "elastic_net":
        levels[:, 1] = [1.0 + group["l2"] * threshold for threshold in thresholds]
    else:
        levels[:, 1] = 1.0
    half = batch.dtype == torch.bfloat16
    _fused_cpu.step(batch.table, batch.entries, levels, np.array(numbers(group), kind), half)
    return True


def _on_cuda(group: dict[str, Any], batch: Batch, thresholds: Sequence[Any], plans: dict[Any, Any]) -> bool:
    from . import _fused_cuda

    return _launched(_fused_cuda.step, group, batch, thresholds, plans)


def raise_thresholds(group: dict[str, Any], states: Sequence[dict[str, Any]], plans: dict[Any, Any]) -> bool:
    """Count the step and raise the thresholds that are kept in tensors, if there is a kernel for it."""
    if not all(state["step"].is_cuda and state["step"].dtype == torch.float64 for state in states):
        return False
    from . import _fused_cuda

    return _launched(_fused_cuda.raise_thresholds, group, states, plans)


_working: set[str] = set()
_failed: list[Exception] = []


def _launched(function: Callable[..., None], *arguments: Any) -> bool:
    """Whether Triton's kernels could be launched: that they cannot be compiled here shows at the first time."""
    try:
        function(*arguments)
    except Exception as error:
        if function.__name__ in _working:
            raise
        _failed.append(error)
        return False
    _working.add(function.__name__)
    return True
