"""Launching the Triton kernels: tables of addresses on the device, made anew where something has moved."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_BLOCK = 4096  # entries that a program takes
_PIECE = 1024  # of them at once, at the end of a tensor
_OF_A_GROUP = 1024  # entries of a group that a program takes at once
_COUNTERS = 128
# a product and a sum are rounded once, as by PyTorch's operations there
_HOW = {"num_warps": 8, "enable_fp_fusion": True}


class Launch(NamedTuple):
    """Tensors of a batch that go through one launch: which, whose threshold is that of all, what the kernel is told."""

    chosen: list[int]
    first: int
    by_groups: bool
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


def _launches(batch: Any, ranks: Sequence[int], at_thresholds: Sequence[int]) -> list[Launch]:
    """Tensors sorted into as few launches as can be; thresholds of one rank are the same."""
    sorts: dict[Any, list[int]] = {}
    for k, (w, grad, a, momentum, entries, group, _) in enumerate(batch.table.tolist()):
        if not entries:
            continue
        aligned = all(at % 16 == 0 for at in (w, grad, a, momentum)) and (group == 1 or group % 16 == 0)
        sorts.setdefault((group > 1, momentum > 0, aligned, ranks[k]), []).append(k)
    launches = []
    for (by_groups, has_momentum, aligned, _), chosen in sorts.items():
        rows = batch.table[chosen]
        columns = [*rows[:, [0, 2, 3, 4, 5]].T, [at_thresholds[k] for k in chosen], rows[:, 6]]
        chunks = _chunks(rows[:, 4], rows[:, 5] if by_groups else [_BLOCK] * len(rows))
        there = on_device(np.stack(columns, 1), batch.device), on_device(chunks, batch.device)
        first = next((k for k in chosen if batch.mapped[k]), chosen[0])
        launches.append(Launch(chosen, first, by_groups, has_momentum, aligned, *there))
    return launches


class Tables(NamedTuple):
    """What was found for a batch, and of what: `fixed`, the places of gradients, and in which order thresholds are."""

    fixed: bytes
    order: Any
    table: Any
    aligned: bytes
    launches: list[Launch]
    grads: list[Tensor]


def _ranks(batch: Any, levels: Sequence[float]) -> list[int]:
    """Which thresholds are the same; one that nothing is mapped by goes with any."""
    if len(set(itertools.compress(levels, batch.mapped))) <= 1:  # nearly always
        return [0] * len(levels)
    used = np.where(batch.mapped, levels, min(levels))
    return np.unique(used, return_inverse=True)[1].tolist()


def _tables(batch: Any, levels: Sequence[Any], capturable: bool, before: Tables | None) -> Tables:
    """The tables of a batch: those of before, as far as nothing has moved."""
    ranks, places = ([0] * len(levels), levels) if capturable else (_ranks(batch, levels), [0] * len(levels))
    order = capturable, ranks, places
    same = before is not None and before.fixed == batch.fixed and before.order == order
    if before is not None and same and before.table is batch.table:
        return before
    addresses = batch.table[:, 1]
    aligned = (addresses % 16 == 0).tobytes()
    if before is not None and same and before.aligned == aligned:
        launches = before.launches
    else:
        launches = _launches(batch, ranks, places)
    grads = [on_device(addresses[launch.chosen], batch.device) for launch in launches]
    return Tables(batch.fixed, order, batch.table, aligned, launches, grads)


def _keep(kept: dict[Any, Any], key: Any, what: Any, device: torch.device) -> None:
    """For the next step; what a graph has seen, as long as the optimizer is there, for the graph reads it again."""
    if capturing(device):
        kept.setdefault("captured", []).append(what)
    else:
        kept[key] = what


def step(numbers: Any, batch: Any, thresholds: Sequence[Any], kept: dict[Any, Any]) -> None:
    """A step on all tensors of a batch; the tables are `kept`."""
    from . import _fused_triton as kernels

    capturable, sign, device = numbers.capturable, numbers.sign, batch.device
    levels = [t.data_ptr() for t in thresholds] if capturable else thresholds
    key = batch.dtype, device
    tables = _tables(batch, levels, capturable, kept.get(key))
    _keep(kept, key, tables, device)
    rate = 0.0 if capturable else -sign * numbers.lr
    rate_at = rate_on(device, numbers.lr, kept) if capturable else None
    for launch, grads in zip(tables.launches, tables.grads, strict=True):
        options: dict[str, Any] = {
            "SIGN": sign,
            "KIND": kernels.KINDS[batch.dtype],
            "MOMENTUM": launch.momentum,
            "DECAY": numbers.weight_decay != 0.0,
            "CAPTURABLE": capturable,
            "ALIGNED": launch.aligned,
        }
        threshold = 0.0 if capturable else thresholds[launch.first]
        given = (rate, numbers.momentum, sign * numbers.weight_decay, threshold)
        # where nothing is read of an address, any will do
        tensors = (launch.table, grads, launch.chunks, launch.table if rate_at is None else rate_at)
        with current(device):
            if launch.by_groups:
                kernels.by_groups[len(launch.chunks),](*tensors, *given, **options, BLOCK=_OF_A_GROUP, **_HOW)
            else:
                options |= {"ELASTIC": numbers.l2 != 0.0, "BLOCK": _BLOCK, "PIECE": _PIECE}
                kernels.by_entries[len(launch.chunks),](*tensors, *given, numbers.l2, **options, **_HOW)


def rate_on(device: torch.device, rate: Any, kept: dict[Any, Any]) -> Tensor:
    """The learning rate in a tensor of the device."""
    if isinstance(rate, Tensor):
        return rate.to(device)
    before, there = kept.get(("rate", device), (None, None))
    if before != rate or there is None:
        there = torch.full((), rate, dtype=torch.float64, device=device)
    _keep(kept, ("rate", device), (rate, there), device)
    return there


def raise_thresholds(lr: Any, device: torch.device, parts: list[Any], kept: dict[Any, Any]) -> None:
    """Count the step and raise thresholds, in one launch; a part: c, mu, addresses of counters and of thresholds."""
    from . import _fused_triton as kernels

    key = "thresholds", device, parts[0][2][0]
    before, there = kept.get(key, (None, None))
    if before != parts:
        columns = [(*np.reshape(addresses, (2, -1)), c, mu) for c, mu, addresses in parts]
        counters, thresholds = (np.concatenate([column[k] for column in columns]) for k in (0, 1))
        strengths = [np.concatenate([np.full(len(column[0]), column[k]) for column in columns]) for k in (2, 3)]
        there = on_device(np.stack([counters, thresholds, *np.array(strengths, np.float64).view(np.int64)]), device)
    _keep(kept, key, (parts, there), device)
    count = sum(len(addresses) for _, _, addresses in parts) // 2
    with current(device):
        grid = (-(-count // _COUNTERS),)
        kernels.raise_thresholds[grid](there, rate_on(device, lr, kept), count, BLOCK=_COUNTERS, enable_fp_fusion=True)
