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
from ._update import Part

_MANY = 2**18  # entries on a CPU: from here on it is worth what loading the compiled code takes
_PLAIN = {Tensor, nn.Parameter}
# of the weights: of the accumulators, which with these are the ones there is a fused step for
_KINDS = {
    "cpu": {torch.float32: torch.float32, torch.float64: torch.float64, torch.bfloat16: torch.float32},
    "cuda": {torch.float32: torch.float32, torch.bfloat16: torch.float32, torch.float16: torch.float32},
}

_COUNTED = {"cuda"}  # devices where a kernel counts


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
    """Whether there are so many weights, some on a CPU, that the compiled code is worth loading."""
    tensors = [ws for ws in tensors if ws]
    return any(ws[0].is_cpu for ws in tensors) and sum(sum(map(Tensor.numel, ws)) for ws in tensors) >= _MANY


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


class Numbers(NamedTuple):
    """What a step is told beside its tensors: parts with the same go together."""

    lr: Any
    momentum: float
    weight_decay: float
    l2: float
    sign: float
    capturable: bool


def _numbers(group: dict[str, Any]) -> Numbers:
    lr = group["lr"] if group["capturable"] else float(group["lr"])
    l2 = group["l2"] if group["regularizer"] == "elastic_net" else 0.0
    sign = -1.0 if group["maximize"] else 1.0
    return Numbers(lr, group["momentum"], group["weight_decay"], l2, sign, group["capturable"])


class Batch(NamedTuple):
    """The tensors of one dtype on one device: which of all they are, and where they lie.

    `fixed` is what stays of the table while nothing but gradients moves.
    """

    device: torch.device
    dtype: torch.dtype
    chosen: list[int]
    entries: int
    mapped: list[bool]
    table: Any
    fixed: bytes


class Plan(NamedTuple):
    """Where the tensors of parts lie, and what that was found from; of gradients their addresses and their `kinds`."""

    signature: Any
    grads: list[int]
    kinds: Any
    batches: list[Batch]
    taken: list[bool]


def plan(parts: Sequence[Part], before: Plan | None) -> Plan:
    """Where the tensors lie: `before`, as long as nothing has moved."""
    ws, grads, others = _joined(parts, "ws"), _joined(parts, "grads"), _joined(parts, "accumulators")
    if not (set(map(type, ws)) <= _PLAIN and set(map(type, grads)) == {Tensor}):  # what has no memory of its own
        return Plan(None, [], None, [], [False] * len(ws))
    if parts[0].group["momentum"]:
        others += _joined(parts, "momenta")
    tensors = ws + grads  # the others lie as we laid them
    signature = (
        [(_along(part.group), part.group["groups"] is None, len(part.ws)) for part in parts],
        list(map(Tensor.data_ptr, ws)),
        list(map(Tensor.data_ptr, others)),
        list(map(Tensor.numel, ws)),
        all(map(Tensor.is_contiguous, tensors)) or list(map(Tensor.stride, tensors)),
    )
    addresses = list(map(Tensor.data_ptr, grads))
    known = before is not None and before.signature == signature
    if before is not None and known and before.grads == addresses:  # of one kind with what was there before
        return before
    kinds = [grad.dtype for grad in grads], any(map(Tensor.is_neg, grads))
    if before is not None and known and before.kinds == kinds and 0 not in addresses and 0 not in before.grads:
        return before._replace(grads=addresses, batches=[_moved(batch, addresses) for batch in before.batches])
    alike: dict[Any, tuple[list[int], list[Row]]] = {}
    rows = itertools.chain.from_iterable(map(_rows, parts))
    for k, (w, row) in enumerate(zip(ws, rows, strict=True)):
        if row is not None:
            chosen, table = alike.setdefault((w.device, w.dtype), ([], []))
            chosen.append(k)
            table.append(row)
    batches = [
        _batch(device, dtype, chosen, np.array(table, np.int64)) for (device, dtype), (chosen, table) in alike.items()
    ]
    taken = {k for batch in batches for k in batch.chosen}
    return Plan(signature, addresses, kinds, batches, [k in taken for k in range(len(ws))])


def _joined(parts: Sequence[Part], name: str) -> list[Any]:
    return list(itertools.chain.from_iterable([getattr(part, name) for part in parts]))


def _along(group: dict[str, Any]) -> int | None:
    """The axis along which tensors fall into groups."""
    return group["axis"] if group["regularizer"] == "group_lasso" else None


def _rows(part: Part) -> Iterable[Row | None]:
    axis, joint = _along(part.group), part.group["groups"] is not None
    columns = zip(part.ws, part.grads, part.accumulators, part.momenta, strict=True)
    return (_row(*tensors, axis, joint) for tensors in columns)


def _batch(device: torch.device, dtype: torch.dtype, chosen: list[int], table: Any) -> Batch:
    fixed = np.delete(table, 1, 1).tobytes()
    return Batch(device, dtype, chosen, int(table[:, 4].sum()), (table[:, 6] > 0).tolist(), table, fixed)


def _moved(batch: Batch, addresses: list[int]) -> Batch:
    """The same tensors, whose gradients lie elsewhere."""
    table = batch.table.copy()
    table[:, 1] = [addresses[k] for k in batch.chosen]
    return batch._replace(table=table)


def step(
    parts: Sequence[Part], thresholds: Sequence[Sequence[Any]], wanted: Sequence[bool], plans: dict[Any, Any]
) -> list[list[bool]]:
    """The step on all tensors there is a fused one for, of parts for which it is `wanted`; which those are.

    Parts that differ in nothing but the strength of their regularization go together.
    """
    taken = [[False] * len(part.ws) for part in parts]
    alike: dict[Numbers, list[int]] = {}
    for k in itertools.compress(range(len(parts)), wanted):
        alike.setdefault(_numbers(parts[k].group), []).append(k)
    for numbers, chosen in alike.items():
        levels = list(itertools.chain.from_iterable([thresholds[k] for k in chosen]))
        which = _step(numbers, [parts[k] for k in chosen], levels, plans)
        end = 0
        for k in chosen:
            start, end = end, end + len(taken[k])
            taken[k] = which[start:end]
    return taken


def _step(numbers: Numbers, parts: Sequence[Part], thresholds: list[Any], plans: dict[Any, Any]) -> list[bool]:
    key = tuple(id(part.group) for part in parts)
    here = plans[key] = plan(parts, plans.get(key))
    ws, taken = _joined(parts, "ws"), here.taken
    for batch in here.batches:
        whole = len(batch.chosen) == len(ws)
        levels = thresholds if whole else [thresholds[k] for k in batch.chosen]
        take = _on_cpu if batch.device.type == "cpu" else _on_cuda
        if take(numbers, batch, levels, plans.setdefault((key, "tables"), {})):
            _written(ws if whole else [ws[k] for k in batch.chosen])
        else:
            taken = [x and k not in batch.chosen for k, x in enumerate(taken)]
    return taken


def _written(ws: Sequence[Tensor]) -> None:
    """Tell autograd, for a graph that needs the weights as they were."""
    torch.autograd.graph.increment_version(ws)


def _on_cpu(numbers: Numbers, batch: Batch, thresholds: Sequence[float], _: dict[Any, Any]) -> bool:
    kind: Any = np.float64 if batch.dtype == torch.float64 else np.float32
    levels = np.empty((len(thresholds), 2), kind)
    levels[:, 0] = thresholds
    levels[:, 1] = [1.0 + numbers.l2 * threshold for threshold in thresholds] if numbers.l2 else 1.0
    given = np.array([-numbers.sign * numbers.lr, numbers.momentum, numbers.sign * numbers.weight_decay], kind)
    _fused_cpu.step(batch.table, batch.entries, levels, given, batch.dtype == torch.bfloat16)
    return True


def _on_cuda(numbers: Numbers, batch: Batch, thresholds: Sequence[Any], plans: dict[Any, Any]) -> bool:
    from . import _fused_cuda

    return _launched(_fused_cuda.step, numbers, batch, thresholds, plans)


def raise_thresholds(parts: Sequence[Part], wanted: Sequence[bool], plans: dict[Any, Any]) -> list[bool]:
    """Count the step and raise thresholds that are kept in tensors, by a kernel where one is; of which parts."""
    raised = [False] * len(parts)
    alike: dict[Any, dict[int, Any]] = {}
    for k in itertools.compress(range(len(parts)), wanted):
        group, states = parts[k].group, parts[k].states
        addresses = _counters(group, states, plans) if group["capturable"] else None
        if addresses is not None:
            key = group["lr"], states[0]["step"].device
            alike.setdefault(key, {})[k] = group["c"], group["mu"], addresses
    for (lr, device), chosen in alike.items():
        from . import _fused_cuda

        done = _launched(_fused_cuda.raise_thresholds, lr, device, list(chosen.values()), plans)
        for k in chosen:
            raised[k] = done
    return raised


def _counters(group: dict[str, Any], states: Sequence[dict[str, Any]], plans: dict[Any, Any]) -> list[int] | None:
    """Addresses of counters, then of thresholds, where all are on one GPU."""
    tensors = [state["step"] for state in states] + [state["threshold"] for state in states]
    key, addresses = ("counters", id(group)), list(map(Tensor.data_ptr, tensors))
    if plans.get(key) != addresses:
        kinds = {(t.device, t.dtype) for t in tensors}
        if len(kinds) > 1 or tensors[0].device.type not in _COUNTED or tensors[0].dtype != torch.float64:
            return None
        plans[key] = addresses
    return addresses


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
