"""Published numbers, each with its source: what ours are set beside."""

from __future__ import annotations

from typing import Any, NamedTuple


class Published(NamedTuple):
    """What others report of one network on one data set."""

    about: str
    runs: dict[str, list[tuple[float, float]]]  # by method: zeros and test accuracy, both in %
    plain: float  # test accuracy of SGD, all weights, in %
    source: str


_PAPER = "Chao, Wang, Xing & Cheng (NeurIPS 2020, arXiv 2006.09358)"

# top-1 accuracy at sparsity, as quoted by or beside Chao et al. (2020)
IMAGENET = {
    "gRDA, c .005, μ .501": [(86.1, 73.13)],
    "gRDA, μ .51": [(87.3, 73.14)],
    "gRDA, μ .55": [(91.6, 73.24)],
    "gRDA, μ .6": [(95.0, 72.16)],
    "gRDA, μ .65": [(97.1, 70.04)],
    "gRDA, μ .7": [(98.2, 65.51)],
    "tuned magnitude": [(90.0, 75.16), (95.0, 72.71), (96.5, 69.26)],
    "STR": [(90.0, 74.31), (95.0, 70.23), (98.0, 61.46)],
    "RigL-ERK 5x": [(90.0, 76.42), (95.0, 74.63), (96.5, 72.77)],
    "AC/DC": [(90.0, 75.03), (95.0, 73.14), (98.0, 68.48)],
}

PUBLISHED = {
    "cifar100-wrn28x10": Published(
        "CIFAR-100, WRN28x10, 200 epochs",
        {
            "gRDA, c .001, μ .501": [(82.7, 76.92)],
            "gRDA, μ .55": [(90.2, 77.00)],
            "gRDA, μ .6": [(94.2, 77.00)],
            "gRDA, μ .65": [(96.3, 76.85)],
        },
        76.53,
        f"{_PAPER}, means over 10 seeds",
    ),
    "cifar10-wrn28x10": Published(
        "CIFAR-10, WRN28x10, 200 epochs",
        {
            "gRDA, c .001, μ .501": [(90.2, 94.46)],
            "gRDA, μ .55": [(94.7, 94.43)],
            "gRDA, μ .6": [(97.1, 94.50)],
            "gRDA, μ .65": [(98.3, 94.53)],
        },
        94.17,
        f"{_PAPER}, means over 10 seeds",
    ),
    "cifar10-vgg16": Published(
        "CIFAR-10, VGG16, 600 epochs",
        {"gRDA, c .0005, μ .51": [(61.4, 91.01)], "gRDA, μ .6": [(90.5, 90.82)], "gRDA, μ .7": [(97.2, 90.64)]},
        90.82,
        f"{_PAPER}, means over 9 seeds",
    ),
    "imagenet-resnet50": Published(
        "ImageNet, ResNet-50",
        IMAGENET,
        68.71,
        f"gRDA by {_PAPER}, whose SGD is at a fixed rate; others as reported by their authors (Gale, Elsen & Hooker, "
        "arXiv 1902.09574, for magnitude), with other epochs and schedules: not at equal cost",
    ),
}

# how high the training loss rises between gRDA and SGD on CIFAR-100, WRN28x10 (the paper's figures 1 and 5)
SEGMENT, CURVE = (0.158, 0.51), 0.001
SHARE = {"VGG16": (0.002, 0.003), "WRN28x10": (0.001, 0.001)}  # of w_gRDA - w_SGD in the top-10 eigenspace, at the end
VALLEY_SOURCE = "Chao et al. 2020, figures 1 and 5"

# this package's version 0.1 on one H200: not measured anew with this version
EARLIER = (
    "WRN28x10 by version 0.1 of this package (one H200, bf16, 44 epochs, one seed): SGD 74.95 %; gRDA, c = .003, "
    "μ = .55: 94.0 % zeros, 75.89 %"
)


def of(recipe: str) -> list[Published]:
    """What is set beside runs of a recipe: that of its data set, or, of others, all of CIFAR; ImageNet's as well."""
    data = recipe.split("-")[0]
    near = [published for name, published in PUBLISHED.items() if name.split("-")[0] == data]
    return near if data == "imagenet" else [*near, PUBLISHED["imagenet-resnet50"]]


def label(run: dict[str, Any]) -> str:
    """The method of a run of the recipes and its strength, as the tables here have them."""
    method = str(run.get("method", "grda" if run.get("c") else "sgd"))
    if method == "grda" and not run.get("c"):
        method = "sgd"
    if method == "grda":
        return f"gRDA, c {run['c']:g}, μ {run['mu']:g}"
    words = {"sgd": "SGD", "rigl": "RigL", "gradual": "gradual magnitude", "one-shot": "one-shot magnitude"}
    return words.get(method, method)
