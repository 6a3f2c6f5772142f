"""The processes of a training: which one this is, what its share of the rows is, and what they tell each other."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn


class Place(NamedTuple):
    """Which process this is, of how many, and on what device."""

    rank: int
    world: int
    device: torch.device

    @property
    def gpu(self) -> bool:
        """Whether the device is one of CUDA's."""
        return self.device.type == "cuda"


@contextmanager
def place() -> Iterator[Place]:
    """The place that torchrun gave this process; without torchrun, the only one."""
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    device = torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")
    if "RANK" not in os.environ:
        yield Place(0, 1, device)
        return
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Place(dist.get_rank(), dist.get_world_size(), device)
        dist.barrier()  # a process that ends while another is still talking to it may be aborted
    finally:
        gc.collect()  # modules that are shared out hold on to the group, and their threads must end before it
        dist.destroy_process_group()


def words(here: Place) -> str:
    """The device by its name: the GPU's, or the processor's; with how many there are of it."""
    name = torch.cuda.get_device_name(here.device) if here.gpu else processor()
    return name if here.world == 1 else f"{here.world} x {name}"


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.processor() or platform.machine() or "CPU"


def shares(rows: int, batch_size: int, seed: int, epoch: int, rank: int, world: int) -> list[list[int]]:
    """This process' rows of every batch of an epoch: the batches of one process, split evenly.

    The last batch is filled up with rows from the start of the order where it cannot be split.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    order = np.concatenate([order, order[: -rows % world]])
    return [order[i : i + batch_size][rank::world].tolist() for i in range(0, len(order), batch_size)]


def shared_out(module: nn.Module, here: Place) -> nn.Module:
    """The module with gradients that are means over the processes."""
    if here.world == 1:
        return module
    return nn.parallel.DistributedDataParallel(module, device_ids=[here.device.index] if here.gpu else None)


def summed(values: torch.Tensor, here: Place) -> torch.Tensor:
    """Sums over the processes, in place."""
    if here.world > 1:
        dist.all_reduce(values)
    return values


def agree(module: nn.Module, here: Place) -> None:
    """Batch-norm statistics: each process has its own, from its share of the rows; take their mean."""
    if here.world > 1:
        for buffer in module.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer.div_(here.world)


def broadcast(saved: bytes, here: Place) -> bytes:
    """What the first process has, for all."""
    if here.world == 1:
        return saved
    length = torch.tensor([len(saved)], device=here.device)
    dist.broadcast(length, 0)
    if not int(length):
        return b""
    content = torch.zeros(int(length), dtype=torch.uint8, device=here.device)
    if here.rank == 0:
        content.copy_(torch.frombuffer(bytearray(saved), dtype=torch.uint8))
    dist.broadcast(content, 0)
    return content.cpu().numpy().tobytes()
