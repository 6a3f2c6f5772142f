"""Which parameters are regularized: weights, not biases nor the parameters of normalization layers."""

from __future__ import annotations

import difflib
import inspect
from typing import Any, Literal

from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm

from rdasde import _check

from ._grda import GRDA
from ._models import checked_module

_OPTIONS = [name for name in inspect.signature(GRDA).parameters if name != "params"]
_NORMALIZATIONS = (
    nn.modules.batchnorm._NormBase,  # batch and instance normalization, synchronized and lazy ones too
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    *((nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()),
)


def parameter_groups(
    model: nn.Module,
    *,
    structure: Literal["weights", "filters"] = "weights",
    example: Any = None,
    by_layer: bool = False,
    **options: Any,
) -> list[dict[str, Any]]:
    """Split a model's parameters into a regularized and an unregularized group, for `GRDA`.

    Biases and the parameters of normalization layers (batch, instance, group, layer, RMS) go into a group with
    ``c = 0``: thresholding them prunes nothing and hurts. So do the directions of weight normalization, which are
    divided by their norm: there the magnitudes are regularized, each zero a whole row. Parameters that need no gradient
    now are among them, for they may later.

    Parameters
    ----------
    model : torch.nn.Module
    structure : {"weights", "filters"}
        What becomes zero. With ``"filters"`` the regularizer is the group lasso, and a group is a channel with all that
        makes it: the filters, across residual sums too, with their biases and the scale and shift of their batch norms;
        and where the next layer's outputs are no channels that could go (those of the whole network, say), its weights
        that read the channel. Every weight is in one group at most; what cannot be taken out is not regularized, so
        that what ends at zero can go, by `compact`.
    example : Tensor, tuple of Tensor, or dict, optional
        With ``"filters"``, inputs of a model that is no plain chain of layers, which is then followed by Torch-Pruning
        (extra ``filters``). Without an example, inputs of common sizes are tried.
    by_layer : bool
        With ``"filters"``, a parameter group for each layer's channels (for layers that are added, one together), so
        that each meets a ``sparsity_target`` of its own: layers differ in the size of their weights, and one threshold
        for all takes the channels of wide layers first.
    **options
        Options of the regularized group, for example ``c=5e-4, regularizer="group_lasso"``.

    Returns
    -------
    list of dict
        The parameter groups: regularized (one, or one for each layer), unregularized; an empty one is left out.

    Raises
    ------
    TypeError
        If `model` is no module, or there is no such option.
    ValueError
        If parameters have no shapes yet; with ``"filters"``, if there is nothing in the model that could be taken out,
        or `example` does not fit.
    ImportError
        With ``"filters"``, if Torch-Pruning is needed and not installed.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import GRDA, parameter_groups
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> optimizer = GRDA(parameter_groups(model), lr=0.1, c=5e-4, mu=0.6)
    >>> [len(group["params"]) for group in optimizer.param_groups]  # weights, biases
    [2, 2]
    >>> optimizer = GRDA(parameter_groups(model, structure="filters", c=2e-3, mu=0.6), lr=0.1)
    """
    filters = _check.choice("structure", structure, ("weights", "filters")) == "filters"
    checked_module(model, "pass the network itself, not its parameters", meta=not filters)
    if _check.flag("by_layer", by_layer) and not filters:
        raise _check.bad("by_layer", True, "False where structure is 'weights'", "give structure='filters'")
    _check_names(options)
    if filters:
        from ._filters import filter_groups

        return filter_groups(model, example, by_layer, options)
    weights, rest = weights_and_rest(model)
    groups: list[dict[str, Any]] = []
    if weights:
        groups.append({"params": weights, **options})
    if rest:
        groups.append({"params": rest, "c": 0.0})
    return groups


def _check_names(options: dict[str, Any]) -> None:
    """TypeError of a word that is no option of GRDA."""
    for word in options:
        if word not in _OPTIONS:
            close = ["lr"] if word == "learning_rate" else difflib.get_close_matches(word.lower(), _OPTIONS, 1)
            meant = f"did you mean {close[0]}? There" if close else "there"
            raise TypeError(f"{word} is no option of GRDA: {meant} are {', '.join(_OPTIONS)}.")


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
