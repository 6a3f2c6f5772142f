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
    weights, rest = ([p for p in part if p.requires_grad] for part in weights_and_rest(model))
    groups: list[dict[str, Any]] = []
    if weights:
        groups.append({"params": weights, **options})
    if rest:
        groups.append({"params": rest, "c": 0.0})
    return groups


def weights_and_rest(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """A model's weights; its biases and the parameters of its normalization layers."""
    spared = {
        id(p)
        for module in model.modules()
        for name, p in module.named_parameters(recurse=False)
        if isinstance(module, _NORMALIZATIONS) or "bias" in name.split("_")
    }
    parameters = list(model.parameters())
    return [p for p in parameters if id(p) not in spared], [p for p in parameters if id(p) in spared]
