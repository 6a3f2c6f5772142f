"""The standard folders of CIFAR and ImageNet, read through torchvision; nothing is downloaded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from rdasde import _check

# mean and standard deviation by channel, as in the paper's public code
SCALES = {
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def load(name: str, folder: Path | None, scale: str) -> tuple[Any, Any]:
    """Training set, with random crops and flips, and test set: `cifar10`, `cifar100` or `imagenet`.

    Raises
    ------
    ImportError
        Without torchvision.
    ValueError
        Where the folder does not hold the data set.
    """
    _check.choice("name", name, ("cifar10", "cifar100", "imagenet"))
    try:
        transforms: Any = importlib.import_module("torchvision.transforms")
        datasets: Any = importlib.import_module("torchvision.datasets")
    except ImportError:
        raise ImportError(
            f"{name} is read through torchvision, which is not installed: pip install torchvision."
        ) from None
    except RuntimeError:  # operators that this PyTorch does not know
        raise ImportError(
            f"{name} is read through torchvision, and the one installed is for another PyTorch: install its match."
        ) from None
    if folder is None:
        raise _check.bad("folder", None, f"the directory that holds {name}", "give --folder; nothing is downloaded")
    finish = [transforms.ToTensor(), transforms.Normalize(*SCALES[scale])]
    flip = transforms.RandomHorizontalFlip()
    try:
        if name == "imagenet":
            crop = [transforms.RandomResizedCrop(224), flip, *finish]
            whole = [transforms.Resize(256), transforms.CenterCrop(224), *finish]
            return (
                datasets.ImageFolder(str(folder / "train"), transforms.Compose(crop)),
                datasets.ImageFolder(str(folder / "val"), transforms.Compose(whole)),
            )
        crop = [transforms.RandomCrop(32, padding=4), flip, *finish]
        kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
        return (
            kind(str(folder), train=True, transform=transforms.Compose(crop), download=False),
            kind(str(folder), train=False, transform=transforms.Compose(finish), download=False),
        )
    except (OSError, RuntimeError):
        inside = "train/ and val/, a folder a class" if name == "imagenet" else "torchvision's layout"
        raise _check.bad(
            "folder", str(folder), f"a directory with {name} ({inside})", "nothing is downloaded"
        ) from None
