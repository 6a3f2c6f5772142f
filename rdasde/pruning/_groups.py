"""Which parameters are regularized: weights, not biases nor the parameters of normalization layers."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm

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
    ``c = 0``: thresholding them prunes nothing and hurts. So do the directions of weight normalization, which are
    divided by their norm: there the magnitudes are regularized, each zero a whole row. Parameters that need no gradient
    now are among them, for they may later.

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
    weights, rest = weights_and_rest(model)
    groups: list[dict[str, Any]] = []
    if weights:
        groups.append({"params": weights, **options})
    if rest:
        groups.append({"params": rest, "c": 0.0})
    return groups


def weights_and_rest(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """A model's weights; its biases, the parameters of its normalization layers, and normalized directions."""
    spared: set[int] = set()
    for module in model.modules():
        whole = isinstance(module, _NORMALIZATIONS)
        named = list(module.named_parameters(recurse=False))
        spared |= {id(p) for name, p in named if whole or "bias" in name.split("_")}
        hooks = [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, WeightNorm)]
        spared |= {id(getattr(module, f"{hook.name}_v")) for hook in hooks}
        if parametrize.is_parametrized(module):
            lists: Any = module.parametrizations
            for name, parametrization in lists.items():
                if whole or "bias" in name.split("_"):
                    spared |= {id(p) for p in parametrization.parameters()}
                elif any(isinstance(step, _WeightNorm) for step in parametrization):
                    spared.add(id(parametrization.original1))
    parameters = list(model.parameters())
    return [p for p in parameters if id(p) not in spared], [p for p in parameters if id(p) in spared]
