"""Which channels of a network belong together, and which weights make, pass on and read them.

A *channel* is one number of a class: the outputs of layers that are added, multiplied or otherwise tied to each other
share one. What may not be taken out has a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

Labels = NDArray[np.int64]
Truths = NDArray[np.bool_]

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass
class Reading:
    """A layer that reads channels, the channel of each of its inputs, and which of them no input of the model moves."""

    name: str
    layer: Any
    channels: Labels
    constant: Truths


@dataclass
class Channels:
    """Classes of channels under construction, then finished by `close`."""

    makes: list[tuple[str, Any, Labels]] = field(default_factory=list)
    passes: list[tuple[str, Any, Labels]] = field(default_factory=list)
    reads: list[Reading] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)  # by channel, of what stays
    _parents: list[int] = field(default_factory=list)

    @property
    def number(self) -> int:
        """How many classes, once closed; before that, how many numbers were given out."""
        return len(self._parents)

    def fresh(self, number: int, reason: str | None = None) -> Labels:
        """So many new channels, at once barred if there is a reason."""
        start = len(self._parents)
        labels = np.arange(start, start + number)
        self._parents.extend(labels.tolist())
        if reason is not None:
            self.bar(labels, reason)
        return labels

    def tie(self, a: Labels, b: Labels) -> None:
        """The same channels, one by one."""
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            first, second = sorted((self._root(x), self._root(y)))
            self._parents[second] = first

    def bar(self, labels: Labels, reason: str) -> None:
        """They stay; the first reason counts."""
        for label in np.unique(labels).tolist():
            self.reasons.setdefault(label, reason)

    def _root(self, label: int) -> int:
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label

    def close(self) -> Channels:
        """Number the classes from 0, in the order in which they were met."""
        roots = np.array([self._root(label) for label in range(len(self._parents))], dtype=np.int64)
        numbers = np.unique(roots, return_inverse=True)[1].reshape(-1)
        reasons: dict[int, str] = {}
        for label in sorted(self.reasons):
            reasons.setdefault(int(numbers[label]), self.reasons[label])
        return Channels(
            [(name, layer, numbers[labels]) for name, layer, labels in self.makes],
            [(name, layer, numbers[labels]) for name, layer, labels in self.passes],
            [Reading(read.name, read.layer, numbers[read.channels], read.constant) for read in self.reads],
            reasons,
            list(range(int(numbers.max(initial=-1)) + 1)),
        )


def is_plain(model: nn.Sequential) -> bool:
    """Whether it runs its layers one after the other: a subclass may do anything in a forward of its own."""
    return type(model).forward is nn.Sequential.forward and "forward" not in vars(model)


def is_hooked(layer: nn.Module) -> bool:
    """Whether anything runs before or after its forward, or in its place."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks) or "forward" in vars(layer)


def bound(model: nn.Module) -> dict[nn.Module, str]:
    """Modules that are left as they are, whatever their zeros, and why."""
    reasons: dict[nn.Module, str] = {}

    def mark(modules: Iterable[nn.Module], reason: str) -> None:
        for module in modules:
            reasons.setdefault(module, reason)

    owners: dict[int, list[nn.Module]] = {}
    for name, module in model.named_modules():
        label = name or "the model"
        if is_hooked(module):
            mark(module.modules(), f"{label} has hooks")
        if isinstance(module, nn.Sequential) and not is_plain(module):
            mark(module.modules(), f"{label} is a Sequential with a forward of its own")
        if parametrize.is_parametrized(module):
            mark(module.modules(), f"{label} is parametrized")
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(module)
    for modules in owners.values():
        if len(modules) > 1:
            mark(modules, "several layers share its weights")
    return reasons


def outputs(layer: Any) -> int:
    """How many channels a weighted layer makes."""
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)


def inputs(layer: Any) -> int:
    """How many it reads."""
    return int(layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels)


def is_depthwise(layer: Any) -> bool:
    """Whether each channel is convolved by itself into one."""
    return not isinstance(layer, nn.Linear) and bool(1 < layer.groups == layer.in_channels == layer.out_channels)
