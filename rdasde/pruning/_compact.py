"""A smaller dense network where whole filters or rows are zero.

A channel between two layers can go for two reasons. *Unread*: every weight that reads it is zero. *Constant*: every
weight that makes it is zero, so that it is the same number at every place and for every input; that number, followed
through normalizations and activations, is folded into the biases of the layer that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rdasde import _check

from ._masks import plain_copy

Weighted = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid),
    *(nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Tanhshrink),
    *(nn.Softshrink, nn.Hardshrink, nn.Threshold, nn.Identity),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
)
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
        return _inputs(self.reader) // _outputs(self.maker)


@torch.no_grad()
def compact(model: nn.Sequential) -> nn.Sequential:
    """A copy of a model, for inference, without the channels that its zeros make superfluous.

    Outputs are those of the model in evaluation mode, up to rounding. Channels go where every weight that makes them
    is zero (what they then are, through biases, batch normalization and activations, is folded into the next layer's
    biases; where zero padding forbids that, they stay) and where every weight that reads them is zero. Inputs and
    outputs of the whole, and of every layer that is not understood, stay as they are.

    Parameters
    ----------
    model : torch.nn.Sequential
        Linear and (ungrouped) convolutional layers, batch normalization, activations, pooling, dropout and Flatten,
        nested as you like. A subclass with a forward of its own, and a container with hooks, stay whole. Where a Linear
        layer is followed by BatchNorm1d, its outputs are taken to be rows of features, not sequences. Train
        it with ``regularizer="group_lasso"`` for whole filters.

    Returns
    -------
    torch.nn.Sequential
        Of the same structure, in evaluation mode.

    Raises
    ------
    TypeError
        If `model` is no Sequential: what is not in sequence cannot be followed.
    """
    _check.instance(
        "model",
        model,
        nn.Sequential,
        "a torch.nn.Sequential",
        "put the layers in sequence, for example nn.Sequential(net.features, nn.Flatten(), net.classifier)",
    )
    result = plain_copy(model)
    layers = [layer for child in result for layer in _leaves(child)] if _is_plain(result) else []
    stretches = list(_stretches(layers))
    shrinking = True
    while shrinking:  # a dropped channel may leave others unread or constant
        shrinking = any([_drop(stretch) for stretch in stretches])
    return result


def _leaves(model: nn.Module) -> Iterator[nn.Module]:
    if isinstance(model, nn.Sequential) and _is_plain(model) and not _is_hooked(model):
        for child in model:
            yield from _leaves(child)
    else:
        yield model


def _is_plain(model: nn.Sequential) -> bool:
    """Whether it runs its layers one after the other: a subclass may do anything in a forward of its own."""
    return type(model).forward is nn.Sequential.forward and "forward" not in vars(model)


def _is_hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks) or "forward" in vars(layer)


def _stretches(layers: list[nn.Module]) -> Iterator[_Stretch]:
    maker: Any = None
    between: list[Any] = []
    layer: Any
    for layer in layers:
        # used twice, or hooked into: to be left as it is (an activation may well be used twice)
        bound = _is_hooked(layer) or (bool(layer.state_dict()) and sum(layer is other for other in layers) > 1)
        if not bound and type(layer) in _WEIGHTED and getattr(layer, "groups", 1) == 1:
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
    if kind in _BATCH_NORM:
        return layer.running_mean is not None
    if kind in _AVERAGE_POOL:
        padding = layer.padding if isinstance(layer.padding, tuple) else (layer.padding,)
        whole = not any(padding) or not layer.count_include_pad
        return whole and getattr(layer, "divisor_override", None) is None
    if kind is nn.Flatten:
        return layer.start_dim == 1 and layer.end_dim == -1
    if kind is nn.PReLU:
        return layer.num_parameters == 1
    return kind in _ELEMENTWISE or kind in _POOL


def _fits(stretch: _Stretch) -> bool:
    """Whether channels of the maker can be told in the reader's inputs."""
    channels, kinds = _outputs(stretch.maker), [type(layer) for layer in stretch.between]
    if channels * stretch.places != _inputs(stretch.reader):
        return False
    if any(isinstance(layer, _BATCH_NORM) and layer.num_features != channels for layer in stretch.between):
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
    unread = (reader.weight == 0).reshape(_outputs(reader), _outputs(maker), -1).all(dim=2).all(dim=0)
    constant, value = _constants(stretch)
    gone = unread | (constant & value.isfinite() & ((value == 0) | _pads_no_zeros(reader)))
    if bool(gone.all()):
        gone[0] = False  # a layer keeps at least one channel
    if not bool(gone.any()):
        return False
    _fold(reader, torch.where(gone & ~unread, value, 0.0).repeat_interleave(places))
    for layer in (maker, *(layer for layer in stretch.between if isinstance(layer, _BATCH_NORM))):
        _keep_outputs(layer, ~gone)
    _keep_inputs(reader, (~gone).repeat_interleave(places))
    return True


def _constants(stretch: _Stretch) -> tuple[Tensor, Tensor]:
    """Which channels are constant where they are read, and what they are."""
    maker = stretch.maker
    constant = (maker.weight == 0).flatten(1).all(dim=1)
    value = maker.weight.new_zeros(_outputs(maker)) if maker.bias is None else maker.bias.clone()
    for layer in stretch.between:
        if isinstance(layer, _BATCH_NORM):
            statistics: Any = layer  # there, as `_by_channel` made sure
            value = (value - statistics.running_mean) / torch.sqrt(statistics.running_var + layer.eps)
            if layer.affine:
                flat = layer.weight == 0  # constant whatever comes in
                value = torch.where(flat, layer.bias, value * layer.weight + layer.bias)
                constant = constant | flat
        elif isinstance(layer, (*_ELEMENTWISE, nn.PReLU)):
            value = layer(value.clone())  # some work in place
    return constant, value


def _pads_no_zeros(reader: Weighted) -> bool:
    """Whether a constant input adds the same number at every place."""
    if isinstance(reader, nn.Linear) or reader.padding_mode != "zeros" or reader.padding == "valid":
        return True
    return reader.padding != "same" and not any(reader.padding)


def _fold(reader: Weighted, inputs: Tensor) -> None:
    if not bool(inputs.any()):
        return
    weight = reader.weight if isinstance(reader, nn.Linear) else reader.weight.flatten(2).sum(dim=2)
    shift = weight @ inputs
    reader.bias = nn.Parameter(shift if reader.bias is None else reader.bias + shift)


def _keep_outputs(layer: nn.Module, keep: Tensor) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        _slice(layer, name, keep)
    for name in ("out_features", "out_channels", "num_features"):
        if hasattr(layer, name):
            setattr(layer, name, int(keep.sum()))


def _keep_inputs(layer: Weighted, keep: Tensor) -> None:
    _slice(layer, "weight", (slice(None), keep))
    setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", int(keep.sum()))


def _slice(layer: nn.Module, name: str, index: Any) -> None:
    value = getattr(layer, name, None)
    if value is not None:
        setattr(layer, name, nn.Parameter(value[index]) if isinstance(value, nn.Parameter) else value[index])


def _outputs(layer: Weighted) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _inputs(layer: Weighted) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
