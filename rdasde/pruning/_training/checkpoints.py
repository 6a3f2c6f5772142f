"""Files of a run: the checkpoint it goes on from, those that are kept, and weights to start with.

A checkpoint holds settings, the number of epochs done, weights, the optimizer's state, and masks where there are any;
nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._engine.store import write_whole
from rdasde.pruning._training.settings import Settings, differing

PARTS = {"settings", "epoch", "model", "optimizer"}
_WRAPPED = ("_orig_mod.", "module.")  # before the names of weights of a module that is compiled, or shared out


def beside(checkpoint: Path, word: str) -> Path:
    """The file of that word beside a checkpoint: FILE.pt and "epoch5" make FILE.epoch5.pt."""
    return checkpoint.with_name(f"{checkpoint.stem}.{word}{checkpoint.suffix}")


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
        state = loaded(io.BytesIO(saved), device)
        if set(state) - {"masks"} != PARTS:
            raise ValueError(f"it holds {sorted(map(str, state))}")
    except Exception as error:  # whatever the unpickler stumbles over
        got = f"a file that holds something else ({reason(error)})"
        raise _check.bad(
            "checkpoint", got, "that of a run of this program", "remove it, or give another --checkpoint"
        ) from None
    changed = differing(state["settings"], settings)
    if changed:
        raise _check.bad(
            "checkpoint",
            f"that of a run with another {', '.join(changed)}",
            "one of these settings",
            "give those settings again, or another --checkpoint",
        )
    return state


def first_weights(file: Path) -> tuple[dict[str, Tensor], str]:
    """Weights from a checkpoint or a saved state dict, and the checksum of the file."""
    content = file.read_bytes()
    try:
        state = loaded(io.BytesIO(content), torch.device("cpu"))
        weights = state["model"] if isinstance(state.get("model"), Mapping) else state
        if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
            raise ValueError("it holds no weights")
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


def _unwrapped(name: str) -> str:
    for word in _WRAPPED:
        name = name.removeprefix(word)
    return name


def start_from(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load first weights, of the same network."""
    own = module.state_dict()
    odd = sorted(set(own) ^ set(weights)) or [name for name in own if own[name].shape != weights[name].shape]
    if odd:
        got = f"a file with the weights of another network (they differ in {_check.show(odd[0])})"
        raise _check.bad("init", got, "one with those of the recipe's", "give another --init")
    module.load_state_dict(dict(weights))
