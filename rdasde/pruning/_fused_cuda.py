"""Launching the Triton kernels: tables of addresses on the device, made anew where something has moved."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_BLOCK = 4096  # entries that a program takes
_OF_A_GROUP = 1024  # entries of a group that a program takes at once
_COUNTERS = 128
_WARPS = 8


class Launch(NamedTuple):
    """Tensors of a batch that go through one launch: which, and what the kernel is told of them."""

    chosen: list[int]
    by_groups: bool
    mapped: bool
    momentum: bool
    aligned: bool
    table: Tensor
    chunks: Tensor


def capturing(device: torch.device) -> bool:
    """Whether what is done is being recorded in a CUDA graph."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def on_device(values: Any, device: torch.device) -> Tensor:
    """Whole numbers in a tensor there, without waiting for it.

    While a graph is captured nothing can be copied from here; numbers that are arguments of a kernel are kept in the
    graph with it.
    """
    if capturing(device):
        there = torch.zeros(values.shape, dtype=torch.int64, device=device)
        torch._foreach_add_(list(there.view(-1).unbind()), values.ravel().tolist())
        return there
    here = torch.from_numpy(np.array(values, np.int64))
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here


def current(device: torch.device) -> Any:
    """Within it, launches go to this device."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _chunks(entries: Sequence[int], stretch: Sequence[int]) -> Any:
    """Of every tensor its number and those of its stretches."""
    counts = -(-np.array(entries, np.int64) // np.array(stretch, np.int64))
    return np.stack([np.repeat(np.arange(len(counts)), counts), np.concatenate([np.arange(n) for n in counts])], 1)


def _launches(table: Any, thresholds: Sequence[int], capturable: bool, device: torch.device) -> list[Launch]:
    """Tensors sorted into as few launches as can be: `table` has the rows of a batch."""
    ranks = {value: rank for rank, value in enumerate(sorted(set(thresholds)))}
    sorts: dict[Any, list[int]] = {}
    for k, (w, grad, a, momentum, entries, group, mapped) in enumerate(table.tolist()):
        if not entries:
            continue
        aligned = all(at % 16 == 0 for at in (w, grad, a, momentum)) and (group == 1 or group % 16 == 0)
        level = 0 if capturable else ranks[thresholds[k]]
        sorts.setdefault((group > 1, bool(mapped), momentum > 0, aligned, level), []).append(k)
    found = []
    for (by_groups, mapped, has_momentum, aligned, _), chosen in sorts.items():
        rows = table[chosen]
        at_thresholds = np.array([thresholds[k] if capturable else 0 for k in chosen], np.int64)
        columns = [rows[:, 0], rows[:, 2], rows[:, 3], rows[:, 4], rows[:, 5], at_thresholds]
        chunks = _chunks(rows[:, 4], rows[:, 5] if by_groups else [_BLOCK] * len(rows))
        there = on_device(np.stack(columns, 1), device), on_device(chunks, device)
        found.append(Launch(chosen, by_groups, mapped, has_momentum, aligned, *there))
    return found


class Tables(NamedTuple):
    """What was found for a batch, and of what: `fixed`, and the addresses of gradients."""

    fixed: Any
    moving: bytes
    launches: list[Launch]
    grads: list[Tensor]


def _tables(batch: Any, levels: Sequence[Any], capturable: bool, before: Tables | None) -> Tables:
    """The tables of a batch: those of before, as far as nothing has moved."""
    addresses = batch.table[:, 1]
    order = levels if capturable else np.unique(levels, return_inverse=True)[1].tolist()
    fixed = (capturable, np.delete(batch.table, 1, 1).tobytes(), (addresses % 16 == 0).tobytes(), order)
    moving = addresses.tobytes()
    same = before is not None and before.fixed == fixed
    if same and before is not None and before.moving == moving:
        return before
    launches = (
        before.launches if same and before is not None else _launches(batch.table, levels, capturable, batch.device)
    )
    return Tables(fixed, moving, launches, [on_device(addresses[launch.chosen], batch.device) for launch in launches])


def step(group: dict[str, Any], batch: Any, thresholds: Sequence[Any], kept: dict[Any, Any]) -> None:
    """A step on all tensors of a batch; the tables are `kept`."""
    from . import _fused_triton as kernels

    capturable, sign = group["capturable"], -1.0 if group["maximize"] else 1.0
    levels = [t.data_ptr() for t in thresholds] if capturable else thresholds
    key = id(group), batch.device, batch.dtype
    tables = _tables(batch, levels, capturable, kept.get(key))
    if not capturing(batch.device):  # what is made for a graph is the graph's own
        kept[key] = tables
    rate = 0.0 if capturable else -sign * float(group["lr"])
    rate_at = rate_on(batch.device, group["lr"]) if capturable else None
    elastic = group["regularizer"] == "elastic_net" and group["l2"] != 0.0
    for launch, grads in zip(tables.launches, tables.grads, strict=True):
        options: dict[str, Any] = {
            "SIGN": sign,
            "KIND": kernels.KINDS[batch.dtype],
            "MOMENTUM": launch.momentum,
            "DECAY": group["weight_decay"] != 0.0,
            "CAPTURABLE": capturable,
            "ALIGNED": launch.aligned,
            "num_warps": _WARPS,
        }
        threshold = 0.0 if capturable else thresholds[launch.chosen[0]]
        numbers = (rate, group["momentum"], sign * group["weight_decay"], threshold)
        # where nothing is read of an address, any will do
        given = (launch.table, grads, launch.chunks, launch.table if rate_at is None else rate_at, *numbers)
        with current(batch.device):
            if launch.by_groups:
                kernels.by_groups[len(launch.chunks),](*given, **options, BLOCK=_OF_A_GROUP)
            else:
                options |= {"MAPPED": launch.mapped, "ELASTIC": elastic, "BLOCK": _BLOCK}
                kernels.by_entries[len(launch.chunks),](*given, group["l2"] if elastic else 0.0, **options)


def rate_on(device: torch.device, rate: Any) -> Tensor:
    """The learning rate in a tensor of the device."""
    if isinstance(rate, Tensor):
        return rate.to(device)
    return torch.full((), rate, dtype=torch.float64, device=device)


def raise_thresholds(group: dict[str, Any], states: Sequence[dict[str, Any]], kept: dict[Any, Any]) -> None:
    """Count the step and raise the thresholds, in one launch."""
    from . import _fused_triton as kernels

    counters, thresholds = [state["step"] for state in states], [state["threshold"] for state in states]
    device, addresses = counters[0].device, list(map(Tensor.data_ptr, counters + thresholds))
    key = id(group), "thresholds"
    before, there = kept.get(key, (None, None))
    if before != addresses:
        there = on_device(np.array(addresses), device)
        if not capturing(device):
            kept[key] = addresses, there
    rate, options = rate_on(device, group["lr"]), {"C": group["c"], "MU": group["mu"], "BLOCK": _COUNTERS}
    count = len(states)
    with current(device):
        kernels.raise_thresholds[-(-count // _COUNTERS),](there, rate, count, **options)
