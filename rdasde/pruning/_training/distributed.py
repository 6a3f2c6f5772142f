"""Training in one process or many, on one machine or several, that goes on where it was killed."""

from __future__ import annotations

import gc
import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from rdasde import _check
from rdasde._engine.store import write_whole
from rdasde.pruning._grda import GRDA
from rdasde.pruning._groups import parameter_groups
from rdasde.pruning._sparsity import sparsity

_PARTS = {"settings", "epoch", "model", "optimizer"}  # of a checkpoint


class Settings(NamedTuple):
    """Everything but data, network and number of processes that determines the weights."""

    recipe: str
    epochs: int
    batch_size: int
    c: float
    mu: float
    spare: bool  # biases and batch norm are not thresholded
    seed: int


class Place(NamedTuple):
    """Which process this is, of how many, and on what device."""

    rank: int
    world: int
    device: torch.device


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


def train(
    network: Callable[[], nn.Module],
    parts: tuple[Dataset[Any], Dataset[Any]],
    rate: Callable[[int, int], float],
    settings: Settings,
    here: Place,
    *,
    checkpoint: Path | None = None,
    workers: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, torch.Tensor]:
    """Train by gRDA, saving after every epoch and going on from what was saved; returns the weights.

    The batches are those of one process, shared out: `settings.batch_size` rows together. Every random number of an
    epoch comes from seed, epoch and rank, so that a run that was killed and goes on ends with the same weights as one
    that was not (on GPUs: up to what their kernels do).
    """
    if settings.batch_size % here.world:
        raise _check.bad(
            "batch_size", settings.batch_size, f"a multiple of the {here.world} processes", "change either"
        )
    torch.manual_seed(settings.seed)
    module = network().to(here.device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent from the stubs
    groups = parameter_groups(module, c=settings.c) if settings.spare else module.parameters()
    updates = GRDA(groups, lr=rate(0, settings.epochs), c=0.0 if settings.spare else settings.c, mu=settings.mu)
    done = _resume(module, updates, settings, checkpoint, here)
    shared: nn.Module = module
    if here.world > 1:
        shared = nn.parallel.DistributedDataParallel(
            module, device_ids=[here.device.index] if here.device.type == "cuda" else None
        )
    for epoch in range(done, settings.epochs):
        lr = rate(epoch, settings.epochs)
        for group in updates.param_groups:
            group["lr"] = lr
        loss = _epoch(shared, updates, parts[0], settings, epoch, workers, here)
        _agree(module, here)
        test_loss, accuracy = _evaluate(module, parts[1], settings.batch_size // here.world, workers, here)
        if here.rank == 0:
            if checkpoint is not None:
                _save(module, updates, settings, epoch + 1, checkpoint)
            say(
                f"epoch {epoch + 1:4d}  rate {lr:.4g}  train loss {loss:.4f}  test loss {test_loss:.4f}  "
                f"test accuracy {100 * accuracy:.2f} %  zeros {100 * sparsity(module).share:.2f} %"
            )
    return module.state_dict()


def shares(rows: int, batch_size: int, seed: int, epoch: int, rank: int, world: int) -> list[list[int]]:
    """This process' rows of every batch of an epoch: the batches of one process, split evenly.

    The last batch is filled up with rows from the start of the order where it cannot be split.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    order = np.concatenate([order, order[: -rows % world]])
    return [order[i : i + batch_size][rank::world].tolist() for i in range(0, len(order), batch_size)]


def _epoch(
    module: nn.Module,
    updates: torch.optim.Optimizer,
    part: Dataset[Any],
    settings: Settings,
    epoch: int,
    workers: int,
    here: Place,
) -> float:
    seed = int(np.random.SeedSequence([settings.seed, epoch, here.rank]).generate_state(1, np.uint64)[0] >> 1)
    torch.manual_seed(seed)  # dropout, and augmentation without workers
    rows = shares(len(part), settings.batch_size, settings.seed, epoch, here.rank, here.world)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)  # of the workers' seeds
    loader = DataLoader(part, batch_sampler=rows, num_workers=workers, generator=generator, pin_memory=_gpu(here))
    module.train()
    total = torch.zeros(2, dtype=torch.float64, device=here.device)
    for inputs, labels in loader:
        inputs, labels = _on(inputs, here), labels.to(here.device, non_blocking=True)
        updates.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(module(inputs), labels)
        loss.backward()
        updates.step()
        total += torch.stack([loss.detach().double() * len(labels), torch.tensor(len(labels), device=here.device)])
    if here.world > 1:
        dist.all_reduce(total)
    return float(total[0] / total[1])


def _agree(module: nn.Module, here: Place) -> None:
    """Batch-norm statistics: each process has its own, from its share of the rows; take their mean."""
    if here.world > 1:
        for buffer in module.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer.div_(here.world)


@torch.no_grad()
def _evaluate(module: nn.Module, part: Dataset[Any], batch_size: int, workers: int, here: Place) -> tuple[float, float]:
    mine = range(here.rank, len(part), here.world)  # type: ignore[arg-type]
    rows = [list(mine[i : i + batch_size]) for i in range(0, len(mine), batch_size)]
    module.eval()
    total = torch.zeros(3, dtype=torch.float64, device=here.device)
    for inputs, labels in DataLoader(part, batch_sampler=rows, num_workers=workers, pin_memory=_gpu(here)):
        scores, labels = module(_on(inputs, here)), labels.to(here.device)
        loss = functional.cross_entropy(scores, labels, reduction="sum")
        right = (scores.argmax(1) == labels).sum()
        total += torch.stack([loss.double(), right.double(), torch.tensor(len(labels), device=here.device).double()])
    if here.world > 1:
        dist.all_reduce(total)
    return float(total[0] / total[2]), float(total[1] / total[2])


def _gpu(here: Place) -> bool:
    return here.device.type == "cuda"


def _on(inputs: torch.Tensor, here: Place) -> torch.Tensor:
    return inputs.to(here.device, non_blocking=True, memory_format=torch.channels_last)


def _save(module: nn.Module, updates: torch.optim.Optimizer, settings: Settings, epoch: int, checkpoint: Path) -> None:
    state: dict[str, Any] = {"settings": settings._asdict(), "epoch": epoch}
    state |= {"model": module.state_dict(), "optimizer": updates.state_dict()}
    checkpoint.parent.mkdir(parents=True, exist_ok=True)

    def write(stream: BinaryIO) -> None:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())  # a machine may go down in the hours until the next one

    write_whole(checkpoint, write)


def _resume(
    module: nn.Module, updates: torch.optim.Optimizer, settings: Settings, checkpoint: Path | None, here: Place
) -> int:
    """The number of epochs done; the first process reads for all, which need not share a disk."""
    saved = b""
    if here.rank == 0 and checkpoint is not None and checkpoint.exists():
        saved = checkpoint.read_bytes()
    saved = _broadcast(saved, here)
    if not saved:
        return 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is no checkpoint: that is said below
            state = torch.load(io.BytesIO(saved), map_location=here.device, weights_only=True)  # executes nothing
        if set(state) != _PARTS:
            raise ValueError(f"it holds {sorted(map(str, state))}")
    except Exception as error:  # whatever the unpickler stumbles over
        got = f"a file that holds something else ({_check.show(' '.join(str(error).split()))})"
        raise _check.bad(
            "checkpoint", got, "that of a run of this program", "remove it, or give another --checkpoint"
        ) from None
    if state["settings"] != settings._asdict():
        changed = [name for name, value in settings._asdict().items() if state["settings"].get(name) != value]
        raise _check.bad(
            "checkpoint",
            f"that of a run with another {', '.join(changed)}",
            "one of these settings",
            "give those settings again, or another --checkpoint",
        )
    module.load_state_dict(state["model"])
    updates.load_state_dict(state["optimizer"])
    return int(state["epoch"])


def _broadcast(saved: bytes, here: Place) -> bytes:
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
