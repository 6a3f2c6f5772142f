"""What a training left behind: its weights, its settings, and the history beside it."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._network import flatten
from rdasde.pruning._training.checkpoints import KEPT, loaded, reason, with_parts


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
        state = with_parts(loaded(path, torch.device("cpu")))
    except FileNotFoundError:
        raise _check.bad(argument, f"{path}, which is not there", accepted, mend) from None
    except Exception as error:  # whatever the unpickler stumbles over
        got = f"{path}, which holds something else ({reason(error)})"
        raise _check.bad(argument, got, accepted, mend) from None
    return Checkpoint(path, dict(state["settings"]), state["epoch"], dict(state["model"]), state["optimizer"])


def parameters(checkpoint: Checkpoint) -> list[Tensor]:
    """The weights, without batch-norm statistics and counters."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return [value for name, value in checkpoint.weights.items() if not name.endswith(buffers)]


def flat(checkpoint: Checkpoint) -> Tensor:
    """All of them as one vector."""
    return flatten(parameters(checkpoint))


def alike(a: Checkpoint, b: Checkpoint) -> None:
    """ValueError of checkpoints of two networks or of two data sets."""
    said = _differences(a, b, ("recipe", "pictures", "classes", "side"))
    if said:
        got = f"{b.path}, of another run than {a.path} ({said})"
        raise _check.bad("the second checkpoint", got, "one of the same network and data", "train both alike")


def together(a: Checkpoint, b: Checkpoint) -> None:
    """ValueError of checkpoints whose runs did not start from the same weights, and take the same batches and rates."""
    alike(a, b)
    said = _differences(a, b, ("seed", "init", "batch_size", "epochs"))
    if said:
        got = f"{b.path}, whose run is not beside that of {a.path} ({said})"
        raise _check.bad("SGD.pt", got, "one from the same first weights in the same batches", "train both alike")


def _differences(a: Checkpoint, b: Checkpoint, names: Sequence[str]) -> str:
    """Settings of these names that differ, with both values."""
    pairs = [(name, a.settings.get(name), b.settings.get(name)) for name in names]
    return ", ".join(f"{name} {one} and {other}" for name, one, other in pairs if one != other)


def finite(argument: str, path: Path, weights: Tensor) -> None:
    """ValueError of weights that diverged."""
    if not bool(torch.isfinite(weights).all()):
        got = f"{path}, whose weights are not all finite"
        raise _check.bad(argument, got, "one of a training that did not diverge", "train it again")


def kept(path: Path) -> dict[int, Path]:
    """The files of a run by epoch: those that --keep wrote beside its checkpoint, and the checkpoint itself."""
    files = {}
    for file in path.parent.glob(f"{glob.escape(path.stem)}.epoch*.pt"):
        number = KEPT.search(file.stem)
        if number and file.stem[: number.start()] == path.stem:
            files[int(number.group(1))] = file
    return dict(sorted(files.items()))


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
