"""What a training left behind: its weights, its settings, and the history beside it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._network import flatten
from rdasde.pruning._training.checkpoints import PARTS, loaded, reason

_KEPT = re.compile(r"\.epoch(\d+)$")


class Checkpoint(NamedTuple):
    """A file of the recipes."""

    path: Path
    settings: dict[str, Any]
    epoch: int
    weights: dict[str, Tensor]  # a state dict
    optimizer: dict[str, Any]


def read(path: Path, argument: str = "the checkpoint") -> Checkpoint:
    """One file; nothing in it is executed."""
    accepted, mend = "one that python -m rdasde.pruning.recipes NAME --checkpoint wrote", "train one"
    try:
        state = loaded(path, torch.device("cpu"))
        if not isinstance(state, dict) or not set(state) >= PARTS:
            raise ValueError(f"it holds {sorted(map(str, state)) if isinstance(state, dict) else _check.show(state)}")
    except FileNotFoundError:
        raise _check.bad(argument, f"{path}, which is not there", accepted, mend) from None
    except Exception as error:  # whatever the unpickler stumbles over
        got = f"{path}, which holds something else ({reason(error)})"
        raise _check.bad(argument, got, accepted, mend) from None
    return Checkpoint(path, dict(state["settings"]), int(state["epoch"]), state["model"], state["optimizer"])


def parameters(checkpoint: Checkpoint) -> list[Tensor]:
    """The weights, without batch-norm statistics and counters."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return [value for name, value in checkpoint.weights.items() if not name.endswith(buffers)]


def flat(checkpoint: Checkpoint) -> Tensor:
    """All of them as one vector."""
    return flatten(parameters(checkpoint))


def alike(a: Checkpoint, b: Checkpoint) -> None:
    """ValueError of checkpoints of two networks or of two data sets."""
    names = ("recipe", "pictures", "classes", "side")
    changed = [name for name in names if a.settings.get(name) != b.settings.get(name)]
    if changed:
        said = ", ".join(f"{name} {a.settings.get(name)} and {b.settings.get(name)}" for name in changed)
        got = f"{b.path}, of another run than {a.path} ({said})"
        raise _check.bad("the second checkpoint", got, "one of the same network and data", "train both alike")


def kept(path: Path) -> dict[int, Path]:
    """The files of a run by epoch: those that --keep wrote beside its checkpoint, and the checkpoint itself."""
    files = {}
    for file in path.parent.glob(f"{path.stem}.epoch*.pt"):
        number = _KEPT.search(file.stem)
        if number and file.stem[: number.start()] == path.stem:
            files[int(number.group(1))] = file
    return dict(sorted(files.items()))


def is_kept(path: Path) -> bool:
    """Whether a file is one that --keep wrote."""
    return _KEPT.search(path.stem) is not None


def load_into(module: nn.Module, checkpoint: Checkpoint, argument: str) -> nn.Module:
    """A network with the weights of a checkpoint."""
    try:
        module.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        got = f"{checkpoint.path}, whose weights are of another network ({reason(error)})"
        raise _check.bad(argument, got, "one of the network that its settings name", "train it again") from None
    return module


def digest(weights: Tensor) -> str:
    """A name of some weights, by their bits."""
    return hashlib.sha256(weights.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def vector(module: nn.Module) -> Tensor:
    """The weights of a network in the order of its parameters."""
    return flatten(module.parameters())
