"""Taking channels out of the layers that make, pass on and read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._channels import Channels, Reading, Truths, inputs

Values = dict[str, Tensor]  # what each layer reads of every input, NaN where that differs from place to place


def superfluous(channels: Channels, values: Values) -> tuple[Truths, dict[int, str]]:
    """Which channels no output would miss, and why others whose weights are zero stay."""
    number = channels.number
    read, missed = np.zeros(number, dtype=bool), np.zeros(number, dtype=bool)
    reasons: dict[int, str] = {}
    for reading in channels.reads:
        unread = _unread(reading)
        value = values[reading.name].double().cpu().numpy()
        folds = reading.constant & ((value == 0) | (np.isfinite(value) & _takes_constants(reading.layer)))
        read[reading.channels] = True
        missed[reading.channels[~(unread | folds)]] = True
        for label in reading.channels[reading.constant & ~unread & ~folds]:
            reasons.setdefault(int(label), f"a constant other than 0, which {reading.name or 'the reader'} cannot take")
    barred = np.zeros(number, dtype=bool)
    barred[list(channels.reasons)] = True
    return read & ~missed & ~barred, reasons | channels.reasons


def _unread(reading: Reading) -> Truths:
    """Inputs whose weights are all zero."""
    layer = reading.layer
    groups = getattr(layer, "groups", 1)
    weight = layer.weight.detach().reshape(groups, -1, inputs(layer) // groups, *layer.weight.shape[2:])
    return np.asarray((weight == 0).transpose(1, 2).flatten(2).all(dim=2).flatten().cpu().numpy())


def _takes_constants(layer: Any) -> bool:
    """Whether a constant input adds the same number at every place, so that a bias can stand for it."""
    return isinstance(layer, nn.Linear) or (layer.groups == 1 and pads_no_zeros(layer))


def pads_no_zeros(layer: Any) -> bool:
    """Whether there is no border of zeros, where a constant would be none."""
    if isinstance(layer, nn.Linear) or layer.padding_mode != "zeros" or layer.padding == "valid":
        return True
    return layer.padding != "same" and not any(layer.padding)


def settled(channels: Channels, gone: Truths) -> tuple[Truths, dict[int, str]]:
    """Give back what layers cannot do without: one channel each, and as many in each group of a convolution."""
    gone = gone.copy()
    reasons: dict[int, str] = {}
    sides = [(name, layer, labels, 0) for name, layer, labels in channels.makes]
    sides += [(reading.name, reading.layer, reading.channels, 1) for reading in channels.reads]
    made = {id(layer): labels for _, layer, labels in channels.makes}
    heard = {id(reading.layer): reading.channels for reading in channels.reads}
    changed = True
    while changed:
        changed = False
        for name, layer, labels, _ in sides:
            groups = getattr(layer, "groups", 1)
            back: list[int] = []
            if groups > 1:
                both = [part for part in (made.get(id(layer)), heard.get(id(layer))) if part is not None]
                parts = labels.reshape(groups, -1)
                whole = np.zeros(groups, dtype=bool)
                if len(both) == 2:  # whole groups may go
                    whole = np.all([gone[part.reshape(groups, -1)].all(axis=1) for part in both], axis=0)
                if whole.all():
                    whole[0] = False
                rest = parts[~whole]
                most = min(int(gone[rest].sum(axis=1).min()), rest.shape[1] - 1)
                for part in rest:
                    back += part[gone[part]][most:].tolist()
                why = f"{name} is grouped: as many must go from each of its {groups} groups"
            elif gone[labels].all():
                back, why = [int(labels[0])], f"{name} keeps one channel"
            if back:
                gone[back] = False
                changed = True
                for label in back:
                    reasons.setdefault(label, why)
    return gone, reasons


@torch.no_grad()
def remove(channels: Channels, gone: Truths, values: Values) -> None:
    """Cut the layers themselves."""
    for reading in channels.reads:
        if gone[reading.channels].any():
            _fold(reading, gone, values[reading.name])
    everything: dict[int, list[Any]] = {}
    for _, layer, labels in channels.makes:
        everything.setdefault(id(layer), [layer, None, None])[1] = ~gone[labels]
    for reading in channels.reads:
        everything.setdefault(id(reading.layer), [reading.layer, None, None])[2] = ~gone[reading.channels]
    for layer, out, into in everything.values():
        if not ((out is None or out.all()) and (into is None or into.all())):
            _cut(layer, out, into)
    for _, layer, labels in channels.passes:
        if gone[labels].any():
            keep_channels(layer, torch.from_numpy(~gone[labels]).to(layer.weight.device))


def _fold(reading: Reading, gone: Truths, value: Tensor) -> None:
    layer = reading.layer
    folded = torch.from_numpy(gone[reading.channels] & reading.constant & ~_unread(reading)).to(value.device)
    fold(layer, torch.where(folded, value, 0.0).to(layer.weight))


def fold(reader: Any, constants: Tensor) -> None:
    """Add what constant inputs come to to the biases."""
    if not bool(constants.any()):
        return
    weight = reader.weight if isinstance(reader, nn.Linear) else reader.weight.flatten(2).sum(dim=2)
    shift = weight @ constants
    trained = (reader.weight if reader.bias is None else reader.bias).requires_grad
    reader.bias = nn.Parameter(shift if reader.bias is None else reader.bias + shift, requires_grad=trained)


def _cut(layer: Any, out: Any, into: Any) -> None:
    """A weighted layer, to these outputs and inputs; None: all of them."""
    device = layer.weight.device
    groups = getattr(layer, "groups", 1)
    rows = np.ones(len(layer.weight), dtype=bool) if out is None else out
    columns = np.ones(inputs(layer), dtype=bool) if into is None else into
    weights = []
    for kept_rows, kept_columns, weight in zip(
        rows.reshape(groups, -1), columns.reshape(groups, -1), layer.weight.chunk(groups), strict=True
    ):
        if kept_rows.any() and kept_columns.any():
            part = weight[torch.from_numpy(kept_rows).to(device)]
            weights.append(part[:, torch.from_numpy(kept_columns).to(device)])
    # plainly: oneDNN is not to be trusted with odd numbers of channels in channels-last tensors
    weight = torch.cat(weights).contiguous()
    layer.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    if layer.bias is not None:
        kept = layer.bias[torch.from_numpy(rows).to(device)]
        layer.bias = nn.Parameter(kept, requires_grad=layer.bias.requires_grad)
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = int(rows.sum()), int(columns.sum())
    else:
        layer.out_channels, layer.in_channels, layer.groups = int(rows.sum()), int(columns.sum()), len(weights)


def keep_channels(layer: Any, keep: Tensor) -> None:
    """A layer that treats channels apart, to some of them."""
    for name in ("weight", "bias", "running_mean", "running_var"):
        cut(layer, name, keep)
    number = int(keep.sum())
    for name in ("out_features", "out_channels", "num_features", "num_parameters"):
        if hasattr(layer, name):
            setattr(layer, name, number)
    if getattr(layer, "groups", 1) > 1:  # a depthwise convolution
        layer.in_channels = layer.groups = number


def cut(layer: nn.Module, name: str, index: Any) -> None:
    """Index a parameter or buffer, if there is one."""
    value = getattr(layer, name, None)
    if value is not None:
        kept = value[index].contiguous()
        parameter = isinstance(value, nn.Parameter)
        setattr(layer, name, nn.Parameter(kept, requires_grad=value.requires_grad) if parameter else kept)
