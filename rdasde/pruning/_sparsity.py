"""How many weights are exactly zero."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Layer:
    """The counts of one parameter."""

    name: str
    shape: tuple[int, ...]
    total: int
    zeros: int
    nans: int

    @property
    def share(self) -> float:
        """Exact zeros over all entries."""
        return self.zeros / self.total if self.total else 0.0


@dataclass(frozen=True)
class Sparsity:
    """Exact zeros of a model, over all parameters and by layer; NaN is counted apart."""

    layers: tuple[Layer, ...]

    @property
    def total(self) -> int:
        """The number of parameters."""
        return sum(layer.total for layer in self.layers)

    @property
    def zeros(self) -> int:
        """The number of exact zeros."""
        return sum(layer.zeros for layer in self.layers)

    @property
    def nans(self) -> int:
        """The number of NaN."""
        return sum(layer.nans for layer in self.layers)

    @property
    def share(self) -> float:
        """Exact zeros over all parameters."""
        return self.zeros / self.total if self.total else 0.0


@torch.no_grad()
def sparsity(model: nn.Module) -> Sparsity:
    """Count the exact zeros of a model."""
    return Sparsity(
        tuple(
            Layer(name, tuple(p.shape), p.numel(), int((p == 0).sum()), int(p.isnan().sum()))
            for name, p in model.named_parameters()
        )
    )
