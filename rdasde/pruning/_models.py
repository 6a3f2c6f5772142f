"""What a model must be before anything is read from it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rdasde import _check


def checked_module(
    model: Any,
    mend: str = "pass the network itself",
    *,
    argument: str = "model",
    lazy: bool = False,
    meta: bool = False,
) -> None:
    """A module whose parameters have shapes, unless `lazy`, and values, unless `meta`."""
    _check.instance(argument, model, nn.Module, "a torch.nn.Module", mend)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            if not lazy:
                got, accepted = f"one whose {name} has no shape yet", "one whose parameters have shapes"
                raise _check.bad(argument, got, accepted, "run it once on a batch of its inputs")
        elif tensor.is_meta and not meta:
            got, accepted = f"one whose {name} is on the meta device", "one whose parameters have values"
            raise _check.bad(argument, got, accepted, "load weights on another device")


def whole(tensor: Tensor) -> Tensor:
    """A tensor that is spread over processes, in one piece in each of them; any other as it is."""
    gathered = getattr(tensor, "full_tensor", None)
    return tensor if gathered is None else gathered()
