"""A copy of a network to work on."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

Model = TypeVar("Model", bound=nn.Module)


@torch.no_grad()
def plain_copy(model: Model) -> Model:
    """A deep copy in evaluation mode, with masks of `torch.nn.utils.prune` made permanent."""
    masked = [
        (path, name.removesuffix("_mask"))
        for path, module in model.named_modules()
        for name, _ in module.named_buffers(recurse=False)
        if name.endswith("_mask") and hasattr(module, name.removesuffix("_mask") + "_orig")
    ]
    for path, name in masked:  # the masked weight is no leaf, which a deep copy would refuse; it is made at each use
        module = model.get_submodule(path)
        setattr(module, name, getattr(module, name).detach())
    for module in model.modules():  # weights that hooks make of others, as those of torch.nn.utils.weight_norm
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and not value.is_leaf:
                setattr(module, name, value.detach())
    result = copy.deepcopy(model).eval()
    for path, name in masked:
        prune.remove(result.get_submodule(path), name)
    return result
