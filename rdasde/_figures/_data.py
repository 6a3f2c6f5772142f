"""What figures of real data and of random directions start from."""

from __future__ import annotations

from typing import Any

import numpy as np

from rdasde._check import Floats


def data_set(name: str, **options: Any) -> Any:
    """One of the data sets that come with scikit-learn, by the name of its loader there."""
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError("This figure needs scikit-learn's data: pip install 'rdasde[figures]'.") from None
    return getattr(datasets, f"load_{name}")(**options)


def standardized(columns: Floats) -> Floats:
    """Mean 0 and variance 1 each."""
    scaled: Floats = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return scaled


def random_direction(dimension: int, seed: int) -> Floats:
    """A unit vector, uniform on the sphere."""
    vector = np.random.default_rng(seed).standard_normal(dimension)
    return vector / np.linalg.norm(vector)
