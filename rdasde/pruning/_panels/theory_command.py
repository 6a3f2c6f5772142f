"""``theory GRDA.pt SGD.pt``: the steep share of their difference and the closed form, for every epoch that was kept."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rdasde import _check
from rdasde._engine.store import write_whole
from rdasde._network import Network
from rdasde.landscape._hessian import HessianProduct
from rdasde.landscape._restarted import restarted_lanczos
from rdasde.pruning._training import precision
from rdasde.pruning._training.checkpoints import writable
from rdasde.pruning._training.pictures import Pictures

from . import checkpoints, pictures
from .compare import run_of
from .theory import Clock, meeting, thresholds

_BATCH = 100  # pictures that a product with the Hessian takes at a time
_NORM_ROWS = 10000  # that batch-norm statistics are estimated on


def main(arguments: Sequence[str], known: pictures.Known) -> None:
    """Parse, measure, say what came out."""
    parser = argparse.ArgumentParser(
        prog="python -m rdasde.pruning.recipes theory",
        description="Two runs from the same initial weights and batches, with --keep: the share of their difference in "
        "the top eigenspace of the Hessian, and gRDA's weights against directional pruning of SGD's in closed form, "
        "for each epoch that both kept. Killed, the same command goes on.",
    )
    usual = " (default: %(default)s)"
    parser.add_argument("pruned", type=Path, metavar="GRDA.pt", help="a checkpoint of gRDA")
    parser.add_argument("plain", type=Path, metavar="SGD.pt", help="that of SGD")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the pictures lie")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the results (JSON; default: beside GRDA.pt)")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="eigenvectors" + usual)
    parser.add_argument("--rows", type=int, default=1000, metavar="N", help="pictures that the Hessian is of" + usual)
    parser.add_argument(
        "--memory", type=int, default=40, metavar="N", help="vectors as long as the weights held at once" + usual
    )
    parser.add_argument(
        "--products", type=int, default=150, metavar="N", help="with the Hessian, at most, an epoch" + usual
    )
    options = parser.parse_args(arguments)
    top = _check.count("top", options.top)
    settings = {
        "top": top,
        "rows": _check.count("rows", options.rows),
        "memory": _check.count("memory", options.memory, least=top + 2, mend="more than the eigenvectors"),
        "products": _check.count("products", options.products, least=top),
    }
    both = checkpoints.read(options.pruned, "GRDA.pt"), checkpoints.read(options.plain, "SGD.pt")
    checkpoints.together(*both)
    if both[0].settings.get("method", "grda") != "grda" or not both[0].settings.get("c"):
        got = f"{options.pruned}, a run of {both[0].settings.get('method', 'sgd')}"
        raise _check.bad("GRDA.pt", got, "one of gRDA", "give the two in this order")
    if both[1].settings.get("method", "grda") != "sgd" and both[1].settings.get("c"):
        got = f"{options.plain}, a run of {both[1].settings.get('method', 'grda')}"
        raise _check.bad("SGD.pt", got, "one of SGD", "give the two in this order")
    epochs = _epochs(options.pruned, options.plain)
    _check_top(top, checkpoints.parameters(both[1]))
    device = pictures.device()
    name = f"theory-{options.pruned.stem}-{options.plain.stem}.json"
    out = writable("out", options.out or options.pruned.with_name(name))
    there = known.pictures(both[0], options.folder, device, "GRDA.pt")
    ends = [checkpoints.digest(checkpoints.flat(one)) for one in both]
    found = _begun(out, settings | {"pruned": ends[0], "plain": ends[1]})
    found |= {
        "runs": [run_of(options.pruned), run_of(options.plain)],
        "device": pictures.named(device),
    }
    done = {record["epoch"] for record in found["records"]}
    for epoch, files in epochs.items():
        if epoch in done:
            continue
        begun = time.perf_counter()
        pair = _of_the_run(files[0], both[0], "GRDA.pt"), _of_the_run(files[1], both[1], "SGD.pt")
        with precision.in_force("fp32", device):
            record = {"epoch": epoch} | _meet(pair[0], pair[1], known, there, settings)
        found["records"] = sorted([*found["records"], record], key=lambda one: int(one["epoch"]))
        found["seconds"] = round(found["seconds"] + time.perf_counter() - begun, 1)
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
        write_whole(out, lambda stream, text=text: stream.write(text.encode()))  # type: ignore[misc]
        print(f"epoch {epoch}  share {record['share']:.5f}  {time.perf_counter() - begun:.0f} s", flush=True)
    print(report(found))
    print(out)


def _epochs(pruned: Path, plain: Path) -> dict[int, tuple[Path, Path]]:
    """The epochs after which both runs kept their weights, the last included."""
    files = []
    for path in (pruned, plain):
        whole = checkpoints.read(path)
        files.append(checkpoints.kept(path) | {whole.epoch: path})
    common = sorted(set(files[0]) & set(files[1]))
    if not common:
        got = f"runs that share no epoch ({sorted(files[0])} and {sorted(files[1])})"
        raise _check.bad("SGD.pt", got, "a run as long, or with the same --keep", "train both alike")
    return {epoch: (files[0][epoch], files[1][epoch]) for epoch in common}


def _check_top(top: int, parameters: list[Tensor]) -> None:
    number = sum(map(Tensor.numel, parameters))
    if top >= number:
        raise _check.bad("top", top, f"less than the {number} weights", "ask for fewer eigenvectors")


def _of_the_run(path: Path, whole: checkpoints.Checkpoint, argument: str) -> checkpoints.Checkpoint:
    """A checkpoint that was kept on the way to another; ValueError where an earlier run of that name left it."""
    one = checkpoints.read(path, argument)
    if one.settings != whole.settings:
        got = f"{whole.path}, beside which {path.name} is of another run"
        raise _check.bad(argument, got, "one whose run kept what is beside it", f"remove {path.name}")
    return one


def _begun(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What an earlier call found, or nothing yet."""
    if not out.exists():
        return {"settings": settings, "records": [], "seconds": 0.0}
    mend = "give another --out, or remove it"
    try:
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        there = dict(found["settings"])
        list(found["records"]), float(found["seconds"])
    except (ValueError, KeyError, TypeError) as error:
        got = f"{out}, which cannot be read ({_check.show(' '.join(str(error).split()))})"
        raise _check.bad("out", got, "a file that this command wrote", mend) from None
    changed = [name for name, value in settings.items() if there.get(name) != value]
    if changed:
        got = f"{out}, which holds a run with {_check.listed(changed, there)}"
        raise _check.bad("out", got, f"a file of one with {_check.listed(changed, settings)}, or a new one", mend)
    return found


def _meet(
    pruned: checkpoints.Checkpoint,
    plain: checkpoints.Checkpoint,
    known: pictures.Known,
    there: Pictures,
    settings: dict[str, int],
) -> dict[str, Any]:
    module = known.network(plain, "SGD.pt")
    checkpoints.finite("SGD.pt", plain.path, checkpoints.vector(module))
    checkpoints.finite("GRDA.pt", pruned.path, checkpoints.flat(pruned))
    strengths = thresholds(module, pruned.optimizer, bool(pruned.settings.get("spare")))
    network = Network(module.to(there.device))
    sparse = checkpoints.vector(known.network(pruned, "GRDA.pt")).to(network.device)
    network.renorm(pictures.Plain(there, "train", _NORM_ROWS), _BATCH)
    rows = pictures.Plain(there, "train", settings["rows"], _BATCH)
    multiply = HessianProduct(network, functional.cross_entropy, rows, _BATCH)
    start = torch.randn(multiply.dimension, generator=torch.Generator().manual_seed(0)).to(network.device)
    space = restarted_lanczos(
        multiply,
        start,
        settings["top"],
        room=settings["memory"],
        products=settings["products"],
        tolerance=0.01,
    )
    steps = -(-len(there.train_labels) // int(pruned.settings["batch_size"]))
    clock = Clock(np.repeat(known.rates(pruned, "GRDA.pt"), steps), float(pruned.settings["mu"]))
    whole = checkpoints.vector(network.model)
    followed = HessianProduct(Network(network.model), functional.cross_entropy, rows, _BATCH)
    followed.in_training()
    return meeting(sparse, whole, strengths.to(whole), space, followed, clock, products=settings["memory"])


def report(found: dict[str, Any]) -> str:
    """A table in Markdown."""
    columns = ["epoch", "zeros, %", "share", "random", "largest", "threshold"]
    forms = ("flow", "top", "threshold")
    columns += [f"{name}, {form}" for form in forms for name in ("overlap", "cosine")]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for record in found["records"]:
        cells = [str(record["epoch"]), f"{100 * record['zeros']:.2f}", f"{record['share']:.5f}"]
        cells += [f"{record['chance']:.5f}", f"{record['eigenvalues'][0]:.3g}", f"{record['strength']:.3f}"]
        cells += [f"{record['forms'][form][name]:.4f}" for form in forms for name in ("overlap", "cosine")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
