"""A copy of a network to work on."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

Model = TypeVar("Model", bound=nn.Module)


def own_copy(model: Model) -> Model:
    """A deep copy, also where hooks make weights of others, which as no leaves a deep copy refuses."""
    for module in model.modules():  # masks of torch.nn.utils.prune, weight_norm: they are made anew at each use
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and not value.is_leaf:
                setattr(module, name, value.detach())
    return copy.deepcopy(model)


@torch.no_grad()
def plain_copy(model: Model) -> Model:
    """A deep copy in evaluation mode, with masks of `torch.nn.utils.prune` made permanent."""
    masked = [
        (path, name.removesuffix("_mask"))
        for path, module in model.named_modules()
        for name, _ in module.named_buffers(recurse=False)
        if name.endswith("_mask") and hasattr(module, name.removesuffix("_mask") + "_orig")
    ]
    result = own_copy(model).eval()
    for path, name in masked:
        prune.remove(result.get_submodule(path), name)
    return result
