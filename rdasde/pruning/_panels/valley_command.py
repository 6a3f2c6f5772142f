"""``valley A.pt B.pt``: from two checkpoints to a file that the figure is drawn from."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rdasde import _check
from rdasde._engine.store import Arrays
from rdasde.pruning._training import precision
from rdasde.pruning._training.checkpoints import writable
from rdasde.pruning._training.pictures import Pictures

from . import checkpoints, pictures
from .compare import run_of
from .valley import Autocast, Plan, Rows, valley

USUAL = Plan()


def main(arguments: Sequence[str], known: pictures.Known) -> None:
    """Parse, measure, say what came out."""
    parser = argparse.ArgumentParser(
        prog="python -m rdasde.pruning.recipes valley",
        description="The loss between two trained networks: along a curve whose bend is trained, along the straight "
        "segment, and on the plane through both and the bend. Killed, the same command goes on.",
    )
    usual = " (default: %(default)s)"
    parser.add_argument("a", type=Path, metavar="A.pt", help="a checkpoint, of gRDA say")
    parser.add_argument("b", type=Path, metavar="B.pt", help="another of the same network and data, of SGD say")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the pictures lie")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the results (default: beside A.pt)")
    parser.add_argument("--epochs", type=int, default=USUAL.epochs, metavar="N", help="of the bend" + usual)
    parser.add_argument("--batch-size", type=int, default=USUAL.batch_size, metavar="N", help="of the bend" + usual)
    parser.add_argument("--rate", type=float, default=USUAL.rate, metavar="X", help="of the bend" + usual)
    parser.add_argument(
        "--points", type=int, default=USUAL.points, metavar="N", help="measured along each path" + usual
    )
    parser.add_argument(
        "--grid", type=int, default=USUAL.grid, metavar="N", help="places along each axis of the plane" + usual
    )
    parser.add_argument(
        "--rows", type=int, default=10000, metavar="N", help="pictures that paths are measured on" + usual
    )
    parser.add_argument("--grid-rows", type=int, default=2000, metavar="N", help="pictures for the plane" + usual)
    parser.add_argument("--precision", metavar="WORD", help="bf16 (usual on a GPU), tf32 or fp32 (usual on a CPU)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bend's batches" + usual)
    options = parser.parse_args(arguments)
    plan = Plan(
        _check.count("epochs", options.epochs),
        _check.count("batch_size", options.batch_size),
        _check.number("rate", options.rate, above=0.0),
        USUAL.momentum,
        _check.seed(options.seed),
        _check.count("points", options.points, least=2),
        _check.count("grid", options.grid, least=2),
    )
    rows, grid_rows = (_check.count(name, getattr(options, name)) for name in ("rows", "grid_rows"))
    device = pictures.device()
    word = precision.checked(options.precision or ("bf16" if device.type == "cuda" else "fp32"), device)
    both = checkpoints.read(options.a, "A.pt"), checkpoints.read(options.b, "B.pt")
    checkpoints.alike(*both)
    networks = [known.network(both[0], "A.pt"), known.network(both[1], "B.pt")]
    ends = [checkpoints.vector(network).double() for network in networks]
    for name, file, end in zip(("A.pt", "B.pt"), (options.a, options.b), ends, strict=True):
        checkpoints.finite(name, file, end)
    if bool((ends[0] == ends[1]).all()):
        raise _check.bad("B.pt", f"{options.b}, with the weights of A.pt", "another run's", "pass two runs")
    out = writable("out", options.out or options.a.with_name(f"valley-{options.a.stem}-{options.b.stem}.npz"))
    there = known.pictures(both[0], options.folder, device, "A.pt")
    model = networks[0].to(device)
    if word == "bf16":
        model = Autocast(model, device, word)
    about: dict[str, Any] = {
        "a": checkpoints.digest(ends[0]),
        "b": checkpoints.digest(ends[1]),
        "precision": word,
        "rows": rows,
        "grid_rows": grid_rows,
        "where": {
            "device": pictures.named(device),
            "weights": len(ends[0]),
            "runs": [run_of(options.a), run_of(options.b)],
        },
    }
    with precision.in_force(word, device):
        arrays = valley(
            model,
            ends[0],
            ends[1],
            functools.partial(pictures.Training, there, plan.batch_size, plan.seed),
            _rows(there, rows),
            _rows(there, grid_rows),
            plan,
            about,
            out,
            functools.partial(print, flush=True),
        )
    print(summary(arrays))
    print(out)


def _rows(there: Pictures, most: int) -> Rows:
    train = pictures.Plain(there, "train", most)
    return Rows(train, train, pictures.Plain(there, "test", most))


def summary(arrays: Arrays) -> str:
    """The numbers that matter, as a table in Markdown."""
    lines = ["| loss | at A | at B | top of the curve | top of the segment |", "|---|---|---|---|---|"]
    for part, name in (("train", "training"), ("test", "test")):
        loss = arrays[f"{part}_loss"]
        cells = [loss[0, 0], loss[0, -1], loss[0].max(), loss[1].max()]
        lines.append("| " + " | ".join([name, *(f"{value:.4f}" for value in cells)]) + " |")
    return "\n".join(lines)
