"""Networks as functions of one vector of weights: data in batches, loss and accuracy, batch norm at new weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from rdasde import _check, _users
from rdasde.pruning._copies import own_copy

Loss = Callable[[Tensor, Tensor], Tensor]
Data = tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]

ACCEPTED = "a pair (inputs, targets) of tensors, or batches of such pairs that can be gone through again"


def check(model: object, loss: object, data: object) -> None:
    """The three arguments that most functions share."""
    _check.instance("model", model, nn.Module, "a torch.nn.Module", "pass a network of the right architecture")
    assert isinstance(model, nn.Module)
    if not any(parameter.numel() for parameter in model.parameters()):
        raise _check.bad("model", "a network without weights", "a network with some", "pass one that can be trained")
    if not callable(loss):
        raise _check.wrong_kind(
            "loss", loss, "a function loss(outputs, targets)", "pass for example torch.nn.functional.cross_entropy"
        )
    check_data("data", data)


def check_data(name: str, data: object) -> None:
    """A pair of tensors of one length, or an iterable of such pairs that does not wear out."""
    if is_pair(data):
        inputs, targets = map(len, data)  # type: ignore[call-overload]
        if inputs != targets or not inputs:
            raise _check.bad(
                name,
                f"{inputs} inputs and {targets} targets",
                "as many inputs as targets, at least one",
                "give one target for each input",
            )
    elif not isinstance(data, Iterable) or isinstance(data, Iterator | Tensor | np.ndarray | str | dict):
        raise TypeError(
            f"{name} is of type {type(data).__name__}, but must be {ACCEPTED}: pass (X, y), a list or a DataLoader."
        )


def is_pair(data: object) -> bool:
    return isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)


def batches(
    data: Any, batch_size: int, device: torch.device, generator: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches on the model's device; a pair of tensors is shuffled if there is a generator."""
    if is_pair(data):
        inputs, targets = data
        if generator is None:
            for part in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
                yield part[0].to(device), part[1].to(device)
            return
        order = torch.randperm(len(inputs), generator=generator)
        rows = order.to(inputs.device), order.to(targets.device)  # all at once: a copy a batch would be waited for
        for rows_in, rows_out in zip(*(each.split(batch_size) for each in rows), strict=True):
            yield inputs[rows_in].to(device), targets[rows_out].to(device)
    else:
        for number, batch in enumerate(each("data", data)):
            if not is_pair(batch):
                raise no_pair("data", f"batch {number}", batch)
            yield batch[0].to(device), batch[1].to(device)


def each(name: str, data: Iterable[Any]) -> Iterator[Any]:
    """What a user's data yield; ValueError where they raise."""
    number = 0
    try:
        for batch in data:
            yield batch
            number += 1
    except Exception as error:
        got = f"one that raises {_users.said(error)} at batch {number}"
        raise _check.bad(name, got, ACCEPTED, "make it work for every batch") from error


def no_pair(name: str, which: str, batch: Any) -> ValueError:
    """The ValueError of a batch that is no pair of tensors."""
    kinds = [type(part).__name__ for part in batch] if isinstance(batch, tuple | list) else type(batch).__name__
    mend = "give two tensors in each batch, arrays by torch.from_numpy"
    return _check.bad(name, f"one whose {which} is {_check.show(kinds)}", ACCEPTED, mend)


LOSS = "a function that returns the mean over a batch as one number, in a tensor"


def outputs_of(model: nn.Module, inputs: Tensor) -> Any:
    """Of one batch in the middle of the work: the first was looked at before it."""
    try:
        return model(inputs)
    except Exception as error:
        got = f"one with inputs of shape {tuple(inputs.shape)} and {inputs.dtype} ({' '.join(str(error).split())[:90]})"
        raise _check.bad("data", got, "inputs that the model takes", "look at the size of every batch") from error


def loss_of(loss: Loss, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Any, Tensor]:
    """Outputs and loss of one batch in the middle of the work."""
    outputs = outputs_of(model, inputs)
    mend = "make it work at every batch"
    at = f"at a batch of {len(inputs)}"
    value = _users.called("loss", loss, outputs, targets, at=at, accepted=LOSS, mend=mend)
    if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
        shown = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else _check.show(value)
        raise _check.bad("loss", f"a function that returns {shown} {at}", LOSS, mend)
    if torch.is_grad_enabled() and not value.requires_grad:
        raise _check.bad("loss", f"a function whose result has no gradient {at}", LOSS, "compute it of the outputs")
    return outputs, value


def weights_of(name: str, solution: Any, number: int | None = None) -> Tensor:
    """A solution as one vector in double precision, on the CPU; `number` its length, if known."""
    if isinstance(solution, nn.Module):
        vector = flatten(solution.parameters())
    elif isinstance(solution, Tensor):
        vector = solution.detach()
    else:
        accepted = (None,) if number is None else (number,)
        mend = "pass a network, or torch.nn.utils.parameters_to_vector(model.parameters())"
        vector = torch.from_numpy(_check.array(name, np.asarray(solution), accepted, mend=mend))
    vector = vector.to("cpu", torch.float64)
    length = vector.numel() if number is None else number
    if vector.shape != (length,):
        raise _check.bad(
            name,
            f"{tuple(vector.shape)} weights" if vector.ndim != 1 else f"{len(vector)} weights",
            f"a vector of {length} weights",
            "pass a network of the same architecture, or its weights as one vector",
        )
    if not bool(torch.isfinite(vector).all()):
        raise _check.bad(name, "weights that are not all finite", "finite weights", "look where the training diverged")
    return vector


def plain_attention() -> AbstractContextManager[Any]:
    """Within it attention is made of matrix products: its faster kernels have no second derivative."""
    context: AbstractContextManager[Any] = sdpa_kernel(SDPBackend.MATH)
    return context


def exact(device: torch.device) -> torch.dtype:
    """Double precision, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def flatten(tensors: Iterable[Tensor]) -> Tensor:
    """One vector, whatever the layouts in memory."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def count_weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class Network:
    """A private copy of a model, at any vector of weights."""

    def __init__(self, model: nn.Module) -> None:
        self.model = own_copy(model)
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)
        first = next(self.model.parameters())
        self.device, self.dtype = first.device, first.dtype
        self.norms = [
            module
            for module in self.model.modules()
            if isinstance(module, _BatchNorm) and module.running_mean is not None
        ]

    def hold(self, vector: Tensor) -> Tensor:
        """A vector of weights where places between such vectors are computed.

        That is on the model's device. On a CPU in double precision, as it came; elsewhere in the model's own, for there
        a double-precision copy at every place would cost more than the network.
        """
        return vector if self.device.type == "cpu" else vector.to(self.device, self.dtype)

    def move(self, vector: Tensor) -> None:
        """Take these weights."""
        start = 0
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(vector[start : start + parameter.numel()].view(parameter.shape))
                start += parameter.numel()

    @torch.no_grad()
    def renorm(self, data: Data, batch_size: int) -> None:
        """Estimate batch-norm statistics anew on the data: averages over its batches, weighted by their sizes."""
        if not self.norms:
            return
        self.model.eval()
        kept = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.reset_running_stats()
            norm.train()
        seen = 0
        for inputs, _ in batches(data, batch_size, self.device):
            seen += len(inputs)
            for norm in self.norms:
                norm.momentum = len(inputs) / seen
            outputs_of(self.model, inputs)
        for norm, momentum in zip(self.norms, kept, strict=True):
            norm.momentum = momentum
        self.model.eval()

    @torch.no_grad()
    def measure(self, loss: Loss, data: Data, batch_size: int) -> tuple[float, float]:
        """Mean loss, and accuracy in [0, 1] where the targets are classes, NaN otherwise."""
        self.model.eval()
        total = torch.zeros(
            2, dtype=exact(self.device), device=self.device
        )  # read once: each look waits for the device
        seen = 0
        for inputs, targets in batches(data, batch_size, self.device):
            outputs, value = loss_of(loss, self.model, inputs, targets)
            total[0] += value.to(total.dtype) * len(inputs)
            if targets.dtype.is_floating_point or outputs.ndim != 2:
                total[1] = torch.nan
            else:
                total[1] += (outputs.argmax(dim=1) == targets).sum()
            seen += len(inputs)
        found, right = total.tolist()
        return found / seen, right / seen

    def at(self, vector: Tensor, loss: Loss, data: Data, statistics: Data, batch_size: int) -> tuple[float, float]:
        """Loss and accuracy at these weights, batch-norm statistics estimated there first."""
        self.move(vector)
        self.renorm(statistics, batch_size)
        return self.measure(loss, data, batch_size)
