"""The pattern of zeros as masks, and masks as `torch.nn.utils.prune` keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from rdasde import _check

from ._groups import weights_and_rest
from ._models import checked_module
from ._sparsity import effective_parameters

_MEND = "take export_masks of a model of the same architecture"


@torch.no_grad()
def export_masks(model: nn.Module) -> dict[str, Tensor]:
    """Where the weights are not zero.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    dict of str to Tensor
        For each weight that `parameter_groups` would regularize (no biases, no normalization), by its name, a boolean
        tensor of its shape; False where it is exactly zero, True elsewhere, at NaN too.

    Raises
    ------
    TypeError
        If `model` is no module.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import export_masks
    >>> model = torch.nn.Linear(3, 2)
    >>> model.weight.data[0] = 0.0
    >>> export_masks(model)
    {'weight': tensor([[False, False, False],
            [ True,  True,  True]])}
    """
    checked_module(model)
    weights = {id(p) for p in weights_and_rest(model)[0]}
    names = {name.removesuffix("_orig") for name, p in model.named_parameters() if id(p) in weights}
    return {name: value.detach() != 0 for name, value in effective_parameters(model) if name in names}


def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Hold weights at zero during further training, by `torch.nn.utils.prune.custom_from_mask`.

    Afterwards ``torch.nn.utils.prune.remove(module, "weight")`` makes the zeros permanent.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place: each named weight becomes ``weight_orig`` and ``weight_mask``.
    masks : mapping of str to Tensor
        From `export_masks`, of this model or one of the same architecture.

    Raises
    ------
    ValueError, TypeError
        If a mask has no weight of its name and shape, is not of zeros and ones, or the weight is masked already;
        nothing has been changed then.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import apply_masks, export_masks
    >>> model = torch.nn.Linear(3, 2)
    >>> model.weight.data[0] = 0.0
    >>> apply_masks(model, export_masks(model))
    >>> model(torch.ones(3)).sum().backward()
    >>> model.weight_orig.grad  # nothing moves what is zero
    tensor([[0., 0., 0.],
            [1., 1., 1.]])
    """
    checked_module(model)
    _check.instance("masks", masks, Mapping, "masks by the names of parameters", _MEND)
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        _check_mask(name, mask, parameters)
    for name, mask in masks.items():
        module, _, parameter = name.rpartition(".")
        prune.custom_from_mask(model.get_submodule(module), parameter, mask.to(parameters[name].device))


def _check_mask(name: Any, mask: Any, parameters: dict[str, nn.Parameter]) -> None:
    """ValueError where a mask does not fit, or is of something else than zeros and ones."""
    _check.instance(f"the mask of {name!r}", mask, Tensor, "a tensor of zeros and ones", _MEND)
    if name not in parameters and f"{name}_orig" in parameters:
        mend = f"make its zeros permanent by torch.nn.utils.prune.remove(module, {name.rpartition('.')[2]!r}) first"
        raise _check.bad("masks", f"for {name!r}, which is masked already", "for parameters without a mask", mend)
    if name not in parameters or parameters[name].shape != mask.shape:
        shape = tuple(parameters[name].shape) if name in parameters else "absent"
        got = f"for {name!r} of shape {tuple(mask.shape)} (in the model: {shape})"
        raise _check.bad("masks", got, "for parameters of the model", _MEND)
    if mask.is_meta or not bool(((mask == 0) | (mask == 1)).all()):
        got = "without values" if mask.is_meta else "of other numbers"
        raise _check.bad(f"the mask of {name!r}", got, "of zeros and ones, or of truth values", _MEND)
