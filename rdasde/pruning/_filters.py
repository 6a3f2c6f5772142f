"""Groups of weights that make a channel: whole filters, with what belongs to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rdasde import _check

from . import _chain
from ._channels import Channels, Labels, bound
from ._copies import plain_copy
from ._models import checked_module
from ._traced import checked_example, run, traced

_SIDES = (32, 28, 224, 64, 16, 96, 8)  # of pictures that are tried


def filter_groups(model: nn.Module, example: Any, by_layer: bool, options: dict[str, Any]) -> list[dict[str, Any]]:
    """`parameter_groups` with ``structure="filters"``."""
    if options.get("regularizer", "group_lasso") != "group_lasso":
        accepted = "'group_lasso' where structure is 'filters'"
        raise _check.bad(
            "regularizer", repr(options["regularizer"]), accepted, "leave it out, or give structure='weights'"
        )
    chosen = _assigned(model, _followed(model, example))
    used = sorted({int(label) for labels in chosen.values() for label in labels[1].tolist() if label >= 0})
    if not used:
        raise _check.bad(
            "model",
            f"a {type(model).__name__} none of whose channels could be taken out",
            "one with channels between layers that keep them apart",
            "give structure='weights', or see the reasons in compact(model, example).compacted",
        )
    tensors: list[tuple[nn.Parameter, int, Labels]] = []
    rest: list[nn.Parameter] = []
    for parameter in model.parameters():
        axis, labels = chosen.get(id(parameter), (0, np.array([-1])))
        if (labels >= 0).any():
            tensors.append((parameter, axis, labels))
        else:
            rest.append(parameter)
    parts = _apart(tensors) if by_layer else [tensors]
    return [_group(part, options) for part in parts] + ([{"params": rest, "c": 0.0}] if rest else [])


def _group(tensors: list[tuple[nn.Parameter, int, Labels]], options: dict[str, Any]) -> dict[str, Any]:
    """The parameter group of these tensors, their channels numbered from 0."""
    used = np.unique(np.concatenate([labels[labels >= 0] for _, _, labels in tensors]))
    numbers = np.full(int(used.max()) + 2, -1)  # the last is for -1
    numbers[used] = np.arange(len(used))
    groups = [
        torch.from_numpy(numbers[labels]).reshape([len(labels) if k == axis else 1 for k in range(parameter.dim())])
        for parameter, axis, labels in tensors
    ]
    return {"params": [p for p, _, _ in tensors], **options, "regularizer": "group_lasso", "groups": groups}


def _apart(tensors: list[tuple[nn.Parameter, int, Labels]]) -> list[list[tuple[nn.Parameter, int, Labels]]]:
    """Tensors that share channels together, in the order of their first."""
    parts: list[tuple[set[int], list[int]]] = []
    for k, (_, _, labels) in enumerate(tensors):
        own = {int(label) for label in labels if label >= 0}
        met = [part for part in parts if part[0] & own]
        parts = [part for part in parts if not part[0] & own]
        parts.append((own.union(*(part[0] for part in met)), sorted([k, *(i for part in met for i in part[1])])))
    return [[tensors[k] for k in members] for _, members in sorted(parts, key=lambda part: part[1][0])]


def _followed(model: nn.Module, example: Any) -> Channels:
    copy = plain_copy(model)
    if example is not None:
        checked_example(copy, example)
    if isinstance(copy, nn.Sequential) and _chain.covers(copy) and not _chain.normalizes_sequences(copy, example):
        return _chain.chained(copy)
    return traced(copy, _guessed(copy) if example is None else example)


@torch.no_grad()
def _guessed(model: nn.Module) -> Tensor:
    """Inputs of a common size that the model takes."""
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)), None)
    shapes: list[tuple[int, ...]] = []
    if isinstance(first, nn.Linear):
        shapes = [(2, first.in_features)]
    elif first is not None:
        sides: list[tuple[int, ...]] = [(side, side) for side in _SIDES]
        shapes = [(2, first.in_channels, *(side if isinstance(first, nn.Conv2d) else side[:1])) for side in sides]
    for shape in shapes:
        inputs = torch.zeros(shape).to(next(model.parameters()))
        try:
            run(model, inputs)
        except (RuntimeError, ValueError, TypeError, IndexError):
            continue
        return inputs
    raise _check.bad(
        "example", None, "inputs of the model where they are of no common size", "pass for example a batch of the data"
    )


def _assigned(model: nn.Module, channels: Channels) -> dict[int, tuple[int, Labels]]:
    """By parameter, the axis along which it falls into channels, and the channel of each slice; -1 for none."""
    read, made = np.zeros(channels.number, dtype=bool), np.zeros(channels.number, dtype=bool)
    for reading in channels.reads:
        read[reading.channels] = True
    for _, _, labels in channels.makes:
        made[labels] = True
    free = read & made
    free[list(channels.reasons)] = False
    reasons = bound(model)
    for name, _, labels in (*channels.makes, *channels.passes):
        if model.get_submodule(name) in reasons:  # as by masks, which the copy has not
            free[labels] = False
    chosen: dict[int, tuple[int, Labels]] = {}

    def choose(name: str, labels: Labels, axis: int, parts: tuple[str, ...]) -> None:
        for part in parts:
            parameter = getattr(model.get_submodule(name), part, None)
            if isinstance(parameter, nn.Parameter):
                chosen[id(parameter)] = axis, np.where(free[labels], labels, -1)

    for name, layer, labels in channels.passes:
        if not isinstance(layer, nn.PReLU):  # what its slope is does not matter at zero
            choose(name, labels, 0, ("weight", "bias"))
    for name, _, labels in channels.makes:
        if free[labels].any():
            choose(name, labels, 0, ("weight", "bias"))
    for reading in channels.reads:
        weight = getattr(model.get_submodule(reading.name), "weight", None)
        if id(weight) not in chosen and getattr(reading.layer, "groups", 1) == 1:
            choose(reading.name, reading.channels, 1, ("weight",))
    return chosen


def group_labels(model: nn.Module, groups: list[dict[str, Any]]) -> Tensor:
    """The group of every weight, in the order of ``model.parameters()``, as `directional_prune` and others count them.

    Parameters
    ----------
    model : torch.nn.Module
    groups : list of dict
        From ``parameter_groups(model, structure="filters")``, or the ``param_groups`` of an optimizer made of them.

    Returns
    -------
    Tensor of shape (d,)
        Whole numbers from 0; -1 for weights in no group.

    Raises
    ------
    ValueError, TypeError
        If the groups are of other parameters.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import group_labels, parameter_groups
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> group_labels(model, parameter_groups(model, structure="filters"))
    tensor([ 0,  1,  0,  1,  0,  1, -1])
    """
    checked_module(model, meta=True)
    accepted, mend = "what parameter_groups(model, structure='filters') returned", "make them of this model"
    if not isinstance(groups, list | tuple) or not all(isinstance(g, dict) and "params" in g for g in groups):
        raise _check.wrong_kind("groups", groups, accepted, mend)
    found: dict[int, Tensor] = {}
    start = 0
    for group in groups:
        if group.get("groups") is not None:
            count = max((int(label.max()) + 1 for label in group["groups"]), default=0)
            for parameter, label in zip(group["params"], group["groups"], strict=True):
                found[id(parameter)] = torch.where(label < 0, label, label + start)
            start += count
    own = {id(parameter) for parameter in model.parameters()}
    if not found or not set(found) <= own:
        raise _check.bad(
            "groups",
            "groups without labels" if not found else "groups of parameters that the model has not",
            accepted,
            mend,
        )
    none = torch.tensor(-1)
    parts = [
        found.get(id(p), none.reshape([1] * p.dim())).cpu().expand(p.shape).reshape(-1) for p in model.parameters()
    ]
    return torch.cat(parts)
