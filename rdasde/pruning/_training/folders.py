"""The data of a recipe from where they lie: on the device as bytes, or ImageNet picture by picture from its folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rdasde import _check
from rdasde.pruning._training import cifar, data, pictures

# mean and standard deviation by channel, as in the paper's public code
SCALES = {
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
ON_DEVICE = (*cifar.CLASSES, *data.SOURCES)


def read(
    name: str,
    folder: Path | None,
    device: torch.device,
    *,
    scale: str = "cifar",
    rows: int | None = None,
    classes: int | None = None,
    side: int | None = None,
) -> pictures.Pictures:
    """One of `ON_DEVICE`, as it is kept there: `cifar10`, `cifar100` from a folder, the others from packages.

    Parameters
    ----------
    name : str
        What `Recipe.data` says.
    folder : Path or None
        Where CIFAR lies.
    device : torch.device
        Where the tensors are wanted.
    scale : {"cifar", "imagenet"}
        Whose mean and standard deviation by channel CIFAR's bytes are scaled with.
    rows, classes, side : int, optional
        Fewer training pictures, classes, pixels a side; see `pictures.reduced`.

    Raises
    ------
    ImportError
        Where a package is missing that the data are read through.
    ValueError
        Where the folder does not hold the data set, or so many of something are not there.
    """
    _check.choice("name", name, ON_DEVICE)
    if name in data.SOURCES:
        whole = pictures.of_numbers(data.load(name), torch.device("cpu"))
    else:
        whole = pictures.of_bytes(*cifar.read(name, folder), SCALES[scale], torch.device("cpu"))
    return pictures.reduced(whole, rows=rows, classes=classes, side=side).to(device)


def imagenet(folder: Path | None) -> tuple[Any, Any]:
    """Training set, with random crops and flips, and test set, read from their folders as they are asked for.

    Raises
    ------
    ImportError
        Without torchvision.
    ValueError
        Where the folder does not hold the data set.
    """
    if folder is None:
        raise _check.bad("folder", None, "the directory that holds imagenet", "give --folder; nothing is downloaded")
    transforms, datasets = cifar.torchvision("imagenet", "transforms"), cifar.torchvision("imagenet", "datasets")
    finish = [transforms.ToTensor(), transforms.Normalize(*SCALES["imagenet"])]
    crop = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *finish]
    whole = [transforms.Resize(256), transforms.CenterCrop(224), *finish]
    try:
        return (
            datasets.ImageFolder(str(folder / "train"), transforms.Compose(crop)),
            datasets.ImageFolder(str(folder / "val"), transforms.Compose(whole)),
        )
    except (OSError, RuntimeError):
        raise _check.bad(
            "folder",
            str(folder),
            "a directory with imagenet (train/ and val/, a folder a class)",
            "nothing is downloaded",
        ) from None
