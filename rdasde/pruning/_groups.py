"""Which parameters are regularized: weights, not biases nor the parameters of normalization layers."""

from __future__ import annotations

from typing import Any

from torch import nn

from rdasde import _check

_NORMALIZATIONS = (
    nn.modules.batchnorm._NormBase,  # batch and instance normalization, synchronized and lazy ones too
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    *((nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()),
)


def parameter_groups(model: nn.Module, **options: Any) -> list[dict[str, Any]]:
    """Split a model's parameters into a regularized and an unregularized group, for `GRDA`.

    Biases and the parameters of normalization layers (batch, instance, group, layer, RMS) go into a group with
    ``c = 0``: thresholding them prunes nothing and hurts. Parameters that need no gradient are left out.

    Parameters
    ----------
    model : torch.nn.Module
    **options
        Options of the regularized group, for example ``c=5e-4, regularizer="group_lasso"``.

    Returns
    -------
    list of dict
        The parameter groups: regularized, unregularized; an empty one is left out.

    Raises
    ------
    TypeError
        If `model` is no module.

    Examples
    --------
    >>> optimizer = GRDA(parameter_groups(model), lr=0.1, c=5e-4, mu=0.6)
    """
    _check.instance("model", model, nn.Module, "a torch.nn.Module", "pass the network itself, not its parameters")
    spared = {
        id(p)
        for module in model.modules()
        for name, p in module.named_parameters(recurse=False)
        if isinstance(module, _NORMALIZATIONS) or name == "bias" or name.startswith("bias_") or name.endswith("_bias")
    }
    parameters = [p for p in model.parameters() if p.requires_grad]
    weights = [p for p in parameters if id(p) not in spared]
    rest = [p for p in parameters if id(p) in spared]
    groups: list[dict[str, Any]] = []
    if weights:
        groups.append({"params": weights, **options})
    if rest:
        groups.append({"params": rest, "c": 0.0})
    return groups
