"""Files of a run: the checkpoint it goes on from, those that are kept, and weights to start with.

A checkpoint holds settings, the number of epochs done, weights, the optimizer's state, and masks where there are any;
nothing in it is executed.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._engine.store import write_whole
from rdasde.pruning._training.settings import Settings, differing

KEPT = re.compile(r"\.epoch(\d+)$")  # of a stem
PARTS = {"settings", "epoch", "model", "optimizer"}
_KINDS = {"settings": dict, "epoch": int, "model": Mapping, "optimizer": dict}
_WRAPPED = ("_orig_mod.", "module.")  # before the names of weights of a module that is compiled, or shared out
_ABANDONED = 600.0  # seconds since somebody wrote to it


def beside(checkpoint: Path, word: str) -> Path:
    """The file of that word beside a checkpoint: FILE.pt and "epoch5" make FILE.epoch5.pt."""
    return checkpoint.with_name(f"{checkpoint.stem}.{word}{checkpoint.suffix}")


def checked_name(checkpoint: Path | None) -> Path | None:
    """A name whose history, and whose weights kept on the way, no other run of the directory shares."""
    if checkpoint is not None and (checkpoint.suffix != ".pt" or is_kept(checkpoint)):
        name = KEPT.sub("", checkpoint.name.removesuffix(".pt")).strip(".") or "run"
        accepted = "a file name that ends in .pt, and not as those that --keep writes"
        mend = f"give for example {checkpoint.parent / name}.pt"
        raise _check.bad("checkpoint", f"{checkpoint}", accepted, mend)
    return checkpoint


def is_kept(path: Path) -> bool:
    """Whether a file is one that --keep wrote."""
    return KEPT.search(path.stem) is not None


def writable(argument: str, file: Path) -> Path:
    """A path that a file can be written to, found out before hours of work.

    Its directory is made; what a process that was killed in writing left there is removed.
    """
    accepted, mend = "a file in a directory that can be written to", f"give another --{argument}"
    if file.is_dir():
        raise _check.bad(argument, f"{file}, a directory", accepted, mend)
    if file.exists() and not file.is_file():  # a pipe, say, which takes what is written
        return file
    folder = Path(os.path.realpath(file)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        got = f"{file}, which cannot be written ({error.strerror})"
        raise _check.bad(argument, got, accepted, mend) from None
    scratch = rf"{re.escape(file.stem)}(\.epoch\d+)?{re.escape(file.suffix)}(\.bend|\.part)?\.\d+-\d+\.part"
    for left in folder.glob(f"{glob.escape(file.stem)}*.part"):
        if re.fullmatch(scratch, left.name) and time.time() - left.stat().st_mtime > _ABANDONED:
            left.unlink(missing_ok=True)
    return file


def save(
    module: nn.Module,
    updates: torch.optim.Optimizer,
    masks: list[Tensor],
    settings: Settings,
    epoch: int,
    *files: Path,
) -> None:
    """Write the state after `epoch` epochs to each of the files, whole or not at all."""
    state: dict[str, Any] = {"settings": settings._asdict(), "epoch": epoch}
    state |= {"model": module.state_dict(), "optimizer": updates.state_dict()}
    if masks:
        state["masks"] = masks

    def write(stream: BinaryIO) -> None:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())  # a machine may go down in the hours until the next one

    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, write)


def opened(saved: bytes, settings: Settings, device: torch.device) -> dict[str, Any]:
    """The parts of a checkpoint, of a run with these settings."""
    try:
        state = with_parts(loaded(io.BytesIO(saved), device))
    except Exception as error:  # whatever the unpickler stumbles over
        got = f"a file that holds something else ({reason(error)})"
        raise _check.bad(
            "checkpoint", got, "that of a run of this program", "remove it, or give another --checkpoint"
        ) from None
    changed = differing(state["settings"], settings)
    if changed:
        raise _check.bad(
            "checkpoint",
            f"that of a run with {_check.listed(changed, state['settings'])}",
            f"one with {_check.listed(changed, settings._asdict())}",
            "give the same again, or another --checkpoint",
        )
    return state


def with_parts(state: Any) -> dict[str, Any]:
    """What a checkpoint holds; ValueError where it is something else."""
    if not isinstance(state, dict) or not set(state) >= PARTS:
        raise ValueError(f"it holds {sorted(map(str, state)) if isinstance(state, dict) else _check.show(state)}")
    for name, kind in _KINDS.items():
        if not isinstance(state[name], kind):
            raise ValueError(f"its {name} is {_check.show(state[name])}")
    if state["epoch"] < 0:
        raise ValueError(f"its epoch is {state['epoch']}")
    return state


def first_weights(file: Path) -> tuple[dict[str, Tensor], str]:
    """Weights from a checkpoint or a saved state dict, and the checksum of the file."""
    try:
        content = file.read_bytes()
    except OSError as error:
        got = f"{file}, which cannot be read ({error.strerror})"
        raise _check.bad("init", got, "a checkpoint or a state dict", "give another --init") from None
    try:
        state = loaded(io.BytesIO(content), torch.device("cpu"))
        weights = state["model"] if isinstance(state.get("model"), Mapping) else state
        if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
            raise ValueError("it holds no weights")
        odd = [name for name, value in weights.items() if not _plain(value)]
        if odd:
            raise ValueError(f"{odd[0]} is no tensor of finite numbers")
    except Exception as error:  # whatever the unpickler stumbles over
        got = f"a file that holds something else ({reason(error)})"
        raise _check.bad("init", got, "a checkpoint or a state dict", "give another --init") from None
    return {_unwrapped(str(name)): value for name, value in weights.items()}, hashlib.sha256(content).hexdigest()[:16]


def loaded(source: Path | BinaryIO, device: torch.device) -> Any:
    """What a file holds; nothing in it is executed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is no checkpoint: that is said by who asked
        return torch.load(source, map_location=device, weights_only=True, mmap=False)


def reason(error: Exception) -> str:
    """What the unpickler, or a network, stumbled over, on one line."""
    return _check.show(" ".join(str(error).split()))


def _plain(value: Tensor) -> bool:
    """Whether weights can be copied from a tensor, and trained."""
    there = value.layout == torch.strided and not (value.is_meta or value.is_complex())
    return there and bool(torch.isfinite(value).all())


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPED):
        for word in _WRAPPED:
            name = name.removeprefix(word)
    return name


def go_on_from(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of a checkpoint."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        got = f"one whose weights are of another network ({reason(error)})"
        raise _check.bad("checkpoint", got, "that of a run of this recipe", "give another --checkpoint") from None


def start_from(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load first weights, of the same network."""
    own = module.state_dict()
    odd = sorted(set(own) ^ set(weights)) or [name for name in own if own[name].shape != weights[name].shape]
    if odd:
        got = f"a file with the weights of another network (they differ in {_check.show(odd[0])})"
        raise _check.bad("init", got, "one with those of the recipe's", "give another --init")
    module.load_state_dict(dict(weights))
