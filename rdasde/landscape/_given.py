"""What users hand over: networks, losses, data, solutions, each tried once before any work."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._network import ACCEPTED, LOSS, Data, Loss, Network, check, check_data, each, is_pair, no_pair, weights_of
from rdasde.pruning._models import checked_module


def checked_network(
    model: nn.Module,
    loss: Loss,
    data: Data,
    batch_size: int,
    *,
    gradient: bool = False,
    finite: bool = False,
    **others: Data | None,
) -> Network:
    """A private copy of a model that takes these data, and whose loss is one number.

    The loss must have a gradient, where that is wanted, and be finite at these weights.
    """
    checked_module(model, "pass a network of the right architecture")
    check(model, loss, data)
    network = Network(model)
    for name, rows in {"data": data, **others}.items():
        if rows is not None:
            check_data(name, rows)
            value = _try(network, loss, name, *_first(name, rows, batch_size))
            if gradient and not value.requires_grad:
                got = "a function whose result has no gradient"
                raise _check.bad("loss", got, LOSS, "compute it of the outputs by torch, not detached")
            if finite and not bool(value.isfinite()):
                got = f"a function that returns {float(value.detach())}"
                raise _check.bad("loss", got, "one that is finite at these weights", "look where the training diverged")
    return network


def _first(name: str, data: Any, batch_size: int) -> tuple[Tensor, Tensor]:
    """The first batch; torch's own stream of numbers is left as it was."""
    if is_pair(data):
        return data[0][:batch_size], data[1][:batch_size]
    with torch.random.fork_rng(devices=[]):
        nothing: Any = object()
        batch = next(each(name, data), nothing)
    if batch is nothing:
        raise _check.bad(name, "without any batch", ACCEPTED, "give at least one batch")
    if not is_pair(batch):
        raise no_pair(name, "first batch", batch)
    return batch[0], batch[1]


def _try(network: Network, loss: Loss, name: str, inputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of one batch; ValueError where the network does not take it, or the loss is not one number."""
    network.model.eval()
    with torch.random.fork_rng(devices=[]):
        try:
            outputs = network.model(inputs.to(network.device))
        except Exception as error:
            got = f"of inputs of shape {tuple(inputs.shape)} and {inputs.dtype} ({_said(error)})"
            raise _check.bad(name, got, "inputs that the model takes", "pass those it was trained on") from error
        try:
            value = loss(outputs, targets.to(network.device))
        except Exception as error:
            got = f"a function that fails on outputs and targets of {name} ({_said(error)})"
            raise _check.bad("loss", got, LOSS, "pass for example torch.nn.functional.cross_entropy") from error
    if not isinstance(value, Tensor):
        raise _check.bad("loss", f"a function that returns {_check.show(value)}", LOSS, "compute it by torch")
    if value.ndim or not value.is_floating_point():
        got = f"a function that returns a tensor of shape {tuple(value.shape)} and {value.dtype}"
        raise _check.bad("loss", got, LOSS, "leave its reduction at 'mean'")
    return value


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:90]


def solution(name: str, value: Any, number: int | None = None) -> Tensor:
    """The weights of a network, or a vector of them, in double precision on the CPU; `number` of them, if known."""
    mend = "pass a network, or torch.nn.utils.parameters_to_vector(model.parameters())"
    if isinstance(value, nn.Module):
        checked_module(value, argument=name)
        if not any(parameter.numel() for parameter in value.parameters()):
            raise _check.bad(name, "a network without weights", "one with some", mend)
    elif isinstance(value, Tensor):
        real_vector(name, value, mend)
    else:
        value = _check.array(name, value, (number,), mend=mend)
    return weights_of(name, value, number)


def real_vector(name: str, value: Tensor, mend: str) -> None:
    """ValueError of a tensor without values, or of complex ones."""
    if value.is_meta or value.is_complex():
        got = "a tensor on the meta device" if value.is_meta else "a tensor of complex numbers"
        raise _check.bad(name, got, "a vector of real numbers", mend)
