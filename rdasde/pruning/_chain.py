"""Plain chains of layers, without the channels that their zeros make superfluous.

A channel between two layers can go for two reasons. *Unread*: every weight that reads it is zero. *Constant*: every
weight that makes it is zero, so that it is the same number at every place and for every input; that number, followed
through normalizations and activations, is folded into the biases of the layer that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._channels import BATCH_NORM, WEIGHTED, Channels, Reading, inputs, is_hooked, is_plain, outputs
from ._removal import cut, fold, keep_channels, pads_no_zeros
from ._traced import run

Weighted = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid),
    *(nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Tanhshrink),
    *(nn.Softshrink, nn.Hardshrink, nn.Threshold, nn.Identity),
)
# in evaluation they do nothing, and some of them take no single channel
_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
# pooling makes of a constant channel the same constant; average pooling only without zeros at the border
_AVERAGE_POOL = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_POOL = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)


@dataclass
class _Stretch:
    """Two weighted layers with what lies between them, all of which acts channel by channel."""

    maker: Weighted
    reader: Weighted
    between: list[Any]

    @property
    def places(self) -> int:
        """How many inputs of the reader belong to one channel of the maker: more than one after Flatten."""
        return inputs(self.reader) // outputs(self.maker)


@torch.no_grad()
def shorten(model: nn.Sequential) -> None:
    """Take out what can go, in place."""
    stretches = list(_stretches(_layers(model)))
    shrinking = True
    while shrinking:  # a dropped channel may leave others unread or constant
        shrinking = any([_drop(stretch) for stretch in stretches])


def covers(model: nn.Sequential) -> bool:
    """Whether nothing in it but plain layers one after the other."""
    layers = _layers(model)
    return bool(layers) and all(
        not is_hooked(layer) and ((type(layer) in WEIGHTED and getattr(layer, "groups", 1) == 1) or _by_channel(layer))
        for layer in layers
    )


@torch.no_grad()
def normalizes_sequences(model: nn.Sequential, example: Any) -> bool:
    """Whether a batch norm meets rows of features in sequence, whose places it normalizes, not the features.

    Without an example it is taken not to.
    """
    after_linear: list[nn.Module] = []
    maker: nn.Module | None = None
    for layer in _layers(model):
        maker = layer if type(layer) in WEIGHTED else maker
        if isinstance(layer, nn.BatchNorm1d) and isinstance(maker, nn.Linear):
            after_linear.append(layer)
    met: list[bool] = []
    handles = [
        layer.register_forward_pre_hook(lambda _, arguments: met.append(arguments[0].dim() > 2))
        for layer in after_linear
    ]
    try:
        if handles and example is not None:
            run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return any(met)


@torch.no_grad()
def remaining(model: nn.Sequential) -> dict[tuple[str, str], int]:
    """How many channels whose weights are all zero are still there, by layer and reason."""
    layers = _layers(model)
    names = {id(layer): name for name, layer in model.named_modules()}
    stretches = {id(stretch.maker): stretch for stretch in _stretches(layers)}
    weighted = [k for k, layer in enumerate(layers) if type(layer) in WEIGHTED]
    counts: dict[tuple[str, str], int] = {}
    for k in weighted:
        layer: Any = layers[k]
        zero = int((layer.weight == 0).flatten(1).all(dim=1).sum())
        stretch = stretches.get(id(layer))
        if zero and stretch is None:
            after = next((type(x).__name__ for x in layers[k + 1 :] if not _by_channel(x)), None)
            why = "the model returns it" if after is None else f"what follows ({after}) is not understood"
        elif zero and stretch is not None:
            why = f"a constant other than 0, which {names[id(stretch.reader)]} cannot take"
            if zero == outputs(layer) == 1:
                why = f"{names[id(layer)]} keeps one channel"
        if zero:
            counts[names[id(layer)], why] = zero
    return counts


def chained(model: nn.Sequential) -> Channels:
    """The channels between layers of a plain chain; those that enter or leave the whole stay."""
    channels = Channels()
    layers = _layers(model)
    names = {id(layer): name for name, layer in model.named_modules()}
    weighted: list[Any] = [layer for layer in layers if type(layer) in WEIGHTED]
    stretches = {id(stretch.reader): stretch for stretch in _stretches(layers)}
    made: dict[int, Any] = {}
    for layer in weighted:
        stretch = stretches.get(id(layer))
        if stretch is not None:
            labels = made[id(stretch.maker)]
            for between in stretch.between:
                if isinstance(between, BATCH_NORM):
                    channels.passes.append((names[id(between)], between, labels))
            read = labels.repeat(stretch.places)
            channels.reads.append(Reading(names[id(layer)], layer, read, np.zeros(len(read), dtype=bool)))
        made[id(layer)] = channels.fresh(outputs(layer))
        channels.makes.append((names[id(layer)], layer, made[id(layer)]))
    read_by = {id(stretch.maker) for stretch in stretches.values()}
    for layer in weighted:
        if id(layer) not in read_by:
            channels.bar(made[id(layer)], "the model returns it, or what follows is not understood")
    return channels.close()


def _layers(model: nn.Sequential) -> list[nn.Module]:
    return [layer for child in model for layer in _leaves(child)] if is_plain(model) else []


def _leaves(model: nn.Module) -> Iterator[nn.Module]:
    if isinstance(model, nn.Sequential) and is_plain(model) and not is_hooked(model):
        for child in model:
            yield from _leaves(child)
    else:
        yield model


def _stretches(layers: list[nn.Module]) -> Iterator[_Stretch]:
    maker: Any = None
    between: list[Any] = []
    layer: Any
    for layer in layers:
        # used twice, or hooked into: to be left as it is (an activation may well be used twice)
        bound = is_hooked(layer) or (bool(layer.state_dict()) and sum(layer is other for other in layers) > 1)
        if not bound and type(layer) in WEIGHTED and getattr(layer, "groups", 1) == 1:
            if maker is not None:
                stretch = _Stretch(maker, layer, between)
                if _fits(stretch):
                    yield stretch
            maker, between = layer, []
        elif not bound and _by_channel(layer):
            between.append(layer)
        else:
            maker, between = None, []


def _by_channel(layer: Any) -> bool:
    """Whether a layer treats channels apart, and makes of a constant one a constant one."""
    kind = type(layer)
    if kind in BATCH_NORM:
        return layer.running_mean is not None
    if kind in _AVERAGE_POOL:
        padding = layer.padding if isinstance(layer.padding, tuple) else (layer.padding,)
        whole = not any(padding) or not layer.count_include_pad
        return whole and getattr(layer, "divisor_override", None) is None
    if kind is nn.Flatten:
        return layer.start_dim == 1 and layer.end_dim == -1
    if kind is nn.PReLU:
        return layer.num_parameters == 1
    return kind in _ELEMENTWISE or kind in _POOL or kind in _DROPOUT


def _fits(stretch: _Stretch) -> bool:
    """Whether channels of the maker can be told in the reader's inputs."""
    channels, kinds = outputs(stretch.maker), [type(layer) for layer in stretch.between]
    if channels * stretch.places != inputs(stretch.reader):
        return False
    if any(isinstance(layer, BATCH_NORM) and layer.num_features != channels for layer in stretch.between):
        return False
    flattened = nn.Flatten in kinds
    pools = [k for k, kind in enumerate(kinds) if kind in (*_POOL, *_AVERAGE_POOL)]
    if isinstance(stretch.maker, nn.Linear):  # pooling would mix features, and so would flattening several rows
        return isinstance(stretch.reader, nn.Linear) and not pools and stretch.places == 1
    if isinstance(stretch.reader, nn.Linear):
        return flattened and not any(k > kinds.index(nn.Flatten) for k in pools)
    return not flattened


def _drop(stretch: _Stretch) -> bool:
    """Drop what can go from one stretch; whether anything did."""
    maker, reader, places = stretch.maker, stretch.reader, stretch.places
    unread = (reader.weight == 0).reshape(outputs(reader), outputs(maker), -1).all(dim=2).all(dim=0)
    constant, value = _constants(stretch)
    gone = unread | (constant & value.isfinite() & ((value == 0) | pads_no_zeros(reader)))
    if bool(gone.all()):
        gone[0] = False  # a layer keeps at least one channel
    if not bool(gone.any()):
        return False
    fold(reader, torch.where(gone & ~unread, value, 0.0).repeat_interleave(places))
    for layer in (maker, *(layer for layer in stretch.between if isinstance(layer, BATCH_NORM))):
        keep_channels(layer, ~gone)
    kept = (~gone).repeat_interleave(places)
    cut(reader, "weight", (slice(None), kept))
    setattr(reader, "in_features" if isinstance(reader, nn.Linear) else "in_channels", int(kept.sum()))
    return True


def _constants(stretch: _Stretch) -> tuple[Tensor, Tensor]:
    """Which channels are constant where they are read, and what they are."""
    maker = stretch.maker
    constant = (maker.weight == 0).flatten(1).all(dim=1)
    value = maker.weight.new_zeros(outputs(maker)) if maker.bias is None else maker.bias.clone()
    for layer in stretch.between:
        if isinstance(layer, BATCH_NORM):
            statistics: Any = layer  # there, as `_by_channel` made sure
            value = (value - statistics.running_mean) / torch.sqrt(statistics.running_var + layer.eps)
            if layer.affine:
                flat = layer.weight == 0  # constant whatever comes in
                value = torch.where(flat, layer.bias, value * layer.weight + layer.bias)
                constant = constant | flat
        elif isinstance(layer, (*_ELEMENTWISE, nn.PReLU)):
            value = layer(value.clone())  # some work in place
    return constant, value
