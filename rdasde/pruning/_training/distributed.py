"""Training in one process or many, on one machine or several, that goes on where it was killed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rdasde import _check
from rdasde.pruning._grda import GRDA
from rdasde.pruning._groups import parameter_groups
from rdasde.pruning._sparsity import sparsity
from rdasde.pruning._training import checkpoints, history, precision, sources
from rdasde.pruning._training.methods import Method, method, restore, saved
from rdasde.pruning._training.processes import Place, agree, broadcast, place, shared_out, shares, summed, words
from rdasde.pruning._training.settings import Settings

__all__ = ["Diverged", "Place", "Settings", "check", "place", "shares", "train"]


class Diverged(ArithmeticError):
    """A training whose loss is no number any more; what was saved is from before."""


class Run(NamedTuple):
    """What an epoch needs: the module as it is saved, the one that is called, and, where compiled, its fast double."""

    module: nn.Module
    called: nn.Module
    quick: Callable[[Tensor], Tensor]
    tested: Callable[[Tensor], Tensor]
    updates: GRDA
    method: Method
    source: sources.Source
    settings: Settings
    here: Place


def train(
    network: Callable[[], nn.Module],
    source: sources.Source,
    rate: Callable[[int, int], float],
    settings: Settings,
    here: Place,
    *,
    checkpoint: Path | None = None,
    start: dict[str, Tensor] | None = None,
    compiled: bool = False,
    keep: tuple[int, ...] = (),
    say: Callable[[str], None] = print,
    count: Callable[[int, int], object] = lambda epoch, pictures: None,
) -> dict[str, Tensor]:
    """Train, saving after every epoch and going on from what was saved; returns the weights.

    The batches are those of one process, shared out: `settings.batch_size` rows together. Every random number of an
    epoch comes from seed, epoch and rank, so that a run that was killed and goes on ends with the same weights as one
    that was not (on GPUs: up to what their kernels do).

    Parameters
    ----------
    network : callable
        Returns a new module.
    source : Pictures or Loaded
        The data.
    rate : callable
        The learning rate of an epoch, of so many.
    settings : Settings
        What determines the weights.
    here : Place
        Which process this is.
    checkpoint : Path, optional
        Saved after every epoch, and gone on from; what each epoch did is told beside it, in lines of JSON.
    start : dict, optional
        First weights, in place of drawn ones.
    compiled : bool
        Compile the module, forward and backward, for full batches; a short last one goes through it as it is.
    keep : tuple of int
        Numbers of epochs after which the checkpoint is kept, under a name of its own.
    say, count : callable
        Called with a line about each epoch; with epoch, from 0 on, and number of pictures of each step.
    """
    if settings.batch_size % here.world:
        raise _check.bad(
            "batch_size", settings.batch_size, f"a multiple of the {here.world} processes", "change either"
        )
    precision.checked(settings.precision, here.device)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[here.device] if here.gpu else []))
        stack.enter_context(precision.in_force(settings.precision, here.device))
        run, done = _begun(network, source, rate, settings, here, checkpoint, start, compiled)
        if done >= settings.epochs and here.rank == 0:
            say(f"{checkpoint} is complete.")
        for epoch in range(done, settings.epochs):
            lr = rate(epoch, settings.epochs)
            for group in run.updates.param_groups:
                group["lr"] = lr
            told = _told(run, epoch, lr, compiled, count)
            if not math.isfinite(told["train_loss"] + told["test_loss"]):
                raise Diverged(_diverged(told, checkpoint))
            if here.rank == 0:
                if checkpoint is not None:
                    _save(run, told, checkpoint, keep)
                say(_line(told))
        return run.module.state_dict()


def check(network: Callable[[], nn.Module], settings: Settings, checkpoint: Path | None, here: Place) -> None:
    """ValueError of a run that could not begin or go on, said before others are trained ahead of it."""
    with torch.device("meta"):
        method(network(), settings, 1)
    if here.rank == 0 and checkpoint is not None:
        checkpoints.writable("checkpoint", checkpoint)
        if checkpoint.exists() and (content := checkpoint.read_bytes()):
            checkpoints.opened(content, settings, torch.device("cpu"))


def _begun(
    network: Callable[[], nn.Module],
    source: sources.Source,
    rate: Callable[[int, int], float],
    settings: Settings,
    here: Place,
    checkpoint: Path | None,
    start: dict[str, Tensor] | None,
    compiled: bool,
) -> tuple[Run, int]:
    """A run as it was saved, or at its start, and the number of epochs done."""
    torch.manual_seed(settings.seed)
    module = network()
    if start is not None:
        checkpoints.start_from(module, start)
    module.to(here.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent from the stubs
    spare = settings.spare and settings.c > 0.0  # what a method does not heed changes nothing in its checkpoint
    groups = parameter_groups(module, c=settings.c) if spare else module.parameters()
    updates = GRDA(groups, lr=rate(0, settings.epochs), c=0.0 if spare else settings.c, mu=settings.mu)
    ours = method(module, settings, -(-sources.rows(source)[0] // settings.batch_size))
    done = _resumed(module, updates, ours, settings, checkpoint, here)
    if not done:
        ours.begin()
    called = shared_out(module, here)
    quick: Any = torch.compile(called, dynamic=False) if compiled else called
    tested: Any = torch.compile(module, dynamic=False) if compiled else module
    return Run(module, called, quick, tested, updates, ours, source, settings, here), done


def _resumed(
    module: nn.Module, updates: GRDA, ours: Method, settings: Settings, checkpoint: Path | None, here: Place
) -> int:
    """The number of epochs done; the first process reads for all, which need not share a disk."""
    content = b""
    if here.rank == 0 and checkpoint is not None and checkpoint.exists():
        content = checkpoint.read_bytes()
    content = broadcast(content, here)
    done = 0
    if content:
        state = checkpoints.opened(content, settings, here.device)
        checkpoints.go_on_from(module, state["model"])
        updates.load_state_dict(state["optimizer"])
        restore(ours, module, state.get("masks", []))
        done = int(state["epoch"])
    if here.rank == 0 and checkpoint is not None:
        history.rewind(history.file_of(checkpoint), done)
    return done


def _told(run: Run, epoch: int, lr: float, compiled: bool, count: Callable[[int, int], object]) -> dict[str, Any]:
    """Train an epoch and test; what is told of it."""
    begin = time.perf_counter()
    loss = _epoch(run, epoch, count)  # a number: the device has done everything
    seconds = time.perf_counter() - begin
    agree(run.module, run.here)
    test_loss, accuracy = _tested(run)
    settings = run.settings
    return {
        "recipe": settings.recipe,
        "method": settings.method,
        "epoch": epoch + 1,
        "epochs": settings.epochs,
        "rate": lr,
        "train_loss": loss,
        "test_loss": test_loss,
        "test_accuracy": accuracy,
        "zeros": sparsity(run.module).share,
        "seconds": seconds,  # of training, without testing
        "images_per_second": sources.rows(run.source)[0] / seconds,
        "device": words(run.here),
        "precision": settings.precision,
        "compiled": compiled,
        "c": settings.c,
        "mu": settings.mu,
        "seed": settings.seed,
        "version": history.version(),
    }


def _diverged(told: dict[str, Any], checkpoint: Path | None) -> str:
    which = "train_loss" if not math.isfinite(told["train_loss"]) else "test_loss"
    said, epoch = {"train_loss": "the training loss", "test_loss": "the test loss"}[which], told["epoch"]
    kept = f"; {checkpoint} is that of epoch {epoch - 1}" if checkpoint is not None and epoch > 1 else ""
    return (
        f"{said} is {told[which]:g} in epoch {epoch}, at a rate of {told['rate']:g}, so that training ends here{kept}: "
        "take another c, another batch size or other first weights."
    )


def _line(told: dict[str, Any]) -> str:
    return (
        f"epoch {told['epoch']:4d}  rate {told['rate']:.4g}  train loss {told['train_loss']:.4f}  "
        f"test loss {told['test_loss']:.4f}  test accuracy {100 * told['test_accuracy']:.2f} %  "
        f"zeros {100 * told['zeros']:.2f} %  {told['images_per_second']:.0f} pictures/s"
    )


def _save(run: Run, told: dict[str, Any], checkpoint: Path, keep: tuple[int, ...]) -> None:
    """The line first: killed between the two, the run does the epoch again, and its line is taken back."""
    epoch = told["epoch"]
    history.append(history.file_of(checkpoint), told)
    files = [checkpoints.beside(checkpoint, f"epoch{epoch}")] if epoch in keep else []
    masks = saved(run.method.masks)
    checkpoints.save(run.module, run.updates, masks, run.settings, epoch, *files, checkpoint)


def _epoch(run: Run, epoch: int, count: Callable[[int, int], object]) -> float:
    """Mean loss of an epoch of training. Nothing in it waits for the device, but the last line."""
    settings, here = run.settings, run.here
    stream = int(np.random.SeedSequence([settings.seed, epoch, here.rank]).generate_state(1, np.uint64)[0]) >> 1
    torch.manual_seed(stream)  # dropout, and augmentation of a loader without workers
    there = sources.rows(run.source)[0]
    rows = shares(there, settings.batch_size, settings.seed, epoch, here.rank, here.world)
    run.module.train()
    total = torch.zeros(2, dtype=torch.float64, device=here.device)
    step, full = epoch * len(rows), len(rows[0])
    for inputs, labels in sources.train_batches(run.source, rows, settings.seed, epoch, stream, here):
        step += 1
        run.updates.zero_grad(set_to_none=True)
        forward = run.quick if len(labels) == full else run.called  # another size would be compiled anew
        with precision.autocast(settings.precision, here.device):
            loss = functional.cross_entropy(forward(inputs), labels)
        loss.backward()
        if not run.method.instead(step):
            run.updates.step()
            run.method.after(step)
        total[0].add_(loss.detach(), alpha=len(labels))
        count(epoch, len(labels) * here.world)
    total[1] += sum(map(len, rows))
    mean: Tensor = torch.div(*summed(total, here))
    return float(mean)


@torch.no_grad()
def _tested(run: Run) -> tuple[float, float]:
    """Mean loss and accuracy on the test set."""
    here, size = run.here, run.settings.batch_size // run.here.world
    run.module.eval()
    total = torch.zeros(2, dtype=torch.float64, device=here.device)
    full = tested = 0
    for inputs, labels in sources.test_batches(run.source, size, here):
        full = full or len(labels)
        forward = run.tested if len(labels) == full else run.module
        with precision.autocast(run.settings.precision, here.device):
            scores = forward(inputs)
        total[0] += functional.cross_entropy(scores.float(), labels, reduction="sum")
        total[1] += (scores.argmax(1) == labels).sum()
        tested += len(labels)
    total = summed(torch.cat([total, total.new_full((1,), tested)]), here)
    return float(total[0] / total[2]), float(total[1] / total[2])
