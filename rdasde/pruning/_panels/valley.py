"""The valley between two trained networks: a curve, the segment and the plane, each with training and test loss.

All stays on the model's device: the ends and the bend in the network's own precision, the pictures, and sums over
batches, which are read once a place. Killed, the same call goes on: after the last finished epoch of the bend, and with
the places not measured yet.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rdasde import _check
from rdasde._engine.store import Arrays, load_arrays, save_arrays, write_whole
from rdasde._network import Data, Network
from rdasde.landscape._curve import BezierCurve, Steps, Training, train_bend
from rdasde.landscape._plane import Plane, plane
from rdasde.pruning._training.precision import autocast

PATHS = ("curve", "segment")
FOUND = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
_BATCH = 500  # rows that are measured at a time, where data are a pair of tensors
_PAUSE = 20.0  # seconds of measuring that a kill may cost
_MARGIN = 0.25  # of the plane around the ends and the bend


class Rows(NamedTuple):
    """On what a place is measured."""

    statistics: Data  # batch-norm statistics are estimated on these
    train: Data
    test: Data


class Plan(NamedTuple):
    """What determines the numbers, with the weights and the data."""

    epochs: int = 10  # of the bend
    batch_size: int = 128
    rate: float = 0.05
    momentum: float = 0.9
    seed: int = 0
    points: int = 25  # of a path, ends included
    grid: int = 21  # places along each axis of the plane


class Autocast(nn.Module):
    """A network in reduced precision inside, in single precision outside."""

    def __init__(self, module: nn.Module, device: torch.device, precision: str) -> None:
        super().__init__()
        self.module, self._device, self._precision = module, device, precision

    def forward(self, inputs: Tensor) -> Tensor:
        with autocast(self._precision, self._device):
            outputs: Tensor = self.module(inputs)
        return outputs.float()


def valley(
    model: nn.Module,
    a: Tensor,
    b: Tensor,
    training: Callable[[int], Data],
    along: Rows,
    across: Rows,
    plan: Plan,
    about: dict[str, Any],
    file: Path,
    say: Callable[[str], None] = print,
) -> Arrays:
    """Train the bend, measure the paths and the plane, and write them to `file`.

    Parameters
    ----------
    model : torch.nn.Module
        The architecture, on the device and in the precision to work in.
    a, b : Tensor of shape (d,)
        The weights of the ends.
    training : callable
        The training data of the bend in an epoch, in batches.
    along, across : Rows
        What paths, and the plane, are measured on.
    plan : Plan
        Its settings.
    about : dict
        What else the numbers depend on, and what is to be said of them (JSON); kept in the file.
    file : path
        A file of arrays. Beside it lie, until it is complete, ``.part`` with the places measured, and ``.bend`` with
        the bend, which stays.
    say : callable
        Told of every finished piece.

    Returns
    -------
    dict of arrays
        What the file holds: ``t``, by path (2, t) and by place of the plane (y, x) losses and accuracies; ``x``, ``y``,
        ``corners`` (a, b, bend), ``bend_loss`` by epoch, ``seconds`` (of the bend, of measuring), and
        ``settings``, a text in JSON.
    """
    settings = about | {"plan": plan._asdict()}
    if file.exists():
        arrays = checked(file, settings)
        say(f"{file} is complete.")
        return arrays
    network = Network(model)
    spent, bend, losses = _bend(network, a, b, training, plan, settings, file, say)
    curve = [BezierCurve(network, a, through, b) for through in (bend, 0.5 * (a + b))]
    through = plane(a, b, bend)
    x, y = through.grid(plan.grid, _MARGIN)
    held = Plane(network.hold(through.origin), network.hold(through.axes), through.corners)
    t = np.linspace(0.0, 1.0, plan.points)
    part = file.with_name(file.name + ".part")
    if part.exists():
        arrays = checked(part, settings)
    else:
        arrays = {"settings": np.array(json.dumps(settings)), "seconds": np.array([spent, 0.0])}
        arrays |= {"t": t, "x": x, "y": y, "corners": through.corners, "bend_loss": np.array(losses)}
        arrays |= {name: np.full((len(PATHS), len(t)), np.nan) for name in FOUND}
        arrays |= {f"plane_{name}": np.full((len(y), len(x)), np.nan) for name in FOUND}
    before, begun = float(arrays["seconds"][1]), time.perf_counter()
    places = [("", (k, i)) for k in range(len(PATHS)) for i in range(len(t))]
    places += [("plane_", (i, j)) for i in range(len(y)) for j in range(len(x))]
    left = [(kind, at) for kind, at in places if np.isnan(arrays[f"{kind}train_loss"][at])]
    saved = told = time.perf_counter()
    for number, (kind, at) in enumerate(left):
        if kind:
            place, rows = held.point(x[at[1]], y[at[0]]), across
        else:
            place, rows = curve[at[0]](t[at[1]]), along
        for name, value in zip(FOUND, _measure(network, place, rows), strict=True):
            arrays[f"{kind}{name}"][at] = value
        now = time.perf_counter()
        if now - saved > _PAUSE and number + 1 < len(left):
            arrays["seconds"][1] = before + now - begun
            save_arrays(part, arrays)
            saved = now
        if now - told > _PAUSE or number + 1 == len(left):
            done = len(places) - len(left) + number + 1
            say(f"{done} of {len(places)} places, {before + now - begun:.0f} s")
            told = now
    arrays["seconds"][1] = before + time.perf_counter() - begun
    save_arrays(file, arrays)
    part.unlink(missing_ok=True)
    return arrays


def checked(file: Path, settings: dict[str, Any]) -> Arrays:
    """The arrays of a file of `valley`, if they have these settings."""
    arrays = stored(file)
    there, here = json.loads(str(arrays["settings"])), json.loads(json.dumps(settings))
    changed = _changed(there, here)
    if changed:
        raise _check.bad(
            "out",
            f"{file}, which holds a run with {_check.listed(changed, _flat(there))}",
            f"a file of one with {_check.listed(changed, _flat(here))}, or a new one",
            "give another --out, or remove it",
        )
    return arrays


def stored(file: Path) -> Arrays:
    """The arrays of a file of `valley`, whatever its settings."""
    try:
        arrays = load_arrays(file)
        json.loads(str(arrays["settings"]))
        complete = {*FOUND, *(f"plane_{name}" for name in FOUND), "t", "x", "y", "corners", "bend_loss", "seconds"}
        if not complete <= set(arrays):
            raise ValueError(f"it lacks {sorted(complete - set(arrays))[0]}")
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, OSError) as error:
        got = f"{file}, which cannot be read ({_check.show(' '.join(str(error).split()))})"
        raise _check.bad("out", got, "a file that this command wrote", "remove it, or give another --out") from None
    return arrays


def _changed(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """The settings that differ; those of the plan by their own names."""
    before, now = _flat(there), _flat(here)
    return [name for name in now if name not in ("plan", "where") and before.get(name) != now[name]]


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return settings | settings.get("plan", {})


def _measure(network: Network, place: Tensor, rows: Rows) -> list[float]:
    """Losses and accuracies at some weights, batch-norm statistics estimated there once for both sets."""
    network.move(place)
    network.renorm(rows.statistics, _BATCH)
    return [
        value for data in (rows.train, rows.test) for value in network.measure(functional.cross_entropy, data, _BATCH)
    ]


def _bend(
    network: Network,
    a: Tensor,
    b: Tensor,
    training: Callable[[int], Data],
    plan: Plan,
    settings: dict[str, Any],
    file: Path,
    say: Callable[[str], None],
) -> tuple[float, Tensor, list[float]]:
    """Seconds, the bend in double precision on the CPU, and its losses; trained from where it was."""
    keep = file.with_name(file.name + ".bend")
    mine = {name: value for name, value in plan._asdict().items() if name not in ("points", "grid")}
    mine |= {name: value for name, value in settings.items() if name in ("a", "b", "precision")}
    state = Training.begin(network, a, b, torch.Generator().manual_seed(plan.seed))
    spent = _resume(keep, mine, state, network)
    begun = time.perf_counter()

    def after(state: Training) -> None:
        passed = spent + time.perf_counter() - begun
        content = {
            "settings": mine,
            "bend": state.bend.cpu(),
            "speed": state.speed.cpu(),
            "generator": state.generator.get_state(),
            "losses": state.losses,
            "seconds": passed,
        }

        def write(stream: BinaryIO) -> None:
            torch.save(content, stream)

        write_whole(keep, write)
        say(f"bend, epoch {len(state.losses)} of {plan.epochs}  loss {state.losses[-1]:.4f}  {passed:.0f} s")

    steps = Steps(plan.epochs, plan.rate, plan.momentum, plan.batch_size)
    train_bend(network, a, b, functional.cross_entropy, training, steps, state, after)
    return spent + time.perf_counter() - begun, state.bend.to("cpu", torch.float64), state.losses


def _resume(keep: Path, mine: dict[str, Any], state: Training, network: Network) -> float:
    """Take what an earlier call kept; the seconds that it had spent."""
    if not keep.exists():
        return 0.0
    accepted, mend = "the bend of this run", "remove it, or give another --out"
    try:
        there = torch.load(keep, map_location="cpu", weights_only=True)
        same = there["settings"] == mine
    except Exception as error:  # whatever the unpickler stumbles over
        got = f"a name beside which {keep.name} cannot be read ({_check.show(' '.join(str(error).split()))})"
        raise _check.bad("out", got, accepted, mend) from None
    if not same:
        changed = [name for name in mine if there["settings"].get(name) != mine[name]]
        got = f"a name beside which {keep.name} is a bend with {_check.listed(changed, there['settings'])}"
        raise _check.bad("out", got, f"that of one with {_check.listed(changed, mine)}", mend)
    state.bend, state.speed = (there[name].to(network.device, network.dtype) for name in ("bend", "speed"))
    state.generator.set_state(there["generator"])
    state.losses[:] = there["losses"]
    return float(there["seconds"])
