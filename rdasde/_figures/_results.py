"""Results that are drawn and not computed: those that come with the package, or a user's own in their place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdasde import _check
from rdasde._engine.store import Arrays, load_arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEPT = Path(__file__).parent / "results"
FULL = "cifar100-wrn28x10"


def numbers(name: str, folder: Path | None) -> dict[str, Any]:
    """What a JSON file of results holds."""
    file = _file(f"{name}.json", folder)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _unreadable(file, error) from None
    if not isinstance(found, dict):
        raise _unreadable(file, ValueError("it holds no results"))
    return found


def arrays(name: str, folder: Path | None) -> Arrays:
    """What a file of arrays holds; ``settings``, a text in JSON, is among them."""
    file = _file(f"{name}.npz", folder)
    try:
        found = load_arrays(file)
        json.loads(str(found["settings"]))
    except (ValueError, KeyError) as error:
        raise _unreadable(file, error) from None
    return found


def _file(name: str, folder: Path | None) -> Path:
    """In the user's directory, where one is given; else the package's."""
    if folder is None:
        return KEPT / name
    wrote, mend = "a directory with what the recipes' commands wrote", "leave it out, or name one"
    if not folder.is_dir():
        got = f"{folder}, which is {'no directory' if folder.exists() else 'not there'}"
        raise _check.bad("results", got, wrote, mend)
    if not (folder / name).exists():
        raise _check.bad("results", f"{folder}, which holds no {name}", wrote, f"give the command --out {name} there")
    return folder / name


def drawn(draw: Callable[[Path | None], Figure], name: str, folder: Path | None) -> Figure:
    """A figure of stored results; ValueError where a user's file holds others."""
    try:
        return draw(folder)
    except (KeyError, IndexError, TypeError) as error:
        if folder is None:
            raise
        there = (folder / f"{name}.json", folder / f"{name}.npz")  # pictures of that name may lie beside it
        file = next(file for file in there if file.exists())
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> ValueError:
    got = f"a directory whose {file.name} cannot be read ({_check.show(' '.join(str(error).split()))})"
    return _check.bad("results", got, "one with what the recipes' commands wrote", "remove the file, or make it anew")


def about(run: dict[str, Any], weights: int) -> str:
    """Network and data of a run in words."""
    data, _, network = str(run["recipe"]).partition("-")
    known = {"cifar100": "CIFAR-100", "cifar10": "CIFAR-10", "digits": "digits", "mnist5000": "MNIST"}
    cut = [f"{run[key]:,} {word}" for key, word in (("classes", "classes"), ("pictures", "pictures")) if run.get(key)]
    if run.get("side"):
        cut.append(f"{run['side']} x {run['side']} pixels")
    data = known.get(data, data) + (f" cut to {', '.join(cut)}" if cut else "")
    return f"{named(network)} ({weights:,} weights) on {data}"


def named(network: str) -> str:
    """A network of the recipes as it is written: WRN28x10."""
    return re.sub(r"(?<=\d)X(?=\d)", "x", network.upper())


def device(name: str) -> str:
    """Where something ran; a processor is called one."""
    if name == "CPU" or any(word in name for word in ("NVIDIA", "Tesla", "GeForce", "Instinct", "Radeon")):
        return name
    return f"CPU ({name})"


def trained(run: dict[str, Any]) -> str:
    """Epochs, batches, device and time of a run in words."""
    words = f"{run['epoch']} epochs, batches of {run['batch_size']}"
    where = [device(str(run["device"])), str(run["precision"])] if run.get("device") else []
    time = duration(run["seconds"]) if run.get("seconds") else ""
    return ", ".join([words, *where, *([time] if time else [])])


def duration(seconds: float) -> str:
    """In units that are read at once."""
    return f"{seconds:.0f} s" if seconds < 120.0 else f"{seconds / 60.0:.1f} min"


def unmeasured(runs: Sequence[dict[str, Any]]) -> str:
    """What is not shown: the published network, where the results are of a smaller one."""
    if any(run["recipe"] == FULL for run in runs):
        return ""
    places = sorted({device(str(run["device"])) for run in runs if run.get("device")})
    where = f" on a {' and a '.join(places)}" if places else ""
    return f" This is a small network{where}; WRN28x10 on all of CIFAR-100 is not measured with this version."
